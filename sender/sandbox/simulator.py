"""Answers providers' requests: authenticate → validate → decide → store → answer, for four dialects.

It is a simulator and says so in a header of every answer. It sends no message.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from sender.sandbox import distortions, network_faults
from sender.sandbox import optouts as optouts_list
from sender.sandbox.deactivations import Deactivations
from sender.sandbox.dialect import (
    NEVER_MS,
    Answer,
    Dialect,
    Draft,
    FieldProblem,
    Listing,
    Refused,
    SchedulingDialect,
    StoredMessage,
    Trouble,
    TroubleAnswer,
    UsedKey,
)
from sender.sandbox.distortions import Distortion
from sender.sandbox.fault_plan import NO_FAULTS, FaultPicker, Faults
from sender.sandbox.magic_numbers import ORDINARY, AnswerDelivery, Behavior, BehaviorPicker
from sender.sandbox.segment_count import count_segments
from sender.sandbox.store import Store
from sender.sandbox.webhooks import NO_WEBHOOK_FAULTS, WebhookFaults, WebhookSender

SIMULATOR = "campaign-sender sandbox"
_HEADER = (b"x-simulator", SIMULATOR.encode())
AGAIN_AFTER_S = 0.05  # between an answer and the same again
_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Options:
    """How the sandbox behaves.

    `latency_ms` passes between storing a message and answering. Above `rate_per_s` create requests in a sliding second
    it answers 429 (None: no limit). A message is `sent` after `sent_after_s` and final `delivered_after_s` after
    creation. `hang_s` is how long a silent answer stays silent, and how long a slow one takes. `state_file` None keeps
    everything in memory. `faults` are injected into answers, `webhook_faults` into webhooks; an outage lasts
    `outage_s`, and the log shows a message only `log_lag_s` after its creation. `keys` False ignores the keys of create
    requests, as a provider does that has none.
    """

    latency_ms: float = 0.0
    rate_per_s: float | None = None
    state_file: Path | None = None
    sent_after_s: float = 0.5
    delivered_after_s: float = 1.5
    hang_s: float = 60.0
    faults: Faults = NO_FAULTS
    webhook_faults: WebhookFaults = NO_WEBHOOK_FAULTS
    outage_s: float = 2.0
    log_lag_s: float = 0.0
    keys: bool = True

    def __post_init__(self) -> None:
        times = (self.latency_ms, self.sent_after_s, self.hang_s, self.outage_s, self.log_lag_s)
        if min(times) < 0 or self.delivered_after_s < self.sent_after_s:
            raise ValueError("times must not be negative, and a message is sent before it is delivered")
        if self.rate_per_s is not None and self.rate_per_s <= 0:
            raise ValueError("rate_per_s must be above 0, or None for no limit")


class Sandbox:
    """Answers requests, and holds what the answers share. Raises StateError if the state file cannot be used."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.store = Store(options.state_file)
        self.optouts = optouts_list.OptOuts()
        self.deactivations = Deactivations()
        self.behaviors = BehaviorPicker(options.rate_per_s)
        self.faults = FaultPicker(options.faults)
        self.webhooks = WebhookSender(options.webhook_faults)
        self.closing = asyncio.Event()  # set when the server stops, so that silent answers end
        self._in_progress: set[tuple[str, str]] = set()  # account and key of requests that are being carried out
        self._created: Answer | None = None  # to the last request that was accepted
        self._repeated: list[dict[str, Any]] = []  # entries of a page of the log that the next one shows again
        self.start_outage: Callable[[float], None] = lambda _: None  # set by the server; for a number of seconds

    async def create_message(self, dialect: Dialect, request: Request) -> ASGIApp:
        body = await request.body()
        try:
            account = dialect.authenticate(request.headers.get("authorization"), request.path_params.get("account"))
            with self._use_key(dialect, account, request, body) as key:
                return await self._create(dialect, account, request, body, key)
        except Refused as refused:
            return await self._answer(dialect, dialect.answer_refused(refused.problems))

    @contextlib.contextmanager
    def _use_key(self, dialect: Dialect, account: str, request: Request, body: bytes) -> Iterator[UsedKey | None]:
        """The key of a create request, if it has one that counts. Raises Refused while another request has it."""
        rule = dialect.key_rule
        key = request.headers.get(rule.header) if rule is not None and self.options.keys else None
        if rule is None or key is None:
            yield None
            return
        if (account, key) in self._in_progress:
            raise Refused(rule.in_progress)
        self._in_progress.add((account, key))
        try:
            yield UsedKey(account, key, hashlib.sha256(body).hexdigest())
        finally:
            self._in_progress.discard((account, key))

    def _find_replayed(self, dialect: Dialect, key: UsedKey | None, now_ms: int) -> StoredMessage | None:
        """The message that the first request with the key has made. Raises Refused for another body."""
        rule = dialect.key_rule
        if rule is None or key is None:
            return None
        used = self.store.find_key(key.account, key.key, since_ms=now_ms - round(1000 * rule.kept_s))
        if used is None:
            return None
        if used[0] != key.body:
            raise Refused(rule.other_body)
        return self.store.get((dialect.name,), key.account, used[1])

    async def _create(
        self, dialect: Dialect, account: str, request: Request, body: bytes, key: UsedKey | None
    ) -> ASGIApp:
        now_ms = utc_ms()
        replayed = self._find_replayed(dialect, key, now_ms)
        draft = dialect.parse_draft(account, request.headers.get("content-type", ""), body, now_ms)
        behavior = self.behaviors.pick(draft, time.monotonic())
        if behavior is ORDINARY:
            behavior = self.faults.pick_for_message(draft.to) or behavior
        if behavior.fault:
            self.store.count_fault(behavior.fault)
        trouble = dialect.trouble_answers[behavior.trouble] if behavior.trouble else None
        if trouble and not trouble.is_late(draft):
            answer = _refusal(dialect, trouble, behavior)
        elif behavior.accepts and replayed is not None and dialect.key_rule is not None:
            answer = self._answer_created(dialect, replayed, behavior)
            answer = Answer(answer.status, answer.payload, {**answer.headers, **dict([dialect.key_rule.replayed])})
        elif behavior.accepts:
            message = self._store(dialect, draft, trouble, now_ms, key)
            answer = self._answer_created(dialect, message, behavior)
            await self.webhooks.schedule_reports(message)
        else:
            answer = Answer(behavior.page_status, {})  # never sent as it is: such a behavior has a delivery of its own
        return await self._deliver(dialect, answer, behavior.delivery)

    def _answer_created(self, dialect: Dialect, message: StoredMessage, behavior: Behavior) -> Answer:
        before, answer = self._created, dialect.answer_created(message, utc_ms())
        self._created = answer
        if behavior.delivery is AnswerDelivery.PAGE:
            return Answer(behavior.page_status, {})
        return distortions.distort_created(answer, behavior.distortion, before) if behavior.distortion else answer

    def _store(
        self, dialect: Dialect, draft: Draft, late: TroubleAnswer | None, now_ms: int, key: UsedKey | None
    ) -> StoredMessage:
        """Store the accepted message and return it. `late` is the trouble that the provider will report; None: none."""
        start_ms = draft.send_at_ms or now_ms
        sent_ms = start_ms + round(1000 * self.options.sent_after_s)
        final_ms = start_ms + round(1000 * self.options.delivered_after_s)
        final = "delivered"
        if late:
            final = "undelivered"
        elif draft.mms and not dialect.mms_receipts:
            final, final_ms = "sent", NEVER_MS
        return self.store.add(
            draft,
            ("GSM-7", 1) if draft.mms else count_segments(draft.body, draft.encoding),
            times_ms=(now_ms, sent_ms, final_ms),
            final=final,
            error=(late.code, late.message) if late else (None, None),
            key=key,
        )

    async def _deliver(self, dialect: Dialect, answer: Answer, delivery: AnswerDelivery) -> ASGIApp:
        if self.options.latency_ms:
            await asyncio.sleep(self.options.latency_ms / 1000)
        whole = json_response(answer)
        start = (answer.status, whole.raw_headers)
        content = bytes(whole.body)
        hang_s, closing = self.options.hang_s, self.closing
        match delivery:
            case AnswerDelivery.PLAIN:
                return whole
            case AnswerDelivery.SERVER_ERROR:
                return json_response(_refusal(dialect, dialect.trouble_answers[Trouble.SERVER_ERROR]))
            case AnswerDelivery.BAD_GATEWAY:
                return _page(502, "Bad Gateway")
            case AnswerDelivery.UNAVAILABLE:
                return _page(503, "Service Unavailable")
            case AnswerDelivery.SILENCE:
                return network_faults.Cut(closing, last_s=hang_s)
            case AnswerDelivery.RESET:
                return network_faults.Cut(closing, rst=True)
            case AnswerDelivery.HALF:
                return network_faults.Cut(closing, start=start, content=content[: len(content) // 2])
            case AnswerDelivery.TRUNCATED:
                return _raw(content[: len(content) // 2], answer.status, answer.headers)
            case AnswerDelivery.HTML:
                return _page(200, "Welcome to the network")
            case AnswerDelivery.DRIP:
                return network_faults.Cut(closing, start=start, content=content, last_s=hang_s, drip=True)
            case AnswerDelivery.HUGE:
                return network_faults.Huge(answer.status, [_HEADER, _JSON])
            case AnswerDelivery.PAGE:
                return _page(answer.status, HTTPStatus(answer.status).phrase)
            case AnswerDelivery.TWICE:
                return network_faults.Twice(whole, after_s=0.0)
            case AnswerDelivery.TWICE_LATE:
                return network_faults.Twice(whole, after_s=AGAIN_AFTER_S)
            case AnswerDelivery.UNDATED:
                return network_faults.Undated(whole)
            case AnswerDelivery.OUTAGE:
                self.start_outage(self.options.outage_s)
                return network_faults.Cut(closing, rst=True)

    async def show_message(self, dialect: Dialect, request: Request) -> ASGIApp:
        try:
            account = dialect.authenticate(request.headers.get("authorization"), request.path_params.get("account"))
            answer = dialect.answer_message(self.store, account, request.path_params["message_id"], utc_ms())
        except Refused as refused:
            answer = dialect.answer_refused(refused.problems)
        return await self._answer(dialect, answer)

    async def cancel_message(self, dialect: SchedulingDialect, request: Request) -> ASGIApp:
        """Take a scheduled message back."""
        body, now_ms = await request.body(), utc_ms()
        try:
            account = dialect.authenticate(request.headers.get("authorization"), request.path_params.get("account"))
            message_id = request.path_params["message_id"]
            dialect.parse_cancel(body)
            dialect.answer_message(self.store, account, message_id, now_ms)  # or there is none
            if not self._is_cancelable(dialect, account, message_id, now_ms):
                raise dialect.refuse_cancel()
            self.store.cancel(message_id, now_ms)
            self.webhooks.forget(message_id)
            message = self.store.get((dialect.name,), account, message_id)
            if message is None:
                raise dialect.refuse_cancel()
            answer = dialect.answer_canceled(message, now_ms)
        except Refused as refused:
            answer = dialect.answer_cancel_refused(refused.problems)
        return await self._answer(dialect, answer)

    def _is_cancelable(self, dialect: SchedulingDialect, account: str, message_id: str, now_ms: int) -> bool:
        message = self.store.get((dialect.name,), account, message_id)
        if message is None or message.draft.send_at_ms is None:
            return False
        is_canceled = message.status(now_ms) == "canceled"
        return not is_canceled and now_ms + 1000 * dialect.cancel_margin_s < message.draft.send_at_ms

    async def list_messages(self, dialect: Dialect, request: Request) -> ASGIApp:
        try:
            account = dialect.authenticate(request.headers.get("authorization"), request.path_params.get("account"))
            listing = Listing(
                account=account,
                base_url=f"{request.url.scheme}://{request.headers.get('host', '')}",
                path=request.url.path,
                query=tuple(request.query_params.multi_items()),
                now_ms=utc_ms(),
            )
            lag_ms = round(1000 * self.options.log_lag_s)
            log = self.store.as_of(listing.now_ms - lag_ms) if lag_ms else self.store
            answer = dialect.answer_page(log, listing)
        except Refused as refused:
            answer = dialect.answer_refused(refused.problems)
        fault, effect = self.faults.pick_for_page() or (None, AnswerDelivery.PLAIN)
        if fault:
            self.store.count_fault(fault)
        if self._repeated and _is_following(request):
            answer, self._repeated = distortions.with_rows_before(answer, self._repeated), []
        elif effect is Distortion.TWO_PAGES:
            self._repeated = distortions.rows_of(answer)
            answer = distortions.with_next_page(answer, request.url.path, request.query_params.multi_items())
        if isinstance(effect, AnswerDelivery):
            return await self._deliver(dialect, answer, effect)
        if effect is not Distortion.TWO_PAGES:
            answer = distortions.distort_rows(answer, effect)
        return await self._answer(dialect, answer)

    async def _answer(self, dialect: Dialect, answer: Answer) -> ASGIApp:
        return await self._deliver(dialect, answer, AnswerDelivery.PLAIN)


def _is_following(request: Request) -> bool:
    """Whether a page of the log is not the first of its walk."""
    query = request.query_params
    return any(query.get(name, "1") not in {"0", "1"} for name in (distortions.FOLLOWING, "page[number]")) or any(
        name in query for name in ("page_token", "PageToken")
    )


def _refusal(dialect: Dialect, trouble: TroubleAnswer, behavior: Behavior = ORDINARY) -> Answer:
    problem = FieldProblem(trouble.status or 500, trouble.code, trouble.message, trouble.attribute)
    answer = dialect.answer_refused([problem])
    if behavior.retry_after is None:
        return answer
    return Answer(answer.status, answer.payload, {"retry-after": behavior.retry_after.header(behavior.retry_after_s)})


def utc_ms() -> int:
    """Return the time of day in ms UTC."""
    return time.time_ns() // 1_000_000


def json_response(answer: Answer) -> Response:
    """Return the answer as an HTTP response."""
    # Starlette's JSONResponse is the same with more steps, and this runs once a message.
    content = json.dumps(answer.payload, ensure_ascii=False, separators=(",", ":")).encode()
    return _raw(content, answer.status, answer.headers)


def _raw(content: bytes, status: int, headers: Mapping[str, str]) -> Response:
    response = Response(content, status)
    response.raw_headers = [_HEADER, _JSON, (b"content-length", str(len(content)).encode())]
    response.raw_headers += [(name.encode(), value.encode()) for name, value in headers.items()]
    return response


def _page(status: int, heading: str) -> Response:
    return HTMLResponse(f"<html><body><h1>{heading}</h1></body></html>", status, {"x-simulator": SIMULATOR})
