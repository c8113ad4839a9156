"""What commands print: summaries, tables and logs, for a terminal, a log file or a machine."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from sender.cli import terminal
from sender.cli.duration import format_duration
from sender.core.canary import Canary, CanaryState, CanaryTerms
from sender.core.durations import describe_duration
from sender.core.local_time import format_utc_and_local
from sender.core.outcomes import RANK
from sender.core.safe_text import show_controls, to_json
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.plan.planned_start import PlannedStart
from sender.planning import brakes
from sender.planning.scheduled_at import describe_send_at
from sender.planning.throughput import format_rate
from sender.reports.canary_lines import canary_lines
from sender.segments.advice import advise

if TYPE_CHECKING:  # every command imports this module, and few of them these
    from sender.delivery.poll import RefreshResult
    from sender.reports.summary import Summary

_MOST_BLAMED, _MOST_REGIONS, _MOST_SENDERS = 8, 6, 20  # shown in a summary; the manifest has all
_WIDTH_WITHOUT_TERMINAL = 160


class _SafeConsole(Console):
    """A console that shows control and bidirectional characters of texts, and carries out only rich's own."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(show_controls(text), **options)  # before rich measures it for a table

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=show_controls(segment.text))


def screen(*, stderr: bool = False) -> Console:
    """Return a console on standard output or standard error, as wide as its terminal.

    Without one it has the width of the variable COLUMNS, and 160 without that either.
    """
    stream = sys.stderr if stderr else sys.stdout
    return _SafeConsole(
        stderr=stderr,
        emoji=False,  # `:warning:` in a cell is text
        highlight=False,
        soft_wrap=True,
        width=None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL,
    )


def wrap_width() -> int | None:
    """Return where lines of standard output break; None where they stay whole: for a program, or in a file."""
    return out.width if sys.stdout.isatty() or "COLUMNS" in os.environ else None


out = screen()
err = screen(stderr=True)

_LOG_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in vars(record).items() if key not in _LOG_FIELDS}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": extra.pop("event", record.name),
            "message": record.getMessage(),
            **extra,
        }
        return to_json(line)


def set_up_logs(*, debug: bool, log_format: str = "text", quiet: bool = False) -> None:
    """Send log lines to standard error, as text or JSON. `quiet` leaves out what the progress bar shows."""
    handler = terminal.log_handler(_JsonFormatter() if log_format == "json" else terminal.TextFormatter())
    logger = logging.getLogger("sender")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO)
    logger.propagate = False


def counted(counts: Mapping[str, int]) -> str:
    """Return `3 invalid_number, 2 duplicate`, largest first."""
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda item: -item[1])) or "none"


def many(n: int, noun: str, plural: str | None = None) -> str:
    """Return `1 row`, `2 rows`; `plural` is for a noun that does not end in -s."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {plural or noun + 's'}"


def rate_line(manifest: Manifest) -> str:
    """Return `4 segments/s, about 3 min 20 s`, and what limits the rate."""
    pace = manifest.pace
    per_s, bound = manifest.per_s, manifest.feasibility.get("bound_by")
    if per_s is None:
        return "unlimited" + (f", up to {pace.concurrency} requests at once" if pace.concurrency else "")
    if bound is not None:
        limit = f"{bound} sends {pace.senders[bound] / per_s:.0%} of it at {format_rate(pace.senders[bound])}"
        return f"{format_rate(per_s, pace.unit)}, about {format_duration(manifest.expected_s)}: {limit}"
    own = "the sandbox's own" if manifest.provider == "sandbox" else "the documented limit"
    auto = f" (auto: {own})" if pace.rate == "auto" else ""
    unit = pace.unit.rstrip("s") if per_s == 1 else pace.unit
    return f"{per_s:g} {unit}/s{auto}, about {format_duration(manifest.expected_s)}"


def senders_line(manifest: Manifest) -> str:
    """Return the sender, the pool of senders, or the template that names one in each row."""
    if len(manifest.senders) > 1:
        more = f" and {len(manifest.senders) - _MOST_SENDERS} more" if len(manifest.senders) > _MOST_SENDERS else ""
        match = (manifest.pool or {}).get("match")
        near = f", by {match.replace('_', ' ')}" if match else ""
        return f"a pool of {len(manifest.senders)}{near}: {', '.join(manifest.senders[:_MOST_SENDERS])}{more}"
    if "from" in manifest.templates:
        return f"{manifest.templates['from']}, in each row"
    return manifest.senders[0] if manifest.senders else manifest.service or "each row's own"


def plan_summary(
    plan: Plan, *, simulated: bool, where: str | None = None, stops: Sequence[brakes.Stop] | None = None
) -> None:
    """Print the plan in a few lines. `stops` are the limits that a start would pass; None: those of the plan alone."""
    manifest = plan.manifest
    channel = (
        f"sandbox, speaking {manifest.dialect}: simulated, nothing leaves this machine"
        if simulated
        else manifest.provider
    )
    out.print(f"[bold]{escape(manifest.campaign)}[/] [dim]through {escape(channel)}[/]")
    out.print(_plan_table(manifest, where))
    if manifest.window:
        _print_times(plan)
    for note in (*manifest.notes, *manifest.feasibility.get("warnings", ())):
        out.print(f"  [yellow]note:[/] {escape(note)}")
    for entry in manifest.lint:
        out.print(f"  [yellow]text:[/] {escape(entry['warning'])} [dim](lint: {entry['rule']})[/]")
    for repair in manifest.numbers.get("repairs", ()):
        example = f"row {repair['row_number']}, `{repair['cell']}` to {repair['to']}"
        line = f"{many(repair['rows'], 'number')} repaired: {repair['repair']}, as in {example}"
        out.print(f"  [yellow]repair:[/] {escape(line)}")
    for swap in manifest.replacements:
        line = f"replaced {swap['character']!r} with {swap['replacement']!r} in {many(swap['messages'], 'message')}"
        out.print(f"  [dim]{escape(line)}[/]")
    for line in advise(manifest.blame, _MOST_BLAMED):
        out.print(f"  [dim]{escape(line)}[/]")
    for stop in brakes.find_stops(brakes.Start(manifest)) if stops is None else stops:
        out.print(f"  [bold red]would {'ask first' if stop.asks else 'not be sent'}:[/] {escape(stop.found)}")
        out.print(f"    [dim]{escape(stop.fix)}[/]")


def _print_times(plan: Plan) -> None:
    """Print when the messages would leave, if the plan were started now."""
    from sender.cli.window_lines import describe_forecast
    from sender.planning.forecast import foresee

    forecast = foresee(plan)
    for line in () if forecast is None else describe_forecast(forecast):
        out.print(f"      {escape(line)}" if line.startswith(" ") else f"  [bold]when:[/] {escape(line)}")


def _plan_table(manifest: Manifest, where: str | None) -> Table:
    """Return the totals, a line each; `where` is the folder of a written plan."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    files = ", ".join(file.path for file in manifest.inputs if file.role == "recipients")
    blank = f", {many(manifest.blank_rows, 'blank row')} left out" if manifest.blank_rows else ""
    parts = "" if not manifest.messages else f"{many(manifest.segments, 'segment')}; {counted(manifest.encodings)}"
    mms = f"; {manifest.mms:,} MMS" if manifest.mms else ""
    table.add_row("rows", f"{manifest.rows:,}", escape(f"from {files}{blank}"))
    table.add_row("messages", f"{manifest.messages:,}", escape(parts + mms))
    if manifest.messages:
        table.add_row("segments", f"{manifest.segments:,}", escape(_distribution(manifest)))
    if manifest.cost is not None:
        table.add_row("cost", manifest.cost["total"], escape(_cost_line(manifest.cost)))
    table.add_row("skipped", f"{manifest.rows - manifest.messages:,}", escape(counted(manifest.skipped)))
    table.add_row("from", "", escape(senders_line(manifest)))
    if manifest.test_to:
        table.add_row("test to", "", escape(f"{manifest.test_to}, not the recipients"))
    table.add_row("rate", "", escape(rate_line(manifest)))
    if (terms := manifest.canary_terms) is not None:
        table.add_row("canary", f"{min(terms.first, manifest.messages):,}", escape(_canary_line(terms, manifest)))
    if (start := PlannedStart.from_manifest(manifest.start)) is not None:
        table.add_row("start", "", escape(f"{start}, at most {describe_duration(start.late_s)} late"))
    if (send_at := describe_send_at(manifest)) is not None:
        table.add_row("send at", "", escape(f"{send_at}, held by the provider until then"))
    table.add_row("plan", "", escape(f"{manifest.plan_hash[:12]}{f' in {where}' if where else ''}"))
    return table


def _canary_line(terms: CanaryTerms, manifest: Manifest) -> str:
    """Return `first, then up to 15 min for receipts; stops above 10 % failed, 5 % opted out`."""
    if terms.first >= manifest.messages:
        return "all of them: there are no others to hold back"
    limits = ", ".join(f"{100 * limit:g} % {name.value.replace('_', ' ')}" for name, limit in terms.stop_if.items())
    stops = f"; stops above {limits}" if limits else ""
    return f"first, then up to {format_duration(terms.wait_s)} for their receipts{stops}"


def _distribution(manifest: Manifest) -> str:
    """Return how many messages have how many segments: `37 messages of 1, 2 of 2`."""
    parts = [f"{count:,} of {size}" for size, count in manifest.segment_counts.items()]
    first, *rest = parts
    count = next(iter(manifest.segment_counts.values()))
    return ", ".join([first.replace(" of", " message of" if count == 1 else " messages of", 1), *rest])


def _cost_line(cost: Mapping[str, Any]) -> str:
    """Return `USD by prices.yaml: US 0.52, GB 0.05; 2 messages have no price (FR 2); at most 10.00`."""
    shares = list(cost["by_region"].items())
    shown = ", ".join(f"{region} {part['cost']}" for region, part in shares[:_MOST_REGIONS])
    more = f" and {len(shares) - _MOST_REGIONS} more" if len(shares) > _MOST_REGIONS else ""
    line = f"{cost['currency']} by {cost['table']}" + (f": {shown}{more}" if shown else "")
    if cost["unpriced"]:
        missing = sum(cost["unpriced"].values())
        where = ", ".join(f"{region} {count:,}" for region, count in list(cost["unpriced"].items())[:_MOST_REGIONS])
        line += f"; {many(missing, 'message')} without a price ({where}), not in the total"
    return line + (f"; at most {cost['max_cost']}" if cost["max_cost"] is not None else "")


def run_summary(summary: Summary) -> None:
    """Print the totals, and why messages were rejected or failed."""
    out.print(f"[bold]{escape(summary.totals_line())}[/]")
    if summary.errors:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for name in ("messages", "reason", "code", "the provider says"):
            table.add_column(name, justify="right" if name == "messages" else "left", overflow="fold")
        for error in summary.errors:
            table.add_row(
                f"{error.count:,}",
                error.reason or "",
                escape(error.error_code or ""),
                escape(error.example or ""),
            )
        out.print(table)


def about_canary(canary: Canary | None) -> None:
    """Print where the run's canary is, and its evidence."""
    if canary is None:
        return
    first, *rest = canary_lines(canary)
    out.print(f"[{'bold red' if canary.state is CanaryState.STOPPED else 'bold'}]{escape(first)}[/]")
    for line in rest:
        out.print(f"  {escape(line)}")


def about_unknowns(
    n: int, run_id: str, *, decidable_at: datetime | None = None, failure: str | None = None, contested: int = 0
) -> None:
    """Print what is unknown, what that means, and which command settles it."""
    if not n:
        return
    wait = f" after {format_utc_and_local(decidable_at)}" if decidable_at else ""
    them, they = ("it", "it is") if n == 1 else ("them", "they are")
    why = f" (the provider's log could not be read: {failure})" if failure else ""
    if contested:
        why += f" ({contested:,} of them may be entries of its log that cannot be attributed)"
    out.print(
        f"[bold yellow]{many(n, 'message')} unknown:[/] the provider may have accepted {them}, so {they} not sent"
        f" again{escape(why)}. `sender reconcile {run_id}`{wait} looks {them} up in its log; what the log"
        " cannot settle is sent again only on request: `sender send ... --resend-unknown`."
    )


def about_delivery(refreshed: RefreshResult | None, summary: Summary, run_id: str) -> None:
    """Print the delivery statuses after a wait for them, what is still open, and how to go on."""
    if refreshed is None:
        return
    delivery = {status: count for status, count in summary.statuses.items() if status in RANK}
    if delivery:
        out.print(f"delivery: {counted(delivery)}")
    if not refreshed.delivering:
        return
    why = f" (the provider's log could not be read: {refreshed.failure})" if refreshed.failure else ""
    out.print(
        f"{many(refreshed.delivering, 'message')} accepted, delivery not confirmed yet{escape(why)}:"
        f" `sender status {run_id} --refresh` asks again"
    )


def about_refresh(refreshed: RefreshResult) -> None:
    """Print what the provider's log has changed."""
    unconfirmed = f", {refreshed.unconfirmed:,} marked as unconfirmed" if refreshed.unconfirmed else ""
    out.print(
        f"read the provider's log: {many(refreshed.updated, 'message')} updated{unconfirmed},"
        f" {refreshed.delivering:,} not confirmed yet"
    )
    if refreshed.failure:
        out.print(f"  the log could not be read to its end: {escape(refreshed.failure)}")


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    terminal.write_json(value, indent=2)
