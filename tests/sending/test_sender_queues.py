"""Messages that wait behind the limits of their numbers: which leaves first, how many are read ahead, how long all wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sender.plan.pace import Pace
from sender.providers.base import Message
from sender.sending.concurrency import Concurrency
from sender.sending.rate_limit import RecentMessage
from sender.sending.sender_queues import SenderQueues
from sender.sending.throttle import Throttle, make_rate_limiter
from tests.virtual_time import run

A, B, C = (f"+1202555010{n}" for n in range(3))


def message(seq: int, from_number: str | None) -> Message:
    return Message(ref=f"r-{seq}", seq=seq, to="+12025550199", from_number=from_number, body="Hi", media=(), fields={})


class Subject:
    """Queues behind limits in units a second by number, and the throttle that they ask."""

    def __init__(self, senders: Mapping[str, float], *, unit: str = "messages", per_s: float | None = None) -> None:
        pace = Pace("auto", per_s, unit, None, 2, 30.0, senders=senders)
        self.throttle = Throttle(pace, make_rate_limiter(pace), Concurrency(1, None))
        self.queues = SenderQueues(self.throttle)

    def add(self, *numbers: str | None, segments: int = 1) -> None:
        first = len(self.queues.seqs)
        for seq, number in enumerate(numbers, first):
            self.queues.add(seq, message(seq, number), segments)

    def take(self, limit: int) -> list[int]:
        return list(self.queues.take(limit))


def in_time(scenario: Callable[[], Any]) -> Any:
    """What `scenario` returns, called where the time is made up."""

    async def call() -> Any:
        return scenario()

    return run(call())


@pytest.mark.parametrize(
    ("numbers", "limit", "taken"),
    [
        pytest.param([], 5, [], id="nothing waits"),
        pytest.param([A, B, A, B], 2, [0, 1], id="each number's first"),
        pytest.param([A, A, A, B, C], 3, [0, 3, 4], id="nobody waits behind another number's messages"),
        pytest.param([A, B], 1, [0], id="no more than asked for"),
        pytest.param([None, A], 5, [0, 1], id="a service without a limit"),
        pytest.param([None, None, None, A], 5, [0, 1, 2, 3], id="which is always due"),
        pytest.param([A, A, A], 5, [0], id="only the first of one whose next is not due soon"),
    ],
)
def test_the_messages_of_numbers_that_are_due_are_taken(
    numbers: list[str | None], limit: int, taken: list[int]
) -> None:
    def scenario() -> tuple[list[int], set[int]]:
        subject = Subject(dict.fromkeys((A, B, C), 1.0))
        subject.add(*numbers)
        return subject.take(limit), subject.queues.seqs

    assert in_time(scenario) == (taken, set(range(len(numbers))) - set(taken))


def test_what_is_taken_comes_with_its_message_and_segments() -> None:
    def scenario() -> Any:
        subject = Subject({A: 1.0})
        subject.add(A, segments=3)
        return subject.queues.take(1)

    assert in_time(scenario) == {0: (message(0, A), 3)}


@pytest.mark.parametrize(
    ("per_s", "taken"),
    [
        pytest.param(1.0, [0], id="the next is due in a second"),
        pytest.param(2.0, [0], id="in more than half of one"),
        pytest.param(2.1, [0, 1], id="in less than half of one"),
        pytest.param(5.0, [0, 1, 2], id="two within half a second"),
    ],
)
def test_none_is_taken_half_a_second_before_it_may_leave(per_s: float, taken: list[int]) -> None:
    def scenario() -> list[int]:
        subject = Subject({A: per_s})
        subject.add(A, A, A, A)
        return subject.take(10)

    assert in_time(scenario) == taken


@pytest.mark.parametrize(("unit", "taken"), [("messages", [0, 1, 2, 3]), ("segments", [0, 1])])
def test_a_long_message_holds_its_number_up_where_segments_count(unit: str, taken: list[int]) -> None:
    def scenario() -> list[int]:
        subject = Subject({A: 10.0}, unit=unit)
        subject.add(A, A, A, A, segments=4)
        return subject.take(10)

    assert in_time(scenario) == taken


def test_the_first_is_taken_however_far_it_is_due() -> None:
    def scenario() -> list[list[int]]:
        subject = Subject({A: 0.1, B: 0.1})
        subject.throttle.rate_limiter.account_for([RecentMessage(0.0, 1, A), RecentMessage(5.0, 1, B)])
        subject.add(A, B, A, B)
        return [subject.take(10), subject.take(10)]

    assert in_time(scenario) == [[1], [0]]


def test_what_was_taken_counts_before_it_has_left_unless_it_is_given_back() -> None:
    async def scenario() -> list[Any]:
        subject, seen = Subject({A: 1.0}), []
        subject.add(A, A, A)
        for step in (subject.take, None, subject.take, None):
            seen.append(step(1) if step else round(subject.queues.due_in_s(), 3))
        subject.queues.forget_taken()
        seen.append(subject.queues.due_in_s())
        return seen

    assert run(scenario()) == [[0], 1.013, [1], 2.026, 0.0]


def test_how_long_all_of_them_wait() -> None:
    async def scenario() -> list[float]:
        subject, waits_s = Subject({A: 0.1, B: 0.1}), []
        waits_s.append(subject.queues.due_in_s())
        subject.throttle.rate_limiter.account_for([RecentMessage(0.0, 1, A), RecentMessage(5.0, 1, B)])
        subject.add(A)
        waits_s.append(subject.queues.due_in_s())
        subject.queues.add(7, message(7, B), 1)
        waits_s.append(subject.queues.due_in_s())
        await asyncio.sleep(5)
        waits_s.append(subject.queues.due_in_s())
        return [round(wait_s, 3) for wait_s in waits_s]

    assert run(scenario()) == [0.0, 10.13, 5.13, 0.13]


@pytest.mark.parametrize(
    ("senders", "waiting", "missing"),
    [
        pytest.param(1, {}, 32, id="none: 32 for the number"),
        pytest.param(3, {}, 96, id="32 for each of three numbers"),
        pytest.param(200, {}, 4000, id="4,000 at most"),
        pytest.param(1, {A: 16}, 16, id="half of the places are taken"),
        pytest.param(1, {A: 17}, 0, id="more than half"),
        pytest.param(2, {A: 20}, 3980, id="a number is idle: its messages may be far on"),
        pytest.param(2, {A: 20, B: 1}, 43, id="none is idle"),
        pytest.param(2, {A: 2000}, 2000, id="an idle number, half of all places taken"),
        pytest.param(2, {A: 2001}, 0, id="and more than half"),
        pytest.param(2, {A: 32, B: 1}, 0, id="more than half, and none is idle"),
    ],
)
def test_how_many_messages_are_read_ahead(senders: int, waiting: Mapping[str, int], missing: int) -> None:
    numbers = [A, B, *(f"+120255502{n:02}" for n in range(198))][:senders]
    subject = Subject(dict.fromkeys(numbers, 1.0))
    for number, count in waiting.items():
        subject.add(*[number] * count)
    assert subject.queues.missing() == missing


def test_a_number_whose_messages_are_all_taken_is_idle() -> None:
    def scenario() -> list[int]:
        subject = Subject({A: 1.0, B: 1.0})
        subject.add(A, B, B)
        before = subject.queues.missing()
        assert subject.take(2) == [0, 1]
        return [before, subject.queues.missing()]

    assert in_time(scenario) == [61, 3999]
