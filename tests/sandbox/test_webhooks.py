"""The sandbox's webhooks: which reports are sent, when they are sent again, what goes wrong on request, and to whom."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest

from sender.sandbox.dialect import Draft, StoredMessage
from sender.sandbox.webhooks import SimulatedReply, WebhookFaults, WebhookSender
from tests.hooks import Hook, hook

DIALECTS = ("signalwire", "signalwire-compat", "telnyx", "twilio")


@pytest.fixture
def receiver() -> Iterator[Hook]:
    with hook() as running:
        yield running


def message(dialect: str, url: str, *, final: str = "delivered") -> StoredMessage:
    """A message all of whose reports are due."""
    now_ms = int(time.time() * 1000) - 10_000
    draft = Draft("M1", dialect, "account", "+12025550101", "+12025550100", "Hi", callback=url)
    return StoredMessage(1, draft, 1, "GSM-7", now_ms, now_ms + 500, now_ms + 1500, final, None, None)


def report(sender: WebhookSender, *messages: StoredMessage) -> dict[str, object]:
    """Send the reports of `messages` and return the counts once none is under way."""

    async def run() -> dict[str, object]:
        async with sender:
            for stored in messages:
                await sender.schedule_reports(stored)
            while sender.counts()["under_way"]:  # noqa: ASYNC110 (its tasks are its own)
                await asyncio.sleep(0.01)
            return sender.counts()

    return asyncio.run(run())


def status_of(dialect: str, body: bytes) -> str:
    if dialect == "signalwire":
        return str(json.loads(body)["status"])
    if dialect == "telnyx":
        return str(json.loads(body)["data"]["payload"]["to"][0]["status"])
    return parse_qs(body.decode())["MessageStatus"][0]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_report_for_each_status_that_the_provider_reports(receiver: Hook, dialect: str) -> None:
    counts = report(WebhookSender(), message(dialect, receiver.url))
    statuses = {status_of(dialect, call.body) for call in receiver.calls}
    assert statuses == {"sent", "delivered"} | ({"queued"} if dialect.startswith("signalwire") else set())
    assert counts["sent"] == len(receiver.calls) == len(statuses)
    assert counts["answers"] == {"200": len(statuses)}


def test_no_final_report_where_no_receipt_comes(receiver: Hook) -> None:
    report(WebhookSender(), message("twilio", receiver.url, final="sent"))
    assert [status_of("twilio", call.body) for call in receiver.calls] == ["sent"]


@pytest.mark.parametrize(
    ("dialect", "attempts"), [("signalwire", 3), ("signalwire-compat", 3), ("telnyx", 3), ("twilio", 1)]
)
def test_a_refused_webhook_is_sent_again_as_the_provider_does(receiver: Hook, dialect: str, attempts: int) -> None:
    receiver.answers = [500] * 20
    stored = message(dialect, receiver.url)
    counts = report(WebhookSender(), stored)
    reports = 3 if dialect.startswith("signalwire") else 2
    assert counts["sent"] == reports * attempts
    assert counts["unanswered"] == (0 if dialect == "twilio" else reports)


def test_only_this_machine_is_called() -> None:
    counts = report(WebhookSender(), message("twilio", "https://example.com/hook"))
    assert (counts["refused"], counts["sent"]) == (1, 0)


def test_a_message_without_a_callback_has_no_reports(receiver: Hook) -> None:
    stored = message("twilio", "")
    quiet = StoredMessage(1, Draft("M1", "twilio", "a", "+12025550101", None, "Hi"), 1, "GSM-7", *stored_times(stored))
    assert report(WebhookSender(), quiet)["sent"] == 0
    assert receiver.calls == []


def stored_times(stored: StoredMessage) -> tuple[int, int, int, str, None, None]:
    return stored.created_ms, stored.sent_ms, stored.final_ms, stored.final, None, None


@pytest.mark.parametrize(
    ("faults", "sent", "forged", "lost"),
    [
        (WebhookFaults(double=1), 4, 0, 0),
        (WebhookFaults(drop=1), 0, 0, 2),
        (WebhookFaults(forge=1), 2, 1, 0),
        (WebhookFaults(early=1), 2, 0, 0),
        (WebhookFaults(reorder=1), 2, 0, 0),
    ],
    ids=["double", "drop", "forge", "early", "reorder"],
)
def test_faults(receiver: Hook, faults: WebhookFaults, sent: int, forged: int, lost: int) -> None:
    counts = report(WebhookSender(faults), message("twilio", receiver.url))
    assert (counts["sent"], counts["forged"], counts["lost"]) == (sent, forged, lost)


def test_faults_from_now_on(receiver: Hook) -> None:
    sender = WebhookSender(WebhookFaults(drop=1))
    sender.set_faults(WebhookFaults())
    assert report(sender, message("twilio", receiver.url))["lost"] == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_forged_report_is_signed_with_another_key(receiver: Hook, dialect: str) -> None:
    report(WebhookSender(WebhookFaults(forge=1)), message(dialect, receiver.url))
    [name] = {name for call in receiver.calls for name in call.headers if "signature" in name}
    assert len({call.headers[name] for call in receiver.calls}) == len(receiver.calls)
    assert sorted(status_of(dialect, call.body) for call in receiver.calls).count("delivered") == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reply_reaches_its_url(receiver: Hook, dialect: str) -> None:
    async def deliver() -> int | None:
        async with WebhookSender() as sender:
            return await sender.deliver_reply(
                SimulatedReply(dialect, receiver.url, sender="+12025550101", to="+12025550100", text="STOP")
            )

    assert asyncio.run(deliver()) == 200
    [call] = receiver.calls
    assert b"STOP" in call.body


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"dialect": "nobody", "url": "u", "sender": "s", "to": "t", "text": "x"}, ValueError),
        ({"dialect": "twilio", "url": "u", "sender": "s", "to": "t", "text": 1}, TypeError),
    ],
)
def test_a_reply_that_cannot_be_sent(fields: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        SimulatedReply(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["double", "reorder", "early", "forge", "drop"])
def test_a_probability_is_0_to_1(name: str) -> None:
    with pytest.raises(ValueError, match="must be 0 to 1"):
        WebhookFaults(**{name: 1.1})
