"""A run is what it says it is: live or rehearsed, sent by its own retries, and under way while somebody sends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.cli.conftest import Sandbox, Shell
from tests.cli.test_ending_runs import CAMPAIGN, NUMBERS, Job

Start = Callable[..., Sandbox]


@pytest.fixture
def job(sender: Shell, sandbox: Start) -> Job:
    return Job(sender, sandbox())


def failed(job: Job) -> str:
    """A live run of four, one of which the provider has refused; its id."""
    job.people(*NUMBERS[:3], "+12025550190")
    assert job("send").code == 1
    return str(job.runs()[0]["run_id"])


RETRY = ("--status", "rejected", "--reason", "invalid_number")


def test_a_rehearsed_retry_sends_nothing_and_is_none(job: Job) -> None:
    root = failed(job)
    before = dict(job.counts)
    rehearsed = job("retry", "--rehearse", *RETRY, target=root)
    assert "no message left this machine" in rehearsed.out, rehearsed
    assert job.counts == before
    assert job.runs()[0]["kind"] == "rehearsal"
    live = job("retry", *RETRY, target=root)
    assert live.code == 1, live
    assert "no message left this machine" not in live.out
    runs = job.runs()
    assert (runs[0]["kind"], runs[0]["retry_of"], runs[0]["rejected"]) == ("live", root, 1)
    again = job("retry", "--rehearse", *RETRY, target=root)
    assert "no message left this machine" in again.out, again
    assert job.counts == before


def test_an_unfinished_rehearsed_retry_is_not_resumed_live(job: Job) -> None:
    job.half()
    job("close")
    root = str(job.runs()[0]["run_id"])
    canceled = ("--status", "canceled")
    assert job("retry", "--rehearse", "--limit", "2", *canceled, target=root).code == 0
    assert sum(job.counts.values()) == 5
    done = job("retry", *canceled, target=root)
    assert done.code == 0, done
    assert job.counts == dict.fromkeys(NUMBERS, 1)
    kinds = [(run["kind"], run["accepted"], run["pending"]) for run in job.runs()]
    assert kinds == [("live", 5, 0), ("rehearsal", 2, 3), ("live", 5, 0)]


def test_a_rehearsal_does_not_count_as_having_reached_anybody(job: Job) -> None:
    assert job("send", "--rehearse").code == 0
    assert job.counts == {}
    done = job("send")
    assert done.code == 0, done
    assert job.counts == dict.fromkeys(NUMBERS, 1)


@pytest.mark.parametrize("way", ["resend", "reconcile"])
def test_what_a_retry_took_over_is_never_sent_by_its_root(sender: Shell, sandbox: Start, way: str) -> None:
    """The provider never answers clearly, and its log shows that it has nothing."""
    job = Job(sender, sandbox("--faults", ",".join(f"{number}=500-before" for number in NUMBERS[:3])))
    sender.write("offer.yaml", CAMPAIGN.replace("provider: twilio", "provider: sandbox\nsandbox: {dialect: twilio}"))
    sender.env |= {"SENDER_SANDBOX_URL": job.provider.url, "SENDER_SANDBOX_SETTLE_S": "0"}
    job.people(*NUMBERS[:3])
    assert job("send", "--on-unknown", "hold").code == 4
    root = str(job.runs()[0]["run_id"])
    retried = job("retry", "--include-unknown", "--on-unknown", "hold", "--limit", "1", target=root)
    assert job.runs()[0]["retry_of"] == root, retried
    if way == "resend":
        job("send", "--resend-unknown", "--on-unknown", "hold")
    else:
        assert job("reconcile", target=root).code == 1
    after = job.status(root)
    assert after["pending"] == 0
    assert {"resend": after["unknown"], "reconcile": after["canceled"]}[way] == 3


def test_messages_under_way_are_not_called_unknown(sender: Shell, sandbox: Start) -> None:
    job = Job(sender, sandbox("--latency", "3000"))
    process = job.sender.start("send", "offer.yaml", "--yes", "--wait", "0", **job.provider.env)
    job.provider.wait_for(3)
    status = job.status()
    assert status["intent"], status
    assert "+ 0 unknown +" in str(status["law"])
    table = job("results", "--format", "csv", "--output", "now.csv")
    assert table.code == 0, table
    assert "unknown" not in (sender.folder / "now.csv").read_text(encoding="utf-8")
    if os.name == "posix":
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert "+ 0 unknown +" not in str(job.status()["law"]), "nobody will record their answers"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        pytest.param(("preview", "offer.yaml"), "stopped\n", id="preview"),
        pytest.param(("plan", "offer.yaml"), "stopped\n", id="plan"),
        pytest.param(("send", "offer.yaml", "--yes"), "stopped; nothing was sent\n", id="send"),
    ],
)
def test_ctrl_c_speaks_of_sending_only_where_something_would_be_sent(
    sender: Shell, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], says: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sender.cli.console.set_up_logs", interrupted)
    done = sender(*command)
    assert (done.code, done.err.lstrip("\n")) == (130, says)
