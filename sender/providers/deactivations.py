"""Twilio's daily lists of US numbers that carriers have taken out of service. Pure; performs no I/O.

Facts: messaging.twilio.com, GET /v1/Deactivations, and error 30114 (both read in 2026-11). The list itself is a text
file behind a signed address, which is valid for two minutes. No page shows its lines, nor the status of the answer that
leads to it; twilio 9.13.0 takes a 3xx of a fetch for a good one.
"""

from __future__ import annotations

from datetime import date
from urllib.parse import urljoin, urlsplit

from sender.core.errors import InputError
from sender.core.loopback import is_loopback_host
from sender.providers import _http, _rules
from sender.providers.base import Request, Response
from sender.providers.laml import LamlAdapter

_PATH = "/v1/Deactivations"


def twilio_product_url(base_url: str, product: str) -> str:
    """The address of a Twilio product (`messaging`, `lookups`): the API's own, in the same region.

    Any other address, such as a proxy's or a sandbox's, answers for all products.
    """
    address = urlsplit(base_url)
    host = address.hostname or ""
    if not (host.startswith("api.") and host.endswith(".twilio.com")):
        return base_url
    return address._replace(netloc=f"{product}.{address.netloc.removeprefix('api.')}").geturl()


def list_request(adapter: object, day: date) -> Request:
    """The request for the address of a day's list. Raises InputError where the provider has no such list."""
    if not isinstance(adapter, LamlAdapter) or adapter.capabilities.provider != _rules.TWILIO:
        raise InputError(
            "only Twilio lists deactivated numbers", fix="name a file of numbers, or set the credentials of Twilio"
        )
    url = f"{twilio_product_url(adapter.base_url, 'messaging')}{_PATH}?Date={day.isoformat()}"
    return _http.get(url, adapter.authorization)


def file_request(response: Response, request: Request) -> Request:
    """The request for the file that the answer to `request` leads to, without credentials: its address is signed.

    Raises ValueError, with the provider's sentence, where the answer leads nowhere, or to where nothing is fetched
    from: plain http beyond loopback.
    """
    if not 200 <= response.status < 400:
        raise ValueError(_http.clean(f"HTTP {response.status}: {_http.refusal_text(response)[1]}"))
    document = _http.error_document(response) or {}
    target = _http.text(document.get("redirect_to")) or response.headers.get("location", "").strip()
    url = urljoin(request.url, target) if target else ""
    try:
        address = urlsplit(url)
        host = address.hostname or ""
    except ValueError:
        raise ValueError("the address of the list cannot be read") from None
    if not host:
        raise ValueError("the answer has no address of a list")
    if address.scheme != "https" and not (address.scheme == "http" and is_loopback_host(host)):
        raise ValueError("the address of the list is not https")
    return Request("GET", url, (("Accept", "text/plain, */*"),))
