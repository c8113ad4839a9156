"""A plan's rows as they are made, a block at a time: looked at, hashed, and kept in a file if more than one block.

The file is Parquet in a temporary folder, which goes with the object that stands for it. Writing it, and what is to be
learned of the rows, go on beside the making of the next block.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, cast

import polars as pl
from polars.io.plugins import register_io_source

from sender.spool import TemporaryFolder, no_room

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PLAN_FILE = "plan.parquet"
ROW_GROUP = 65_536  # rows: what the reader decodes at once while sending
_HASHED_ROWS = 4_096  # at once
_NOT_HASHED = ("cost_micros", "repair")
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


class ContentHash:
    """SHA-256 over settings and rows, not over the file: a newer writer of Parquet changes bytes, not the plan. The
    same whatever blocks the rows come in.

    The rows are hashed as CSV under their columns' names, every text in quotes, which tells a blank from none: JSON
    lines say the same in three times the time.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        self._named = False  # the columns

    def update(self, frame: pl.DataFrame) -> None:
        """Adds rows of the plan. Prices and repairs are left out: they do not change what is sent."""
        flat = _flat(frame.drop(_NOT_HASHED, strict=False))
        lines = cast("IO[bytes]", _Digested(self._digest))
        flat.write_csv(lines, include_header=not self._named, quote_style="non_numeric", batch_size=_HASHED_ROWS)
        self._named = True

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class _Digested(io.RawIOBase):
    """A file that puts what is written into a digest."""

    def __init__(self, digest: hashlib._Hash) -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        self._digest.update(data)
        return len(memoryview(data))


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a column for each field of a struct, and lists as JSON."""
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    structs = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
    frame = frame.with_columns(pl.struct(name).struct.json_encode().alias(name) for name in lists)
    return frame.unnest(structs, separator=".")


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
