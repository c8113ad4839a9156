"""The time that is left, in virtual time: runs of many shapes, each told at every look when it will be over."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from sender.core.outcomes import SubmissionState
from sender.plan.sender_pool import SenderPool
from sender.sending.progress import LoopState, Meter
from sender.sending.rate_limit import RateLimit, RateLimiter
from sender.state.ledger import Counts
from tests.virtual_time import now, run

A, B, C = "+12025550100", "+12025550101", "+12025550102"
Messages = list[tuple[str, int]]  # sender and units of each


@dataclass
class Told:
    """What was told when: `(share of the units that had left, time, eta)`, and when the run was over."""

    looks: list[tuple[float, float, float | None]] = field(default_factory=list)
    over_s: float = 0.0

    def wrong(self, *, slack_s: float, from_share: float = 0.05) -> list[tuple[float, float, float | None]]:
        """The looks from `from_share` of the units on that were out by more than 10 % and `slack_s`."""
        return [
            (share, self.over_s - at_s, eta_s)
            for share, at_s, eta_s in self.looks
            if share >= from_share
            and (eta_s is None or abs(eta_s - (self.over_s - at_s)) > 0.1 * (self.over_s - at_s) + slack_s)
        ]


async def simulated(
    messages: Messages,
    pacer: RateLimiter,
    *,
    latency_s: float = 0.2,
    at_once: int = 10_000,
    before: int = 0,
    refuse_at: tuple[float, ...] = (),
    out: str | None = None,
) -> Told:
    """Sends `messages`, each number's in order and the numbers beside one another, and asks ten times a second.

    `before` messages of the run were sent by another session. The provider refuses the pace at `refuse_at` seconds;
    `out` is a number that it refuses from 2 s on.
    """
    told, random = Told(), Random(5)
    pool = SenderPool(dict.fromkeys([sender for sender, _ in messages], 1.0))
    counts = Counts(pending=len(messages), intent=0, accepted=before, rejected=0, canceled=0, unknown=0)
    meter = Meter(
        messages=before + len(messages),
        total=before + len(messages),
        before=counts,
        now_s=now(),
        time_to_send_s=lambda units, last: pacer.time_to_send_s(pool.redistribute(units), last=last),
    )
    waiting: dict[str, deque[tuple[int, str, int]]] = {}  # with their places in the plan
    load: dict[str | None, float] = {}
    for seq, (sender, units) in enumerate(messages):
        waiting.setdefault(sender, deque()).append((seq, sender, units))
        load[sender] = load.get(sender, 0) + units
    meter.set_expected(load)
    whole, gone, flying = sum(load.values()), 0.0, 0
    room = asyncio.Semaphore(at_once)
    started_s = now()

    async def answered(sender: str, units: int) -> None:
        nonlocal flying, gone
        await asyncio.sleep(latency_s * random.uniform(0.8, 1.2))
        flying -= 1
        room.release()
        if sender in pool.disabled:
            gone -= units
            meter.record_returned(sender)
            other = str(pool.choose(str(random.randrange(10**9)), sender))
            waiting[other].append((len(messages), other, units))
        else:
            meter.record_outcomes({SubmissionState.ACCEPTED: 1})

    async def sends(landing: set[asyncio.Task[None]]) -> None:
        nonlocal flying, gone
        while any(waiting.values()) or flying:
            numbers = [number for number, queue in waiting.items() if queue]
            if not numbers:
                await asyncio.sleep(0.05)
                continue
            dues_s = pacer.due_in_s(*numbers)
            first = min(zip(dues_s, numbers, strict=True), key=lambda one: (one[0], waiting[one[1]][0]))[1]
            _, sender, units = waiting[first].popleft()
            await room.acquire()
            while not await pacer.acquire(units, sender=sender):
                await pacer.wait_until_resumed()
            meter.record_sent(units, sender, now())
            gone, flying = gone + units, flying + 1
            landing.add(asyncio.create_task(answered(sender, units)))

    async def watches() -> None:
        refusals = deque(refuse_at)
        while True:
            await asyncio.sleep(0.1)
            if refusals and now() - started_s >= refusals[0]:
                refusals.popleft()
                pacer.slow_down(1.0)
            if out is not None and now() - started_s > 2 and out not in pool.disabled:
                pool.disable(out, "refused")
                while waiting[out]:
                    seq, _, units = waiting[out].popleft()
                    other = pool.choose(str(random.randrange(10**9)), out)
                    waiting[str(other)].append((seq, str(other), units))
            at = LoopState(
                now(), flying, latency_s if meter.messages > flying else 0.0, pacer.paused_s, pacer.slowed_to_per_s
            )
            told.looks.append((gone / whole, now(), meter.progress(at).eta_s))

    watching = asyncio.create_task(watches())
    landing: set[asyncio.Task[None]] = set()
    await sends(landing)
    await asyncio.gather(*landing)
    told.over_s = now()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    return told


def of(sender: str, count: int, sizes: tuple[int, ...] = (1,)) -> Messages:
    random = Random(count)
    return [(sender, random.choice(sizes)) for _ in range(count)]


SHAPES = {
    "one-a-second": (of(A, 60), lambda: RateLimiter(RateLimit(1)), {}, 1.1),
    "ten-a-second": (of(A, 300), lambda: RateLimiter(RateLimit(10)), {}, 0.5),
    "a-thousand-a-second": (of(A, 5000), lambda: RateLimiter(RateLimit(1000)), {}, 0.3),
    "slow-answers": (of(A, 600), lambda: RateLimiter(RateLimit(20)), {"latency_s": 1.5}, 0.8),
    "segments": (of(A, 200, (1, 1, 2, 3, 10)), lambda: RateLimiter(RateLimit(4)), {}, 3.0),
    "the-long-ones-last": (of(A, 200) + of(A, 200, (5,)), lambda: RateLimiter(RateLimit(10)), {}, 1.0),
    "the-long-ones-first": (of(A, 200, (5,)) + of(A, 200), lambda: RateLimiter(RateLimit(10)), {}, 1.0),
    "a-pool-one-number-busier": (
        of(A, 240) + of(B, 60),
        lambda: RateLimiter(RateLimit(6), senders={A: RateLimit(2), B: RateLimit(2)}),
        {},
        1.0,
    ),
    "a-pool-in-segments": (
        of(A, 100, (1, 3)) + of(B, 100, (1,)) + of(C, 20, (7,)),
        lambda: RateLimiter(RateLimit(9), senders={one: RateLimit(3) for one in (A, B, C)}),
        {},
        3.0,
    ),
    "no-pace-slow-answers": (of(A, 400), lambda: RateLimiter(None), {"latency_s": 0.5, "at_once": 4}, 1.0),
    "a-pace-that-latency-does-not-allow": (
        of(A, 400, (1, 2)),
        lambda: RateLimiter(RateLimit(50)),
        {"latency_s": 0.5, "at_once": 4},
        1.0,
    ),
    "resumed": (of(A, 200, (1, 4)), lambda: RateLimiter(RateLimit(8)), {"before": 800}, 1.0),
    "a-queue-at-the-provider": (of(A, 300), lambda: RateLimiter(RateLimit(50), queue=RateLimit(5, burst=100)), {}, 1.0),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_time_left_is_right_within_a_tenth_from_a_twentieth_on(shape: str) -> None:
    messages, pacer, options, slack_s = SHAPES[shape]

    async def scenario() -> Told:
        return await simulated(messages, pacer(), **options)  # type: ignore[arg-type]

    told: Told = run(scenario())
    assert len(told.looks) > 20
    assert told.wrong(slack_s=slack_s) == []


@pytest.mark.parametrize(
    ("options", "from_share"),
    [
        pytest.param({"refuse_at": (5.0,)}, 0.15, id="refused-once"),
        pytest.param({"refuse_at": (5.0, 15.0)}, 0.45, id="refused-twice"),
        pytest.param({"out": B}, 0.2, id="a-number-is-taken-out"),
    ],
)
def test_the_time_left_is_right_again_soon_after_what_nobody_could_foresee(
    options: dict[str, Any], from_share: float
) -> None:
    messages = [one for pair in zip(of(A, 200), of(B, 200), strict=True) for one in pair]

    async def scenario() -> Told:
        return await simulated(
            messages, RateLimiter(RateLimit(12), senders={A: RateLimit(8), B: RateLimit(8)}), **options
        )

    told: Told = run(scenario())
    assert told.wrong(slack_s=1.0, from_share=from_share) == []


def test_a_provider_that_goes_on_refusing_is_reckoned_with() -> None:
    """It takes 5/s of the 20/s: the limits promise much, and what is seen tells the truth within a third."""

    async def scenario() -> Told:
        return await simulated(of(A, 500), RateLimiter(RateLimit(20)), refuse_at=tuple(range(1, 200, 6)))

    told: Told = run(scenario())
    late = [(left, eta_s) for share, at_s, eta_s in told.looks if share > 0.4 and (left := told.over_s - at_s) > 5]
    assert all(eta_s is not None and left / 1.5 < eta_s < left * 1.5 for left, eta_s in late)


def test_progress_counts_what_is_settled_and_tells_no_time_before_it_knows_what_is_left() -> None:
    before = Counts(pending=7, intent=0, accepted=2, rejected=1, canceled=0, unknown=0)
    meter = Meter(
        messages=10, total=8, before=before, now_s=50.0, time_to_send_s=lambda units, last: sum(units.values()) - last
    )
    assert meter.progress(LoopState(50.1)).eta_s is None
    meter.set_expected({A: 5})
    assert meter.progress(LoopState(50.1)).eta_s == 4
    meter.record_sent(1, A, 50.2)
    meter.record_sent(1, A, 51.2)
    meter.record_returned(A)
    meter.record_outcomes({SubmissionState.ACCEPTED: 1, SubmissionState.PENDING: 1})
    told = meter.progress(LoopState(52.0, in_flight=0, answer_s=0.5, paused_s=0.25, slowed_to_per_s=3.0))
    assert (told.accepted, told.rejected, told.unknown, told.pending, told.done, told.total) == (3, 1, 0, 6, 4, 8)
    assert (told.elapsed_s, told.rate_per_s, told.paused_s, told.slowed_to_per_s) == (2.0, 0.5, 0.25, 3.0)
    assert told.eta_s == 3.5
    for at_s in (53, 54, 55, 56):
        meter.record_sent(1, A, at_s)
    assert meter.progress(LoopState(56.2, in_flight=1, answer_s=0.5)).eta_s == pytest.approx(0.3)
    meter.record_outcomes({SubmissionState.ACCEPTED: 4})
    assert meter.progress(LoopState(57.0)).eta_s == 0


def test_without_limits_no_time_is_told_before_it_is_seen_how_fast_messages_leave() -> None:
    """The limits need no time at all: that would be told as "0 s left" of a run that has just begun."""
    before = Counts(pending=100, intent=0, accepted=0, rejected=0, canceled=0, unknown=0)
    meter = Meter(messages=100, total=100, before=before, now_s=50.0, time_to_send_s=lambda _units, _last: 0.0)
    meter.set_expected({A: 100})
    told = [meter.progress(LoopState(50.1, in_flight=1, answer_s=0.2)).eta_s]
    for sent in range(1, 9):  # four a second
        at_s = 50 + sent / 4
        meter.record_sent(1, A, at_s)
        meter.record_outcomes({SubmissionState.ACCEPTED: 1})
        told.append(meter.progress(LoopState(at_s, answer_s=0.2)).eta_s)
    assert told == [None] * 6 + [pytest.approx((99 - sent) / 4 + 0.2) for sent in (6, 7, 8)]
