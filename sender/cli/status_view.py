"""How `sender status RUN` looks: once, as JSON, or live with --watch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sender.cli import console
from sender.reports.labels import per_second, share
from sender.reports.status import RunStatus, StatusMonitor
from sender.state.ledger import Counts, Run
from sender.state.state_dir import StateDir

_EVERY_S = 1.0
_LINE_EVERY_S = 5.0  # between lines where there is no terminal
_MOST_BUSY = 0.2  # of the time: a look at a run of a million takes seconds


def one(state: StateDir, run: Run, *, as_json: bool) -> None:
    """The run as it stands now."""
    now = StatusMonitor(state, run).look(time.monotonic)
    if as_json:
        console.print_json(facts(now))
        return
    _unknowns(now)
    begun = datetime.fromtimestamp(run.created_at_ms / 1000, UTC).astimezone()
    console.out.print(
        f"[bold]{escape(run.campaign)}[/] run {run.run_id}, {run.kind.value}, through {run.provider},"
        f" {run_state(now.counts)}"
    )
    console.out.print(f"  begun {begun:%Y-%m-%d %H:%M:%S %Z}; plan {run.plan_hash[:12]}")
    console.run_summary(now.summary)
    if now.resent:
        console.out.print(
            f"  sent again on request though it may have been accepted: {console.many(now.resent, 'message')}"
        )
    console.out.print(f"  {_funnel(now)}")
    if now.summary.statuses:
        console.out.print(f"  statuses: {console.counted(now.summary.statuses)}")
    if now.summary.skipped:
        console.out.print(f"  skipped: {console.counted(now.summary.skipped)}")
    for line in (_pace(now), *_links(now)):
        if line:
            console.out.print(f"  {escape(line)}")


def watch(state: StateDir, run: Run, *, as_json: bool, until: str) -> int:
    """Follows the run until everything is submitted (`until` submitted) or has its final word (final), or Ctrl-C."""
    watching = StatusMonitor(state, run)
    try:
        if as_json:
            for now in _looks(watching, until, _EVERY_S):
                click.echo(json.dumps(facts(now), ensure_ascii=False, default=str))
        elif console.out.is_terminal:
            with Live(console=console.out, auto_refresh=False) as live:
                for now in _looks(watching, until, _EVERY_S):
                    live.update(_screen(now), refresh=True)
        else:
            for now in _looks(watching, until, _LINE_EVERY_S):
                console.out.print(escape(_line(now)))
    except KeyboardInterrupt:
        return 0
    return 0


def _looks(watching: StatusMonitor, until: str, every_s: float) -> Iterator[RunStatus]:
    while True:
        begun = time.monotonic()
        now = watching.look(time.monotonic)
        yield now
        if now.complete and (until == "submitted" or not now.waiting):
            return
        took_s = time.monotonic() - begun
        time.sleep(max(every_s - took_s, took_s * (1 / _MOST_BUSY - 1)))


def run_state(counts: Counts) -> str:
    return "unfinished" if counts.pending or counts.intent else "complete"


def run_facts(run: Run, counts: Counts) -> dict[str, Any]:
    """The run and its counts, for a machine."""
    begun = datetime.fromtimestamp(run.created_at_ms / 1000, UTC)
    return {
        **asdict(run),
        "kind": run.kind.value,
        "created_at": begun.isoformat(timespec="milliseconds"),
        "state": run_state(counts),
        **asdict(counts),
    }


def facts(now: RunStatus) -> dict[str, Any]:
    """The moment, for a machine."""
    return {
        **run_facts(now.run, now.counts),
        "law": now.summary.law(),
        **asdict(now.summary),
        "funnel": {stage.name: stage.count for stage in now.funnel},
        "waiting": now.waiting,
        "rate_per_s": now.per_s,
        "eta_s": now.eta_s,
        "slowed_to_per_s": now.slowed_to_per_s,
        "sent_by": asdict(now.holder) if now.holder else None,
        "retries": now.retries,
    }


def _unknowns(now: RunStatus) -> None:
    console.about_unknowns(now.counts.unknown, now.run.run_id)
    if now.counts.intent and now.holder is None:
        console.out.print(
            f"[bold yellow]{console.many(now.counts.intent, 'message')} under way:[/] no process is sending the run, so"
            " one died while it did; the next start of the same command looks them up before it sends anything"
        )


def _funnel(now: RunStatus) -> str:
    return " → ".join(f"{stage.count:,} {stage.name}" for stage in now.funnel)


def _pace(now: RunStatus) -> str:
    parts = []
    if now.holder is not None:
        parts.append(f"being sent by pid {now.holder.pid}")
    elif not now.complete:
        parts.append("no process is sending it")
    if now.per_s is not None:
        parts.append(per_second(now.per_s))
    if now.slowed_to_per_s is not None:
        parts.append(f"slowed to {now.slowed_to_per_s:.3g}/s by the provider")
    if now.eta_s is not None:
        parts.append(f"about {console.duration(now.eta_s)} {'left' if now.per_s else 'to go at its pace'}")
    if now.counts.intent and now.holder is not None:
        parts.append(f"{now.counts.intent:,} under way")
    if now.waiting:
        parts.append(f"{now.waiting:,} accepted without a final word")
    return ", ".join(parts)


def _links(now: RunStatus) -> Iterator[str]:
    if now.run.retry_of:
        yield f"sends messages of run {now.run.retry_of} again"
    for run_id in now.retries:
        yield f"what failed was sent again by run {run_id}"


def _line(now: RunStatus) -> str:
    moment = f"{datetime.now(UTC).astimezone():%H:%M:%S}"
    unknown = f"{now.counts.unknown:,} unknown, " if now.counts.unknown else ""
    told = f"{unknown}{now.submitted:,}/{now.run.messages:,} submitted, {now.summary.law()}"
    return ", ".join(part for part in (f"{moment} {told}", _pace(now)) if part)


def _screen(now: RunStatus) -> RenderableType:
    """The run as a live screen: unknowns first, then a bar, the funnel, the law."""
    run, summary = now.run, now.summary
    parts: list[RenderableType] = []
    if now.counts.unknown:
        parts.append(
            Text(
                f"{console.many(now.counts.unknown, 'message')} unknown: `sender reconcile {run.run_id}` looks them up",
                "bold yellow",
            )
        )
    title = Text.assemble((run.campaign, "bold"), f" run {run.run_id}, {run.kind.value}, through {run.provider}")
    done = Table.grid(padding=(0, 2))
    done.add_row(
        ProgressBar(total=max(run.messages, 1), completed=now.submitted, width=40),
        f"{now.submitted:,}/{run.messages:,} {share(now.submitted, run.messages)}",
        _pace(now),
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=16)
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    for stage in now.funnel:
        table.add_row(stage.name, f"{stage.count:,}", share(stage.count, summary.rows))
    parts += [title, done, table, Text(summary.law(), "bold")]
    parts += [
        Text(f"  {error.count:,} {error.status}: {error.reason or ''} {error.example or ''}", "dim")
        for error in summary.errors[:5]
    ]
    parts += [Text(line, "dim") for line in _links(now)]
    return Group(*parts)
