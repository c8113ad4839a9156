"""`start:` and `send --at`: what is checked before, what happens while it waits, and what begins then."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import sender as library
from sender.errors import NotStarted
from sender.schedule import waiting
from sender.state.ledger import RunKind
from sender.state.open import open_state
from tests.cli.conftest import Done, Shell
from tests.schedule.virtual_clock import VirtualClock

START = 'provider: sandbox\nfrom: "+12025550199"\nrecipients: people.csv\nmessage: "Hi {{ name }}"\nrate: none\n'
NINE = "start: 2026-12-01T09:00 America/New_York\n"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """08:00 in New York on 1 December 2026, a Tuesday."""
    virtual = VirtualClock("2026-12-01T13:00")
    monkeypatch.setattr(waiting, "CLOCK", virtual.clock)
    return virtual


@pytest.fixture
def job(sender: Shell, clock: VirtualClock) -> Shell:
    sender.write("c.yaml", START + NINE)
    sender.people(3)
    return sender


def events(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]


def send(job: Shell, *args: str) -> Done:
    return job("send", "c.yaml", "--yes", "--wait", "0", *args)


def test_it_waits_and_begins(job: Shell, clock: VirtualClock) -> None:
    done = send(job, "--log-format", "json")
    assert done.code == 0, done
    assert clock.now == datetime(2026, 12, 1, 14, tzinfo=UTC)
    assert "start        Tue 2026-12-01 09:00 EST (America/New_York), at most 15 min late" in done.out
    names = [event["event"] for event in events(done)]
    assert names[0] == "start_wait"
    assert names.index("run_started") > names.index("start_wait")
    assert 4 <= names.count("start_wait") <= 8, "a line now and then"


@pytest.mark.parametrize(
    ("args", "begins"),
    [
        (("--at", "8:30"), "2026-12-01T13:30"),
        (("--at", "2026-12-02 9am"), "2026-12-02T14:00"),
        (("--at", "2026-12-01 09:00", "--zone", "America/Chicago"), "2026-12-01T15:00"),
        (("--at", "in 10m"), "2026-12-01T13:10"),
        (("--at", "now"), "2026-12-01T13:00"),
        (("--at", "07:50"), "2026-12-01T13:00"),
        (("--at", "07:30", "--late", "45m"), "2026-12-01T13:00"),
        (("--at", "07:30"), "2026-12-02T12:30"),
    ],
)
def test_at_comes_before_the_campaigns_start(
    job: Shell, clock: VirtualClock, args: tuple[str, ...], begins: str
) -> None:
    done = send(job, *args)
    assert done.code == 0, done
    assert clock.now == datetime.fromisoformat(begins).replace(tzinfo=UTC)


def test_the_zone_of_at_is_that_of_the_campaigns_window(sender: Shell, clock: VirtualClock) -> None:
    sender.people(2)
    sender.write(
        "offer.yaml",
        'provider: sandbox\nfrom: "+12025550199"\nrecipients: people.csv\nmessage: Hi\nwindow: {zone: Europe/Paris}\n',
    )
    done = sender("send", "offer.yaml", "--yes", "--at", "9pm", "--wait", "0")
    assert done.code == 0, done
    assert clock.now == datetime(2026, 12, 1, 20, tzinfo=UTC)


def test_a_bare_list_may_begin_later(sender: Shell, clock: VirtualClock) -> None:
    sender.people(2)
    args = ("send", "people.csv", "--provider", "sandbox", "--from", "+12025550199", "--body", "Hi", "--default-region")
    none = sender(*args, "US", "--yes", "--at", "9am")
    assert none.code == 2
    assert "--zone America/New_York" in none.err
    done = sender(*args, "US", "--yes", "--at", "9am", "--zone", "America/New_York", "--wait", "0")
    assert done.code == 0, done
    assert clock.now == datetime(2026, 12, 1, 14, tzinfo=UTC)


def test_a_written_plan_keeps_its_start(job: Shell, clock: VirtualClock) -> None:
    assert job("plan", "c.yaml", "--out", "plan").code == 0
    manifest = job("plan", "plan", "--json").json
    assert manifest["start"] == {
        "at": "2026-12-01T09:00:00-05:00", "late_s": 900.0, "zone": "America/New_York", "note": None,
    }  # fmt: skip
    (job.folder / "c.yaml").unlink()
    assert job("send", "plan", "--yes", "--wait", "0").code == 0
    assert clock.now == datetime(2026, 12, 1, 14, tzinfo=UTC)


def test_a_written_plan_may_begin_at_another_time(job: Shell, clock: VirtualClock) -> None:
    job("plan", "c.yaml", "--out", "plan")
    done = job("send", "plan", "--yes", "--wait", "0", "--at", "10:00", "--zone", "America/New_York")
    assert done.code == 0, done
    assert clock.now == datetime(2026, 12, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize("args", [("--at", "2026-12-01 07:30"), ("--at", "today 7:30"), ("--late", "1m")])
def test_a_stale_start_is_refused(job: Shell, clock: VirtualClock, args: tuple[str, ...]) -> None:
    if args[0] == "--late":
        clock.jump(3600 + 120)
    done = send(job, *args)
    assert done.code == 3
    assert "ago, on Tue 2026-12-01" in done.err
    assert "--at now" in done.err
    assert not list((job.folder / ".sender" / "runs").iterdir())
    assert clock.sleeps == []


def test_a_run_that_has_begun_is_resumed_at_any_time(job: Shell, clock: VirtualClock) -> None:
    assert send(job, "--limit", "1").code == 0
    clock.jump(86_400)
    done = send(job)
    assert done.code == 0, done
    assert "resuming run" in done.out
    clock.jump(86_400)
    assert "has been sent" in send(job).err


def test_what_is_wrong_is_said_before_the_wait(job: Shell, clock: VirtualClock) -> None:
    job.write("c.yaml", START.replace("sandbox", "twilio") + NINE)
    done = send(job)
    assert done.code == 2
    assert "TWILIO_ACCOUNT_SID" in done.err
    assert clock.sleeps == []


def at_the_last_minute(clock: VirtualClock, change: Callable[[], object]) -> None:
    def watch(now: datetime) -> None:
        if now >= datetime(2026, 12, 1, 13, 59, tzinfo=UTC) and not changed:
            changed.append(change())

    changed: list[object] = []
    clock.on_sleep = watch


def test_opt_outs_of_the_meantime_count(job: Shell, clock: VirtualClock) -> None:
    job.make_state()
    at_the_last_minute(clock, lambda: job("suppress", "add", "+12025550101"))
    done = send(job, "--json", "--log-format", "json")
    assert done.code == 0, done
    assert done.json["skipped"] == {"suppressed": 1} or sum(done.json["skipped"].values()) == 1
    assert done.json["accepted"] == 2
    assert [event["fewer"] for event in events(done) if event["event"] == "start_fewer"] == [1]


def test_a_shorter_list_is_sent_and_a_changed_one_is_not(job: Shell, clock: VirtualClock) -> None:
    at_the_last_minute(clock, lambda: job.people(2))
    done = send(job, "--json")
    assert (done.code, done.json["accepted"]) == (0, 2)


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        pytest.param(lambda job: job.people(4), "1 message is", id="somebody-new"),
        pytest.param(lambda job: job.write("c.yaml", START.replace("Hi", "Ho") + NINE), "3 messages are", id="text"),
        pytest.param(
            lambda job: job.write("c.yaml", START.replace("0199", "0198") + NINE), "3 messages are", id="sender"
        ),
        pytest.param(
            lambda job: job.write("c.yaml", START + NINE + "edition: second\n"), "3 messages are", id="edition"
        ),
    ],
)
def test_what_nobody_agreed_to_is_not_sent(
    job: Shell, clock: VirtualClock, change: Callable[[Shell], object], messages: str
) -> None:
    at_the_last_minute(clock, lambda: change(job))
    done = send(job)
    assert done.code == 3
    assert f"the inputs changed while waiting for the start: {messages}" in done.err
    assert not list((job.folder / ".sender" / "runs").iterdir())


def test_a_suspended_machine_does_not_begin_late(job: Shell, clock: VirtualClock) -> None:
    at_the_last_minute(clock, lambda: clock.jump(7200))
    done = send(job)
    assert done.code == 3
    assert "the start was 1 h 59 min ago" in done.err


def test_the_edition_is_that_of_the_start(job: Shell, clock: VirtualClock) -> None:
    job.write("c.yaml", START + NINE.replace("T09:00", "T21:00") + 'edition: "{{ date }}"\n')
    assert job("plan", "c.yaml", "--json").json["edition"] == "2026-12-01", "it is the 2nd in UTC by then"


def test_a_test_and_a_rehearsal_do_not_wait(job: Shell, clock: VirtualClock) -> None:
    assert send(job, "--test-to", "+12025550177").code == 0
    assert send(job, "--rehearse").code == 0
    assert clock.sleeps == []
    assert send(job, "--rehearse", "--at", "8:30", "--again").code == 0
    assert clock.sleeps != []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--zone", "America/New_York"), "--zone is the zone of --at"),
        (("--at", "9am", "--zone", "Mars/Olympus"), "--zone: there is no time zone `Mars/Olympus`"),
        (("--at", "9am PST"), "there is no time zone `PST`: write it as America/Los_Angeles"),
        (("--at", "soon"), "--at soon: it is not a time"),
        (("--late", "never"), "--late: 'never' is not a duration"),
    ],
)
def test_what_cannot_be_read(job: Shell, args: tuple[str, ...], says: str) -> None:
    done = send(job, *args)
    assert done.code == 2
    assert says in done.err


def test_a_dry_run_says_how_long_it_would_wait(job: Shell, clock: VirtualClock) -> None:
    assert "a real start would wait for 1 h" in job("send", "c.yaml", "--dry-run").out
    clock.jump(7200)
    assert "would ask first: the start was 1 h ago" in job("send", "c.yaml", "--dry-run").out
    assert clock.sleeps == []


def test_what_clocks_do_to_the_time_is_said(job: Shell, clock: VirtualClock) -> None:
    clock.jump(102 * 86_400)  # to the day before
    done = send(job, "--at", "2027-03-14 02:30")
    assert done.code == 0, done
    assert "02:30 on 2027-03-14 does not exist, and 03:00 is used instead" in " ".join(done.out.split())
    assert clock.now == datetime(2027, 3, 14, 7, tzinfo=UTC)


def test_two_processes_do_not_wait_for_one_campaign(job: Shell, clock: VirtualClock) -> None:
    with open_state(job.folder / ".sender") as state, state.locks.hold_start("c", RunKind.SANDBOX):
        done = send(job)
    assert done.code == 3
    assert "another process waits for the start of c (pid" in done.err


def test_python_waits_too(job: Shell, clock: VirtualClock) -> None:
    plan = library.build_plan(library.load_campaign(job.folder / "c.yaml"), at="2026-12-01 08:10 America/New_York")
    assert plan.manifest.start is not None
    result = library.send(plan, state_dir=job.folder / ".sender")
    assert result.exit_code == 0
    assert clock.now >= datetime(2026, 12, 1, 13, 10, tzinfo=UTC)
    late = library.build_plan(library.load_campaign(job.folder / "c.yaml", edition="2"), at="2026-11-01T09:00Z")
    with pytest.raises(NotStarted, match="ago, on Sun 2026-11-01"):
        library.send(late, state_dir=job.folder / ".sender")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaving_the_wait_leaves_nothing(sender: Shell, number: signal.Signals) -> None:
    """For real: a process that waits, and a signal."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    sender.write("c.yaml", START + f"start: {soon:%Y-%m-%dT%H:%M}Z\n")
    sender.people(3)
    process = sender.start("send", "c.yaml", "--yes")
    assert process.stderr is not None
    assert "starts on" in process.stderr.readline()
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped; nothing was sent" in err
    assert "Traceback" not in err
    assert not list((sender.folder / ".sender" / "runs").iterdir())
    assert not list((sender.folder / ".sender" / "locks").glob("*.json"))


def test_it_begins_for_real(sender: Shell) -> None:
    sender.write("c.yaml", START)
    sender.people(3)
    begun = time.time()
    process = sender.start("send", "c.yaml", "--yes", "--wait", "0", "--at", "in 2s")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert time.time() - begun >= 1
    created = library.open_state(Path(sender.folder / ".sender")).ledger.runs()[0].created_at_ms
    assert created / 1000 >= begun + 1
