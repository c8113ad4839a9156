"""The parent of a run's workers, with programs in their place that say what a test lets them say."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sender.core.errors import ProviderRefused, SenderError, WorkersLost
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.sender_pool import SenderPool
from sender.sending.options import SendOptions
from sender.sending.throttle import make_rate_limiter
from sender.sending.workers import supervisor
from sender.sending.workers.protocol import WorkerConfig, encode_error
from sender.sending.workers.supervisor import Supervisor
from sender.state.heartbeat import Progress
from tests.state.run_history import ACCEPTED, ADA, GRACE, JEAN, MARY, PENDING, RADIA, SOPHIE, RunHistory, run_history

FROM = "+12025550199"  # of every plan here
PACE = Pace("auto", None, "messages", concurrency=None, retries=0, timeout_s=5, senders={FROM: 0.1})

WORKER = """
import json, os, sys, time

def say(message, **values):
    print(json.dumps({"message": message, **values}), flush=True)

def count(sent=(), accepted=0, in_flight=0, answer_s=0.0):
    sent, outcomes = list(sent), {"accepted": accepted} if accepted else {}
    say("counts", in_flight=in_flight, answer_s=answer_s, sent=sent, returned=[], outcomes=outcomes)

def hear():
    line = sys.stdin.readline()
    return json.loads(line)["message"] if line else "closed"

number = json.loads(sys.stdin.readline())["number"]
"""


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path / "state") as runs:
        yield runs


class Subject:
    """A run of six messages, of which one was sent before, and its supervisor; `see` is shown the progress."""

    def __init__(
        self, history: RunHistory, *, workers: int = 1, limit: int | None = None, pool: SenderPool | None = None
    ) -> None:
        run = history.add({ADA: ACCEPTED, **dict.fromkeys((GRACE, JEAN, MARY, RADIA, SOPHIE), PENDING)})
        options = SendOptions(state_dir=str(history.folder), limit=limit)
        self.seen: list[Progress] = []
        self.cancel = asyncio.Event()
        self.until: Callable[[Progress], bool] = lambda _: False
        self.supervisor = Supervisor(
            WorkerConfig(options, run.run_id, 0, workers, PACE, None, "slots", 20),
            run,
            ledger=history.state.ledger,
            reader=MessageReader(history.state.plan(run), run.run_id),
            rate_limiter=make_rate_limiter(PACE),
            pool=pool,
            on_progress=self._see,
        )

    def _see(self, progress: Progress) -> None:
        self.seen.append(progress)
        if self.until(progress):
            self.cancel.set()

    def run(self, until: Callable[[Progress], bool] | None = None) -> Progress | None:
        """Run to the end, or cancel it once `until` is true; return what was shown last."""
        if until is not None:
            self.until = until

        async def go() -> None:
            async with asyncio.timeout(20):
                await self.supervisor.run(self.cancel)

        asyncio.run(go())
        return self.seen[-1] if self.seen else None


Start = Callable[..., Subject]


@pytest.fixture
def start(history: RunHistory, monkeypatch: pytest.MonkeyPatch) -> Start:
    def with_program(program: str, **options: Any) -> Subject:
        monkeypatch.setattr(supervisor, "COMMAND", (sys.executable, "-c", WORKER + program))
        return Subject(history, **options)

    return with_program


def test_what_the_workers_report_is_one_progress(start: Start) -> None:
    program = f"""
say("ready")
assert hear() == "go"
count([(1.0, "{FROM}", 1 + number)], accepted=1 + number, in_flight=2 + number, answer_s=0.5 * number)
assert hear() == "stop"
say("done")
"""
    subject = start(program, workers=2)
    subject.run(lambda now: now.accepted == 4 and now.eta_s is not None)
    shown = next(now for now in subject.seen if now.accepted == 4 and now.eta_s is not None)
    assert (shown.total, shown.pending, shown.in_flight) == (6, 2, 5)
    assert shown.eta_s == pytest.approx(10 + 0.5, abs=1), "of two that are left one may leave now"
    assert subject.seen[-1].in_flight == 0
    assert not subject.supervisor.lost


AT_WORK = 'say("ready"); assert hear() == "go"; count(in_flight=1); '


@pytest.mark.parametrize(
    ("program", "is_canceled", "is_warned"),
    [
        pytest.param("sys.exit(7)", False, True, id="before it began"),
        pytest.param(AT_WORK + "sys.exit(7)", False, True, id="at work"),
        pytest.param(AT_WORK + "hear(); sys.exit(7)", True, True, id="at work, once it was stopped"),
        pytest.param('say("ready"); assert hear() == "stop"; sys.exit(7)', True, False, id="stopped before it began"),
    ],
)
def test_a_worker_that_dies_is_reported_where_it_may_have_sent(
    start: Start, caplog: pytest.LogCaptureFixture, program: str, is_canceled: bool, is_warned: bool
) -> None:
    subject = start(program)
    has_begun = "count(" in program
    if is_canceled and not has_begun:
        subject.cancel.set()
    if has_begun or is_canceled:
        subject.run(lambda now: is_canceled and now.in_flight == 1)
    else:
        with pytest.raises(WorkersLost, match="with exit code 7"):
            subject.run()
    assert subject.supervisor.lost
    lost = [record for record in caplog.records if vars(record).get("event") == "worker_lost"]
    assert [vars(record)["worker"] for record in lost] == ([0] if is_warned else [])


@pytest.mark.parametrize(("level", "is_logged"), [(logging.INFO, True), (logging.DEBUG, False)])
def test_what_a_worker_logs_is_in_the_log_of_the_run(
    start: Start, caplog: pytest.LogCaptureFixture, level: int, is_logged: bool
) -> None:
    record = {"name": "sender.sending.worker_test", "level": level, "created": 5.0, "text": "paused"}
    program = f"""
say("ready")
assert hear() == "go"
say("log", extra={{"event": "paused"}}, **{record!r})
say("done")
"""
    caplog.set_level(logging.INFO)
    start(program).run()
    logged = [record for record in caplog.records if record.name == "sender.sending.worker_test"]
    found = [(vars(one)["event"], vars(one)["worker"], one.getMessage(), one.created) for one in logged]
    assert found == [("paused", 0, "paused", 5.0)] * is_logged


def wait_for(note: Path) -> None:
    """Return once a worker has written all of its note."""
    give_up_s = time.monotonic() + 20
    while not (note.exists() and note.read_text(encoding="ascii").endswith(".")):
        assert time.monotonic() < give_up_s, "the worker has not begun"
        time.sleep(0.01)


@pytest.mark.parametrize("obeys", [True, False], ids=["one that obeys", "one that hangs"])
def test_no_worker_outlives_its_supervisor(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obeys: bool
) -> None:
    monkeypatch.setattr(supervisor, "KILL_AFTER_S", 5.0 if obeys else 0.3)
    note, ended = tmp_path / "pid", tmp_path / "ended"
    obey = f'open({str(ended)!r}, "w").write(hear() + ", " + hear()); say("done")' if obeys else "time.sleep(60)"
    program = f'say("ready"); hear(); open({str(note)!r}, "w").write(str(os.getpid()) + "."); ' + obey
    subject = start(program)

    async def interrupt() -> None:
        task = asyncio.create_task(subject.supervisor.run(subject.cancel))
        await asyncio.to_thread(wait_for, note)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await task

    began_s = time.monotonic()
    asyncio.run(interrupt())
    assert time.monotonic() - began_s < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text(encoding="ascii")[:-1]), 0)
    assert ended.exists() is obeys
    if obeys:
        assert ended.read_text(encoding="ascii") == "stop, closed", "a worker that was stopped ends at once"


REFUSED, OTHER = ProviderRefused("no funds", fix="top it up"), ProviderRefused("another")


@pytest.mark.parametrize(
    ("error", "stopped"),
    [
        pytest.param(REFUSED, REFUSED, id="the provider refuses all"),
        pytest.param(
            ZeroDivisionError("a fault of ours"),
            WorkersLost(
                "worker 0 failed: ZeroDivisionError: a fault of ours",
                fix="run the same command again: nothing is lost; if it fails again, --debug shows where",
            ),
            id="a fault",
        ),
    ],
)
@pytest.mark.parametrize("message", ["halted", "failed"])
def test_what_stops_one_worker_first_stops_all_and_is_raised(
    start: Start, tmp_path: Path, error: Exception, stopped: SenderError, message: str
) -> None:
    heard = tmp_path / "heard"
    program = f"""
say("ready")
first = hear()
if number == 0:
    say({message!r}, error={encode_error(error)!r})
    assert hear() == "stop"
    say("failed", error={encode_error(OTHER)!r})
else:
    open({str(heard)!r}, "w").write(first if first == "stop" else hear())
    say("done")
"""
    subject = start(program, workers=2)
    with pytest.raises(type(stopped)) as caught:
        subject.run()
    assert caught.value.to_dict() == stopped.to_dict()
    assert heard.read_text(encoding="ascii") == "stop"
    assert not subject.supervisor.lost


def test_a_number_that_one_worker_takes_out_is_told_to_the_others_alone(start: Start, tmp_path: Path) -> None:
    program = f"""
folder = {str(tmp_path / "heard")!r}
say("ready")
heard = [hear()]
open(folder + "/begun-" + str(number), "w").close()
if number == 1:
    while len(os.listdir(folder)) < 3:
        time.sleep(0.01)
    say("disable_sender", number="{FROM}", why="not ours")
while heard[-1] not in ("stop", "closed"):
    line = json.loads(sys.stdin.readline())
    heard.append(line["message"])
    if line["message"] == "disable_sender":
        assert (line["number"], line["why"]) == ("{FROM}", "not ours")
        count(accepted=1)
open(folder + "/" + str(number), "w").write(" ".join(heard))
say("done")
"""
    (tmp_path / "heard").mkdir()
    pool = SenderPool({FROM: 1.0, "+12025550198": 1.0})
    start(program, workers=3, pool=pool).run(lambda now: now.accepted == 3)
    assert dict(pool.disabled) == {FROM: "not ours"}
    heard = [(tmp_path / "heard" / str(number)).read_text(encoding="ascii") for number in range(3)]
    assert heard == ["go disable_sender stop", "go stop", "go disable_sender stop"]


@pytest.mark.parametrize(("limit", "total"), [(None, 6), (3, 3), (100, 6)])
def test_the_progress_is_that_of_what_is_to_be_sent_now(start: Start, limit: int | None, total: int) -> None:
    subject = start('say("ready"); hear(); count(accepted=1); say("done")', limit=limit)
    shown = subject.run()
    assert shown is not None
    assert (shown.total, shown.accepted) == (total, 2)
