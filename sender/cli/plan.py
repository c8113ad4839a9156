"""`sender plan`: who would get what, who would not, and why; before the first message is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from sender.campaign.model import Campaign
from sender.cli import console, plan_lines
from sender.cli.approval_lines import approval_lines
from sender.cli.campaign_options import TARGET_HELP, campaign_options, only_new_option, read_plan
from sender.cli.outputs import force_option, protected_inputs
from sender.cli.remaining_lines import show_remaining
from sender.cli.row_lines import print_skipped
from sender.cli.shared_options import state_options
from sender.core.errors import InputError, StateError
from sender.core.outcomes import SkipReason
from sender.core.output_files import Protected
from sender.plan.plan import Plan, check_plan_folder
from sender.planning.forecast import foresee
from sender.reports.skipped_rows import list_under_review, write_skipped
from sender.sending.foresee_start import foresee_stops
from sender.sending.options import SendOptions
from sender.sending.remaining import find_remaining
from sender.state.open import folder_of, open_approvals, open_state

if TYPE_CHECKING:
    from sender.planning.explain import Explanation


@click.command(
    help=f"Show who would get what, who would not, and why. Sends nothing.\n\n{TARGET_HELP}\n\n"
    "`sender plan diff A B` compares two plans. For a campaign in a file called `diff`, write `./diff`."
)
@campaign_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the plan. Default: in the state directory.")
@click.option("--limit", type=click.IntRange(0), help="Plan only the first N messages.")
@click.option("--resume", is_flag=True, help="Show what `send --resume` would send: the rest of the unfinished run.")
@click.option("--explain", type=click.IntRange(0), metavar="ROW", help="Show each step of planning for that row.")
@click.option(
    "--skipped",
    "skipped_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the skipped rows with their own columns and the reason (.csv, .jsonl, .parquet, .xlsx).",
)
@force_option
@click.option("--json", "as_json", is_flag=True, help="The manifest (or the explanation) as JSON.")
@only_new_option
@state_options
def plan(
    campaign: Path,
    out: Path | None,
    limit: int | None,
    resume: bool,
    explain: int | None,
    skipped_file: Path | None,
    force: bool,
    as_json: bool,
    debug: bool,
    state_dir: Path | str,
    only_new: bool,
    **options: Any,
) -> int:
    console.set_up_logs(debug=debug)
    if resume:
        _refuse_with_resume({"--out": out, "--limit": limit, "--explain": explain, "--only-new": only_new or None})
    if explain is not None and out is not None:
        raise InputError("--explain writes no plan", fix="leave out --out")
    built, built_from = read_plan(campaign, options, state_dir=state_dir, limit=limit, only_new=only_new)
    remaining = find_remaining(built, SendOptions(state_dir=state_dir, resume=True)) if resume else None
    if skipped_file is not None:
        protected = Protected(protected_inputs(campaign, built, built_from), folder_of(state_dir))
        rows = write_skipped(remaining.began_with if remaining else built, skipped_file, protected, force=force)
        console.err.print(f"wrote {console.many(rows, 'skipped row')} to {escape(str(skipped_file))}")
    if remaining is not None:
        show_remaining(remaining, as_json=as_json)
        return 0
    if explain is not None:
        return _explain(built, explain, built_from, as_json=as_json)
    if built.directory is None:
        built = _write(built, out, state_dir, protected_inputs(campaign, built, built_from))
    stops = foresee_stops(built, SendOptions(state_dir=state_dir))
    if as_json:
        when = foresee(built)
        console.print_json(
            {
                "directory": str(built.directory),
                **asdict(built.manifest),
                "expected_s": built.manifest.expected_s,
                "stops": [asdict(stop) for stop in stops],
                "when": None if when is None else when.to_dict(),
                "under_review": [asdict(row) for row in list_under_review(built)],
            }
        )
        return 0
    plan_lines.plan_summary(
        built, simulated=built.manifest.provider == "sandbox", where=str(built.directory), stops=stops
    )
    for line in approval_lines(built, SendOptions(state_dir=state_dir)):
        console.out.print(f"  {escape(line)}", highlight=False)
    print_skipped(built)
    return 0


def _write(built: Plan, out: Path | None, state_dir: Path | str, inputs: tuple[Path, ...]) -> Plan:
    """Write the plan to `out`, or by its name into the state. Raises InputError and StateError."""
    # The hash is that of the whole list.
    suffix = "-new" if SkipReason.ALREADY_SENT in built.manifest.skipped else ""
    state = folder_of(state_dir)
    if state is None:
        with open_state(state_dir, read_only=True) as opened:
            state = opened.folder
    folder = out or _free_folder(state, f"{_slug(built.manifest.campaign)}-{built.hash[:8]}{suffix}")
    own = (state / "plans" / folder.name,)
    check_plan_folder(folder, Protected(inputs, state, own))
    try:
        return built.write(folder)
    except OSError as error:
        raise StateError(
            f"the plan cannot be written: {error.strerror}", where=str(folder), fix="name another folder with --out"
        ) from None


def _free_folder(state: Path, name: str) -> Path:
    """The folder below `plans/` for a plan of that name: never that of an approved one, which stays as it is."""
    approved = {Path(each.plan) for each in open_approvals(state).read()}
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    folders = (state / "plans" / each for each in names)
    return next(folder for folder in folders if folder.absolute() not in approved)


def _refuse_with_resume(others: Mapping[str, Any]) -> None:
    """Raise InputError for options that are about a new plan."""
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise InputError(
            f"--resume shows the rest of an unfinished run, but {given[0]} is about a new plan",
            fix="leave out one of the two",
        )


def _explain(plan: Plan, row_number: int, built_from: Campaign | None, *, as_json: bool) -> int:
    from sender.planning.explain import explain_row

    explanation = explain_row(plan, row_number, built_from)
    if as_json:
        steps = [{"step": name, "result": text} for name, text in explanation.steps]
        console.print_json({**asdict(explanation), "steps": steps})
    else:
        _print_explanation(explanation)
    return 0


def _print_explanation(explanation: Explanation) -> None:
    """Print the row's cells, then a line for each step."""
    console.out.print(f"[bold]row {explanation.row_number}[/]")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for header, cell in explanation.cells.items():
        table.add_row(escape(header), escape(repr(cell)))
    for name, text in explanation.steps:
        table.add_row(f"[bold]{escape(name)}[/]", escape(text))
    console.out.print(table)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)
