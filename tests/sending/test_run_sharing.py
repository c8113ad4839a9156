"""How many senders of other machines a run is sent by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sender.plan.pace import Pace
from sender.sending.options import SendOptions
from sender.sending.shifts.order import Order
from sender.sending.shifts.run_sharing import MOST_SHIFTS, RunSharing
from sender.state.ledger import Run, RunKind

RUN = Run("run-1", "welcome", RunKind.LIVE, "twilio", "hash", None, 9, 9, 0, 5)
PACE = Pace(rate="none", per_s=None, unit="messages", concurrency=None, retries=0, timeout_s=5)


def senders(folder: Path, pace: Pace, places: int) -> int:
    """How many would send together where workers have this many places."""
    worker = SimpleNamespace(places=places, is_draining=False)
    state: Any = SimpleNamespace(sharing=SimpleNamespace(workers=lambda: [worker], is_shared=lambda run: False))
    found = RunSharing.find(state, RUN, pace, SendOptions(state_dir=folder))
    assert found is not None
    return found._shifts


@pytest.mark.parametrize(
    ("changes", "places", "most"),
    [
        ({}, 8, 8),
        ({}, 80, MOST_SHIFTS),
        ({"per_s": 3.0}, 8, 3),
        ({"per_s": 0.1}, 8, 1),
        ({"concurrency": 1}, 8, 1),
        ({"concurrency": 5}, 8, 5),
        ({"concurrency": 20}, 8, 8),
    ],
)
def test_the_limits_bound_how_many_send(tmp_path: Path, changes: dict[str, Any], places: int, most: int) -> None:
    assert senders(tmp_path, replace(PACE, **changes), places) == most


@pytest.mark.parametrize("concurrency", [1, 2, 7, 30])
def test_together_they_have_no_more_in_flight_than_the_campaign_allows(tmp_path: Path, concurrency: int) -> None:
    pace = replace(PACE, concurrency=concurrency)
    shifts = senders(tmp_path, pace, 4)
    each = Order(pace, shifts).own_pace.concurrency
    assert each is not None
    assert 1 <= each * shifts <= concurrency
