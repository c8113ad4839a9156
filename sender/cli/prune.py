"""`sender prune`: removes the plans, texts and results of old runs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from sender.cli import console, terminal
from sender.cli.duration import parse_duration_s
from sender.cli.shared_options import state_options
from sender.core.errors import InputError
from sender.state.open import open_state
from sender.state.prune import Pruned
from sender.state.prune import prune as prune_state


@click.command(
    help="Remove plans, numbers, texts and results of runs that ended long ago, and old replies; the totals stay.\n\n"
    "Keyed hashes of the people who were reached stay, too, so that nobody gets a campaign twice. Unfinished runs and"
    " runs with unknown messages are kept."
)
@click.option(
    "--older-than",
    required=True,
    metavar="90d",
    help="Age from which runs and replies are removed: 90d, 12w, 48h.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
@state_options
def prune(older_than: str, dry_run: bool, yes: bool, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    if older_than.strip().isdigit():  # seconds would remove everything
        raise InputError(f"--older-than {older_than} has no unit", fix="write one: 90d, 12w or 48h")
    older_than_s = parse_duration_s(older_than, "--older-than")
    with open_state(state_dir, create=False) as state:
        if not (dry_run or yes):
            planned = prune_state(state, older_than_s=older_than_s, dry_run=True)
            if planned.runs or planned.plans or planned.replies or planned.facts:
                if not as_json:
                    _print_pruned(planned)
                _ask()
        done = prune_state(state, older_than_s=older_than_s, dry_run=dry_run)
    if as_json:
        console.print_json(_to_dict(done))
    else:
        _print_pruned(done)
    return 0


def _ask() -> None:
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask on", fix="add --yes, or look first with --dry-run")
    terminal.ask("Remove this? It cannot be undone.")


def _print_pruned(done: Pruned) -> None:
    verb = "would remove" if done.dry_run else "removed"
    for run in done.runs:
        people = console.many(run.people, "person", "people")
        console.out.print(
            f"{verb} plan and results of {escape(run.campaign)}, run {run.run_id} ({_size(run.freed)}); hashes of"
            f" {people} {'would stay' if done.dry_run else 'stay'}"
        )
    for folder in done.plans:
        console.out.print(f"{verb} the written plan {escape(str(folder))}")
    if done.replies:
        console.out.print(f"{verb} {console.many(done.replies, 'reply', 'replies')}")
    for kept in done.kept:
        console.out.print(f"[yellow]kept:[/] {escape(kept.campaign)}, run {kept.run_id}: {escape(kept.why)}")
    if done.facts:
        console.out.print(f"{verb} the results of lookups of {console.many(done.facts, 'number')}")
    if not (done.runs or done.plans or done.replies or done.facts):
        console.out.print("there is nothing to remove")


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}"
        count //= 1000
    return f"{count:,.0f} GB"


def _to_dict(done: Pruned) -> dict[str, Any]:
    return {**asdict(done), "plans": [str(folder) for folder in done.plans], "freed": done.freed}
