"""Takes a person, or everybody, out of the files of a run: rows stay, what identifies somebody is blanked.

Each file is replaced whole, so that a kill in between leaves the old file or the new one; what a kill has left beside
them is removed by `remove_leftovers`. Called while nobody sends the run.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from sender.core.filesystem import sync_folder
from sender.core.lazy_modules import pl
from sender.core.output_files import folder_beside, write_whole
from sender.plan.manifest import FORMAT, MANIFEST_FILE, Manifest, read_manifest
from sender.plan.plan import Plan
from sender.plan.stored_rows import PLAN_FILE, find_row_group
from sender.state.people import Person, PlanRows

ERASED = "this person was erased"  # in place of a sentence about a skipped row
_BLANKED = ("to", "region", "number_type", "body", "fields", "repair")
_LEFTOVER = re.compile(r"\..+\.(?:partial|old)")


def find_rows(plan: Plan, person: Person) -> PlanRows:
    """The person's rows: those with the number, and those whose number was not read and that hold it in a cell."""
    scan = plan.scan_stored()
    own, mentioned = _own(scan, person), _mentioned(scan, person)
    marked = scan.select(
        "row_number", "seq", _own=own, _mentioned=mentioned & ~own, _text=person.is_in(pl.col("body")) & ~own
    ).filter(pl.col("_own") | pl.col("_mentioned") | pl.col("_text"))
    frame = marked.collect()
    return PlanRows(
        frame.filter("_own").select("row_number", "seq"), int(frame["_mentioned"].sum()), int(frame["_text"].sum())
    )


def erase_from_plan(folder: Path, person: Person, identity: str) -> tuple[str, str]:
    """Write the plan in `folder` anew without the person; return the SHA-256 of the old and the new `plan.parquet`.

    `identity` is the plan's, from before. Raises PlanError and OSError.
    """
    manifest = read_manifest(folder)
    scan = pl.scan_parquet(folder / PLAN_FILE)
    own = _own(scan, person)
    schema = scan.collect_schema()
    blanked = [
        pl.when(own).then(None).otherwise(pl.col(name)).alias(name) for name in _BLANKED if name in schema.names()
    ]
    sentence = pl.when(pl.col("detail").is_not_null()).then(pl.lit(ERASED))
    changes = [
        *blanked,
        pl.when(own).then(sentence).otherwise("detail").alias("detail"),
        pl.when(own).then(pl.col("media").list.head(0)).otherwise("media").alias("media"),
    ]
    if "links" in schema.names():
        changes.append(pl.when(own).then(None).otherwise("links").alias("links"))
    changes += _blank_cells(scan, own, person)
    with folder_beside(folder, (PLAN_FILE, MANIFEST_FILE)) as partial:
        file = partial / PLAN_FILE
        scan.with_columns(changes).sink_parquet(
            file,
            compression="zstd",
            row_group_size=find_row_group(len(manifest.headers)),
            statistics=False,
            maintain_order=True,
        )
        digest = _sha256(file)
        changed = replace(_without_person(manifest, person), parquet_sha256=digest, identity=identity, format=FORMAT)
        (partial / MANIFEST_FILE).write_text(changed.to_json(), encoding="utf-8")
    return str(manifest.parquet_sha256), digest


def drop_rows(folder: Path, identity: str) -> None:
    """Leave of the plan in `folder` only its manifest, without examples of numbers. Raises PlanError and OSError."""
    manifest = read_manifest(folder)
    numbers = {
        **manifest.numbers,
        "repairs": [_without_example(entry) for entry in manifest.numbers.get("repairs", ())],
    }
    test_to = None if manifest.test_to is None else ""
    kept = replace(manifest, numbers=numbers, notes=(), test_to=test_to, identity=identity, format=FORMAT)
    write_whole(folder / MANIFEST_FILE, lambda file: file.write(kept.to_json().encode()))
    (folder / PLAN_FILE).unlink(missing_ok=True)
    sync_folder(folder)


def erase_from_results(file: Path, row_numbers: Collection[int], person: Person) -> int:
    """Blank what identifies the person in the results `file` (CSV); return how many rows changed. Raises OSError."""
    if not file.exists():
        return 0
    text = file.read_text(encoding="utf-8")
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows, [])
    columns, tail = _identifying(header), person.digits[-2:]  # most cells are not looked at any closer
    changed = 0
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        own = bool(row) and row[0].isdigit() and int(row[0]) in row_numbers
        blank = [
            column
            for column in columns
            if row[column:] and row[column] and (own or (tail in row[column] and person.is_in_text(row[column])))
        ]
        for column in blank:
            row[column] = ""
        changed += bool(blank)
        writer.writerow(row)
    if changed:
        write_whole(file, lambda opened: opened.write(written.getvalue().encode()))
    return changed


def write_frame(frame: pl.DataFrame, file: Path) -> None:
    """Write a small table beside `file` and move it there. Raises OSError."""

    def fill(opened: IO[bytes]) -> None:
        frame.write_parquet(opened, compression="zstd", statistics=False)

    write_whole(file, fill)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left of files and folders it was writing in `folder`. Raises OSError."""
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if not _LEFTOVER.fullmatch(entry.name) or entry.is_symlink():
            continue
        if entry.is_dir():
            for file in (entry / PLAN_FILE, entry / MANIFEST_FILE):
                file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else is in it
                entry.rmdir()
        else:
            entry.unlink(missing_ok=True)


def _own(scan: pl.LazyFrame, person: Person) -> pl.Expr:
    number = (pl.col("to") == person.number).fill_null(value=False)
    return number | (pl.col("to").is_null() & _any_cell(scan, person.may_be_in))


def _mentioned(scan: pl.LazyFrame, person: Person) -> pl.Expr:
    return _any_cell(scan, person.is_in)


def _any_cell(scan: pl.LazyFrame, test: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """Whether one of a row's original cells passes the test; they are a struct, or a list of very many."""
    dtype, cells = scan.collect_schema()["recipient"], pl.col("recipient")
    if isinstance(dtype, pl.List):
        return cells.list.eval(test(pl.element())).list.any()
    fields = [test(cells.struct.field(field.name)) for field in dtype.fields] if isinstance(dtype, pl.Struct) else []
    return pl.any_horizontal(fields) if fields else pl.lit(value=False)


def _blank_cells(scan: pl.LazyFrame, own: pl.Expr, person: Person) -> list[pl.Expr]:
    """The change of `recipient` that blanks all cells of the rows `own`, and those that have the number."""
    dtype, cells = scan.collect_schema()["recipient"], pl.col("recipient")

    def blank(where: pl.Expr, cell: pl.Expr) -> pl.Expr:
        return pl.when(where).then(pl.lit("")).otherwise(cell)

    if isinstance(dtype, pl.List):
        nothing = cells.list.eval(blank(pl.lit(value=True), pl.element()))
        others = cells.list.eval(blank(person.is_in(pl.element()), pl.element()))
        return [pl.when(own).then(nothing).otherwise(others).alias("recipient")]
    if not isinstance(dtype, pl.Struct) or not dtype.fields:
        return []
    fields = {field.name: cells.struct.field(field.name) for field in dtype.fields}
    return [
        pl.struct(blank(own | person.is_in(cell), cell).alias(name) for name, cell in fields.items()).alias("recipient")
    ]


def _without_person(manifest: Manifest, person: Person) -> Manifest:
    repairs = [
        _without_example(entry) if entry["to"] == person.number else entry
        for entry in manifest.numbers.get("repairs", ())
    ]
    notes = tuple(note for note in manifest.notes if not person.is_in_text(note))
    test_to = "" if manifest.test_to == person.number else manifest.test_to
    numbers = {**manifest.numbers, "repairs": repairs} if "repairs" in manifest.numbers else manifest.numbers
    return replace(manifest, numbers=numbers, notes=notes, test_to=test_to)


def _without_example(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, "cell": "", "to": ""}


def _identifying(header: list[str]) -> list[int]:
    """The columns of a results file that identify somebody: the original ones; of ours number, sentence and text."""
    plain = [re.sub("^(sender_)*", "", name) for name in header]
    ours = max((place for place, name in enumerate(plain) if name == "to"), default=len(header))
    named = {place for place in range(ours, len(header)) if plain[place] in ("to", "error_message", "body")}
    return [*range(1, ours), *sorted(named)]


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
