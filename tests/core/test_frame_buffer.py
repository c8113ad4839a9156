"""Frames come back as they were appended, from memory or from the folder, and the folder goes with them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sender.core import frame_buffer
from sender.core.errors import InputError
from sender.core.frame_buffer import SpillingFrames, TemporaryFolder

ADA = pl.DataFrame({"name": ["Ada"], "row": [1]})
BOB = pl.DataFrame({"name": ["Bob"]})


@pytest.fixture(params=["memory", "folder"])
def buffer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SpillingFrames:
    if request.param == "folder":
        monkeypatch.setattr(frame_buffer, "MEMORY_BYTES", 0)
    return SpillingFrames(ADA, BOB)


def test_frames_come_back_in_order_any_number_of_times(buffer: SpillingFrames) -> None:
    for _ in range(2):
        first, second = buffer.frames()
        assert first.equals(ADA)
        assert second.equals(BOB)
    assert (len(buffer), buffer.rows) == (2, 2)


def test_only_the_columns_that_are_asked_for(buffer: SpillingFrames) -> None:
    assert [frame.columns for frame in buffer.frames(["row", "name"])] == [["row", "name"], ["name"]]
    assert [frame.columns for frame in buffer.frames(["row"])] == [["row"], []]


def test_frames_spill_when_memory_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(frame_buffer.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(frame_buffer, "MEMORY_BYTES", 60)
    buffer = SpillingFrames(ADA)
    assert list(tmp_path.iterdir()) == []
    for _ in range(5):
        buffer.append(ADA)
    [folder] = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 5
    assert [frame.height for frame in buffer.frames()] == [1] * 6
    del buffer
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_room_is_an_input_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(frame_buffer.tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.setattr(frame_buffer, "MEMORY_BYTES", 0)
    with pytest.raises(InputError, match="needs room for temporary files") as failure:
        SpillingFrames(ADA)
    assert "TMPDIR" in str(failure.value.fix)


def test_only_the_owner_can_read_the_folder() -> None:
    folder = TemporaryFolder()
    assert folder.path.stat().st_mode & 0o077 == 0


def test_a_frame_that_is_in_memory_stays_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else each block of a large list would be written a second time while it is planned."""
    monkeypatch.setattr(frame_buffer.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(frame_buffer, "MEMORY_BYTES", 0)
    buffer = SpillingFrames.in_memory(ADA)
    assert list(tmp_path.iterdir()) == []
    assert [frame.to_dict(as_series=False) for frame in buffer.frames()] == [ADA.to_dict(as_series=False)]
    assert (len(buffer), buffer.rows) == (1, 1)
