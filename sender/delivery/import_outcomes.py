"""Outcomes from a file: what people did after a message, found in the runs by number, ref, id or a column of the list.

An outcome belongs to the newest run before it that has the person, as a message or as held out. Nothing of the person
is kept: a run's outcomes name rows of its plan.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sender import phone
from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.core.refs import read_ref
from sender.planning.recipient_links import list_links
from sender.recipients.headers import header_key, resolve_header
from sender.recipients.phone_columns import choose_phone_columns
from sender.recipients.readers.read import read_table
from sender.recipients.readers.source import FileSource
from sender.recipients.readers.table import Table
from sender.state.ledger import Run, RunKind
from sender.state.recorded_outcomes import OUTCOMES_SCHEMA
from sender.state.state import State

_EVENTS = ("event", "outcome", "eventname")
_TIMES = ("time", "at", "date", "timestamp", "datetime", "occurredat", "createdat", "eventtime")
_VALUES = ("value", "amount", "revenue", "total", "price")
_REFS, _IDS, _TOKENS = ("ref",), ("messageid", "messagesid", "sid"), ("token",)
_CLICK = "click"  # what happened, where the rows have tokens of links and nothing says otherwise
_EPOCH = re.compile(r"\d{10}(?:\d{3})?(?:\.\d+)?")
_SHOWN = 5  # rows named in a sentence


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row of the file that counts for nothing, and why."""

    row_number: int
    why: str


@dataclass(frozen=True, slots=True)
class ImportedOutcomes:
    """What an import did: outcomes by run, how many were `new`, and the rows that count for nothing."""

    rows: int
    by_run: Mapping[str, int]
    new: int
    problems: tuple[RowProblem, ...]


def import_outcomes(
    state: State,
    file: str | Path,
    *,
    run: Run | None = None,
    event: str | None = None,
    id_column: str | None = None,
    default_region: str | None = None,
) -> ImportedOutcomes:
    """Enter the outcomes in `file`, each once however often it is imported.

    Its columns: a number, a `ref`, a `message_id`, the `token` of a link (or the link), or `id_column`, which the list
    of the run had too; `event`, unless `event` names the one of all rows, or they are clicks by token; and if they are
    there, a time and a value. A time without a zone is UTC. `run`
    is the only run that is looked at. Raises InputError for a file that cannot be read, and StateError.
    """
    path = Path(file)
    try:
        with FileSource(path, where=str(path)) as source:
            table = read_table(source, where=str(path), digits_matter=True)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path), fix="check the name") from None
    rows = _read_rows(table, where=str(path), event=event, id_column=id_column, default_region=default_region)
    problems = [RowProblem(*row) for row in rows.filter(pl.col("why").is_not_null())["row", "why"].iter_rows()]
    wanted = rows.filter(pl.col("why").is_null())
    runs = _runs(state, run)
    by_run: dict[str, int] = {}
    new = 0
    for candidate in runs:
        if wanted.is_empty():
            break
        found = wanted.join(_people(state, candidate, wanted), on="key").filter(
            pl.col("at_ms").is_null() | (pl.col("at_ms") >= candidate.created_at_ms)
        )
        if found.is_empty():
            continue
        by_run[candidate.run_id] = found.height
        new += state.outcomes.add(candidate, found.select(*OUTCOMES_SCHEMA))
        wanted = wanted.filter(~pl.col("row").is_in(found["row"].implode()))
    nobody = "nobody in these runs, or before them" if run is None else f"nobody in run {run.run_id}, or before it"
    problems += [RowProblem(row, nobody) for row in wanted["row"]]
    return ImportedOutcomes(rows.height, by_run, new, tuple(sorted(problems, key=lambda problem: problem.row_number)))


def _runs(state: State, run: Run | None) -> Sequence[Run]:
    """The runs whose people may have outcomes, newest first: no tests, no rehearsals, and no retries but their root."""
    if run is not None:
        return [state.ledger.run(run.retry_of) if run.retry_of else run]
    runs = state.ledger.runs()
    kinds = {RunKind.LIVE} if any(each.kind is RunKind.LIVE for each in runs) else {RunKind.SANDBOX}
    return [
        each
        for each in reversed(runs)
        if each.kind in kinds and each.retry_of is None and state.plans.pruned_at(each) is None
    ]


def _read_rows(
    table: Table, *, where: str, event: str | None, id_column: str | None, default_region: str | None
) -> pl.DataFrame:
    """Return `row`, `kind`, `key`, `event`, `at_ms`, `value`, and `why` the row counts for nothing (else null)."""
    if not table.height:
        raise InputError("there are no outcomes in it", where=where, fix="add a row for each")
    cells = table.cells
    kind, keys = _read_keys(table, where=where, id_column=id_column, default_region=default_region)
    names = _find(table, _EVENTS)
    event = _CLICK if kind == "token" and names is None and event is None else event
    if names is None and event is None:
        raise InputError(
            "there is no column with the event", where=where, fix="add a column `event`, or name it: --event purchase"
        )
    time, value = _find(table, _TIMES), _find(table, _VALUES)
    frame = pl.DataFrame({"row": table.row_numbers}).with_columns(
        kind=pl.lit(kind),
        key=keys,
        event=pl.lit(event) if names is None or event is not None else cells[names].str.strip_chars(),
        at_ms=_map(cells, time, _read_time, pl.Int64()),
        value=_map(cells, value, _read_value, pl.Float64()),
    )
    said = {
        "time": pl.lit(None) if time is None else pl.lit(cells[time].str.strip_chars()),
        "value": pl.lit(None) if value is None else pl.lit(cells[value].str.strip_chars()),
    }
    return frame.with_columns(
        why=pl.when(pl.col("key").is_null())
        .then(pl.lit("no number" if kind == "to" else f"no {kind}"))
        .when(pl.col("event") == "")
        .then(pl.lit("no event"))
        .when((said["time"] != "") & pl.col("at_ms").is_null())
        .then(pl.format("{} is not a time: write 2026-11-29T14:05:00Z", said["time"]))
        .when((said["value"] != "") & pl.col("value").is_null())
        .then(pl.format("{} is not a number", said["value"]))
    )


def _read_keys(table: Table, *, where: str, id_column: str | None, default_region: str | None) -> tuple[str, pl.Series]:
    """Return what the rows are found by, and each row's (String; null where it has none)."""
    cells = table.cells
    if id_column is not None:
        header = resolve_header(list(table.headers), id_column, where, "--id-column")
        return header, _filled(cells[header])
    for kind, names in (("ref", _REFS), ("message_id", _IDS)):
        if (named := _find(table, names)) is not None:
            return kind, _filled(cells[named])
    if (named := _find(table, _TOKENS)) is not None:  # or whole links, with what a shortener has put behind them
        tokens = _filled(cells[named]).str.replace(r"[?#].*$", "").str.strip_suffix("/").str.replace(r"^.*/", "")
        return "token", tokens
    header, *_ = choose_phone_columns(table, (), where=where, default_region=default_region).headers
    return "to", phone.normalize(cells[header], default_region=default_region)["to"]


def _people(state: State, run: Run, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return `key` and `row_number` of the people of the run, by what the file has of them."""
    kind = wanted["kind"][0]
    if kind == "ref":
        own = {run.run_id, *(retry.run_id for retry in state.retries(run))}
        refs = [(key, *read) for key in wanted["key"].unique() if (read := read_ref(key)) and read[0] in own]
        asked = pl.DataFrame(refs, schema={"key": pl.String, "run": pl.String, "seq": pl.UInt32}, orient="row")
        return _by_seq(state, run, asked)
    if kind == "message_id":
        frames = []
        for each in (run, *state.retries(run)):
            journal = state.ledger.journal(each.run_id).select(pl.col("message_id").alias("key"), "seq")
            frames.append(journal.drop_nulls().with_columns(run=pl.lit(each.run_id)))
        return _by_seq(state, run, pl.concat(frames))
    if kind == "token":
        listed = list_links(state.plan(run), "").select("row_number", key="token")
        return listed.filter(pl.col("key").is_in(wanted["key"].implode())).unique("key", keep="first")
    scan = state.plan(run).scan().filter(pl.col("seq").is_not_null() | (pl.col("reason") == SkipReason.HOLDOUT.value))
    schema = scan.collect_schema()
    if kind == "to":
        own_key = pl.col("to")
    else:
        recipient = schema["recipient"]
        fields = [field.name for field in recipient.fields] if isinstance(recipient, pl.Struct) else []
        same = [name for name in fields if header_key(name) == header_key(kind)]
        if not same:
            return pl.DataFrame(schema={"key": pl.String, "row_number": pl.UInt32})
        own_key = pl.col("recipient").struct.field(same[0]).str.strip_chars()
    found = scan.select("row_number", key=own_key).filter(pl.col("key").is_in(wanted["key"].implode())).collect()
    return found.unique("key", keep="first", maintain_order=True)


def _by_seq(state: State, run: Run, asked: pl.DataFrame) -> pl.DataFrame:
    """Return `key` and `row_number` for `key`, `run` (it or one of its retries) and `seq`."""
    frames = []
    for each in (run, *state.retries(run)):
        own = asked.filter(run=each.run_id).select("key", pl.col("seq").cast(pl.UInt32))
        if not own.is_empty():
            rows = state.plan(each).scan().select("seq", "row_number").filter(pl.col("seq").is_in(own["seq"].implode()))
            frames.append(own.join(rows.collect(), on="seq").select("key", "row_number"))
    return pl.concat(frames) if frames else pl.DataFrame(schema={"key": pl.String, "row_number": pl.UInt32})


def _find(table: Table, names: Sequence[str]) -> str | None:
    """Return the first header that is one of `names`, in their order."""
    by_key = {header_key(header): header for header in reversed(table.headers)}
    return next((by_key[name] for name in names if name in by_key), None)


def _filled(cells: pl.Series) -> pl.Series:
    stripped = cells.str.strip_chars()
    return stripped.set(stripped == "", None)


def _map(cells: pl.DataFrame, header: str | None, read: object, dtype: pl.DataType) -> pl.Series:
    """Return what `read` makes of each cell under the header; null without one."""
    if header is None or not callable(read):
        return pl.repeat(None, cells.height, dtype=dtype, eager=True)
    texts = cells[header].str.strip_chars()
    values = {text: read(text) for text in texts.unique()}
    return texts.replace_strict(list(values), list(values.values()), return_dtype=dtype)


def _read_time(text: str) -> int | None:
    """Return the milliseconds UTC of a time in ISO 8601, or of seconds or milliseconds since 1970; None for others."""
    if _EPOCH.fullmatch(text):
        return round(float(text) * (1 if len(text.partition(".")[0]) == 13 else 1000))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _read_value(text: str) -> float | None:
    try:
        value = float(text.replace(",", "")) if text else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < 1e15 else None


def describe_problems(imported: ImportedOutcomes) -> Iterator[str]:
    """Yield a sentence for each reason for which rows count for nothing, with the first rows."""
    by_why: dict[str, list[int]] = {}
    for problem in imported.problems:
        by_why.setdefault(problem.why, []).append(problem.row_number)
    for why, numbers in by_why.items():
        rows = ", ".join(f"{number:,}" for number in numbers[:_SHOWN])
        more = f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else ""
        yield f"{len(numbers):,} not counted: {why} (row{'' if len(numbers) == 1 else 's'} {rows}{more})"
