"""Telnyx' other paths for a new message, each with required fields of its own: /v2/messages/schedule and the like.

Facts from Telnyx' OpenAPI file of July 2026. What a path does not take is ignored, as /v2/messages does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sender.sandbox.dialect import Draft, FieldProblem, Refused
from sender.sandbox.telnyx import TelnyxApi
from sender.sandbox.wire_formats import json_object


class TelnyxVariant(TelnyxApi):
    """One of the paths: `needed` are the fields without which it refuses, `ignored` those that it does not take."""

    def __init__(self, needed: tuple[str, ...], ignored: tuple[str, ...] = ()) -> None:
        self._needed = needed
        self._ignored = ignored

    def parse_draft(self, account: str, content_type: str, body: bytes, now_ms: int) -> Draft:
        fields = json_object(body)
        if fields is not None:
            missing = [name for name in self._needed if not fields.get(name)]
            if missing:
                problems = (FieldProblem(422, "10004", "Missing required parameter", f"/{name}") for name in missing)
                raise Refused(*problems)
            body = json.dumps({name: value for name, value in fields.items() if name not in self._ignored}).encode()
        return super().parse_draft(account, content_type, body, now_ms)


VARIANTS: Mapping[str, TelnyxVariant] = {
    "schedule": TelnyxVariant(("to", "send_at")),  # the file requires `to` alone; without a time nothing is scheduled
    "number_pool": TelnyxVariant(("to", "messaging_profile_id"), ignored=("from",)),
    "long_code": TelnyxVariant(("from", "to"), ignored=("messaging_profile_id",)),
    "short_code": TelnyxVariant(("from", "to"), ignored=("messaging_profile_id",)),
    "alphanumeric_sender_id": TelnyxVariant(("from", "to", "text", "messaging_profile_id")),
}
