"""What the seat of one route answers: what it may claim, where a refused message goes on, and when it is over."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sender.core.errors import ProviderRefused
from sender.sending.progress import Meter
from sender.sending.route_board import Rest, RouteBoard, RouteSeat
from sender.state.ledger import Claim, Counts
from sender.state.ledger_values import RouteClaims

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


@pytest.mark.parametrize(
    ("left", "probed", "claims"),
    [
        pytest.param(
            (), (), [RouteClaims(0), RouteClaims(1, begins=False), RouteClaims(2, begins=False)], id="all open"
        ),
        pytest.param(
            (0,), (), [None, RouteClaims(1, (0,)), RouteClaims(2, (0,), begins=False)], id="the first is left"
        ),
        pytest.param((0, 1), (), [None, None, RouteClaims(2, (0, 1))], id="the last alone"),
        pytest.param(
            (0,), (0,), [RouteClaims(0), RouteClaims(1, (0,)), RouteClaims(2, (0,), begins=False)], id="a probe"
        ),
        pytest.param(
            (0, 1),
            (1,),
            [None, RouteClaims(1, begins=False), RouteClaims(2, (0, 1))],
            id="a probe of another begins nothing",
        ),
    ],
)
def test_what_each_route_may_claim(
    left: Sequence[int], probed: Sequence[int], claims: Sequence[RouteClaims | None]
) -> None:
    """Who is open serves those that are not, too; only the first that is open begins messages."""
    board = RouteBoard(3)
    seats: list[RouteSeat | None] = [board.serve(route, probe=False) for route in range(3)]
    for route in left:
        board.leave(route, FAILURE)
        seats[route] = board.serve(route, probe=True) if route in probed else None
    assert [None if seat is None else seat.claims() for seat in seats] == claims


def test_a_probe_that_is_accepted_opens_its_route_again() -> None:
    board = RouteBoard(2, left={0: FAILURE})
    other, probe = board.serve(1, probe=False), board.serve(0, probe=True)
    assert (board.open, probe.is_first, probe.has_sent) == ([1], False, False)
    looks = board.version
    probe.prove()
    assert (board.open, probe.is_first, other.is_first) == ([0, 1], True, False)
    assert board.version == looks + 1, "the others look again at what they may claim"
    probe.prove()
    assert (probe.has_sent, board.version) == (True, looks + 1)


def test_a_probe_that_fails_leaves_no_trace() -> None:
    board = RouteBoard(2, left={0: FAILURE, 1: FAILURE})
    probe = board.serve(1, probe=True)
    assert (board.open, probe.is_first) == ([], True), "nobody else reports the progress"
    board.leave(1, FAILURE)
    assert (board.open, list(board.left)) == ([], [0, 1])
    board.serve(1, probe=False)
    assert board.open == [1]


class Dispatchers:
    """The seats of a board, and how often each has been woken."""

    def __init__(self, routes: int) -> None:
        self.board = RouteBoard(routes)
        self.woken = [0] * routes
        self.seats = [self.board.serve(route, probe=False) for route in range(routes)]
        for seat in self.seats:
            seat.attach(lambda route=seat.route: self._wake(route))  # type: ignore[misc]

    def _wake(self, route: int) -> None:
        self.woken[route] += 1

    def rest(self, *routes: int) -> list[Rest]:
        for route in routes:
            self.seats[route].claims()
        return [self.seats[route].rest() for route in routes]


def test_the_run_is_over_once_no_route_has_anything_left() -> None:
    they = Dispatchers(3)
    assert they.rest(0, 1) == [Rest.WAIT, Rest.WAIT]
    assert not they.board.done.is_set()
    assert they.rest(2) == [Rest.OVER]
    assert they.board.done.is_set()
    assert they.woken == [1, 1, 1], "who waits learns of it"
    assert they.rest(0, 1) == [Rest.OVER, Rest.OVER]


def test_a_message_that_moves_is_looked_for_before_anybody_is_done() -> None:
    they = Dispatchers(2)
    assert they.rest(1) == [Rest.WAIT]
    they.seats[0].claims()
    they.seats[0].note_moves()
    assert they.woken == [1, 1]
    assert they.seats[0].rest() is Rest.LOOK_AGAIN, "it claimed before that"
    assert they.rest(0) == [Rest.WAIT], "the other has not looked since"
    assert they.rest(1) == [Rest.OVER]


def test_a_route_that_is_left_is_not_waited_for() -> None:
    they = Dispatchers(2)
    assert they.rest(1) == [Rest.WAIT]
    they.board.leave(0, FAILURE)
    assert they.woken == [0, 1]
    assert they.board.left == {0: FAILURE}
    assert they.rest(1) == [Rest.OVER]


def test_the_routes_of_a_run_share_one_meter() -> None:
    board = RouteBoard(2)
    one, other = (
        Meter(messages=9, total=9, before=Counts(9, 0, 0, 0, 0, 0), now_s=0.0, time_to_send_s=lambda units, last: 0.0)
        for _ in range(2)
    )
    assert board.serve(0, probe=False).share_meter(lambda: one) == (one, True)
    assert board.serve(1, probe=False).share_meter(lambda: other) == (one, False)
