"""Runs that a person closes, pauses and resumes, from the terminal that sends or from another one."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable

import pytest

import sender as library
from tests.cli.conftest import Done, Sandbox, Shell

Start = Callable[..., Sandbox]
NUMBERS = [f"+1202555010{n}" for n in range(10)]
ME = f"{getpass.getuser()} on {socket.gethostname()}"
CAMPAIGN = """
provider: twilio
from: "+12025550199"
recipients: people.csv
message: "Hi {{ name }}"
rate: none
"""


@pytest.fixture
def job(sender: Shell, sandbox: Start) -> Job:
    return Job(sender, sandbox())


class Job:
    """A live campaign to ten people, and a provider on loopback."""

    def __init__(self, sender: Shell, provider: Sandbox) -> None:
        self.sender = sender
        self.provider = provider
        sender.write("offer.yaml", CAMPAIGN)
        self.people(*NUMBERS)

    def people(self, *numbers: str) -> None:
        rows = "".join(f"N{number[-2:]},{number}\n" for number in numbers)
        self.sender.write("people.csv", "name,phone\n" + rows)

    def __call__(self, command: str, *arguments: str, target: str = "offer.yaml") -> Done:
        asked = ("--yes", "--wait", "0") if command in ("send", "retry", "resume") else ()
        return self.sender(command, target, *asked, *arguments, **self.provider.env)

    def half(self, *arguments: str) -> None:
        """Five of ten have it, and the run is unfinished."""
        assert self("send", "--limit", "5", *arguments).code == 0
        assert sum(self.counts.values()) == 5

    @property
    def counts(self) -> dict[str, int]:
        return self.provider.counts()

    def status(self, target: str = "offer.yaml") -> dict[str, object]:
        answer: dict[str, object] = self.sender("status", target, "--json").json
        return answer

    def runs(self) -> list[dict[str, object]]:
        """Newest first."""
        listed: list[dict[str, object]] = self.sender("status", "--json").json
        return listed


def test_closing_cancels_the_rest_and_says_what_is_left(job: Job) -> None:
    job.half()
    closed = job("close")
    assert closed.code == 0, closed
    assert "5 messages canceled" in closed.out
    assert "--status canceled` would send 5 canceled messages" in closed.out
    status = job.status()
    assert (status["state"], status["canceled"], status["pending"], status["closed_by"]) == ("closed", 5, 0, ME)
    assert status["law"] == "10 rows = 0 skipped + 5 accepted + 0 rejected + 5 canceled + 0 unknown + 0 pending"
    assert job("results").code == 0
    written = job("results", "--format", "csv", "--output", "all.csv")
    assert written.code == 0, written
    again = job("cancel")
    assert (again.code, "was already closed" in again.out, ME in again.out) == (0, True, True), again
    assert job.status()["canceled"] == 5
    assert sum(job.counts.values()) == 5


def test_a_closed_run_is_never_resumed(job: Job) -> None:
    job.half()
    job("close")
    for arguments in ((), ("--resume",)):
        refused = job("send", *arguments)
        assert refused.code in (2, 3), refused
    assert "--only-new sends to the 5 people who have not had it" in job("send").err
    assert job("resume").code == 3
    assert sum(job.counts.values()) == 5
    assert job("send", "--only-new").code == 0
    assert job.counts == dict.fromkeys(NUMBERS, 1)


def test_a_retry_takes_canceled_messages_only_when_asked(job: Job) -> None:
    job.half()
    job("close")
    assert job("retry").code == 2
    assert sum(job.counts.values()) == 5
    done = job("retry", "--status", "canceled")
    assert done.code == 0, done
    assert job.counts == dict.fromkeys(NUMBERS, 1)
    assert job("retry", "--status", "canceled").code == 2


def test_a_retry_leaves_out_those_whom_a_later_run_has_reached(job: Job) -> None:
    job.half()
    job("close")
    first = job.runs()[0]["run_id"]
    job.people(*NUMBERS[:8])
    assert job("send", "--only-new").code == 0
    done = job("retry", "--status", "canceled", target=str(first))
    assert done.code == 0, done
    assert job.counts == dict.fromkeys(NUMBERS, 1)


def test_the_json_of_close(job: Job) -> None:
    job.half()
    first, again = job("close", "--json").json, job("close", "--json").json
    assert {name: first[name] for name in ("closed_now", "canceled_now", "canceled", "unknown", "retryable")} == {
        "closed_now": True,
        "canceled_now": 5,
        "canceled": 5,
        "unknown": 0,
        "retryable": 5,
    }
    assert (again["closed_now"], again["canceled_now"], again["canceled"]) == (False, 0, 5)
    assert again["closed_by"] == first["closed_by"] == ME


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("command", ["close", "pause"])
def test_from_another_terminal_the_sender_ends_by_itself(
    sender: Shell, sandbox: Start, command: str, workers: int
) -> None:
    job = Job(sender, sandbox("--latency", "100"))
    job.sender.people(60)
    rate = "--rate=10/s"
    process = job.sender.start(
        "send", "offer.yaml", "--yes", "--wait", "0", rate, "--workers", str(workers), **job.provider.env
    )
    job.provider.wait_for(3)
    ended = job(command)
    assert ended.code == 0, ended
    out, err = process.communicate(timeout=60)
    sent = sum(job.counts.values())
    status = job.status()
    assert sent == status["accepted"] < 60
    assert (status["unknown"], status["intent"]) == (0, 0)
    last = out.strip().splitlines()[-1]
    if command == "close":
        assert process.returncode == 1, out + err
        assert f"by {ME}" in last
        assert last.startswith("closed on ")
        assert status["canceled"] == 60 - sent
    else:
        assert process.returncode == 130, out + err
        assert f"by {ME}" in last
        assert last.startswith("paused on ")
        assert status["pending"] == 60 - sent
        assert job("resume").code == 0
        assert set(job.counts.values()) == {1}
        assert len(job.counts) == 60


def test_a_slow_sender_notices_at_once(job: Job) -> None:
    process = job.sender.start("send", "offer.yaml", "--yes", "--wait", "0", "--rate", "1/min", **job.provider.env)
    job.provider.wait_for(1)
    assert job("pause").code == 0
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_paused_run_is_not_sent_by_a_plain_start(job: Job) -> None:
    job.half()
    paused = job("pause")
    assert (paused.code, "5 pending" in paused.out, "no message is in flight" in paused.out) == (0, True, True), paused
    assert "was already paused" in job("pause").out
    for arguments in ((), ("--resume",)):
        refused = job("send", *arguments)
        assert refused.code == 3, refused
        assert "was paused on 20" in refused.err
        assert ME in refused.err
        assert "sender resume" in refused.err
    assert job.status()["state"] == "paused"
    assert sum(job.counts.values()) == 5
    done = job("resume")
    assert done.code == 0, done
    assert job.counts == dict.fromkeys(NUMBERS, 1)
    assert job.status()["state"] == "complete"
    assert job("resume").code == 3
    assert job("pause").code == 3


def test_resume_needs_a_yes(job: Job) -> None:
    job.half()
    job("pause")
    refused = job.sender("resume", "offer.yaml", **job.provider.env)
    assert refused.code == 2, refused
    assert job.status()["state"] == "paused", "nobody said yes"


def test_a_rehearsal_is_resumed_as_a_rehearsal(job: Job) -> None:
    assert job.sender("send", "offer.yaml", "--yes", "--rehearse", "--limit", "5").code == 0
    assert job("pause").code == 0
    done = job.sender("resume", "offer.yaml", "--yes")
    assert done.code == 0, done
    assert "no message left this machine" in done.out
    assert job.counts == {}
    assert [(run["kind"], run["accepted"]) for run in job.runs()] == [("rehearsal", 10)]


def test_only_new_ends_an_unfinished_run_whose_inputs_changed(job: Job) -> None:
    job.half()
    job.people(*NUMBERS[:8])
    refused = job("send", "--body", "Another text")
    assert (refused.code, "--only-new" in refused.err, "sender close" in refused.err) == (3, True, True), refused
    done = job("send", "--body", "Another text", "--only-new")
    assert done.code == 0, done
    assert job.counts == dict.fromkeys(NUMBERS[:8], 1)
    new, old = job.runs()
    assert (old["state"], old["close_reason"], old["closed_by"]) == ("closed", "superseded", f"run {new['run_id']}")
    assert (old["canceled"], old["pending"]) == (5, 0)
    assert job("send", "--resume").code in (2, 3)
    assert job.counts == dict.fromkeys(NUMBERS[:8], 1)


def test_new_run_abandons_what_it_leaves_behind(job: Job) -> None:
    job.half()
    assert job("send", "--new-run", "--limit", "2").code == 0
    new, old = job.runs()
    assert (old["state"], old["close_reason"]) == ("closed", "abandoned")
    assert job("send").code == 0
    assert job.runs()[0]["run_id"] == new["run_id"]
    assert job.counts == {number: 2 if number in NUMBERS[:5] else 1 for number in NUMBERS}
    assert job("send", "--resume").code == 3


def test_again_while_a_run_is_unfinished_names_the_ways_on(job: Job) -> None:
    job.half()
    refused = job("send", "--again")
    assert refused.code == 3
    assert all(way in refused.err for way in ("--resume", "sender close"))
    job("close")
    done = job("send", "--again")
    assert done.code == 0, done
    assert job.counts == {number: 2 if number in NUMBERS[:5] else 1 for number in NUMBERS}


@pytest.mark.parametrize("given", ["option", "campaign"])
@pytest.mark.parametrize("policy", ["resume", "close", "refuse"])
def test_what_a_scheduled_job_does_with_an_unfinished_run(job: Job, policy: str, given: str) -> None:
    """A weekly letter, and last week's run is unfinished."""
    job.half("--edition", "week 1")
    week_2 = ("--edition", "week 2", "--body", "Another text")
    said = ("--on-unfinished", policy) if given == "option" else ("--set", f"on_unfinished={policy}")
    done = job("send", *week_2, *said)
    assert done.code == (3 if policy == "refuse" else 0), done
    runs = job.runs()
    if policy == "resume":
        assert job.counts == dict.fromkeys(NUMBERS, 1)
        assert [run["state"] for run in runs] == ["complete"]
        assert job("send", *week_2, *said).code == 0
        assert job.counts == dict.fromkeys(NUMBERS, 2)
    elif policy == "close":
        assert job.counts == {number: 2 if number in NUMBERS[:5] else 1 for number in NUMBERS}
        assert [run["state"] for run in runs] == ["complete", "closed"]
    else:
        assert sum(job.counts.values()) == 5
        assert [run["state"] for run in runs] == ["unfinished"]


def test_one_message_that_always_fails_never_blocks_a_weekly_job(job: Job) -> None:
    """The sandbox refuses this number as long as one asks, and the run halts with it pending."""
    job.sender.write("offer.yaml", CAMPAIGN + 'edition: "{{ week }}"\non_unfinished: close\n')
    for week in range(1, 4):
        stuck = job("send", "--edition", f"week {week}", "--limit", "9")
        assert stuck.code == 0, stuck
        assert job.runs()[0]["pending"] == 1
    assert [run["state"] for run in job.runs()] == ["unfinished", "closed", "closed"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"TWILIO_API_BASE": "{other}"}, "sent through", id="base URL"),
        pytest.param({"TWILIO_ACCOUNT_SID": "AC" + "9" * 32}, "sent by account", id="account"),
    ],
)
def test_an_account_is_also_its_address(job: Job, sandbox: Start, change: dict[str, str], sentence: str) -> None:
    job.half()
    other = sandbox()
    changed = {name: value.format(other=other.url) for name, value in change.items()}
    for command in (
        ["send", "offer.yaml", "--yes"],
        ["resume", "offer.yaml", "--yes"],
        ["reconcile", "offer.yaml"],
        ["status", "offer.yaml", "--refresh"],
    ):
        refused = job.sender(*command, **{**job.provider.env, **changed})
        assert refused.code == 3, refused
        assert sentence in refused.err
        assert "--only-new" in refused.err
    assert sum(job.counts.values()) == 5
    assert other.counts() == {}


def test_only_new_is_the_way_on_from_another_address(job: Job, sandbox: Start) -> None:
    job.half()
    other = sandbox()
    done = job.sender("send", "offer.yaml", "--yes", "--only-new", **{**job.provider.env, "TWILIO_API_BASE": other.url})
    assert done.code == 0, done
    assert other.counts() == dict.fromkeys(NUMBERS[5:], 1)
    assert job.counts == dict.fromkeys(NUMBERS[:5], 1)


def test_a_plain_start_says_that_it_resumes_a_run_for_new_people(job: Job) -> None:
    job.people(*NUMBERS[:3])
    job("send")
    job.people(*NUMBERS)
    assert job("send", "--only-new", "--limit", "2").code == 0
    done = job("send")
    assert done.code == 0, done
    assert "it began with --only-new, which left out 3 people who had had offer" in done.out
    assert job.counts == dict.fromkeys(NUMBERS, 1)


def test_a_plan_of_new_people_has_a_hash_of_its_own(job: Job) -> None:
    job.half()
    plain, new = (job("plan", "--json", *arguments).json for arguments in ((), ("--only-new",)))
    assert plain["plan_hash"] != new["plan_hash"]
    assert plain["identity"] == new["identity"]


def test_a_dry_run_says_that_a_start_would_be_refused(job: Job) -> None:
    job.half()
    assert "would be refused" not in job("send", "--dry-run").out
    assert job("send", "--dry-run", "--json").json["refused"] is None
    job("pause")
    shown = job("send", "--dry-run")
    assert (shown.code, "a real start would be refused: run " in shown.out) == (0, True), shown
    assert "was paused" in job("send", "--dry-run", "--json").json["refused"]
    job("close")
    assert "has been sent" in job("send", "--dry-run", "--json").json["refused"]


def test_a_run_that_did_not_start_is_not_logged_as_started(job: Job) -> None:
    done = job.sender("send", "offer.yaml", "--yes", "--log-format", "json", TWILIO_ACCOUNT_SID="AC" + "0" * 32)
    assert done.code == 2, done
    assert "run_started" not in done.err


def test_a_closed_run_holds_nobody_of_a_new_list_back(job: Job) -> None:
    """Closed before anybody was reached, it does not count."""
    bad = {**job.provider.env, "TWILIO_API_BASE": "http://127.0.0.1:9"}
    assert job.sender("send", "offer.yaml", "--yes", **bad).code == 3
    assert job("close").code == 0
    done = job("send")
    assert done.code == 0, done
    assert job.counts == dict.fromkeys(NUMBERS, 1)


def test_the_library_finds_the_state_by_the_file_that_names_the_run(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    job.half()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    campaign = job.sender.folder / "offer.yaml"
    assert library.pause(campaign).counts.pending == 5
    assert library.close(campaign).canceled == 5
