"""The two form APIs as the sandbox speaks them: Twilio 2010-04-01 and SignalWire Compatibility (LaML).

One shape, two sets of rules and words: `TwilioApi` and `CompatibilityApi` say where they differ. Facts from Twilio's
OpenAPI file of April 2026 and error pages, and SignalWire's Compatibility documentation of August 2026.
"""

from __future__ import annotations

import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from sender.sandbox.dialect import (
    POOL_NUMBER,
    Answer,
    Column,
    Condition,
    Draft,
    FieldProblem,
    Listing,
    Log,
    Op,
    Refused,
    StoredMessage,
    Trouble,
    TroubleAnswer,
    basic,
    cursor,
    day_end_ms,
    form,
    instant_ms,
    is_http_url,
    newer_token,
    older_token,
    ref_in_callback,
    rfc2822,
    whole,
)
from sender.sandbox.signalwire import COMPATIBILITY, project

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE = re.compile(r"\d{5,6}")
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_MAX_BODY = 1600
_ACCOUNT_PATH = "/2010-04-01/Accounts"


class LamlApi(ABC):
    """What both form APIs share. Errors are `{code, message, more_info, status}`, one at a time."""

    name: str
    verdicts: Mapping[Trouble, TroubleAnswer]
    mms_receipts: bool
    prefix: str  # of the account's path
    suffix: str  # of resource paths
    help_url: str
    max_media: int
    max_validity_s: int
    invalid_status: int  # the HTTP status of a refused parameter
    service: re.Pattern[str]
    no_sender: FieldProblem
    bad_service: FieldProblem
    bad_callback: FieldProblem
    bad_page: tuple[str, str]  # codes: page size, page token
    bad_parameter: str
    tells_positions: bool  # a page says `start` and `end`

    def is_sender(self, number: str) -> bool:
        return bool(_E164.fullmatch(number) or _SHORT_CODE.fullmatch(number))

    def problem(self, code: str, message: str, attribute: str | None = None) -> FieldProblem:
        return FieldProblem(self.invalid_status, code, message, attribute)

    @abstractmethod
    def extra_problems(self, fields: Mapping[str, list[str]], now_ms: int, /) -> Iterable[FieldProblem]:
        """What only this API refuses."""

    def draft(self, account: str, content_type: str, body: bytes, now_ms: int) -> Draft:
        fields = form(content_type, body)
        problems = [*self._addresses(fields), *self._content(fields), *self._common(fields)]
        problems += self.extra_problems(fields, now_ms)
        if problems:
            raise Refused(problems[0])  # these APIs name one problem at a time
        first = {name: values[0] for name, values in fields.items()}
        media = tuple(fields.get("MediaUrl", ()))
        callback = first.get("StatusCallback") or None
        scheduled = first.get("ScheduleType") == "fixed" and first.get("MessagingServiceSid")
        shown = ("ValidityPeriod", "MaxPrice", "ApplicationSid", "ContentSid", "SmartEncoded")
        mms = bool(media) or first.get("SendAsMms", "").lower() == "true"
        return Draft(
            message_id=self.new_id(mms=mms),
            dialect=self.name,
            account=account,
            to=first["To"],
            from_number=first.get("From") or self.pool_number(),
            body=first.get("Body", ""),
            media=media,
            mms=mms,
            service=first.get("MessagingServiceSid") or None,
            callback=callback,
            ref=ref_in_callback(callback),
            send_at_ms=instant_ms(first["SendAt"]) if scheduled else None,
            extra={name: first[name] for name in shown if name in first},
        )

    @abstractmethod
    def new_id(self, *, mms: bool) -> str: ...

    @abstractmethod
    def pool_number(self) -> str | None:
        """The sender a messaging service has chosen by the time of the answer."""

    def _addresses(self, fields: Mapping[str, list[str]]) -> list[FieldProblem]:
        to, sender, service = (fields.get(name, [""])[0] for name in ("To", "From", "MessagingServiceSid"))
        if not to:
            return [self.problem("21604", "A 'To' phone number is required.")]
        if not _E164.fullmatch(to):
            return [self.problem("21211", "The 'To' number is not a valid phone number.")]
        if not sender and not service:
            return [self.no_sender]
        if sender and not self.is_sender(sender):
            return [self.problem("21212", "The 'From' number is not valid.")]
        if service and not self.service.fullmatch(service):
            return [self.bad_service]
        return []

    def _content(self, fields: Mapping[str, list[str]]) -> list[FieldProblem]:
        body, media = fields.get("Body", [""])[0], fields.get("MediaUrl", [])
        if not body and not media and not fields.get("ContentSid"):
            return [self.problem("21602", "Message body or media is required.")]
        if len(body) > _MAX_BODY:
            return [self.problem("21617", f"The message body exceeds {_MAX_BODY} characters.")]
        if len(media) > self.max_media:
            return [self.problem("21623", f"More than {self.max_media} media files.")]
        if not all(is_http_url(url) for url in media):
            return [self.problem("21620", "A media URL is not valid.")]
        return []

    def _common(self, fields: Mapping[str, list[str]]) -> list[FieldProblem]:
        problems = []
        if not all(is_http_url(url) for url in fields.get("StatusCallback", ())):
            problems.append(self.bad_callback)
        validity = fields.get("ValidityPeriod", ["1"])[0]
        if not re.fullmatch(r"\d{1,7}", validity) or not 1 <= int(validity) <= self.max_validity_s:
            problems.append(self.problem("21624", f"ValidityPeriod must be 1 to {self.max_validity_s} seconds."))
        return problems

    def refused(self, problems: Sequence[FieldProblem]) -> Answer:
        problem = problems[0]
        return Answer(
            problem.status,
            {
                "code": int(problem.code),
                "message": problem.message,
                "more_info": f"{self.help_url}{problem.code}",
                "status": problem.status,
            },
        )

    @abstractmethod
    def resource(self, message: StoredMessage, now_ms: int) -> dict[str, Any]:
        """The message as this API shows it."""

    def uri(self, message: StoredMessage) -> str:
        return f"{self.prefix}/{message.draft.account}/Messages/{message.message_id}{self.suffix}"

    def created(self, message: StoredMessage, now_ms: int) -> Answer:
        return Answer(201, self.resource(message, now_ms))

    def one(self, log: Log, account: str, message_id: str, now_ms: int) -> Answer:
        message = log.get((self.name,), account, message_id)
        if message is None:
            raise Refused(FieldProblem(404, "20404", "The requested resource was not found."))
        return Answer(200, self.resource(message, now_ms))

    def filters(self, params: Mapping[str, str], now_ms: int) -> list[Condition]:
        """A message that is not sent yet has no DateSent, so a filter by it hides the message."""
        where: list[Condition] = []
        if params.get("To"):
            where.append((Column.TO, Op.EQ, params["To"]))
        if params.get("From"):
            where.append((Column.FROM, Op.EQ, params["From"]))
        for name, ops in (("DateSent", (Op.GE, Op.LT)), ("DateSent<", (Op.LT,)), ("DateSent>", (Op.GE,))):
            if text := params.get(name):
                bounds = {Op.GE: instant_ms(text), Op.LT: day_end_ms(text)}
                for op in ops:
                    bound = bounds[op]
                    if bound is None:
                        raise Refused(self.problem(self.bad_parameter, f"{name} is not a date."))
                    where.append((Column.SENT, op, bound))
                where.append((Column.SENT, Op.LE, now_ms))
        return where

    def page(self, log: Log, listing: Listing) -> Answer:
        params = listing.params
        size = self._number(params, "PageSize", 50, 1, 1000)
        number = self._number(params, "Page", 0, 0, 10**9)
        edge = self._cursor(params.get("PageToken"), number)
        where = self.filters(params, listing.now_ms)
        page = log.page((self.name,), listing.account, where, limit=size, **edge)
        kept = [(name, value) for name, value in listing.query if name not in {"Page", "PageSize", "PageToken"}]

        def uri(page_number: int, token: str | None = None) -> str:
            position = [("PageSize", str(size)), ("Page", str(page_number))]
            return f"{listing.path}?{urlencode([*kept, *position, *([('PageToken', token)] if token else [])])}"

        older, newer = older_token(page), newer_token(page)
        payload = {
            "uri": uri(number, params.get("PageToken")),
            "first_page_uri": uri(0),
            "next_page_uri": uri(number + 1, older) if older else None,
            "previous_page_uri": uri(number - 1, newer) if newer and number else None,
            "page": number,
            "page_size": size,
            "messages": [self.resource(message, listing.now_ms) for message in page.messages],
        }
        if self.tells_positions:
            start = number * size
            payload |= {"start": start, "end": start + max(0, len(page.messages) - 1)}
        return Answer(200, payload)

    def _number(self, params: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
        number = whole(params, name, default, low, high)
        if number is None:
            raise Refused(self.problem(self.bad_page[0], f"{name} is out of range."))
        return number

    def _cursor(self, token: str | None, page: int) -> dict[str, int]:
        if token is None and not page:
            return {}
        edge = cursor(token or "")
        if edge is None:
            raise Refused(self.problem(self.bad_page[1], "PageToken is missing or not valid."))
        return edge


class CompatibilityApi(LamlApi):
    """SignalWire Compatibility: UUID sids, integer counts, string error codes; unknown fields are refused."""

    name = COMPATIBILITY
    mms_receipts = False
    prefix = f"/api/laml{_ACCOUNT_PATH}"
    suffix = ""
    help_url = "https://developer.signalwire.com/compatibility-api/reference/error-codes#"
    max_media = 8
    max_validity_s = 172_800
    invalid_status = 422
    service = _UUID
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
    verdicts: Mapping[Trouble, TroubleAnswer] = {
        Trouble.INVALID_NUMBER: TroubleAnswer(422, "21211", "The 'To' number is not a valid phone number."),
        Trouble.OPTED_OUT: TroubleAnswer(422, "21610", "The recipient blocked messages from this number."),
        Trouble.LANDLINE: TroubleAnswer(422, "21614", "The 'To' number is not a mobile number."),
        Trouble.FILTERED: TroubleAnswer(None, "30007", "The message was filtered for its content."),
        Trouble.UNREACHABLE: TroubleAnswer(None, "30003", "The handset is not reachable."),
        Trouble.RATE_LIMITED: TroubleAnswer(429, "20429", "Too many requests."),
        Trouble.NO_FUNDS: TroubleAnswer(422, "30002", "The account balance is insufficient."),
        Trouble.SENDER_NOT_ALLOWED: TroubleAnswer(422, "21210", "The 'From' number is not a number of this project."),
        Trouble.SERVER_ERROR: TroubleAnswer(500, "20504", "An internal error occurred."),
    }

    def account(self, authorization: str | None, path_account: str | None) -> str:
        account = project(authorization)
        if account is None or account != (path_account or "").lower():
            raise Refused(FieldProblem(401, "20003", "Authentication failed."))
        return account

    def new_id(self, *, mms: bool) -> str:  # noqa: ARG002 (one form for both kinds)
        return str(uuid.uuid4())

    def pool_number(self) -> str | None:
        return POOL_NUMBER

    def extra_problems(self, fields: Mapping[str, list[str]], _now_ms: int) -> Iterable[FieldProblem]:
        for name in sorted(fields.keys() - self.fields):
            yield self.problem("90000", f"{name} is not a supported parameter.")
        if not _UUID.fullmatch(fields.get("ApplicationSid", [str(uuid.UUID(int=0))])[0]):
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
            case "initiated" | "delivered" | "undelivered" | "failed" | "received" as word:
                where += [(Column.FINAL_AT, Op.LE, now_ms), (Column.FINAL, Op.EQ, word)]
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


class TwilioApi(LamlApi):
    """Twilio: string counts, integer error codes, negative string prices; unknown fields are ignored."""

    name = "twilio"
    mms_receipts = True
    prefix = _ACCOUNT_PATH
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
    verdicts: Mapping[Trouble, TroubleAnswer] = {
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
        Trouble.SERVER_ERROR: TroubleAnswer(500, "20500", "Internal Server Error"),
    }
    _account = re.compile(r"AC[0-9a-fA-F]{32}")
    _key = re.compile(r"SK[0-9a-fA-F]{32}")

    def account(self, authorization: str | None, path_account: str | None) -> str:
        user, _ = basic(authorization) or ("", "")
        owner = path_account or ""
        known = self._account.fullmatch(owner) and (user == owner or self._key.fullmatch(user))
        if not known:
            raise Refused(FieldProblem(401, "20003", "Authenticate"))
        return owner

    def new_id(self, *, mms: bool) -> str:
        return ("MM" if mms else "SM") + uuid.uuid4().hex

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
