"""What a webhook says, in the words of each provider."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender import providers
from sender.core.outcomes import DeliveryReport, Reason, Status
from sender.providers.base import InboundMessage
from tests.profiles import examples

UUID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
SM = "SM" + "0f1e2d3c4b5a6978" * 2
REF = "20261121-120000-abcd.7"
URL = f"https://hooks.example.com/status?a=b&ref={REF}"
TO, FROM = "+12025550147", "+12025550101"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}

NATIVE: dict[str, Any] = {  # the example of the reference page (2026-08-21), with fictional numbers
    "id": UUID,
    "project_id": "b2c3d4e5-f6a7-8901-bcde-f12345678901",
    "status": "delivered",
    "to": TO,
    "from": FROM,
    "body": "Hello World!",
    "number_of_segments": 2,
    "timestamp": "2026-03-17T22:26:57Z",
    "error_code": None,
    "error_message": None,
}
COMPAT = {
    "MessageStatus": "delivered",
    "MessageSid": UUID,
    "AccountSid": "b3877c40-da60-4998-90ad-b792e98472af",
    "From": FROM,
    "To": TO,
    "Body": "Hey, your order has shipped!",
    "NumMedia": "0",
    "NumSegments": "2",
}
TWILIO = {
    "SmsSid": SM,
    "SmsStatus": "delivered",
    "MessageStatus": "delivered",
    "MessageSid": SM,
    "AccountSid": "AC" + "0" * 32,
    "From": FROM,
    "To": TO,
    "ApiVersion": "2010-04-01",
}
PAYLOAD: dict[str, Any] = {
    "record_type": "message",
    "direction": "outbound",
    "id": UUID,
    "type": "SMS",
    "from": {"phone_number": FROM, "carrier": "TELNYX LLC", "line_type": "VoIP"},
    "to": [{"phone_number": TO, "status": "delivered", "carrier": "T-MOBILE USA, INC.", "line_type": "Wireless"}],
    "text": "Hello, World!",
    "parts": 2,
    "cost": {"amount": "0.0051", "currency": "USD"},
    "received_at": "2026-01-23T18:10:02.574Z",
    "sent_at": "2026-01-23T18:10:03.000Z",
    "completed_at": "2026-01-23T18:10:04.000Z",
    "errors": [],
    "webhook_url": URL,
}


def event(kind: str = "message.finalized", **changes: Any) -> dict[str, Any]:
    data = {"record_type": "event", "id": "e-1", "event_type": kind, "occurred_at": "2026-01-23T18:10:05.000Z"}
    return {"data": data | {"payload": PAYLOAD | changes}, "meta": {"attempt": 1, "delivered_to": URL}}


def read(dialect: str, said: dict[str, Any], url: str = URL, *, form: bool | None = None) -> list[Any]:
    as_form = dialect in ("signalwire-compat", "twilio") if form is None else form
    body = urlencode(said).encode() if as_form else json.dumps(said).encode()
    return providers.reports(dialect, FORM if as_form else JSON, body, url)


DELIVERED = DeliveryReport(UUID, Status.DELIVERED, "delivered", REF, segments=2)
WHOLE = {
    "signalwire": (NATIVE, replace(DELIVERED, reported_at="2026-03-17T22:26:57Z")),
    "signalwire-compat": (COMPAT, DELIVERED),
    "telnyx": (
        event(),
        replace(
            DELIVERED,
            price="0.0051",
            currency="USD",
            sent_at="2026-01-23T18:10:03Z",
            reported_at="2026-01-23T18:10:04Z",
            line_type="mobile",
            carrier="T-MOBILE USA, INC.",
        ),
    ),
    "twilio": (TWILIO, DeliveryReport(SM, Status.DELIVERED, "delivered", REF)),
}


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_whole_report(dialect: str) -> None:
    said, expected = WHOLE[dialect]
    assert read(dialect, said) == [expected]


def test_compatibility_reports_may_be_json() -> None:
    """Its own OpenAPI file says so, its guides say a form."""
    said = COMPAT | {"NumSegments": 2, "NumMedia": 0}
    assert read("signalwire-compat", said, form=False) == [DELIVERED]


def test_a_signalwire_number_that_is_set_to_cxml_sends_forms() -> None:
    assert read("signalwire", COMPAT, form=True) == [DELIVERED]
    assert providers.webhook_dialect("signalwire", FORM) == "signalwire-compat"
    assert providers.webhook_dialect("telnyx", FORM) == "telnyx"


WORDS = {
    "signalwire": {
        "queued": "queued", "initiated": "queued", "sent": "sent", "delivered": "delivered",
        "undelivered": "undelivered", "failed": "failed", "read": "delivered", "levitating": None,
    },
    "signalwire-compat": {
        "queued": "queued", "initiated": "queued", "sending": "queued", "sent": "sent", "delivered": "delivered",
        "undelivered": "undelivered", "failed": "failed", "levitating": None,
    },
    "telnyx": {
        "queued": "queued", "sending": "queued", "sent": "sent", "expired": "failed", "sending_failed": "failed",
        "delivery_unconfirmed": "unconfirmed", "delivered": "delivered", "delivery_failed": "undelivered",
        "cancelled": "canceled", "scheduled": "queued", "levitating": None,
    },
    "twilio": {
        "accepted": "queued", "queued": "queued", "sending": "queued", "scheduled": "queued", "sent": "sent",
        "delivered": "delivered", "undelivered": "undelivered", "failed": "failed", "canceled": "canceled",
        "read": "delivered", "partially_delivered": "undelivered", "levitating": None,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "word", "status"),
    [(dialect, word, status) for dialect, words in WORDS.items() for word, status in words.items()],
)
def test_every_word_has_its_status(dialect: str, word: str, status: str | None) -> None:
    said, _ = WHOLE[dialect]
    if dialect == "telnyx":
        said = event(to=[{"phone_number": TO, "status": word}])
    else:
        said = said | ({"status": word} if dialect == "signalwire" else {"MessageStatus": word})
    (report,) = read(dialect, said)
    assert (report.status, report.provider_status) == (status, word)


@pytest.mark.parametrize(
    ("dialect", "said", "expected"),
    [
        (
            "signalwire",
            NATIVE
            | {"status": "undelivered", "error_code": "unreachable_destination_handset", "error_message": "Off."},
            (Reason.UNREACHABLE, "unreachable_destination_handset", "Off."),
        ),
        ("signalwire-compat", COMPAT | {"ErrorCode": "21606"}, (Reason.LANDLINE, "21606", None)),
        ("twilio", TWILIO | {"ErrorCode": "21606"}, (Reason.SENDER_NOT_ALLOWED, "21606", None)),
        ("twilio", TWILIO | {"ErrorCode": "99999"}, (Reason.OTHER, "99999", None)),
        (
            "telnyx",
            event(errors=[{"code": "40300", "title": "Blocked due to STOP message"}]),
            (Reason.OPTED_OUT, "40300", "Blocked due to STOP message"),
        ),
        ("telnyx", event(to=[{"status": "expired"}]), (Reason.EXPIRED, None, None)),
    ],
)
def test_errors_keep_the_providers_own_meaning(
    dialect: str, said: dict[str, Any], expected: tuple[Reason, str | None, str | None]
) -> None:
    (report,) = read(dialect, said)
    assert (report.reason, report.error_code, report.error_message) == expected


def test_our_ref_is_in_the_url_or_where_the_provider_echoes_it() -> None:
    plain = "https://hooks.example.com/status"
    (report,) = read("signalwire", NATIVE | {"custom_variables": {"ref": REF, "order": "7"}}, plain)
    assert report.ref == REF
    (report,) = read("telnyx", event(), plain)
    assert report.ref == REF
    for dialect in ("signalwire", "signalwire-compat", "twilio"):
        (report,) = read(dialect, WHOLE[dialect][0], plain)
        assert report.ref is None


def test_telnyx_says_when_it_was_sent() -> None:
    (report,) = read("telnyx", event("message.sent", to=[{"status": "sent"}], completed_at=None, cost=None))
    assert (report.status, report.price, report.reported_at) == (Status.SENT, None, "2026-01-23T18:10:05Z")


def test_telnyx_events_that_concern_no_message_say_nothing() -> None:
    assert read("telnyx", event("number_order.complete")) == []


INBOUND: dict[str, tuple[dict[str, Any], InboundMessage]] = {
    "signalwire": (
        {
            "message": {
                "message_id": UUID, "project_id": UUID, "space_id": UUID, "direction": "inbound", "type": "sms",
                "from": TO, "to": FROM, "body": "Stop", "media": [], "segments": 1,
                "timestamp": "2026-01-15T10:30:00Z",
            },
            "params": {},
        },
        InboundMessage(UUID, TO, FROM, "Stop", at="2026-01-15T10:30:00Z"),
    ),
    "signalwire-compat": (
        {"MessageSid": UUID, "AccountSid": UUID, "From": TO, "To": FROM, "Body": "Stop", "NumMedia": "0"},
        InboundMessage(UUID, TO, FROM, "Stop"),
    ),
    "telnyx": (
        event(
            "message.received", direction="inbound", text="Stop", autoresponse_type="STOP",
            **{"from": {"phone_number": TO}, "to": [{"phone_number": FROM}]},
        ),
        InboundMessage(UUID, TO, FROM, "Stop", keyword="STOP", at="2026-01-23T18:10:02.574000Z"),
    ),
    "twilio": (
        {
            "MessageSid": SM, "SmsSid": SM, "SmsStatus": "received", "AccountSid": "AC1", "From": TO, "To": FROM,
            "Body": "Stop", "OptOutType": "STOP",
        },
        InboundMessage(SM, TO, FROM, "Stop", keyword="STOP"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", INBOUND)
def test_an_inbound_message(dialect: str) -> None:
    said, expected = INBOUND[dialect]
    assert read(dialect, said) == [expected]


def test_an_inbound_message_may_come_by_get() -> None:
    said, expected = INBOUND["twilio"]
    url = f"https://hooks.example.com/inbound/twilio?{urlencode(said)}"
    assert providers.reports("twilio", {}, b"", url) == [expected]


def test_an_mms_without_text_has_none() -> None:
    said = {"message": INBOUND["signalwire"][0]["message"] | {"body": None}, "params": {}}
    assert read("signalwire", said)[0].text == ""


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_an_inbound_message_gets_no_reply(dialect: str) -> None:
    answer = providers.inbound_answer(dialect, JSON)
    if dialect == "signalwire":
        assert json.loads(answer.content) == {"version": "1.0.0", "sections": {"main": []}}
    elif dialect == "telnyx":
        assert answer.content == b""
    else:
        assert answer.content_type == "text/xml"
        assert answer.content.endswith(b"<Response></Response>")


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"{}",
    b'{"id": 7}',
    b'{"id": "a b"}',
    b'{"data": 7}',
    b"\xff",
    b"a=1",
    b"[" * 9999,
]


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@pytest.mark.parametrize("headers", [JSON, FORM, {}])
@pytest.mark.parametrize("body", BROKEN)
def test_what_cannot_be_read_is_a_value_error(dialect: str, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        providers.reports(dialect, headers, body, URL)


def test_a_form_of_too_many_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="not a form"):
        providers.reports("twilio", FORM, b"&".join(b"a=1" for _ in range(5000)), URL)


@settings(max_examples=examples(200), deadline=None)
@given(
    dialect=st.sampled_from(providers.DIALECTS),
    said=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(
            st.sampled_from(["data", "payload", "event_type", "message", "id", "status", "to", "from", "errors", "cost",
                             "message_id", "MessageSid", "MessageStatus", "From", "To", "timestamp"]) | st.text(), inner),
        max_leaves=12,
    ),
)  # fmt: skip
def test_nothing_but_a_value_error_comes_of_any_json(dialect: str, said: Any) -> None:
    try:
        reports = providers.reports(dialect, JSON, json.dumps(said).encode(), URL)
    except ValueError:
        return
    assert all(isinstance(report, DeliveryReport | InboundMessage) for report in reports)
