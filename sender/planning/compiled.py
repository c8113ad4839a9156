"""What each recipient gets: body, media, size, sender. Columns in, columns out.

A row that cannot be composed keeps its reason and a sentence, and stops no other. Reads no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from sender import providers, segments, templating
from sender.campaign.model import Campaign
from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.plan import message_fields
from sender.plan.sender_pool import SenderPool
from sender.planning import row_fields as own_fields
from sender.planning.row_fields import FieldTemplates
from sender.providers.base import Capabilities, FieldValue
from sender.recipients.columns import Recipients


@dataclass(frozen=True, slots=True)
class CompiledCampaign:
    """What is the same for every row: the campaign, its provider's dialect, fields and senders.

    `senders` is empty where a service in `fields` chooses, or where each row has its own; `sender` is the template of
    such a one. `fields` are those without a template, `templates` the others. `pool` is there where there is a choice.
    """

    campaign: Campaign
    dialect: str
    capabilities: Capabilities
    fields: Mapping[str, FieldValue]
    senders: tuple[str, ...]
    body: templating.Template | None
    media: Sequence[templating.Template]
    sender: templating.Template | None = None
    templates: FieldTemplates = field(default_factory=FieldTemplates)
    pool: SenderPool | None = None

    @property
    def is_mms(self) -> pl.Expr:
        """Whether a row goes as MMS."""
        return message_fields.is_mms(self.fields)


def compose(
    frame: pl.DataFrame, people: Recipients, offer: CompiledCampaign
) -> tuple[pl.DataFrame, tuple[Mapping[str, Any], ...]]:
    """`frame` with `body, media, fields, encoding, segments, from_number`, and what smart encoding replaced.

    `frame` holds a row for each of `people` with `to, region, reason, detail`; a row that has a reason already is left
    alone.
    """
    frame = _rendered(frame, people, offer)
    frame, replacements = _measured(frame, offer)
    return _with_senders(frame, people, offer), replacements


def _rendered(frame: pl.DataFrame, people: Recipients, offer: CompiledCampaign) -> pl.DataFrame:
    """`frame` with `body`, `media`, `fields` and `_sender`; only rows that still get a message are rendered."""
    frame = frame.with_row_index("_index")
    wanted = frame.filter(pl.col("reason").is_null())
    cells = people.cells[wanted["_index"]] if wanted.height < frame.height else people.cells
    columns = [text_column(offer.body, people, cells).rename({"text": "body"})]
    lists, failed = _media(people, cells, offer)
    columns += failed
    own = offer.templates.render(cells, people)
    sender = _sender_column(people, cells, offer)
    columns += [own.select("reason", "detail"), sender.select("reason", "detail")]
    rendered = wanted.select("_index").with_columns(
        body=columns[0]["body"],
        fields=own["fields"],
        _sender=sender["text"],
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
    # The provider's own template says it.
    told_elsewhere = pl.lit("content_sid" in offer.fields) | message_fields.own("content_sid").is_not_null()
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


def _media(people: Recipients, cells: pl.DataFrame, offer: CompiledCampaign) -> tuple[pl.Series, list[pl.DataFrame]]:
    """Each row's media URLs as a list, blanks and all; and for each template `reason` and `detail` where it failed."""
    if offer.media:
        made = [templating.render(template, cells, people.names) for template in offer.media]
        urls = [url["text"].str.strip_chars().alias(str(number)) for number, url in enumerate(made)]
        none = pl.Series([], dtype=pl.List(pl.String))
        lists = pl.DataFrame(urls).select(pl.concat_list(pl.all()))[:, 0] if cells.height else none
        return lists, [url.select("reason", "detail") for url in made]
    if people.media is None:
        return pl.Series([None] * cells.height, dtype=pl.List(pl.String)).fill_null([]), []
    written = cells[people.media].fill_null("").str.strip_chars()
    return written.str.replace_all(r"[,;\s]+(https?://)", " $1").str.split(" "), []


def text_column(body: templating.Template | None, people: Recipients, cells: pl.DataFrame) -> pl.DataFrame:
    """Columns `text`, `reason`, `detail`: what `body` makes of each row of `cells`, or the column of texts as it is."""
    if body is not None:
        return templating.render(body, cells, people.names)
    plain = cells[people.body] if people.body is not None else pl.Series([None] * cells.height, dtype=pl.String)
    return templating.verbatim(plain)


def _first_of(columns: list[pl.DataFrame], name: str) -> pl.Series:
    return pl.DataFrame([frame[name].alias(str(index)) for index, frame in enumerate(columns)]).select(
        pl.coalesce(pl.all())
    )[:, 0]


def _measured(frame: pl.DataFrame, offer: CompiledCampaign) -> tuple[pl.DataFrame, tuple[Mapping[str, Any], ...]]:
    """`frame` with `encoding` and `segments`; what is longer than allowed is skipped. An MMS counts as one segment."""
    message, capabilities = offer.campaign.message, offer.capabilities
    replaced: tuple[Mapping[str, Any], ...] = ()
    if message.smart_encoding:
        bodies, replacements = segments.smart_encode(frame["body"])
        frame = frame.with_columns(body=bodies)
        replaced = tuple(replacements.to_dicts())
    sizes = segments.measure(frame["body"]).select("encoding", "segments")
    frame = frame.hstack(sizes).with_columns(
        segments=pl.when(offer.is_mms).then(pl.lit(1, pl.UInt32)).otherwise("segments")
    )
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


def _sender_column(people: Recipients, cells: pl.DataFrame, offer: CompiledCampaign) -> pl.DataFrame:
    """Columns `text`, `reason`, `detail`: each row's own sender by the template, or from its cell; null without."""
    if offer.sender is not None:
        made = templating.render(offer.sender, cells, people.names)
        return made.with_columns(
            text=pl.col("text").str.strip_chars(), detail=pl.lit(f"{own_fields.PREFIX}from`: ") + pl.col("detail")
        )
    nothing = pl.Series([None] * cells.height, dtype=pl.String)
    own = not offer.senders and people.sender is not None and offer.capabilities.service_field not in offer.fields
    return templating.verbatim(cells[people.sender].str.strip_chars() if own and people.sender is not None else nothing)


def _with_senders(frame: pl.DataFrame, people: Recipients, offer: CompiledCampaign) -> pl.DataFrame:
    """`frame` with `from_number`, from a pool always the same for a recipient; what the provider refuses is skipped."""
    if offer.pool is not None:
        frame = frame.with_columns(from_number=offer.pool.assign(frame["to"], frame["region"])).drop("_sender")
    elif offer.senders:
        frame = frame.with_columns(from_number=pl.lit(offer.senders[0], pl.String)).drop("_sender")
    else:
        frame = frame.rename({"_sender": "from_number"}).with_columns(pl.col("from_number").replace("", None))
        frame = _without_sender(frame, people, offer)
    varying = not offer.senders and frame["from_number"].null_count() < frame.height
    return _held(frame, people, offer) if varying or offer.templates.sources else frame


def _without_sender(frame: pl.DataFrame, people: Recipients, offer: CompiledCampaign) -> pl.DataFrame:
    """`frame` with the rows skipped that have no sender where nothing else picks one."""
    service = offer.capabilities.service_field
    if service is not None and service in offer.fields:
        return frame
    if offer.sender is not None:
        why = "no sender: `from` came out blank"
    elif people.sender is not None:
        why = f"no sender: the cell in {people.sender!r} is blank and the campaign has no `from`"
    else:
        return frame
    served = pl.lit(value=False) if service is None else message_fields.own(service).is_not_null()
    lacks = pl.col("reason").is_null() & pl.col("from_number").is_null() & ~served
    return frame.with_columns(
        reason=pl.when(lacks).then(pl.lit(SkipReason.MISSING_DATA.value)).otherwise("reason"),
        detail=pl.when(lacks).then(pl.lit(why)).otherwise("detail"),
    )


def _held(frame: pl.DataFrame, people: Recipients, offer: CompiledCampaign) -> pl.DataFrame:
    """`frame` with the rows skipped whose own sender and fields the provider does not take, each case asked once."""
    like = {number: _first_alike(number, offer) for number in offer.senders}
    key = {
        "_from": pl.col("from_number").replace(like) if like else pl.col("from_number"),
        "_fields": pl.col("fields"),
        "_media": pl.col("media").list.len() if offer.templates.sources else pl.lit(0, pl.UInt32),
    }
    live = pl.col("reason").is_null()
    cases = frame.filter(live).select(**key).unique()
    whys: list[str | None] = []
    for sender, own, media in cases.iter_rows():
        try:
            providers.check(
                offer.capabilities,
                senders=() if sender is None else (sender,),
                fields=message_fields.of_row(offer.fields, own),
                media_count=media or 0,
            )
            whys.append(None)
        except InputError as error:  # stays with its rows
            whys.append(_sentence(error, offer))
    judged = cases.with_columns(_why=pl.Series(whys, dtype=pl.String)).filter(pl.col("_why").is_not_null())
    if judged.is_empty():
        return frame
    by_cell = offer.sender is None and people.sender is not None
    about_cell = pl.lit(by_cell) & ~pl.col("_why").str.starts_with(own_fields.PREFIX)
    refused = live & pl.col("_why").is_not_null()
    return (
        frame.with_columns(**key)
        .join(judged, on=list(key), how="left", nulls_equal=True, maintain_order="left")
        .with_columns(
            reason=pl.when(refused & about_cell)
            .then(pl.lit(SkipReason.MISSING_DATA.value))
            .when(refused)
            .then(pl.lit(SkipReason.RENDER_ERROR.value))
            .otherwise("reason"),
            detail=pl.when(refused).then("_why").otherwise("detail"),
        )
        .drop("_why", *key)
    )


def _first_alike(number: str, offer: CompiledCampaign) -> str:
    """A sender of the same kind: with the same fields, a provider takes both or neither."""
    kind = providers.sender_kind(number)
    return next(one for one in offer.senders if providers.sender_kind(one) is kind)


def _sentence(error: InputError, offer: CompiledCampaign) -> str:
    """What the provider does not take, with the field that each row fills in before it."""
    first = str(error).splitlines()[0]
    key = (error.where or "").partition(".")[0]
    templated = key in offer.templates.sources or (key == "from" and offer.sender is not None)
    return f"{own_fields.PREFIX}{error.where}`: {error.what}" if templated or key in offer.fields else first
