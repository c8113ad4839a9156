"""Sends a run by several routes: a dispatcher for each, of which one that its provider stops is left for the others.

A route that was left is tried again, with one message at first, after longer and longer pauses. The run goes on while
any route is open; it stops as one with a single route does once none is, or once what is left may go by none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sender.core.errors import ProviderRefused, ProviderUnreachable, SenderError
from sender.sending.circuit_breaker import IN_PROBE, WITH_OTHERS, Patience
from sender.sending.dispatcher import Dispatcher
from sender.sending.route_board import RouteBoard, RouteSeat
from sender.state.async_ledger import AsyncLedger
from sender.state.ledger import Counts, Ledger, Run
from sender.state.ledger_values import RouteClaims

log = logging.getLogger("sender.sending.route_dispatch")

PROBE_FIRST_S = 30.0  # after a route was left; each further pause is twice as long,
PROBE_LAST_S = 600.0  # up to this

MakeDispatcher = Callable[[int, AsyncLedger, RouteSeat, Patience], Dispatcher]


class RouteDispatch:
    """Sends what is pending of one run by all of its routes. Use once: `await RouteDispatch(...).run(stop)`."""

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        *,
        formats: tuple[int | None, ...],
        names: tuple[str, ...],
        below_seq: int | None,
        make: MakeDispatcher,
        left: dict[int, SenderError],
    ) -> None:
        """`formats` and `names` are the routes' request formats and providers, in order; `make` makes a dispatcher.

        `left` are the routes that an earlier dispatch of this call has left: they are tried again, as always. It is
        kept up to date.
        """
        self._ledger = ledger
        self._run = run
        self._formats = formats
        self._names = names
        self._below_seq = below_seq
        self._make = make
        self._board = RouteBoard(len(names), left=left)

    async def run(self, stop: asyncio.Event) -> Counts:
        """The run's counts when nothing is left to do, or when `stop` is set and all answers are in.

        Raises ProviderRefused, ProviderUnreachable or StateError after draining: whatever is pending stays pending.
        """
        ended = asyncio.Event()
        relay = asyncio.create_task(_relay(stop, ended))
        routes = range(len(self._names))
        seats = [None if route in self._board.left else self._board.serve(route, probe=False) for route in routes]
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread:
            try:
                serving = [self._serve(route, seat, thread, ended) for route, seat in enumerate(seats)]
                results = await asyncio.gather(*serving, return_exceptions=True)
            finally:
                relay.cancel()
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise min(failures, key=lambda failure: isinstance(failure, (ProviderRefused, ProviderUnreachable)))
        counts = self._ledger.counts(self._run.run_id)
        if self._board.left and not stop.is_set() and self._is_something_left():
            raise next(iter(self._board.left.values()))
        return counts

    def _is_something_left(self) -> bool:
        """Whether messages wait at a route that was left: all the others have refused them."""
        look = partial(self._ledger.next_due_ms, self._run.run_id, below_seq=self._below_seq)
        return any(look(routed=RouteClaims(route)) is not None for route in self._board.left)

    async def _serve(
        self, route: int, seat: RouteSeat | None, thread: ThreadPoolExecutor, ended: asyncio.Event
    ) -> None:
        """Send by one route, again and again, until the run is over. Sets `ended` for the others where it stops."""
        board, patience, pause_s = self._board, WITH_OTHERS, PROBE_FIRST_S
        while True:
            if seat is None:
                if not await self._wait(pause_s, ended):
                    return
                pause_s, patience = min(PROBE_LAST_S, 2 * pause_s), IN_PROBE
                seat = board.serve(route, probe=True)
            ledger = AsyncLedger(
                self._ledger,
                self._run,
                request_format=self._formats[route],
                routed=seat.claims,
                thread=thread,
            )
            try:
                await self._make(route, ledger, seat, patience).run(ended)
            except (ProviderRefused, ProviderUnreachable) as failure:
                board.leave(route, failure)
                if board.ends_run or len(board.left) == board.routes:
                    ended.set()
                    raise
                if seat.has_sent:
                    pause_s = PROBE_FIRST_S
                seat = None
                self._log_left(route, failure, pause_s)
            except BaseException:
                ended.set()
                raise
            else:
                return

    async def _wait(self, seconds: float, ended: asyncio.Event) -> bool:
        """Wait before a probe; False when the run is over first."""
        over = [asyncio.create_task(event.wait()) for event in (ended, self._board.done)]
        try:
            await asyncio.wait(over, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in over:
                task.cancel()
        return not (ended.is_set() or self._board.done.is_set())

    def _log_left(self, route: int, failure: SenderError, pause_s: float) -> None:
        others = ", ".join(self._names[other] for other in self._board.open)
        log.warning(
            "route %s is no longer used, %s: %s; it is tried again in %.0f s",
            self._names[route],
            f"its messages go through {others}" if others else "and no other is open now",
            str(failure).splitlines()[0],
            pause_s,
            extra={"event": "route_left", "route": self._names[route], "open": others},
        )


async def _relay(stop: asyncio.Event, ended: asyncio.Event) -> None:
    await stop.wait()
    ended.set()
