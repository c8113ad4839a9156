"""Twilio's API 2010-04-01 as the sandbox speaks it.

Facts from Twilio's OpenAPI file of April 2026 and its error pages.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sender.sandbox.dialect import POOL_NUMBER, FieldProblem, Refused, StoredMessage, Trouble, TroubleAnswer
from sender.sandbox.laml import ACCOUNT_PATH, LamlApi
from sender.sandbox.wire_formats import basic, instant_ms, rfc2822

_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")


class TwilioApi(LamlApi):
    """Twilio: string counts, integer error codes, negative string prices; unknown fields are ignored."""

    name = "twilio"
    mms_receipts = True
    prefix = ACCOUNT_PATH
    suffix = ".json"
    help_url = "https://www.twilio.com/docs/errors/"
    max_media = 10
    max_validity_s = 36_000
    invalid_status = 400
    service = re.compile(r"MG[0-9a-fA-F]{32}")
    no_sender = FieldProblem(400, "21603", "A 'From' phone number is required.")
    bad_service = FieldProblem(400, "21705", "The MessagingServiceSid is not valid.")
    bad_callback = FieldProblem(400, "21609", "The StatusCallback URL is not valid.")
    bad_page = ("20001", "20001")
    bad_parameter = "20001"
    tells_positions = True
    schedule_s = (300, 35 * 86_400)  # twilio.com/docs/api/errors/35114
    trouble_answers: Mapping[Trouble, TroubleAnswer] = {
        Trouble.INVALID_NUMBER: TroubleAnswer(400, "21211", "The 'To' number is not a valid phone number."),
        # With a Messaging Service the create succeeds and the opt-out shows later (twilio-python issue 478).
        Trouble.OPTED_OUT: TroubleAnswer(400, "21610", "The recipient has opted out.", late_with_service=True),
        Trouble.LANDLINE: TroubleAnswer(400, "21635", "The 'To' number cannot be a landline."),
        Trouble.FILTERED: TroubleAnswer(None, "30007", "Message filtered."),
        Trouble.UNREACHABLE: TroubleAnswer(None, "30003", "Unreachable destination handset."),
        Trouble.RATE_LIMITED: TroubleAnswer(429, "20429", "Too Many Requests"),
        # The HTTP status is not documented.
        Trouble.NO_FUNDS: TroubleAnswer(403, "10001", "Account is not active."),
        Trouble.SENDER_NOT_ALLOWED: TroubleAnswer(400, "21606", "The 'From' number is not one you can send from."),
        Trouble.REGION_NOT_ALLOWED: TroubleAnswer(400, "21408", "Permission to send to this region is not enabled."),
        Trouble.SERVER_ERROR: TroubleAnswer(500, "20500", "Internal Server Error"),
    }
    _account = re.compile(r"AC[0-9a-fA-F]{32}")
    _key = re.compile(r"SK[0-9a-fA-F]{32}")

    def authenticate(self, authorization: str | None, path_account: str | None) -> str:
        user, _ = basic(authorization) or ("", "")
        owner = path_account or ""
        known = self._account.fullmatch(owner) and (user == owner or self._key.fullmatch(user))
        if not known:
            raise Refused(FieldProblem(401, "20003", "Authenticate"))
        return owner

    def authenticate_account(self, authorization: str | None) -> str:
        """Return the account of credentials for a path that names none. An API key stands for its account."""
        user, _ = basic(authorization) or ("", "")
        if not (self._account.fullmatch(user) or self._key.fullmatch(user)):
            raise Refused(FieldProblem(401, "20003", "Authenticate"))
        return user

    def new_id(self, *, mms: bool) -> str:
        return ("MM" if mms else "SM") + uuid.uuid4().hex

    def media_id(self, name: uuid.UUID) -> str:
        return f"ME{name.hex}"

    def pool_number(self) -> str | None:
        return None  # chosen later

    def is_sender(self, number: str) -> bool:
        return super().is_sender(number) or bool(_ALPHANUMERIC.fullmatch(number))

    def extra_problems(self, fields: Mapping[str, list[str]], now_ms: int) -> Iterable[FieldProblem]:
        first = {name: values[0] for name, values in fields.items()}
        if first.get("To", "").startswith("+1") and re.search("[A-Za-z]", first.get("From", "")):
            yield self.problem("21612", "The 'To' number cannot be reached from this alphanumeric sender.")
        # Without a Messaging Service Twilio sends at once (twilio.com/docs/api/errors/35111).
        if first.get("ScheduleType") == "fixed" and first.get("MessagingServiceSid"):
            if not first.get("SendAt"):
                yield self.problem("35111", "SendAt is missing.")
            else:
                at_ms = instant_ms(first["SendAt"])
                low, high = (now_ms + 1000 * seconds for seconds in self.schedule_s)
                if at_ms is None or not low <= at_ms <= high:
                    yield self.problem("35114", "SendAt must be 300 seconds to 35 days ahead.")

    def resource(self, message: StoredMessage, now_ms: int) -> dict[str, Any]:
        draft = message.draft
        code, text = message.error(now_ms)
        sent_ms = message.sent_at_ms(now_ms)
        status = message.status(now_ms)
        if status == "queued" and draft.service:
            waits = draft.send_at_ms is not None and now_ms < draft.send_at_ms
            status = "scheduled" if waits else "accepted"
        uri = self.uri(message)
        chosen = POOL_NUMBER if sent_ms is not None else None
        return {
            "account_sid": draft.account,
            "api_version": "2010-04-01",
            "body": draft.body,
            "date_created": rfc2822(message.created_ms),
            "date_sent": None if sent_ms is None else rfc2822(sent_ms),
            "date_updated": rfc2822(message.updated_ms(now_ms)),
            "direction": "outbound-api",
            "error_code": None if code is None else int(code),
            "error_message": text,
            "from": draft.from_number or chosen,
            "messaging_service_sid": draft.service,
            "num_media": str(len(draft.media)),
            "num_segments": str(message.segments),
            "price": None if sent_ms is None else f"-{message.price_usd:.5f}",
            "price_unit": "USD",
            "sid": message.message_id,
            "status": status,
            "subresource_uris": {"media": f"{uri.removesuffix('.json')}/Media.json"},
            "to": draft.to,
            "uri": uri,
        }
