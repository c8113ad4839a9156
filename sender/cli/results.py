"""`sender results`: what became of every row, as a file or on standard output."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console, terminal
from sender.cli.outputs import force_option
from sender.cli.shared_options import RUN_HELP, state_options, with_body_option
from sender.core.errors import InputError
from sender.core.folder_defaults import find_folder_defaults
from sender.reports import results_file
from sender.reports.results import filter_by_status, parse_statuses
from sender.reports.run_results import latest_results, protected_files, read_results
from sender.reports.table_files import FORMATS
from sender.state.open import folders_above, open_state


@click.command(help=f"Write the result of every row: ids, statuses, errors, and all original columns.\n\n{RUN_HELP}")
@click.argument("run")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Default: by the file's suffix, else csv.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Default: standard output (csv, jsonl).",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    metavar="STATUS",
    help="Only rows with that status: failed,skipped. Separated by commas, or repeated.",
)
@click.option("--with-retries", is_flag=True, help="Take each row's result from the newest retry that sent it.")
@with_body_option
@force_option
@state_options
def results(
    run: str,
    form: str | None,
    output: Path | None,
    statuses: tuple[str, ...],
    with_retries: bool,
    with_body: bool,
    force: bool,
    debug: bool,
    state_dir: Path | str,
) -> int:
    console.set_up_logs(debug=debug)
    chosen = parse_statuses(statuses)
    if form is None and output is None and (defaults := find_folder_defaults(Path.cwd(), *folders_above(state_dir))):
        form = defaults.results_format
    with open_state(state_dir, read_only=True) as state:
        entry = state.find(run)
        protected = protected_files(state, entry)
        if output is not None:
            results_file.check_results_path(output, form, protected, force=force)
        if with_retries:
            blocks = iter([latest_results(state, entry, with_body=with_body)])
        else:
            blocks = read_results(state, entry, with_body=with_body)
        if chosen:
            blocks = (filter_by_status(block, chosen) for block in blocks)
        if output is not None:
            rows = results_file.write_result_blocks(blocks, output, form, protected, force=force)
            of = f" of {entry.rows:,}" if chosen else ""
            console.err.print(f"wrote {console.many(rows, 'row')}{of} to {escape(str(output))}")
            return 0
        if form not in (None, "csv", "jsonl"):
            raise InputError(f"{form} cannot be written to standard output", fix=f"add --output results.{form}")
        for text in results_file.encode_results(blocks, form or "csv"):
            terminal.write_data(text)
    return 0
