"""`sender preview`: the messages as they will be read, in the terminal or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from sender.cli import console, plan_lines, terminal
from sender.cli.campaign_options import TARGET_HELP, campaign_options, only_new_option, read_plan
from sender.cli.outputs import force_option, protected_inputs
from sender.cli.row_lines import print_messages, print_skipped
from sender.cli.shared_options import state_options
from sender.core.output_files import Protected
from sender.state.open import folder_of


@click.command(help=f"Show the messages, in the terminal or as a page. Sends nothing.\n\n{TARGET_HELP}")
@campaign_options
@click.option("--limit", type=click.IntRange(0), help="Show only the first N messages.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page to show to a colleague.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    help="jsonl: one JSON object a message.",
)
@force_option
@only_new_option
@state_options
def preview(
    campaign: Path,
    limit: int | None,
    html: Path | None,
    form: str,
    force: bool,
    debug: bool,
    state_dir: Path | str,
    only_new: bool,
    **options: Any,
) -> int:
    from sender.reports.pages.page_files import PREVIEW_PAGE, check_page, write_page
    from sender.reports.pages.preview_page import preview_html, preview_rows

    console.set_up_logs(debug=debug)
    plan, built_from = read_plan(campaign, options, state_dir=state_dir, only_new=only_new)
    if html is not None:
        protected = Protected(protected_inputs(campaign, plan, built_from), folder_of(state_dir))
        check_page(html, PREVIEW_PAGE, protected, force=force)
        write_page(preview_html(plan, limit=limit), html, PREVIEW_PAGE, protected, force=force)
        if form == "table":
            console.out.print(f"wrote {escape(str(html))}")
            return 0
    if form == "jsonl":
        for number, row in enumerate(preview_rows(plan)):
            if limit is not None and number >= limit:
                break
            terminal.write_json(row)
        return 0
    plan_lines.plan_summary(plan, simulated=plan.manifest.provider == "sandbox")
    print_messages(plan, most=10 if limit is None else limit)
    print_skipped(plan)
    return 0
