"""`python -m benchmarks.workers`: messages a second, durable, by one process and by several, against the stub.

Measured from the first answer to the last, so that starting the processes does not count. The stub, the processes and
whatever else runs share the processors: where there are only two, two workers have less than two to themselves.
The processor time of a message is what `MANY` more messages take: starting the processes does not count there, either.
Waiting for the ledger is measured apart: two processes claim and record at the pace of two workers, in one ledger and
in one each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import stub
from benchmarks.figures import Figure
from benchmarks.sending import written_plan
from sender.core.outcomes import Accepted
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.sqlite.ledger import SqliteLedger

TICK_S = 0.1  # between two moments told
MANY, MOST = 10, 300_000  # times the messages of other parts: seconds of sending
PAIRS, ENOUGH = 3, 30_000  # pairs, where there are messages enough to tell one turn from another
BATCH, BATCHES = 500, 60
OTHER_WORK_S = BATCH * 75e-6  # of a batch: all that a worker does besides the ledger


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """`MANY * options.messages` messages, MOST at most: by one process and by two in turn."""
    messages = min(MANY * options.messages, MOST)
    with tempfile.TemporaryDirectory() as folder, stub.running(0) as (url, kind):
        few, many = Path(folder) / "few", Path(folder) / "many"
        written_plan(few, messages // MANY)
        written_plan(many, messages)
        turns = [
            {workers: _measure(few, many, url, workers) for workers in (1, 2)}
            for _ in range(PAIRS if messages >= ENOUGH else 1)
        ]
        note = f"{messages:,} messages against {kind}"
        one, two = (max(turn[workers][0] for turn in turns) for workers in (1, 2))
        yield Figure("workers", "durable, 2 workers", two, "/s", one, "one process of ours", note=note)
        one, two = (statistics.median(turn[workers][1] for turn in turns) for workers in (1, 2))
        ratios = sorted(turn[2][1] / turn[1][1] for turn in turns)
        note = f"{statistics.median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f}), wanted: at most 1.1"
        yield Figure("workers", "CPU a message, 2 workers", two, " us", one, "one process of ours", note=note)
        shared, apart = (_ledger_s(Path(folder), both_in_one=in_one) for in_one in (True, False))
        share = 100 * max(0.0, shared - apart) / (shared + BATCHES * OTHER_WORK_S)
        note = f"{1e6 * shared / BATCHES / BATCH:.1f} us a message in one ledger, {1e6 * apart / BATCHES / BATCH:.1f}"
        yield Figure("workers", "waiting for the ledger", share, " %", goal=10, note=f"{note} in one each")


def _measure(few: Path, many: Path, url: str, workers: int) -> tuple[float, float]:
    """Messages a second, and us of processor time a message."""
    _, some_s, some = speed(few, url, workers)
    per_s, all_s, messages = speed(many, url, workers)
    return per_s, (all_s - some_s) / (messages - some) * 1e6


def speed(folder: Path, url: str, workers: int) -> tuple[float, float, int]:
    """Messages a second between the first and the last moment told of a run, its processor time, its messages."""
    import sender

    plan = sender.Plan.open(folder / "plan")
    told: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory(dir=folder) as state:
        before = sum(os.times()[:4])
        result = sender.send(
            plan,
            state_dir=state,
            env={"SENDER_SANDBOX_URL": url},
            settle_unknowns=False,
            workers=workers,
            on_progress=lambda now: told.append((time.perf_counter(), now.done)),
        )
        used_s = sum(os.times()[:4]) - before
    assert result.summary.accepted == plan.manifest.messages, result.summary.totals_line()
    begun = next(moment for moment in told if moment[1])
    end = next(moment for moment in told if moment[1] == told[-1][1])
    return (end[1] - begun[1]) / max(end[0] - begun[0], TICK_S), used_s, plan.manifest.messages


def _ledger_s(folder: Path, *, both_in_one: bool) -> float:
    """Seconds that a process spends in calls to the ledger while another one makes as many."""
    files = [folder / f"ledger-{both_in_one}-{0 if both_in_one else number}" for number in range(2)]
    for file in {*files}:
        ledger = SqliteLedger.open(file)
        messages = 4 * BATCH * BATCHES
        ledger.create_run(Run("r", "speed", RunKind.SANDBOX, "signalwire", "x", None, messages, messages, 0, 0))
        ledger.close()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return max(pool.map(_work, files, chunksize=1))


def _work(file: Path) -> float:
    ledger, spent_s = SqliteLedger.open(file), 0.0
    for _ in range(BATCHES):
        begun = time.perf_counter()
        claims = ledger.claim("r", limit=BATCH, lease_ms=60_000)
        spent_s += time.perf_counter() - begun
        time.sleep(OTHER_WORK_S)
        begun = time.perf_counter()
        ledger.record("r", [Settlement(one, Accepted(f"SM{one.seq:032}")) for one in claims])
        spent_s += time.perf_counter() - begun
    ledger.close()
    return spent_s


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=3_000, help=f"a {MANY}th of the messages to send")
    for figure in figures(parser.parse_args()):
        print("  ".join(cell for cell in figure.cells() if cell))
