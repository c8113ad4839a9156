"""One sender of a run that several machines send, for the state and the run that its command line names.

Started by `sender.sending.shifts.shift_worker`. Claims from the ledger until nothing is left for it, as any sender
does; what it has in flight when it dies becomes unknown once its deadline is over. Writes no results, and decides
nothing for the run: that is its steward's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random

from sender.delivery.callback_urls import status_callback
from sender.delivery.provider_session import open_adapter
from sender.plan.message_reader import MessageReader
from sender.sending.circuit_breaker import ON_ONE_OF_SEVERAL
from sender.sending.concurrency import Concurrency
from sender.sending.database_rate_limit import DatabaseRateLimiter
from sender.sending.dispatcher import Dispatcher
from sender.sending.hold_watch import watch_hold
from sender.sending.idempotent_retry import request_format
from sender.sending.live_caps import open_caps
from sender.sending.producer import Assignment
from sender.sending.send_windows import open_windows, wall_clock
from sender.sending.shifts.order import Order
from sender.sending.shifts.process import run_process
from sender.sending.shifts.shift_observer import ShiftListener, ShiftObserver
from sender.sending.throttle import Throttle
from sender.state.async_ledger import AsyncLedger
from sender.state.ledger import Run
from sender.state.open import open_state
from sender.state.state import State
from sender.suppression.live_check import LiveSuppression, watch_suppressions
from sender.suppression.number_files import FileWatch
from sender.suppression.suppression_list import SuppressionList
from sender.transport.factory import open_transport

log = logging.getLogger("sender.sending.shifts.shift")


async def take_shift(address: str, run_id: str, stop: asyncio.Event) -> None:
    """Send what is left for this process of the run, until `stop` is set. Raises what stops it, having told the others.

    Raises InputsChanged where this machine's credentials are of another account or base URL than the run's.
    """
    with open_state(address, create=False) as state:
        sharing, run = state.sharing, state.ledger.run(run_id)
        given = None if sharing is None else sharing.order(run_id)
        if sharing is None or given is None or given.is_ended or given.halted or run.is_held:
            return
        with sharing.join(run):
            order = Order.from_json(given.text)
            await _send(state, run, order, given.below_seq, stop)


async def _send(state: State, run: Run, order: Order, below_seq: int | None, stop: asyncio.Event) -> None:
    assert state.sharing is not None  # noqa: S101 (the caller's)
    plan, pace = state.plan(run), order.own_pace
    bounds = [bound for bound in (below_seq, order.limit) if bound is not None]
    async with contextlib.AsyncExitStack() as stack:
        adapter = stack.enter_context(
            open_adapter(run, plan.manifest, order.environment(os.environ), state.plans.folder(run))
        )
        callback = None
        if order.public_url is not None:
            callback = status_callback(order.public_url, plan.manifest.dialect)
        written = request_format(adapter, callback)
        number = None if written is None else state.ledger.note_request_format(run.run_id, written)
        concurrency = Concurrency(pace.concurrency, pace.per_s)
        transport = await stack.enter_async_context(
            contextlib.aclosing(open_transport(pace.transport, concurrency.maximum, adapter.base_url))
        )
        pool, shared = plan.manifest.sender_pool(), state.sharing.open(run)
        listener = ShiftListener(pool, stop)
        limiter = DatabaseRateLimiter(order.pace, shared, senders=order.shifts, on_news=listener.hear)
        observer = ShiftObserver(limiter, shared, pool)
        limiter.in_flight = lambda: observer.in_flight
        await stack.enter_async_context(limiter.opened())
        suppression = watch_held(state, run, order)
        windows = open_windows(
            plan, adapter.capabilities, hold=order.hold, clock_ms=wall_clock(state), share=max(1, order.shifts)
        )
        dispatcher = Dispatcher(
            ledger=AsyncLedger(state.ledger, run, request_format=number),
            reader=MessageReader(plan, run.run_id, callback=callback),
            adapter=adapter,
            transport=transport,
            throttle=Throttle(pace, limiter, concurrency, suppression.is_paused),
            pool=pool,
            assignment=Assignment(
                min(bounds, default=None),
                partition(order.shifts),
                open_caps(state, run, plan),
                windows,
                patience=ON_ONE_OF_SEVERAL,
            ),
            refuses=suppression.refuses,
            observer=observer,
        )

        def is_waiting() -> bool:
            return windows is not None and windows.held_until_ms is not None

        hold = await stack.enter_async_context(watch_hold(state, run, stop, is_waiting))
        await dispatcher.run(hold)


def watch_held(state: State, run: Run, order: Order) -> LiveSuppression:
    """The suppression list, and whom the campaign's files hold back."""
    plan = state.plan(run)
    files = FileWatch((), plan.recipients)
    files.held = order.held
    return watch_suppressions(run, plan, SuppressionList(state.suppressions), files)


def partition(shifts: int) -> tuple[int, int]:
    """A part of the run to look ahead in first: senders that choose at random seldom look in the same one."""
    count = max(1, shifts)
    return random.randrange(count), count


def main() -> None:
    """Take a shift of the run that the command line names."""
    run_process(take_shift)
