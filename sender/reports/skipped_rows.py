"""The skipped rows of a plan: grouped by what caused them, and as a file to correct them in.

Reads the plan and nothing else; never prints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sender.core.lazy_modules import pl
from sender.core.outcomes import SkipReason
from sender.core.output_files import NOTHING_PROTECTED, OutputKind, Protected
from sender.core.safe_tables import SKIPPED_COLUMNS, are_skipped_headers, free_name
from sender.plan.plan import Plan
from sender.reports.table_files import read_headers, write_table

_MOST_CAUSES = 20
MASK = "…"  # in the sentence of a cause, for what is each row's own
_EXAMPLES = 3
_KEPT, _KEPT_END = "\x01", "\x02"  # for the backticks around a column or a field, while other texts are masked
# What differs between rows that are skipped for one cause: a cell, a value, another row, a number, a time, a size.
# Words end as in ASCII: the boundaries of Unicode take ten times as long where a text has one other character.
_OWN = (
    r"(is not an http or https URL: ).*"
    r"|`[^`]*`"
    r"|(^|[ :(])'[^']*'"
    r"|(?-u:\b)row [0-9,]+"
    r"|\+[0-9]{6,15}"
    r"|(?-u:\b)(on )[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?"
    r"|(?-u:\b)[0-9]+ (?:characters|segments|media)(?-u:\b)"
)


@dataclass(frozen=True, slots=True)
class SkippedExample:
    """A skipped row: its number in the file, the sentence that it was skipped with, and what is its own in that."""

    row_number: int
    detail: str
    own: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SkipCause:
    """Rows that were skipped with one `reason` and for one cause.

    `sentence` says it with `…` for what differs between the rows; `examples` are the first of them.
    """

    reason: str
    sentence: str
    rows: int
    examples: tuple[SkippedExample, ...]


@dataclass(frozen=True, slots=True)
class SkipCauses:
    """The causes with most rows, and how many more causes and rows there are."""

    causes: tuple[SkipCause, ...]
    more_causes: int
    more_rows: int


def group_skipped(plan: Plan, *, most: int = _MOST_CAUSES) -> SkipCauses:
    """Return the causes of the skipped rows of `plan`, those with most rows first, with three examples each.

    The plan is read a block at a time; 12 bytes are held for a row, and a sentence for a cause.
    """
    if plan.manifest.messages == plan.manifest.rows:
        return SkipCauses((), 0, 0)
    rows = _with_causes(plan)
    groups = rows.group_by("reason", "cause").agg(pl.len().alias("rows"), pl.col("row_number").bottom_k(_EXAMPLES))
    groups = groups.with_columns(first=pl.col("row_number").list.min()).sort("rows", "first", descending=[True, False])
    shown = groups.head(most)
    details = _read_details(plan, shown["row_number"].explode())
    causes = tuple(
        _describe_cause(str(reason), str(cause), count, [(number, details[number]) for number in sorted(numbers)])
        for reason, cause, count, numbers in shown.select("reason", "cause", "rows", "row_number").iter_rows()
    )
    more_rows = int(groups["rows"].sum()) - int(shown["rows"].sum())
    return SkipCauses(causes, groups.height - shown.height, more_rows)


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row whose person wrote what may be an opt-out: its number in the file, theirs, and when they wrote what."""

    row_number: int
    to: str
    detail: str


def list_under_review(plan: Plan) -> list[HeldRow]:
    """Return the rows of `plan` that wait for a decision about a reply, in file order."""
    if SkipReason.UNDER_REVIEW not in plan.manifest.skipped:
        return []
    rows = plan.scan().filter(pl.col("reason") == SkipReason.UNDER_REVIEW.value).select("row_number", "to", "detail")
    return [HeldRow(*row) for row in rows.sort("row_number").collect().iter_rows()]


def skipped_frame(plan: Plan) -> pl.DataFrame:
    """Return the skipped rows in file order: `row_number`, the original columns as they were read, and why.

    The last two columns are `skipped_as` (a reason) and `because` (a sentence). Where an original column has such a
    name, ours gets the prefix `sender_`. `row_number` is UInt32, all else String.
    """
    skipped = plan.skipped.sort("row_number")
    cells = skipped["recipient"]
    originals = cells.struct.unnest() if isinstance(cells.dtype, pl.Struct) else pl.DataFrame()
    names = [free_name(name, originals.columns) for name in SKIPPED_COLUMNS]
    ours = skipped.select("row_number", "reason", "detail")
    ours.columns = names
    return pl.concat([ours[:, :1], originals, ours[:, 1:]], how="horizontal")


def write_skipped(plan: Plan, path: Path, protected: Protected = NOTHING_PROTECTED, *, force: bool = False) -> int:
    """Write the skipped rows as a CSV, JSONL, Parquet or XLSX file, whole or not at all, and return their number.

    It is readable by its owner only. No cell becomes a formula. Raises InputError where another file is
    there (unless `force`), the format is none of these, or the file cannot be written.
    """
    frame = skipped_frame(plan)
    write_table(frame, path, _SKIPPED_FILE, protected, force=force)
    return frame.height


def _is_skipped_file(path: Path) -> bool:
    return are_skipped_headers(read_headers(path))


_SKIPPED_FILE = OutputKind("a file of skipped rows", _is_skipped_file)


def _with_causes(plan: Plan) -> pl.DataFrame:
    """Return `row_number`, `reason` and `cause` of the skipped rows: a sentence with `…` for what is the row's own."""
    cause = pl.col("detail").fill_null("")
    cause = cause.str.replace_all(r"`([^`]*)` is blank", f"{_KEPT}${{1}}{_KEPT_END} is blank")
    cause = cause.str.replace_all(r"(?-u:\b)field `([^`]*)`", f"field {_KEPT}${{1}}{_KEPT_END}")
    cause = cause.str.replace_all(r"`((?:recipients|message|limits)\.[a-z_]+)`", f"{_KEPT}${{1}}{_KEPT_END}")
    cause = cause.str.replace_all(_OWN, f"${{1}}${{2}}${{3}}{MASK}")
    for kept in (_KEPT, _KEPT_END):
        cause = cause.str.replace_all(kept, "`", literal=True)
    rows = plan.scan().filter(pl.col("seq").is_null())
    return rows.select("row_number", pl.col("reason").cast(pl.Categorical), cause=cause.cast(pl.Categorical)).collect(
        engine="streaming"
    )


def _read_details(plan: Plan, row_numbers: pl.Series) -> dict[int, str]:
    """Return the sentences of a few rows."""
    rows = plan.scan().filter(pl.col("row_number").is_in(row_numbers.implode()))
    return dict(rows.select("row_number", pl.col("detail").fill_null("")).collect().iter_rows())


def _describe_cause(reason: str, cause: str, rows: int, first: Sequence[tuple[int, str]]) -> SkipCause:
    """Return a cause with its first rows; its sentence is theirs where all of them have the same."""
    examples = tuple(SkippedExample(number, detail, _own(detail, cause)) for number, detail in first)
    details = {detail for _, detail in first}
    return SkipCause(reason, details.pop() if len(details) == 1 else cause, rows, examples)


def _own(detail: str, cause: str) -> tuple[str, ...]:
    """Return the stretches of `detail` for which `cause` has `…`."""
    match = re.fullmatch("(.+?)".join(re.escape(part) for part in cause.split(MASK)), detail, re.DOTALL)
    return match.groups() if match else ()
