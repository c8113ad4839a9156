"""`sender pause`: holds a run until it is resumed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.duration import parse_duration_s
from sender.cli.shared_options import RUN_HELP, state_options
from sender.sending.choose_run import format_utc
from sender.sending.run_control import PausedRun
from sender.sending.run_control import pause as pause_run


@click.command(
    help="Pause a run until `sender resume`.\n\n"
    f"{RUN_HELP}\n\n"
    "If another process is sending the run, it sends nothing more, and ends with exit code 130. This command waits for"
    " the answers to its requests in flight. A plain start of a paused run is refused."
)
@click.argument("run")
@click.option("--wait", metavar="TIME", default="60s", show_default=True, help="Longest wait for the answers.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
@state_options
def pause(run: str, *, wait: str, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    paused = pause_run(run, state_dir=state_dir, wait_s=parse_duration_s(wait, "--wait"))
    if as_json:
        console.print_json(_to_dict(paused))
    else:
        _print(paused)
    return 0


def _to_dict(paused: PausedRun) -> dict[str, object]:
    run = paused.run
    return {
        "run_id": run.run_id,
        "campaign": run.campaign,
        "paused_now": paused.is_new,
        "paused_at": format_utc(run.paused_at_ms or 0),
        "paused_by": run.paused_by,
        "under_way": paused.under_way,
        **asdict(paused.counts),
    }


def _print(paused: PausedRun) -> None:
    run, counts, out = paused.run, paused.counts, console.out
    if paused.is_new:
        out.print(f"paused run {run.run_id} of {escape(run.campaign)}: {counts.pending:,} pending")
    else:
        out.print(
            f"run {run.run_id} of {escape(run.campaign)} was already paused on {format_utc(run.paused_at_ms or 0)}"
            f" by {escape(run.paused_by or '')}; nothing has changed"
        )
    if paused.under_way:
        out.print(
            f"{console.many(paused.under_way, 'message')} still in flight: the process that sends the run records the"
            " answers, and ends"
        )
    else:
        out.print("no message is in flight")
    out.print(f"`sender resume {run.run_id}` sends the rest; `sender close {run.run_id}` ends the run")
