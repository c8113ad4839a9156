"""What the seat of one route answers: by which route a message goes on that this one has refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sender.core.errors import ProviderRefused
from sender.sending.route_board import RouteBoard
from sender.state.ledger import Claim

FAILURE = ProviderRefused("no funds")


@pytest.mark.parametrize(
    ("refused_by", "left", "onward"),
    [
        pytest.param((), (), 1, id="the next one"),
        pytest.param((), (1,), 2, id="the next one that is open"),
        pytest.param((1,), (), 2, id="one that has not refused it"),
        pytest.param((1,), (2,), 2, id="the only one left, though it is not open: it waits there"),
        pytest.param((), (1, 2), 1, id="the first of those that are not open"),
        pytest.param((1, 2), (), None, id="all have refused it"),
    ],
)
def test_where_a_refused_message_goes_on(refused_by: Sequence[int], left: Sequence[int], onward: int | None) -> None:
    board = RouteBoard(3, left={})
    seat, *_ = [board.serve(route, probe=False) for route in range(3)]
    for route in left:
        board.leave(route, FAILURE)
    claim = Claim(5, 1, 60_000, refused_by=sum(1 << route for route in refused_by))
    assert seat.onward(claim) == onward
