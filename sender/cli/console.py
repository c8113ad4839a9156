"""The consoles and the logs of every command, and how they write counts. Knows no plan and no run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from sender.cli import terminal
from sender.core.safe_text import show_controls, to_json

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


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    terminal.write_json(value, indent=2)
