"""What every form of `sender status` says of a run: lines, and the keys of --json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sender.cli.duration import format_duration
from sender.reports.funnel import Stage
from sender.reports.labels import per_second
from sender.reports.status import RunStatus
from sender.state.ledger import Counts, Run


def state_of(run: Run, counts: Counts) -> str:
    if run.closed_at_ms is not None:
        return "closed"
    if not counts.pending + counts.intent:
        return "complete"
    return "unfinished" if run.paused_at_ms is None else "paused"


def run_to_dict(run: Run, counts: Counts) -> dict[str, Any]:
    begun = datetime.fromtimestamp(run.created_at_ms / 1000, UTC)
    return {
        **asdict(run),
        "kind": run.kind.value,
        "created_at": begun.isoformat(timespec="milliseconds"),
        "state": state_of(run, counts),
        **asdict(counts),
    }


def status_to_dict(now: RunStatus) -> dict[str, Any]:
    return {
        **run_to_dict(now.run, now.counts),
        "law": now.summary.totals_line(),
        **asdict(now.summary),
        "funnel": {stage.name: stage.count for stage in now.funnel},
        "waiting": now.waiting,
        "rate_per_s": now.per_s,
        "eta_s": now.eta_s,
        "slowed_to_per_s": now.slowed_to_per_s,
        "sent_by": asdict(now.holder) if now.holder else None,
        "retries": now.retries,
        "held": [asdict(group) for group in now.held],
        "routes": dict(now.routes),
    }


def open_part(stage: Stage) -> str:
    return f" ({stage.not_known:,} not known yet)" if stage.not_known else ""


def progress_line(now: RunStatus) -> str:
    parts = []
    if now.holder is not None:
        parts.append(f"being sent by process {now.holder.pid}")
    elif not now.complete:
        parts.append("no process is sending it")
    if now.per_s is not None:
        parts.append(per_second(now.per_s))
    if now.slowed_to_per_s is not None:
        parts.append(f"slowed to {now.slowed_to_per_s:.3g}/s by the provider")
    if now.eta_s is not None:
        pace = "until the last may leave" if now.held else "left" if now.per_s else "at the planned rate"
        parts.append(f"about {format_duration(now.eta_s)} {pace}")
    if now.counts.intent and now.holder is not None:
        parts.append(f"{now.counts.intent:,} in flight")
    if now.waiting:
        parts.append(f"{now.waiting:,} accepted, delivery not confirmed yet")
    return ", ".join(parts)


def retry_lines(now: RunStatus) -> Iterator[str]:
    if now.run.retry_of:
        yield f"a retry of run {now.run.retry_of}"
    for run_id in now.retries:
        yield f"retried by run {run_id}"
