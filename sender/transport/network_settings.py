"""The environment's proxies and certificates, the same for every transport."""

from __future__ import annotations

import ssl
import urllib.request
from urllib.parse import urlsplit

from sender.core.errors import CredentialsError
from sender.core.lazy_modules import httpx
from sender.core.loopback import is_loopback_host
from sender.transport.base import ClearText


def read_proxies() -> dict[str, str]:
    """Proxy URLs by scheme (`http`, `https`, `all`): HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, or the system's settings."""
    return {
        scheme: proxy if "://" in proxy else f"http://{proxy}"
        for scheme, proxy in urllib.request.getproxies().items()
        if scheme in {"http", "https", "all"} and proxy
    }


def proxy_for(proxies: dict[str, str], scheme: str, host: str, port: int) -> str | None:
    """The proxy on the way to `host`; None for loopback (where the sandbox is) and what NO_PROXY names."""
    if is_loopback_host(host):
        return None
    # On Windows and macOS, by the system's settings.
    if urllib.request.proxy_bypass(host) or urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    return proxies.get(scheme) or proxies.get("all")


def refuse_clear_text(scheme: str, host: str) -> None:
    """Raise ClearText for plain http to anything but this machine: who is on the way, a proxy too, could read it."""
    if scheme == "http" and not is_loopback_host(host):
        raise ClearText


def make_ssl_context(url: str = "") -> ssl.SSLContext:
    """A context that verifies by SSL_CERT_FILE or SSL_CERT_DIR, else by certifi. Raises CredentialsError.

    For an origin with plain http, which is on this machine, it trusts nobody: reading certificates takes 30 ms.
    """
    if urlsplit(url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        raise CredentialsError(
            f"the certificates cannot be read: {error.strerror or error}",
            where="SSL_CERT_FILE or SSL_CERT_DIR",
            fix="name a PEM file or directory that exists, or unset the variable",
        ) from error


def unusable_proxy() -> CredentialsError:
    """The error for a proxy, without its URL, which may contain a password."""
    return CredentialsError(
        "the proxy cannot be used: its URL is not valid, or it is a SOCKS proxy",
        where="HTTP_PROXY, HTTPS_PROXY, ALL_PROXY",
        fix="name an http:// or https:// proxy; for SOCKS install httpx[socks] and use `transport: httpx`",
    )
