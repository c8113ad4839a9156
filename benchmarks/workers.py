"""`python -m benchmarks.workers`: messages a second, durable, by one process and by several, against the stub.

Measured from the first answer to the last, so that starting the processes does not count. The stub, the processes and
whatever else runs share the processors: where there are only two, two workers have less than two to themselves.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import stub
from benchmarks.figures import Figure
from benchmarks.sending import written_plan

TICK_S = 0.1  # between two moments told
MANY, MOST = 10, 300_000  # times the messages of other parts: seconds of sending


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """`MANY * options.messages` messages, MOST at most: by one process, then by two, each the better of two turns."""
    messages = min(MANY * options.messages, MOST)
    with tempfile.TemporaryDirectory() as folder:
        written_plan(Path(folder), messages)
        with stub.running(0) as (url, kind):
            one = two = 0.0
            for _ in range(2):
                one = max(one, speed(Path(folder), url, 1))
                two = max(two, speed(Path(folder), url, 2))
    note = f"{messages:,} messages against {kind}"
    yield Figure("workers", "durable, 2 workers", two, "/s", one, "one process of ours", note=note)


def speed(folder: Path, url: str, workers: int) -> float:
    """Messages a second between the first and the last moment told of a run of its own."""
    import sender

    plan = sender.Plan.open(folder / "plan")
    told: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory(dir=folder) as state:
        result = sender.send(
            plan,
            state_dir=state,
            env={"SENDER_SANDBOX_URL": url},
            settle_unknowns=False,
            workers=workers,
            on_progress=lambda now: told.append((time.perf_counter(), now.done)),
        )
    assert result.summary.accepted == plan.manifest.messages, result.summary.totals_line()
    begun = next(moment for moment in told if moment[1])
    end = next(moment for moment in told if moment[1] == told[-1][1])
    return (end[1] - begun[1]) / max(end[0] - begun[0], TICK_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=3_000, help=f"a {MANY}th of the messages to send")
    for figure in figures(parser.parse_args()):
        print("  ".join(cell for cell in figure.cells() if cell))
