"""One campaign from several machines: `sender worker` on each, and a start from anywhere."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

from sender.state.ledger import RunKind
from sender.state.open import open_state
from tests import warm
from tests.cli.conftest import Sandbox, Shell
from tests.cli.test_database_state import CAMPAIGN, env_of, totals
from tests.state.conftest import DATABASES, give_back, lent, new_database, servers, state_pools  # noqa: F401 (fixtures)

Start = Callable[..., Sandbox]
WAIT_S = 45.0  # on a busy machine a process takes seconds to begin


@pytest.fixture
def url(new_database: Callable[[str], str]) -> str:  # noqa: F811
    return new_database(DATABASES[0])


class Machines:
    """`sender worker` on machines with folders of their own."""

    def __init__(self, shell: Shell, url: str) -> None:
        self.shell = shell
        self.url = url
        self.workers: list[warm.Process] = []
        self.told: list[str] = []

    def begin(self, count: int, *args: str, **env: str) -> None:
        for _ in range(count):
            home = self.shell.folder / f"machine{time.monotonic_ns()}"
            process = self.shell.start("worker", "--state", self.url, *args, XDG_STATE_HOME=str(home), **env)
            self.workers.append(process)
        self.wait(lambda state: len(state.sharing.workers()) >= len(self.workers))

    def wait(self, holds: Callable[[Any], bool]) -> None:
        until = time.monotonic() + WAIT_S
        with open_state(self.url) as state:
            while not holds(state):
                assert time.monotonic() < until, f"{self.end()} {self.told}"
                time.sleep(0.1)

    def end(self) -> list[int]:
        """Drain all of them; return their exit codes."""
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        self.told += [process.communicate(timeout=60)[1] for process in self.workers]
        codes = [process.returncode for process in self.workers]
        self.workers.clear()
        return codes


@pytest.fixture
def machines(sender: Shell, url: str) -> Iterator[Machines]:
    machines = Machines(sender, url)
    yield machines
    machines.end()


def offer(shell: Shell, people: int, rate: str) -> str:
    shell.people(people)
    shell.write("offer.yaml", CAMPAIGN.replace("RATE", rate))
    return "offer.yaml"


def send_of(path: str, url: str, *more: str) -> tuple[str, ...]:
    return ("send", path, "--yes", "--rehearse", "--wait", "0", "--state", url, *more)


def is_over(state: Any) -> bool:
    runs = state.ledger.runs()
    return bool(runs) and runs[0].finished_at_ms is not None


def sent_by(state: Any) -> set[int]:
    return {shift.pid for shift in state.sharing.shifts() if shift.sent}


def test_two_machines_send_what_a_third_begins(sender: Shell, sandbox: Start, url: str, machines: Machines) -> None:
    server, path = sandbox("--latency", "20"), offer(sender, 600, "60/s")
    assert "no worker is running" in sender("workers", "--state", url).out
    machines.begin(2)
    assert len(sender("workers", "--json", "--state", url).json["workers"]) == 2
    process = sender.start(*send_of(path, url), **env_of(server))
    machines.wait(lambda state: len(sent_by(state)) == 2)
    there = sender("workers", "--state", url).out
    assert re.search(r"sends run \S+ since .*: [1-9]\d* sent, \d+ in flight", there), there
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert totals(out)["accepted"] == 600
    assert sorted(server.counts().values()) == [1] * 600
    done = sender("results", "offer", "--state", url, "--output", "out.csv")
    assert done.code == 0, done
    assert pl.read_csv(sender.folder / "out.csv", infer_schema=False).height == 600
    assert sender(*send_of(path, url), **env_of(server)).code == 3
    sender.people(2)
    sender.write("few.yaml", CAMPAIGN.replace("RATE", "none").replace("name: offer", "name: few"))
    assert "only this command sends: SENDER_SANDBOX_URL names no sandbox" in sender(*send_of("few.yaml", url)).err
    assert machines.end() == [0, 0]
    assert "no worker is running" in sender("workers", "--state", url).out


def test_who_stops_following_leaves_the_run_to_the_others(
    sender: Shell, sandbox: Start, url: str, machines: Machines
) -> None:
    server, path = sandbox(), offer(sender, 300, "30/s")
    machines.begin(2)
    process = sender.start(*send_of(path, url), **env_of(server))
    machines.wait(lambda state: len(sent_by(state)) == 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "the other machines continue" in out, out + err
    assert "`sender pause" in out
    machines.wait(is_over)
    assert sorted(server.counts().values()) == [1] * 300


def test_a_detached_start_waits_for_the_first_machine(
    sender: Shell, sandbox: Start, url: str, machines: Machines
) -> None:
    server, path = sandbox(), offer(sender, 60, "none")
    done = sender(*send_of(path, url, "--detach"), **env_of(server))
    assert done.code == 0, done
    assert "is sent by the first machine that starts `sender worker`" in done.out
    assert not server.counts()
    machines.begin(1, "--workers", "2")
    machines.wait(is_over)
    assert sorted(server.counts().values()) == [1] * 60


def test_a_run_is_held_everywhere_and_goes_on(sender: Shell, sandbox: Start, url: str, machines: Machines) -> None:
    server, path = sandbox(), offer(sender, 400, "40/s")
    machines.begin(2)
    process = sender.start(*send_of(path, url), **env_of(server))
    machines.wait(lambda state: len(sent_by(state)) == 2)
    assert sender("pause", "offer", "--state", url).code == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    machines.wait(lambda state: not state.sharing.shifts())
    sent = sum(server.counts().values())
    time.sleep(2.0)
    assert sum(server.counts().values()) == sent < 400
    resumed = sender("resume", "offer", "--yes", "--wait", "0", "--state", url, **env_of(server))
    assert resumed.code == 0, resumed
    assert sorted(server.counts().values()) == [1] * 400


def test_one_who_follows_and_dies_is_replaced(sender: Shell, sandbox: Start, url: str, machines: Machines) -> None:
    """At once, though the engine has more shifts to hand out than there are places."""
    server, path = sandbox(), offer(sender, 600, "20/s")
    machines.begin(2)
    process = sender.start(*send_of(path, url), **env_of(server))
    machines.wait(lambda state: len(sent_by(state)) == 2)
    with open_state(url) as state:
        assert state.sharing is not None
        asyncio.run(state.sharing.open_queue().enqueue_shifts(state.ledger.runs()[0].run_id, 4))
    time.sleep(2.0)
    process.kill()
    process.communicate()
    machines.wait(lambda state: state.locks.holder("offer", RunKind.REHEARSAL) is not None)
    assert len(server.counts()) < 600
    machines.wait(is_over)
    assert sorted(server.counts().values()) == [1] * 600


def test_nobody_is_erased_from_under_a_machine_that_sends(
    sender: Shell, sandbox: Start, url: str, machines: Machines
) -> None:
    """Whoever began the run is dead; a machine goes on sending it, with the plan as it was."""
    server, path = sandbox(), offer(sender, 300, "20/s")
    last = pl.read_csv(sender.folder / "people.csv", infer_schema=False)["phone"][-1]
    machines.begin(1)
    process = sender.start(*send_of(path, url), **env_of(server))
    machines.wait(lambda state: len(sent_by(state)) == 1)
    process.kill()
    process.communicate()
    refused = sender("forget", last, "--yes", "--state", url)
    assert refused.code == 3, refused
    assert "offer is being sent by" in refused.err
    assert sender("pause", "offer", "--state", url).code == 0
    machines.wait(lambda state: not state.sharing.shifts() and state.locks.holder("offer", RunKind.REHEARSAL) is None)
    done = sender("forget", last, "--yes", "--state", url)
    assert done.code == 0, done
    resumed = sender("resume", "offer", "--yes", "--wait", "0", "--state", url, **env_of(server))
    assert resumed.code == 1, resumed
    assert "1 canceled" in resumed.out
    assert last not in server.counts()
    assert sorted(server.counts().values()) == [1] * 299


def test_a_stop_on_one_machine_holds_on_all(sender: Shell, sandbox: Start, url: str, machines: Machines) -> None:
    server, path = sandbox(), offer(sender, 300, "30/s")
    machines.begin(2)
    process = sender.start(*send_of(path, url), **env_of(server))
    machines.wait(lambda state: len(sent_by(state)) == 2)
    last = pl.read_csv(sender.folder / "people.csv", infer_schema=False)["phone"][-1]
    assert sender("suppress", "add", last, "--state", url).code == 0
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert last not in server.counts()
    assert len(server.counts()) == 299


def test_what_stops_one_stops_all(sender: Shell, sandbox: Start, url: str, machines: Machines) -> None:
    """The account is out of money: nobody claims more, and the start says why."""
    server, path = sandbox(), offer(sender, 400, "40/s")
    rows = (sender.folder / "people.csv").read_text(encoding="utf-8").splitlines()
    rows[100] = "Empty,+12025550199"
    sender.write("people.csv", "\n".join(rows) + "\n")
    machines.begin(2)
    done = sender(*send_of(path, url), **env_of(server))
    assert done.code == 3, done
    assert "Account is not active" in done.err
    sent = sum(server.counts().values())
    machines.wait(lambda state: not state.sharing.shifts())
    assert sum(server.counts().values()) == sent < 400


def test_a_canary_that_turns_bad_stops_all(sender: Shell, sandbox: Start, url: str, machines: Machines) -> None:
    """Its process alone reads the receipts: without a word to the others they would send on to the end.

    That end is 54 s away: on a busy machine the receipts may be read late.
    """
    server, path = sandbox(), offer(sender, 1_080, "20/s")
    campaign = CAMPAIGN.replace("RATE", "20/s") + "dedupe: none\ncanary: {first: 20, wait: 20s}\n"
    sender.write("offer.yaml", campaign)
    rows = (sender.folder / "people.csv").read_text(encoding="utf-8").splitlines()
    every = 1_080 // 20
    for place, row in enumerate(rows[1:], 1):
        if (place - 1) % every and place % 2:  # accepted, and reported later as undelivered
            rows[place] = f"{row[:-2]}94"
    sender.write("people.csv", "\n".join(rows) + "\n")
    machines.begin(2)
    done = sender(*send_of(path, url), **env_of(server))
    assert done.code == 3, done
    assert "is stopped by the results of its messages" in done.err
    machines.wait(lambda state: not state.sharing.shifts())
    sent = sum(server.counts().values())
    assert sent < 720
    time.sleep(2.0)
    assert sum(server.counts().values()) == sent


def test_a_machine_with_another_account_sends_nothing(
    sender: Shell, sandbox: Start, url: str, machines: Machines
) -> None:
    server, path = sandbox(), offer(sender, 60, "none")
    others = server.env | {"TWILIO_ACCOUNT_SID": "AC" + "f" * 32}
    machines.begin(1, **others)
    live = ("send", path, "--yes", "--wait", "0", "--state", url)
    done = sender(*live, **server.env)
    assert done.code == 0, done
    assert sorted(server.counts().values()) == [1] * 60
    machines.end()
    assert "is sent by account" in "".join(machines.told), "it says why"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("worker", "--state", "."), "`sender worker` needs a state in a database"),
        (("workers", "--state", "."), "only a state in a database has workers"),
        (("send", "offer.yaml", "--detach"), "--detach needs a state in a database"),
        (("send", "offer.yaml", "--shifts", "2"), "senders on several machines need a state in a database"),
        (("send", "offer.yaml", "--detach", "--output", "x.csv", "--state", "URL"), "--output and --detach contradict"),
        (("send", "offer.yaml", "--yes", "--detach", "--rehearse", "--state", "URL"), "needs a sandbox that they can"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_said_in_a_sentence(sender: Shell, url: str, words: tuple[str, ...], says: str) -> None:
    offer(sender, 2, "none")
    sender.make_state()
    words = tuple(".sender" if word == "." else word for word in words)
    done = sender(*(url if word == "URL" else word for word in words))
    assert (done.code, says in done.err) == (2, True), done
    assert done.err.count("error:") == 1
