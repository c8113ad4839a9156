"""The event loop of a process that sends: how often garbage is collected meanwhile, and afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from sender.sending import event_loop


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


async def sending() -> tuple[int, ...]:
    return gc.get_threshold()


@pytest.mark.parametrize(
    ("first", "while_sending"),
    [
        pytest.param(700, 50_000, id="Python's own"),
        pytest.param(80_000, 80_000, id="rarer already"),
        pytest.param(0, 0, id="switched off"),
    ],
)
def test_garbage_is_collected_more_rarely_while_messages_leave(first: int, while_sending: int) -> None:
    gc.set_threshold(first, 60_000)
    before = gc.get_threshold()
    assert event_loop.run(sending()) == (while_sending, *before[1:])
    assert gc.get_threshold() == before


def test_a_failure_leaves_the_collection_as_it_was() -> None:
    async def failing() -> None:
        raise ValueError("no disk")

    before = gc.get_threshold()
    with pytest.raises(ValueError, match="no disk"):
        event_loop.run(failing())
    assert gc.get_threshold() == before
