"""`sender schedule`, `--metrics` and `--notify`, as they are typed."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sender.core.standard_webhooks import read_key, sign
from sender.schedule import waiting
from sender.schedule.metrics import read_metrics
from sender.state.open import open_state
from sender.state.ticks import TickRecord
from tests.cli.conftest import SENDER, Shell
from tests.schedule.virtual_clock import VirtualClock

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CAMPAIGN = 'provider: sandbox\nfrom: "+12025550199"\nrecipients: people.csv\nmessage: "Hi {{ name }}"\nrate: none\n'


def scheduled(cron: str, zone: str = "America/New_York", more: str = "") -> str:
    return f'{CAMPAIGN}schedule: {{cron: "{cron}", zone: {zone}}}\n{more}'


@pytest.fixture
def job(sender: Shell) -> Shell:
    sender.people(3)
    sender.make_state()
    sender.write("weekly.yaml", scheduled("0 9 * * mon"))
    return sender


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    virtual = VirtualClock("2026-10-30T13:00")
    monkeypatch.setattr(waiting, "CLOCK", virtual.clock)
    return virtual


def test_the_list(job: Shell, clock: VirtualClock) -> None:
    done = job("schedule", "list")
    assert done.code == 0, done
    text = " ".join(done.out.split())
    assert "At 09:00 on Monday (0 9 * * mon)" in text
    assert "Mon 2026-11-02 09:00 EST (America/New_York)" in text
    assert "15 min never" in text
    job.write("daily.yaml", scheduled("30 1 * * *", more="late: 2h\n"))
    values = job("schedule", "list", "--json").json
    assert [each["campaign"] for each in values["campaigns"]] == ["daily", "weekly"]
    assert values["campaigns"][0]["late_s"] == 7200
    assert values["campaigns"][1]["last"] is None


def test_a_broken_file_is_shown_beside_the_others(job: Shell, clock: VirtualClock) -> None:
    job.write("never.yaml", scheduled("0 0 30 2 *"))
    done = job("schedule", "list")
    assert done.code == 2
    assert "weekly" in done.out
    assert "never.yaml, line 6, key `schedule.cron`: '0 0 30 2 *' never occurs" in done.err.replace("\n", "")


def test_the_next_starts(job: Shell, clock: VirtualClock) -> None:
    job.write("daily.yaml", scheduled("30 1 * * *"))
    done = job("schedule", "next", "4")
    assert done.code == 0, done
    assert done.out.splitlines() == [
        "Sat 2026-10-31 01:30 EDT (America/New_York)  daily",
        "Sun 2026-11-01 01:30 EDT (America/New_York)  daily; clocks go back: this time occurs twice, and the first counts",
        "Mon 2026-11-02 01:30 EST (America/New_York)  daily",
        "Mon 2026-11-02 09:00 EST (America/New_York)  weekly",
    ]
    starts = job("schedule", "next", "--json").json
    assert [start["note"] for start in starts] == [
        None, "clocks go back: this time occurs twice, and the first counts", None, None, None,
    ]  # fmt: skip
    assert "no campaign in" in job("schedule", "next", "3", ".sender").out
    assert job("schedule", "next", "3", "nowhere").code == 2


@pytest.mark.parametrize("kind", ["--systemd", "--cron"])
def test_what_starts_it(job: Shell, kind: str) -> None:
    folder = job.folder / "my campaigns 100%"
    folder.mkdir()
    done = job("schedule", "install", kind, folder.name)
    assert done.code == 0, done
    assert "--state" in done.out
    percent = "100%%" if kind == "--systemd" else "100\\%"
    assert f"{job.folder}/my campaigns {percent}" in done.out
    assert (job.folder / ".sender").as_posix() in done.out
    assert ("--once" in done.out) is (kind == "--cron")
    assert job("schedule", "install").code == 2


@pytest.mark.parametrize("kind", ["--systemd", "--cron"])
def test_what_starts_it_reports_as_asked(job: Shell, kind: str) -> None:
    asked = ("--metrics", "a.prom", "--env-file", "keys.env", "--notify", "https://hooks.example.com/ended")
    done = job("schedule", "install", kind, *asked)
    assert done.code == 0, done
    (command,) = (line for line in done.out.splitlines() if "schedule run" in line)
    for words in (f"--metrics {job.folder}/a.prom", f"--env-file {job.folder}/keys.env", " ".join(asked[4:])):
        assert words in command


def test_a_start_by_hand_is_of_the_last_times_edition(job: Shell) -> None:
    first = job("send", "weekly.yaml", "--yes", "--wait", "0")
    assert first.code == 0, first
    again = job("send", "weekly.yaml", "--yes", "--wait", "0")
    assert again.code == 3
    assert "has been sent" in again.err


def test_it_begins_no_state(sender: Shell) -> None:
    sender.write("weekly.yaml", scheduled("0 9 * * mon"))
    done = sender("schedule", "run", "--once")
    assert done.code == 2
    assert not (sender.folder / ".sender").exists()


def make_due(job: Shell, campaign: str, schedule: str) -> None:
    """A campaign whose time of this minute has not been started."""
    with open_state(job.folder / ".sender") as state:
        state.ticks.write(TickRecord(campaign, schedule, int(time.time() * 1000) - 61_000))


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def spawn(job: Shell, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SENDER, *args], cwd=job.folder, env=job.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.process
def test_two_schedulers_and_sigterm_for_real(job: Shell) -> None:
    """Two processes on one state send once, and end at once when they are asked to."""
    job.write("often.yaml", scheduled("* * * * *", "UTC"))
    if time.time() % 60 > 45:  # else another time would come meanwhile
        time.sleep(60 - time.time() % 60)
    make_due(job, "often", "* * * * * UTC")
    processes = [spawn(job, "schedule", "run", ".", "--metrics", f"m{number}.prom") for number in range(2)]
    until = time.monotonic() + 30
    with open_state(job.folder / ".sender") as state:
        while time.monotonic() < until:
            record = state.ticks.read("often")
            if record is not None and record.ended_ms is not None:
                break
            time.sleep(0.1)
        runs = state.ledger.runs()
    time.sleep(0.6)  # both look once more
    for process in processes:
        process.send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=20) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    events = [event for out, _ in outputs for event in lines(out)]
    assert [event["exit_code"] for event in events if event["event"] == "tick_ended"] == [0]
    assert len([event for event in events if event["event"] == "tick_started"]) == 1
    assert len(runs) == 1
    assert all({"time", "event"} <= event.keys() for event in events)
    for number in range(2):
        assert list(text_string_to_metric_families((job.folder / f"m{number}.prom").read_text()))


@pytest.mark.process
def test_a_run_that_is_cut_off_is_resumed(job: Shell) -> None:
    """SIGTERM while a campaign is sent: what is under way is finished, and the next start sends the rest, once."""
    job.write("often.yaml", scheduled("* * * * *", "UTC").replace("rate: none", "rate: 1/s"))
    job.people(4)
    if time.time() % 60 > 40:
        time.sleep(60 - time.time() % 60)
    make_due(job, "often", "* * * * * UTC")
    process = spawn(job, "schedule", "run")
    assert process.stdout is not None
    assert process.stderr is not None
    before = ""
    for line in process.stderr:
        before += line
        if "run_started" in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, f"{out}\n{before}{err}"
    assert "tick_interrupted" in out
    done = job("schedule", "run", "--once")
    assert done.code == 0, done
    assert "tick_resumed" in done.out
    with open_state(job.folder / ".sender", read_only=True) as state:
        counts = [state.ledger.counts(run.run_id) for run in state.ledger.runs() if run.messages]
    assert counts[0].accepted == 4
    assert counts[0].pending == 0


class Receiver:
    """A server on this machine that takes notifications."""

    def __init__(self, status: int = 204) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def test_a_run_is_notified_and_signed(job: Shell, receiver: Receiver) -> None:
    args = ("send", "weekly.yaml", "--yes", "--wait", "0", "--notify", receiver.url)
    none = job(*args)
    assert none.code == 2
    assert "SENDER_WEBHOOK_SECRET" in none.err
    assert receiver.requests == []
    assert not list((job.folder / ".sender" / "runs").iterdir()), "nothing is sent without the secret"
    done = job(*args, SENDER_WEBHOOK_SECRET=SECRET)
    assert done.code == 0, done
    [(headers, body)] = receiver.requests
    signature = sign(read_key(SECRET), headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == signature
    event = json.loads(body)
    assert event["type"] == "run.ended"
    assert event["data"]["campaign"] == "weekly"
    assert (event["data"]["accepted"], event["data"]["exit_code"]) == (3, 0)
    assert b"+1202" not in body
    assert b"Hi " not in body
    refused = job(*args, SENDER_WEBHOOK_SECRET=SECRET)
    assert refused.code == 3
    event = json.loads(receiver.requests[1][1])
    assert (event["type"], event["data"]["error"], event["data"]["exit_code"]) == ("run.refused", "RunComplete", 3)


def test_a_notification_that_nobody_takes_changes_nothing(job: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.schedule.notify._DELAYS_S", (0.001,))
    done = job(
        "send", "weekly.yaml", "--yes", "--wait", "0", "--notify", "http://127.0.0.1:9/hook?token=s3cret",
        SENDER_WEBHOOK_SECRET=SECRET,
    )  # fmt: skip
    assert done.code == 0
    assert "the notification was not delivered: 127.0.0.1" in done.err
    assert "s3cret" not in done.err


def test_metrics_of_a_send(job: Shell) -> None:
    file = job.folder / "m.prom"
    args = ("send", "weekly.yaml", "--yes", "--wait", "0", "--metrics", "m.prom")
    assert job(*args).code == 0
    metrics = read_metrics(file)["weekly"]
    assert sum(metrics.messages.values()) == 3
    assert metrics.exit_code == 0
    success = metrics.last_success_s
    assert success is not None
    assert job(*args).code == 3
    metrics = read_metrics(file)["weekly"]
    assert (metrics.exit_code, metrics.last_success_s) == (3, success), "a refused start erases no success"
    assert list(text_string_to_metric_families(file.read_text(encoding="utf-8")))
    assert "+1202" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["people.csv", ".sender/ledger.sqlite3", "nowhere/m.prom"])
def test_metrics_replace_nothing_else(job: Shell, file: str) -> None:
    assert job("send", "weekly.yaml", "--yes", "--wait", "0").code == 0
    before = (job.folder / "people.csv").read_bytes()
    done = job("send", "weekly.yaml", "--yes", "--again", "--wait", "0", "--metrics", file)
    assert done.code == 2, done
    assert (job.folder / "people.csv").read_bytes() == before
    assert len(list(Path(job.folder / ".sender" / "runs").iterdir())) == 1
