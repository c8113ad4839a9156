"""The one way to a terminal for everything but rich's tables: what others wrote is shown there, never carried out.

Nothing else in `sender.cli` writes to standard output or standard error but `console`, whose consoles do the same.
"""

from __future__ import annotations

import io
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

import click

from sender.core.safe_text import show_controls, to_json


def write_line(text: str, *, err: bool = False) -> None:
    """Print a line, or several."""
    click.echo(show_controls(text), err=err)


def write_over(text: str) -> None:
    """Write `text` over the line that the cursor is on, on standard error; an empty one clears it."""
    click.echo(f"\r\x1b[K{show_controls(text)}", nl=False, err=True)


def write_json(value: Any, *, indent: int | None = None, err: bool = False) -> None:
    """Print one JSON document: on one line, or indented."""
    click.echo(to_json(value, indent=indent), err=err)


def write_data(table: bytes) -> None:
    """Put a table as `sender.core.safe_tables` guards it on standard output, byte for byte."""
    sys.stdout.buffer.write(table)


def write_usage_error(error: click.ClickException) -> None:
    """Print click's own sentence about an option or an argument."""
    text = io.StringIO()
    error.show(file=text)
    write_line(text.getvalue().rstrip("\n"), err=True)


def write_traceback(error: BaseException) -> None:
    """Print the traceback with the exception's message and notes."""
    write_line("".join(traceback.format_exception(error)).rstrip("\n"), err=True)


def ask(question: str) -> None:
    """Ask a question on standard error, apart from a command's output. Raises click.Abort for anything but yes."""
    _leave_interrupts_to_python()
    click.confirm(show_controls(question), abort=True, err=True)


def _leave_interrupts_to_python() -> None:
    if threading.current_thread() is threading.main_thread():
        # polars' own handler would swallow Ctrl-C at a question until Enter is pressed.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if hasattr(signal, "siginterrupt"):
            signal.siginterrupt(signal.SIGINT, True)


def choose(question: str, answers: Sequence[str]) -> str:
    """Ask a question, and return which of `answers` was given. Raises click.Abort where there is none."""
    _leave_interrupts_to_python()
    answer: str = click.prompt(show_controls(question), type=click.Choice(answers), err=True)
    return answer


class TextFormatter(logging.Formatter):
    """Log lines for people: no text in one begins a line of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def format(self, record: logging.LogRecord) -> str:
        return show_controls(super().format(record)).replace("\n", "\n    ")


def log_handler(formatter: logging.Formatter) -> logging.Handler:
    """A handler on standard error. Other libraries' warnings, which nobody handles, get the same guard."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(TextFormatter())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    return handler
