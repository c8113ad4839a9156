"""A provider's own list of opt-outs, read page by page. Pure; performs no I/O.

Of the providers here only Telnyx has one: GET /v2/messaging_optouts (its OpenAPI file of 2026-07-16). Twilio takes
consents and lists none, and SignalWire leaves the list to the sender (both 2026-08).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

from sender.core.errors import InputError
from sender.providers import _http
from sender.providers.base import Request, Response
from sender.providers.telnyx import TelnyxAdapter

_PATH = "/v2/messaging_optouts"
_PAGE_SIZE = 250  # the most a page may have


@dataclass(frozen=True, slots=True)
class OptOut:
    """One entry of the list: `number` asked `our_number` to stop. `at` is aware UTC; None where the list has none."""

    number: str
    our_number: str | None
    keyword: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class OptOutPage:
    """A page of the list, and the request for the next one."""

    entries: tuple[OptOut, ...]
    next: Request | None


@dataclass(frozen=True, slots=True)
class OptOutList:
    """The list of one Telnyx account."""

    adapter: TelnyxAdapter

    def request(self, *, profile: str | None = None, since: datetime | None = None) -> Request:
        """The first page: of one messaging profile or all, from `since` on. Numbers are asked for unredacted."""
        filters = [
            ("redaction_enabled", "false"),
            ("filter[messaging_profile_id]", profile),
            ("created_at[gte]", since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if since else None),
            ("page[size]", str(_PAGE_SIZE)),
            ("page[number]", "1"),
        ]
        return self._get([(name, value) for name, value in filters if value])

    def page(self, response: Response, request: Request) -> OptOutPage:
        """One page; the next is `request` with the next number. Raises ValueError when it cannot be read."""
        document = _http.listing(response, "data")
        meta = _http.mapping(document.get("meta"))
        number, total = _http.whole(meta.get("page_number")), _http.whole(meta.get("total_pages"))
        if document["data"] and (number is None or total is None):
            raise ValueError("does not say how many pages there are")
        entries = tuple(
            OptOut(
                number=_http.text(item.get("from")) or "",
                our_number=_http.text(item.get("to")),
                keyword=_http.text(item.get("keyword")),
                at=_http.moment(item.get("created_at")),
            )
            for item in document["data"]
        )
        if number is None or total is None or number >= total:
            return OptOutPage(entries, None)
        parameters = [(name, value) for name, value in parse_qsl(urlsplit(request.url).query) if name != "page[number]"]
        return OptOutPage(entries, self._get([*parameters, ("page[number]", str(number + 1))]))

    def _get(self, parameters: list[tuple[str, str]]) -> Request:
        url = f"{self.adapter.base_url}{_PATH}?{_http.form(parameters)}"
        return _http.get(url, self.adapter.authorization)


def opt_out_list(adapter: object) -> OptOutList:
    """The list of opt-outs that `adapter`'s provider keeps. Raises InputError where it keeps none that can be read."""
    if not isinstance(adapter, TelnyxAdapter):
        raise InputError(
            "only Telnyx lists its opt-outs",
            fix="import the file that the provider's console exports; refusals and replies are learned automatically",
        )
    return OptOutList(adapter)
