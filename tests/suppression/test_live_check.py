"""Who a plan holds back, and who gets nothing after all when the list grows while it is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sender.core.outcomes import Reason, Rejected, SkipReason
from sender.suppression.entries import EntrySource, SuppressionEntry
from sender.suppression.live_check import LiveSuppression, SendContext, apply_suppression
from sender.suppression.suppression_list import SuppressionList

ADA, BOB, EVE = "+12025550101", "+12025550102", "+12025550103"
OURS, OTHER = "+12025550150", "+12025550151"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIVE = SendContext("spring", "twilio")


@pytest.fixture
def listed(tmp_path: Path) -> SuppressionList:
    return SuppressionList.open(tmp_path)


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stop_from_another_process_counts_within_a_second(tmp_path: Path) -> None:
    """Another connection writes, as `sender listen` or `sender suppress add` do; the gate notices by itself."""
    clock = Clock()
    with SuppressionList.open(tmp_path) as ours, SuppressionList.open(tmp_path) as theirs:
        gate = LiveSuppression(
            ours, LIVE, since=ours.mark(), numbers=lambda: pytest.fail("asked for the plan"), clock=clock
        )
        assert gate.refuses(ADA, OURS) is None
        theirs.learn_inbound(ADA, "STOP", OURS, "twilio", NOON)
        clock.now = 1.0
        assert gate.refuses(ADA, OURS) == Rejected(
            Reason.OPTED_OUT, "suppressed", f"not sent: replied STOP to {OURS} on 2026-11-21 12:00 UTC"
        )
        assert gate.refuses(BOB, OURS) is None
        theirs.learn_inbound(ADA, "start", OURS, "twilio", later(1))
        clock.now = 2.0
        assert gate.refuses(ADA, OURS) is None


@pytest.mark.parametrize("many", [0, 1_000_000])
def test_a_plan_made_before_the_list_grew_is_held_against_what_came_since(
    tmp_path: Path, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.suppression.suppression_list.MANY_CHANGES", many)
    with SuppressionList.open(tmp_path) as listed:
        listed.add([BOB])
        mark = listed.mark()
        listed.add([ADA])
        gate = LiveSuppression(listed, LIVE, since=mark, numbers=lambda: pl.Series([ADA, EVE]))
        assert gate.refuses(ADA, OURS)
        assert gate.refuses(EVE, OURS) is None


def test_the_list_is_looked_at_five_times_a_second(tmp_path: Path) -> None:
    clock = Clock()
    with SuppressionList.open(tmp_path) as ours, SuppressionList.open(tmp_path) as theirs:
        gate = LiveSuppression(ours, LIVE, since=ours.mark(), numbers=lambda: pl.Series([ADA]), clock=clock)
        for n, number in enumerate((ADA, BOB, EVE)):
            theirs.add([number])
            clock.now = n * 0.5 + 0.1999  # the last look was at n * 0.5
            assert gate.refuses(number, OURS) is None
            clock.now = n * 0.5 + 0.2
            assert gate.refuses(number, OURS) is not None
            clock.now = (n + 1) * 0.5
            assert gate.refuses(number, OURS) is not None


def test_a_change_made_through_the_same_handle_counts_too(tmp_path: Path) -> None:
    clock = Clock()
    with SuppressionList.open(tmp_path) as listed:
        gate = LiveSuppression(listed, LIVE, since=listed.mark(), numbers=lambda: pl.Series([ADA]), clock=clock)
        listed.add([ADA])
        clock.now = 0.2
        assert gate.refuses(ADA, OURS) is not None


@pytest.mark.parametrize("many", [0, 1_000_000])
def test_who_is_taken_off_the_list_gets_the_message(tmp_path: Path, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.suppression.suppression_list.MANY_CHANGES", many)
    clock = Clock()
    with SuppressionList.open(tmp_path) as listed:
        listed.add([ADA, BOB])
        gate = LiveSuppression(listed, LIVE, since=None, numbers=lambda: pl.Series([ADA, BOB]), clock=clock)
        listed.remove([ADA])
        clock.now = 1.0
        assert gate.refuses(ADA, OURS) is None
        assert gate.refuses(BOB, OURS) is not None


def test_of_like_reasons_the_first_is_shown_and_of_unlike_ones_the_strongest(listed: SuppressionList) -> None:
    listed.add([ADA], scope="campaign:spring", at=later(1))
    listed.add([ADA], source=EntrySource.FILE, via="old.csv", at=NOON)
    listed.add([BOB], reason=SkipReason.LANDLINE, at=NOON)
    listed.add([BOB], source=EntrySource.FILE, via="old.csv", at=later(1))
    frame = pl.DataFrame(
        {"to": [ADA, BOB, EVE], "from_number": [OURS] * 3, "reason": [None] * 3, "detail": ["a", "b", "c"]},
        schema_overrides={"reason": pl.String},
    )
    marked = apply_suppression(frame, listed, SendContext("spring", "twilio", skip_dead=True))
    assert marked["detail"].to_list() == [
        "on the suppression list from old.csv on 2026-11-21 12:00 UTC",
        "on the suppression list from old.csv on 2026-11-21 12:01 UTC",
        "c",
    ]
    assert marked.columns == frame.columns


@pytest.mark.parametrize(
    ("reason", "skip_dead", "covers"),
    [
        (SkipReason.OPTED_OUT, False, True),
        (SkipReason.SUPPRESSED, False, True),
        (SkipReason.LANDLINE, False, False),
        (SkipReason.INVALID_NUMBER, False, False),
        (SkipReason.LANDLINE, True, True),
        (SkipReason.INVALID_NUMBER, True, True),
    ],
)
def test_dead_numbers_are_covered_on_request(reason: SkipReason, skip_dead: bool, covers: bool) -> None:
    entry = SuppressionEntry(ADA, reason, EntrySource.PERSON, "", "all", NOON)
    assert SendContext("spring", "twilio", skip_dead=skip_dead).covers(entry, OURS) is covers
