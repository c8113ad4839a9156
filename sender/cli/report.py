"""`sender report`: how a run went, in the terminal or as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from sender.cli import console, run_lines
from sender.cli.outputs import force_option
from sender.cli.shared_options import RUN_HELP, state_options
from sender.core.errors import InputError
from sender.core.local_time import format_utc_and_local
from sender.core.output_files import Protected
from sender.reports.compare_run import compare_run
from sender.reports.comparison import Comparison, comparison_lines
from sender.reports.figures import JOURNAL_COLUMNS, SENTENCES, Figures, build_figures, figures_to_dict
from sender.reports.funnel import Stage
from sender.reports.groups import Group
from sender.reports.labels import LEADS, amounts, per_second, seconds, share, share_delivered
from sender.reports.pages.page_files import REPORT_PAGE, check_page, write_page
from sender.reports.run_results import protected_files
from sender.reports.run_summary import run_summary
from sender.state.message_status import read_journal
from sender.state.open import open_state

_BAR, _SHOWN = 24, 8
_TONES = {"delivered": "green", "undelivered": "red", "failed": "red", "rejected": "red", "unknown": "yellow"}


@click.command(
    help="Show how a run went: how many rows were delivered, why others were not, how fast, where, at what cost.\n\n"
    f"{RUN_HELP} --html writes the same figures with plots as one page that loads nothing from a network."
)
@click.argument("run")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page with plots."
)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
@force_option
@state_options
def report(run: str, html: Path | None, as_json: bool, force: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    with open_state(state_dir, read_only=True) as state:
        entry = state.find(run)
        protected = protected_files(state, entry)
        if html is not None:
            check_page(html, REPORT_PAGE, protected, force=force)
        plan = state.plan(entry)
        journal = read_journal(state, entry, columns=JOURNAL_COLUMNS)
        comparison = compare_run(state, entry, plan, journal)
        numbers = build_figures(
            plan,
            journal,
            entry,
            retries=state.retries(entry),
            comparison=comparison,
            summary=run_summary(state, entry),
            read_sentences=lambda seqs: state.ledger.journal(entry.run_id, seqs=seqs, columns=SENTENCES),
        )
    if html is not None:
        _write_page(numbers, html, protected, force=force)
    if as_json:
        console.print_json(figures_to_dict(numbers))
    elif html is None:
        _print(numbers)
    return 0


def _write_page(numbers: Figures, html: Path, protected: Protected, *, force: bool) -> None:
    try:
        from sender.reports.pages.run_page import run_html
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise InputError(
            "the plots of the page need matplotlib, which is not installed",
            fix="python3 -m pip install 'campaign-sender[report]'; without --html the same figures are printed",
        ) from None
    write_page(run_html(numbers), html, REPORT_PAGE, protected, force=force)
    console.err.print(f"wrote {escape(str(html))}")


def _print(numbers: Figures) -> None:
    summary, out = numbers.summary, console.out
    run_lines.about_unknowns(summary.unknown, numbers.run.run_id)
    started = f", started {format_utc_and_local(numbers.begun)}" if numbers.begun else ""
    out.print(f"[bold]{escape(numbers.campaign)}[/] run {numbers.run.run_id}, through {numbers.provider}{started}")
    out.print(escape(summary.totals_line()))
    _print_bars("from rows to delivered", [_stage_row(stage, summary.rows) for stage in numbers.funnel], summary.rows)
    statuses = [(name, n, share(n, summary.rows), LEADS.get(name, "")) for name, n in summary.statuses.items()]
    _print_bars("status", statuses, summary.rows)
    if summary.skipped:
        out.print(f"  skipped: {console.counted(summary.skipped)}")
    _print_speed(numbers)
    _print_errors(numbers)
    _print_groups("country", numbers.countries, numbers)
    if numbers.routes:
        _print_groups("route", numbers.routes, numbers)
    _print_groups("from", numbers.senders, numbers)
    if numbers.comparison is not None:
        _print_comparison(numbers.comparison)
    _print_cost(numbers)
    run_lines.about_canary(numbers.run.canary)
    if numbers.slowest:
        rows = (f"row {late.row_number} after {seconds(late.seconds or 0)}" for late in numbers.slowest[:_SHOWN])
        out.print(f"[bold]slowest[/]  {', '.join(rows)}")
    if numbers.retry_of:
        out.print(f"a retry of run {numbers.retry_of}")
    for run_id in numbers.retries:
        out.print(f"retried by run {run_id}")


def _stage_row(stage: Stage, rows: int) -> tuple[str, int, str, str]:
    """Return a row of `_print_bars`: without a share while it is not known how many more have come so far."""
    if stage.not_known:
        return stage.name, stage.count, "", f"{stage.not_known:,} more have no result yet"
    return stage.name, stage.count, share(stage.count, rows), ""


def _print_bars(title: str, rows: Iterable[tuple[str, int, str, str]], whole: int) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=16)
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    table.add_column(no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for name, n, part, lead in rows:
        width = max(1, round(_BAR * n / whole)) if n else 0
        bar = f"[{_TONES.get(name, 'blue')}]{'━' * width}[/][dim]{'─' * (_BAR - width)}[/]"
        table.add_row(name, f"{n:,}", part, bar, lead)
    console.out.print(f"[bold]{title}[/]")
    console.out.print(table)


def _print_speed(numbers: Figures) -> None:
    if numbers.per_s is not None:
        planned = f", planned {per_second(numbers.planned_per_s)} {numbers.unit}" if numbers.planned_per_s else ""
        most = f", at most {per_second(numbers.peak_per_s)}" if numbers.peak_per_s else ""
        console.out.print(f"[bold]rate[/]     {per_second(numbers.per_s)} messages{most}{planned}")
    if (late := numbers.latency) is not None:
        console.out.print(
            f"[bold]delivery[/] half within {seconds(late.median_s)}, 95 % within {seconds(late.p95_s)},"
            f" 99 % within {seconds(late.p99_s)}, the last after {seconds(late.longest_s)}"
        )
    if numbers.waiting:
        console.out.print(
            f"  {numbers.waiting:,} accepted, with no result yet: `sender status {numbers.run.run_id} --refresh` asks"
            " the provider"
        )


def _print_errors(numbers: Figures) -> None:
    if not numbers.errors:
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("messages", "status", "reason", "code", "the provider says"):
        table.add_column(name, justify="right" if name == "messages" else "left", overflow="fold")
    for error in numbers.errors:
        cells = (error.status, error.reason or "", escape(error.error_code or ""), escape(error.example or ""))
        table.add_row(f"{error.count:,}", *cells)
    console.out.print("[bold]why not delivered[/]")
    console.out.print(table)


def _print_groups(title: str, groups: tuple[Group, ...], numbers: Figures) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    columns: Mapping[str, bool] = {
        "planned": numbers.cost_planned is not None,
        "cost so far": any(group.price for group in groups),
    }
    for name in (title, "messages", "accepted", "delivered", "", "not delivered", "unknown", "segments"):
        table.add_column(name, justify="left" if name == title else "right")
    for name in (name for name, shown in columns.items() if shown):
        table.add_column(name, justify="right")
    for group in groups[:_SHOWN]:
        counts = (group.messages, group.accepted, group.delivered, None, group.bad, group.unknown, group.segments)
        cells = [
            share_delivered(group.delivered, group.accepted, group.waiting) if n is None else f"{n:,}" for n in counts
        ]
        money = [(columns["planned"], str(group.planned)), (columns["cost so far"], amounts(group.price))]
        table.add_row(escape(group.name), *cells, *(text for shown, text in money if shown))
    console.out.print(table)
    if len(groups) > _SHOWN:
        console.out.print(f"  [dim]and {len(groups) - _SHOWN:,} more: --json has all of them[/]")


def _print_comparison(comparison: Comparison) -> None:
    event = comparison.event or "success"
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("group", "people", "accepted", "delivered", "opt-outs", event, "rate", "95 % interval", "value"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for group in comparison.groups:
        counts = (group.people, group.accepted, group.delivered, group.opt_outs, group.successes)
        low, high = (f"{100 * end:.2f}" for end in group.interval)
        rate = (f"{100 * group.rate:.2f} %", f"{low} to {high}", f"{group.value:,.2f}" if group.value else "")
        table.add_row(escape(group.name), *(f"{count:,}" for count in counts), *rate)
    console.out.print(f"[bold]experiment[/] {escape(comparison.key)}")
    console.out.print(table)
    for line in comparison_lines(comparison):
        console.out.print(f"  {escape(line)}")


def _print_cost(numbers: Figures) -> None:
    differ = f", {numbers.segments_differ:,} of them differently" if numbers.segments_differ else ""
    counted = f" (the provider counted those of {console.many(numbers.segments_told, 'message')}{differ})"
    console.out.print(
        f"[bold]segments[/] {numbers.segments_planned:,} planned, {numbers.segments_real:,} in accepted messages"
        + (counted if numbers.segments_told else "")
    )
    planned = "no price table" if numbers.cost_planned is None else f"{numbers.cost_planned} {numbers.currency} planned"
    spent = f"{amounts(numbers.summary.price)} so far for {console.many(numbers.priced, 'message')}"
    console.out.print(f"[bold]cost[/]     {planned}, {spent if numbers.priced else 'no prices reported yet'}")
