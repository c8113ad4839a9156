"""Readers and writers of what the dialects exchange: credentials, forms, JSON, numbers, page tokens, times."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sender.sandbox.dialect import MessagePage

# ── Credentials ───────────────────────────────────────────────────────────────────────────────────

# `bad` between other letters than hexadecimal digits: a token may hold these three letters by chance.
_BAD = re.compile(r"(?<![0-9a-fA-F])bad(?![0-9a-fA-F])")


def basic(authorization: str | None) -> tuple[str, str] | None:
    """Return user and secret of a Basic header; None if it is missing, malformed, empty or contains `bad`."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    if not (colon and user and secret) or says_bad(user) or says_bad(secret):
        return None
    return user, secret


def says_bad(text: str) -> bool:
    return _BAD.search(text) is not None


# ── Requests ──────────────────────────────────────────────────────────────────────────────────────


def form(content_type: str, body: bytes) -> dict[str, list[str]]:
    """Return the fields of a form; none for any other content type, which is how the form APIs treat JSON."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return {}
    try:
        return parse_qs(body.decode(), keep_blank_values=True)
    except UnicodeDecodeError:
        return {}


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in the body; None if it holds none."""
    try:
        value = json.loads(body)
    except ValueError:  # also not UTF-8
        return None
    return value if isinstance(value, dict) else None


def is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def is_http_url(value: Any) -> bool:
    if not isinstance(value, str) or any(character.isspace() for character in value):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def ref_in_callback(callback: str | None) -> str | None:
    """Return the `ref` in the query of a callback URL; None without one."""
    return parse_qs(urlsplit(callback).query).get("ref", [None])[0] if callback else None


def whole(params: Mapping[str, str], name: str, default: int, low: int, high: int) -> int | None:
    """Return the parameter as a number of at most 9 digits; None if it is not a number or out of range."""
    text = params.get(name, str(default))
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and low <= int(text) <= high else None


def older_token(page: MessagePage) -> str | None:
    """Return the page token that continues after the last message; None at the end of the log."""
    return f"PA{page.messages[-1].number:08x}" if page.has_older and page.messages else None


def newer_token(page: MessagePage) -> str | None:
    """Return the page token that goes back before the first message; None at the start."""
    return f"PB{page.messages[0].number:08x}" if page.has_newer and page.messages else None


def cursor(token: str) -> dict[str, int] | None:
    """Return a page token as an argument of `Log.page`: `older_than` or `newer_than`; None if it is not one of ours."""
    match = re.fullmatch(r"P([AB])([0-9a-f]{8,15})", token)
    return {"older_than" if match[1] == "A" else "newer_than": int(match[2], 16)} if match else None


def instant_ms(text: str) -> int | None:
    """Return an ISO 8601 date or time as ms UTC (a time without zone is UTC); None if it is neither."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def day_end_ms(text: str) -> int | None:
    """Return the first ms after the day that `text` names, or after the second if it names a time."""
    start = instant_ms(text)
    if start is None:
        return None
    try:
        date.fromisoformat(text)
    except ValueError:
        return start + 1000
    return start + round(timedelta(days=1).total_seconds() * 1000)


def iso(ms: int, *, fraction: bool = False) -> str:
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds" if fraction else "seconds")
    return text.replace("+00:00", "Z")


def rfc2822(ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(ms // 1000, UTC))
