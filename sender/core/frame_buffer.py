"""Frames put aside in order: in memory while they are small, in a folder that vanishes with them when they are not.

What a list is read into and what is known of its numbers would otherwise grow with the list. The folder is for its
owner only, and lies where the system keeps temporary files (TMPDIR).
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from sender.core.errors import InputError

MEMORY_BYTES = 192 * 2**20  # of one spool; what comes after goes to the folder


class SpillingFrames:
    """Frames, in the order in which they were appended. The columns need not be the same in each."""

    def __init__(self, *frames: pl.DataFrame) -> None:
        self._kept: list[pl.DataFrame | Path] = []
        self._columns: list[list[str]] = []
        self._folder: TemporaryFolder | None = None
        self._bytes = 0
        self.rows = 0
        for frame in frames:
            self.append(frame)

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, frame: pl.DataFrame) -> None:
        """Puts `frame` aside. Raises InputError where the folder has no room for it."""
        self.rows += frame.height
        self._columns.append(frame.columns)
        self._bytes += _size(frame)
        if self._bytes <= MEMORY_BYTES:
            self._kept.append(frame)
            return
        try:
            if self._folder is None:
                self._folder = TemporaryFolder()
            path = self._folder.path / f"{len(self._kept)}.arrow"
            frame.write_ipc(path, compression="lz4")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise no_room(error) from None
        self._kept.append(path)

    def frames(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The frames in order, as often as wanted; only those of `columns` that a frame has."""
        for kept, there in zip(self._kept, self._columns, strict=True):
            wanted = there if columns is None else [name for name in columns if name in there]
            if isinstance(kept, pl.DataFrame):
                yield kept.select(wanted)
                continue
            with kept.open("rb") as file:  # not by its path: mapped pages would count as memory of the process
                frame = pl.read_ipc(file, columns=wanted)
            yield frame


def _size(frame: pl.DataFrame) -> int:
    """Bytes in memory. Polars counts of texts the letters only, and each of them takes 16 bytes besides."""
    return int(frame.estimated_size()) + 16 * frame.height * frame.width


class TemporaryFolder:
    """A folder that only its owner can read; it goes with this object, or at the latest with the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="sender-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def no_room(error: Exception) -> InputError:
    """The error of a temporary file that cannot be written."""
    return InputError(
        f"a large list needs room for temporary files, and they cannot be written: {error}",
        where=tempfile.gettempdir(),
        fix="free some space there, or set TMPDIR to a folder that has more",
    )
