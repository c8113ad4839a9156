"""Which of a run's routes are open, what each may claim, and where a refused message goes next.

One board for the dispatchers of a process, in one event loop; nothing of it outlives the process. What has to survive
(which route has a message, which have refused it) is in the ledger. Reads no clock and no ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from sender.core.errors import SenderError
from sender.core.outcomes import Reason
from sender.sending.progress import Meter
from sender.state.ledger import Claim
from sender.state.ledger_values import RouteClaims

# A refusal for one of these is about the sender, the account or the provider, so that another may accept the message.
MOVES = frozenset(
    {
        Reason.UNAUTHORIZED,
        Reason.INSUFFICIENT_FUNDS,
        Reason.SENDER_NOT_ALLOWED,
        Reason.UNREGISTERED,
        Reason.DAILY_CAP,
        Reason.RATE_LIMITED,
    }
)


class Rest(Enum):
    """What a dispatcher without anything to claim does next."""

    WAIT = auto()  # until its `wake` is called
    LOOK_AGAIN = auto()  # something has changed since it claimed
    OVER = auto()  # no route has anything left


@dataclass(slots=True, eq=False)
class RouteBoard:
    """The routes 0 to `routes` - 1 of one run."""

    routes: int
    done: asyncio.Event = field(default_factory=asyncio.Event)
    left: dict[int, SenderError] = field(default_factory=dict)  # routes that are not used now, and why
    ends_run: bool = False  # whether what stopped a dispatcher is about the messages and not about its route
    version: int = 0
    proving: set[int] = field(default_factory=set)
    resting: dict[int, int] = field(default_factory=dict)
    serving: dict[int, Callable[[], None]] = field(default_factory=dict)
    meter: Meter | None = None

    @property
    def open(self) -> list[int]:
        """The routes that messages may be given to now."""
        return [route for route in range(self.routes) if route not in self.left and route not in self.proving]

    def serve(self, route: int, *, probe: bool) -> RouteSeat:
        """Use a route, from now on or again; a probe has to prove first that it works, and the others serve it too."""
        self.left.pop(route, None)
        if probe:
            self.proving.add(route)
        self.serving[route] = lambda: None
        self.change()
        return RouteSeat(self, route)

    def leave(self, route: int, failure: SenderError) -> None:
        """Use a route no more: what waits there may go by the others."""
        self.proving.discard(route)
        self.serving.pop(route, None)
        self.resting.pop(route, None)
        self.left[route] = failure
        self.change()

    def change(self) -> None:
        """Let every dispatcher look again at what it may claim."""
        self.version += 1
        for wake in self.serving.values():
            wake()


class RouteSeat:
    """What the dispatcher of one route asks of the board, and tells it."""

    def __init__(self, board: RouteBoard, route: int) -> None:
        self._board = board
        self.route = route
        self._claimed_at = -1
        self.has_sent = False  # whether anything was accepted

    @property
    def is_first(self) -> bool:
        """Whether this is the first route that is open: it reports the progress."""
        return self.route == min(self._board.open or [self.route])

    @property
    def begins(self) -> bool:
        """Whether this route may begin messages that no route has had yet."""
        return self.route == 0 if self.route in self._board.proving else self.is_first

    def attach(self, wake: Callable[[], None]) -> None:
        """`wake` is called whenever there may be something to claim that was not there before."""
        self._board.serving[self.route] = wake

    def claims(self) -> RouteClaims:
        """What may be claimed now. Call it right before each claim."""
        board = self._board
        self._claimed_at = board.version
        if self.route in board.proving:
            return RouteClaims(self.route, begins=self.begins)
        also = tuple(route for route in range(board.routes) if route not in board.open)
        return RouteClaims(self.route, also, begins=self.begins)

    def onward(self, claim: Claim) -> int | None:
        """The route that a message moves to which this one has refused for good; None when all have refused it."""
        refused_by = claim.refused_by | (1 << self.route)
        others = [route for route in range(self._board.routes) if not refused_by >> route & 1]
        return next((route for route in others if route in self._board.open), others[0] if others else None)

    def prove(self) -> None:
        """The provider has accepted a message."""
        self.has_sent = True
        if self.route in self._board.proving:
            self._board.proving.discard(self.route)
            self._board.change()

    def note_moves(self) -> None:
        """Messages have been moved to other routes, and that is on disk."""
        self._board.change()

    def end_run(self) -> None:
        """What stops this dispatcher is about the messages: no other route is to get them either."""
        self._board.ends_run = True

    def rest(self) -> Rest:
        """Nothing was there to claim, and nothing is under way."""
        board = self._board
        if board.done.is_set():
            return Rest.OVER
        if self._claimed_at != board.version:
            return Rest.LOOK_AGAIN
        board.resting[self.route] = board.version
        if any(board.resting.get(route) != board.version for route in board.serving):
            return Rest.WAIT
        board.done.set()
        board.change()
        return Rest.OVER

    def share_meter(self, make: Callable[[], Meter]) -> tuple[Meter, bool]:
        """The meter of the run, and whether this call has made it."""
        if self._board.meter is not None:
            return self._board.meter, False
        self._board.meter = make()
        return self._board.meter, True
