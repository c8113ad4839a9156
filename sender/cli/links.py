"""`sender links`: which token leads whom where, for the shortener."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import click
import polars as pl
from rich.markup import escape

from sender.cli import console, terminal
from sender.cli.outputs import force_option
from sender.cli.shared_options import RUN_HELP, state_options
from sender.core.errors import InputError
from sender.core.output_files import OutputKind
from sender.planning.recipient_links import list_links
from sender.reports.run_results import protected_files
from sender.reports.table_files import dump_csv, read_headers, write_table
from sender.state.open import open_state

_COLUMNS = ["token", "link", "url", "row_number", "seq", "to", "run_id"]
_LINKS = OutputKind("a list of links", lambda file: read_headers(file) == _COLUMNS)


@click.command(
    help="Write the links of a run's messages: token, address and person, for your link shortener.\n\n"
    f"{RUN_HELP} `sender outcomes import` imports the clicks, by token."
)
@click.argument("run")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File (.csv, .jsonl, .parquet, .xlsx). Default: standard output (csv).",
)
@force_option
@state_options
def links(run: str, output: Path | None, force: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    with open_state(state_dir, read_only=True) as state:
        entry = state.find(run)
        plan = state.plan(entry)
        base = (plan.manifest.links or {}).get("base")
        if base is None:
            raise InputError(
                f"run {entry.run_id} has no links", fix='write {{ link("https://...") }} into the text of its campaign'
            )
        frame = list_links(plan, base).with_columns(run_id=pl.lit(entry.run_id)).select(_COLUMNS)
        protected = protected_files(state, entry)
    if output is None:
        table = BytesIO()
        dump_csv(frame, table)
        terminal.write_data(table.getvalue())
        return 0
    write_table(frame, output, _LINKS, protected, force=force)
    console.err.print(f"wrote {console.many(frame.height, 'link')} to {escape(str(output))}")
    return 0
