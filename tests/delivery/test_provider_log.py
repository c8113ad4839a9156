"""The walk through a provider's log: pauses, patience with a provider that is busy, and an end when asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from sender.delivery import provider_log
from sender.delivery.provider_log import CutPageError, LogReader
from sender.providers.base import Request, Response
from sender.transport.base import MaybeSent, NotSent
from tests import virtual_time

PAUSE_S = 0.05


@dataclass(frozen=True)
class Page:
    number: int
    next: Request | None


class Log:
    """A provider's log of a few numbered pages behind a transport. Answers in `script` come before the pages."""

    def __init__(self, pages: int, script: list[Response | Exception] | None = None) -> None:
        self.pages = pages
        self.script = script or []
        self.asked_s: list[float] = []
        self.timeouts_s: list[float] = []
        self.read_urls: list[str] = []  # of the requests whose answers were read

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        self.asked_s.append(asyncio.get_running_loop().time())
        self.timeouts_s.append(timeout_s)
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            return step
        return Response(200, {}, request.url.encode())

    async def aclose(self) -> None: ...

    def read_page(self, response: Response, request: Request) -> Page:
        if response.status != 200:
            raise ValueError(f"HTTP {response.status}")
        number = int(response.content)
        self.read_urls.append(request.url)
        return Page(number, Request("GET", str(number + 1), ()) if number + 1 < self.pages else None)

    @property
    def gaps_s(self) -> list[float]:
        return [round(later - earlier, 3) for earlier, later in zip(self.asked_s, self.asked_s[1:], strict=False)]

    async def walk(self, reader: LogReader | None = None) -> list[int]:
        reader = reader or LogReader(self, pause_s=PAUSE_S)
        return [page.number async for page in reader.pages_from(Request("GET", "0", ()), self.read_page)]


def run(scenario: Coroutine[Any, Any, Any]) -> Any:
    return virtual_time.run(scenario)


def test_every_page_is_read_and_none_sooner_than_the_pause() -> None:
    log = Log(5)
    assert run(log.walk()) == [0, 1, 2, 3, 4]
    assert log.gaps_s == [PAUSE_S] * 4
    assert log.timeouts_s == [30.0] * 5
    assert log.read_urls == ["0", "1", "2", "3", "4"]


def test_a_log_without_a_pause_is_read_at_once() -> None:
    log = Log(3)
    assert run(log.walk(LogReader(log, pause_s=0))) == [0, 1, 2]
    assert log.gaps_s == [0, 0]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Response(429, {}, b""), id="429"),
        pytest.param(Response(500, {}, b"oops"), id="500"),
        pytest.param(Response(503, {}, b"busy"), id="503"),
        pytest.param(NotSent("no connection"), id="no connection"),
        pytest.param(MaybeSent("no answer"), id="no answer"),
    ],
)
def test_a_page_that_does_not_come_is_asked_for_again(trouble: Response | Exception) -> None:
    log = Log(2, [trouble, trouble])
    assert run(log.walk()) == [0, 1]
    assert log.gaps_s == [1, 2, PAUSE_S]


def test_the_wait_doubles_up_to_its_cap_and_begins_anew_for_the_next_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_log, "BACKOFF_CAP_S", 4.0)
    busy = Response(503, {}, b"")
    log = Log(2, [busy] * 4 + [Response(200, {}, b"0"), busy])
    assert run(log.walk()) == [0, 1]
    assert log.gaps_s == [1, 2, 4, 4, PAUSE_S, 1]


@pytest.mark.parametrize(
    ("headers", "waits_s"),
    [
        pytest.param({"retry-after": "3.5"}, 3.5, id="seconds"),
        pytest.param({"retry-after": "90"}, 90, id="beyond-our-cap"),
        pytest.param({"retry-after": "0"}, 1, id="sooner-than-ours"),
    ],
)
def test_the_providers_wish_to_wait_is_obeyed(headers: dict[str, str], waits_s: float) -> None:
    log = Log(1, [Response(429, headers, b"")])
    assert run(log.walk()) == [0]
    assert log.gaps_s == [waits_s]


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        pytest.param(Response(429, {}, b""), ValueError, id="429"),
        pytest.param(Response(500, {}, b""), ValueError, id="500"),
        pytest.param(NotSent("no connection"), NotSent, id="no connection"),
    ],
)
@pytest.mark.parametrize("tries", [1, provider_log.PAGE_TRIES])
def test_patience_has_an_end_and_then_nothing_is_proved(
    trouble: Response | Exception, error: type[Exception], tries: int
) -> None:
    log = Log(1, [trouble] * 50)
    with pytest.raises(error):
        run(log.walk(LogReader(log, pause_s=PAUSE_S, tries=tries)))
    assert log.gaps_s == [1, 2, 4, 8, 16][: tries - 1]


@pytest.mark.parametrize("status", [400, 403, 428, 430, 499])
def test_a_refusal_for_good_is_not_asked_twice(status: int) -> None:
    log = Log(1, [Response(status, {}, b"")])
    with pytest.raises(ValueError, match=str(status)):
        run(log.walk())
    assert len(log.asked_s) == 1


def test_a_walk_that_is_cancelled_ends_at_once() -> None:
    log = Log(1, [Response(429, {"retry-after": "3600"}, b"")])

    async def cancel_in_the_pause() -> None:
        cancel = asyncio.Event()
        walking = asyncio.create_task(log.walk(LogReader(log, pause_s=PAUSE_S, cancel=cancel)))
        await asyncio.sleep(10)
        cancel.set()
        with pytest.raises(ValueError, match=r"^interrupted$"):
            await asyncio.wait_for(walking, 1)

    run(cancel_in_the_pause())
    assert len(log.asked_s) == 1


def test_a_reader_that_is_cancelled_asks_nothing() -> None:
    log = Log(1)

    async def walk_cancelled() -> None:
        cancel = asyncio.Event()
        cancel.set()
        with pytest.raises(ValueError, match=r"^interrupted$"):
            await log.walk(LogReader(log, pause_s=0, cancel=cancel))

    run(walk_cancelled())
    assert log.asked_s == []


@pytest.mark.parametrize(
    ("script", "pages"),
    [
        pytest.param([Response(200, {}, b"0"), Response(200, {}, b"0")], 2, id="to-a-later-page"),
        pytest.param([Response(200, {}, b"-1")], 1, id="to-itself"),
    ],
)
def test_pages_that_lead_in_a_circle_prove_nothing(script: list[Response | Exception], pages: int) -> None:
    log = Log(3, script)
    with pytest.raises(ValueError, match="circle"):
        run(log.walk())
    assert len(log.asked_s) == pages


def test_a_cut_page_is_an_error_of_its_own_and_counts() -> None:
    log = Log(2, [Response(200, {}, b"0"), Response(200, {}, b"1", truncated=True)])
    reader = LogReader(log, pause_s=0)
    with pytest.raises(CutPageError, match="too large"):
        run(log.walk(reader))
    assert reader.pages == 2


# -- limits ------------------------------------------------------------------------------------------------------------


async def walk_twice(log: Log, reader: LogReader) -> list[str | int]:
    """How many pages each of two walks came to, or why it ended."""
    results: list[str | int] = []
    for _ in range(2):
        before = len(log.asked_s)
        try:
            await log.walk(reader)
            results.append(len(log.asked_s) - before)
        except ValueError as error:
            results.append(str(error))
    return results


@pytest.mark.parametrize(
    ("limits", "results"),
    [
        pytest.param({}, [5, 5], id="no limit"),
        pytest.param({"pages_max": 10}, [5, 5], id="as many pages as there are"),
        pytest.param({"pages_max": 9}, [5, "the walk ended after 9 pages: the log has more"], id="one too few in all"),
        pytest.param({"pages_max": 5}, [5, "the walk ended after 5 pages: the log has more"], id="only one walk"),
        pytest.param({"query_pages_max": 5}, [5, 5], id="as many as each walk has"),
        pytest.param(
            {"query_pages_max": 4}, ["the walk ended after 4 pages about one number: the log has more"] * 2,
            id="one too few of each",
        ),
        pytest.param({"seconds_max": 540.1}, [5, 5], id="time enough"),
        pytest.param({"seconds_max": 480.0}, [5, "the walk ended after 8 minutes: the log has more"], id="the last minute is one too many"),
        pytest.param({"seconds_max": 60.0}, ["the walk ended after 1 minutes: the log has more"] * 2, id="a minute"),
    ],
)  # fmt: skip
def test_a_walk_has_its_limits_and_beyond_them_proves_nothing(limits: dict[str, Any], results: list[str | int]) -> None:
    """Five pages a walk, a page a minute; the first page begins the time."""
    log = Log(5)
    assert run(walk_twice(log, LogReader(log, pause_s=60.0, **limits))) == results


def test_the_time_counts_from_the_first_page() -> None:
    async def scenario() -> list[int]:
        log = Log(2)
        reader = LogReader(log, pause_s=0, seconds_max=10.0)
        await asyncio.sleep(100)
        return await log.walk(reader)

    assert run(scenario()) == [0, 1]


@pytest.mark.parametrize("seconds", [10.0, 10.5])
def test_the_time_is_over_at_its_end(seconds: float) -> None:
    async def scenario() -> None:
        log = Log(2)
        reader = LogReader(log, pause_s=0, seconds_max=10.0)
        await log.walk(reader)
        asyncio.get_running_loop().now_s = log.asked_s[0] + seconds  # type: ignore[attr-defined]
        await log.walk(reader)

    with pytest.raises(ValueError, match="the log has more"):
        run(scenario())
