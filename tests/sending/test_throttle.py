"""A run's limits from its pace, and how a resumed run takes over what the last process sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from sender.plan.pace import Pace, Queue
from sender.sending.concurrency import Concurrency
from sender.sending.rate_limit import RateLimit, RateLimiter, SharedSlots, new_slots
from sender.sending.throttle import Throttle, account_limits, make_rate_limiter, resume_rate_limiter
from tests.virtual_time import now, run

A, B = "+12025550100", "+12025550199"
NOW_MS = 1_000_000


def a_pace(
    per_s: float | None = None,
    unit: str = "messages",
    queue: Queue | None = None,
    senders: dict[str, float] | None = None,
) -> Pace:
    return Pace("auto", per_s, unit, None, 2, 30.0, senders=senders or {}, queue=queue)


class Sent(NamedTuple):
    """A message of the process before, as the ledger and the plan have it."""

    age_s: float
    segments: int = 1
    from_number: str | None = A


class Past:
    """The ledger and the reader of a run whose last process sent these messages, the newest first."""

    def __init__(self, sent: Sequence[Sent], *, delivering: int = 0) -> None:
        self.sent = sent
        self.waiting = delivering
        self.read_seqs: list[int] = []

    def now_ms(self) -> int:
        return NOW_MS

    def last_changed(self, run_id: str, *, limit: int) -> list[tuple[int, int]]:
        assert (run_id, limit) == ("run-1", 2000)
        return [(seq, NOW_MS - round(message.age_s * 1000)) for seq, message in enumerate(self.sent)]

    def delivering(self, run_id: str) -> int:
        assert run_id == "run-1"
        return self.waiting

    def read(self, seqs: Sequence[int]) -> list[tuple[Any, int]]:
        self.read_seqs = list(seqs)
        return [(self.sent[seq], self.sent[seq].segments) for seq in seqs]


def resumed(pace: Pace, past: Past, *senders: str | None) -> list[float]:
    """Seconds until each of `senders` may send again."""

    async def scenario() -> list[float]:
        return resume_rate_limiter(pace, past, past, "run-1").due_in_s(*senders)  # type: ignore[arg-type]

    return [round(due_s, 6) for due_s in run(scenario())]


@pytest.mark.parametrize(("unit", "units"), [("messages", 1), ("segments", 3)])
def test_what_a_message_of_three_segments_counts(unit: str, units: int) -> None:
    throttle = Throttle(a_pace(unit=unit), RateLimiter(), Concurrency(1, None))
    assert throttle.units(3) == units
    assert throttle.is_paused() is False


def test_the_limits_of_a_pace() -> None:
    assert account_limits(a_pace()) == (None, {})
    pace = a_pace(per_s=4, senders={A: 2, B: 0.5})
    assert account_limits(pace) == (RateLimit(4), {A: RateLimit(2), B: RateLimit(0.5)})


@pytest.mark.parametrize(
    ("pace", "burst", "interval_s"),
    [
        pytest.param(a_pace(), 30, 0.0, id="none"),
        pytest.param(a_pace(per_s=2), 1, 0.5065, id="of the account"),
        pytest.param(a_pace(senders={A: 2}), 1, 0.5065, id="of the number"),
        pytest.param(a_pace(queue=Queue(5, 2)), 5, 0.5065, id="the provider's queue"),
        pytest.param(a_pace(per_s=0.5, queue=Queue(5, 2), senders={A: 1}), 1, 2.026, id="the lowest of all"),
    ],
)
def test_each_limit_holds(pace: Pace, burst: int, interval_s: float) -> None:
    async def scenario() -> list[float]:
        limiter, times, start_s = make_rate_limiter(pace), [], now()
        for _ in range(30):
            await limiter.acquire(sender=A)
            times.append(now() - start_s)
        return times

    times = run(scenario())
    assert sum(at_s < 0.03 for at_s in times) == burst
    assert times[-1] - times[-2] == pytest.approx(interval_s, abs=0.009)


@pytest.mark.parametrize("resume", [False, True])
def test_processes_that_share_their_limits_wait_for_one_another(resume: bool) -> None:
    pace, past = a_pace(per_s=0.1), Past([])

    async def scenario() -> list[float]:
        shared = SharedSlots(new_slots(*account_limits(pace)))
        limiters = [
            resume_rate_limiter(pace, past, past, "run-1", shared)  # type: ignore[arg-type]
            if resume
            else make_rate_limiter(pace, shared)
            for _ in range(2)
        ]
        await limiters[0].acquire()
        return limiters[1].due_in_s(None)

    assert run(scenario()) == pytest.approx([10.13])


@pytest.mark.parametrize(
    ("pace", "sent", "due_s"),
    [
        pytest.param(a_pace(), [Sent(0)], [0, 0], id="no limit"),
        pytest.param(a_pace(per_s=0.1), [], [0, 0], id="nothing sent"),
        pytest.param(a_pace(per_s=0.1), [Sent(0)], [10.13, 10.13], id="a message now"),
        pytest.param(a_pace(per_s=0.1), [Sent(2.5)], [7.63, 7.63], id="a while ago"),
        pytest.param(a_pace(per_s=0.1), [Sent(2.5, 3)], [7.63, 7.63], id="of three segments, by messages"),
        pytest.param(a_pace(0.1, "segments"), [Sent(2.5, 3)], [27.89, 27.89], id="of three segments"),
        pytest.param(a_pace(senders={A: 0.1, B: 0.2}), [Sent(1), Sent(0, 1, B)], [9.13, 5.065], id="each number's own"),
        pytest.param(a_pace(senders={A: 0.1}), [Sent(0, 1, None)], [1.0, 0], id="no number"),
        pytest.param(a_pace(queue=Queue(1, 0.1)), [Sent(0)], [10.13, 10.13], id="the provider's queue"),
    ],
)
def test_a_resumed_run_waits_for_what_the_last_process_sent(pace: Pace, sent: list[Sent], due_s: list[float]) -> None:
    past = Past(sent, delivering=len(sent))
    assert resumed(pace, past, A, B) == due_s


@pytest.mark.parametrize(
    ("pace", "ages_s", "read"),
    [
        pytest.param(a_pace(), [0], [], id="no limit: none"),
        pytest.param(a_pace(per_s=2), [0, 10, 10.001], [0, 1], id="those of which twenty units are still felt"),
        pytest.param(a_pace(per_s=2), [700, 701], [0], id="the newest always"),
        pytest.param(a_pace(per_s=4, senders={A: 2}), [0, 10, 10.001], [0, 1], id="by the slowest limit"),
        pytest.param(a_pace(senders={A: 2, B: 0.1}), [0, 200, 200.001], [0, 1], id="by the slowest number"),
        pytest.param(a_pace(queue=Queue(5, 1)), [0.2, 0.5], [0], id="a queue: the newest alone"),
    ],
)
def test_what_is_no_longer_felt_is_not_read(pace: Pace, ages_s: list[float], read: list[int]) -> None:
    past = Past([Sent(age_s) for age_s in ages_s])
    resumed(pace, past, A)
    assert past.read_seqs == read


@pytest.mark.parametrize(
    ("unit", "sent", "delivering", "room"),
    [
        pytest.param("messages", [Sent(0)], 0, 100, id="nothing waits"),
        pytest.param("messages", [Sent(0, 3)], 30, 70, id="messages"),
        pytest.param("segments", [Sent(0, 3)], 30, 10, id="segments, by the mean of the last messages"),
        pytest.param("segments", [Sent(0, 3), Sent(0, 1)], 30, 40, id="of different lengths"),
        pytest.param("messages", [], 30, 100, id="nothing was sent"),
    ],
)
def test_the_providers_queue_is_as_long_as_what_has_no_final_status(
    unit: str, sent: list[Sent], delivering: int, room: int
) -> None:
    pace = a_pace(per_s=1e6 if len(sent) > 1 else None, unit=unit, queue=Queue(100, 0.001))

    async def scenario() -> int:
        past = Past(sent, delivering=delivering)
        limiter = resume_rate_limiter(pace, past, past, "run-1")  # type: ignore[arg-type]
        sent_now, start_s = 0, now()
        while await limiter.acquire() and now() - start_s < 5:
            sent_now += 1
        return sent_now

    assert run(scenario()) == room
