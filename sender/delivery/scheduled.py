"""Takes messages back that a provider holds until their time (`send_at`), where its API can.

A message counts as taken back only where the provider's own answer says so; it is then shown as `canceled`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson
import polars as pl

from sender.core.errors import SenderError
from sender.core.outcomes import DeliveryReport, Status, SubmissionState
from sender.delivery.provider_session import ProviderSession, open_provider
from sender.plan.plan import Plan
from sender.providers.base import LogEntry
from sender.state.ledger import ReceivedReport, Run
from sender.state.rows import epoch_ms
from sender.state.state import State
from sender.transport.base import TransportFailure

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What became of a run's scheduled messages: `canceled` at the provider, or still to be `sent` at their time.

    `failure` says why some, or all, could not be canceled.
    """

    canceled: int = 0
    sent: int = 0
    failure: str | None = None


async def take_back_scheduled(state: State, run: Run, env: Mapping[str, str]) -> TakenBack:
    """Cancel the run's accepted messages at the provider whose time has not come."""
    plan = state.plan(run)
    scheduled = _find_scheduled(state, run, plan)
    if not scheduled:
        return TakenBack()
    try:
        async with open_provider(run, plan.manifest, env, state.plans.folder(run)) as provider:
            return await _cancel_each(state, run, provider, scheduled)
    except SenderError as error:
        return TakenBack(sent=len(scheduled), failure=str(error.what))


def _find_scheduled(state: State, run: Run, plan: Plan) -> list[tuple[int, str]]:
    """`seq` and id of each accepted message without a final status whose `send_at` is still ahead."""
    common, now_ms = plan.manifest.fields.get("send_at"), state.ledger.now_ms()
    if common is None and "send_at" not in plan.manifest.templates:
        return []
    accepted = state.ledger.journal(run.run_id, states=[SubmissionState.ACCEPTED])
    waiting = accepted.filter(pl.col("status") == Status.QUEUED.value).select("seq", "message_id")
    rows = plan.scan().filter(pl.col("seq").is_in(waiting["seq"].implode())).select("seq", "fields").collect()
    found = []
    for seq, message_id, fields in waiting.join(rows, on="seq", maintain_order="left").iter_rows():
        own = None if fields is None else orjson.loads(fields).get("send_at")
        at_ms = epoch_ms(str(own or common)) if own or common else None
        if at_ms is not None and at_ms > now_ms:
            found.append((seq, message_id))
    return found


async def _cancel_each(
    state: State, run: Run, provider: ProviderSession, scheduled: list[tuple[int, str]]
) -> TakenBack:
    result = TakenBack()
    pause_s = 1 / provider.facts.requests_per_s
    for number, (seq, message_id) in enumerate(scheduled):
        request = provider.adapter.cancel(message_id)
        if request is None:
            title = provider.adapter.capabilities.title
            return replace(result, sent=len(scheduled), failure=f"{title} cannot cancel a scheduled message")
        if number:
            await asyncio.sleep(pause_s)
        try:
            response = await provider.transport.send(request, timeout_s=_TIMEOUT_S)
            entry = provider.adapter.cancel_result(response)
        except (TransportFailure, ValueError) as error:
            result = replace(result, sent=result.sent + 1, failure=str(error) or type(error).__name__)
            continue
        if entry.status is not Status.CANCELED or entry.message_id != message_id:
            result = replace(result, sent=result.sent + 1, failure=f"the answer says {entry.provider_status}")
            continue
        state.ledger.record_reports([ReceivedReport(_report(entry), run.run_id, seq)])
        result = replace(result, canceled=result.canceled + 1)
    return result


def _report(entry: LogEntry) -> DeliveryReport:
    return DeliveryReport(
        message_id=entry.message_id,
        status=entry.status,
        provider_status=entry.provider_status,
        reported_at=datetime.now(UTC).isoformat() if entry.updated_at is None else entry.updated_at.isoformat(),
    )
