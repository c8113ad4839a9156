"""Looks a run up in the provider's log once it has been sent: delivery statuses, and unknown messages.

Sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

from sender import providers
from sender.delivery import provider_session, reconcile
from sender.delivery.poll import LIVE, SIMULATED, LogSweep, RefreshResult
from sender.delivery.reconcile import ReconcileResult
from sender.plan.manifest import Manifest
from sender.providers.base import Adapter, LogFacts
from sender.state.ledger import Run
from sender.state.state import State
from sender.suppression.learn import learn_refusals
from sender.transport.factory import open_transport

SANDBOX_LOG_PER_S = 100.0


async def refresh_run(state: State, run: Run, env: Mapping[str, str], *, wait_s: float = 0.0) -> RefreshResult:
    """Update the delivery statuses of the run's messages from the provider's log.

    Reads the log once, or until every status is final or `wait_s` seconds have passed. What the refusals say about
    numbers goes to the suppression list. Another process may be sending the run meanwhile.
    """
    plan = state.plan(run)
    with provider_session.connected(run, plan.manifest, env, state.plans.folder(run)) as adapter:
        async with contextlib.aclosing(open_transport("httpx", 1)) as transport:
            sweep = LogSweep(
                ledger=state.ledger,
                run=run,
                plan=plan,
                adapter=adapter,
                transport=transport,
                pace=SIMULATED if run.simulated else LIVE,
                cancel=asyncio.Event(),
            )
            refreshed = await sweep.follow(wait_s)
    learn_refusals(state, run)
    return refreshed


async def reconcile_run(state: State, run: Run, env: Mapping[str, str]) -> ReconcileResult:
    """Settle the run's unknown messages from the provider's log, as far as it proves anything.

    Raises RunLocked while another process is sending the run.
    """
    with state.locks.hold_campaign(run.campaign, run.kind):
        plan = state.plan(run)
        state.ledger.check(run.run_id)
        state.ledger.orphans_to_unknown(run.run_id)
        with provider_session.connected(run, plan.manifest, env, state.plans.folder(run)) as adapter:
            facts = log_facts(run, plan.manifest, adapter, env)
            async with contextlib.aclosing(open_transport("httpx", 1)) as transport:
                result = await reconcile.reconcile(
                    ledger=state.ledger,
                    run=run,
                    plan=plan,
                    adapter=adapter,
                    transport=transport,
                    facts=facts,
                    cancel=asyncio.Event(),
                )
        state.ledger.finish_run(run.run_id)
        return result


def log_facts(run: Run, manifest: Manifest, adapter: Adapter, env: Mapping[str, str]) -> LogFacts:
    """What the provider's log, or the sandbox's, can prove about the run's messages. Raises InputError."""
    facts = providers.log_facts(adapter, manifest.fields, manifest.templates)
    if not run.simulated:
        return facts
    return replace(facts, settle_s=provider_session.sandbox_settle_s(env), requests_per_s=SANDBOX_LOG_PER_S)
