"""What is held, read again and again: right when something changes, and not by going through a long list each time."""

from __future__ import annotations

from typing import Any

import pytest

from sender.plan.waves import Wave
from sender.reports.held import HeldReader

HOUR_MS = 3_600_000
WAVES = [
    Wave(0, 10, ((0, 5 * HOUR_MS),), ("Europe/London",), ("window",)).to_manifest(),
    Wave(10, 1000, ((HOUR_MS, 2 * HOUR_MS),), ("America/New_York",), ("window",)).to_manifest(),
]


class Ledger:
    """A run of which the second wave waits; each look takes `took_s`."""

    def __init__(self, took_s: float) -> None:
        self.now_s, self.took_s = 100.0, took_s
        self.frontier, self.waiting = 1000, list(range(10, 1000))
        self.looks = 0

    def pending_from(self, run_id: str) -> tuple[int, list[int]]:
        self.looks += 1
        self.now_s += self.took_s
        return self.frontier, self.waiting


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(took_s=0.5)


def held(reader: HeldReader, ledger: Any, now_ms: int = 0, pending: int = 990) -> int:
    return sum(group.messages for group in reader.read(ledger, "r", pending=pending, now_ms=now_ms))


@pytest.fixture
def reader(ledger: Ledger) -> HeldReader:
    return HeldReader(WAVES, clock=lambda: ledger.now_s)


def test_a_run_that_only_waits_is_read_once(reader: HeldReader, ledger: Ledger) -> None:
    for _ in range(50):
        ledger.now_s += 60.0
        assert held(reader, ledger) == 990
    assert ledger.looks == 1


def test_while_others_leave_a_long_list_takes_a_twentieth_of_the_time(reader: HeldReader, ledger: Ledger) -> None:
    for second in range(100):
        ledger.now_s += 1.0
        assert held(reader, ledger, pending=2000 - second) == 990
    assert 5 <= ledger.looks <= 10


def test_a_short_list_is_read_at_each_change(reader: HeldReader, ledger: Ledger) -> None:
    ledger.took_s = 0.0001
    for left in (990, 500, 20):
        ledger.now_s += 1.0
        ledger.waiting = list(range(1000 - left, 1000))
        assert held(reader, ledger, pending=left) == left


def test_a_window_that_opens_is_seen_at_once(reader: HeldReader, ledger: Ledger) -> None:
    assert held(reader, ledger, HOUR_MS - 1) == 990
    assert held(reader, ledger, HOUR_MS) == 0
    assert held(reader, ledger, HOUR_MS) == 0
    assert ledger.looks == 2


def test_what_is_not_there_is_not_looked_for(ledger: Ledger) -> None:
    assert held(HeldReader(()), ledger) == held(HeldReader(WAVES), ledger, pending=0) == 0
    assert ledger.looks == 0
