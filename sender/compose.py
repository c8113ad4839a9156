"""What each recipient gets: body, media, size, sender. Columns in, columns out.

A row that cannot be composed keeps its reason and a sentence, and stops no other. Reads no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sender import providers, segments, text
from sender.campaign import Campaign
from sender.errors import InputError
from sender.outcomes import SkipReason
from sender.providers.base import Capabilities, FieldValue
from sender.recipients import Recipients


@dataclass(frozen=True, slots=True)
class Offer:
    """What is the same for every row: the campaign, its provider's dialect, fields and senders.

    `senders` is empty where a service in `fields` chooses, or where each row has its own.
    """

    campaign: Campaign
    dialect: str
    capabilities: Capabilities
    fields: Mapping[str, FieldValue]
    senders: tuple[str, ...]
    body: text.Template | None
    media: Sequence[text.Template]

    @property
    def always_mms(self) -> bool:
        """Whether even a message without media goes as MMS."""
        return bool(self.fields.get("send_as_mms")) or self.fields.get("message_type") == "MMS"


def compose(
    frame: pl.DataFrame, people: Recipients, offer: Offer
) -> tuple[pl.DataFrame, tuple[Mapping[str, Any], ...]]:
    """`frame` with `body, media, encoding, segments, from_number`, and what smart encoding replaced.

    `frame` holds a row for each of `people` with `to, reason, detail`; a row that has a reason already is left alone.
    """
    frame = _rendered(frame, people, offer)
    frame, replacements = _measured(frame, offer)
    return _with_senders(frame, people, offer), replacements


def _rendered(frame: pl.DataFrame, people: Recipients, offer: Offer) -> pl.DataFrame:
    """`frame` with `body` and `media`; only rows that still get a message are rendered."""
    frame = frame.with_row_index("_index")
    wanted = frame.filter(pl.col("reason").is_null())
    cells = people.cells[wanted["_index"]] if wanted.height < frame.height else people.cells
    columns = [text_column(offer.body, people, cells).rename({"text": "body"})]
    urls: list[pl.Series] = []
    for number, template in enumerate(offer.media):
        url = text.render(template, cells, people.names)
        urls.append(url["text"].rename(f"_url{number}"))
        columns.append(url.select("reason", "detail"))
    if not offer.media and people.media is not None:
        lists = (
            cells[people.media]
            .fill_null("")
            .str.strip_chars()
            .str.replace_all(r"[,;\s]+(https?://)", " $1")
            .str.split(" ")
        )
    elif urls:
        lists = (
            pl.DataFrame(urls).select(pl.concat_list(pl.all().str.strip_chars()))[:, 0]
            if cells.height
            else pl.Series([], dtype=pl.List(pl.String))
        )
    else:
        lists = pl.Series([None] * cells.height, dtype=pl.List(pl.String)).fill_null([])
    rendered = wanted.select("_index").with_columns(
        body=columns[0]["body"],
        media=lists.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))),
        _reason=_first_of(columns, "reason"),
        _detail=_first_of(columns, "detail"),
    )
    bad_url = (
        pl.col("media")
        .list.eval(~pl.element().str.contains(r"^(?i)https?://[^\s/]+\S*$"))
        .list.any()
        .fill_null(value=False)
    )
    told_elsewhere = pl.lit("content_sid" in offer.fields)  # the provider's own template says it
    nothing = (
        ~told_elsewhere & (pl.col("body").fill_null("").str.strip_chars() == "") & (pl.col("media").list.len() == 0)
    )
    rendered = rendered.with_columns(
        _reason=pl.coalesce(
            "_reason",
            pl.when(bad_url).then(pl.lit(SkipReason.RENDER_ERROR.value)),
            pl.when(nothing).then(pl.lit(SkipReason.MISSING_DATA.value)),
        ),
        _detail=pl.coalesce(
            "_detail",
            pl.when(bad_url).then(pl.format("media is not an http or https URL: {}", pl.col("media").list.join(" "))),
            pl.when(nothing).then(pl.lit("the message would be empty: no text and no media")),
        ),
    )
    return (
        frame.join(rendered, on="_index", how="left", maintain_order="left")
        .with_columns(reason=pl.coalesce("reason", "_reason"), detail=pl.coalesce("detail", "_detail"))
        .drop("_index", "_reason", "_detail")
    )


def text_column(body: text.Template | None, people: Recipients, cells: pl.DataFrame) -> pl.DataFrame:
    """Columns `text`, `reason`, `detail`: what `body` makes of each row of `cells`, or the column of texts as it is."""
    if body is not None:
        return text.render(body, cells, people.names)
    plain = cells[people.body] if people.body is not None else pl.Series([None] * cells.height, dtype=pl.String)
    return text.verbatim(plain)


def _first_of(columns: list[pl.DataFrame], name: str) -> pl.Series:
    return pl.DataFrame([frame[name].alias(str(index)) for index, frame in enumerate(columns)]).select(
        pl.coalesce(pl.all())
    )[:, 0]


def _measured(frame: pl.DataFrame, offer: Offer) -> tuple[pl.DataFrame, tuple[Mapping[str, Any], ...]]:
    """`frame` with `encoding` and `segments`; what is longer than allowed is skipped. An MMS counts as one segment."""
    message, capabilities = offer.campaign.message, offer.capabilities
    replaced: tuple[Mapping[str, Any], ...] = ()
    if message.smart_encoding:
        bodies, replacements = segments.smart_encode(frame["body"])
        frame = frame.with_columns(body=bodies)
        replaced = tuple(replacements.to_dicts())
    sizes = segments.measure(frame["body"]).select("encoding", "segments")
    mms = pl.lit(value=True) if offer.always_mms else pl.col("media").list.len() > 0
    frame = frame.hstack(sizes).with_columns(segments=pl.when(mms).then(pl.lit(1, pl.UInt32)).otherwise("segments"))
    chars, media, title = pl.col("body").str.len_chars(), pl.col("media").list.len(), pl.lit(capabilities.title)
    most_parts = pl.lit(message.max_segments, pl.UInt32)
    too_much = (
        pl.when(chars > capabilities.body_max_chars)
        .then(pl.format("{} characters; {} takes {}", chars, title, capabilities.body_max_chars))
        .when(pl.col("segments") > most_parts)
        .then(pl.format("{} segments ({}); max_segments is {}", "segments", "encoding", most_parts))
        .when(media > capabilities.media_max)
        .then(pl.format("{} media; {} takes {}", media, title, capabilities.media_max))
    )
    frame = frame.with_columns(_why=pl.when(pl.col("reason").is_null()).then(too_much))
    skipped = pl.col("_why").is_not_null()
    return frame.with_columns(
        reason=pl.when(skipped).then(pl.lit(SkipReason.TOO_LONG.value)).otherwise("reason"),
        detail=pl.coalesce("_why", "detail"),
    ).drop("_why"), replaced


def _with_senders(frame: pl.DataFrame, people: Recipients, offer: Offer) -> pl.DataFrame:
    """`frame` with `from_number`: from a pool the same recipient always gets the same number."""
    pool = offer.senders
    if len(pool) > 1:
        digits = pl.col("to").str.replace("+", "", literal=True).cast(pl.UInt64, strict=False).fill_null(0)
        spread = digits % 4_294_967_291 * 2_654_435_761 % 4_294_967_296 // 65_536  # neighbours go to different numbers
        pick = (spread % len(pool)).cast(pl.UInt32)
        return frame.with_columns(
            from_number=pick.replace_strict(list(range(len(pool))), list(pool), return_dtype=pl.String)
        )
    if pool or people.sender is None or offer.capabilities.service_field in offer.fields:
        return frame.with_columns(from_number=pl.lit(pool[0] if pool else None, pl.String))
    own = people.cells[people.sender].str.strip_chars()
    allowed: dict[str, str | None] = {}
    for one in own.drop_nulls().unique():
        try:
            providers.check(offer.capabilities, senders=(one,), fields=offer.fields, media_count=0)
            allowed[one] = None
        except InputError as error:  # stays with its rows
            allowed[one] = str(error).splitlines()[0]
    live = pl.col("reason").is_null()
    why = pl.col("from_number").replace_strict(
        list(allowed), list(allowed.values()), default=None, return_dtype=pl.String
    )
    blank = pl.col("from_number").fill_null("") == ""
    return frame.with_columns(from_number=own).with_columns(
        reason=pl.when(live & (blank | why.is_not_null()))
        .then(pl.lit(SkipReason.MISSING_DATA.value))
        .otherwise("reason"),
        detail=pl.when(live & blank)
        .then(pl.lit(f"no sender: the cell in {people.sender!r} is blank and the campaign has no `from`"))
        .when(live & why.is_not_null())
        .then(why)
        .otherwise("detail"),
    )
