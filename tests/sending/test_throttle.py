"""The pace in one value: what counts, which limits apply, and where a run that was left goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace, Queue
from sender.providers.base import Message
from sender.sending.concurrency import Concurrency
from sender.sending.rate_limit import RateLimit
from sender.sending.throttle import (
    RECENT_MESSAGES_MAX,
    RECENT_UNITS_MAX,
    Throttle,
    account_limits,
    make_rate_limiter,
    resume_rate_limiter,
)
from sender.state.ledger import Ledger
from tests.virtual_time import run

A, B = "+12025550110", "+12025550111"
STRETCH = 1.05  # the schedule is up to so much slower than the limit


def pace(*, per_s: float | None = None, unit: str = "messages", queue: Queue | None = None, **senders: float) -> Pace:
    numbers = {"a": A, "b": B}
    limits = {numbers[name]: limit for name, limit in senders.items()}
    return Pace("auto", per_s, unit, None, 3, 30.0, senders=limits, queue=queue)


@dataclass
class LedgerStub:
    """What resuming asks a ledger: which messages changed last, how long ago, and how many are on their way."""

    ages_s: dict[int, float]
    on_their_way: int = 0
    asked_for: int = 0

    def now_ms(self) -> int:
        return 1_000_000_000

    def last_changed(self, run_id: str, *, limit: int) -> list[tuple[int, int]]:
        assert run_id == "run"
        self.asked_for = limit
        return [(seq, self.now_ms() - round(age_s * 1000)) for seq, age_s in self.ages_s.items()]

    def delivering(self, run_id: str) -> int:
        return self.on_their_way


@dataclass
class ReaderStub:
    """Messages of `segments` segments each; those with an even `seq` are from A."""

    segments: int = 1
    read_seqs: tuple[int, ...] | None = None

    def read(self, seqs: list[int]) -> list[tuple[Message, int]]:
        self.read_seqs = tuple(seqs)
        return [(Message(seq, "", "", (A, B)[seq % 2], "Hi", (), {}), self.segments) for seq in seqs]


def resumed(
    limits: Pace, ages_s: dict[int, float], *, segments: int = 1, on_their_way: int = 0
) -> tuple[Any, LedgerStub, ReaderStub]:
    """The rate limiter after such an earlier process, and what it asked for. In virtual time."""
    ledger, reader = LedgerStub(ages_s, on_their_way), ReaderStub(segments)

    async def scene() -> Any:
        limiter = resume_rate_limiter(limits, cast("Ledger", ledger), cast("MessageReader", reader), "run")
        return limiter.due_in_s(A, B)

    return run(scene()), ledger, reader


@pytest.mark.parametrize(
    ("unit", "segments", "units"), [("messages", 1, 1), ("messages", 3, 1), ("segments", 1, 1), ("segments", 3, 3)]
)
def test_units(unit: str, segments: int, units: int) -> None:
    limits = pace(unit=unit)
    assert Throttle(limits, make_rate_limiter(limits), Concurrency(1, None)).units(segments) == units


@pytest.mark.parametrize(
    ("limits", "account", "senders"),
    [
        pytest.param(pace(), None, {}, id="none"),
        pytest.param(pace(per_s=4.0), RateLimit(4.0), {}, id="all together"),
        pytest.param(pace(a=1.0, b=2.0), None, {A: RateLimit(1.0), B: RateLimit(2.0)}, id="single numbers"),
        pytest.param(pace(per_s=4.0, a=1.0), RateLimit(4.0), {A: RateLimit(1.0)}, id="both"),
    ],
)
def test_limits(limits: Pace, account: RateLimit | None, senders: dict[str, RateLimit]) -> None:
    assert account_limits(limits) == (account, senders)


@pytest.mark.parametrize(
    ("limits", "gap_s"),
    [
        pytest.param(pace(), (0.0, 0.0), id="none"),
        pytest.param(pace(per_s=4.0), (0.25, 0.25), id="all together"),
        pytest.param(pace(a=1.0, b=2.0), (1.0, 0.0), id="its own"),
        pytest.param(pace(per_s=4.0, a=1.0), (1.0, 0.25), id="the slower one"),
        pytest.param(pace(per_s=1.0, a=4.0), (1.0, 1.0), id="the slower one, the other way round"),
    ],
)
def test_each_limit_is_kept(limits: Pace, gap_s: tuple[float, float]) -> None:
    """Seconds until the next message of A and of B after two messages of A."""

    async def scene() -> list[float]:
        limiter = make_rate_limiter(limits)
        for _ in range(2):
            await limiter.acquire(sender=A)
        return limiter.due_in_s(A, B)

    due_in_s: list[float] = run(scene())
    for due_s, expected_s in zip(due_in_s, gap_s, strict=True):
        assert expected_s - 0.02 <= due_s <= expected_s * STRETCH + 1e-6


class TestResume:
    @pytest.mark.parametrize("ages_s", [{}, {0: 0.1}])
    def test_without_a_limit_nothing_is_read(self, ages_s: dict[int, float]) -> None:
        due_in_s, ledger, reader = resumed(pace(), ages_s)
        assert due_in_s == [0, 0]
        assert (ledger.asked_for, reader.read_seqs) == (0, None)

    def test_a_run_that_has_sent_nothing_starts_at_once(self) -> None:
        due_in_s, ledger, _ = resumed(pace(per_s=1.0), {})
        assert due_in_s == [0, 0]
        assert ledger.asked_for == RECENT_MESSAGES_MAX == 2_000

    @pytest.mark.parametrize(
        ("age_s", "wait_s"), [(0.0, 1.0), (0.4, 0.6), (0.999, 0.001), (1.2, 0.0), (30.0, 0.0), (-5.0, 1.0)]
    )
    def test_a_second_passes_after_the_newest(self, age_s: float, wait_s: float) -> None:
        """The process before may have used its whole second; a clock that was put back adds nothing."""
        due_in_s, _, _ = resumed(pace(per_s=100.0), {7: age_s})
        assert due_in_s == pytest.approx([wait_s, wait_s], abs=0.06)

    @pytest.mark.parametrize(
        ("unit", "segments", "wait_s"), [("messages", 5, 2.0), ("segments", 1, 2.0), ("segments", 5, 10.0)]
    )
    def test_what_a_message_costs(self, unit: str, segments: int, wait_s: float) -> None:
        due_in_s, _, _ = resumed(pace(per_s=0.5, unit=unit), {0: 0.0}, segments=segments)
        assert wait_s <= due_in_s[0] <= wait_s * STRETCH

    def test_each_number_has_its_own_messages(self) -> None:
        due_in_s, _, _ = resumed(pace(a=0.1, b=0.1), {0: 2.0, 1: 4.0})
        assert due_in_s == pytest.approx([8.0, 6.0], rel=0.08)

    @pytest.mark.parametrize(
        ("limits", "felt_s"),
        [
            pytest.param(pace(per_s=10.0), 2.0, id="all together"),
            pytest.param(pace(per_s=10.0, a=1.0), 20.0, id="the slowest limit"),
            pytest.param(pace(a=4.0, b=40.0), 5.0, id="of single numbers"),
        ],
    )
    def test_what_no_limit_depends_on_is_not_read(self, limits: Pace, felt_s: float) -> None:
        ages_s = {0: 0.0, 1: felt_s, 2: felt_s + 0.01, 3: 1_000.0}
        _, _, reader = resumed(limits, ages_s)
        assert reader.read_seqs == (0, 1)
        assert RECENT_UNITS_MAX == 20

    def test_the_newest_is_read_however_old_it_is(self) -> None:
        _, _, reader = resumed(pace(per_s=10.0), {5: 500.0, 6: 600.0})
        assert reader.read_seqs == (5,)

    @pytest.mark.parametrize(
        ("on_their_way", "unit", "segments", "full"),
        [
            pytest.param(0, "messages", 1, False, id="empty"),
            pytest.param(100, "messages", 3, True, id="messages fill it"),
            pytest.param(50, "messages", 3, False, id="half full"),
            pytest.param(50, "segments", 3, True, id="segments fill it"),
        ],
    )
    def test_the_providers_queue(self, on_their_way: int, unit: str, segments: int, full: bool) -> None:
        limits = pace(unit=unit, queue=Queue(100.0, 1.0))
        due_in_s, _, _ = resumed(limits, {0: 0.0}, segments=segments, on_their_way=on_their_way)
        assert (due_in_s[0] > 0) is full
