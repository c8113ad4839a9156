"""`sender close`: ends a run for good."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console, terminal
from sender.cli.shared_options import RUN_HELP, env_file_option, environment, state_options
from sender.sending.choose_run import format_utc
from sender.sending.run_control import ClosedRun
from sender.sending.run_control import close as close_run
from sender.state.open import open_state


@click.command(
    help="End a run for good: its pending messages are canceled and never sent.\n\n"
    f"{RUN_HELP}\n\n"
    "If another process is sending the run, that process waits for its answers and ends. Unknown messages"
    " stay unknown. `sender retry RUN --status canceled` sends canceled messages after all, and `sender send CAMPAIGN"
    " --only-new` sends to everybody who has not had the campaign."
)
@click.argument("run")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@env_file_option("File of KEY=value lines with the credentials, to cancel scheduled messages.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
@state_options
def close(run: str, *, yes: bool, env_file: Path | None, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    if not yes and sys.stdin.isatty():
        _ask(run, state_dir)
    closed = close_run(run, state_dir=state_dir, env=environment(env_file))
    if as_json:
        console.print_json(_to_dict(closed))
    else:
        _print(closed)
    return 0


def _ask(run: str, state_dir: Path | str) -> None:
    with open_state(state_dir, read_only=True) as state:
        named = state.find(run)
        pending = state.ledger.counts(named.run_id).pending
    if named.closed_at_ms is None:
        messages = console.many(pending, "pending message")
        terminal.ask(f"Close run {named.run_id} of {named.campaign}, and cancel {messages}?")


def _to_dict(closed: ClosedRun) -> dict[str, object]:
    run = closed.run
    return {
        "run_id": run.run_id,
        "campaign": run.campaign,
        "closed_now": closed.is_new,
        "closed_at": format_utc(run.closed_at_ms or 0),
        "closed_by": run.closed_by,
        "canceled_now": closed.canceled,
        "retryable": closed.retryable,
        "scheduled": asdict(closed.scheduled),
        **asdict(closed.counts),
    }


def _print(closed: ClosedRun) -> None:
    run, counts, out = closed.run, closed.counts, console.out
    if not closed.is_new:
        out.print(
            f"run {run.run_id} of {escape(run.campaign)} was already closed on {format_utc(run.closed_at_ms or 0)}"
            f" by {escape(run.closed_by or '')}; nothing has changed"
        )
    else:
        out.print(
            f"closed run {run.run_id} of {escape(run.campaign)}: {console.many(closed.canceled, 'message')} canceled"
        )
    if counts.intent:
        out.print(
            f"{console.many(counts.intent, 'message')} in flight: the process that sends"
            f" {'it' if counts.intent == 1 else 'them'} records the answers, and ends"
        )
    scheduled = closed.scheduled
    if scheduled.canceled:
        out.print(f"{console.many(scheduled.canceled, 'scheduled message')} canceled at the provider")
    if scheduled.sent:
        out.print(
            f"[bold yellow]{console.many(scheduled.sent, 'scheduled message')} not canceled:[/] the provider sends"
            f" {'it' if scheduled.sent == 1 else 'them'} when due ({escape(scheduled.failure or '')}); `sender close"
            f" {run.run_id}` tries again"
        )
    if counts.unknown:
        stay = "stays" if counts.unknown == 1 else "stay"
        out.print(
            f"[bold yellow]{console.many(counts.unknown, 'message')} {stay} unknown:[/] `sender reconcile {run.run_id}`"
            " looks in the provider's log"
        )
    if closed.retryable:
        out.print(
            f"`sender retry {run.run_id} --status canceled` would send"
            f" {console.many(closed.retryable, 'canceled message')}"
        )
