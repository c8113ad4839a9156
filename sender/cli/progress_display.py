"""How a run's progress is shown: a bar on a terminal, else a line of the log every few seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar

from sender.cli import console
from sender.cli.duration import format_duration
from sender.state.heartbeat import Progress

log = logging.getLogger("sender.cli")

LINE_EVERY_S = 5.0

ShowProgress = Callable[[Progress], None]


@contextmanager
def progress_bar() -> Iterator[ShowProgress]:
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
            bar.update(task, total=progress.total, completed=progress.done, note=_note(progress))

        yield show


@contextmanager
def progress_lines() -> Iterator[ShowProgress]:
    """A line of the log every few seconds, where there is no terminal."""
    last_s = 0.0

    def show(progress: Progress) -> None:
        nonlocal last_s
        if progress.elapsed_s - last_s < LINE_EVERY_S:
            return
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

    yield show


def _note(progress: Progress) -> str:
    parts = [f"{progress.rate_per_s:.1f}/s"] if progress.rate_per_s else []
    if progress.eta_s is not None and progress.done < progress.total:
        parts.append(f"{format_duration(progress.eta_s)} left")
    counts = (("rejected", progress.rejected), ("unknown", progress.unknown))
    parts += [f"{count:,} {name}" for name, count in counts if count]
    if progress.slowed_to_per_s is not None:
        parts.append(f"slowed to {progress.slowed_to_per_s:.3g}/s by the provider")
    if progress.paused_s > 0.5:
        parts.append(f"provider asks to wait {format_duration(progress.paused_s)}")
    return ", ".join(parts)
