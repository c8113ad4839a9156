"""Processes that share limits and send one run together: the limit is one, and whoever dies holds up nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import InputError, ProviderRefused, RunLocked, WorkersLost
from sender.core.outcomes import SubmissionState
from sender.plan.pace import Pace, Queue
from sender.plan.sender_pool import SenderPool
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from sender.sending import shared_rate_limit
from sender.sending.concurrency import Concurrency
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.sending.workers import supervisor
from sender.sending.workers.protocol import WorkerConfig
from sender.sending.workers.worker import WorkerReporter
from sender.state.ledger import Counts, RunKind
from sender.state.state_dir import StateDir

ROOT = Path(__file__).parents[2]
BAD, GOOD, OTHER = "+12025550190", "+12025550161", "+12025550162"  # the sandbox refuses the first as a sender
PACE = Pace("60/s", 60.0, "messages", concurrency=None, retries=2, timeout_s=5, senders={GOOD: 30.0})


# ── The shared pace ─────────────────────────────────────────────────────────────────────────────────────────────────

SHARES = """
import asyncio, sys
from pathlib import Path
from sender.sending import rate_limit, shared_rate_limit, throttle
from tests.sending.test_workers import PACE

last = 0.0
real_now = rate_limit._now
def noted_now():
    global last
    last = real_now()
    return last
rate_limit._now = noted_now  # the moment that counts: the one at which leave was given, lock in hand

async def main():
    with shared_rate_limit.join_slots(Path(sys.argv[1]), PACE, 3) as shared:
        pacer, times = throttle.make_rate_limiter(PACE, shared), []
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(60):
            while not await pacer.acquire(sender="+12025550161" if n % 3 == 0 else None):
                await pacer.wait_until_resumed()
            times.append(last)
        print(*times, flush=True)

asyncio.run(main())
"""


def child(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def most_in_a_second(times: list[float]) -> int:
    most = start = 0
    for end, time_ in enumerate(times):
        while time_ - times[start] >= 1 - 1e-6:
            start += 1
        most = max(most, end - start + 1)
    return most


def test_three_processes_keep_one_limit_together(tmp_path: Path) -> None:
    with shared_rate_limit.create_slots(tmp_path / "locks" / "pace", PACE, 3):
        processes = [child(SHARES, str(tmp_path / "locks" / "pace")) for _ in range(3)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        each = [[float(one) for one in process.communicate(timeout=60)[0].split()] for process in processes]
    assert [len(times) for times in each] == [60, 60, 60]
    times = sorted(time_ for times in each for time_ in times)
    assert most_in_a_second(times) <= 60
    assert times[-1] - times[0] >= 179 / 60, "three limits would be three times as fast"
    assert 179 / (times[-1] - times[0]) >= 30, "and nobody waits for nothing, on a busy machine either"
    of_one = sorted(time_ for times in each for time_ in times[::3])
    assert most_in_a_second(of_one) <= 30, "the limit of a number is one, too"


HOLDS = """
import sys, time
from pathlib import Path
from sender.sending import shared_rate_limit
from tests.sending.test_workers import PACE
with shared_rate_limit.join_slots(Path(sys.argv[1]), PACE, 2) as shared, shared.lock:
    shared.slots[0] = 1.0
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_killed_with_the_lock_in_hand_holds_up_nobody(tmp_path: Path) -> None:
    with shared_rate_limit.create_slots(tmp_path / "pace", PACE, 2) as shared:
        process = child(HOLDS, str(tmp_path / "pace"))
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
        process.communicate()
        with shared.lock:
            assert shared.slots[0] == 1.0, "what it wrote is seen here"


def test_a_shared_pace_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "pace").mkdir()
    with (
        pytest.raises(sender.SenderError, match="the file that workers share cannot be written"),
        shared_rate_limit.create_slots(tmp_path / "pace", PACE, 2),
    ):
        pass


@pytest.mark.parametrize("queue", [None, Queue(10_000, 10.0)])
def test_orders_come_as_they_were_given(queue: Queue | None) -> None:
    pace = Pace("auto", 5.0, "segments", concurrency=7, retries=1, timeout_s=9.5, senders={GOOD: 1.0}, queue=queue)
    options = SendOptions(state_dir="state", env={"TOKEN": "s3cret"}, limit=5)
    given = WorkerConfig(options, "r", 1, 3, pace, None, "slots", 20)
    assert WorkerConfig.from_json(given.to_json()) == given
    assert "s3cret" not in repr(given)
    shares = [replace(given, number=number).own_pace.concurrency for number in range(3)]
    assert shares == [3, 2, 2], "together as many as were allowed"
    assert given.own_pace.per_s == pytest.approx(5 / 3)


# ── Whole runs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def plan(n: int = 60, **keys: Any) -> sender.Plan:
    people = pl.DataFrame({"phone": [f"+1{212 + i // 90}55501{i % 90:02}" for i in range(n)]})
    given = {"provider": "sandbox", "from_": "+12025550150", "message": "Hi", "rate": "none", "name": "offer"}
    return sender.build_plan(sender.load_campaign(recipients=people, **{**given, **keys}))


@pytest.mark.parametrize(
    ("workers", "told"),
    [(0, "by 0 workers"), (-2, "by -2 workers"), (100_000, "100000 workers are more than this machine can use")],
)
def test_a_number_of_workers_that_makes_no_sense_is_refused(workers: int, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told) as refused:
        sender.send(plan(3), state_dir=tmp_path, workers=workers)
    assert refused.value.fix


def test_a_number_that_is_refused_is_out_for_all_workers(tmp_path: Path) -> None:
    """And each number has one limit for all workers together, whoever looks ahead at its messages."""
    senders = [{"number": number, "rate": "60/s"} for number in (BAD, GOOD, OTHER)]
    made = plan(160, provider="sandbox", from_=senders, rate="auto", sandbox={"dialect": "twilio"})
    pool = SenderPool(dict.fromkeys((BAD, GOOD, OTHER), 1.0))
    seen: list[sender.Progress] = []
    with embedded(Options(state_file=tmp_path / "sandbox.sqlite3")) as url:
        env = {"SENDER_SANDBOX_URL": url}
        result = sender.send(made, state_dir=tmp_path / "state", env=env, workers=2, on_progress=seen.append)
    assert list(result.taken_out) == [BAD]
    frame = result.results()
    assert frame["to"].n_unique() == frame.height == 160
    expected = [next(one for one in pool.order(to) if one != BAD) for to in frame["to"]]
    assert frame["from"].to_list() == expected, "whichever worker sent it"
    assert result.summary.accepted == 160
    assert seen[-1].done == 160


def test_what_one_worker_is_told_by_another_counts_before_it_meets_it(tmp_path: Path) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    parent: Any = SimpleNamespace(
        disabled_senders=[(BAD, "unregistered")], send=lambda message, **values: said.append((message, values))
    )
    pool = plan(3, from_=[BAD, GOOD]).manifest.sender_pool()
    assert pool is not None
    WorkerReporter(parent, pool, Concurrency(4, None)).progressed(SimpleNamespace(in_flight=0))  # type: ignore[arg-type]
    assert pool.disabled == {BAD: "unregistered"}
    assert [message for message, _ in said] == ["counts"], "and is not told again"


def test_a_number_that_a_worker_takes_out_is_told_once() -> None:
    said: list[tuple[str, str | None]] = []
    parent: Any = SimpleNamespace(
        disabled_senders=[], send=lambda message, **values: said.append((message, values.get("number")))
    )
    pool = plan(3, from_=[BAD, GOOD]).manifest.sender_pool()
    assert pool is not None
    reporter, moment = WorkerReporter(parent, pool, Concurrency(4, None)), SimpleNamespace(in_flight=0)
    reporter.progressed(moment)  # type: ignore[arg-type]
    pool.disable(BAD, "unregistered")
    for _ in range(3):
        reporter.progressed(moment)  # type: ignore[arg-type]
    assert [number for message, number in said if message == "disable_sender"] == [BAD]


def test_what_a_worker_reports_is_what_its_dispatcher_counted(tmp_path: Path) -> None:
    """Each report has what happened since the last one; the supervisor's meter adds them up to the same progress."""
    said: list[dict[str, Any]] = []
    parent: Any = SimpleNamespace(disabled_senders=[], send=lambda message, **values: said.append(values))
    reporter = WorkerReporter(parent, None, Concurrency(4, None))
    moment: Any = SimpleNamespace(in_flight=2)
    for units in (1, 3, 3):
        reporter.message_sent(units, GOOD)
    reporter.message_returned(GOOD)
    reporter.outcomes_recorded(Counter({SubmissionState.ACCEPTED: 2}))
    reporter.progressed(moment)
    reporter.progressed(moment)
    assert (said[0]["sent"], said[0]["returned"], said[0]["outcomes"]) == (
        [(1, GOOD, 1), (3, GOOD, 2)],
        [GOOD],
        {"accepted": 2},
    )
    assert (said[1]["sent"], said[1]["returned"], said[1]["outcomes"]) == ([], [], {})


def test_a_refusal_that_stops_one_worker_stops_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = sender.send(plan(60, from_=BAD, sandbox={"dialect": "twilio"}), state_dir=tmp_path, workers=2)
    assert isinstance(result.stopped, ProviderRefused)
    assert result.stopped.fix is not None
    assert "died" not in caplog.text
    assert {vars(record).get("worker") for record in caplog.records if "stopping" in record.message} <= {0, 1}
    assert (result.exit_code, result.summary.pending, result.summary.unknown) == (3, 60, 0)


def test_workers_that_cannot_start_stop_the_run_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "COMMAND", (sys.executable, "-c", "raise SystemExit(7)"))
    result = sender.send(plan(3), state_dir=tmp_path, workers=2)
    assert isinstance(result.stopped, WorkersLost)
    assert "with exit code 7" in str(result.stopped)
    assert (result.exit_code, result.summary.pending) == (3, 3)


def begun(state_dir: Path, url: str) -> tuple[WorkerConfig, sender.Plan]:
    """The orders of a worker of a run of which nothing has been sent, and whose process is gone."""
    made = plan(10)
    options = SendOptions(state_dir=str(state_dir), env={"SENDER_SANDBOX_URL": url})
    with open_run(made, options) as session:
        stop = asyncio.Event()
        stop.set()
        asyncio.run(session.send(options, cancel=stop))
        slots = session.state.workers_folder("offer", RunKind.SANDBOX) / "pace"
        return WorkerConfig(options, session.run.run_id, 0, 1, session.pace, None, str(slots), 20), made


def test_a_worker_begins_only_when_its_parent_was_there_after_its_lock_was(tmp_path: Path) -> None:
    """A parent that dies before it has answered leaves a worker that never sends; until it ends, nobody takes over."""
    with contextlib.ExitStack() as open_:
        url = open_.enter_context(embedded(Options()))
        orders, made = begun(tmp_path, url)
        open_.enter_context(shared_rate_limit.create_slots(Path(orders.slots_file), orders.pace, 1))
        process = open_.enter_context(
            subprocess.Popen(
                supervisor.COMMAND,
                env=os.environ | {"PYTHONPATH": supervisor._import_path()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(orders.to_json() + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["message"] == "ready"
        began = time.monotonic()
        with (
            pytest.raises(RunLocked, match=rf"one of its workers \(pid {process.pid} on"),
            open_run(made, SendOptions(state_dir=tmp_path, resume=True)),
        ):
            pass
        assert time.monotonic() - began >= 1, "most workers end in a moment, and that is waited for"
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        with StateDir(tmp_path) as state:
            counts = state.ledger.counts(orders.run_id)
        assert counts == Counts(pending=10, intent=0, accepted=0, rejected=0, canceled=0, unknown=0)
        assert sender.send(made, state_dir=tmp_path, env={"SENDER_SANDBOX_URL": url}).summary.accepted == 10
