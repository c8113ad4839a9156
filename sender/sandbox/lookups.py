"""The sandbox's lookups of numbers, as Twilio, Telnyx and SignalWire answer them. Every number is known by its form.

Keyed on the last four digits of a +1 NPA-555-01xx number, as messages are: 0190 is not valid, 0192 a landline, 0187
VoIP, 0186 has a new owner, and of 0185 nothing is known. Any other is a mobile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sender.sandbox.dialect import Answer, FieldProblem, Refused

TWILIO_PATH = "/v2/PhoneNumbers/{number}"
TELNYX_PATH = "/v2/number_lookup/{number}"
SIGNALWIRE_PATH = "/api/relay/rest/lookup/phone_number/{number}"
CARRIER = "Sandbox Wireless"
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_KINDS = {"0190": "invalid", "0192": "landline", "0187": "voip", "0186": "reassigned", "0185": "unknown"}
_TWILIO_TYPES = {"landline": "landline", "voip": "nonFixedVoip", "unknown": None}
_TELNYX_TYPES = {"landline": "fixed line", "voip": "voip", "unknown": "unknown"}
_FIELDS = frozenset({"line_type_intelligence", "reassigned_number", "validation"})
_EMPTY = (
    "caller_name sim_swap call_forwarding line_status line_type_intelligence identity_match reassigned_number"
    " sms_pumping_risk phone_number_quality_score pre_fill"
)


def twilio(number: str, params: Mapping[str, str], base_url: str) -> Answer:
    """Return Lookup v2's answer. Raises Refused for a field that the sandbox does not know, and for no number."""
    fields = [field for field in params.get("Fields", "").split(",") if field]
    if unknown := [field for field in fields if field not in _FIELDS]:
        raise Refused(FieldProblem(400, "60600", f"The sandbox does not know the field {unknown[0]}"))
    if not re.search(r"\d{5}", number):
        raise Refused(FieldProblem(404, "20404", "The requested resource was not found"))
    kind = _kind(number)
    document: dict[str, Any] = dict.fromkeys(_EMPTY.split())
    valid = kind != "invalid"
    if valid and "line_type_intelligence" in fields:
        document["line_type_intelligence"] = {
            "type": _TWILIO_TYPES.get(kind, "mobile"),
            "carrier_name": None if kind == "unknown" else CARRIER,
            "mobile_country_code": "310",
            "mobile_network_code": "999",
            "error_code": 60601 if kind == "unknown" else None,
        }
    if valid and "reassigned_number" in fields:
        since = params.get("LastVerifiedDate", "")
        if not re.fullmatch(r"\d{8}", since):
            raise Refused(FieldProblem(400, "60600", "LastVerifiedDate is missing"))
        document["reassigned_number"] = {
            "last_verified_date": f"{since[:4]}-{since[4:6]}-{since[6:]}",
            "is_number_reassigned": "yes" if kind == "reassigned" else "no",
            "error_code": None,
        }
    return Answer(
        200,
        {
            "calling_country_code": "1" if valid else None,
            "country_code": "US" if valid else None,
            "phone_number": number,
            "national_format": f"({number[2:5]}) {number[5:8]}-{number[8:]}" if valid else None,
            "valid": valid,
            "validation_errors": [] if valid else ["INVALID_BUT_POSSIBLE"],
            **document,
            "url": f"{base_url.rstrip('/')}/v2/PhoneNumbers/{number}",
        },
    )


def telnyx(number: str) -> Answer:
    """Return the record of a number. Raises Refused for what is none."""
    if not _E164.fullmatch(number):
        raise Refused(FieldProblem(422, "10015", "The phone number is not valid", "phone_number"))
    kind = _kind(number)
    type_ = _TELNYX_TYPES.get(kind, "mobile")
    data = {
        "record_type": "number_lookup",
        "phone_number": number,
        "national_format": f"({number[2:5]}) {number[5:8]}-{number[8:]}",
        "country_code": "US",
        "fraud": None,
        "carrier": {
            "name": CARRIER,
            "normalized_carrier": CARRIER,
            "type": type_,
            "mobile_country_code": "US",
            "mobile_network_code": "999",
            "error_code": None,
        },
        "portability": {"line_type": type_, "ported_status": "N", "city": "WASHINGTON", "state": "DC"},
        "valid_number": kind != "invalid",
    }
    return Answer(200, {"data": data})


def signalwire(number: str, params: Mapping[str, str]) -> Answer:
    """Return the number's format and zones, and its carrier where `include` asks for it. Raises Refused for none."""
    if not _E164.fullmatch(number):
        raise Refused(FieldProblem(404, "not_found", "Not Found"))
    kind = _kind(number)
    document: dict[str, Any] = {
        "country_code_number": 1,
        "national_number": number[2:],
        "possible_number": True,
        "valid_number": kind != "invalid",
        "national_number_formatted": f"({number[2:5]}) {number[5:8]}-{number[8:]}",
        "international_number_formatted": f"+1 {number[2:5]}-{number[5:8]}-{number[8:]}",
        "e164": number,
        "location": "Washington D.C.",
        "country_code": "US",
        "timezones": ["America/New_York"],
        "number_type": "Fixed Line or Mobile",
    }
    if "carrier" in params.get("include", "").split(",") and kind != "unknown":
        document["carrier"] = {
            "lec": CARRIER,
            "linetype": "landline" if kind == "landline" else "wireless",
            "spid": "000X",
        }
    return Answer(200, document)


def _kind(number: str) -> str:
    return _KINDS.get(number[-4:], "mobile") if re.fullmatch(r"\+1[2-9]\d\d55501\d\d", number) else "mobile"
