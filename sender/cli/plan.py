"""`sender plan` and `sender preview`: everything that can be known before the first message leaves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.panel import Panel

from sender.campaign.model import Campaign
from sender.cli import console
from sender.cli.options import (
    TARGET_HELP,
    campaign_options,
    campaigns_options,
    is_written_plan,
    read_plan,
    state_options,
)
from sender.core.errors import InputError, StateError
from sender.plan.message_fields import merged_json
from sender.plan.plan import Plan


@click.command(
    help=f"Say who would get what, and who not and why. Sends nothing.\n\n{TARGET_HELP}\n\n"
    "`sender plan diff A B` compares two plans; a campaign in a file called `diff` is `./diff`."
)
@campaign_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the plan. Default: in the state directory.")
@click.option("--limit", type=click.IntRange(0), help="Plan only the first N messages.")
@click.option("--explain", type=click.IntRange(0), metavar="ROW", help="Tell everything that happened to that row.")
@click.option("--json", "as_json", is_flag=True, help="The manifest (or the explanation) as JSON.")
@state_options
def plan(
    campaign: Path,
    out: Path | None,
    limit: int | None,
    explain: int | None,
    as_json: bool,
    debug: bool,
    state_dir: Path,
    **options: Any,
) -> int:
    console.set_up_logs(debug=debug)
    made, built_from = read_plan(campaign, options, state_dir=state_dir, limit=limit)
    if explain is not None:
        return _explain(made, explain, built_from, as_json=as_json)
    if made.directory is None:
        folder = out or state_dir / "plans" / f"{_slug(made.manifest.campaign)}-{made.hash[:8]}"
        try:
            made = made.write(folder)
        except OSError as error:
            raise StateError(
                f"the plan cannot be written: {error.strerror}",
                where=str(folder),
                fix="--out names another folder",
            ) from None
    if as_json:
        console.print_json(
            {
                "directory": str(made.directory),
                **asdict(made.manifest),
                "expected_s": made.manifest.expected_s,
            }
        )
        return 0
    console.plan_summary(made, simulated=made.manifest.provider == "sandbox", where=str(made.directory))
    console.skipped_table(made)
    return 0


def _explain(made: Plan, row_number: int, built_from: Campaign | None, *, as_json: bool) -> int:
    from sender.planning.explain import explain_row

    told = explain_row(made, row_number, built_from)
    if as_json:
        console.print_json({**asdict(told), "steps": [{"step": name, "result": text} for name, text in told.steps]})
    else:
        console.explanation(told)
    return 0


@click.command(
    help="Say what is different between two plans: recipients added and removed, messages and costs changed."
    f" Sends nothing, writes nothing.\n\nA and B are like CAMPAIGN. {TARGET_HELP} The options stand for the"
    " keys of those that are no written plans."
)
@campaigns_options
@click.option("--examples", type=click.IntRange(0), default=5, show_default=True, help="Shown of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Counts and examples as JSON.")
@state_options
def plan_diff(a: Path, b: Path, examples: int, as_json: bool, debug: bool, state_dir: Path, **options: Any) -> int:
    from sender.planning.diff import diff_plans

    console.set_up_logs(debug=debug)
    written = [is_written_plan(target) for target in (a, b)]
    nothing: dict[str, Any] = {}
    before, after = (
        read_plan(target, nothing if done and not all(written) else options, state_dir=state_dir)[0]
        for target, done in zip((a, b), written, strict=True)
    )
    found = diff_plans(before, after)
    if as_json:
        console.print_json(found.to_dict(examples))
    else:
        console.difference(found, str(a), str(b), examples=examples)
    return 0


@click.command(help=f"Show the messages, in the terminal or as a page. Sends nothing.\n\n{TARGET_HELP}")
@campaign_options
@click.option("--limit", type=click.IntRange(0), help="Show only the first N messages.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page a colleague can read.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    help="jsonl: one JSON object a message.",
)
@state_options
def preview(
    campaign: Path,
    limit: int | None,
    html: Path | None,
    form: str,
    debug: bool,
    state_dir: Path,
    **options: Any,
) -> int:
    from sender.reports.pages.preview_page import preview_html, preview_rows

    console.set_up_logs(debug=debug)
    made, _ = read_plan(campaign, options, state_dir=state_dir)
    if html is not None:
        try:
            html.write_text(preview_html(made, limit=limit), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"the page cannot be written: {error.strerror}", where=str(html), fix="name another file"
            ) from None
        if form == "table":
            console.out.print(f"wrote {escape(str(html))}")
            return 0
    if form == "jsonl":
        for number, row in enumerate(preview_rows(made)):
            if limit is not None and number >= limit:
                break
            click.echo(json.dumps(row, ensure_ascii=False))
        return 0
    console.plan_summary(made, simulated=made.manifest.provider == "sandbox")
    messages_table(made, most=10 if limit is None else limit)
    console.skipped_table(made)
    return 0


def messages_table(made: Plan, *, most: int) -> None:
    """The first messages as they will be read, each with its row, segments and encoding."""
    from sender.reports.pages.preview_page import preview_frame

    for row in preview_frame(made, most).iter_rows(named=True):
        parts = console.many(row["segments"], "segment")
        size = f"MMS, {len(row['media'])} media" if row["media"] else f"{row['encoding']}, {parts}"
        own = "".join(f"\n[dim]{escape(f'{key}: {value}')}[/]" for key, value in merged_json(row["fields"]).items())
        text = escape(row["body"] or "") + "".join(f"\n[dim]{escape(url)}[/]" for url in row["media"] or ()) + own
        title = escape(f"row {row['row_number']} to {row['to']} from {row['from']}")
        console.out.print(Panel(text, title=title, title_align="left", subtitle=size, subtitle_align="right", width=72))
    if made.manifest.messages > most:
        console.out.print(
            f"  [dim]and {made.manifest.messages - most:,} more (--limit N, --html FILE, --format jsonl)[/]"
        )


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)
