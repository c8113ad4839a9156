"""The guarantee as a person meets it: signals at any moment, two starts, a process that stands still, secrets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from random import Random

import pytest

from sender.ledger import RunKind
from sender.workspace import Workspace
from tests.cli.conftest import Sandbox, Shell

Start = Callable[..., Sandbox]
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
timeout_s: 5
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
) -> str:
    shell.people(n, recipients)
    text = CAMPAIGN.format(name=name, provider=provider, rate=rate, recipients=recipients)
    shell.write(f"{name}.yaml", text)
    return f"{name}.yaml"


def law(out: str) -> dict[str, int]:
    found = re.findall(
        r"(\d+) (skipped|accepted|rejected|unknown|pending)\b",
        next(line for line in out.splitlines() if " rows = " in line),
    )
    return {name: int(count) for count, name in found}


@posix
@pytest.mark.parametrize("batch", range(4))
def test_a_signal_at_any_moment_drains_and_leaves_no_doubt(sender: Shell, sandbox: Start, batch: int) -> None:
    """20 moments, five runs at a time; before, while and after sending. Some get a second signal, and resume too."""
    random = Random(batch)
    server = sandbox("--latency", "40")
    runs = []
    for i in range(5):
        name = f"offer{i}"
        path = campaign(sender, 90, name=name, rate="60/s", recipients=f"{name}.csv")
        args = ("send", path, "--yes", "--state-dir", f"state{i}")
        runs.append((args, sender.start(*args, **server.env)))
    if batch:  # else the signal may come before it sends, too
        server.wait_for(1)
    moments = sorted((random.uniform(0.5, 2.5), i) for i in range(5))
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
        asked = time.monotonic()
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        if " rows = " in out:  # it had begun to send, and drained
            assert law(out)["unknown"] == 0, out + err
            assert time.monotonic() - asked < 5 + 1 + 10, "request timeout + 1 s, and what a busy machine adds"
            assert process.returncode in (0, 130)
        else:
            assert process.returncode in (130, 143, -signal.SIGINT, -signal.SIGTERM), out + err
    for args, _ in runs:
        done = sender(*args, **server.env)
        assert done.code in (0, 3), done  # 3: it was complete
    counts = server.counts()
    assert len(counts) == 90
    assert set(counts.values()) == {5}, "each of the five campaigns reaches everybody once"


RACER = """
import json, os, sys, time
from pathlib import Path
import sender
from sender.errors import RunLocked, RunComplete
from sender.ledger import RunKind
from sender.workspace import Workspace

with Workspace(sys.argv[1]) as workspace:
    print("ready", flush=True)
    for line in sys.stdin:
        name = line.strip()
        begun = time.monotonic()
        try:
            with workspace.locked(name, RunKind.LIVE):
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
        for race in range(50):
            for racer in racers[:: 1 if race % 2 else -1]:
                racer.stdin.write(f"offer{race % 3}\n")
                racer.stdin.flush()
            told = [json.loads(racer.stdout.readline()) for racer in racers]
            assert sorted(one["won"] for one in told) == [False, True], f"race {race}"
            winner, loser = sorted(told, key=lambda one: not one["won"])
            assert f"pid {winner['pid']} on" in loser["says"], f"race {race}"
            assert loser["took"] < 1
            for racer in racers:
                racer.stdin.write("\n")
                racer.stdin.flush()
            assert [racer.stdout.readline() for racer in racers] == ["done\n"] * 2
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
    with Workspace(sender.folder / "state") as workspace, workspace.locked("offer", RunKind.LIVE):
        pass


STANDS_STILL = """
import asyncio, sys
import sender
from sender import feed, workspace

feed.LEASE_MS = 700
workspace.Workspace.locked = lambda *_: __import__("contextlib").nullcontext()  # a lock that was lost
plan = sender.Plan.open(sys.argv[1])
print("go", flush=True)
result = sender.send(plan, state_dir=sys.argv[2], settle_unknowns=False)
print(result.summary.law(), flush=True)
"""


@posix
@pytest.mark.parametrize("seed", range(3))
def test_a_process_that_stood_still_sends_nothing_that_another_took_over(
    sender: Shell, sandbox: Start, seed: int
) -> None:
    """SIGSTOP past the lease, somebody else finishes the run, SIGCONT: nobody gets it twice, lock or no lock."""
    server = sandbox("--latency", "30")
    path = campaign(sender, 90, provider="sandbox", rate="40/s")
    assert sender("plan", path, "--out", "plan").code == 0
    env = {"SENDER_SANDBOX_URL": server.url, "SENDER_SANDBOX_SETTLE_S": "0.5"}
    command = [sys.executable, "-c", STANDS_STILL, "plan", ".sender"]
    process = subprocess.Popen(
        command, cwd=sender.folder, env=sender.env | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    server.wait_for(10 + 7 * seed)
    time.sleep(Random(seed).uniform(0, 0.05))
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.0)  # past the lease; and what was on its way has arrived
    done = sender("send", "plan", "--yes", **env)
    assert done.code == 0, done
    assert "the last process died or was killed while" in done.out
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert set(server.counts().values()) == {1}, out + err
    assert len(server.counts()) == 90
    assert law(sender("status", "offer").out)["accepted"] == 90


@posix
def test_a_crashed_run_says_what_it_found_and_what_it_will_do(sender: Shell, sandbox: Start) -> None:
    server = sandbox("--latency", "300")
    path = campaign(sender, 90, rate="60/s")
    process = sender.start("send", path, "--yes", **server.env)
    server.wait_for(20)
    process.kill()
    process.communicate()
    (results,) = [sender("status", "offer")]
    assert re.search(r"\d+ messages under way: .* the next start of the same command looks them up", results.out)
    rows = sender("results", "offer").out
    assert rows.count(",unknown,") >= 1, "a message under way shows as unknown"
    held = sender("send", path, "--yes", "--on-unknown", "hold", "--limit", "1", **server.env)
    assert re.search(r"the last process died or was killed while \d+ messages were under way", held.out), held
    assert "left as they are (--on-unknown hold)" in held.out
    told = sender("status", "offer").out
    first = told.splitlines()[0]
    assert re.match(r"\d+ messages unknown: the provider may have accepted them, so they are not sent again", first)
    assert "`sender reconcile" in first
    assert "--resend-unknown" in first
    done = sender("send", path, "--yes", **server.env)
    assert "will be looked up in the provider's log first" in done.out
    assert set(server.counts().values()) == {1}
    again = sender("send", path, "--yes", "--resend-unknown", **server.env)
    if law(told)["unknown"] and again.code != 3:
        assert "may get the same text twice" in again.err
    assert len(server.counts()) == 90


def test_resending_says_what_it_risks_and_asks(sender: Shell) -> None:
    """0198 is accepted without an answer. Held back, it is sent again only when told to, and the ledger keeps that."""
    sender.write("people.csv", "name,phone\nAda,+12025550101\nBob,+12025550198\n")
    sender.write("offer.yaml", CAMPAIGN.format(name="offer", provider="sandbox", rate="none", recipients="people.csv"))
    first = sender("send", "offer.yaml", "--yes", "--on-unknown", "hold")
    assert first.code == 4
    asked = sender("send", "offer.yaml", "--resend-unknown", "--on-unknown", "hold")
    assert asked.code == 2, "there is nobody to ask"
    assert "warning: --resend-unknown sends 1 message again which the provider may have accepted" in asked.err
    assert "up to 1 people" not in asked.err
    again = sender("send", "offer.yaml", "--yes", "--resend-unknown", "--on-unknown", "hold")
    assert again.code == 4, again
    assert "1 unknown message sent again on request" in again.out
    status = sender("status", "offer")
    assert "sent again on request though it may have been accepted: 1 message" in status.out
    settled = sender("send", "offer.yaml", "--yes")
    assert settled.code == 0, settled


@posix
def test_a_state_that_cannot_be_written_can_be_looked_at(sender: Shell, sandbox: Start) -> None:
    sender.write("offer.yaml", CAMPAIGN.format(name="offer", provider="sandbox", rate="none", recipients="people.csv"))
    sender.people(5)
    assert sender("send", "offer.yaml", "--yes").code == 0
    state = sender.folder / ".sender"
    before = {file: file.stat().st_mtime_ns for file in state.rglob("*") if file.is_file()}
    assert "5 accepted" in sender("status", "offer").out
    assert sender("status").code == 0
    assert sender("results", "offer").out.count("\n") == 6
    after = {file: file.stat().st_mtime_ns for file in state.rglob("*") if file.is_file() and "-shm" not in file.name}
    assert {file: when for file, when in after.items() if file.stat().st_size or file in before} == {
        file: when for file, when in before.items() if "-shm" not in file.name
    }, "looking wrote something"


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
    told = [
        sender("send", path, "--yes", "--debug", "--log-format", "json", **env),
        sender("reconcile", "offer", "--debug", **env),
        sender("status", "offer", "--debug"),
        sender("results", "offer", "--output", "out.jsonl"),
        sender("preview", path, "--html", "page.html"),
    ]
    unreachable = {
        name: "http://127.0.0.1:9" if name.endswith(("URL", "BASE")) else value for name, value in env.items()
    }
    told.append(sender("send", path, "--yes", "--again", "--debug", **unreachable))
    assert told[-1].code in (2, 3), told[-1]
    wrong = sender("send", path, "--yes", "--new-run", "--debug", **dict.fromkeys(env, ""))
    assert wrong.code != 0
    for one in [*told, wrong]:
        assert canary not in one.out + one.err
    for one in (told[0], told[1], told[-1]):  # the logs
        assert "2025550101" not in one.err
        assert "2025550197" not in one.err
        assert "Hi Ada" not in one.err
    files = [file for file in sender.folder.rglob("*") if file.is_file()]
    assert len(files) > 8
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
        assert "0 accepted + 0 rejected + 0 unknown + 3 pending" in done.out
    finally:
        server.kill()
        out, _ = server.communicate()
    assert "a message came" not in out


def test_a_run_without_faults_leaves_nothing_unknown(sender: Shell, sandbox: Start) -> None:
    """A thousand here; ten thousand by hand: `SENDER_FAULT_FREE=10000 pytest -k without_faults`."""
    n = int(os.environ.get("SENDER_FAULT_FREE", "1000"))
    areas = [area for area in range(201, 990) if area % 100 != 11 and (area // 10) % 10 != 9]
    rows = "".join(f"N{i},+1{areas[i // 90]}55501{i % 90:02}\n" for i in range(n))
    campaign(sender, 1, provider="sandbox")
    sender.write("people.csv", "name,phone\n" + rows)
    server = sandbox()
    done = sender("send", "offer.yaml", "--yes", SENDER_SANDBOX_URL=server.url)
    assert done.code == 0, done
    assert law(done.out) == {"skipped": 0, "accepted": n, "rejected": 0, "unknown": 0, "pending": 0}
    assert sorted(server.counts().values()) == [1] * n
