"""Which entry of a provider's log is which of our unknown messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sender.outcomes import Status
from sender.providers.base import LogEntry, LogFacts, Response
from sender.reconcile import SKEW, _Doubt, _match, _same_clock

T0 = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FULL = LogFacts(filters_by_recipient=True, carries_ref=False, carries_body=True, settle_s=60, source="test")
BARE = LogFacts(filters_by_recipient=False, carries_ref=False, carries_body=False, settle_s=60, source="test")
NAMED = LogFacts(filters_by_recipient=True, carries_ref=True, carries_body=True, settle_s=60, source="test")


def doubt(seq: int, to: str = "+12025550101", body: str | None = "Hi", sender: str | None = "+12025550100") -> _Doubt:
    return _Doubt(seq, f"run.{seq}", to, sender, body, T0, T0 + timedelta(seconds=30), 1)


def entry(
    name: str,
    to: str = "+12025550101",
    body: str | None = "Hi",
    sender: str | None = "+12025550100",
    after_s: float | None = 1,
    ref: str | None = None,
) -> LogEntry:
    at = None if after_s is None else T0 + timedelta(seconds=after_s)
    return LogEntry(name, to, sender, body, at, Status.QUEUED, "queued", ref)


SKEW_S = SKEW.total_seconds()


@pytest.mark.parametrize(
    ("doubts", "entries", "facts", "found"),
    [
        pytest.param([doubt(0)], [entry("a")], FULL, {0: "a"}, id="to-from-body-time"),
        pytest.param([doubt(0)], [entry("a", to="+12025550102")], FULL, {}, id="another-recipient"),
        pytest.param([doubt(0)], [entry("a", sender="+12025550109")], FULL, {}, id="another-sender"),
        pytest.param([doubt(0)], [entry("a", body="Bye")], FULL, {}, id="another-body"),
        pytest.param([doubt(0)], [entry("a", body="Bye")], BARE, {0: "a"}, id="a-body-that-proves-nothing"),
        pytest.param([doubt(0)], [entry("a", body=None)], BARE, {0: "a"}, id="no-body-in-the-log"),
        pytest.param([doubt(0, body=None)], [entry("a", body="")], FULL, {0: "a"}, id="media-only"),
        pytest.param([doubt(0, body=None)], [entry("a", body="Hi")], FULL, {}, id="media-only-is-no-text"),
        pytest.param(
            [doubt(0)], [entry("a", body="Sent from a trial account - Hi")], FULL, {0: "a"}, id="trial-prefix"
        ),
        pytest.param([doubt(0)], [entry("a", after_s=30 + SKEW_S + 1)], FULL, {}, id="after-nothing-was-under-way"),
        pytest.param([doubt(0)], [entry("a", after_s=30 + SKEW_S - 1)], FULL, {0: "a"}, id="just-before"),
        pytest.param([doubt(0)], [entry("a", after_s=-SKEW_S - 1)], FULL, {}, id="before-our-intent"),
        pytest.param([doubt(0)], [entry("a", after_s=-SKEW_S + 1)], FULL, {0: "a"}, id="within-the-clocks-skew"),
        pytest.param([doubt(0)], [entry("a", after_s=None)], FULL, {0: "a"}, id="no-time-in-the-log"),
        pytest.param([doubt(0, sender=None)], [entry("a")], FULL, {0: "a"}, id="a-service-chose-the-sender"),
        pytest.param([doubt(0)], [entry("a", ref="run.0")], NAMED, {0: "a"}, id="by-ref"),
        pytest.param([doubt(0)], [entry("a", ref="run.0", body="x")], NAMED, {0: "a"}, id="ref-beats-body"),
        pytest.param([doubt(0)], [entry("a", ref="other.0")], NAMED, {}, id="another-runs-ref"),
        pytest.param([doubt(0)], [entry("a", ref="other.0")], FULL, {}, id="another-runs-ref-where-refs-are-rare"),
        pytest.param([doubt(0)], [entry("a")], NAMED, {}, id="no-ref-where-all-of-ours-have-one"),
        pytest.param([doubt(0), doubt(1)], [entry("a")], FULL, {0: "a"}, id="one-entry-settles-one"),
        pytest.param([doubt(0)], [entry("b", after_s=2), entry("a")], FULL, {0: "a"}, id="the-earliest-first"),
        pytest.param(
            [doubt(0), doubt(1)], [entry("b", after_s=2), entry("a")], FULL, {0: "a", 1: "b"}, id="two-and-two"
        ),
        pytest.param([doubt(0)], [entry("a", ref="run.0"), entry("b", ref="run.0")], NAMED, {0: "a"}, id="a-ref-twice"),
    ],
)
def test_matching(doubts: list[_Doubt], entries: list[LogEntry], facts: LogFacts, found: dict[int, str]) -> None:
    assert {seq: one.message_id for seq, one in _match(doubts, entries, facts).items()} == found


@pytest.mark.parametrize(
    ("date", "apart"),
    [
        pytest.param("Sat, 21 Nov 2026 12:00:00 GMT", None, id="the-same"),
        pytest.param("Sat, 21 Nov 2026 12:01:59 GMT", None, id="within-the-skew"),
        pytest.param("Sat, 21 Nov 2026 12:05:00 GMT", "300 s apart", id="ours-behind"),
        pytest.param("Sat, 21 Nov 2026 11:55:00 GMT", "300 s apart", id="ours-ahead"),
        pytest.param("yesterday", None, id="no-date"),
        pytest.param(None, None, id="none"),
    ],
)
def test_a_log_of_another_clock_proves_nothing(date: str | None, apart: str | None) -> None:
    response = Response(200, {} if date is None else {"date": date}, b"")
    if apart is None:
        _same_clock(response, round(T0.timestamp() * 1000))
    else:
        with pytest.raises(ValueError, match=apart):
            _same_clock(response, round(T0.timestamp() * 1000))
