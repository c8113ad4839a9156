"""What the two form APIs share as the sandbox speaks them: Twilio 2010-04-01 and SignalWire Compatibility (LaML).

`sandbox.twilio` and `sandbox.signalwire_compat` hold what differs.
"""

from __future__ import annotations

import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sender.sandbox.dialect import (
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
)
from sender.sandbox.wire_formats import (
    cursor,
    day_end_ms,
    form,
    instant_ms,
    is_http_url,
    newer_token,
    older_token,
    ref_in_callback,
    whole,
)

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE = re.compile(r"\d{5,6}")
_MAX_BODY = 1600
ACCOUNT_PATH = "/2010-04-01/Accounts"


class LamlApi(ABC):
    """A form API. Errors are `{code, message, more_info, status}`, one at a time."""

    name: str
    trouble_answers: Mapping[Trouble, TroubleAnswer]
    mms_receipts: bool
    key_rule = None
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

    @abstractmethod
    def authenticate(self, authorization: str | None, path_account: str | None, /) -> str: ...

    def is_sender(self, number: str) -> bool:
        return bool(_E164.fullmatch(number) or _SHORT_CODE.fullmatch(number))

    def problem(self, code: str, message: str, attribute: str | None = None) -> FieldProblem:
        return FieldProblem(self.invalid_status, code, message, attribute)

    @abstractmethod
    def extra_problems(self, fields: Mapping[str, list[str]], now_ms: int, /) -> Iterable[FieldProblem]:
        """Return what only this API refuses."""

    def parse_draft(self, account: str, content_type: str, body: bytes, now_ms: int) -> Draft:
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
        """Return the sender that a messaging service has chosen by the time of the answer; None: chosen later."""

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

    def answer_refused(self, problems: Sequence[FieldProblem]) -> Answer:
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
        """Return the message as this API shows it."""

    def uri(self, message: StoredMessage) -> str:
        return f"{self.prefix}/{message.draft.account}/Messages/{message.message_id}{self.suffix}"

    @abstractmethod
    def media_id(self, name: uuid.UUID) -> str:
        """Return the id of a medium."""

    def media_uri(self, message: StoredMessage, media_id: str) -> str:
        return f"{self.uri(message).removesuffix('.json')}/Media/{media_id}{self.suffix}"

    def answer_created(self, message: StoredMessage, now_ms: int) -> Answer:
        return Answer(201, self.resource(message, now_ms))

    cancel_margin_s = 0.0

    def parse_cancel(self, body: bytes) -> None:
        """Of the two updates only Status=canceled is simulated, not the redaction of a body."""
        if dict(parse_qsl(body.decode("utf-8", "replace"))) != {"Status": "canceled"}:
            raise Refused(self.problem(self.bad_parameter, "The sandbox simulates Status=canceled only."))

    def answer_canceled(self, message: StoredMessage, now_ms: int) -> Answer:
        return Answer(200, self.resource(message, now_ms))

    def answer_cancel_refused(self, problems: Sequence[FieldProblem]) -> Answer:
        return self.answer_refused(problems)

    def refuse_cancel(self) -> Refused:
        return Refused(self.problem(self.bad_parameter, "The message is not scheduled, so it cannot be canceled."))

    def find(self, log: Log, account: str, message_id: str) -> StoredMessage:
        """Return a message of the log. Raises Refused (404)."""
        message = log.get((self.name,), account, message_id)
        if message is None:
            raise Refused(FieldProblem(404, "20404", "The requested resource was not found."))
        return message

    def answer_message(self, log: Log, account: str, message_id: str, now_ms: int) -> Answer:
        return Answer(200, self.resource(self.find(log, account, message_id), now_ms))

    def filters(self, params: Mapping[str, str], now_ms: int) -> list[Condition]:
        """A message that is not sent yet has no DateSent, so a filter by it hides the message.

        `DateSent` is a whole day (UTC). `DateSent<` and `DateSent>` include the day or the moment that they name.
        """
        where: list[Condition] = []
        if params.get("To"):
            where.append((Column.TO, Op.EQ, params["To"]))
        if params.get("From"):
            where.append((Column.FROM, Op.EQ, params["From"]))
        for name, ops in (("DateSent", (Op.GE, Op.LT)), ("DateSent<", (Op.LT,)), ("DateSent>", (Op.GE,))):
            if text := _date_sent(params.get(name), is_day=name == "DateSent"):
                bounds = {Op.GE: instant_ms(text), Op.LT: day_end_ms(text)}
                for op in ops:
                    bound = bounds[op]
                    if bound is None:
                        raise Refused(self.problem(self.bad_parameter, f"{name} is not a date."))
                    where.append((Column.SENT, op, bound))
                where.append((Column.SENT, Op.LE, now_ms))
        return where

    def answer_page(self, log: Log, listing: Listing) -> Answer:
        params = listing.params
        size = self._number(params, "PageSize", 50, 1, 1000)
        number = self._number(params, "Page", 0, 0, 10**9)
        edge = self._cursor(params.get("PageToken"), number)
        where = self.filters(params, listing.now_ms)
        page = log.page((self.name,), listing.account, where, limit=size, **edge)
        others = [(name, value) for name, value in listing.query if name not in {"Page", "PageSize", "PageToken"}]

        def uri(page_number: int, token: str | None = None) -> str:
            position = [("PageSize", str(size)), ("Page", str(page_number))]
            return f"{listing.path}?{urlencode([*others, *position, *([('PageToken', token)] if token else [])])}"

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


def _date_sent(text: str | None, *, is_day: bool) -> str | None:
    """What a DateSent filter names. The SDKs write a plain date as its midnight, which stands for the day, too."""
    if text and (is_day or text.endswith("T00:00:00Z")) and instant_ms(text) is not None:
        return text[:10]
    return text
