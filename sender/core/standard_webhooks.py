"""Webhooks of ours: where they go, what they say and how they are signed, as Standard Webhooks. Pure.

Facts: standardwebhooks.com, specification of 2023-12 (read 2026-11-29).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sender.core.errors import CredentialsError, InputError
from sender.core.loopback import is_loopback

SECRET_VARIABLE = "SENDER_WEBHOOK_SECRET"  # noqa: S105 (its name)
_PREFIX = "whsec_"
_SHORTEST_KEY = 16  # bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where webhooks of ours go, and the key that they are signed with."""

    url: str = field(repr=False)  # some carry a secret of their own
    key: bytes = field(repr=False)

    @property
    def host(self) -> str:
        """The host, for people."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True, slots=True)
class Event:
    """What one webhook says: its id is the same at every try, so that a receiver can drop a second one."""

    id: str
    kind: str
    at: datetime
    data: Mapping[str, Any]

    def body(self) -> bytes:
        """Return the JSON that is posted."""
        at = self.at.astimezone(UTC).isoformat(timespec="milliseconds")
        return json.dumps({"type": self.kind, "timestamp": at, "data": dict(self.data)}, default=str).encode()


def read_target(url: str, env: Mapping[str, str], *, what: str = "a notification") -> Target:
    """Return the target of `url`, with the key in `env`. Raises InputError; without a key CredentialsError.

    `what` goes there, in a sentence.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise InputError(f"{what} needs an http or https URL", fix="write https://host/path, without a password in it")
    if parts.scheme == "http" and not is_loopback(url):
        raise InputError(
            f"{what} would go to {parts.hostname} over plain http",
            fix="use https; http is allowed only to this machine",
        )
    return Target(url.strip(), read_key(env.get(SECRET_VARIABLE, "")))


def read_key(secret: str) -> bytes:
    """Return the key of a Standard Webhooks secret: base64, with or without `whsec_`. Raises CredentialsError."""
    text = secret.strip().removeprefix(_PREFIX)
    fix = f"set {SECRET_VARIABLE} to the receiver's secret: whsec_ and base64, of at least {_SHORTEST_KEY} bytes"
    if not text:
        raise CredentialsError("there is no secret to sign our webhooks", where=SECRET_VARIABLE, fix=fix)
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


def signed_headers(target: Target, event_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of a webhook with that body, sent at that Unix time."""
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(target.key, event_id, timestamp_s, body),
    }
