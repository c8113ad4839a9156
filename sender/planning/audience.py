"""Who gets a message: each row's number, and which rows are skipped for their type, a suppression file or repetition.

Of the whole list only what suppression and repetition compare is held at once. Reads the suppression files and the
suppression list, nothing else.

The rules are functions of a frame with at least `row_number` (UInt32), `to`, `reason` and `detail` (String). Each
returns the same rows in the same order and changes only rows whose `reason` is null, so the order of the calls is the
order of the rules: a row that is already skipped takes no other row's place. None drops a row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from sender import phone
from sender.core.errors import CampaignError
from sender.core.frame_buffer import SpillingFrames
from sender.core.outcomes import SkipReason
from sender.plan.message_fields import SERVICE_FIELDS, row_service
from sender.planning.compiled import CompiledCampaign
from sender.planning.recipient_numbers import note_countries, read_numbers
from sender.recipients.columns import Recipients
from sender.recipients.consent_columns import note_consent
from sender.recipients.input_file import InputFile
from sender.suppression.live_check import apply_suppression
from sender.suppression.number_files import NumberFile
from sender.suppression.number_list import NumberList
from sender.suppression.number_match import Matches, People
from sender.suppression.suppression_list import SuppressionList

FIXED_LINE = "fixed_line"
SAME_NUMBER = "same number as row {}"
_TYPE_NAMES = {"uan": "universal access"}  # the others are words

_SENDABLE = pl.col("reason").is_null() & pl.col("to").is_not_null()


@dataclass(frozen=True, slots=True, eq=False)
class Audience:
    """What is known of each row before its message is composed.

    `numbers` has a frame for each block of the recipients, with the columns of `phone.normalize`. `marks` has the whole
    list's `reason` and `detail` by type of number and repetition (`reason` also where the number is invalid), and
    `suppressed`, the name of the suppression file that has the number. `inputs` are the suppression files, `notes` what
    a person should know of them and of the numbers.
    """

    numbers: SpillingFrames
    marks: pl.DataFrame
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PlanSuppression:
    """The suppression list as a plan uses it.

    `mark_rows` gives the rows that it holds back their reason. `checked` is the manifest's record of it: entries up to
    `mark` need not be looked at again when the plan is sent. Both are None without a list.
    """

    mark_rows: Callable[[pl.DataFrame], pl.DataFrame] | None
    checked: Mapping[str, Any] | None


def resolve_audience(compiled: CompiledCampaign, recipients: Recipients) -> Audience:
    """Return who can get a message, with the rows to skip marked. Raises RecipientsError for a suppression file."""
    rules = compiled.numbers
    read = read_numbers(compiled, recipients)
    numbers = read.frames
    blocks = zip(recipients.table.columns([]), numbers.frames(["to", "reason", "number_type"]), strict=True)
    frame = pl.concat([rows.hstack(block) for rows, block in blocks], rechunk=True).with_columns(
        detail=pl.lit(None, pl.String)
    )
    frame = skip_types(frame, rules.skip_types)
    frame = hold_types(frame, [kind for kind in phone.HELD_TYPES if kind not in rules.allow_types]).drop("number_type")
    if rules.hidden_rows == "skip":
        frame = skip_hidden(frame, recipients.table.hidden_rows)
    inputs: list[InputFile] = []
    notes = [*note_countries(compiled, recipients, read)]
    used = compiled.find_used_columns(recipients)
    notes += note_consent(recipients.table, recipients.names, used, compiled.placeholders)
    suppressed = pl.repeat(None, frame.height, dtype=pl.String, eager=True)
    people = People(frame.select(pl.when(_SENDABLE).then("to")).to_series())
    for file in rules.suppress:
        listed = file.read()
        matches = people.match(listed)
        suppressed = suppressed.set(matches.held & suppressed.is_null(), file.path.name)
        inputs += [listed.file]
        notes += _note_list(file, listed, matches)
    frame = skip_duplicates(frame, rules.dedupe)
    marks = frame.select("reason", "detail").with_columns(suppressed=suppressed)
    return Audience(numbers, marks, tuple(inputs), tuple(notes))


@contextmanager
def open_suppression(compiled: CompiledCampaign, state_dir: str | Path | None) -> Iterator[PlanSuppression]:
    """Open the suppression list in `state_dir` (None: there is none) for the time in which the plan is built."""
    if state_dir is None:
        yield PlanSuppression(None, None)
        return
    context = compiled.send_context
    with SuppressionList.open(state_dir, read_only=True) as suppressions:
        # Taken before the list is read: an entry added meanwhile is looked at twice, never missed.
        checked = {"mark": suppressions.mark(), "skip_dead": context.skip_dead}
        yield PlanSuppression(
            lambda frame: apply_suppression(frame, suppressions, context, own_service=row_service(SERVICE_FIELDS)),
            checked,
        )


def read_test_number(compiled: CompiledCampaign, number: str) -> dict[str, Any]:
    """Return the number for all messages of a test, as a row of `phone.normalize`. Raises CampaignError."""
    row = phone.normalize(
        pl.Series([number]),
        default_region=compiled.numbers.default_region,
        passthrough=compiled.capabilities.passthrough,
    ).row(0, named=True)
    if row["to"] is None:
        raise CampaignError(f"--test-to {number}: {row['detail']}", fix="write it as +12025550100")
    return row


def skip_types(frame: pl.DataFrame, types: Collection[str]) -> pl.DataFrame:
    """Skip the rows whose `number_type` (String) is one of `types`: as `landline` for fixed lines, else `suppressed`.

    The number is good in either case; it is the campaign that leaves it out.
    """
    if not types:
        return frame
    detail = pl.format("a {} number, a type that recipients.skip_types leaves out", "number_type")
    fixed = pl.col("number_type") == FIXED_LINE
    frame = skip_rows(frame, fixed & pl.lit(FIXED_LINE in types), SkipReason.LANDLINE, detail)
    return skip_rows(frame, pl.col("number_type").is_in(list(types)), SkipReason.SUPPRESSED, detail)


def skip_hidden(frame: pl.DataFrame, hidden_rows: pl.Series) -> pl.DataFrame:
    """Skip, as `hidden_row`, the rows whose `row_number` is one of `hidden_rows` (UInt32)."""
    if hidden_rows.is_empty():
        return frame
    hidden = pl.col("row_number").is_in(hidden_rows.implode())
    return skip_rows(frame, hidden, SkipReason.HIDDEN_ROW, pl.lit("the row is hidden in the workbook"))


def hold_types(frame: pl.DataFrame, types: Collection[str]) -> pl.DataFrame:
    """Skip, as `suppressed`, the rows whose `number_type` (String) is one of `types`, which are no person's phone."""
    detail = pl.format(
        "{} is a {} number, not a person's phone; to send to it anyway, set `recipients.allow_types: {}`",
        "to",
        pl.col("number_type").replace(_TYPE_NAMES).str.replace("_", "-", literal=True),
        "number_type",
    )
    return skip_rows(frame, pl.col("number_type").is_in(list(types)), SkipReason.SUPPRESSED, detail)


def mark_suppressed(frame: pl.DataFrame, names: pl.Series) -> pl.DataFrame:
    """Skip, as `suppressed`, the rows for which `names` has the suppression file with their number.

    Whatever else is wrong with such a row (a repeated number, a text that cannot be rendered) does not matter then.
    """
    listed = pl.lit(names)
    return frame.with_columns(
        reason=pl.when(listed.is_not_null()).then(pl.lit(SkipReason.SUPPRESSED.value)).otherwise("reason"),
        detail=pl.when(listed.is_not_null()).then(pl.format("the number is in {}", listed)).otherwise("detail"),
    )


def skip_duplicates(frame: pl.DataFrame, keep: Literal["first", "last", "none"]) -> pl.DataFrame:
    """Skip, as `duplicate`, the rows whose `to` another row has too, which `detail` names.

    `keep` says which row stays, the `first` or the `last` in the frame's order; `none` skips no duplicates.
    """
    if keep == "none":
        return frame
    index = frame.select(_SENDABLE.arg_true()).to_series()
    keys = _comparable(frame["to"].gather(index))
    stays = keys.is_first_distinct() if keep == "first" else keys.is_last_distinct()
    if stays.all():
        return frame
    row_numbers = frame["row_number"].gather(index)
    rows = pl.DataFrame({"key": keys, "index": index, "row": row_numbers})
    repeated = rows.filter(~stays).join(rows.filter(stays).select("key", original="row"), on="key")
    originals = pl.repeat(None, frame.height, dtype=pl.UInt32, eager=True).scatter(
        repeated["index"], repeated["original"]
    )
    return skip_rows(
        frame,
        pl.lit(originals.is_not_null()),
        SkipReason.DUPLICATE,
        pl.format(SAME_NUMBER, pl.lit(originals)),
    )


def skip_already_sent(frame: pl.DataFrame, contacts: pl.DataFrame) -> pl.DataFrame:
    """Skip, as `already_sent`, the rows whose `to` is in `contacts` (CONTACTS_SCHEMA): they have had it, or may have.

    The detail names the run and its date.
    """
    if contacts.is_empty():
        return frame
    day = pl.from_epoch("at_ms", time_unit="ms").dt.strftime("%Y-%m-%d")
    earlier = contacts.select("to", _sent=pl.format("had it, or may have had it, from run {} on {}", "run_id", day))
    joined = frame.join(earlier, on="to", how="left", maintain_order="left")
    return skip_rows(joined, pl.col("_sent").is_not_null(), SkipReason.ALREADY_SENT, pl.col("_sent")).drop("_sent")


def skip_beyond_limit(frame: pl.DataFrame, n: int, *, before: int = 0) -> pl.DataFrame:
    """Skip, as `limit`, each sendable row after the first `n`; `before` of them are in earlier frames."""
    beyond = _SENDABLE.cum_sum() > n - before
    first = "first recipient" if n == 1 else f"first {n:,} recipients"
    return skip_rows(frame, beyond, SkipReason.LIMIT, pl.lit(f"beyond the {first}"))


def count_sendable(frame: pl.DataFrame) -> int:
    """Return how many rows of the frame still get a message."""
    return int(frame.select(_SENDABLE.sum()).item())


def _comparable(numbers: pl.Series) -> pl.Series:
    """Return numbers as they are compared: as integers (UInt64, faster) if all are E.164, else unchanged.

    No calling code begins with 0, so equal integers are equal numbers.
    """
    if not numbers.str.starts_with("+").all():
        return numbers
    digits = numbers.str.slice(1).cast(pl.UInt64, strict=False)
    return digits if digits.null_count() == numbers.null_count() else numbers


def skip_rows(frame: pl.DataFrame, which: pl.Expr, reason: SkipReason, detail: pl.Expr) -> pl.DataFrame:
    """Give `reason` and `detail` to the rows of `which` that would still get a message."""
    now = _SENDABLE & which
    return frame.with_columns(
        reason=pl.when(now).then(pl.lit(reason.value)).otherwise("reason"),
        detail=pl.when(now).then(detail).otherwise("detail"),
    )


def _note_list(file: NumberFile, listed: NumberList, matches: Matches) -> Iterator[str]:
    """Yield what a person should know of a suppression file: whom each column holds back, and rows without numbers."""
    name = file.path.name
    if len(listed.columns) > 1 or not all(column.named for column in listed.columns):
        counts = ", ".join(f"`{column}` {count:,}" for column, count in matches.alone.items())
        yield f"{name}: recipients who are in one column only: {counts or 'none'}"
    if listed.blank_rows:
        yield f"{name}: {listed.blank_rows:,} {'row has' if listed.blank_rows == 1 else 'rows have'} no number"
    if listed.unreadable_rows:
        rows = "1 row holds" if listed.unreadable_rows == 1 else f"{listed.unreadable_rows:,} rows hold"
        yield f"{name}: {rows} a number that cannot be read, as `unreadable` allows: {listed.describe_unreadable()}"
    if not file.can_be_read_again:
        yield f"{name} is not a file that can be read again: numbers that are added to it later do not count"
