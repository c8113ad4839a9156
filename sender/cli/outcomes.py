"""`sender outcomes`: what people did after a message, for the comparison in the report."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.shared_options import region_option, state_options
from sender.state.open import open_state


@click.group(help="Import what people did after a message, for `sender report`.")
def outcomes() -> None:
    pass


@outcomes.command(
    "import",
    help="Import the outcomes in FILE. Each counts once, however often you import it.\n\nIts columns: a number, or"
    " `ref` or `message_id` of the results; `event`; optionally a time and a value. An outcome belongs to the newest"
    " earlier run that has the person.",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--run", metavar="RUN", help="Import only for this run: its id, its campaign, or its file.")
@click.option("--event", metavar="NAME", help="Event of all rows: `purchase`. Default: the column `event`.")
@click.option("--id-column", metavar="HEADER", help="Find people by this column, which the list must have, too.")
@region_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@state_options
def import_(
    file: Path,
    run: str | None,
    event: str | None,
    id_column: str | None,
    region: str | None,
    state_dir: Path | str,
    *,
    as_json: bool,
    debug: bool,
) -> int:
    from sender.delivery.import_outcomes import describe_problems, import_outcomes

    console.set_up_logs(debug=debug)
    with open_state(state_dir, create=False) as state:
        imported = import_outcomes(
            state,
            file,
            run=None if run is None else state.find(run),
            event=event,
            id_column=id_column,
            default_region=region,
        )
    if as_json:
        problems = [{"row_number": problem.row_number, "why": problem.why} for problem in imported.problems]
        console.print_json(
            {"rows": imported.rows, "new": imported.new, "by_run": dict(imported.by_run), "problems": problems}
        )
    else:
        counted = imported.rows - len(imported.problems)
        console.out.print(
            f"{escape(str(file))}: {console.many(imported.rows, 'outcome')}, {counted:,} counted, {imported.new:,} new"
        )
        for run_id, count in imported.by_run.items():
            console.out.print(f"  {count:,} of run {run_id}")
        for line in describe_problems(imported):
            console.out.print(f"  [yellow]{escape(line)}[/]")
    return 1 if imported.problems else 0
