"""`sender reconcile`: unknown messages looked up in the provider's log."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.shared_options import RUN_HELP, env_file_option, environment, state_options
from sender.delivery.refresh import reconcile_run
from sender.reports.run_results import run_summary
from sender.state.open import open_state


@click.command(
    help="Look up unknown messages in the provider's log and record what it proves. Sends nothing.\n\n" + RUN_HELP
)
@click.argument("run")
@env_file_option()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@state_options
def reconcile(run: str, env_file: Path | None, as_json: bool, debug: bool, state_dir: Path) -> int:
    console.set_up_logs(debug=debug)
    with open_state(state_dir, create=False) as state:
        entry = state.find(run)
        settled = asyncio.run(reconcile_run(state, entry, environment(env_file)))
        summary = run_summary(state, entry)
    if as_json:
        console.print_json({"run_id": entry.run_id, **asdict(settled), "law": summary.totals_line(), **asdict(summary)})
        return summary.exit_code
    console.out.print(
        f"{settled.found:,} found at the provider, {settled.absent:,} proved absent (pending again),"
        f" {settled.doubtful:,} still unknown"
    )
    if settled.failure:
        console.out.print(f"  the log could not be read to its end: {escape(settled.failure)}")
    if settled.decidable_at:
        moment = f"{settled.decidable_at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
        console.out.print(f"  from {moment} on the log can prove that a message is absent")
    console.run_summary(summary)
    if summary.pending:
        console.out.print(f"{summary.pending:,} pending: send the campaign again to resume")
    return summary.exit_code
