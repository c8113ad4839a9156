"""The gate between waves and claims: what may be claimed now, what waits, what has missed its time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.outcomes import CancelReason, SubmissionState
from sender.plan.waves import Interval, Wave, Waves
from sender.sending.send_windows import LOOK_AGAIN_S, MAX_VALIDITY_S, SendWindows
from sender.state.ledger import Claim, Ledger
from sender.state.sqlite.ledger import SqliteLedger
from tests.profiles import examples
from tests.state.ledger.conftest import FakeClock
from tests.state.ledger.steps import ACCEPTED, DEFERRED, LEASE_MS, RUN, record

T0 = FakeClock().ms
HOUR_MS = 3_600_000
Spec = Sequence[tuple[int, Sequence[tuple[float, float]]]]  # messages, and intervals in hours from T0


def waves_of(spec: Spec) -> Waves:
    waves, start = [], 0
    for messages, intervals in spec:
        times = tuple((T0 + round(a * HOUR_MS), T0 + round(b * HOUR_MS)) for a, b in intervals)
        waves.append(Wave(start, start + messages, times))
        start += messages
    return Waves(waves)


class Run:
    """A ledger with one run, and its gate, on one clock."""

    def __init__(self, folder: Path, spec: Spec, **options: object) -> None:
        self.clock = FakeClock()
        self.waves = waves_of(spec)
        self.messages = self.waves[-1].end
        self.ledger: Ledger = SqliteLedger.open(folder / "ledger.sqlite3", clock=self.clock)
        self.ledger.create_run(replace(RUN, rows=self.messages, messages=self.messages, skipped=0))
        self.windows = self.gate(**options)
        self.sent: dict[int, int] = {}

    def gate(self, **options: object) -> SendWindows:
        return SendWindows(self.waves, clock_ms=self.clock, **options)  # type: ignore[arg-type]

    def go_to(self, hours: float) -> None:
        self.clock.ms = T0 + round(hours * HOUR_MS)

    def claim(self, limit: int = 1000) -> list[Claim]:
        bound = self.windows.bound(self.ledger, RUN.run_id)
        claims = self.ledger.claim(RUN.run_id, limit=limit, lease_ms=LEASE_MS, below_seq=bound)
        if not claims:
            self.windows.look_again()
        return claims

    def release(self, claims: list[Claim]) -> None:
        """As the producer does."""
        self.windows.look_again(came_back=True)
        self.ledger.release(RUN.run_id, claims)

    def seqs(self, limit: int = 1000) -> list[int]:
        """What is claimed until nothing more can be, at this moment; all of it is accepted."""
        seqs: list[int] = []
        for _ in range(3 + len(self.waves)):  # a look may let the next one pass
            for claim in self.claim(limit):
                seqs.append(claim.seq)
                self.sent[claim.seq] = self.clock.ms
                record(self.ledger, claim, replace_id(claim.seq))
        return sorted(seqs)

    def canceled(self) -> list[int]:
        frame = self.ledger.journal(RUN.run_id, states=[SubmissionState.CANCELED])
        assert set(frame["reason"]) <= {CancelReason.EXPIRED.value}
        return frame["seq"].to_list()

    def wait_s(self, due_in_s: float | None = None) -> float | None:
        self.windows.bound(self.ledger, RUN.run_id)
        return self.windows.wait_s(due_in_s, total=self.messages)


def replace_id(seq: int) -> object:
    return ACCEPTED._replace(message_id=f"SM{seq}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_only_what_is_open_is_claimed(folder: Path) -> None:
    run = Run(folder, [(3, [(0, 2)]), (2, [(1, 3)]), (2, [(2, 4)])])
    assert run.seqs() == [0, 1, 2]
    run.go_to(1)
    assert run.seqs() == [3, 4]
    run.go_to(1.5)
    assert run.seqs() == []
    run.go_to(2)
    assert run.seqs() == [5, 6]
    assert run.canceled() == []


def test_what_misses_its_last_interval_is_canceled(folder: Path) -> None:
    run = Run(folder, [(3, [(0, 2)]), (2, [(1, 3)])])
    assert run.seqs(limit=1)[:1] == [0]
    run2 = Run(folder / "b", [(3, [(0, 2)]), (2, [(1, 3)])])
    assert [claim.seq for claim in run2.claim(limit=1)] == [0]
    run2.go_to(2)
    assert run2.seqs() == [3, 4]
    assert run2.canceled() == [1, 2]


def test_without_any_interval_a_message_never_leaves(folder: Path) -> None:
    run = Run(folder, [(2, []), (1, [(0, 1)])])
    assert run.seqs() == [2]
    assert run.canceled() == [0, 1]


def test_what_opens_later_lets_what_is_open_go_first(folder: Path) -> None:
    run = Run(folder, [(3, [(2, 4)]), (2, [(0, 5)])])  # the first closes sooner
    assert run.seqs() == [3, 4]
    run.go_to(2)
    assert run.seqs() == [0, 1, 2]


def test_a_break_at_noon_holds_what_was_deferred_meanwhile(folder: Path) -> None:
    run = Run(folder, [(3, [(0, 3), (5, 8)])])
    claims = run.claim()
    run.release(claims)
    run.go_to(3)
    assert run.seqs() == []
    run.go_to(4.99)
    assert run.seqs() == []
    run.go_to(5)
    assert run.seqs() == [0, 1, 2]


def test_what_comes_back_after_the_end_is_canceled(folder: Path) -> None:
    run = Run(folder, [(2, [(0, 1)])])
    claims = run.claim()
    run.go_to(1)
    assert run.seqs() == []
    run.release(claims)
    assert run.seqs() == []
    assert run.canceled() == [0, 1]


def test_another_process_finds_the_same(folder: Path) -> None:
    run = Run(folder, [(3, [(0, 2)]), (2, [(1, 3)]), (2, [(0, 4)])])
    assert run.seqs() == [0, 1, 2, 5, 6]
    run.windows = run.gate()
    run.go_to(1)
    assert run.seqs() == [3, 4]
    run.windows = run.gate()
    assert run.seqs() == []


def test_a_clock_that_is_set_back_is_noticed(folder: Path) -> None:
    run = Run(folder, [(3, [(2, 4)]), (3, [(3, 5)])])
    run.go_to(2.5)
    assert len(run.claim(limit=2)) == 2
    run.go_to(1)
    assert run.claim() == []


@pytest.mark.parametrize("restarts", [False, True], ids=["the same process", "another process"])
@pytest.mark.parametrize("hours", [-1.5, -0.1, 0.1, 1.5, 9.0])
def test_a_clock_that_is_set_moves_the_opening(folder: Path, hours: float, restarts: bool) -> None:
    """The ledger's clock runs on: it keeps times, and knows nothing of the hour on a wall until it is opened again."""
    run = Run(folder, [(2, [(2, 30)]), (2, [(0, 30)])])
    wall = FakeClock()
    run.windows = SendWindows(run.waves, clock_ms=wall)
    wall.ms = run.clock.ms
    assert run.seqs() == [2, 3], "the first two are held"
    wall.ms += round(hours * HOUR_MS)
    if restarts:
        run.clock.ms = wall.ms
        run.windows = SendWindows(run.waves, clock_ms=wall)
    run.seqs()
    left_ms = T0 + 2 * HOUR_MS - wall.ms
    if left_ms > 0:
        assert sorted(run.sent) == [2, 3]
        for clock in (run.clock, wall) if not restarts else (run.clock,):
            clock.ms += left_ms - 1
        wall.ms = T0 + 2 * HOUR_MS - 1
        assert run.seqs() == []
        run.clock.ms, wall.ms = run.clock.ms + 1, wall.ms + 1
    assert sorted([*run.sent, *run.seqs()])[:2] == [0, 1]


def test_a_set_clock_hurries_no_retry(folder: Path) -> None:
    run = Run(folder, [(1, [(0, 30)])])
    wall = FakeClock()
    run.windows = SendWindows(run.waves, clock_ms=wall)
    (claimed,) = run.claim()
    record(run.ledger, claimed, DEFERRED, run.clock.ms + 60_000)
    run.windows.look_again(came_back=True)
    wall.ms += HOUR_MS
    assert run.claim() == []
    run.clock.ms, wall.ms = run.clock.ms + 60_000, wall.ms + 60_000
    assert [claim.seq for claim in run.claim()] == [0]


@pytest.mark.parametrize(
    ("hours", "hold", "due_in_s", "waits"),
    [
        (0, True, None, LOOK_AGAIN_S),  # for the window, but looks at the clock now and then
        (0.999, True, None, 3.6),
        (0, True, 5.0, 5.0),
        (0, False, None, None),
        (0, False, 5.0, None),
        (1.5, False, 5.0, 5.0),  # another attempt
        (1.5, False, 7200.0, None),  # a message that is held
    ],
)
def test_how_long_it_waits(folder: Path, hours: float, hold: bool, due_in_s: float | None, waits: float | None) -> None:
    run = Run(folder, [(2, [(1, 2)]), (2, [(3, 4)])], hold=hold)
    run.go_to(hours)
    run.seqs()
    assert run.wait_s(due_in_s) == (None if waits is None else pytest.approx(waits))


def test_nothing_is_waited_for_once_all_are_settled(folder: Path) -> None:
    run = Run(folder, [(2, [(0, 2)]), (2, [(1, 3)])])
    run.seqs()
    assert run.wait_s() is not None
    run.go_to(3)
    assert run.seqs() == []
    assert run.wait_s() is None
    assert run.ledger.finish_run(RUN.run_id)


def test_the_time_left_is_that_of_the_first_to_close(folder: Path) -> None:
    run = Run(folder, [(2, [(0, 2)]), (2, [(0, 3)]), (1, [(1, 3)])])
    assert run.windows.left_s([0, 2]) == 7200
    assert run.windows.left_s([2, 3]) == 10_800
    assert run.windows.left_s([3, 4]) == 0
    assert run.windows.left_s([]) == 0


def test_what_waits_at_the_provider_shortens_the_time_left(folder: Path) -> None:
    """A message arrives once the provider has sent on what was sent before it, at two a second here."""
    run = Run(folder, [(9, [(0, 1)])], drained_per_s=2.0)
    assert run.windows.left_s([0]) == 3600
    run.windows.record_sent(60)
    assert run.windows.left_s([0]) == 3600 - 30
    run.clock.ms += 20_000
    assert run.windows.left_s([0]) == 3600 - 30, "20 seconds are over, and 10 of the queue are left"
    run.windows.record_sent(10)
    assert run.windows.left_s([0]) == 3600 - 35
    run.go_to(0.5)
    assert run.windows.left_s([0]) == 1800, "the queue is empty"
    run.windows.record_sent(4)
    assert run.windows.left_s([0]) == 1798, "and idle time is no credit"
    run.windows.record_sent(4000)
    assert run.windows.left_s([0]) == 0


@pytest.mark.parametrize(
    ("hours", "field", "own", "validity"),
    [
        (0, "validity_period", {}, None),  # longer than the provider's longest
        (2, "validity_period", {}, 32_400),
        (10.9999, "validity_period", {}, 1),
        (2, "validity_period", {"validity_period": 60}, 60),
        (10, "validity_period", {"validity_period": 3600}, 3600),
        (10.75, "validity_period", {"validity_period": 3600}, 900),  # a campaign's own does not outlast the window
        (10.9999, "validity_period", {"validity_period": 2}, 1),
        (10.9993, "validity_period", {}, 2),  # 2.5 seconds: in whole ones, and no more than are left
        (2, None, {}, None),
    ],
)
def test_a_message_waits_at_the_provider_no_longer_than_its_window(
    folder: Path, hours: float, field: str | None, own: dict[str, int], validity: int | None
) -> None:
    run = Run(folder, [(1, [(0, 11)])], validity_field=field)
    run.go_to(hours)
    limited = run.windows.limit_validity(0, own)
    assert limited.get("validity_period") == validity
    assert (limited is own) is (validity == own.get("validity_period")), "no message needs a mapping of its own then"
    assert MAX_VALIDITY_S == 36_000


def merged(hours: Iterable[int]) -> tuple[tuple[float, float], ...]:
    """Intervals that cover exactly these hours."""
    intervals: list[tuple[float, float]] = []
    for hour in sorted(set(hours)):
        if intervals and intervals[-1][1] == hour:
            intervals[-1] = (intervals[-1][0], hour + 1)
        else:
            intervals.append((hour, hour + 1))
    return tuple(intervals)


WAVES = st.lists(
    st.tuples(st.integers(1, 4), st.lists(st.integers(0, 9), max_size=4).map(merged)), min_size=1, max_size=6
)


def urgency(times: tuple[Interval, ...]) -> tuple[float, float]:
    return (times[-1][1], times[0][0]) if times else (-1, -1)


@given(WAVES, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.booleans()), max_size=40), st.booleans())
@settings(max_examples=examples(60))
def test_no_message_is_claimed_outside_its_window_and_none_is_forgotten(
    spec: list[tuple[int, tuple[tuple[float, float], ...]]], steps: list[tuple[float, int, bool]], ordered: bool
) -> None:
    """At random moments random numbers of messages are claimed; some come back; processes come and go."""
    if ordered:
        spec.sort(key=lambda wave: urgency(wave[1]))
    with TemporaryDirectory() as name:
        run = Run(Path(name), spec)
        for forward, limit, restarts in steps:
            run.clock.ms += round(forward * HOUR_MS)
            if restarts:
                run.windows = run.gate()
            for claim in run.claim(limit=limit):
                assert run.waves[run.waves.index_of(claim.seq)].open_until(run.clock.ms) is not None
                if claim.seq % 3 == 0 and claim.attempt == 1:
                    run.release([claim])
                else:
                    record(run.ledger, claim, replace_id(claim.seq))  # type: ignore[arg-type]
                    run.sent[claim.seq] = run.clock.ms
        for hour in range(12):
            run.clock.ms = max(run.clock.ms, T0 + hour * HOUR_MS)
            for seq in run.seqs():
                assert run.waves[run.waves.index_of(seq)].open_until(run.clock.ms) is not None
        canceled = set(run.canceled())
        assert canceled | set(run.sent) == set(range(run.messages))
        assert not canceled & set(run.sent)
        for wave in run.waves:
            ended_after = run.clock.ms if not wave.intervals else wave.intervals[-1][1]
            if not wave.intervals:
                assert canceled >= set(range(wave.first, wave.end))
            assert run.clock.ms >= ended_after
        run.ledger.close()


def test_the_ledger_hears_once_what_is_held_and_what_is_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look costs nothing while nothing has changed, however many messages wait."""
    run = Run(folder, [(3, [(2, 4)]), (2, [(0, 1)]), (2, [(3, 5)])])
    heard: list[tuple[str, int]] = []
    for name in ("hold", "expire"):
        tell = getattr(run.ledger, name)
        monkeypatch.setattr(
            run.ledger,
            name,
            lambda *args, name=name, tell=tell, **span: heard.append((name, span["from_seq"])) or tell(*args, **span),
        )
    assert run.seqs(limit=1) != []
    told = len(heard)
    for hours in (0.3, 0.6, 0.9):
        run.go_to(hours)
        assert run.claim() == []
    assert len(heard) == told
    run.go_to(2)
    (first, *others) = run.claim(limit=3)
    run.release(others)
    told = len(heard)
    run.go_to(4)
    assert run.seqs() == [5, 6]
    assert len(heard) > told
    assert run.canceled() == sorted(claim.seq for claim in others)
    record(run.ledger, first, ACCEPTED)
