"""Lookups of numbers: each provider's request, and what each kind of answer says."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from sender import providers
from sender.core.errors import InputError
from sender.providers.base import Response
from sender.providers.lookups import LookupsRefused, NumberAnswer, NumberLookups, looked_up_type, number_lookups

NUMBER = "+12025550101"
BASE = "http://127.0.0.1:1"


def lookups(dialect: str, **options: Any) -> NumberLookups:
    return number_lookups(providers.sandbox_adapter(dialect, BASE), **options)


def answer(document: Any, status: int = 200) -> Response:
    return Response(status, {}, json.dumps(document).encode() if document is not None else b"<html>")


def twilio(**parts: Any) -> dict[str, Any]:
    empty = {"line_type_intelligence": None, "reassigned_number": None}
    return {"phone_number": NUMBER, "valid": True, **empty, **parts}


@pytest.mark.parametrize(
    ("dialect", "options", "target"),
    [
        ("twilio", {}, "/v2/PhoneNumbers/%2B12025550101?Fields=line_type_intelligence"),
        (
            "twilio",
            {"reassigned_since": date(2026, 5, 1)},
            "/v2/PhoneNumbers/%2B12025550101?Fields=line_type_intelligence,reassigned_number&LastVerifiedDate=20260501",
        ),
        ("telnyx", {}, "/v2/number_lookup/%2B12025550101?type=carrier"),
        ("signalwire", {}, "/api/relay/rest/lookup/phone_number/%2B12025550101?include=carrier"),
        ("signalwire-compat", {}, "/api/relay/rest/lookup/phone_number/%2B12025550101?include=carrier"),
    ],
)
def test_the_request(dialect: str, options: dict[str, Any], target: str) -> None:
    request = lookups(dialect, **options).request(NUMBER)
    assert (request.method, request.url) == ("GET", BASE + target)
    assert dict(request.headers)["Authorization"]


@pytest.mark.parametrize(
    ("dialect", "document", "expected"),
    [
        pytest.param(
            "twilio",
            twilio(line_type_intelligence={"type": "nonFixedVoip", "carrier_name": "ACME", "error_code": None}),
            NumberAnswer("voip", "ACME", valid=True),
            id="twilio",
        ),
        pytest.param(
            "twilio",
            twilio(line_type_intelligence={"type": None, "carrier_name": None, "error_code": 60601}),
            NumberAnswer(valid=True, problem="error 60601"),
            id="twilio could not tell",
        ),
        pytest.param(
            "twilio",
            twilio(reassigned_number={"is_number_reassigned": "yes", "error_code": None}),
            NumberAnswer(reassigned="yes", valid=True),
            id="twilio, a new owner",
        ),
        pytest.param(
            "twilio",
            twilio(reassigned_number={"is_number_reassigned": "no_data_available"}),
            NumberAnswer(reassigned="unknown", valid=True),
            id="twilio, an owner nobody knows",
        ),
        pytest.param("twilio", twilio(valid=False), NumberAnswer(valid=False), id="twilio, not valid"),
        pytest.param(
            "telnyx",
            {"data": {"phone_number": NUMBER, "carrier": {"type": "fixed line or mobile", "name": "A/4"}}},
            NumberAnswer("fixed_line_or_mobile", "A/4"),
            id="telnyx",
        ),
        pytest.param(
            "telnyx",
            {
                "data": {
                    "phone_number": NUMBER,
                    "carrier": {"type": "unknown", "normalized_carrier": "ACME", "name": "A/4"},
                    "portability": {"line_type": "voip"},
                    "valid_number": True,
                }
            },
            NumberAnswer("voip", "ACME", valid=True),
            id="telnyx, ported",
        ),
        pytest.param("telnyx", {"data": {"phone_number": NUMBER}}, NumberAnswer(), id="telnyx knows nothing"),
        pytest.param(
            "signalwire",
            {
                "e164": NUMBER,
                "valid_number": True,
                "number_type": "Fixed Line or Mobile",
                "timezones": ["America/New_York", "America/Chicago", 7, "soon"],
                "carrier": {"lec": "Verizon", "linetype": "wireless"},
            },
            NumberAnswer("mobile", "Verizon", "America/Chicago|America/New_York", valid=True),
            id="signalwire",
        ),
        pytest.param(
            "signalwire",
            {"e164": NUMBER, "number_type": "Toll-Free", "timezones": None, "carrier": None},
            NumberAnswer("toll_free"),
            id="signalwire without a carrier",
        ),
    ],
)
def test_what_an_answer_says(dialect: str, document: dict[str, Any], expected: NumberAnswer) -> None:
    assert lookups(dialect).read(answer(document), NUMBER) == expected


DIALECTS = ["twilio", "telnyx", "signalwire"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("document", "status"),
    [
        pytest.param({"phone_number": "+12025550199", "e164": "+12025550199", "data": {"phone_number": "+12025550199"}}, 200, id="of another number"),
        pytest.param(None, 200, id="a page"),
        pytest.param([], 200, id="a list"),
        pytest.param(None, 404, id="a proxy's page"),
        pytest.param({"message": "slow down"}, 429, id="too many"),
        pytest.param({"message": "oops"}, 500, id="an error of theirs"),
        pytest.param({"message": "moved"}, 302, id="elsewhere"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_nothing(dialect: str, document: Any, status: int) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        lookups(dialect).read(answer(document, status), NUMBER)
    assert not isinstance(caught.value, LookupsRefused)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_refusal_of_one_number_is_an_answer_and_one_of_the_account_is_not(dialect: str) -> None:
    reader = lookups(dialect)
    assert reader.read(answer({"message": "gone"}, 404), NUMBER) == NumberAnswer(valid=False, problem="HTTP 404: gone")
    assert reader.read(answer({"message": "odd"}, 422), NUMBER) == NumberAnswer(problem="HTTP 422: odd")
    for status in (401, 402, 403):
        with pytest.raises(LookupsRefused):
            reader.read(answer({"message": "no"}, status), NUMBER)


@pytest.mark.parametrize("dialect", ["telnyx", "signalwire", "signalwire-compat"])
def test_only_twilio_knows_of_new_owners(dialect: str) -> None:
    with pytest.raises(InputError, match="only Twilio"):
        lookups(dialect, reassigned_since=date(2026, 5, 1))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("landline", "fixed_line"),
        ("fixed line", "fixed_line"),
        ("fixedVoip", "voip"),
        ("nonFixedVoip", "voip"),
        ("tollFree", "toll_free"),
        ("Toll-Free", "toll_free"),
        ("wireless", "mobile"),
        ("sharedCost", "shared_cost"),
        ("personal", "personal_number"),
        ("UAN", "uan"),
        ("unknown", None),
        ("satellite", None),
        ("", None),
        (None, None),
    ],
)
def test_types_have_our_names(text: str | None, name: str | None) -> None:
    assert looked_up_type(text) == name
