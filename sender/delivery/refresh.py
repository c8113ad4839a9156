"""Looks a run up in the provider's log after it was sent: delivery statuses, and unknown messages.

Sends nothing but questions to the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from sender.delivery.poll import RefreshResult
from sender.delivery.reconcile import ReconcileResult
from sender.delivery.route_sessions import RouteSweeps, open_routes, reconcile_routes
from sender.delivery.settle import OnWait, settle
from sender.state.ledger import Run
from sender.state.state import State
from sender.suppression.learn import learn_refusals


async def refresh_run(
    state: State, run: Run, env: Mapping[str, str], *, wait_s: float = 0.0, cancel: asyncio.Event | None = None
) -> RefreshResult:
    """Update the delivery statuses of the run's messages from the provider's log.

    Reads the log once, or until every status is final, `wait_s` seconds have passed or `cancel` is set. What refusals
    reveal about numbers goes to the suppression list. Another process may be sending the run meanwhile.
    """
    async with open_routes(state, run, state.plan(run), env) as ways:
        refreshed = await RouteSweeps(state, ways, cancel=cancel).follow(wait_s)
    learn_refusals(state, run)
    return refreshed


def _now(state: State) -> datetime:
    return datetime.fromtimestamp(state.ledger.now_ms() / 1000, UTC)


async def reconcile_run(
    state: State,
    run: Run,
    env: Mapping[str, str],
    *,
    wait: bool = False,
    on_wait: OnWait | None = None,
    cancel: asyncio.Event | None = None,
) -> ReconcileResult:
    """Settle those of the run's unknown messages that the provider's log decides.

    With `wait` it stays until the log can decide all that time decides; `on_wait` is called each second, and setting
    `cancel` leaves. Raises RunLocked while another process is sending the run.
    """
    with state.locks.hold_campaign(run.campaign, run.kind):
        state.ledger.check(run.run_id)
        state.ledger.orphans_to_unknown(run.run_id)
        cancel = cancel or asyncio.Event()
        async with open_routes(state, run, state.plan(run), env) as ways:
            look_up = partial(reconcile_routes, state, ways, cancel)
            if wait:
                now = partial(_now, state)
                result = await settle(look_up, now=now, cancel=cancel, on_wait=on_wait)
            else:
                result = await look_up()
        state.ledger.finish_run(run.run_id)
        return result
