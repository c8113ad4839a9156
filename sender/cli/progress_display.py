"""How a run's progress is shown: a bar on a terminal, else a line of the log every few seconds."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar

from sender.cli import console
from sender.cli.duration import format_duration
from sender.delivery.settle import OnWait, SettleWait
from sender.state.heartbeat import Progress

log = logging.getLogger("sender.cli")

LINE_EVERY_S = 5.0
HELD_LINE_EVERY_S = 600.0  # while every message waits for its window

WAIT_LINE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Display:
    """Shows where a run is: `show` while it sends, `wait` while it waits for the provider's log to decide."""

    show: Callable[[Progress], None]
    wait: OnWait


@contextmanager
def progress_bar() -> Iterator[Display]:
    """A bar on standard error, for a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with ProgressBar(*columns, console=console.err) as bar:
        task = bar.add_task("sending", total=None, note="")

        def show(progress: Progress) -> None:
            bar.update(task, description="sending", total=progress.total, completed=progress.done, note=_note(progress))

        def wait(waiting: SettleWait) -> None:
            bar.update(task, description="settling", note=_wait_note(waiting))

        yield Display(show, wait)


@contextmanager
def countdown() -> Iterator[OnWait]:
    """The wait for the provider's log alone: counted down on a terminal, else a line of the log every minute."""
    if not console.err.is_terminal:
        yield _wait_lines()
        return
    with console.err.status("") as status:
        yield lambda waiting: status.update(_wait_note(waiting))


def _wait_lines() -> OnWait:
    """Log a line every minute."""
    next_s = math.inf

    def wait(waiting: SettleWait) -> None:
        nonlocal next_s
        if waiting.left_s <= next_s:
            next_s = waiting.left_s - WAIT_LINE_EVERY_S
            values = {"unknown": waiting.unknown, "left_s": round(waiting.left_s)}
            log.info(_wait_note(waiting), extra={"event": "settle_wait", **values})
        elif waiting.left_s > next_s + WAIT_LINE_EVERY_S:  # another wait has begun
            next_s = math.inf

    return wait


@contextmanager
def progress_lines() -> Iterator[Display]:
    """A line of the log every few seconds, where there is no terminal."""
    last_s = 0.0
    held_until_ms: int | None = None

    def show(progress: Progress) -> None:
        nonlocal last_s, held_until_ms
        is_waiting = progress.held_until_ms is not None or progress.waiting_s is not None
        every_s = HELD_LINE_EVERY_S if is_waiting else LINE_EVERY_S
        is_same = progress.held_until_ms == held_until_ms
        if 0 <= progress.elapsed_s - last_s < every_s and is_same:  # it begins anew with each part of a run
            return
        held_until_ms = progress.held_until_ms
        last_s = progress.elapsed_s
        log.info(
            "%d/%d %s",
            progress.done,
            progress.total,
            _note(progress),
            extra={
                "event": "progress",
                **{key: value for key, value in asdict(progress).items() if value is not None},
            },
        )

    yield Display(show, _wait_lines())


def _wait_note(waiting: SettleWait) -> str:
    left = format_duration(math.ceil(waiting.left_s))
    return f"{waiting.unknown:,} unknown, to be looked up in {left}; Ctrl-C leaves"


def _note(progress: Progress) -> str:
    if progress.waiting_s is not None:
        left = format_duration(math.ceil(progress.waiting_s))
        return f"{progress.awaited:,} receipts of the canary to come, {left} left at most"
    parts = [f"{progress.rate_per_s:.1f}/s"] if progress.rate_per_s else []
    if progress.eta_s is not None and progress.done < progress.total and progress.held_until_ms is None:
        parts.append(f"{format_duration(progress.eta_s)} left")
    counts = (("rejected", progress.rejected), ("unknown", progress.unknown))
    parts += [f"{count:,} {name}" for name, count in counts if count]
    if progress.held_until_ms is not None:
        opens = datetime.fromtimestamp(progress.held_until_ms / 1000, UTC).astimezone()
        parts.append(f"held until {opens:%a %H:%M %Z}")
    if progress.slowed_to_per_s is not None:
        parts.append(f"slowed to {progress.slowed_to_per_s:.3g}/s by the provider")
    if progress.paused_s > 0.5:
        parts.append(f"provider asks to wait {format_duration(progress.paused_s)}")
    return ", ".join(parts)
