"""What one of several senders tells the others, and how it obeys them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sender.core.errors import ProviderRefused, StateError, StateLost
from sender.plan.sender_pool import SenderPool
from sender.sending.shifts.shift_observer import ShiftListener, ShiftObserver
from sender.state.heartbeat import Progress
from sender.state.sharing import SharedNews

ONE, TWO, THREE = "+12025550151", "+12025550152", "+12025550153"
REFUSED = ProviderRefused("the account has no funds", fix="top it up")


class Others:
    """In place of the run as it is shared and of the thread that speaks to it: what the others are told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def tell(self, call: Any, *values: object) -> None:
        call(*values)

    def halt(self, text: str) -> None:
        self.told.append(("halt", json.loads(text)))

    def disable_sender(self, number: str, why: str) -> None:
        self.told.append(("disable", number, why))


def pool() -> SenderPool:
    return SenderPool(dict.fromkeys((ONE, TWO, THREE), 1.0))


def observer(others: Any, senders: SenderPool | None, **more: Any) -> ShiftObserver:
    return ShiftObserver(others, others, senders, **more)


def progress(in_flight: int) -> Progress:
    return Progress(9, 0, 0, 0, 0, 9, in_flight, 1.0, 2.0, None)


@pytest.mark.parametrize(
    ("failure", "is_told"),
    [
        pytest.param(REFUSED, True, id="the provider refuses all"),
        pytest.param(StateLost("commits are missing"), True, id="the state is another one"),
        pytest.param(StateError("no connection"), False, id="this machine does not reach the state"),
    ],
)
def test_what_stops_one_stops_all_unless_it_is_this_machine_s_own(failure: Exception, is_told: bool) -> None:
    others = Others()
    observer(others, None).halted(failure)
    assert [name for name, *_ in others.told] == ["halt"] * is_told
    if isinstance(failure, ProviderRefused):
        assert others.told[0][1] == failure.to_dict()


def test_a_refused_number_is_named_once_to_the_others() -> None:
    others, senders = Others(), pool()
    subject = observer(others, senders)
    subject.progressed(progress(3))
    assert others.told == []
    senders.disable(TWO, "not ours")
    for _ in range(2):
        subject.progressed(progress(4))
    assert others.told == [("disable", TWO, "not ours")]
    senders.disable(ONE, "blocked")
    subject.progressed(progress(5))
    assert others.told[1:] == [("disable", ONE, "blocked")]
    assert subject.in_flight == 5


def test_a_campaign_with_one_number_has_nothing_to_say_of_it() -> None:
    others, shown = Others(), []
    subject = observer(others, None, on_progress=shown.append)
    subject.progressed(progress(2))
    assert others.told == []
    assert shown == [progress(2)]


@pytest.mark.parametrize("halted", [None, json.dumps(REFUSED.to_dict())])
@pytest.mark.parametrize("has_pool", [True, False])
def test_a_sender_obeys_the_others(halted: str | None, has_pool: bool) -> None:
    stop, senders = asyncio.Event(), pool()
    listener = ShiftListener(senders if has_pool else None, stop)
    listener.hear(SharedNews(halted, {TWO: "not ours"}, None))
    assert stop.is_set() is (halted is not None)
    assert dict(senders.disabled) == ({TWO: "not ours"} if has_pool else {})
