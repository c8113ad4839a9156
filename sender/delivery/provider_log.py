"""Reads a provider's log, or another list it keeps, page by page, with pauses and with patience.

Callers say what they read and how often a page is worth another try. Sends nothing but these requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Protocol, TypeVar

from aiolimiter import AsyncLimiter

from sender.providers import retry_after_s
from sender.providers.base import Request, Response
from sender.transport.base import Transport, TransportFailure

log = logging.getLogger("sender.delivery.provider_log")

SKEW = timedelta(minutes=2)  # by which the provider's clock may differ from ours
QUERY_TIMEOUT_S = 30.0
PAGE_TRIES = 6  # for a page that is refused, fails or does not come; reading it twice harms nobody
BACKOFF_S = 1.0  # before the second try; doubles up to BACKOFF_CAP_S
BACKOFF_CAP_S = 60.0  # a provider's `retry-after` may be longer


class Page(Protocol):
    """What the walk needs to know of a page: the request for the next one (None after the last)."""

    @property
    def next(self) -> Request | None: ...


PageT = TypeVar("PageT", bound=Page)


class CutPageError(ValueError):
    """The transport has cut a page that is too large; shorter pages may fit."""


class LogReader:
    """Sends requests to a provider's log, `pause_s` apart.

    A request that is refused with 429, fails with 5xx or gets no answer is sent up to `tries` times. Setting `cancel`
    ends every wait: the reader then raises ValueError.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        pause_s: float,
        tries: int = PAGE_TRIES,
        cancel: asyncio.Event | None = None,
        pages_max: int | None = None,
        query_pages_max: int | None = None,
        seconds_max: float | None = None,
    ) -> None:
        """At most `pages_max` pages in all, `query_pages_max` from one first page on, within `seconds_max`.

        The time counts from the first page; None is no limit.
        """
        self._transport = transport
        self._rate = AsyncLimiter(1, pause_s) if pause_s > 0 else None
        self._tries = tries
        self._cancel = cancel or asyncio.Event()
        self._pages_max = math.inf if pages_max is None else pages_max
        self._query_pages_max = math.inf if query_pages_max is None else query_pages_max
        self._seconds_max = math.inf if seconds_max is None else seconds_max
        self._begun_s: float | None = None
        self.pages = 0  # answers to requests for a page, readable or not

    async def pages_from(
        self, first: Request, read_page: Callable[[Response, Request], PageT]
    ) -> AsyncGenerator[PageT, None]:
        """Yield the page that `first` asks for and those after it, to the last one.

        Raises TransportFailure when a page does not come, CutPageError for one that came cut, ValueError for pages that
        lead in a circle or beyond the limits, and what `read_page` raises. A walk that ends with an error proves
        nothing.
        """
        request: Request | None = first
        visited: set[str] = set()
        while request is not None:
            if request.url in visited:
                raise ValueError("the log's pages link to one another in a circle")
            self._check_limits(len(visited))
            visited.add(request.url)
            response = await self.fetch(request)
            self.pages += 1
            if response.truncated:
                raise CutPageError("a page of the log is too large")
            page = read_page(response, request)
            yield page
            request = page.next

    def _check_limits(self, query_pages: int) -> None:
        """Raise ValueError when the next page would be one too many."""
        now_s = asyncio.get_running_loop().time()
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        if query_pages >= self._query_pages_max:
            raise ValueError(f"the walk ended after {query_pages:,} pages about one number: the log has more")
        if self.pages >= self._pages_max:
            raise ValueError(f"the walk ended after {self.pages:,} pages: the log has more")
        if now_s - self._begun_s >= self._seconds_max:
            raise ValueError(f"the walk ended after {self._seconds_max / 60:.0f} minutes: the log has more")

    async def fetch(self, request: Request) -> Response:
        """Return the answer to `request`: the first that is neither 429 nor 5xx, or the one to the last try.

        Raises TransportFailure when the last try gets no answer, and ValueError once `cancel` is set.
        """
        wait_s = 0.0
        for attempt in range(self._tries):
            await self._wait(wait_s)
            if self._rate is not None:
                await self._rate.acquire()
            last = attempt == self._tries - 1
            wait_s = min(BACKOFF_CAP_S, BACKOFF_S * 2**attempt)
            try:
                response = await self._transport.send(request, timeout_s=QUERY_TIMEOUT_S)
            except TransportFailure:
                if last:
                    raise
                continue
            if last or not (response.status == 429 or response.status >= 500):
                return response
            wait_s = max(wait_s, retry_after_s(response.headers) or 0.0)
            log.info(
                "the provider's log answered %d; trying again in %.0f s",
                response.status,
                wait_s,
                extra={"event": "reconcile_waits", "status": response.status, "wait_s": round(wait_s, 1)},
            )
        raise AssertionError  # the last try returned or raised

    async def _wait(self, seconds: float) -> None:
        """Raises ValueError once `cancel` is set."""
        await wait_or_cancelled(seconds, self._cancel)
        if self._cancel.is_set():
            raise ValueError("interrupted")


async def wait_or_cancelled(seconds: float, cancel: asyncio.Event) -> None:
    """Wait `seconds`, or until `cancel` is set."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await cancel.wait()
