"""`sender status --watch`: a run while it is sent, as a screen, as lines, or as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sender.cli import console, terminal
from sender.cli.status_lines import open_part, progress_line, retry_lines, status_to_dict
from sender.reports.canary_lines import canary_lines
from sender.reports.labels import share
from sender.reports.status import RunStatus, StatusMonitor

_EVERY_S = 1.0
_LINE_EVERY_S = 5.0  # between lines where there is no terminal
_LARGEST_LOAD = 0.2  # share of the time spent looking: the database may be far away


def watch_run(monitor: StatusMonitor, *, as_json: bool, until: str) -> None:
    """Follow the run until every message is submitted (`until` submitted) or final (final), or until Ctrl-C."""
    try:
        if as_json:
            for now in _looks(monitor, until, _EVERY_S):
                terminal.write_json(status_to_dict(now))
        elif console.out.is_terminal:
            with Live(console=console.out, auto_refresh=False) as live:
                for now in _looks(monitor, until, _EVERY_S):
                    live.update(_screen(now), refresh=True)
        else:
            for now in _looks(monitor, until, _LINE_EVERY_S):
                console.out.print(escape(_log_line(now)))
    except KeyboardInterrupt:
        return


def _looks(monitor: StatusMonitor, until: str, every_s: float) -> Iterator[RunStatus]:
    while True:
        begun_s = time.monotonic()
        now = monitor.read()
        yield now
        if now.complete and (until == "submitted" or not now.waiting):
            return
        took_s = time.monotonic() - begun_s
        time.sleep(max(every_s - took_s, took_s * (1 / _LARGEST_LOAD - 1)))


def _log_line(now: RunStatus) -> str:
    moment = f"{datetime.now(UTC).astimezone():%H:%M:%S}"
    unknown = f"{now.counts.unknown:,} unknown, " if now.counts.unknown else ""
    submitted = f"{unknown}{now.submitted:,}/{now.run.messages:,} submitted, {now.summary.totals_line()}"
    return ", ".join(part for part in (f"{moment} {submitted}", progress_line(now)) if part)


def _screen(now: RunStatus) -> RenderableType:
    """Lay the run out for a terminal: unknowns first, then a bar, the funnel, the totals."""
    run, summary = now.run, now.summary
    parts: list[RenderableType] = []
    if now.counts.unknown:
        messages, them = console.many(now.counts.unknown, "message"), "it" if now.counts.unknown == 1 else "them"
        parts.append(Text(f"{messages} unknown: `sender reconcile {run.run_id}` looks {them} up", "bold yellow"))
    title = Text.assemble((run.campaign, "bold"), f" run {run.run_id}, {run.kind.value}, through {run.provider}")
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(run.messages, 1), completed=now.submitted, width=40),
        f"{now.submitted:,}/{run.messages:,} {share(now.submitted, run.messages)}",
        progress_line(now),
    )
    funnel = Table.grid(padding=(0, 2))
    funnel.add_column(min_width=16)
    funnel.add_column(justify="right")
    funnel.add_column(justify="right", style="dim")
    for stage in now.funnel:
        part = open_part(stage).strip() or share(stage.count, summary.rows)
        funnel.add_row(stage.name, f"{stage.count:,}", part)
    parts += [title, bar, funnel, Text(summary.totals_line(), "bold")]
    parts += [
        Text(f"  {error.count:,} {error.status}: {error.reason or ''} {error.example or ''}", "dim")
        for error in summary.errors[:5]
    ]
    parts += [Text(line, "dim") for line in retry_lines(now)]
    parts += [Text(line, "dim") for line in (canary_lines(run.canary) if run.canary is not None else ())]
    return Group(*parts)
