"""`sender report`: how a run went, in the terminal or as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from sender.cli import console
from sender.cli.options import RUN_HELP, state_options
from sender.core.errors import InputError
from sender.reports.figures import Figures, Group, figures, to_dict
from sender.reports.labels import LEADS, amounts, per_second, seconds, share
from sender.state.state_dir import StateDir

_BAR, _SHOWN = 24, 8
_TONES = {"delivered": "green", "undelivered": "red", "failed": "red", "rejected": "red", "unknown": "yellow"}


@click.command(
    help="Say how a run went: from rows to delivered, why not, how fast, where, at what cost.\n\n"
    f"{RUN_HELP} --html writes the same figures with plots as one page, which needs nothing from a network."
)
@click.argument("run")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page with plots."
)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
@state_options
def report(run: str, html: Path | None, as_json: bool, debug: bool, state_dir: Path) -> int:
    console.set_up_logs(debug=debug)
    with StateDir(state_dir, read_only=True) as state:
        one = state.find(run)
        journal = state.ledger.journal(one.run_id)
        found = figures(state.plan(one), journal, one, retries=state.retries(one))
    if html is not None:
        _write(found, html)
    if as_json:
        console.print_json(to_dict(found))
    elif html is None:
        _print(found)
    return 0


def _write(found: Figures, html: Path) -> None:
    try:
        from sender.reports.pages.run_page import run_html
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise InputError(
            "the plots of the page need matplotlib, which is not installed",
            fix="python3 -m pip install 'campaign-sender[report]'; without --html the same figures are printed",
        ) from None
    try:
        html.write_text(run_html(found), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the page cannot be written: {error.strerror}", where=str(html), fix="name another file"
        ) from None
    console.err.print(f"wrote {escape(str(html))}")


def _print(found: Figures) -> None:
    summary, out = found.summary, console.out
    console.about_unknowns(summary.unknown, found.run.run_id)
    begun = f", begun {found.begun:%Y-%m-%d %H:%M:%S} UTC" if found.begun else ""
    out.print(f"[bold]{escape(found.campaign)}[/] run {found.run.run_id}, through {found.provider}{begun}")
    out.print(escape(summary.law()))
    _bars("from rows to delivered", [(one.name, one.count, "") for one in found.funnel], summary.rows)
    _bars("status", [(name, n, LEADS.get(name, "")) for name, n in summary.statuses.items()], summary.rows)
    if summary.skipped:
        out.print(f"  skipped: {console.counted(summary.skipped)}")
    _speed(found)
    _errors(found)
    _groups("country", found.countries, found)
    _groups("from", found.senders, found)
    _cost(found)
    if found.slowest:
        slow = ", ".join(f"row {one.row_number} after {seconds(one.seconds or 0)}" for one in found.slowest[:_SHOWN])
        out.print(f"[bold]slowest[/]  {slow}")
    links = [f"sends messages of run {found.retry_of} again"] if found.retry_of else []
    for line in [*links, *(f"what failed was sent again by run {one}" for one in found.retries)]:
        out.print(line)


def _bars(title: str, rows: Iterable[tuple[str, int, str]], whole: int) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=16)
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    table.add_column(no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for name, n, lead in rows:
        width = max(1, round(_BAR * n / whole)) if n else 0
        bar = f"[{_TONES.get(name, 'blue')}]{'━' * width}[/][dim]{'─' * (_BAR - width)}[/]"
        table.add_row(name, f"{n:,}", share(n, whole), bar, lead)
    console.out.print(f"[bold]{title}[/]")
    console.out.print(table)


def _speed(found: Figures) -> None:
    if found.per_s is not None:
        planned = f", planned {per_second(found.planned_per_s)} {found.unit}" if found.planned_per_s else ""
        most = f", at most {per_second(found.peak_per_s)}" if found.peak_per_s else ""
        console.out.print(f"[bold]pace[/]     {per_second(found.per_s)} messages{most}{planned}")
    if (late := found.latency) is not None:
        console.out.print(
            f"[bold]delivery[/] half within {seconds(late.median_s)}, 95 % within {seconds(late.p95_s)},"
            f" 99 % within {seconds(late.p99_s)}, the last after {seconds(late.longest_s)}"
        )
    if found.waiting:
        console.out.print(f"  {console.many(found.waiting, 'accepted message')} without a final word yet")


def _errors(found: Figures) -> None:
    if not found.errors:
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("messages", "status", "reason", "code", "the provider says"):
        table.add_column(name, justify="right" if name == "messages" else "left", overflow="fold")
    for one in found.errors:
        words = (one.status, one.reason or "", escape(one.error_code or ""), escape(one.example or ""))
        table.add_row(f"{one.count:,}", *words)
    console.out.print("[bold]why not[/]")
    console.out.print(table)


def _groups(title: str, groups: tuple[Group, ...], found: Figures) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    columns: Mapping[str, bool] = {
        "planned": found.cost_planned is not None,
        "cost so far": any(one.price for one in groups),
    }
    for name in (title, "messages", "accepted", "delivered", "", "not", "unknown", "segments"):
        table.add_column(name, justify="left" if name == title else "right")
    for name in (name for name, shown in columns.items() if shown):
        table.add_column(name, justify="right")
    for one in groups[:_SHOWN]:
        counts = (one.messages, one.accepted, one.delivered, None, one.bad, one.unknown, one.segments)
        cells = [share(one.delivered, one.accepted) if n is None else f"{n:,}" for n in counts]
        money = [(columns["planned"], str(one.planned)), (columns["cost so far"], amounts(one.price))]
        table.add_row(escape(one.name), *cells, *(text for shown, text in money if shown))
    console.out.print(table)
    if len(groups) > _SHOWN:
        console.out.print(f"  [dim]and {len(groups) - _SHOWN:,} more: --json has all of them[/]")


def _cost(found: Figures) -> None:
    differ = f", {found.segments_differ:,} messages otherwise" if found.segments_differ else ""
    told = f" (the provider told those of {found.segments_told:,}{differ})" if found.segments_told else ""
    console.out.print(
        f"[bold]segments[/] {found.segments_planned:,} planned, {found.segments_real:,} of accepted ones{told}"
    )
    planned = f"{found.cost_planned} {found.currency} planned" if found.cost_planned is not None else "no price table"
    real = f"{amounts(found.summary.price)} so far for {found.priced:,} messages" if found.priced else "no prices told"
    console.out.print(f"[bold]cost[/]     {planned}, {real}")
