"""What became of every input row: plan and journal joined, written as a file, and counted.

The results hold each input row exactly once, in file order, with its original cells untouched. Reads the plan and
the journal's frame it is given; never opens a ledger, never touches the network, never prints.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO

import polars as pl
import xlsxwriter

from sender.core.errors import InputError
from sender.core.outcomes import State, Status
from sender.plan.manifest import sender_shown
from sender.plan.message_fields import ref_column
from sender.plan.plan import Plan
from sender.state.message_status import status_of

# Ours: `row_number` stands before the original columns, the others after them.
COLUMNS: tuple[str, ...] = (
    "row_number",
    "to",
    "from",
    "provider",
    "message_id",
    "ref",
    "status",
    "provider_status",
    "reason",
    "error_code",
    "error_message",
    "segments",
    "encoding",
    "price",
    "currency",
    "attempts",
    "created_at",
    "sent_at",
    "updated_at",
    "run_id",
)
FORMATS: tuple[str, ...] = ("csv", "jsonl", "parquet", "xlsx")

_PREFIX = "sender_"
_SUFFIXES = {f".{name}": name for name in FORMATS} | {".ndjson": "jsonl"}
_BAD = (Status.REJECTED, Status.FAILED, Status.UNDELIVERED)

# What a spreadsheet takes for a formula, with the full-width signs some locales read alike; a plain number is not one.
_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
_NUMBER = r"^[+-]?\d+(\.\d+)?$"

# Excel's own limits (support.microsoft.com, "Excel specifications and limits", 2025-11); it counts UTF-16 units.
_XLSX_ROWS, _XLSX_COLUMNS, _XLSX_CELL = 1_048_576, 16_384, 32_767


def results(plan: Plan, journal: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Every input row of `plan` in file order: COLUMNS, with the original columns after `row_number`.

    An original column keeps its name and its text. Where its name is one of ours, ours gets the prefix `sender_`
    (`sender_status`), as often as it takes to be free. `row_number`, `segments` and `attempts` are UInt32, the times
    Datetime("ms", "UTC"), all else String.

    A skipped row has `to` (where its number could be read), `provider`, `run_id`, and why in `reason` and
    `error_message`. `segments` are the provider's count where it gave one, else the plan's; `price` is the
    provider's own writing. `from` is the number that was really used, or else the planned one, or the service's id
    where a service picks the number. An intent shows as `unknown`: only a crash leaves one standing.
    """
    message = pl.col("seq").is_not_null()
    frame = plan.frame
    joined = frame.join(
        journal.select("seq", pl.exclude("seq").name.prefix("_")), on="seq", how="left", maintain_order="left"
    )
    ours = joined.select(
        "row_number",
        "to",
        pl.when(message).then(pl.coalesce("_sender", sender_shown(plan.manifest))).alias("from"),
        pl.lit(plan.manifest.provider).alias("provider"),
        message_id="_message_id",
        ref=pl.when(message).then(ref_column(run_id, pl.col("seq"))),
        status=status_of(),
        provider_status="_provider_status",
        reason=pl.when(message).then("_reason").otherwise("reason"),
        error_code="_error_code",
        error_message=pl.when(message).then("_error_message").otherwise("detail"),
        segments=pl.when(message).then(pl.coalesce("_segments", "segments")),
        encoding=pl.when(message).then("encoding"),
        price="_price",
        currency="_currency",
        attempts=pl.when(message).then(pl.col("_attempts").fill_null(0)),
        created_at="_created_at",
        sent_at="_sent_at",
        updated_at="_updated_at",
        run_id=pl.lit(run_id),
    )
    cells = frame["recipient"]
    originals = cells.struct.unnest() if isinstance(cells.dtype, pl.Struct) else pl.DataFrame()
    ours = ours.rename({name: _free(name, originals.columns) for name in COLUMNS})
    return pl.concat([ours[:, :1], originals, ours[:, 1:]], how="horizontal")


def check_target(path: str | Path, format: str | None = None) -> tuple[Path, str]:  # noqa: A002 (the flag's word)
    """The file behind `path` and its format. Raises InputError when results could not be written there."""
    target = Path(path).resolve()  # through a link, to the file it names
    chosen = _format(target, format)
    if target.exists() and not target.is_file():  # replacing a device would destroy it
        raise InputError("not a file", where=str(path), fix="name a file to write the results to")
    if not target.parent.is_dir():
        raise InputError(
            f"there is no folder {target.parent}", where=str(path), fix="create the folder, or name another"
        )
    return target, chosen


def write(frame: pl.DataFrame, path: str | Path, format: str | None = None) -> None:  # noqa: A002 (the flag's word)
    """Writes `frame`, as `results` returned it (any rows), to `path`: whole or not at all, readable by its owner only.

    `format` is one of FORMATS; None goes by the suffix. Raises InputError when the format is unknown or cannot hold
    the frame, or the file cannot be written.
    """
    target, chosen = check_target(path, format)
    _replace(target, str(path), lambda file: dump(frame, file, chosen))


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Writes any frame of text, as `write` does, to a CSV, JSONL or Parquet file. Raises InputError."""
    target, chosen = check_target(path)
    match chosen:
        case "csv":
            _replace(target, str(path), frame.write_csv)
        case "jsonl":
            _replace(target, str(path), frame.write_ndjson)
        case "parquet":
            _replace(target, str(path), frame.write_parquet)
        case _:
            raise InputError(f"{chosen} is not for this", where=str(path), fix="name a .csv, .jsonl or .parquet file")


def _replace(target: Path, where: str, fill: Callable[[IO[bytes]], None]) -> None:
    """The file `target` with what `fill` writes: whole or not at all. Raises InputError when it cannot be written."""
    try:
        handle, name = tempfile.mkstemp(prefix=".results.", suffix=".partial", dir=target.parent)  # mode 0600
    except OSError as error:
        raise _not_writable(where, error) from None
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except (OSError, pl.exceptions.ComputeError) as error:  # polars' Parquet writer wraps a full disk
        raise _not_writable(where, error) from None
    finally:
        partial.unlink(missing_ok=True)


def dump(frame: pl.DataFrame, file: IO[bytes], format: str) -> None:  # noqa: A002
    """Writes `frame`, as `results` returned it (any rows), into an open binary file, in one of FORMATS.

    - `csv`: UTF-8, `\\n`, quoted where needed; a null and an empty text are nothing. There is no byte order
      mark: it would make Excel show accents, but most programs would read the first header as `\\ufeffrow_number`.
      For Excel there is `xlsx`. In our columns, text that a spreadsheet would take for a formula gets a leading `'`
      (a number with a sign is none); original columns, headers too, stay byte for byte as they were read.
    - `jsonl`: an object a row, keys in column order, nothing guarded.
    - `parquet`: the frame as it is, zstd.
    - `xlsx`: every text is a text cell, never a formula, number or link; what looks like a formula is also marked
      as quoted, so that it stays text when edited. `row_number`, `segments`, `attempts` and `price` are numbers.

    Times are ISO 8601 UTC with `Z` except in Parquet. Raises InputError when `format` is unknown, or a workbook
    cannot hold the frame: nothing is cut off.
    """
    ours = _our_columns(frame)
    match format:
        case "csv":
            texts = [name for name in ours.values() if frame[name].dtype == pl.String]
            guarded = _texts(frame).with_columns(_guarded(name) for name in texts)
            guarded.with_columns(pl.col(pl.String).replace("", None)).write_csv(file)  # a blank cell is nothing
        case "jsonl":
            _texts(frame).write_ndjson(file)
        case "parquet":
            frame.write_parquet(file, compression="zstd")
        case "xlsx":
            _write_xlsx(_texts(frame), file, price=ours["price"])
        case _:
            raise _unknown_format(format, None)


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How many messages of one `status` carry the same reason and code; `example` is one of their sentences."""

    status: str
    reason: str | None
    error_code: str | None
    example: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers. `rows` comes from the plan's manifest, every other count from what it counts.

    `skipped` and `statuses` are counts by reason and by `status`, largest first; so are `errors`. `segments` counts
    accepted messages. `price` is what accepted messages cost so far, by currency ("" where none was named).
    """

    rows: int
    skipped: Mapping[str, int]
    accepted: int
    rejected: int
    unknown: int
    pending: int
    statuses: Mapping[str, int]
    errors: tuple[ErrorCount, ...]
    segments: int
    price: Mapping[str, Decimal]

    @property
    def holds(self) -> bool:
        """Whether every input row is accounted for exactly once."""
        parts = (sum(self.skipped.values()), self.accepted, self.rejected, self.unknown, self.pending)
        return self.rows == sum(parts)

    def law(self) -> str:
        """The conservation law in figures: `47 rows = 5 skipped + 42 accepted + 0 rejected + ...`; `≠` if it fails."""
        parts = (
            f"{sum(self.skipped.values())} skipped",
            f"{self.accepted} accepted",
            f"{self.rejected} rejected",
            f"{self.unknown} unknown",
            f"{self.pending} pending",
        )
        return f"{self.rows} row{'' if self.rows == 1 else 's'} {'=' if self.holds else '≠'} {' + '.join(parts)}"

    @property
    def exit_code(self) -> int:
        """4 when something is unknown, else 1 when something was rejected, failed or undelivered, else 0.

        What is pending says nothing here: only the caller knows whether it asked for a part.
        """
        if self.unknown:
            return 4
        return 1 if any(self.statuses.get(status) for status in _BAD) else 0


def latest(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The first of `frames` (as `results` returned them), each row as the last of the others that sent it has it."""
    first, *retries = frames
    number, status = first.columns[0], _our_columns(first)["status"]
    sent = [frame.filter(pl.col(status) != Status.SKIPPED.value) for frame in retries]
    return pl.concat([first, *sent]).unique(number, keep="last", maintain_order=True).sort(number)


def summarise(plan: Plan, journal: pl.DataFrame) -> Summary:
    """The run's Summary. Submission states are counted in the journal itself, so a stray row breaks the law."""
    rows = plan.scan().select("seq", "reason", "segments").collect()
    skipped = rows.filter(pl.col("seq").is_null())
    messages = rows.filter(pl.col("seq").is_not_null()).select("seq", "segments")
    states = _counted(journal["state"])
    never_claimed = messages.join(journal, on="seq", how="anti").height
    told = messages.join(
        journal.select("seq", pl.exclude("seq").name.prefix("_")), on="seq", how="left", maintain_order="left"
    ).with_columns(status=status_of())
    accepted = told.filter(pl.col("_state") == State.ACCEPTED)
    statuses = _counted(told["status"]) | ({Status.SKIPPED.value: skipped.height} if skipped.height else {})
    return Summary(
        rows=plan.manifest.rows,
        skipped=_counted(skipped["reason"]),
        accepted=states.get(State.ACCEPTED, 0),
        rejected=states.get(State.REJECTED, 0),
        unknown=states.get(State.UNKNOWN, 0) + states.get(State.INTENT, 0),
        pending=states.get(State.PENDING, 0) + never_claimed,
        statuses=dict(sorted(statuses.items(), key=lambda item: -item[1])),
        errors=_errors(told),
        segments=int(accepted.select(pl.coalesce("_segments", "segments").sum()).item()),
        price=_prices(accepted),
    )


def _errors(told: pl.DataFrame) -> tuple[ErrorCount, ...]:
    """Messages that carry a reason, a code or a sentence, counted by status, reason and code."""
    counts = (
        told.filter(pl.any_horizontal(pl.col("_reason", "_error_code", "_error_message").is_not_null()))
        .group_by("status", "_reason", "_error_code", maintain_order=True)
        .agg(pl.col("_error_message").drop_nulls().first(), pl.len())
        .sort("len", descending=True, maintain_order=True)
    )
    return tuple(ErrorCount(*row) for row in counts.iter_rows())


def _prices(accepted: pl.DataFrame) -> dict[str, Decimal]:
    """The sum by currency, exact. Sizes are added: Twilio writes a charge as a negative amount, others do not."""
    totals: dict[str, Decimal] = {}
    for currency, price, count in accepted.group_by("_currency", "_price").len().sort(pl.all()).iter_rows():
        try:
            amount = abs(Decimal(price or ""))
        except InvalidOperation:  # none yet, or a word we cannot read; the row itself keeps it
            continue
        if amount.is_finite():
            totals[currency or ""] = totals.get(currency or "", Decimal()) + amount * count
    return totals


def _counted(column: pl.Series) -> dict[str, int]:
    """How often each value stands in `column`, largest first."""
    counts = column.value_counts(name="n").sort("n", column.name, descending=[True, False])
    return {str(value): int(count) for value, count in counts.iter_rows()}


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name = _PREFIX + name
    return name


def _our_columns(frame: pl.DataFrame) -> dict[str, str]:
    """Our columns in `frame` by their name in COLUMNS. By place: an original column may bear any name."""
    ours = dict(zip(COLUMNS, [*frame.columns[:1], *frame.columns[1 - len(COLUMNS) :]], strict=False))
    if frame.width < len(COLUMNS) or any(not given.endswith(name) for name, given in ours.items()):
        raise ValueError("only a frame with the columns that results() returns can be written")
    return ours


def _texts(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))


def _formula_like(name: str) -> pl.Expr:
    return pl.col(name).str.contains(_FORMULA) & ~pl.col(name).str.contains(_NUMBER)


def _guarded(name: str) -> pl.Expr:
    return pl.when(_formula_like(name)).then(pl.lit("'") + pl.col(name)).otherwise(name).alias(name)


def _write_xlsx(frame: pl.DataFrame, file: IO[bytes], *, price: str) -> None:
    _check_fits(frame)
    with xlsxwriter.Workbook(file, {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet("results")
        quoted = workbook.add_format({"quote_prefix": True})
        heading = workbook.add_format({"bold": True})
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, frame.height, frame.width - 1)
        for index, name in enumerate(frame.columns):
            sheet.write_string(0, index, name, heading)
        amount = pl.col(price).cast(pl.Float64, strict=False)
        marks = frame.select(_formula_like(name) for name in frame.columns if frame[name].dtype == pl.String)
        texts = [index for index, name in enumerate(frame.columns) if frame[name].dtype == pl.String]
        at = frame.columns.index(price)
        rows = zip(frame.iter_rows(), marks.iter_rows(), frame.select(amount)[:, 0], strict=True)
        for number, (row, formulas, cost) in enumerate(rows, start=1):
            looks = dict(zip(texts, formulas, strict=True))
            for index, value in enumerate(row):
                if index == at and cost is not None:
                    sheet.write_number(number, index, cost)
                elif isinstance(value, str):  # write_string, unlike write, never makes a formula, number or link of it
                    sheet.write_string(number, index, value, quoted if looks[index] else None)
                elif value is not None:
                    sheet.write_number(number, index, value)


def _check_fits(frame: pl.DataFrame) -> None:
    """Raises InputError for what a workbook cannot hold: xlsxwriter would leave it out and say nothing."""
    fix = "write csv, jsonl or parquet"
    if frame.height >= _XLSX_ROWS or frame.width > _XLSX_COLUMNS:
        raise InputError(
            f"{frame.height} rows of {frame.width} columns do not fit in a worksheet of {_XLSX_ROWS - 1} rows "
            f"of {_XLSX_COLUMNS} columns under its heading",
            fix=fix,
        )
    units = pl.col(pl.String).str.len_chars() + pl.col(pl.String).str.count_matches(r"[\x{10000}-\x{10FFFF}]")
    for name, longest in frame.select(units.max()).row(0, named=True).items() if frame.height else ():
        if longest is not None and longest > _XLSX_CELL:
            raise InputError(
                f"column {name!r} has a text of {longest} characters; a worksheet's cell holds {_XLSX_CELL}", fix=fix
            )


def _format(path: Path, given: str | None) -> str:
    name = _SUFFIXES.get(path.suffix.lower()) if given is None else given
    if name not in FORMATS:
        raise _unknown_format(given or path.suffix, None if given else str(path))
    return name


def _unknown_format(name: str, where: str | None) -> InputError:
    what = f"{name!r} is not a format of results" if name else "the file's name has no suffix that tells the format"
    return InputError(what, where=where, fix=f"choose one of {', '.join(FORMATS)}")


def _not_writable(where: str, error: Exception) -> InputError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(
        f"cannot be written: {why}", where=where, fix="close it in other programs, check its folder, or name another"
    )
