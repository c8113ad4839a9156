"""The plan's rows: what each recipient gets (body, media, size, sender, price), a block at a time.

Columns in, columns out. A row that cannot be composed keeps its reason and a sentence, and stops no other. Reads no
files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from sender import segments, templating
from sender.core.outcomes import SkipReason
from sender.plan import message_fields
from sender.plan.plan import PLAN_SCHEMA
from sender.planning.assign_senders import assign_senders
from sender.planning.audience import Audience, count_sendable, mark_suppressed, skip_beyond_limit
from sender.planning.compiled import CompiledCampaign
from sender.planning.compiled_routes import price_dearest
from sender.planning.experiment_rows import assign_variants, skip_groups
from sender.planning.known_numbers import KnownNumbers
from sender.planning.row_fields import FIELD_PREFIX
from sender.planning.used_cells import (
    find_printed_mappings,
    needed_headers,
    note_hidden_rows,
    note_placeholders,
    note_printed_mappings,
    read_headers,
    skip_broken,
    used_headers,
)
from sender.planning.whereabouts import add_places, note_place_problems, without_places
from sender.recipients.columns import Recipients

MarkRows = Callable[[pl.DataFrame], pl.DataFrame]  # gives its reason to each row that it skips
_FILLED = pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))


class MessageBuilder:
    """Composes the plan's rows block by block, and keeps what carries over from one block to the next.

    `test_number` (a row of `sender.phone`) replaces every recipient in a test. `mark_rows` skips the rows that the
    suppression list or an earlier run holds back; `known` narrows zones. The hash is over the plan without them, and
    without the suppression files: a STOP after a run must not make the same campaign look unsent.
    """

    def __init__(
        self,
        compiled: CompiledCampaign,
        recipients: Recipients,
        audience: Audience,
        *,
        limit: int | None,
        test_number: Mapping[str, Any] | None,
        mark_rows: MarkRows | None,
        known: KnownNumbers | None = None,
    ) -> None:
        self._compiled = compiled
        self._recipients = recipients
        self._audience = audience
        self._mark_rows, self._known = mark_rows, known
        self._has_files = audience.marks["suppressed"].null_count() < audience.marks.height
        self._sequencer = _Sequencer(limit, test_number)
        self._hash_sequencer = _Sequencer(limit, test_number)
        self._replaced: dict[str, Mapping[str, Any]] = {}  # by character
        self._used = used_headers(compiled, recipients)
        self._needed = needed_headers(compiled, recipients)
        self._read = read_headers(compiled, recipients)
        self._mappings: dict[str, str] = {}  # that texts have as a whole
        self._hidden_rows: list[pl.Series] = []
        self._place_problems: Counter[str] = Counter()  # rows, by what is wrong with a cell that says where somebody is
        self._placeholders: Counter[tuple[str, str]] = Counter()  # cells that messages use, by header and placeholder

    @property
    def messages(self) -> int:
        """How many of the rows built so far get a message."""
        return self._sequencer.messages

    def blocks(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Yield the plan's rows in order (PLAN_SCHEMA and `recipient`), each block with the rows to hash for it."""
        start = 0
        for block, numbers in zip(self._recipients.blocks(), self._audience.numbers.frames(), strict=True):
            marks = self._audience.marks[start : start + numbers.height]
            start += numbers.height
            yield self._build_block(block, numbers, marks)
            del block

    def replacements(self) -> tuple[Mapping[str, Any], ...]:
        """What smart encoding replaced in all blocks: rows of `segments.smart_encode`, most messages first."""
        order = {character: place for place, character in enumerate(segments.LOOK_ALIKES)}
        return tuple(sorted(self._replaced.values(), key=lambda row: (-row["messages"], order[row["character"]])))

    def _build_block(
        self, recipients: Recipients, numbers: pl.DataFrame, marks: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        frame = numbers.with_columns(
            recipients.row_numbers,
            reason=marks["reason"],
            detail=pl.when(pl.col("reason").is_null()).then(marks["detail"]).otherwise("detail"),
        )
        frame = skip_broken(frame, recipients, self._needed).with_columns(assign_variants(frame["to"], self._compiled))
        read = recipients.select(self._read)
        self._count_placeholders(read, frame["reason"].is_null())
        self._mappings = find_printed_mappings(self._compiled, recipients) | self._mappings
        frame, replacements = compose_block(frame, read, self._compiled, suppressed=marks["suppressed"])
        self._count_replaced(replacements)
        frame = self._add_places(frame, read)
        if self._mark_rows is None and not self._has_files:
            rows = hashed = self._sequencer.number(skip_groups(frame, self._compiled.experiment))
        else:
            marked = mark_suppressed(frame, marks["suppressed"]) if self._has_files else frame
            marked = marked if self._mark_rows is None else self._mark_rows(marked)
            rows = self._sequencer.number(skip_groups(marked, self._compiled.experiment))
            hashed = self._hash_sequencer.number(skip_groups(frame, self._compiled.experiment))
        self._find_hidden(rows)
        originals = recipients.originals
        rows = price_dearest(rows, self._compiled)
        return rows.hstack([originals]), hashed.hstack([originals])

    @property
    def hidden_rows(self) -> pl.Series:
        """The numbers of the rows built so far that a workbook hides and that get a message (UInt32)."""
        return pl.concat(self._hidden_rows) if self._hidden_rows else pl.Series(dtype=pl.UInt32)

    def notes(self) -> Iterator[str]:
        """Yield what a person should know of the rows that were built."""
        yield from note_hidden_rows(self._compiled, self._recipients, self.hidden_rows.len())
        yield from note_placeholders(self._placeholders)
        yield from note_printed_mappings(self._mappings)
        yield from note_place_problems(self._place_problems)

    def _count_placeholders(self, recipients: Recipients, live: pl.Series) -> None:
        """Count the placeholders in the cells that the messages of the rows `live` use."""
        words = self._compiled.placeholders
        used = [header for header in recipients.headers if header in self._used]
        if used and words:
            cells = recipients.cells[used]  # there is one: an empty list would mean no rows
            if templating.count_placeholders(cells, cells.columns, words):  # most lists have none
                self._placeholders.update(templating.count_placeholders(cells.filter(live), cells.columns, words))

    def _count_replaced(self, replacements: Iterable[Mapping[str, Any]]) -> None:
        for row in replacements:
            earlier = self._replaced.get(row["character"], {"messages": 0})
            self._replaced[row["character"]] = {**row, "messages": row["messages"] + earlier["messages"]}

    def _find_hidden(self, rows: pl.DataFrame) -> None:
        hidden = self._recipients.table.hidden_rows
        if hidden.len():
            numbers = rows.filter(pl.col("seq").is_not_null())["row_number"]
            self._hidden_rows.append(numbers.filter(numbers.is_in(hidden.implode())))

    def _add_places(self, frame: pl.DataFrame, recipients: Recipients) -> pl.DataFrame:
        if not self._compiled.window:
            return without_places(frame)
        frame = add_places(frame, recipients, self._known)
        problems = frame.filter(pl.col("reason").is_null())["_place_problem"].drop_nulls()
        for problem, rows in problems.value_counts(name="rows").iter_rows():
            self._place_problems[problem] += rows
        return frame.drop("_place_problem")


class _Sequencer:
    """Numbers the rows that get a message (`seq`), block after block, and skips those beyond the limit."""

    def __init__(self, limit: int | None, test_number: Mapping[str, Any] | None) -> None:
        self._limit = limit
        self._test_number = test_number
        self._composed = 0  # rows that would be sent if there were no limit
        self.messages = 0

    def number(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows as in PLAN_SCHEMA, without prices."""
        if self._limit is not None:
            sendable = count_sendable(frame)
            frame = skip_beyond_limit(frame, self._limit, before=self._composed)
            self._composed += sendable
        live = pl.col("reason").is_null()
        if self._test_number is not None:
            frame = frame.with_columns(
                pl.when(live).then(pl.lit(self._test_number[name], pl.String)).otherwise(name).alias(name)
                for name in ("to", "region", "number_type")
            )
        frame = frame.with_columns(
            seq=pl.when(live).then(live.cum_sum() - 1 + self.messages), cost_micros=pl.lit(None, pl.Int64)
        )
        self.messages += frame["seq"].count()
        return frame.select(pl.col(name).cast(dtype) for name, dtype in PLAN_SCHEMA.items())


def compose_block(
    frame: pl.DataFrame, recipients: Recipients, compiled: CompiledCampaign, *, suppressed: pl.Series | None = None
) -> tuple[pl.DataFrame, tuple[Mapping[str, Any], ...]]:
    """Return `frame` with `body, media, fields, encoding, segments, from_number`, and what smart encoding replaced.

    `frame` has a row for each row of `recipients` with `to, region, reason, detail`. A row that already has a reason
    is not composed. What was replaced is not counted for rows that have a value in `suppressed`. Where the campaign has
    variants, each row has the one in the column `variant`.
    """
    if compiled.variants:
        return _compose_variants(frame, recipients, compiled, suppressed)
    frame = _render(frame, recipients, compiled)
    counted = None if suppressed is None or suppressed.null_count() == suppressed.len() else suppressed.is_null()
    frame, replacements = _measure(frame, compiled, counted)
    return assign_senders(frame, recipients, compiled), replacements


def _compose_variants(
    frame: pl.DataFrame, recipients: Recipients, compiled: CompiledCampaign, suppressed: pl.Series | None
) -> tuple[pl.DataFrame, tuple[Mapping[str, Any], ...]]:
    """Return as `compose_block` what each row's variant makes of it. A row without one has no number, and no text."""
    first = compiled.variants[0]
    names = frame["variant"].fill_null(first.name)
    parts: list[pl.DataFrame] = []
    places: list[pl.Series] = []
    replacements: list[Mapping[str, Any]] = []
    for variant in compiled.variants:
        here = (names == variant.name).arg_true()
        if not here.len():
            continue
        listed = None if suppressed is None else suppressed[here]
        own = compiled.of_variant(variant)
        part, replaced = compose_block(frame[here], recipients.take(here), own, suppressed=listed)
        parts.append(part)
        places.append(here)
        replacements += replaced
    if not parts:
        return compose_block(frame, recipients, compiled.of_variant(first), suppressed=suppressed)
    joined = pl.concat(parts, how="vertical_relaxed").with_columns(_place=pl.concat(places))
    return joined.sort("_place").drop("_place"), tuple(replacements)


def render_body(compiled: CompiledCampaign, recipients: Recipients, cells: pl.DataFrame) -> pl.DataFrame:
    """Return `text`, `reason`, `detail` for each row of `cells`: the body rendered, or else the cell of the body."""
    body, placeholders = compiled.body, compiled.placeholders
    if body is not None:
        return templating.render(body, cells, recipients.names, nested=recipients.nested_cells)
    texts = cells[recipients.body] if recipients.body is not None else _blank_column(cells)
    return templating.verbatim(texts, placeholders)


def _render(frame: pl.DataFrame, recipients: Recipients, compiled: CompiledCampaign) -> pl.DataFrame:
    """Return `frame` with `body`, `media`, `fields` and `_sender`; only rows that still get a message are rendered."""
    frame = frame.with_row_index("_index")
    live = frame.filter(pl.col("reason").is_null())
    recipients = recipients.take(live["_index"]) if live.height < frame.height else recipients
    cells = recipients.cells
    body = render_body(compiled, recipients, cells)
    if compiled.links is not None:
        body = compiled.links.fill(body, live["to"])
    media, media_failures = _render_media(recipients, cells, compiled)
    fields = compiled.row_fields.render(cells, recipients)
    sender = _render_sender(recipients, cells, compiled)
    failures = [body, *media_failures, fields, sender]
    rendered = live.select("_index").with_columns(
        body=body["text"],
        links=body["links"] if compiled.links is not None else pl.lit(None, pl.List(pl.String)),
        fields=fields["fields"],
        _sender=sender["text"],
        media=media,
        _reason=_first_value(failures, "reason"),
        _detail=_first_value(failures, "detail"),
    )
    rendered = _skip_empty(rendered, compiled)
    if live.height == frame.height:
        joined = frame.drop("_index").hstack(rendered.drop("_index"))
    else:
        joined = frame.join(rendered, on="_index", how="left", maintain_order="left").drop("_index")
    failed = {name: pl.coalesce(name, f"_{name}") for name in ("reason", "detail")}
    return joined.with_columns(**failed).drop("_reason", "_detail")


def _skip_empty(rendered: pl.DataFrame, compiled: CompiledCampaign) -> pl.DataFrame:
    """Return `rendered` with `_reason` and `_detail` where media is not a URL or the message would be empty."""
    bad_url = pl.lit(value=False)
    if rendered["media"].list.len().max():
        wrong = pl.col("media").list.eval(~pl.element().str.contains(r"^(?i)https?://[^\s/]+\S*$"))
        bad_url = wrong.list.any().fill_null(value=False)
    provider_writes = pl.lit("content_sid" in compiled.fields) | message_fields.row_field("content_sid").is_not_null()
    empty = (
        ~provider_writes & (pl.col("body").fill_null("").str.strip_chars() == "") & (pl.col("media").list.len() == 0)
    )
    return rendered.with_columns(
        _reason=pl.coalesce(
            "_reason",
            pl.when(bad_url).then(pl.lit(SkipReason.RENDER_ERROR.value)),
            pl.when(empty).then(pl.lit(SkipReason.MISSING_DATA.value)),
        ),
        _detail=pl.coalesce(
            "_detail",
            pl.when(bad_url).then(pl.format("media is not an http or https URL: {}", pl.col("media").list.join(" "))),
            pl.when(empty).then(pl.lit("the message would be empty: no text and no media")),
        ),
    )


def _render_media(
    recipients: Recipients, cells: pl.DataFrame, compiled: CompiledCampaign
) -> tuple[pl.Series, list[pl.DataFrame]]:
    """Return each row's media URLs as a list, without blanks, and for each template `reason` and `detail`."""
    if compiled.media:
        nested = recipients.nested_cells
        columns = [templating.render(template, cells, recipients.names, nested=nested) for template in compiled.media]
        urls = [column["text"].str.strip_chars().alias(str(place)) for place, column in enumerate(columns)]
        empty = pl.Series([], dtype=pl.List(pl.String))
        lists = pl.DataFrame(urls).select(pl.concat_list(pl.all()))[:, 0] if cells.height else empty
        return lists.list.eval(_FILLED), [column.select("reason", "detail") for column in columns]
    if recipients.media is None:
        return pl.Series([[]], dtype=pl.List(pl.String)).new_from_index(0, cells.height), []
    cell = templating.verbatim(cells[recipients.media].str.strip_chars(), compiled.placeholders)
    text = cell["text"].fill_null("").str.replace(r"[,;\s]+$", "")  # a list may end as it is separated
    listed = text.str.replace_all(r"(?i)[,;\s]+(https?://)", " $1").str.split(" ")
    return listed.list.eval(_FILLED), [cell.select("reason", "detail")]


def _render_sender(recipients: Recipients, cells: pl.DataFrame, compiled: CompiledCampaign) -> pl.DataFrame:
    """Return `text`, `reason`, `detail`: each row's own sender by the template, or from its cell; null without."""
    if compiled.sender is not None:
        nested = recipients.nested_cells
        return templating.render(compiled.sender, cells, recipients.names, nested=nested).with_columns(
            text=pl.col("text").str.strip_chars(), detail=pl.lit(f"{FIELD_PREFIX}from`: ") + pl.col("detail")
        )
    by_cell = not compiled.senders and compiled.capabilities.service_field not in compiled.fields
    if by_cell and recipients.sender is not None:
        return templating.verbatim(cells[recipients.sender].str.strip_chars(), compiled.placeholders)
    return templating.verbatim(_blank_column(cells))


def _blank_column(cells: pl.DataFrame) -> pl.Series:
    return pl.repeat(None, cells.height, dtype=pl.String, eager=True)


def _first_value(frames: Sequence[pl.DataFrame], column: str) -> pl.Series:
    """Return each row's first value of `column` in `frames` that is not null."""
    columns = [frame[column].alias(str(place)) for place, frame in enumerate(frames)]
    return pl.DataFrame(columns).select(pl.coalesce(pl.all()))[:, 0]


def _measure(
    frame: pl.DataFrame, compiled: CompiledCampaign, counted: pl.Series | None
) -> tuple[pl.DataFrame, tuple[Mapping[str, Any], ...]]:
    """Return `frame` with `encoding` and `segments`, messages beyond a limit skipped. An MMS counts as one segment."""
    replacements: tuple[Mapping[str, Any], ...] = ()
    if compiled.smart_encoding:
        bodies, replaced = segments.smart_encode(frame["body"])
        if counted is not None:
            _, replaced = segments.smart_encode(frame["body"].filter(counted))
        frame = frame.with_columns(body=bodies)
        replacements = tuple(replaced.to_dicts())
    sizes = segments.measure(frame["body"]).select("encoding", "segments")
    frame = frame.hstack(sizes).with_columns(
        segments=pl.when(compiled.is_mms).then(pl.lit(1, pl.UInt32)).otherwise("segments")
    )
    limits = compiled.capabilities
    chars, media, title = pl.col("body").str.len_chars(), pl.col("media").list.len(), pl.lit(limits.title)
    max_segments = pl.lit(compiled.max_segments, pl.UInt32)
    beyond = (chars > limits.body_max_chars) | (pl.col("segments") > max_segments) | (media > limits.media_max)
    if not frame.select(beyond.any()).item():  # as mostly: to write the sentences takes longer than to look
        return frame, replacements
    too_long = (
        pl.when(chars > limits.body_max_chars)
        .then(pl.format("{} characters; {} takes {}", chars, title, limits.body_max_chars))
        .when(pl.col("segments") > max_segments)
        .then(pl.format("{} segments ({}); max_segments is {}", "segments", "encoding", max_segments))
        .when(media > limits.media_max)
        .then(pl.format("{} media; {} takes {}", media, title, limits.media_max))
    )
    frame = frame.with_columns(_why=pl.when(pl.col("reason").is_null()).then(too_long))
    skipped = pl.col("_why").is_not_null()
    return frame.with_columns(
        reason=pl.when(skipped).then(pl.lit(SkipReason.TOO_LONG.value)).otherwise("reason"),
        detail=pl.coalesce("_why", "detail"),
    ).drop("_why"), replacements
