"""Sends webhooks: signed status reports and inbound messages, as each of the four providers writes them.

Only to loopback, whatever URL a message names: the sandbox never calls another machine. Retries as the provider does,
and on request doubles, reorders, forges, drops or hurries what it sends. Webhooks that are due after the sandbox stops
are lost, as a provider's may be; its log has the same facts.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sender.core.loopback import is_loopback
from sender.sandbox.dialect import POOL_NUMBER, StoredMessage
from sender.sandbox.telnyx import payload
from sender.sandbox.webhook_client import WebhookClient
from sender.sandbox.wire_formats import iso

# The sandbox's own keys: well-formed, and valid nowhere else.
SIGNING_KEY = "PSK_sandbox"
TWILIO_TOKEN = "5a" * 16
_TELNYX_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"sandbox").digest())
TELNYX_PUBLIC_KEY = base64.b64encode(_TELNYX_KEY.public_key().public_bytes_raw()).decode()

_MOST_UNDER_WAY = 64
_PICTURE = "image/jpeg"
_EARLY_S = 2.0  # the longest that an early webhook may delay the answer


@dataclass(frozen=True, slots=True)
class WebhookFaults:
    """Probabilities (0 to 1) of what may go wrong with a message's webhooks.

    They are sent twice, out of order, before the create's answer (`early`), along with a forged one that says the
    opposite, or never (`drop`).
    """

    double: float = 0.0
    reorder: float = 0.0
    early: float = 0.0
    forge: float = 0.0
    drop: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        chances = (self.double, self.reorder, self.early, self.forge, self.drop)
        if not all(0 <= chance <= 1 for chance in chances):
            raise ValueError("a probability must be 0 to 1")


NO_WEBHOOK_FAULTS = WebhookFaults()


@dataclass(frozen=True, slots=True)
class SimulatedReply:
    """A text to a number of the account, delivered to `url` as the provider would.

    `message_id` is the provider's id of it (empty: a new one); the same id again is the same text, delivered twice.
    `media` are URLs of pictures that came with it.
    """

    dialect: str
    url: str
    sender: str
    to: str
    text: str
    message_id: str = ""
    media: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.dialect not in _RETRIES:
            raise ValueError(f"dialect must be one of {', '.join(_RETRIES)}")
        if not all(isinstance(value, str) for value in (self.url, self.sender, self.to, self.text, self.message_id)):
            raise TypeError("url, sender, to, text and message_id must be strings")
        if not isinstance(self.media, list | tuple) or not all(isinstance(url, str) for url in self.media):
            raise TypeError("media must be a list of strings")


@dataclass(frozen=True, slots=True)
class _Retries:
    """`attempts` in all; `on_status`: also after an answer that is not a success; `wait_s` doubles with each retry."""

    attempts: int
    on_status: bool
    wait_s: float
    timeout_s: float


# Telnyx: 3 attempts, 2 s to answer ("Receiving webhooks for messaging", 2026-04). Twilio: one more after a failed
# connection ("Webhooks connection overrides", 2026). SignalWire documents time limits and no schedule: the
# sandbox's choice. The waits are shorter than any provider's, so that a rehearsal ends.
_RETRIES: Mapping[str, _Retries] = {
    "signalwire": _Retries(3, on_status=True, wait_s=0.5, timeout_s=5),
    "signalwire-compat": _Retries(3, on_status=True, wait_s=0.5, timeout_s=5),
    "telnyx": _Retries(3, on_status=True, wait_s=0.5, timeout_s=2),
    "twilio": _Retries(2, on_status=False, wait_s=0.5, timeout_s=15),
}


@dataclass(frozen=True, slots=True)
class _Post:
    dialect: str
    url: str
    content_type: str
    body: bytes
    genuine: bool = True


class WebhookSender:
    """Sends webhooks from the event loop in which it is entered."""

    def __init__(self, faults: WebhookFaults = NO_WEBHOOK_FAULTS) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._forgotten: set[str] = set()
        self._slots = asyncio.Semaphore(_MOST_UNDER_WAY)
        self._client = WebhookClient()
        self._counts: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def set_faults(self, faults: WebhookFaults) -> None:
        """Inject `faults` from now on."""
        self.faults = faults
        self._random = random.Random(faults.seed)

    def counts(self) -> dict[str, Any]:
        """Return counts of webhooks sent, of answers by status (to forged ones apart), and of webhooks under way."""
        return {
            "sent": self._counts["sent"],
            "forged": self._counts["forged"],
            "lost": self._counts["lost"],
            "refused": self._counts["refused"],
            "unanswered": self._counts["unanswered"],
            "under_way": len(self._tasks),
            "answers": dict(sorted(self._answers.items())),
        }

    async def schedule_reports(self, message: StoredMessage) -> None:
        """Schedule the status reports of a message; wait only for one that has to arrive before the answer."""
        url = message.draft.callback
        if url is None:
            return
        if not is_loopback(url):
            self._counts["refused"] += 1
            return
        events = _report_times(message)
        dice, chances = self._random, self.faults
        if dice.random() < chances.drop:
            self._counts["lost"] += len(events)
            return
        if dice.random() < chances.reorder:
            times = [due for due, _ in events]
            events = [(due, at_ms) for due, (_, at_ms) in zip(times, reversed(events), strict=True)]
        if dice.random() < chances.double:
            events = sorted(events * 2)
        posts = [(due, _status_webhook(message, url, at_ms)) for due, at_ms in events]
        if dice.random() < chances.forge:
            posts.append(
                (events[0][0], replace(_status_webhook(_opposite(message), url, message.final_ms), genuine=False))
            )
        early = dice.random() < chances.early
        if early:
            first = self._schedule(0, posts.pop(0)[1], message.message_id)
            await asyncio.wait([first], timeout=_EARLY_S)
        for due_ms, post in posts:
            self._schedule(due_ms, post, message.message_id)

    async def deliver_reply(self, reply: SimulatedReply) -> int | None:
        """Post the reply and return the answer's status (None: no answer, or the URL is not loopback)."""
        if not is_loopback(reply.url):
            self._counts["refused"] += 1
            return None
        return await self._post(_reply_webhook(reply))

    def forget(self, message_id: str) -> None:
        """Post nothing more about a message: it was taken back."""
        self._forgotten.add(message_id)

    def _schedule(self, due_ms: int, post: _Post, message_id: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._post_when_due(due_ms, post, message_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _post_when_due(self, due_ms: int, post: _Post, message_id: str) -> None:
        await asyncio.sleep(max(0.0, due_ms / 1000 - time.time()))
        if message_id not in self._forgotten:
            await self._post(post)

    async def _post(self, post: _Post) -> int | None:
        """Post a webhook, with its retries, and return the status of the last answer."""
        retries = _RETRIES[post.dialect]
        status = None
        for attempt in range(retries.attempts):
            if attempt:
                await asyncio.sleep(retries.wait_s * 2 ** (attempt - 1))
            async with self._slots:
                status = await self._client.post(post.url, _headers(post), post.body, timeout_s=retries.timeout_s)
            self._counts["sent" if post.genuine else "forged"] += 1
            name = "none" if status is None else str(status)
            self._answers[name if post.genuine else f"forged: {name}"] += 1
            if not post.genuine or (status is not None and (status < 300 or not retries.on_status)):
                return status
        self._counts["unanswered"] += 1
        return status


def _headers(post: _Post) -> dict[str, str]:
    return {"content-type": post.content_type, "user-agent": "campaign-sender sandbox", **_signature_headers(post)}


def _report_times(message: StoredMessage) -> list[tuple[int, int]]:
    """Return when each report is due, and the moment whose status it reports (ms)."""
    dialect = message.draft.dialect
    # Twilio sends none for the first status, and Telnyx' first event is message.sent.
    moments = [message.created_ms] if dialect.startswith("signalwire") else []
    moments.append(message.sent_ms)
    if message.final != "sent":  # `sent` is final: no receipt will come
        moments.append(message.final_ms)
    return [(ms, ms) for ms in moments]


def _opposite(message: StoredMessage) -> StoredMessage:
    final = "failed" if message.final == "delivered" else "delivered"
    return replace(message, final=final, final_ms=message.final_ms if message.final != "sent" else message.sent_ms)


def _status_webhook(message: StoredMessage, url: str, at_ms: int) -> _Post:
    match message.draft.dialect:
        case "signalwire":
            return _json("signalwire", url, _native_status(message, at_ms))
        case "telnyx":
            kind = "message.finalized" if at_ms >= message.final_ms else "message.sent"
            return _json("telnyx", url, _telnyx_event(kind, at_ms, payload(message, at_ms), url))
        case dialect:
            return _form(dialect, url, _laml_status(message, at_ms))


def _native_status(message: StoredMessage, at_ms: int) -> dict[str, Any]:
    draft = message.draft
    code, text = message.error(at_ms)
    report = {
        "id": message.message_id,
        "project_id": draft.account,
        "status": message.status(at_ms),
        "to": draft.to,
        "from": draft.from_number,
        "body": draft.body,
        "number_of_segments": message.segments,
        "timestamp": iso(at_ms),
        "error_code": code,
        "error_message": text,
    }
    return report | (
        {"custom_variables": dict(variables)} if (variables := draft.extra.get("custom_variables")) else {}
    )


def _laml_status(message: StoredMessage, at_ms: int) -> list[tuple[str, str]]:
    draft = message.draft
    code, _ = message.error(at_ms)
    status = message.status(at_ms)
    fields = [
        ("MessageStatus", status),
        ("MessageSid", message.message_id),
        ("AccountSid", draft.account),
        ("From", draft.from_number or POOL_NUMBER),
        ("To", draft.to),
    ]
    if draft.dialect == "twilio":
        fields += [("SmsSid", message.message_id), ("SmsStatus", status), ("ApiVersion", "2010-04-01")]
        fields += [("MessagingServiceSid", draft.service)] if draft.service else []
    else:
        fields += [("Body", draft.body), ("NumMedia", str(len(draft.media))), ("NumSegments", str(message.segments))]
    return [*fields, ("ErrorCode", code)] if code else fields


def _telnyx_event(kind: str, at_ms: int, message: Mapping[str, Any], url: str) -> dict[str, Any]:
    event = {
        "record_type": "event",
        "id": str(uuid.uuid4()),
        "event_type": kind,
        "occurred_at": iso(at_ms, fraction=True),
        "payload": message,
    }
    return {"data": event, "meta": {"attempt": 1, "delivered_to": url}}


def _reply_webhook(reply: SimulatedReply) -> _Post:
    dialect, url, sender, to, text = reply.dialect, reply.url, reply.sender, reply.to, reply.text
    now_ms = time.time_ns() // 1_000_000
    message_id = reply.message_id or (f"SM{uuid.uuid4().hex}" if dialect == "twilio" else str(uuid.uuid4()))
    if dialect == "signalwire":
        message = {
            "message_id": message_id,
            "project_id": str(uuid.UUID(int=0)),
            "space_id": str(uuid.UUID(int=0)),
            "direction": "inbound",
            "type": "sms",
            "from": sender,
            "to": to,
            "body": text,
            "media": [{"url": url, "content_type": _PICTURE, "size": 1} for url in reply.media],
            "segments": 1,
            "timestamp": iso(now_ms),
        }
        return _json(dialect, url, {"message": message, "params": {}})
    if dialect == "telnyx":
        inbound: dict[str, Any] = {
            "record_type": "message",
            "direction": "inbound",
            "id": message_id,
            "type": "SMS",
            "from": {"phone_number": sender, "carrier": "Sandbox", "line_type": "Wireless", "status": "delivered"},
            "to": [{"phone_number": to, "status": "delivered", "carrier": "Sandbox", "line_type": "VoIP"}],
            "text": text,
            "media": [{"url": url, "content_type": _PICTURE, "size": 1} for url in reply.media],
            "parts": 1,
            "received_at": iso(now_ms, fraction=True),
        }
        if text.strip().upper() in {"STOP", "START", "HELP"}:
            inbound["autoresponse_type"] = text.strip().upper()
        return _json(dialect, url, _telnyx_event("message.received", now_ms, inbound, url))
    fields = [("MessageSid", message_id), ("AccountSid", "sandbox"), ("From", sender), ("To", to), ("Body", text)]
    fields += [("NumMedia", str(len(reply.media))), ("SmsStatus", "received")]
    for n, media_url in enumerate(reply.media):
        fields += [(f"MediaUrl{n}", media_url), (f"MediaContentType{n}", _PICTURE)]
    return _form(dialect, url, fields)


def _json(dialect: str, url: str, document: Mapping[str, Any]) -> _Post:
    return _Post(dialect, url, "application/json", json.dumps(document, separators=(",", ":")).encode())


def _form(dialect: str, url: str, fields: Sequence[tuple[str, str]]) -> _Post:
    return _Post(dialect, url, "application/x-www-form-urlencoded", urlencode(fields).encode())


# ── Signatures: written a second time, not taken from the receiver, so that they test it ──────────────────────────


def _signature_headers(post: _Post) -> dict[str, str]:
    """Return the headers with which the provider signs; a forger has another key."""
    salt = "" if post.genuine else "forged"
    if post.dialect == "telnyx":
        stamp = str(int(time.time()))
        signature = _TELNYX_KEY.sign(f"{stamp}|".encode() + post.body + salt.encode())
        return {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": base64.b64encode(signature).decode()}
    if post.dialect == "twilio":
        return {"x-twilio-signature": _laml_signature(TWILIO_TOKEN + salt, post)}
    if post.dialect == "signalwire":
        key = (SIGNING_KEY + salt).encode()
        return {"x-signalwire-signature": hmac.new(key, post.url.encode() + post.body, "sha1").hexdigest()}
    return {"x-signalwire-signature": _laml_signature(SIGNING_KEY + salt, post)}


def _laml_signature(key: str, post: _Post) -> str:
    fields = sorted(parse_qsl(post.body.decode(), keep_blank_values=True))
    text = post.url + "".join(f"{name}{value}" for name, value in fields)
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()
