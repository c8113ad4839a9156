"""Runs with a history, in a state of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.state.run_history import RunHistory, run_history


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path) as runs:
        yield runs
