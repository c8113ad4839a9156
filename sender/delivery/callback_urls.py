"""The addresses that providers call back."""

from __future__ import annotations

from urllib.parse import urlsplit

from sender.core.errors import InputError
from sender.core.loopback import is_loopback


def status_callback(public_url: str, dialect: str) -> str:
    """The callback URL for messages of a dialect, whose reports a receiver at `public_url` takes."""
    return f"{public_url}/status/{dialect}"


def check_public_url(text: str) -> str:
    """Return `text` without a slash at its end. Raises InputError if providers could not, or should not, call it."""
    url = text.strip().rstrip("/")
    fix = "write https://host, or https://host/path: the address of a tunnel or a reverse proxy, for example"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not (url.isascii() and url.isprintable()) or " " in url:
        raise InputError("the public URL is not an http or https URL", where="public_url", fix=fix)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            "the public URL has more than scheme, host, port and path, and every message's request contains it",
            where="public_url",
            fix=fix,
        )
    if parts.scheme == "http" and not is_loopback(url):
        raise InputError(f"reports with recipients' numbers would reach {host} over plain http", where=url, fix=fix)
    return url
