"""Posts what became of a run to an address of the user's own, signed as Standard Webhooks.

Holds counts, codes and times: no texts, no numbers of people. A notification that cannot be delivered changes nothing
about the run. Facts: standardwebhooks.com, specification of 2023-12 (read 2026-11-29).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from sender.core.errors import CredentialsError, InputError
from sender.core.loopback import is_loopback
from sender.schedule.metrics import count_messages, hide_numbers

SECRET_VARIABLE = "SENDER_WEBHOOK_SECRET"  # noqa: S105 (its name)
_PREFIX = "whsec_"
_DELAYS_S = (1.0, 4.0, 10.0)  # before each further try
_TIMEOUT_S = 10.0
_SHORTEST_KEY = 16  # bytes
_WORTH_ANOTHER_TRY = (408, 425, 429)
_COUNTS = ("rows", "accepted", "rejected", "canceled", "unknown", "pending", "skipped", "statuses", "segments", "price")


@dataclass(frozen=True, slots=True)
class Target:
    """Where notifications go, and the key that they are signed with."""

    url: str = field(repr=False)  # some carry a secret of their own
    key: bytes = field(repr=False)

    @property
    def host(self) -> str:
        """The host, for people."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True, slots=True)
class Event:
    """One notification: its id is the same at every try, so that a receiver can drop a second one."""

    id: str
    kind: str
    at: datetime
    data: Mapping[str, Any]

    def body(self) -> bytes:
        """Return the JSON that is posted."""
        at = self.at.astimezone(UTC).isoformat(timespec="milliseconds")
        return json.dumps({"type": self.kind, "timestamp": at, "data": dict(self.data)}, default=str).encode()


def read_target(url: str, env: Mapping[str, str]) -> Target:
    """Return the target of `url`, with the key in `env`. Raises InputError; without a key CredentialsError."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise InputError(
            "a notification needs an http or https URL", fix="write https://host/path, without a password in it"
        )
    if parts.scheme == "http" and not is_loopback(url):
        raise InputError(
            f"a notification would go to {parts.hostname} over plain http",
            fix="use https; http is for this machine alone",
        )
    return Target(url.strip(), read_key(env.get(SECRET_VARIABLE, "")))


def read_key(secret: str) -> bytes:
    """Return the key of a Standard Webhooks secret: base64, with or without `whsec_`. Raises CredentialsError."""
    text = secret.strip().removeprefix(_PREFIX)
    fix = f"set {SECRET_VARIABLE} to the receiver's secret: whsec_ and base64, of at least {_SHORTEST_KEY} bytes"
    if not text:
        raise CredentialsError("notifications are signed, and there is no secret", where=SECRET_VARIABLE, fix=fix)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CredentialsError("the secret is not base64", where=SECRET_VARIABLE, fix=fix) from None
    if len(key) < _SHORTEST_KEY:
        raise CredentialsError("the secret is too short", where=SECRET_VARIABLE, fix=fix)
    return key


def sign(key: bytes, event_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    digest = hmac.digest(key, f"{event_id}.{timestamp_s}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def describe_run(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a notification says of a run, from its summary as plain values: no sentences, no numbers."""
    counts = count_messages(summary)
    return {
        **{name: summary.get(name) for name in ("run_id", "kind", "exit_code", "interrupted")},
        "campaign": hide_numbers(str(summary.get("campaign", ""))),
        **{name: summary[name] for name in _COUNTS if name in summary},
        "reasons": [
            {"status": status, "reason": reason, "count": n} for (status, reason), n in counts.items() if reason
        ],
    }


def name_error(error: Exception | None) -> str | None:
    """Return the class of an error; its sentence may name numbers."""
    return None if error is None else type(error).__name__


def run_event(summary: Mapping[str, Any], stopped: Exception | None, now: datetime) -> Event:
    """Return the notification of a run that has ended, stopped by that error or not."""
    data = {**describe_run(summary), "error": name_error(stopped)}
    return Event(f"run_{summary['run_id']}_{round(now.timestamp())}", "run.ended", now, data)


def notify(
    target: Target,
    event: Event,
    *,
    client: httpx.Client | None = None,
    now_s: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Post the event, a few times if need be; return why it could not be delivered, or None. Takes a minute at most."""
    own = client or httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)
    try:
        failure = None
        for delay_s in (0.0, *_DELAYS_S):
            if delay_s:
                sleep(delay_s)
            failure, may_pass = _post(own, target, event, int(now_s()))
            if failure is None or not may_pass:
                break
        return failure
    finally:
        if client is None:
            own.close()


def _post(client: httpx.Client, target: Target, event: Event, timestamp_s: int) -> tuple[str | None, bool]:
    """Return what went wrong, or None, and whether another try may help."""
    body = event.body()
    headers = {
        "content-type": "application/json",
        "webhook-id": event.id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(target.key, event.id, timestamp_s, body),
    }
    try:
        answer = client.post(target.url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return f"{target.host}: {type(error).__name__}", True
    if answer.is_success:
        return None, False
    return f"{target.host} answered {answer.status_code}", (
        answer.status_code in _WORTH_ANOTHER_TRY or answer.status_code >= 500
    )
