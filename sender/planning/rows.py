"""A plan's rows as they are made, a block at a time: hashed, and kept in a file where they are more than one block.

The file is Parquet in a temporary folder, which goes with the object that stands for it. Writing it and hashing go on
beside the making of the next block.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
from polars.io.plugins import register_io_source

from sender.spool import TemporaryFolder, no_room

PLAN_FILE = "plan.parquet"
ROW_GROUP = 65_536  # rows: what the reader decodes at once while sending
_HASHED_ROWS = 50_000  # at once
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
    """SHA-256 over settings and rows as JSON lines, not over the file: a newer writer of Parquet changes bytes, not the
    plan. The same whatever blocks the rows come in."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())

    def update(self, frame: pl.DataFrame) -> None:
        """Adds rows of the plan. Prices and repairs are left out: they do not change what is sent."""
        for part in frame.drop(_NOT_HASHED, strict=False).iter_slices(_HASHED_ROWS):
            lines = io.BytesIO()
            part.write_ndjson(lines)
            self._digest.update(lines.getbuffer())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def gather(blocks: Iterator[tuple[pl.DataFrame, pl.DataFrame]], digest: ContentHash) -> pl.DataFrame | StoredRows:
    """The rows of all `blocks` (one at least, of one schema): each with the rows that go into `digest` in their place.

    A single block stays in memory. Raises what `blocks` raises, and InputError where there is no room for the file.
    """
    first = next(blocks)
    second = next(blocks, None)
    if second is None:
        digest.update(first[1])
        return first[0]
    rows = StoredRows()
    with _Sink(rows.path, first[0].schema, digest) as sink:
        sink.put(first)
        sink.put(second)
        del first, second  # this call would hold them to the end
        for block in blocks:
            sink.put(block)
    return rows


class _Sink:
    """Hashes frames and writes them to a Parquet file, in a thread."""

    def __init__(self, path: Path, schema: pl.Schema, digest: ContentHash) -> None:
        self._path = path
        self._schema = schema
        self._digest = digest
        self._blocks: queue.Queue[tuple[pl.DataFrame, pl.DataFrame] | None] = queue.Queue(maxsize=1)
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
            raise no_room(self._error) from self._error

    def put(self, block: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        """Adds rows; waits while the ones before are being written. Raises InputError once they cannot be."""
        self._hand_over(block)
        if self._error is not None:
            raise no_room(self._error) from self._error

    def _hand_over(self, block: tuple[pl.DataFrame, pl.DataFrame] | None) -> None:
        while self._thread.is_alive():
            try:
                self._blocks.put(block, timeout=_LOOK_AFTER_S)
            except queue.Full:
                continue
            return

    def _write(self) -> None:
        try:
            register_io_source(self._source, schema=self._schema).sink_parquet(
                self._path, compression="zstd", row_group_size=ROW_GROUP, statistics=True, maintain_order=True
            )
        except _GivenUpError:
            pass
        except Exception as error:  # noqa: BLE001 (told where the rows are put)
            self._error = error

    def _source(self, *_: object) -> Iterator[pl.DataFrame]:
        while (block := self._blocks.get()) is not None:
            rows, hashed = block
            self._digest.update(hashed)
            yield rows
        if self._given_up:
            raise _GivenUpError


class _GivenUpError(Exception):
    """The rows end before their end."""
