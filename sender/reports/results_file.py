"""Writes results as a CSV, JSONL, Parquet or Excel file: whole or not at all, readable by its owner only.

Text in our own columns never becomes a formula in a spreadsheet; original columns stay as they were read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import polars as pl

from sender.core.errors import InputError
from sender.reports.results import our_columns
from sender.reports.spreadsheet import guard_formula, write_workbook

FORMATS: tuple[str, ...] = ("csv", "jsonl", "parquet", "xlsx")

_SUFFIXES = {f".{name}": name for name in FORMATS} | {".ndjson": "jsonl"}


def check_results_path(path: str | Path, format: str | None = None) -> tuple[Path, str]:  # noqa: A002 (as the flag)
    """Return the file behind `path` and its format. Raises InputError when results could not be written there."""
    target = Path(path).resolve()  # through a link, to the file it names
    chosen = _resolve_format(target, format)
    if target.exists() and not target.is_file():  # replacing a device would destroy it
        raise InputError("not a file", where=str(path), fix="name a file to write the results to")
    if not target.parent.is_dir():
        raise InputError(
            f"there is no folder {target.parent}", where=str(path), fix="create the folder, or name another"
        )
    return target, chosen


def write_results(frame: pl.DataFrame, path: str | Path, format: str | None = None) -> None:  # noqa: A002 (as the flag)
    """Write `frame`, rows of `results_frame`, to `path`: whole or not at all, readable by its owner only.

    `format` is one of FORMATS; None means the suffix decides. Raises InputError when the format is unknown or cannot
    hold the frame, or the file cannot be written.
    """
    target, chosen = check_results_path(path, format)
    _replace(target, str(path), lambda file: dump_results(frame, file, chosen))


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Write any frame of text to a CSV, JSONL or Parquet file, as `write_results` does. Raises InputError."""
    target, chosen = check_results_path(path)
    match chosen:
        case "csv":
            _replace(target, str(path), frame.write_csv)
        case "jsonl":
            _replace(target, str(path), frame.write_ndjson)
        case "parquet":
            _replace(target, str(path), frame.write_parquet)
        case _:
            raise InputError(
                f"{chosen} cannot be written here", where=str(path), fix="name a .csv, .jsonl or .parquet file"
            )


def _replace(target: Path, where: str, fill: Callable[[IO[bytes]], None]) -> None:
    """Replace the file `target` by what `fill` writes: whole or not at all. Raises InputError."""
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


def dump_results(frame: pl.DataFrame, file: IO[bytes], format: str) -> None:  # noqa: A002
    """Write `frame`, rows of `results_frame`, into an open binary file, in one of FORMATS.

    - `csv`: UTF-8, `\\n`, quoted where needed; nulls and empty texts are empty cells. There is no byte order mark: it
      would make Excel show accents, but most programs would read the first header as `\\ufeffrow_number`; `xlsx` is
      for Excel. In our columns, text that a spreadsheet would take for a formula gets a leading `'` (a number with a
      sign does not); original columns, headers included, stay byte for byte as they were read.
    - `jsonl`: an object a row, keys in column order, nothing guarded.
    - `parquet`: the frame as it is, zstd.
    - `xlsx`: every text is a text cell, never a formula, number or link; what looks like a formula is also marked
      as quoted, so that it stays text when edited. `row_number`, `segments`, `attempts` and `price` are numbers.

    Times are ISO 8601 UTC with `Z`, except in Parquet. Raises InputError when `format` is unknown, or when a workbook
    cannot hold the frame; nothing is ever cut off.
    """
    ours = our_columns(frame)
    match format:
        case "csv":
            texts = [name for name in ours.values() if frame[name].dtype == pl.String]
            safe = _with_text_times(frame).with_columns(guard_formula(name) for name in texts)
            safe.with_columns(pl.col(pl.String).replace("", None)).write_csv(file)  # a blank cell is nothing
        case "jsonl":
            _with_text_times(frame).write_ndjson(file)
        case "parquet":
            frame.write_parquet(file, compression="zstd")
        case "xlsx":
            write_workbook(_with_text_times(frame), file, price=ours["price"])
        case _:
            raise _unknown_format(format, None)


def _with_text_times(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))


def _resolve_format(path: Path, asked_for: str | None) -> str:
    name = _SUFFIXES.get(path.suffix.lower()) if asked_for is None else asked_for
    if name not in FORMATS:
        raise _unknown_format(asked_for or path.suffix, None if asked_for else str(path))
    return name


def _unknown_format(name: str, where: str | None) -> InputError:
    what = f"{name!r} is not a format of results" if name else "the file's name has no suffix that shows the format"
    return InputError(what, where=where, fix=f"choose one of {', '.join(FORMATS)}")


def _not_writable(where: str, error: Exception) -> InputError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(
        f"cannot be written: {why}", where=where, fix="close it in other programs, check its folder, or name another"
    )
