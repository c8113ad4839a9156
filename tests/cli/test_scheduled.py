"""Messages that a provider holds until their time: closing the run takes them back where the API can."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests import local_http
from tests.cli.conftest import Sandbox, Shell
from tests.cli.test_ending_runs import NUMBERS, Job

Start = Callable[..., Sandbox]
TWILIO = 'provider: twilio\nfrom: "MG' + "a" * 32 + '"\n'
TELNYX = 'provider: telnyx\nfrom: "+12025550199"\n'


def in_minutes(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(timespec="seconds")


def scheduled(job: Job, provider: str, *, minutes: float = 60) -> None:
    job.sender.write(
        "offer.yaml",
        f'{provider}recipients: people.csv\nmessage: "Hi {{{{ name }}}}"\nrate: none\nsend_at: "{in_minutes(minutes)}"\n',
    )
    job.people(*NUMBERS[:3])
    assert job("send").code == 0


def at_provider(job: Job) -> list[str]:
    messages = local_http.get(f"{job.provider.url}/sandbox/messages").json()["messages"]
    return [message["status"] for message in messages]


@pytest.fixture
def job(sender: Shell, sandbox: Start) -> Job:
    return Job(sender, sandbox())


@pytest.mark.parametrize("provider", [TWILIO, TELNYX], ids=["twilio", "telnyx"])
def test_closing_takes_scheduled_messages_back(job: Job, provider: str) -> None:
    scheduled(job, provider)
    closed = job("close")
    assert closed.code == 0, closed
    assert "3 scheduled messages canceled at the provider" in closed.out
    assert at_provider(job) == ["canceled"] * 3
    status = job.status()
    assert status["statuses"] == {"canceled": 3}
    assert (status["accepted"], status["canceled"], status["waiting"]) == (3, 0, 0), "they were accepted once"
    again = job("close", "--json").json
    assert again["scheduled"] == {"canceled": 0, "sent": 0, "failure": None}


def test_without_credentials_it_says_how_many_will_be_sent(job: Job) -> None:
    scheduled(job, TWILIO)
    closed = job.sender("close", "offer.yaml")
    assert closed.code == 0, closed
    assert "3 scheduled messages not canceled" in closed.out
    assert "TWILIO" in closed.out
    assert at_provider(job) == ["queued"] * 3
    assert job("close").code == 0
    assert at_provider(job) == ["canceled"] * 3


def test_a_message_that_is_too_near_is_not_taken_back(job: Job) -> None:
    """Telnyx refuses less than a minute ahead; the sandbox takes no `send_at` so near, so its time is moved."""
    scheduled(job, TELNYX)
    messages = local_http.get(f"{job.provider.url}/sandbox/messages").json()["messages"]
    key = {"Authorization": "Bearer KEY-sandbox"}
    url = f"{job.provider.url}/v2/messages/{messages[0]['message_id']}"
    assert local_http.delete(url, headers=key).status_code == 200
    assert local_http.delete(url, headers=key).status_code == 403, "it is canceled already"
    assert local_http.delete(url + "0", headers=key).status_code == 404
    assert local_http.delete(url).status_code == 401
    closed = job("close", "--json").json["scheduled"]
    assert (closed["canceled"], closed["sent"]) == (2, 1)
    assert "not scheduled" in closed["failure"]


def test_what_is_not_scheduled_is_left_alone(job: Job) -> None:
    job.half()
    closed = job("close", "--json").json
    assert closed["scheduled"] == {"canceled": 0, "sent": 0, "failure": None}
    assert "canceled" not in at_provider(job)
