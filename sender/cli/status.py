"""`sender status`: the list of runs, or the status of one: once, as JSON, or live with --watch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from sender.cli import console, run_lines
from sender.cli.duration import parse_duration_s
from sender.cli.shared_options import RUN_HELP, env_file_option, environment, state_options
from sender.cli.status_lines import open_part, progress_line, retry_lines, run_to_dict, state_of, status_to_dict
from sender.core.errors import InputError, StateError
from sender.core.local_time import format_utc_and_local
from sender.reports.labels import describe_held
from sender.reports.status import RunStatus, StatusMonitor
from sender.state.ledger import Counts, Run
from sender.state.open import open_state
from sender.state.state import State
from sender.suppression.reviews import open_reviews


@click.command(help=f"List the runs, or show the status of one.\n\n{RUN_HELP}")
@click.argument("run", required=False)
@click.option("--refresh", is_flag=True, help="First read the provider's log for the status of the messages.")
@click.option("--wait", metavar="TIME", help="With --refresh: ask until all are final, at most this long (10m).")
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
    state_dir: Path | str,
) -> int:
    console.set_up_logs(debug=debug)
    if watch and run is None:
        raise InputError("--watch follows one run", fix="name it: `sender status RUN --watch`")
    if refresh and run is None:
        raise InputError("--refresh asks about one run", fix="name it: `sender status RUN --refresh`")
    if wait is not None and not refresh:
        raise InputError("--wait is how long --refresh waits", fix="add --refresh, or leave out --wait")
    with open_state(state_dir, create=False, read_only=not refresh) as state:
        if run is None:
            return _list_runs(state, as_json=as_json)
        entry = state.find(run)
        if (pruned_at := state.plans.pruned_at(entry)) is not None:
            _print_pruned(entry, state.ledger.counts(entry.run_id), pruned_at, as_json=as_json)
            return 0
        if refresh:
            import asyncio

            from sender.delivery.refresh import refresh_run

            wait_s = parse_duration_s(wait, "--wait") if wait else 0.0
            refreshed = asyncio.run(refresh_run(state, entry, environment(env_file), wait_s=wait_s))
            if not as_json:
                run_lines.about_refresh(refreshed)
        if watch:
            from sender.cli.status_watch import watch_run

            watch_run(StatusMonitor(state, entry), as_json=as_json, until=until)
            return 0
        _print_status(StatusMonitor(state, entry).read(), as_json=as_json, replies=_count_reviews(state))
        return 0


def _list_runs(state: State, *, as_json: bool) -> int:
    runs = [(run, state.ledger.counts(run.run_id)) for run in reversed(state.ledger.runs())]
    if as_json:
        console.print_json([run_to_dict(run, counts) for run, counts in runs])
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
            state_of(run, counts),
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
            " shows replies that may be an opt-out"
        )


def _print_status(now: RunStatus, *, as_json: bool, replies: int | None) -> None:
    """Print the status; `replies` are held for review in the whole state."""
    if as_json:
        console.print_json({**status_to_dict(now), "under_review": replies})
        return
    run = now.run
    _print_unknowns(now)
    console.out.print(
        f"[bold]{escape(run.campaign)}[/] run {run.run_id}, {run.kind.value}, through {run.provider},"
        f" {state_of(run, now.counts)}"
    )
    if run.closed_at_ms is not None:
        console.out.print(f"  closed {_local_time(run.closed_at_ms)} by {escape(run.closed_by or '')}")
    if run.paused_at_ms is not None:
        console.out.print(
            f"  paused {_local_time(run.paused_at_ms)} by {escape(run.paused_by or '')};"
            f" `sender resume {run.run_id}` sends the rest"
        )
    console.out.print(f"  started {_local_time(run.created_at_ms)}; plan {run.plan_hash[:12]}")
    run_lines.run_summary(now.summary)
    if now.resent:
        messages = console.many(now.resent, "message")
        console.out.print(f"  {messages} sent again on request, although the provider may have accepted the first")
    console.out.print(f"  {_funnel_line(now)}")
    if now.summary.statuses:
        console.out.print(f"  statuses: {console.counted(now.summary.statuses)}")
    if now.summary.skipped:
        console.out.print(f"  skipped: {console.counted(now.summary.skipped)}")
    if now.routes:
        console.out.print(f"  accepted by route: {console.counted(now.routes)}")
    for line in (*_held_lines(now), progress_line(now), *retry_lines(now)):
        if line:
            console.out.print(f"  {escape(line)}")
    run_lines.about_canary(run.canary)
    _about_reviews(replies)


def _print_pruned(run: Run, counts: Counts, at: datetime, *, as_json: bool) -> None:
    """Print what is left of a run that was pruned: its totals."""
    if as_json:
        console.print_json({**run_to_dict(run, counts), "pruned_at": at.isoformat(timespec="seconds")})
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


def _print_unknowns(now: RunStatus) -> None:
    run_lines.about_unknowns(now.counts.unknown, now.run.run_id)
    if now.counts.intent and now.holder is None:
        them = "it" if now.counts.intent == 1 else "them"
        console.out.print(
            f"[bold yellow]{console.many(now.counts.intent, 'message')} in doubt:[/] the process that sent this run has"
            f" died. Send the campaign again: `sender send` looks {them} up before it sends anything"
        )


def _held_lines(now: RunStatus) -> Iterator[str]:
    if now.held:
        yield from (f"held: {describe_held(group)}" for group in now.held)


def _funnel_line(now: RunStatus) -> str:
    return " → ".join(f"{stage.count:,} {stage.name}{open_part(stage)}" for stage in now.funnel)
