"""SignalWire Compatibility (LaML) as the sandbox speaks it: Twilio's shapes under SignalWire's rules.

Facts from SignalWire's Compatibility documentation of August 2026.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sender.sandbox.dialect import (
    POOL_NUMBER,
    Column,
    Condition,
    FieldProblem,
    Op,
    Refused,
    StoredMessage,
    Trouble,
    TroubleAnswer,
)
from sender.sandbox.laml import ACCOUNT_PATH, LamlApi
from sender.sandbox.signalwire import COMPATIBILITY, UUID, project
from sender.sandbox.wire_formats import rfc2822


class CompatibilityApi(LamlApi):
    """SignalWire Compatibility: UUID sids, integer counts, string error codes; unknown fields are refused."""

    name = COMPATIBILITY
    mms_receipts = False
    prefix = f"/api/laml{ACCOUNT_PATH}"
    suffix = ""
    help_url = "https://developer.signalwire.com/compatibility-api/reference/error-codes#"
    max_media = 8
    max_validity_s = 172_800
    invalid_status = 422
    service = UUID
    no_sender = FieldProblem(422, "21705", "A 'From' number or a number group is required.")
    bad_service = FieldProblem(422, "21701", "The number group is not valid.")
    bad_callback = FieldProblem(422, "21402", "StatusCallback is not a valid URL.")
    bad_page = ("54454", "54453")
    bad_parameter = "90000"
    tells_positions = False
    fields = frozenset(
        {"To", "From", "MessagingServiceSid", "Body", "MediaUrl", "SendAsMms", "ApplicationSid", "MaxPrice"}
        | {"StatusCallback", "ValidityPeriod"}
    )
    trouble_answers: Mapping[Trouble, TroubleAnswer] = {
        Trouble.INVALID_NUMBER: TroubleAnswer(422, "21211", "The 'To' number is not a valid phone number."),
        Trouble.OPTED_OUT: TroubleAnswer(422, "21610", "The recipient blocked messages from this number."),
        Trouble.LANDLINE: TroubleAnswer(422, "21614", "The 'To' number is not a mobile number."),
        Trouble.FILTERED: TroubleAnswer(None, "30007", "The message was filtered for its content."),
        Trouble.UNREACHABLE: TroubleAnswer(None, "30003", "The handset is not reachable."),
        Trouble.RATE_LIMITED: TroubleAnswer(429, "20429", "Too many requests."),
        Trouble.NO_FUNDS: TroubleAnswer(422, "30002", "The account balance is insufficient."),
        Trouble.SENDER_NOT_ALLOWED: TroubleAnswer(422, "21210", "The 'From' number is not a number of this project."),
        Trouble.REGION_NOT_ALLOWED: TroubleAnswer(422, "21210", "The 'From' number is not a number of this project."),
        Trouble.SERVER_ERROR: TroubleAnswer(500, "20504", "An internal error occurred."),
    }

    def authenticate(self, authorization: str | None, path_account: str | None) -> str:
        account = project(authorization)
        if account is None or account != (path_account or "").lower():
            raise Refused(FieldProblem(401, "20003", "Authentication failed."))
        return account

    def new_id(self, *, mms: bool) -> str:  # noqa: ARG002 (one form for both kinds)
        return str(uuid.uuid4())

    def media_id(self, name: uuid.UUID) -> str:
        return str(name)

    def pool_number(self) -> str | None:
        return POOL_NUMBER

    def extra_problems(self, fields: Mapping[str, list[str]], _now_ms: int) -> Iterable[FieldProblem]:
        for name in sorted(fields.keys() - self.fields):
            yield self.problem("90000", f"{name} is not a supported parameter.")
        if not UUID.fullmatch(fields.get("ApplicationSid", [str(uuid.UUID(int=0))])[0]):
            yield self.problem("21218", "The ApplicationSid is not valid.")
        if not re.fullmatch(r"\d+\.?\d{0,4}", fields.get("MaxPrice", ["0"])[0]):
            yield self.problem("90000", "MaxPrice must be a price with up to 4 decimals.")

    def filters(self, params: Mapping[str, str], now_ms: int) -> list[Condition]:
        where = super().filters(params, now_ms)
        match params.get("Status"):
            case None:
                pass
            case "queued":
                where += [(Column.SENT, Op.GT, now_ms), (Column.FINAL_AT, Op.GT, now_ms)]
            case "sent":
                where += [(Column.SENT, Op.LE, now_ms), (Column.FINAL_AT, Op.GT, now_ms)]
            case "initiated" | "delivered" | "undelivered" | "failed" | "received" as text:
                where += [(Column.FINAL_AT, Op.LE, now_ms), (Column.FINAL, Op.EQ, text)]
            case _:
                raise Refused(self.problem("90000", "Status is not a status."))
        return where

    def resource(self, message: StoredMessage, now_ms: int) -> dict[str, Any]:
        draft = message.draft
        code, text = message.error(now_ms)
        sent_ms = message.sent_at_ms(now_ms)
        uri = self.uri(message)
        return {
            "account_sid": draft.account,
            "api_version": "2010-04-01",
            "body": draft.body,
            "num_segments": message.segments,
            "num_media": len(draft.media),
            "date_created": rfc2822(message.created_ms),
            "date_sent": None if sent_ms is None else rfc2822(sent_ms),
            "date_updated": rfc2822(message.updated_ms(now_ms)),
            "direction": "outbound-api",
            "error_code": code,
            "error_message": text,
            "from": draft.from_number,
            "price": None if sent_ms is None else message.price_usd,
            "price_unit": "USD",
            "sid": message.message_id,
            "status": message.status(now_ms),
            "to": draft.to,
            "messaging_service_sid": draft.service,
            "uri": uri,
            "subresource_uris": {"media": f"{uri}/Media"},
        }
