"""An answer held against its request: whose recipient and sender it names, in every form a provider may write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender import providers
from sender.core import numbers
from sender.core.outcomes import Accepted, Unknown
from sender.providers.base import Message, Response

SAMPLES = Path(__file__).parents[1] / "samples"
CREATED = {name: f"{name}/created" for name in providers.DIALECTS} | {"signalwire": "signalwire/created-sms"}
TO, FROM = "+12025550101", "+12025550100"

# What an answer says of a number, ours, and whether it may be ours.
SPELLINGS: list[tuple[object, str, bool]] = [
    (TO, TO, True),
    ("+1 202 555 0101", TO, True),
    ("+1 (202) 555-0101", TO, True),
    ("+1.202.555.0101", TO, True),
    ("tel:+12025550101", TO, True),
    ("whatsapp:+12025550101", TO, True),
    ("12025550101", TO, True),
    ("2025550101", TO, True),
    ("(202) 555-0101", TO, True),
    ("0012025550101", TO, True),
    ("5550101", TO, True),
    ("+1202555XXXX", TO, True),
    ("+1202***0101", TO, True),
    ("XXXXXXX0101", TO, True),
    ("****", TO, True),
    (None, TO, True),
    ("", TO, True),
    ("unknown", TO, True),
    ("ACME", TO, True),
    (7, TO, True),
    ({}, TO, True),
    ("+12025550102", TO, False),
    ("+1 202 555 0102", TO, False),
    ("whatsapp:+12025550102", TO, False),
    ("+442079460101", TO, False),
    ("12025550102", TO, False),
    ("2025550102", TO, False),
    ("(202) 555-0102", TO, False),
    ("+1202555XXX2", TO, False),
    ("+1212***0101", TO, False),
    ("XXXXXXX0102", TO, False),
    ("+525512345678", "+5215512345678", True),  # Mexico: the 1 is optional
    ("+5215512345678", "+525512345678", True),
    ("+5491123456789", "+541123456789", True),  # Argentina: the 9 is
    ("+525512345679", "+5215512345678", False),
    ("12345", "12345", True),
    ("+12345", "12345", True),  # codes are echoed otherwise
    ("+1988", "988", True),
]
IDS = [f"{said}-{ours}" for said, ours, _ in SPELLINGS]


def answer(dialect: str, *, to: object = TO, sender: object = FROM, drop: bool = False) -> Response:
    body: dict[str, Any] = json.loads((SAMPLES / f"{CREATED[dialect]}.json").read_text(encoding="utf-8"))["body"]
    if dialect == "telnyx":
        data = body["data"]
        data["to"][0]["phone_number"], data["from"]["phone_number"] = to, sender
        if drop:
            del data["to"], data["from"]
    else:
        body |= {"to": to, "from": sender}
        if drop:
            del body["to"], body["from"]
    return Response(201, {}, json.dumps(body).encode())


def message(to: str = TO, sender: str | None = FROM, **fields: Any) -> Message:
    return Message(0, "run.0", to, sender, "Hi", (), fields)


def adapter(dialect: str) -> Any:
    return providers.sandbox_adapter(dialect, "http://127.0.0.1:8080")


@pytest.mark.parametrize(("said", "ours", "fits"), SPELLINGS, ids=IDS)
def test_spellings(said: object, ours: str, fits: bool) -> None:
    assert numbers.may_be(said, ours) is fits


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@pytest.mark.parametrize("what", ["to", "sender"])
@pytest.mark.parametrize(("said", "ours", "fits"), SPELLINGS, ids=IDS)
def test_an_answer_about_another_number_proves_nothing(
    dialect: str, what: str, said: object, ours: str, fits: bool
) -> None:
    outcome = adapter(dialect).outcome(answer(dialect, **{what: said}), message(**{what: ours}))
    if fits:
        assert isinstance(outcome, Accepted)
    else:
        assert isinstance(outcome, Unknown)
        assert outcome.foreign
        assert ("recipient" if what == "to" else "sender") in outcome.error_message
        assert not any(digits in outcome.error_message for digits in ("555", "2025")), "the ledger holds no numbers"


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_without_the_fields_nothing_is_compared(dialect: str) -> None:
    assert isinstance(adapter(dialect).outcome(answer(dialect, drop=True), message()), Accepted)


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_without_a_message_nothing_is_compared(dialect: str) -> None:
    assert isinstance(adapter(dialect).outcome(answer(dialect, to="+442079460101")), Accepted)


@pytest.mark.parametrize(
    ("dialect", "sent"),
    [
        pytest.param("twilio", message(sender=None, messaging_service_sid="MG" + "0" * 32), id="a service"),
        pytest.param("twilio", message(messaging_service_sid="MG" + "0" * 32), id="a number and a service"),
        pytest.param("twilio", message(sender="MG" + "0" * 32), id="a service as sender"),
        pytest.param("twilio", message(sender="ACME"), id="an alphanumeric sender"),
        pytest.param("twilio", message(sender="12345"), id="a short code"),
        pytest.param("signalwire-compat", message(messaging_service_sid="0" * 8), id="a number group"),
        pytest.param("telnyx", message(sender=None, messaging_profile_id="0" * 8), id="a number pool"),
        pytest.param("telnyx", message(sender="ACME", messaging_profile_id="0" * 8), id="an alphanumeric id"),
        pytest.param("signalwire", message(sender="12345"), id="a short code of SignalWire"),
    ],
)
def test_a_sender_that_the_provider_chooses_is_not_compared(dialect: str, sent: Message) -> None:
    assert isinstance(adapter(dialect).outcome(answer(dialect, sender="+12125550142"), sent), Accepted)
    other_person = adapter(dialect).outcome(answer(dialect, to="+12025550102", sender="+12125550142"), sent)
    assert isinstance(other_person, Unknown)


NUMBERS = st.from_regex(r"\+1202555[0-9]{4}", fullmatch=True)


@given(NUMBERS, NUMBERS)
def test_whole_numbers_are_the_same_or_another(said: str, ours: str) -> None:
    assert numbers.may_be(said, ours) is numbers.is_same(said, ours) is (said == ours)


@given(st.text(max_size=30) | st.none() | st.integers(), NUMBERS)
def test_nothing_written_breaks_the_comparison(said: object, ours: str) -> None:
    assert numbers.may_be(said, ours) in (True, False)
    if numbers.is_same(said, ours):
        assert numbers.may_be(said, ours)
