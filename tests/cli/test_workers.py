"""`send --workers N` as a person meets it: killed workers, a killed parent, Ctrl-C, and what is printed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from sender.state.state_dir import LEDGER_FILE
from tests import local_http, warm
from tests.cli.conftest import SENDER, Sandbox, Shell
from tests.cli.test_guarantee import campaign, freeze, law, posix

Start = Callable[..., Sandbox]


def workers_of(process: warm.Process, n: int = 2) -> list[psutil.Process]:
    """The processes that send for `process`, once all are there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = [
            one for one in psutil.Process(process.pid).children() if "sender.sending.workers.worker" in one.cmdline()
        ]
        if len(found) == n:
            return found
        time.sleep(0.02)
    raise TimeoutError("the workers never came")


def wait_until_gone(processes: list[psutil.Process], seconds: float) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive


def most_in_a_second(sandbox: Sandbox) -> int:
    """By the provider's own clock."""
    told = local_http.get(f"{sandbox.url}/sandbox/messages").json()["messages"]
    times = sorted(one["created_ms"] for one in told)
    return max(sum(1 for other in times if time_ <= other < time_ + 1000) for time_ in times)


@pytest.mark.process
def test_three_workers_send_everybody_once_and_keep_one_pace(sender: Shell, sandbox: Start) -> None:
    server = sandbox("--latency", "20")
    path = campaign(sender, 450, rate="150/s")
    done = sender("send", path, "--yes", "--workers", "3", "--log-format", "json", "--debug", **server.env)
    assert done.code == 0, done
    assert set(server.counts().values()) == {1}
    assert len(server.counts()) == 450
    assert law(done.out) == {"skipped": 0, "accepted": 450, "rejected": 0, "unknown": 0, "pending": 0}
    logged = [json.loads(line) for line in done.err.splitlines()]
    settled = [line for line in logged if line["message"] == "settled"]
    assert len(settled) == 450
    assert {line["worker"] for line in settled} == {0, 1, 2}, "all of them had a part in it"
    assert "5a5a5a5a" not in done.err, "secrets stay where they are"
    # Requests may clump on their way through a busy machine; three paces would be 450 in the first second.
    assert most_in_a_second(server) <= 200


@pytest.mark.parametrize(
    ("workers", "told"), [("0", "cannot be sent by 0 workers"), ("9999", "at most"), ("two", "'two' is not a valid")]
)
def test_a_senseless_number_is_refused_before_anything_else(sender: Shell, workers: str, told: str) -> None:
    done = sender("send", "nothing.csv", "--workers", workers)
    assert done.code == 2
    assert told in done.err
    assert not (sender.folder / ".sender").exists()


@posix
def test_a_killed_worker_costs_no_text_and_doubles_none(sender: Shell, sandbox: Start) -> None:
    server = sandbox("--latency", "50")
    path = campaign(sender, 300, provider="sandbox", rate="100/s")
    env = {"SENDER_SANDBOX_URL": server.url, "SENDER_SANDBOX_SETTLE_S": "0.5"}
    process = sender.start("send", path, "--yes", "--workers", "2", **env)
    workers = workers_of(process)
    server.wait_for(60)
    workers[0].send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert re.search(r"worker \d died: pid \d+, by signal 9; the others continue", err), err
    assert set(server.counts().values()) == {1}
    assert law(out) == {"skipped": 0, "accepted": 300, "rejected": 0, "unknown": 0, "pending": 0}


@posix
def test_a_killed_parent_leaves_workers_that_end_and_until_then_nobody_takes_over(
    sender: Shell, sandbox: Start
) -> None:
    """One of them is frozen, so that it is still there when the command is run again, however slow the machine is."""
    server = sandbox("--latency", "300")
    path = campaign(sender, 120, rate="40/s")
    sender.write(path, (sender.folder / path).read_text().replace("timeout_s: 5", "timeout_s: 100"))
    process = sender.start("send", path, "--yes", "--workers", "2", **server.env)
    workers = workers_of(process)
    server.wait_for(20)
    freeze(workers[1], sender.folder / ".sender" / LEDGER_FILE)
    process.kill()
    process.wait()  # its pipes are the workers', too
    refused = sender("send", path, "--yes", "--workers", "2", **server.env)
    assert refused.code == 3, refused
    assert re.search(
        rf"the process that was sending offer is gone, but one of its workers \(pid {workers[1].pid} on", refused.err
    ), refused
    wait_until_gone(workers[:1], 30)
    workers[1].send_signal(signal.SIGCONT)
    wait_until_gone(workers, 30)
    process.communicate()
    assert len(server.counts()) < 120, "they drained and claimed no more"
    done = sender("send", path, "--yes", "--workers", "2", **server.env)
    assert done.code == 0, done
    assert "resuming run" in done.out
    assert "died or was killed" not in done.out, "the workers wrote down every answer before they ended"
    assert set(server.counts().values()) == {1}
    assert law(done.out)["accepted"] == len(server.counts()) == 120


@posix
def test_ctrl_c_drains_all_workers_and_a_second_one_quits_at_once(sender: Shell, sandbox: Start) -> None:
    """A terminal sends it to all processes of the command; only the parent decides what it means."""
    server = sandbox("--latency", "400")
    path = campaign(sender, 300, rate="50/s")

    def started() -> tuple[subprocess.Popen[str], list[psutil.Process]]:
        before = sum(server.counts().values())
        command = subprocess.Popen(
            [*SENDER, "send", path, "--yes", "--workers", "2", "--init-state"],
            cwd=sender.folder,
            env=sender.env | server.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        workers = workers_of(command)
        server.wait_for(before + 20)
        return command, workers

    process, workers = started()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    counts = law(out)
    assert counts["unknown"] == 0, "every answer was waited for"
    assert counts["accepted"] == len(server.counts())
    assert 0 < counts["pending"] < 300
    wait_until_gone(workers, 1)

    process, workers = started()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    while "stopping: waiting" not in process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    wait_until_gone(workers, 10)
    process.communicate()

    done = sender("send", path, "--yes", **server.env | {"SENDER_SANDBOX_SETTLE_S": "0.5"})
    assert set(server.counts().values()) == {1}
    counts = law(done.out)
    assert counts["accepted"] + counts["unknown"] == 300
    assert counts["pending"] == 0
