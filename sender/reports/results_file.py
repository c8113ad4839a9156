"""Writes results as a CSV, JSONL, Parquet or Excel file: whole or not at all, readable by its owner only.

No text becomes a formula in a spreadsheet or is carried out by a terminal; a list that is read from results again has
its texts as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

from sender.core.lazy_modules import pl
from sender.core.output_files import NOTHING_PROTECTED, OutputKind, Protected, check_output, not_writable, write_beside
from sender.core.safe_tables import are_results_headers
from sender.reports.results import our_columns
from sender.reports.spreadsheet import write_workbook
from sender.reports.table_files import dump_csv, dump_json_lines, find_format, read_headers, unknown_format

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.3fZ"


def check_results_path(
    path: str | Path,
    format: str | None = None,  # noqa: A002 (as the flag)
    protected: Protected = NOTHING_PROTECTED,
    *,
    force: bool | None = False,
) -> tuple[Path, str]:
    """Return the file behind `path` and its format. Raises InputError when results may not or cannot be written there.

    Older results are replaced, any other file only with `force`; None says that the command has no such option.
    """
    target = check_output(path, _RESULTS_FILE, protected, force=force)
    return target, find_format(target, format)


def write_results(
    frame: pl.DataFrame,
    path: str | Path,
    format: str | None = None,  # noqa: A002 (as the flag)
    protected: Protected = NOTHING_PROTECTED,
    *,
    force: bool | None = False,
) -> None:
    """Write `frame`, rows of `results_frame`, to `path`: whole or not at all, readable by its owner only.

    `format` is one of FORMATS; None means the suffix decides. Raises InputError as `check_results_path`, and when the
    format is unknown or cannot hold the frame, or the file cannot be written.
    """
    target, chosen = check_results_path(path, format, protected, force=force)
    try:
        write_beside(target, lambda file: dump_results(frame, file, chosen), where=str(path))
    except pl.exceptions.ComputeError as error:  # polars' Parquet writer wraps a full disk
        raise not_writable(str(path), error) from None


def write_result_blocks(
    blocks: Iterable[pl.DataFrame],
    path: Path,
    format: str | None,  # noqa: A002 (as the flag)
    protected: Protected,
    *,
    force: bool | None,
) -> int:
    """Write `blocks` as `write_results` writes one frame, and return how many rows they have. Raises as it does.

    CSV and JSON lines are written block by block; of Parquet and workbooks all rows are in memory.
    """
    target, chosen = check_results_path(path, format, protected, force=force)
    rows = 0

    def counted() -> Iterator[pl.DataFrame]:
        nonlocal rows
        for block in blocks:
            rows += block.height
            yield block

    def fill(file: IO[bytes]) -> None:
        if chosen in ("csv", "jsonl"):
            file.writelines(encode_results(counted(), chosen))
        else:
            dump_results(pl.concat(list(counted())), file, chosen)

    try:
        write_beside(target, fill, where=str(path))
    except pl.exceptions.ComputeError as error:  # polars' Parquet writer wraps a full disk
        raise not_writable(str(path), error) from None
    return rows


def encode_results(blocks: Iterable[pl.DataFrame], format: str) -> Iterator[bytes]:  # noqa: A002
    """Yield `blocks` of one frame as `dump_results` writes it as `csv` or `jsonl`, block by block."""
    for number, block in enumerate(blocks):
        text = BytesIO()
        if format == "csv":
            dump_csv(_as_csv(block), text, header=number == 0, time_format=_TIME_FORMAT)
        else:
            dump_json_lines(_with_text_times(block), text)
        yield text.getvalue()


def _is_results_file(path: Path) -> bool:
    return are_results_headers(read_headers(path))


_RESULTS_FILE = OutputKind("a results file", _is_results_file)


def dump_results(frame: pl.DataFrame, file: IO[bytes], format: str) -> None:  # noqa: A002
    """Write `frame`, rows of `results_frame`, into an open binary file, in one of FORMATS.

    - `csv`: UTF-8, `\\n`, quoted where needed; nulls and empty texts are empty cells. There is no byte order mark: it
      would make Excel show accents, but most programs would read the first header as `\\ufeffrow_number`; `xlsx` is
      for Excel. Text that a spreadsheet would take for a formula gets a leading `'` (a number with a sign does not),
      control and bidirectional characters are escaped, in headers too; read as a list again, all is as it was.
    - `jsonl`: an object a row, keys in column order; its values are the texts as they were read.
    - `parquet`: the frame as it is, zstd.
    - `xlsx`: every text is a text cell, never a formula, number or link; what looks like a formula is also marked
      as quoted, so that it stays text when edited. Control and bidirectional characters
      are escaped. `row_number`, `segments`, `attempts` and `price` are numbers, and times are dates in UTC, which their
      cells show. The heading stays in sight, columns are as wide as their texts, and long texts are wrapped.

    Times are ISO 8601 UTC with `Z` in CSV and JSON lines. Raises InputError when `format` is unknown, or when a
    workbook cannot hold the frame; nothing is ever cut off.
    """
    ours = our_columns(frame)
    match format:
        case "csv":
            dump_csv(_as_csv(frame), file, time_format=_TIME_FORMAT)
        case "jsonl":
            dump_json_lines(_with_text_times(frame), file)
        case "parquet":
            frame.write_parquet(file, compression="zstd")
        case "xlsx":
            write_workbook(frame, file, sheet="results", amounts=[ours["price"]])
        case _:
            raise unknown_format(format, None)


def _as_csv(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.String).replace("", None))


def _with_text_times(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Datetime).dt.strftime(_TIME_FORMAT))
