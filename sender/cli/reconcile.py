"""`sender reconcile`: unknown messages looked up in the provider's log."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console, run_lines
from sender.cli.progress_display import countdown
from sender.cli.shared_options import RUN_HELP, env_file_option, environment, state_options
from sender.delivery.reconcile import ReconcileResult
from sender.delivery.refresh import reconcile_run
from sender.reports.run_summary import run_summary
from sender.state.ledger import Run
from sender.state.open import open_state
from sender.state.state import State


@click.command(
    help="Look up unknown messages in the provider's log and record what it proves. Sends nothing.\n\n" + RUN_HELP
)
@click.argument("run")
@click.option("--settle", is_flag=True, help="Wait until the log can decide as much as possible; Ctrl-C stops waiting.")
@env_file_option()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@state_options
def reconcile(run: str, settle: bool, env_file: Path | None, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    with open_state(state_dir, create=False) as state:
        entry = state.find(run)
        settled = asyncio.run(_look_up(state, entry, environment(env_file), wait=settle))
        summary = run_summary(state, entry)
    if as_json:
        console.print_json({"run_id": entry.run_id, **asdict(settled), "law": summary.totals_line(), **asdict(summary)})
        return summary.exit_code
    becomes = "pending again" if summary.pending else "canceled"  # canceled: the run is closed, or a retry has it
    absent = f"{settled.absent:,} proved absent" + (f" ({becomes})" if settled.absent else "")
    console.out.print(f"{settled.found:,} found at the provider, {absent}, {settled.doubtful:,} still unknown")
    if settled.failure:
        console.out.print(f"  the log could not be read to its end: {escape(settled.failure)}")
    if settled.contested:
        may_be = "may be an entry" if settled.contested == 1 else "may be entries"
        console.out.print(
            f"  {settled.contested:,} {may_be} of the log that cannot be attributed: waiting does not help"
        )
    if settled.decidable_at:
        moment = f"{settled.decidable_at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
        console.out.print(f"  from {moment} on the log can prove that a message is absent")
    run_lines.run_summary(summary)
    if summary.pending:
        console.out.print(f"{summary.pending:,} pending: send the campaign again to resume")
    return summary.exit_code


async def _look_up(state: State, run: Run, env: Mapping[str, str], *, wait: bool) -> ReconcileResult:
    """Look the run up once, or until time decides nothing more; then Ctrl-C ends the wait and not the command."""
    if not wait:
        return await reconcile_run(state, run, env)
    cancel, loop = asyncio.Event(), asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(cancel.set))
    try:
        with countdown() as on_wait:
            return await reconcile_run(state, run, env, wait=True, on_wait=on_wait, cancel=cancel)
    finally:
        signal.signal(signal.SIGINT, before)
