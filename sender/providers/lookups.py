"""Providers' lookups of phone numbers: what a number is, for a price. Pure; performs no I/O.

Facts: Twilio's OpenAPI file of Lookup v2 (2026-04-14) and its page on line type intelligence (2026-11); Telnyx'
OpenAPI file, NumberLookupRecord (2026-07-16); SignalWire's, PhoneNumberLookupResponse (2026-08-21). No API says what a
lookup costs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import quote

from sender.core import numbers
from sender.core.errors import InputError
from sender.providers import _http, _rules
from sender.providers.base import Adapter, Request, Response
from sender.providers.deactivations import twilio_product_url
from sender.providers.laml import LamlAdapter
from sender.providers.signalwire import SignalWireAdapter
from sender.providers.telnyx import TelnyxAdapter

_LOOKED_UP: Mapping[str, str] = {
    "landline": "fixed_line",
    "wireless": "mobile",
    "fixedvoip": "voip",
    "nonfixedvoip": "voip",
    "personal": "personal_number",
    "premium": "premium_rate",
}
_TYPES = frozenset(
    {
        *("fixed_line", "mobile", "fixed_line_or_mobile", "toll_free", "premium_rate", "shared_cost"),
        *("voip", "personal_number", "pager", "uan", "voicemail"),
    }
)
_REASSIGNED = {"yes": "yes", "no": "no"}
_STOPS = frozenset({401, 402, 403})  # every other number would get the same answer
_ZONE = re.compile(r"[A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+")


class LookupsRefused(ValueError):  # noqa: N818 (an answer, not an accident)
    """The provider looks up nothing for this account."""


@dataclass(frozen=True, slots=True)
class NumberAnswer:
    """What a provider said of a number, as `NumberFacts` of the state has it. All None: it could not tell."""

    line_type: str | None = None
    carrier: str | None = None
    zone: str | None = None
    reassigned: str | None = None
    valid: bool | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class NumberLookups:
    """The lookups of one account. `reassigned_since` asks whether numbers have a new owner since that day (Twilio)."""

    adapter: TelnyxAdapter | LamlAdapter | SignalWireAdapter
    url: str
    query: str
    parse: Callable[[dict[str, Any]], tuple[object, NumberAnswer]]
    reassigned_since: date | None = None

    def request(self, number: str) -> Request:
        """The request for one number (E.164)."""
        return _http.get(f"{self.url}/{quote(number, safe='')}?{self.query}", self.adapter.authorization)

    def read(self, response: Response, number: str) -> NumberAnswer:
        """What the answer says of `number`; a refusal of this number is an answer too, with its `problem`.

        Raises LookupsRefused where every number would be refused, and ValueError for what cannot be read or is about
        another number.
        """
        status = response.status
        if status == 200:
            said, answer = self.parse(_http.json_object(response))
            if not numbers.may_be(said, number):
                raise ValueError("the answer is about another number")
            return answer
        sentence = _http.clean(f"HTTP {status}: {_http.refusal_text(response)[1]}")
        if status in _STOPS:
            raise LookupsRefused(sentence)
        if not 400 <= status < 500 or status in (408, 409, 429) or _http.error_document(response) is None:
            raise ValueError(sentence)
        return NumberAnswer(valid=False if status == 404 else None, problem=sentence)


def number_lookups(adapter: Adapter, *, reassigned_since: date | None = None) -> NumberLookups:
    """The lookups of `adapter`'s provider. Raises InputError for what it does not know."""
    if isinstance(adapter, LamlAdapter) and adapter.capabilities.provider == _rules.TWILIO:
        fields = "line_type_intelligence" + (",reassigned_number" if reassigned_since else "")
        since = "" if reassigned_since is None else f"&LastVerifiedDate={reassigned_since:%Y%m%d}"
        url = f"{twilio_product_url(adapter.base_url, 'lookups')}/v2/PhoneNumbers"
        return NumberLookups(adapter, url, f"Fields={fields}{since}", _twilio, reassigned_since)
    if reassigned_since is not None:
        raise InputError("only Twilio says whether a number has a new owner", fix="leave --reassigned-since out")
    if isinstance(adapter, TelnyxAdapter):
        return NumberLookups(adapter, f"{adapter.base_url}/v2/number_lookup", "type=carrier", _telnyx)
    if isinstance(adapter, (LamlAdapter, SignalWireAdapter)):
        url = f"{adapter.base_url}/api/relay/rest/lookup/phone_number"
        return NumberLookups(adapter, url, "include=carrier", _signalwire)
    raise InputError("this provider looks up no numbers", fix="use twilio, telnyx or signalwire")


def looked_up_type(text: str | None) -> str | None:
    """The type that an answer names (`fixed line or mobile`, `nonFixedVoip`), as `sender.phone` does; None for none."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s-]+", "_", (text or "").strip()).lower()
    name = _LOOKED_UP.get(words.replace("_", ""), words)
    return name if name in _TYPES else None


def _twilio(document: dict[str, Any]) -> tuple[object, NumberAnswer]:
    line = _http.mapping(document.get("line_type_intelligence"))
    owner = _http.mapping(document.get("reassigned_number"))
    valid = document.get("valid")
    errors = [str(code) for part in (line, owner) if (code := part.get("error_code")) is not None]
    reassigned = _http.text(owner.get("is_number_reassigned"))
    return document.get("phone_number"), NumberAnswer(
        line_type=looked_up_type(_http.text(line.get("type"))),
        carrier=_http.text(line.get("carrier_name")),
        reassigned=None if reassigned is None else _REASSIGNED.get(reassigned, "unknown"),
        valid=valid if isinstance(valid, bool) else None,
        problem=f"error {', '.join(errors)}" if errors else None,
    )


def _telnyx(document: dict[str, Any]) -> tuple[object, NumberAnswer]:
    data = _http.mapping(document.get("data"))
    carrier, ported = _http.mapping(data.get("carrier")), _http.mapping(data.get("portability"))
    valid = data.get("valid_number")  # telnyx 4.189.0
    kind = looked_up_type(_http.text(carrier.get("type"))) or looked_up_type(_http.text(ported.get("line_type")))
    return data.get("phone_number"), NumberAnswer(
        line_type=kind,
        carrier=_http.text(carrier.get("normalized_carrier")) or _http.text(carrier.get("name")),
        valid=valid if isinstance(valid, bool) else None,
    )


def _signalwire(document: dict[str, Any]) -> tuple[object, NumberAnswer]:
    carrier = _http.mapping(document.get("carrier"))
    zones = {zone for zone in _http.items(document.get("timezones")) if isinstance(zone, str) and _ZONE.fullmatch(zone)}
    valid = document.get("valid_number")
    kinds = (_http.text(carrier.get("linetype")), _http.text(document.get("number_type")))
    return document.get("e164"), NumberAnswer(
        line_type=looked_up_type(kinds[0]) or looked_up_type(kinds[1]),
        carrier=_http.text(carrier.get("lec")),
        zone="|".join(sorted(zones)) or None,
        valid=valid if isinstance(valid, bool) else None,
    )
