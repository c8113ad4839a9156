"""`sender forget`: erases a person from the state, all but the fact that they were reached or have opted out."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from sender.cli import console, terminal
from sender.cli.shared_options import region_option, state_options
from sender.core.errors import InputError
from sender.phone.typed import read_number
from sender.state.forget import Forgotten, find_runs
from sender.state.forget import forget as forget_person
from sender.state.open import open_state


@click.command(
    help="Erase a person's number, texts and cells from every plan and result, the ledger and the suppression list.\n\n"
    "A keyed hash of the number stays, so that campaigns do not reach the person twice, and opt-outs still count."
    " Pending messages to the person are canceled. Files outside the state are listed, but not changed."
)
@click.argument("number")
@region_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@state_options
def forget(number: str, region: str | None, yes: bool, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    e164 = read_number(number, region)
    with open_state(state_dir, create=False) as state:
        if not yes:
            runs = find_runs(state, e164)
            if not as_json:
                console.out.print(f"{e164} is in {console.many(len(runs), 'run')} of {escape(str(state_dir))}")
            _ask(e164)
        done = forget_person(state, e164)
    if as_json:
        console.print_json(_to_dict(done))
    else:
        _print_done(done)
    return 0 if done.compacted else 3


def _ask(number: str) -> None:
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask on", fix="add --yes; this cannot be undone")
    terminal.ask(f"Erase {number}? This cannot be undone.")


def _print_done(done: Forgotten) -> None:
    many, note = console.many, "[yellow]note:[/]"
    if not (done.runs or done.plans or done.entries or done.replies or done.facts):
        console.out.print(f"there is nothing to erase of {done.number}")
    for run in done.runs:
        canceled = f", {many(run.canceled, 'pending message')} canceled" if run.canceled else ""
        unknown = f", {many(run.unknown, 'message')} still unknown" if run.unknown else ""
        console.out.print(
            f"erased {many(run.rows, 'row')} of {escape(run.campaign)}, run {run.run_id}{canceled}{unknown}"
        )
    if done.plans:
        console.out.print(f"erased from {many(done.plans, 'written plan')}")
    if done.entries:
        entries = many(done.entries, "entry", "entries")
        console.out.print(f"{entries} of the suppression list kept under a hash of the number")
    if done.replies:
        console.out.print(f"{many(done.replies, 'reply', 'replies')} blanked")
    if done.facts:
        console.out.print("erased the results of lookups and providers' answers about the number")
    if done.texts:
        console.out.print(f"{note} {many(done.texts, 'message')} to others mention the number in the text: not changed")
    if done.unread:
        console.out.print(f"{note} not erased from runs whose plan is gone or damaged: {', '.join(done.unread)}")
    for file in done.outside:
        console.out.print(f"[yellow]not changed:[/] {escape(str(file))} is outside the state and may have the number")
    if not done.compacted:
        console.out.print(
            "[bold yellow]not finished:[/] another run is being sent, so the free space of the ledger was not cleared:"
            " run the same command again when that run has ended"
        )


def _to_dict(done: Forgotten) -> dict[str, Any]:
    return {**asdict(done), "outside": [str(file) for file in done.outside]}
