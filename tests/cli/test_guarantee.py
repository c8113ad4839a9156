"""The guarantee as a person meets it: signals at any moment, two starts, a process that stands still, secrets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil
import pytest

from benchmarks.lists import areas
from sender.state.ledger import RunKind
from sender.state.state_dir import LEDGER_FILE, StateDir
from tests import warm
from tests.cli.conftest import Sandbox, Shell

Start = Callable[..., Sandbox]
TIMEOUT_S = 5
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
DIALECTS = ("signalwire", "signalwire-compat", "telnyx", "twilio")
CAMPAIGN = """\
name: {name}
provider: {provider}
from: "+12025550100"
recipients: {recipients}
message: "Hi {{{{ name }}}}, {name}"
rate: {rate}
concurrency: 8
timeout_s: {timeout_s}
status_callback: https://hooks.example.com/status
"""


def campaign(
    shell: Shell,
    n: int,
    *,
    name: str = "offer",
    provider: str = "twilio",
    rate: str = "none",
    recipients: str = "people.csv",
    start: int = 0,
) -> str:
    shell.people(n, recipients, start=start)
    text = CAMPAIGN.format(name=name, provider=provider, rate=rate, recipients=recipients, timeout_s=TIMEOUT_S)
    shell.write(f"{name}.yaml", text)
    return f"{name}.yaml"


def law(out: str) -> dict[str, int]:
    found = re.findall(
        r"(\d+) (skipped|accepted|rejected|unknown|pending)\b",
        next(line for line in out.splitlines() if " rows = " in line),
    )
    return {name: int(count) for count, name in found}


@posix
@pytest.mark.parametrize("batch", [pytest.param(0, marks=pytest.mark.process), 1, 2, 3])
def test_a_signal_at_any_moment_drains_and_leaves_no_doubt(sender: Shell, sandbox: Start, batch: int) -> None:
    """20 moments, five runs at a time: before, while and after sending. One of five gets a second signal, which quits
    at once; that one may leave what was under way in doubt, and settles it when it is resumed."""
    random = Random(batch)
    server = sandbox("--latency", "40")
    env = {"SENDER_SANDBOX_URL": server.url, "SENDER_SANDBOX_SETTLE_S": "0.5"}
    runs = []
    for i in range(5):
        # People of its own: another program's text to the same person would leave absence in doubt.
        path = campaign(sender, 90, name=f"offer{i}", rate="60/s", recipients=f"offer{i}.csv", start=90 * i)
        args = ("send", path, "--yes", "--rehearse", "--wait", "0", "--state-dir", f"state{i}")
        runs.append((args, sender.start(*args, **env)))
    if batch:  # else the signal may come before it sends, too
        server.wait_for(1)
    moments = sorted((random.uniform(0.0, 2.5), i) for i in range(5))
    twice = random.randrange(5)
    begun = time.monotonic()
    for moment, i in moments:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        process = runs[i][1]
        if process.poll() is None:
            process.send_signal(random.choice([signal.SIGINT, signal.SIGTERM]))
            if i == twice:
                time.sleep(random.uniform(0, 0.05))
                process.send_signal(signal.SIGTERM)
    for _, process in runs:
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err or "sender/cli" not in err, err  # Python itself, before it is ours
        if " rows = " in out:  # it had begun to send, and drained
            assert law(out)["unknown"] == 0, out + err
            assert process.returncode in (0, 130)
        else:
            assert process.returncode in (130, 143, -signal.SIGINT, -signal.SIGTERM), out + err
    again = [sender.start(*args, **env) for args, _ in runs]
    for process in again:
        out, err = process.communicate(timeout=120)
        assert process.returncode in (0, 3), out + err  # 3: it was complete
    assert sorted(server.counts().values()) == [1] * 450, "each of the five campaigns reaches everybody once"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_answers_no_longer_than_a_request_may_take(sender: Shell, sandbox: Start, number: int) -> None:
    """Nobody answers, for a minute: what is under way is unknown after its own time limit, and that is the end."""
    server = sandbox("--faults", "timeout-after=1", "--hang", "60")
    path = campaign(sender, 20, rate="20/s")
    process = sender.start("send", path, "--yes", "--wait", "0", "--on-unknown", "hold", **server.env)
    server.wait_for(3)
    process.send_signal(number)
    asked = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert time.monotonic() - asked < TIMEOUT_S + 1 + 20, "and what a busy machine adds"
    assert process.returncode == 130, out + err
    told = law(out)
    assert told["accepted"] == 0
    assert told["unknown"] == sum(server.counts().values())
    assert told["pending"] == 20 - told["unknown"]


RACER = """
import json, os, sys, time
from pathlib import Path
import sender
from sender.core.errors import RunLocked, RunComplete
from sender.state.ledger import RunKind
from sender.state.state_dir import StateDir

with StateDir(sys.argv[1]) as state:
    print("ready", flush=True)
    for line in sys.stdin:
        name = line.strip()
        begun = time.monotonic()
        try:
            with state.locks.hold_campaign(name, RunKind.LIVE):
                print(json.dumps({"won": True, "pid": os.getpid()}), flush=True)
                sys.stdin.readline()
        except RunLocked as error:
            took = time.monotonic() - begun
            print(json.dumps({"won": False, "pid": os.getpid(), "says": str(error), "took": took}), flush=True)
            sys.stdin.readline()
        print("done", flush=True)
"""


def test_of_two_starts_one_wins_and_the_other_names_it(sender: Shell) -> None:
    """50 races of two processes for one campaign's lock."""
    command = [sys.executable, "-c", RACER, str(sender.folder / "state")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": sender.env}
    racers = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 2
        took: list[float] = []
        for race in range(50):
            for racer in racers[:: 1 if race % 2 else -1]:
                racer.stdin.write(f"offer{race % 3}\n")
                racer.stdin.flush()
            told = [json.loads(racer.stdout.readline()) for racer in racers]
            assert sorted(one["won"] for one in told) == [False, True], f"race {race}"
            winner, loser = sorted(told, key=lambda one: not one["won"])
            assert f"pid {winner['pid']} on" in loser["says"], f"race {race}"
            took.append(loser["took"])
            for racer in racers:
                racer.stdin.write("\n")
                racer.stdin.flush()
            assert [racer.stdout.readline() for racer in racers] == ["done\n"] * 2
        assert sorted(took)[40] < 1, "within a second, but where the machine itself stood still"
    finally:
        for racer in racers:
            racer.communicate()


@posix
def test_a_lock_dies_with_its_process_and_its_name_with_it(sender: Shell) -> None:
    """A note of a process that is gone names nobody, and holds nobody up."""
    command = [sys.executable, "-c", RACER, str(sender.folder / "state")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=sender.env)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("offer\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    assert "won" in process.stdout.readline()
    process.kill()
    process.communicate()
    assert list((sender.folder / "state" / "locks").glob("*.json"))
    with StateDir(sender.folder / "state") as state, state.locks.hold_campaign("offer", RunKind.LIVE):
        pass


STANDS_STILL = """
import contextlib, sys
import sender
from sender.sending import producer
from sender.state.files.locks import LockFiles

producer.LEASE_MS = 700
LockFiles.hold_campaign = lambda *_: contextlib.nullcontext()  # a lock that was lost
result = sender.send(sender.Plan.open("plan"), settle_unknowns=False)
print(result.summary.totals_line(), flush=True)
"""


def freeze(process: warm.Process | psutil.Process, ledger: Path) -> None:
    """Stops the process where it does not hold the ledger, or the one that takes over would have to wait for it."""
    for _ in range(200):
        process.send_signal(signal.SIGSTOP)
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)
        with contextlib.closing(sqlite3.connect(ledger, timeout=0.0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:  # it was stopped in a commit
                process.send_signal(signal.SIGCONT)
                time.sleep(0.003)
                continue
            db.execute("ROLLBACK")
            return
    raise AssertionError("it always holds the ledger")


@posix
@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_a_process_that_stood_still_sends_nothing_that_another_took_over(
    sender: Shell, sandbox: Start, transport: str
) -> None:
    """SIGSTOP past the lease, somebody else finishes the run, SIGCONT: nobody gets it twice, lock or no lock."""
    server = sandbox("--latency", "30")
    path = campaign(sender, 90, provider="sandbox", rate="400/s")  # ten in a batch: there are always some in hand
    assert sender("plan", path, "--out", "plan", "--transport", transport).code == 0
    env = {"SENDER_SANDBOX_URL": server.url, "SENDER_SANDBOX_SETTLE_S": "0.5"}
    process = subprocess.Popen(
        [sys.executable, "-c", STANDS_STILL],
        cwd=sender.folder,
        env=sender.env | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server.wait_for(10)
    freeze(process, sender.folder / ".sender" / LEDGER_FILE)
    time.sleep(1.0)  # past the lease; and what was on its way has arrived
    done = sender("send", "plan", "--yes", "--wait", "0", **env)
    assert done.code == 0, done
    assert "the last process died or was killed while" in done.out
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=120)
    assert set(server.counts().values()) == {1}, out + err
    assert len(server.counts()) == 90
    assert law(sender("status", "offer").out)["accepted"] == 90


@posix
def test_a_crashed_run_says_what_it_found_and_what_it_will_do(sender: Shell, sandbox: Start) -> None:
    server = sandbox("--latency", "1000")
    path = campaign(sender, 90, rate="60/s")
    process = sender.start("send", path, "--yes", **server.env)
    server.wait_for(5)  # these have no answer yet
    process.kill()
    process.communicate()
    status = sender("status", "offer").out
    assert re.search(r"\d+ messages in doubt: .* Send the campaign again: `sender send` looks them up", status), status
    rows = sender("results", "offer").out
    assert rows.count(",unknown,") >= 5, "a message under way shows as unknown"
    held = sender("send", path, "--yes", "--on-unknown", "hold", "--limit", "1", "--wait", "0", **server.env)
    assert re.search(r"the last process died or was killed while \d+ messages were in flight", held.out), held
    assert "left as they are (--on-unknown hold)" in held.out
    assert held.code == 4, held
    told = sender("status", "offer").out
    first = told.splitlines()[0]
    assert re.match(r"\d+ messages unknown: the provider may have accepted them, so they are not sent again", first)
    assert "`sender reconcile" in first
    assert "--resend-unknown" in first
    sent = set(server.counts())
    done = sender("send", path, "--yes", "--wait", "0", **server.env)
    assert "will be looked up in the provider's log first" in done.out
    assert set(server.counts().values()) == {1}
    after = law(done.out)
    assert after["accepted"] == len(server.counts()) >= len(sent)
    assert after["accepted"] + after["unknown"] == 90, "those that never left are unknown until absence counts"
    assert done.code == (4 if after["unknown"] else 0)


def test_resending_says_what_it_risks_and_asks(sender: Shell) -> None:
    """0198 is accepted without an answer. Held back, it is sent again only when told to, and the ledger keeps that."""
    campaign(sender, 1, provider="sandbox")
    sender.write("people.csv", "name,phone\nAda,+12025550101\nBob,+12025550198\n")
    first = sender("send", "offer.yaml", "--yes", "--on-unknown", "hold", "--wait", "0")
    assert first.code == 4
    asked = sender("send", "offer.yaml", "--resend-unknown", "--on-unknown", "hold")
    assert asked.code == 2, "there is nobody to ask"
    assert (
        "warning: --resend-unknown sends 1 message again which the provider may have accepted: up to 1 person may get"
        " the same text twice, and it is billed twice." in asked.err
    )
    again = sender("send", "offer.yaml", "--yes", "--resend-unknown", "--on-unknown", "hold", "--wait", "0")
    assert again.code == 4, again
    assert "1 unknown message sent again on request" in again.out
    status = sender("status", "offer")
    assert "1 message sent again on request, although the provider may have accepted the first" in status.out
    settled = sender("send", "offer.yaml", "--yes", "--wait", "0")
    assert settled.code == 0, settled


def test_looking_at_a_run_writes_nothing(sender: Shell) -> None:
    campaign(sender, 5, provider="sandbox")
    assert sender("send", "offer.yaml", "--yes", "--wait", "0").code == 0

    def written() -> dict[str, int]:
        files = [file for file in (sender.folder / ".sender").rglob("*") if file.is_file() and file.stat().st_size]
        return {file.name: file.stat().st_mtime_ns for file in files if not file.name.endswith("-shm")}  # SQLite's own

    before = written()
    assert "5 accepted" in sender("status", "offer").out
    assert sender("status").code == 0
    assert sender("results", "offer").out.count("\n") == 6
    assert written() == before


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_secret_and_no_number_is_ever_told(sender: Shell, sandbox: Start, dialect: str) -> None:
    """Canaries in each credential; with --debug, refused, unreachable, and settled from the log."""
    server = sandbox()
    path = campaign(sender, 3, provider=dialect)
    sender.write("people.csv", "name,phone\nAda,+12025550101\nBob,+12025550191\nCy,+12025550197\n")
    canary = "canary0123456789abcdef0123456789"
    env = dict(server.env)
    kept = ("SID", "URL", "BASE", "PROJECT_ID")
    for name in env:
        if not name.endswith(kept):
            env[name] = f"KEY{canary}" if name == "TELNYX_API_KEY" else canary
    told = [sender("send", path, "--yes", "--wait", "0", "--debug", "--log-format", "json", **env)]
    if dialect == DIALECTS[0]:  # the others use no credentials, or the same ones
        told += [
            sender("reconcile", "offer", "--debug", **env),
            sender("status", "offer", "--debug"),
            sender("results", "offer", "--output", "out.jsonl"),
            sender("report", "offer", "--html", "report.html"),
            sender("preview", path, "--html", "page.html"),
            sender("send", path, "--yes", "--new-run", "--debug", **dict.fromkeys(env, "")),
        ]
        # 1: one of three has opted out; 2 at last: no credentials
        assert [one.code for one in told] == [1, 1, 0, 0, 0, 0, 2], told
    unreachable = {
        name: "http://127.0.0.1:9" if name.endswith(("URL", "BASE")) else value for name, value in env.items()
    }
    told.append(sender("send", path, "--yes", "--again", "--debug", **unreachable))
    assert told[-1].code in (2, 3), told[-1]
    for one in told:
        assert canary not in one.out + one.err
        assert not [secret for secret in ("2025550101", "2025550197", "Hi Ada") if secret in one.err], "in the log"
    files = [file for file in sender.folder.rglob("*") if file.is_file()]
    assert {"ledger.sqlite3", "results.csv"} <= {file.name for file in files}
    assert not [file for file in files if canary.encode() in file.read_bytes()]


WRONG_CLOCK = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    posts = 0
    def date_time_string(self, timestamp=None):
        return "Fri, 20 Nov 2020 10:00:00 GMT"
    def do_GET(self):
        self.send_response(404); self.send_header("content-length", "0"); self.end_headers()
    def do_POST(self):
        print("a message came", flush=True)
        self.do_GET()
    def log_message(self, *_): pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_clocks_that_are_apart_stop_the_run_before_the_first_message(sender: Shell) -> None:
    """Times in the provider's log could not be compared: after a crash, absence would be proved of what is there."""
    server = subprocess.Popen([sys.executable, "-c", WRONG_CLOCK], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        path = campaign(sender, 3)
        sid = "AC" + "0" * 32
        done = sender("send", path, "--yes", TWILIO_ACCOUNT_SID=sid, TWILIO_AUTH_TOKEN="t" * 32, TWILIO_API_BASE=url)
        assert done.code == 3, done
        assert "set this machine's clock" in done.err
        assert "0 accepted + 0 rejected + 0 canceled + 0 unknown + 3 pending" in done.out
    finally:
        server.kill()
        out, _ = server.communicate()
    assert "a message came" not in out


def test_a_run_without_faults_leaves_nothing_unknown(
    sender: Shell, sandbox: Start, pytestconfig: pytest.Config
) -> None:
    n = pytestconfig.getoption("--fault-free")
    known = areas()  # in use: who has a number of another one is skipped
    rows = "".join(f"N{i},+1{known[i // 90]}55501{i % 90:02}\n" for i in range(n))
    campaign(sender, 1, provider="sandbox")
    sender.write("people.csv", "name,phone\n" + rows)
    server = sandbox()
    done = sender("send", "offer.yaml", "--yes", "--wait", "0", SENDER_SANDBOX_URL=server.url)
    assert done.code == 0, done
    assert law(done.out) == {"skipped": 0, "accepted": n, "rejected": 0, "unknown": 0, "pending": 0}
    assert sorted(server.counts().values()) == [1] * n
