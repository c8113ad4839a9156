"""A plan's rows as they are made, a block at a time: looked at, and kept in a file if more than one block.

The file is Parquet in a temporary folder, which goes with the object that stands for it. Writing it, and what is to be
learned of the rows, go on beside the making of the next block.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
from polars.io.plugins import register_io_source

from sender.core.frame_buffer import TemporaryFolder, no_room

PLAN_FILE = "plan.parquet"
ROW_GROUP = 65_536  # rows: what the reader decodes at once while sending
_LOOK_AFTER_S = 0.2  # how often a waiting maker of rows looks whether their writer still lives


class StoredRows:
    """The rows of a plan in a file of their own, until the last who knows of them is gone."""

    def __init__(self) -> None:
        self._folder = TemporaryFolder()
        self.path = self._folder.path / PLAN_FILE

    @classmethod
    def of(cls, file: Path) -> Self:
        """The rows in `file`, in a file of their own, so that they outlive it."""
        rows = cls()
        _link(file, rows.path)
        return rows

    def scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path)

    def copy_to(self, path: Path) -> None:
        """The same file at `path`, without copying where both are on one file system; it never changes."""
        _link(self.path, path)


def _link(file: Path, path: Path) -> None:
    try:
        os.link(file, path)
    except OSError:
        shutil.copyfile(file, path)


Block = tuple[pl.DataFrame, pl.DataFrame]  # rows, and those that go into the hash in their place


def gather(blocks: Iterator[Block], seen: Callable[[pl.DataFrame, pl.DataFrame], None]) -> pl.DataFrame | StoredRows:
    """The rows of all `blocks` (one at least, of one schema). `seen` is called with each block in order, in another
    thread where there are several.

    A single block stays in memory. Raises what `blocks` and `seen` raise, and InputError where there is no room for
    the file.
    """
    first = next(blocks)
    second = next(blocks, None)
    if second is None:
        seen(*first)
        return first[0]
    rows = StoredRows()
    with _Sink(rows.path, first[0].schema, seen) as sink:
        sink.put(first)
        sink.put(second)
        del first, second  # this call would hold them to the end
        for block in blocks:
            sink.put(block)
    return rows


class _Sink:
    """Shows blocks to `seen` and writes their rows to a Parquet file, in a thread."""

    def __init__(self, path: Path, schema: pl.Schema, seen: Callable[[pl.DataFrame, pl.DataFrame], None]) -> None:
        self._path = path
        self._schema = schema
        self._seen = seen
        self._blocks: queue.Queue[Block | None] = queue.Queue(maxsize=1)
        self._given_up = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="plan-rows", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up = error is not None
        self._hand_over(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def put(self, block: Block) -> None:
        """Adds rows; waits while the ones before are being written. Raises InputError once they cannot be."""
        self._hand_over(block)
        if self._error is not None:
            raise self._error

    def _hand_over(self, block: Block | None) -> None:
        while self._thread.is_alive():
            try:
                self._blocks.put(block, timeout=_LOOK_AFTER_S)
            except queue.Full:
                continue
            return

    def _write(self) -> None:
        try:
            register_io_source(self._source, schema=self._schema).sink_parquet(
                self._path, compression="zstd", row_group_size=ROW_GROUP, statistics=False, maintain_order=True
            )
        except _GivenUpError:
            pass
        except Exception as error:  # noqa: BLE001 (told where the rows are put)
            self._error = self._error or no_room(error)

    def _source(self, *_: object) -> Iterator[pl.DataFrame]:
        while (block := self._blocks.get()) is not None:
            try:
                self._seen(*block)
            except Exception as error:
                self._error = error  # as it is: the writer would wrap it up
                raise
            yield block[0]
        if self._given_up:
            raise _GivenUpError


class _GivenUpError(Exception):
    """The rows end before their end."""
