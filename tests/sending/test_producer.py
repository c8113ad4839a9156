"""The producer in virtual time: many numbers with limits of their own, and none of them waits for another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise
from random import Random
from typing import Any

import polars as pl
import pytest

from sender.core.errors import StateError
from sender.plan.pace import Pace
from sender.plan.sender_pool import SenderPool
from sender.providers.base import Message
from sender.sending.concurrency import Concurrency
from sender.sending.producer import LEASE_MS, Assignment, Producer
from sender.sending.rate_limit import LOOK_AGAIN_S, RateLimit, RateLimiter
from sender.sending.throttle import Throttle, make_rate_limiter
from sender.state.ledger import Claim
from tests.virtual_time import most_in_a_second, now, run

NUMBERS = [f"+120255501{n:02}" for n in range(10)]
Messages = list[tuple[str, int]]  # sender and segments of each


class Ledger:
    """What a producer asks of a ledger, in memory; every commit takes `commit_s`."""

    def __init__(self, count: int, commit_s: float = 0.01) -> None:
        self._count = count
        self._commit_s = commit_s
        self._next = 0
        self._aside: list[int] = []
        self.claimed_s: dict[int, float] = {}

    @property
    def pending(self) -> bool:
        return bool(self._aside) or self._next < self._count

    async def prefetch(
        self, *, limit: int, exclude: Collection[int], below_seq: int | None, partition: tuple[int, int]
    ) -> list[int]:
        await asyncio.sleep(self._commit_s)
        assert partition == (0, 1), "one process has everything"
        due = [seq for seq in self._aside if seq not in exclude][:limit]
        fresh = list(range(self._next, min(self._count, self._next + limit - len(due))))
        self._next += len(fresh)
        self._aside += fresh
        return due + fresh

    async def claim_prefetched(self, seqs: Collection[int], *, lease_ms: int) -> list[Claim]:
        await asyncio.sleep(self._commit_s)
        self._aside = [seq for seq in self._aside if seq not in seqs]
        return [self._claim(seq) for seq in sorted(seqs)]

    async def claim(self, *, limit: int, lease_ms: int, below_seq: int | None) -> list[Claim]:
        await asyncio.sleep(self._commit_s)
        back, self._aside = sorted(self._aside)[:limit], sorted(self._aside)[limit:]
        fresh = range(self._next, min(self._count, self._next + limit - len(back)))
        self._next += len(fresh)
        return [self._claim(seq) for seq in (*back, *fresh)]

    def _claim(self, seq: int) -> Claim:
        self.claimed_s[seq] = now()
        return Claim(seq, 1, 0)

    async def release(self, claims: Collection[Claim]) -> int:
        await asyncio.sleep(self._commit_s)
        self._aside += [claim.seq for claim in claims]
        return len(claims)

    async def in_thread(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        return call(*values, **named)


@dataclass
class Flight:
    """Takes what leaves, and notes when and from which number."""

    ledger: Ledger
    left: list[tuple[float, str, int]] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)

    async def wait_for_room(self) -> None: ...

    async def wait_for_more(self) -> bool:
        return self.ledger.pending

    def rest(self) -> None: ...

    def submit(self, claim: Claim, message: Message, send_by_s: float) -> None:
        assert now() < send_by_s
        self.seqs.append(claim.seq)
        self.left.append((now(), str(message.from_number), int(message.body or "")))

    def times(self, number: str) -> list[float]:
        return [at_s for at_s, one, _ in self.left if one == number]


def fed(
    messages: Messages, pace: Pace, *, late_s: float = 0.0, overall_per_s: float | None = None
) -> tuple[Flight, Ledger, float]:
    """What left and when, and in how many seconds."""

    class Reader:
        def read(self, seqs: list[int]) -> list[tuple[Message, int]]:
            return [
                (Message(seq, f"r{seq}", "+12125550123", messages[seq][0], str(messages[seq][1])), messages[seq][1])
                for seq in seqs
            ]

    async def scenario() -> tuple[Flight, Ledger, float]:
        ledger, begun_s = Ledger(len(messages)), now()
        flight = Flight(ledger)
        given: dict[str, Any] = {"ledger": ledger, "reader": Reader()}
        overall = None if overall_per_s is None else RateLimiter(RateLimit(overall_per_s))
        throttle = Throttle(pace, make_rate_limiter(pace, overall=overall), Concurrency(64, None))
        await Producer(throttle=throttle, clock=now, **given).run(flight)
        return flight, ledger, flight.left[-1][0] - begun_s

    told: tuple[Flight, Ledger, float] = run(scenario(), late_s=late_s)
    assert sorted(told[0].seqs) == list(range(len(messages))), "each once"
    return told


def pace(per_s: float | None, senders: dict[str, float], unit: str = "messages") -> Pace:
    return Pace("x", per_s, unit, None, 2, 5.0, senders=senders)


def sticky(count: int, weights: dict[str, float]) -> Messages:
    """Who gets which number, as a plan's pool says."""
    random = Random(3)
    people = pl.Series([f"+1{random.randrange(201, 990)}555{random.randrange(10**4):04}" for _ in range(count)])
    return [(number, 1) for number in SenderPool(weights).assign(people, pl.Series(["US"] * count))]


@pytest.mark.parametrize(
    ("make", "per_s", "own"),
    [
        pytest.param(partial(sticky, 400, dict.fromkeys(NUMBERS, 1.0)), None, 1.0, id="ten-numbers-of-one-a-second"),
        pytest.param(partial(sticky, 400, {one: 1.0 + n for n, one in enumerate(NUMBERS)}), None, 1.0, id="by-weight"),
        pytest.param(partial(sticky, 3000, dict.fromkeys(NUMBERS, 1.0)), None, 20.0, id="faster-numbers"),
        pytest.param(partial(sticky, 400, dict.fromkeys(NUMBERS, 1.0)), 5.0, 1.0, id="the-account-is-slower"),
        pytest.param(lambda: [(one, 1) for one in NUMBERS for _ in range(40)], None, 1.0, id="a-list-sorted-by-number"),
        pytest.param(partial(sticky, 400, dict.fromkeys(NUMBERS[:2], 1.0)), None, 0.1, id="one-in-ten-seconds"),
    ],
)
def test_numbers_take_as_long_as_the_busiest_needs_and_none_passes_its_limit(
    make: Callable[[], Messages], per_s: float | None, own: float
) -> None:
    messages = make()
    flight, ledger, seconds = fed(messages, pace(per_s, dict.fromkeys(NUMBERS, own)))
    load = Counter(number for number, _ in messages)
    needed_s = max(max(load.values()) / own, len(messages) / per_s if per_s else 0.0)
    assert needed_s * 0.95 - 1 / own < seconds <= 1.03 * needed_s + 1
    for number in load:
        times = flight.times(number)
        assert most_in_a_second(times) <= max(1, own)
        assert min((b - a for a, b in pairwise(times)), default=1 / own) >= 0.9 / own - 0.02
    if per_s:
        assert most_in_a_second([at_s for at_s, _, _ in flight.left]) <= per_s
    assert all(at_s - ledger.claimed_s[seq] < 2 for (at_s, *_), seq in zip(flight.left, flight.seqs, strict=True))


def test_segments_count_at_each_number() -> None:
    random = Random(1)
    messages = [(random.choice(NUMBERS[:3]), random.choice([1, 2, 5])) for _ in range(150)]
    flight, _, seconds = fed(messages, pace(None, dict.fromkeys(NUMBERS[:3], 3.0), "segments"))
    load: Counter[str] = Counter()
    for number, segments in messages:
        load[number] += segments
    assert seconds == pytest.approx(max(load.values()) / 3, rel=0.05)
    for number in load:
        left = [(at_s, units) for at_s, one, units in flight.left if one == number]
        for (at_s, units), (after_s, _) in pairwise(left):
            assert after_s - at_s >= units / 3.0 - 0.02


@pytest.mark.parametrize("per_s", [0.2, 1.0, 4.0, 100.0])
def test_a_slow_pace_claims_a_message_only_shortly_before_it_leaves(per_s: float) -> None:
    flight, ledger, _ = fed([("A", 1)] * 12, pace(per_s, {}))
    waits_s = [at_s - ledger.claimed_s[seq] for (at_s, *_), seq in zip(flight.left, flight.seqs, strict=True)]
    assert max(waits_s) <= 0.3
    times = [at_s for at_s, *_ in flight.left]
    assert (times[-1] - times[0]) * per_s == pytest.approx(11 * 1.013, rel=0.02), "and loses nothing of the pace by it"


@pytest.mark.parametrize("per_s", [None, 1000.0])
def test_nothing_is_claimed_long_before_the_limit_over_all_routes_lets_it_leave(per_s: float | None) -> None:
    """What a crash leaves in doubt is what was claimed."""
    flight, ledger, _ = fed([("+12025550100", 1)] * 12, pace(per_s, {}), overall_per_s=0.1)
    waited = [at_s - ledger.claimed_s[seq] for seq, (at_s, *_) in zip(flight.seqs, flight.left, strict=True)]
    assert max(waited) <= 0.3


FEW = [(NUMBERS[place % 2], 1 + place % 3) for place in range(12)]


class Reader:
    """Reads twelve messages, or fails to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    def read(self, seqs: list[int]) -> list[tuple[Message, int]]:
        if self._failure is not None:
            raise self._failure
        return [(Message(seq, f"r{seq}", "+12125550123", FEW[seq][0], str(FEW[seq][1])), FEW[seq][1]) for seq in seqs]


class Released(Ledger):
    """Notes what is given back, and up to where messages may be claimed."""

    def __init__(self) -> None:
        super().__init__(len(FEW))
        self.released: list[int] = []
        self.bounds: set[int | None] = set()

    async def release(self, claims: Collection[Claim]) -> int:
        self.released += [claim.seq for claim in claims]
        return await super().release(claims)

    async def claim(self, *, limit: int, lease_ms: int, below_seq: int | None) -> list[Claim]:
        self.bounds.add(below_seq)
        return await super().claim(limit=limit, lease_ms=lease_ms, below_seq=below_seq)

    async def prefetch(self, *, limit: int, below_seq: int | None, **named: Any) -> list[int]:
        self.bounds.add(below_seq)
        return await super().prefetch(limit=limit, below_seq=below_seq, **named)


def feed(
    senders: dict[str, float],
    ledger: Released,
    *,
    flight: Flight | None = None,
    reader: Reader | None = None,
    unit: str = "messages",
    is_paused: Callable[[], bool] = lambda: False,
    **ways: Any,
) -> Flight:
    """Send the twelve messages, or what the ledger gives of them."""
    flight = flight or Flight(ledger)

    async def scenario() -> None:
        paced = pace(None, senders, unit)
        throttle = Throttle(paced, make_rate_limiter(paced), Concurrency(64, None), is_paused)
        given: dict[str, Any] = {"ledger": ledger, "reader": reader or Reader()}
        await Producer(throttle=throttle, clock=now, **given, **ways).run(flight)

    run(scenario())
    return flight


BY_NUMBER = dict.fromkeys(NUMBERS[:2], 5.0)
BOTH_WAYS = pytest.mark.parametrize("senders", [{}, BY_NUMBER], ids=["in order", "by number"])


@BOTH_WAYS
@pytest.mark.parametrize("unit", ["messages", "segments"])
def test_who_follows_hears_of_each_message_with_its_units_its_number_and_when(
    senders: dict[str, float], unit: str
) -> None:
    heard: list[tuple[float, str | None, float]] = []
    flight = feed(senders, Released(), unit=unit, on_sent=lambda *said: heard.append(said))
    assert [(number, at_s) for _, number, at_s in heard] == [(number, at_s) for at_s, number, _ in flight.left]
    assert [units for units, *_ in heard] == [segments if unit == "segments" else 1 for *_, segments in flight.left]


@BOTH_WAYS
@pytest.mark.parametrize("below_seq", [None, 7])
def test_nothing_from_the_bound_on_is_asked_for(senders: dict[str, float], below_seq: int | None) -> None:
    ledger = Released()
    feed(senders, ledger, assignment=Assignment(below_seq))
    assert ledger.bounds == {below_seq}


@BOTH_WAYS
def test_what_a_check_fails_for_is_given_back(senders: dict[str, float]) -> None:
    class Check:
        def check(self, claims: Sequence[tuple[Claim, Message]], *, lease_ms: int) -> None:
            assert [claim.seq for claim, _ in claims] == [message.seq for _, message in claims]
            assert lease_ms == LEASE_MS
            raise StateError("no disk")

        def refusal(self, claim: Claim) -> None: ...

    ledger = Released()
    flight = Flight(ledger)
    with pytest.raises(StateError, match="no disk"):
        feed(senders, ledger, flight=flight, assignment=Assignment(check=Check()))
    assert flight.seqs == []
    assert ledger.released
    assert set(ledger.released) == set(ledger.claimed_s)


def test_what_cannot_be_read_is_given_back() -> None:
    ledger = Released()
    with pytest.raises(StateError, match="the plan is gone"):
        feed({}, ledger, reader=Reader(StateError("the plan is gone")))
    assert ledger.released
    assert set(ledger.released) == set(ledger.claimed_s)


@BOTH_WAYS
def test_while_it_is_paused_it_claims_nothing_and_says_that_it_rests(senders: dict[str, float]) -> None:
    class Resting(Flight):
        rests = 0

        def rest(self) -> None:
            self.rests += 1

    ledger = Released()
    flight, looks = Resting(ledger), count()
    feed(senders, ledger, flight=flight, is_paused=lambda: next(looks) < 3)
    assert flight.rests == 3
    assert min(ledger.claimed_s.values()) >= 1000 + 3 * LOOK_AGAIN_S
    assert sorted(flight.seqs) == list(range(len(FEW)))


@BOTH_WAYS
def test_what_has_not_left_when_it_is_cancelled_is_given_back(senders: dict[str, float]) -> None:
    class Full(Flight):
        async def wait_for_room(self) -> None:
            if len(self.seqs) == 3:
                raise asyncio.CancelledError

    ledger = Released()
    flight = Full(ledger)
    with pytest.raises(asyncio.CancelledError):
        feed(senders, ledger, flight=flight)
    assert len(flight.seqs) == 3
    assert sorted([*flight.seqs, *ledger.released]) == sorted(ledger.claimed_s), "each has left, or is given back"
