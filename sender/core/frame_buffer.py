"""A buffer of frames: in memory while they are small, then in a temporary folder.

Without it, memory would grow with the list. Only the owner can read the folder; it is where the system keeps temporary
files (TMPDIR), and is removed with the buffer.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from sender.core.errors import InputError
from sender.core.lazy_modules import pl

MEMORY_BYTES = 192 * 2**20  # of a buffer; later frames go to the folder


class SpillingFrames:
    """Frames in the order in which they were appended. They may have different columns."""

    def __init__(self, *frames: pl.DataFrame) -> None:
        self._frames: list[pl.DataFrame | Path] = []
        self._columns: list[list[str]] = []
        self._folder: TemporaryFolder | None = None
        self._bytes = 0
        self.rows = 0
        for frame in frames:
            self.append(frame)

    @classmethod
    def in_memory(cls, frame: pl.DataFrame) -> Self:
        """Return a buffer of one frame that is in memory already, and stays there however large it is."""
        buffer = cls()
        buffer._keep(frame)
        return buffer

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, frame: pl.DataFrame) -> None:
        """Append `frame`. Raises InputError if the folder has no room for it."""
        self._bytes += _size(frame)
        if self._bytes <= MEMORY_BYTES:
            self._keep(frame)
            return
        try:
            if self._folder is None:
                self._folder = TemporaryFolder()
            path = self._folder.path / f"{len(self._frames)}.arrow"
            frame.write_ipc(path, compression="lz4")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise no_room(error) from None
        self._keep(frame, path)

    def _keep(self, frame: pl.DataFrame, path: Path | None = None) -> None:
        self.rows += frame.height
        self._columns.append(frame.columns)
        self._frames.append(frame if path is None else path)

    def frames(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield the frames in order, any number of times; of each those of `columns` that it has (None: all)."""
        for stored, present in zip(self._frames, self._columns, strict=True):
            selected = None if columns is None else [name for name in columns if name in present]
            if isinstance(stored, pl.DataFrame):
                yield stored if selected is None else stored.select(selected)
                continue
            with stored.open("rb") as file:  # not by its path: mapped pages would count as memory of the process
                frame = pl.read_ipc(file, columns=selected)
            yield frame

    def take(self, places: pl.Series) -> SpillingFrames:
        """Return the rows at these places, from 0 and in order: a buffer of its own."""
        taken = SpillingFrames()
        start = 0
        for frame in self.frames():
            here = places.filter(places.is_between(start, start + frame.height - 1)) - start
            if here.len():
                taken.append(frame[here])
            start += frame.height
        return taken


def _size(frame: pl.DataFrame) -> int:
    """Return bytes in memory. Polars' estimate covers string bytes only; each string has a 16-byte view, too."""
    listed = sum(int(column.list.len().sum()) for column in frame.iter_columns() if column.dtype == pl.List)
    return int(frame.estimated_size()) + 16 * (frame.height * frame.width + listed)


class TemporaryFolder:
    """A folder that only its owner can read. Removed with this object, or at the latest at the end of the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="sender-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def no_room(error: Exception) -> InputError:
    """Return the error for a temporary file that cannot be written."""
    return InputError(
        f"a large list needs room for temporary files, and they cannot be written: {error}",
        where=tempfile.gettempdir(),
        fix="free some space there, or set TMPDIR to a folder with more space",
    )
