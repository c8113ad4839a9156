"""The pace as the receiving side sees it: a real run at a rate, and the times at which its messages arrive."""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import stub
from benchmarks.figures import Figure
from benchmarks.sending import run, written_plan

GOAL_PERCENT = 97


def figures(rate: float, seconds: float) -> Iterator[Figure]:
    """A run of `seconds` at `rate` messages a second."""
    messages = max(2, round(rate * seconds) + 1)
    with tempfile.TemporaryDirectory() as folder:
        written_plan(Path(folder), messages, f"{rate:g}/s")
        with stub.receiving(Path(folder) / "arrivals") as (url, arrivals):
            run("ours", url, messages, 0, folder)
            times = arrivals()
    assert len(times) == messages, f"{len(times)} of {messages} arrived"
    what = f"pace {rate:,g}/s:"
    most, percent = busiest_second(times), 100 * (messages - 1) / (times[-1] - times[0]) / rate
    yield Figure("send", f"{what} most in any second", most, "", goal=rate, note=f"{messages:,} messages, as received")
    yield Figure("send", f"{what} on average", percent, "%", goal=GOAL_PERCENT)


def busiest_second(times: Sequence[float]) -> int:
    """The most arrivals in any sliding second; `times` in seconds, rising."""
    return max(bisect_left(times, start + 1) - at for at, start in enumerate(times))
