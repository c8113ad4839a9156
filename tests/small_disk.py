"""A file system that can be filled up, for tests of a disk that is full."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB: room for a small state and its write-ahead logs, which SQLite lets grow to 4 MiB."""
    with mounted(tmp_path / "disk", mib=2) as place:
        yield place


@contextlib.contextmanager
def mounted(place: Path, *, mib: int) -> Iterator[Path]:
    """A new file system at `place`, which everybody may write. Skips the test where none can be made."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=1777", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, *, leave_kib: int) -> Path:
    ballast = place / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while shutil.disk_usage(place).free > leave_kib * 1024:
            file.write(b"x" * 4096)
    return ballast
