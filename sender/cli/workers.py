"""`sender workers`: who is there to send, what they do, and since when."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.shared_options import state_options
from sender.core.errors import InputError
from sender.sending.choose_run import format_utc
from sender.state.open import open_state


@click.command(help="Show the machines with a `sender worker`, and what each of them sends now. Needs a database.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on standard output.")
@state_options
def workers(as_json: bool, state_dir: Path | str, debug: bool) -> int:
    console.set_up_logs(debug=debug)
    with open_state(state_dir, read_only=True) as state:
        if state.sharing is None:
            raise InputError(
                "only a state in a database has workers on several machines", fix="name one with --state URL"
            )
        there, shifts = state.sharing.workers(), state.sharing.shifts()
    if as_json:
        console.print_json({"workers": [asdict(one) for one in there], "shifts": [asdict(one) for one in shifts]})
        return 0
    if not there and not shifts:
        console.out.print("no worker is running: start `sender worker` on each machine that should send")
        return 0
    for one in there:
        leaving = ", leaving" if one.is_draining else ""
        since = f"since {format_utc(one.since_ms)}{leaving}"
        console.out.print(f"{escape(one.host)} (pid {one.pid}): {console.many(one.places, 'place')}, {since}")
    for shift in shifts:
        counts = f"{shift.sent:,} sent, {shift.in_flight:,} in flight"
        console.out.print(
            f"  {escape(shift.host)} (pid {shift.pid}) sends run {shift.run_id} since"
            f" {format_utc(shift.since_ms)}: {counts}",
            highlight=False,
        )
    return 0
