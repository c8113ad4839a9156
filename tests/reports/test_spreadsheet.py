"""A workbook that cannot be written leaves nothing behind."""

from __future__ import annotations

import errno
import gc
import io
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest

from sender.reports.spreadsheet import write_workbook


class FullDisk(io.BytesIO):
    """Has room for a number of bytes; then one write fails."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: object) -> int:
        written = super().write(data)  # type: ignore[arg-type]
        if self.tell() > self.room:
            self.room = sys.maxsize
            raise OSError(errno.ENOSPC, "No space left on device")
        return written


@pytest.mark.parametrize("room", [0, 100, 2_000, 10_000, None])
def test_no_numbers_stay_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    frame = pl.DataFrame({"to": [f"+120255501{row % 100:02}" for row in range(3_000)], "row": range(3_000)})
    if room is None:
        write_workbook(frame, io.BytesIO(), sheet="messages")
    else:
        file = FullDisk(room)
        with pytest.raises(OSError, match="No space left"):
            write_workbook(frame, file, sheet="messages")
        gc.collect()  # the archive writes its end when it goes
    assert list(tmp_path.iterdir()) == []


def test_nor_after_a_row_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("sender.reports.spreadsheet._rows", lambda *_: iter([[("+12025550101", False)], 1]))
    with pytest.raises(TypeError):
        write_workbook(pl.DataFrame({"to": ["+12025550101", "+12025550102"]}), io.BytesIO(), sheet="messages")
    assert list(tmp_path.iterdir()) == []
