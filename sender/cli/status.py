"""`sender status`: the list of runs, or the status of one: once, as JSON, or live with --watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sender.cli import console, terminal
from sender.cli.duration import format_duration, parse_duration_s
from sender.cli.shared_options import RUN_HELP, env_file_option, environment, state_options
from sender.core.errors import InputError, StateError
from sender.core.local_time import format_utc_and_local
from sender.delivery.refresh import refresh_run
from sender.reports.canary_lines import canary_lines
from sender.reports.funnel import Stage
from sender.reports.labels import describe_held, per_second, share
from sender.reports.status import RunStatus, StatusMonitor
from sender.state.ledger import Counts, Run
from sender.state.open import open_state
from sender.state.state import State
from sender.suppression.reviews import open_reviews

_EVERY_S = 1.0
_LINE_EVERY_S = 5.0  # between lines where there is no terminal
_LARGEST_LOAD = 0.2  # share of the time spent looking: a look at a run of a million takes seconds


@click.command(help=f"List the runs, or show the status of one.\n\n{RUN_HELP}")
@click.argument("run", required=False)
@click.option("--refresh", is_flag=True, help="First read the provider's log for the status of the messages.")
@click.option("--wait", metavar="TIME", help="With --refresh: ask again until all are final, at most this long (10m).")
@env_file_option("With --refresh: file of KEY=value lines with the credentials.")
@click.option("--watch", is_flag=True, help="Follow the run live, from any terminal; Ctrl-C ends it.")
@click.option(
    "--until",
    type=click.Choice(["submitted", "final"]),
    default="submitted",
    show_default=True,
    help="With --watch: follow until all are submitted, or until all have their final status.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch a line each second.")
@state_options
def status(
    run: str | None,
    watch: bool,
    until: str,
    refresh: bool,
    wait: str | None,
    env_file: Path | None,
    as_json: bool,
    debug: bool,
    state_dir: Path,
) -> int:
    console.set_up_logs(debug=debug)
    if watch and run is None:
        raise InputError("--watch follows one run", fix="name it: `sender status RUN --watch`")
    if refresh and run is None:
        raise InputError("--refresh asks about one run", fix="name it: `sender status RUN --refresh`")
    with open_state(state_dir, create=False, read_only=not refresh) as state:
        if run is None:
            return _list_runs(state, as_json=as_json)
        entry = state.find(run)
        if (pruned_at := state.plans.pruned_at(entry)) is not None:
            _print_pruned(entry, state.ledger.counts(entry.run_id), pruned_at, as_json=as_json)
            return 0
        if refresh:
            wait_s = parse_duration_s(wait, "--wait") if wait else 0.0
            refreshed = asyncio.run(refresh_run(state, entry, environment(env_file), wait_s=wait_s))
            if not as_json:
                console.about_refresh(refreshed)
        if watch:
            _watch(StatusMonitor(state, entry), as_json=as_json, until=until)
            return 0
        _print_status(StatusMonitor(state, entry).read(time.monotonic), as_json=as_json, replies=_count_reviews(state))
        return 0


def _list_runs(state: State, *, as_json: bool) -> int:
    runs = [(run, state.ledger.counts(run.run_id)) for run in reversed(state.ledger.runs())]
    if as_json:
        console.print_json([_run_to_dict(run, counts) for run, counts in runs])
        return 0
    retried = any(run.retry_of for run, _ in runs)
    table = Table(box=None, padding=(0, 1 if retried else 2), header_style="dim")
    for name in ("run", "campaign", "through", "state"):
        table.add_column(name, no_wrap=name == "run", overflow="fold")
    for name in ("unknown", "accepted", "rejected", "canceled", "pending", "skipped"):
        table.add_column(name, justify="right", no_wrap=True)
    if retried:
        table.add_column("retry of", no_wrap=True)
    for run, counts in runs:
        is_sent_now = state.locks.holder(run.campaign, run.kind) is not None
        in_doubt, under_way = (counts.unknown, counts.intent) if is_sent_now else (counts.unknown + counts.intent, 0)
        unknown = f"[bold yellow]{in_doubt:,}[/]" if in_doubt else "0"
        through = run.provider if run.kind in ("live", "sandbox") else f"{run.provider} ({run.kind.value})"
        numbers = (
            f"{n:,}"
            for n in (counts.accepted, counts.rejected, counts.canceled, counts.pending + under_way, run.skipped)
        )
        table.add_row(
            run.run_id,
            escape(run.campaign),
            through,
            _state_of(run, counts),
            unknown,
            *numbers,
            *([run.retry_of or ""] if retried else []),
        )
    console.out.print(table if runs else "no runs yet")
    _about_reviews(_count_reviews(state))
    return 0


def _count_reviews(state: State) -> int | None:
    """The replies that are held for review; None where the suppression list cannot be read."""
    try:
        return len(open_reviews(state))
    except StateError:
        return None


def _about_reviews(replies: int | None) -> None:
    if replies:
        console.out.print(
            f"[bold yellow]{console.many(replies, 'reply', 'replies')} held for review:[/] `sender replies --review`"
            " shows what may be an opt-out"
        )


def _print_status(now: RunStatus, *, as_json: bool, replies: int | None) -> None:
    """Print the status; `replies` are held for review in the whole state."""
    if as_json:
        console.print_json({**_to_dict(now), "under_review": replies})
        return
    run = now.run
    _print_unknowns(now)
    console.out.print(
        f"[bold]{escape(run.campaign)}[/] run {run.run_id}, {run.kind.value}, through {run.provider},"
        f" {_state_of(run, now.counts)}"
    )
    if run.closed_at_ms is not None:
        console.out.print(f"  closed {_local_time(run.closed_at_ms)} by {escape(run.closed_by or '')}")
    if run.paused_at_ms is not None:
        console.out.print(
            f"  paused {_local_time(run.paused_at_ms)} by {escape(run.paused_by or '')};"
            f" `sender resume {run.run_id}` sends the rest"
        )
    console.out.print(f"  started {_local_time(run.created_at_ms)}; plan {run.plan_hash[:12]}")
    console.run_summary(now.summary)
    if now.resent:
        messages = console.many(now.resent, "message")
        console.out.print(f"  {messages} sent again on request, though the provider may have accepted the first")
    console.out.print(f"  {_funnel_line(now)}")
    if now.summary.statuses:
        console.out.print(f"  statuses: {console.counted(now.summary.statuses)}")
    if now.summary.skipped:
        console.out.print(f"  skipped: {console.counted(now.summary.skipped)}")
    for line in (*_held_lines(now), _progress_line(now), *_retry_lines(now)):
        if line:
            console.out.print(f"  {escape(line)}")
    console.about_canary(run.canary)
    _about_reviews(replies)


def _print_pruned(run: Run, counts: Counts, at: datetime, *, as_json: bool) -> None:
    """Print what is left of a run that was pruned: its totals."""
    if as_json:
        console.print_json({**_run_to_dict(run, counts), "pruned_at": at.isoformat(timespec="seconds")})
        return
    console.out.print(f"[bold]{escape(run.campaign)}[/] run {run.run_id}, {run.kind.value}, through {run.provider}")
    console.out.print(f"  started {_local_time(run.created_at_ms)}; plan {run.plan_hash[:12]}")
    console.out.print(
        f"  {run.rows:,} rows = {run.skipped:,} skipped + {counts.accepted:,} accepted + {counts.rejected:,} rejected"
        f" + {counts.canceled:,} canceled + {counts.unknown:,} unknown + {counts.pending + counts.intent:,} pending"
    )
    console.out.print(f"  pruned on {at:%Y-%m-%d}: its plan, texts and results are gone")


def _local_time(epoch_ms: int) -> str:
    return format_utc_and_local(datetime.fromtimestamp(epoch_ms / 1000, UTC))


def _watch(monitor: StatusMonitor, *, as_json: bool, until: str) -> None:
    """Follow the run until every message is submitted (`until` submitted) or final (final), or until Ctrl-C."""
    try:
        if as_json:
            for now in _looks(monitor, until, _EVERY_S):
                terminal.write_json(_to_dict(now))
        elif console.out.is_terminal:
            with Live(console=console.out, auto_refresh=False) as live:
                for now in _looks(monitor, until, _EVERY_S):
                    live.update(_screen(now), refresh=True)
        else:
            for now in _looks(monitor, until, _LINE_EVERY_S):
                console.out.print(escape(_log_line(now)))
    except KeyboardInterrupt:
        return


def _looks(monitor: StatusMonitor, until: str, every_s: float) -> Iterator[RunStatus]:
    while True:
        begun_s = time.monotonic()
        now = monitor.read(time.monotonic)
        yield now
        if now.complete and (until == "submitted" or not now.waiting):
            return
        took_s = time.monotonic() - begun_s
        time.sleep(max(every_s - took_s, took_s * (1 / _LARGEST_LOAD - 1)))


def _state_of(run: Run, counts: Counts) -> str:
    if run.closed_at_ms is not None:
        return "closed"
    if not counts.pending + counts.intent:
        return "complete"
    return "unfinished" if run.paused_at_ms is None else "paused"


def _run_to_dict(run: Run, counts: Counts) -> dict[str, Any]:
    begun = datetime.fromtimestamp(run.created_at_ms / 1000, UTC)
    return {
        **asdict(run),
        "kind": run.kind.value,
        "created_at": begun.isoformat(timespec="milliseconds"),
        "state": _state_of(run, counts),
        **asdict(counts),
    }


def _to_dict(now: RunStatus) -> dict[str, Any]:
    return {
        **_run_to_dict(now.run, now.counts),
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
    }


def _print_unknowns(now: RunStatus) -> None:
    console.about_unknowns(now.counts.unknown, now.run.run_id)
    if now.counts.intent and now.holder is None:
        them = "it" if now.counts.intent == 1 else "them"
        console.out.print(
            f"[bold yellow]{console.many(now.counts.intent, 'message')} under way:[/] no process is sending this run"
            f" now; the one that did has died. Run the same command again: it looks {them} up before it sends anything"
        )


def _held_lines(now: RunStatus) -> Iterator[str]:
    if now.held:
        yield from (f"held: {describe_held(group)}" for group in now.held)


def _funnel_line(now: RunStatus) -> str:
    return " → ".join(f"{stage.count:,} {stage.name}{_open_part(stage)}" for stage in now.funnel)


def _open_part(stage: Stage) -> str:
    return f" ({stage.not_known:,} not known yet)" if stage.not_known else ""


def _progress_line(now: RunStatus) -> str:
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
        parts.append(f"{now.counts.intent:,} under way")
    if now.waiting:
        parts.append(f"{now.waiting:,} accepted, delivery not confirmed yet")
    return ", ".join(parts)


def _retry_lines(now: RunStatus) -> Iterator[str]:
    if now.run.retry_of:
        yield f"a retry of run {now.run.retry_of}"
    for run_id in now.retries:
        yield f"retried by run {run_id}"


def _log_line(now: RunStatus) -> str:
    moment = f"{datetime.now(UTC).astimezone():%H:%M:%S}"
    unknown = f"{now.counts.unknown:,} unknown, " if now.counts.unknown else ""
    submitted = f"{unknown}{now.submitted:,}/{now.run.messages:,} submitted, {now.summary.totals_line()}"
    return ", ".join(part for part in (f"{moment} {submitted}", _progress_line(now)) if part)


def _screen(now: RunStatus) -> RenderableType:
    """Lay the run out for a terminal: unknowns first, then a bar, the funnel, the totals."""
    run, summary = now.run, now.summary
    parts: list[RenderableType] = []
    if now.counts.unknown:
        messages, them = console.many(now.counts.unknown, "message"), "it" if now.counts.unknown == 1 else "them"
        parts.append(Text(f"{messages} unknown: `sender reconcile {run.run_id}` looks {them} up", "bold yellow"))
    title = Text.assemble((run.campaign, "bold"), f" run {run.run_id}, {run.kind.value}, through {run.provider}")
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(run.messages, 1), completed=now.submitted, width=40),
        f"{now.submitted:,}/{run.messages:,} {share(now.submitted, run.messages)}",
        _progress_line(now),
    )
    funnel = Table.grid(padding=(0, 2))
    funnel.add_column(min_width=16)
    funnel.add_column(justify="right")
    funnel.add_column(justify="right", style="dim")
    for stage in now.funnel:
        part = _open_part(stage).strip() or share(stage.count, summary.rows)
        funnel.add_row(stage.name, f"{stage.count:,}", part)
    parts += [title, bar, funnel, Text(summary.totals_line(), "bold")]
    parts += [
        Text(f"  {error.count:,} {error.status}: {error.reason or ''} {error.example or ''}", "dim")
        for error in summary.errors[:5]
    ]
    parts += [Text(line, "dim") for line in _retry_lines(now)]
    parts += [Text(line, "dim") for line in (canary_lines(run.canary) if run.canary is not None else ())]
    return Group(*parts)
