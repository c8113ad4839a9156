"""How things look: summaries, tables, progress and logs, for a terminal, a log file or a machine."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sender.plan import Manifest, Plan
from sender.results import Summary

_WIDTH_UNWATCHED = 160  # columns where there is no terminal to ask

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH_UNWATCHED)
err = Console(stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else _WIDTH_UNWATCHED)

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
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logs(*, debug: bool, log_format: str = "text", quiet: bool = False) -> None:
    """Log lines on standard error: text or JSON. `quiet` leaves out what the screen shows already."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    logger = logging.getLogger("sender")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO)
    logger.propagate = False


def duration(seconds: float | None) -> str:
    """`1 h 02 min`, `3 min 20 s`, `12 s`."""
    if seconds is None:
        return "as fast as it goes"
    whole = timedelta(seconds=round(max(seconds, 0)))
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {left:02} s" if minutes else f"{left} s"


def counted(counts: Mapping[str, int]) -> str:
    """`3 invalid_number, 2 duplicate`, most first."""
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda item: -item[1])) or "none"


def many(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def pace_line(manifest: Manifest) -> str:
    pace = manifest.pace
    if pace.per_s is None:
        return f"unlimited, up to {pace.concurrency} requests at once"
    own = "the sandbox's own" if manifest.provider == "sandbox" else "the documented limit"
    auto = f" (auto: {own})" if pace.rate == "auto" else ""
    unit = pace.unit.rstrip("s") if pace.per_s == 1 else pace.unit
    return f"{pace.per_s:g} {unit}/s{auto}, about {duration(manifest.expected_s)}"


def from_line(manifest: Manifest) -> str:
    if len(manifest.senders) > 1:
        return f"a pool of {len(manifest.senders)}: {', '.join(manifest.senders)}"
    return manifest.senders[0] if manifest.senders else manifest.service or "each row's own"


def plan_summary(plan: Plan, *, simulated: bool, where: str | None = None) -> None:
    """The plan in a few lines."""
    manifest = plan.manifest
    reach = (
        f"sandbox, speaking {manifest.dialect}: simulated, nothing leaves this machine"
        if simulated
        else manifest.provider
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    files = ", ".join(one.path for one in manifest.inputs if one.role == "recipients")
    blank = f", {many(manifest.blank_rows, 'blank row')} left out" if manifest.blank_rows else ""
    parts = "" if not manifest.messages else f"{many(manifest.segments, 'segment')}; {counted(manifest.encodings)}"
    mms = f"; {manifest.mms:,} MMS" if manifest.mms else ""
    table.add_row("rows", f"{manifest.rows:,}", escape(f"from {files}{blank}"))
    table.add_row("messages", f"{manifest.messages:,}", escape(parts + mms))
    table.add_row("skipped", f"{manifest.rows - manifest.messages:,}", escape(counted(manifest.skipped)))
    table.add_row("from", "", escape(from_line(manifest)))
    if manifest.test_to:
        table.add_row("test to", "", escape(f"{manifest.test_to}, not the recipients"))
    table.add_row("pace", "", escape(pace_line(manifest)))
    table.add_row("plan", "", escape(f"{manifest.plan_hash[:12]}{f' in {where}' if where else ''}"))
    out.print(f"[bold]{escape(manifest.campaign)}[/] [dim]through {escape(reach)}[/]")
    out.print(table)
    for note in manifest.notes:
        out.print(f"  [yellow]note:[/] {escape(note)}")
    for one in manifest.replacements:
        swap = f"replaced {one['character']!r} by {one['replacement']!r} in {many(one['messages'], 'message')}"
        out.print(f"  [dim]{escape(swap)}[/]")


def skipped_table(plan: Plan, *, most: int = 20) -> None:
    """The first skipped rows, each with its reason and a sentence."""
    skipped = plan.skipped.select("row_number", "reason", "detail")
    if skipped.is_empty():
        return
    table = Table(box=None, padding=(0, 2), title_justify="left", header_style="dim")
    for name, justify in (("row", "right"), ("skipped as", "left"), ("because", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for row, reason, detail in skipped.head(most).iter_rows():
        table.add_row(str(row), str(reason), escape(str(detail or "")))
    out.print(table)
    if skipped.height > most:
        out.print(f"  [dim]and {skipped.height - most:,} more: every one is in the plan and in the results file[/]")


def run_summary(summary: Summary) -> None:
    """The conservation law, and why messages were refused."""
    out.print(f"[bold]{escape(summary.law())}[/]")
    if summary.errors:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for name in ("messages", "reason", "code", "the provider says"):
            table.add_column(name, justify="right" if name == "messages" else "left")
        for error in summary.errors:
            table.add_row(
                f"{error.count:,}",
                error.reason or "",
                escape(error.error_code or ""),
                escape(error.example or ""),
            )
        out.print(table)


def about_unknowns(n: int, run_id: str, *, decidable_at: datetime | None = None, failure: str | None = None) -> None:
    """First of all: what nobody can say yet, what it means, and which command settles it."""
    if not n:
        return
    wait = f" after {decidable_at.astimezone():%Y-%m-%d %H:%M:%S %Z}" if decidable_at else ""
    them, they = ("it", "it is") if n == 1 else ("them", "they are")
    why = f" (the provider's log could not be read: {failure})" if failure else ""
    out.print(
        f"[bold yellow]{many(n, 'message')} unknown:[/] the provider may have accepted {them}, so {they} not sent"
        f" again{escape(why)}. `sender reconcile {run_id}`{wait} looks them up."
    )


def print_json(value: Any) -> None:
    """One JSON document on standard output, for machines."""
    out.file.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
