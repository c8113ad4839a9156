"""A plan's rows while they are built, a block at a time: in memory, or in a file if there are several blocks.

The file is Parquet in a temporary folder, which is deleted with its `StoredRows`. It is written, and the rows are
observed, in a thread while the next block is built.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from sender.core.frame_buffer import TemporaryFolder, no_room
from sender.core.lazy_modules import pl

PLAN_FILE = "plan.parquet"
ROW_GROUP = 65_536  # rows that the reader decodes at once while sending
_MOST_CELLS = 3_000_000  # of a row group
_FEWEST_ROWS = 128
_CHECK_S = 0.2  # how often a builder that waits checks that the writer still lives


class StoredRows:
    """The rows of a plan in a temporary file, which lives as long as this object."""

    def __init__(self) -> None:
        self._folder = TemporaryFolder()
        self.path = self._folder.path / PLAN_FILE

    @classmethod
    def link(cls, file: Path) -> Self:
        """Return the rows in `file` as a file of their own, so that they outlive it."""
        rows = cls()
        _link(file, rows.path)
        return rows

    def scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path)

    def copy_to(self, path: Path) -> None:
        """Put the file at `path` too: as a link where both are on one file system, since it never changes."""
        _link(self.path, path)


def _link(file: Path, path: Path) -> None:
    try:
        os.link(file, path)
    except OSError:
        shutil.copyfile(file, path)


def with_original_cells(rows: pl.LazyFrame, headers: Sequence[str]) -> pl.LazyFrame:
    """Return `rows` with `recipient` as a struct. `headers` are its fields where the plan may have it as a list."""
    if not headers or rows.collect_schema()["recipient"] != pl.List(pl.String):
        return rows
    return rows.with_columns(pl.col("recipient").list.to_struct(fields=headers))


Block: TypeAlias = "tuple[pl.DataFrame, pl.DataFrame]"  # rows, and the rows that are hashed for them


def gather(blocks: Iterator[Block], observe: Callable[[pl.DataFrame, pl.DataFrame], None]) -> pl.DataFrame | StoredRows:
    """Return the rows of all `blocks` (at least one, all of one schema). A single block stays in memory.

    `observe` is called with each block in order; where there are several, in another thread. Raises what `blocks` and
    `observe` raise, and InputError where there is no room for the file.
    """
    first = next(blocks)
    second = next(blocks, None)
    if second is None:
        observe(*first)
        return first[0]
    rows = StoredRows()
    with _Sink(rows.path, first[0], observe) as sink:
        sink.put(first)
        sink.put(second)
        del first, second  # or they would stay in memory until the end
        for block in blocks:
            sink.put(block)
            del block
    return rows


class _Sink:
    """Calls `observe` with each block and writes its rows to a Parquet file, in a thread."""

    def __init__(self, path: Path, first: pl.DataFrame, observe: Callable[[pl.DataFrame, pl.DataFrame], None]) -> None:
        self._path = path
        self._schema = first.schema
        self._row_group = find_row_group(_count_columns(first))
        self._observe = observe
        self._blocks: queue.Queue[Block | None] = queue.Queue(maxsize=1)
        self._aborted = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="plan-rows", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._aborted = error is not None
        self._hand_over(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def put(self, block: Block) -> None:
        """Add rows; wait while earlier ones are being written. Raises InputError once they cannot be."""
        self._hand_over(block)
        if self._error is not None:
            raise self._error

    def _hand_over(self, block: Block | None) -> None:
        while self._thread.is_alive():
            try:
                self._blocks.put(block, timeout=_CHECK_S)
            except queue.Full:
                continue
            return

    def _write(self) -> None:
        try:
            pl.io.plugins.register_io_source(self._source, schema=self._schema).sink_parquet(
                self._path,
                compression="zstd",
                row_group_size=self._row_group,
                statistics=False,
                maintain_order=True,
            )
        except _AbortedError:
            pass
        except Exception as error:  # noqa: BLE001 (raised where the rows are put)
            self._error = self._error or no_room(error)

    def _source(self, *_: object) -> Iterator[pl.DataFrame]:
        while (block := self._blocks.get()) is not None:
            try:
                self._observe(*block)
            except Exception as error:
                self._error = error  # kept as it is: the writer would wrap it
                raise
            rows = block[0]
            del block
            yield rows
            del rows
        if self._aborted:
            raise _AbortedError


def find_row_group(width: int) -> int:
    """Return the rows of a row group, which its writer holds in memory: fewer where recipients have many columns."""
    return max(_FEWEST_ROWS, min(ROW_GROUP, _MOST_CELLS // max(1, width)))


def _count_columns(rows: pl.DataFrame) -> int:
    """Return how many columns the recipients in the rows of a plan have."""
    dtype = rows.schema.get("recipient")
    if isinstance(dtype, pl.List):
        return int(rows["recipient"].list.len()[0])
    return len(dtype.fields) if isinstance(dtype, pl.Struct) else 0


class _AbortedError(Exception):
    """The builder failed, so the file is not finished."""
