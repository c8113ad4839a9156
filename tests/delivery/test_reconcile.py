"""Which entry of a provider's log is which of our unknown messages."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sender.core.outcomes import Status
from sender.delivery import reconcile as module
from sender.delivery.reconcile import SKEW, _match, _Pages, _same_clock, _UnknownMessage
from sender.providers.base import LogEntry, LogFacts, LogPage, LogQuery, Request, Response
from sender.transport.base import MaybeSent, NotSent

T0 = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FULL = LogFacts(filters_by_recipient=True, carries_ref=False, carries_body=True, settle_s=60, source="test")
BARE = LogFacts(filters_by_recipient=False, carries_ref=False, carries_body=False, settle_s=60, source="test")
NAMED = LogFacts(filters_by_recipient=True, carries_ref=True, carries_body=True, settle_s=60, source="test")


def doubt(
    seq: int, to: str = "+12025550101", body: str | None = "Hi", sender: str | None = "+12025550100"
) -> _UnknownMessage:
    return _UnknownMessage(seq, f"run.{seq}", to, sender, body, T0, T0 + timedelta(seconds=30), 1)


def entry(
    name: str,
    to: str = "+12025550101",
    body: str | None = "Hi",
    sender: str | None = "+12025550100",
    after_s: float | None = 1,
    ref: str | None = None,
) -> LogEntry:
    at = None if after_s is None else T0 + timedelta(seconds=after_s)
    return LogEntry(name, to, sender, body, at, Status.QUEUED, "queued", ref)


SKEW_S = SKEW.total_seconds()


@pytest.mark.parametrize(
    ("doubts", "entries", "facts", "found"),
    [
        pytest.param([doubt(0)], [entry("a")], FULL, {0: "a"}, id="to-from-body-time"),
        pytest.param([doubt(0)], [entry("a", to="+12025550102")], FULL, {}, id="another-recipient"),
        pytest.param([doubt(0)], [entry("a", sender="+12025550109")], FULL, {}, id="another-sender"),
        pytest.param([doubt(0)], [entry("a", body="Bye")], FULL, {}, id="another-body"),
        pytest.param([doubt(0)], [entry("a", body="Bye")], BARE, {0: "a"}, id="a-body-that-proves-nothing"),
        pytest.param([doubt(0)], [entry("a", body=None)], BARE, {0: "a"}, id="no-body-in-the-log"),
        pytest.param([doubt(0, body=None)], [entry("a", body="")], FULL, {0: "a"}, id="media-only"),
        pytest.param([doubt(0, body=None)], [entry("a", body="Hi")], FULL, {}, id="media-only-is-no-text"),
        pytest.param(
            [doubt(0)], [entry("a", body="Sent from a trial account - Hi")], FULL, {0: "a"}, id="trial-prefix"
        ),
        pytest.param([doubt(0)], [entry("a", after_s=30 + SKEW_S + 1)], FULL, {}, id="after-nothing-was-under-way"),
        pytest.param([doubt(0)], [entry("a", after_s=30 + SKEW_S - 1)], FULL, {0: "a"}, id="just-before"),
        pytest.param([doubt(0)], [entry("a", after_s=-SKEW_S - 1)], FULL, {}, id="before-our-intent"),
        pytest.param([doubt(0)], [entry("a", after_s=-SKEW_S + 1)], FULL, {0: "a"}, id="within-the-clocks-skew"),
        pytest.param([doubt(0)], [entry("a", after_s=None)], FULL, {0: "a"}, id="no-time-in-the-log"),
        pytest.param([doubt(0, sender=None)], [entry("a")], FULL, {0: "a"}, id="a-service-chose-the-sender"),
        pytest.param([doubt(0)], [entry("a", ref="run.0")], NAMED, {0: "a"}, id="by-ref"),
        pytest.param([doubt(0)], [entry("a", ref="run.0", body="x")], NAMED, {0: "a"}, id="ref-beats-body"),
        pytest.param([doubt(0)], [entry("a", ref="other.0")], NAMED, {}, id="another-runs-ref"),
        pytest.param([doubt(0)], [entry("a", ref="other.0")], FULL, {}, id="another-runs-ref-where-refs-are-rare"),
        pytest.param([doubt(0)], [entry("a")], NAMED, {}, id="no-ref-where-all-of-ours-have-one"),
        pytest.param([doubt(0), doubt(1)], [entry("a")], FULL, {0: "a"}, id="one-entry-settles-one"),
        pytest.param([doubt(0)], [entry("b", after_s=2), entry("a")], FULL, {0: "a"}, id="the-earliest-first"),
        pytest.param(
            [doubt(0), doubt(1)], [entry("b", after_s=2), entry("a")], FULL, {0: "a", 1: "b"}, id="two-and-two"
        ),
        pytest.param([doubt(0)], [entry("a", ref="run.0"), entry("b", ref="run.0")], NAMED, {0: "a"}, id="a-ref-twice"),
    ],
)
def test_matching(
    doubts: list[_UnknownMessage], entries: list[LogEntry], facts: LogFacts, found: dict[int, str]
) -> None:
    assert {seq: one.message_id for seq, one in _match(doubts, entries, facts).items()} == found


@pytest.mark.parametrize(
    ("date", "apart"),
    [
        pytest.param("Sat, 21 Nov 2026 12:00:00 GMT", None, id="the-same"),
        pytest.param("Sat, 21 Nov 2026 12:01:59 GMT", None, id="within-the-skew"),
        pytest.param("Sat, 21 Nov 2026 12:05:00 GMT", "300 s apart", id="ours-behind"),
        pytest.param("Sat, 21 Nov 2026 11:55:00 GMT", "300 s apart", id="ours-ahead"),
        pytest.param("yesterday", None, id="no-date"),
        pytest.param(None, None, id="none"),
    ],
)
def test_a_log_of_another_clock_proves_nothing(date: str | None, apart: str | None) -> None:
    response = Response(200, {} if date is None else {"date": date}, b"")
    if apart is None:
        _same_clock(response, round(T0.timestamp() * 1000))
    else:
        with pytest.raises(ValueError, match=apart):
            _same_clock(response, round(T0.timestamp() * 1000))


# The walk through the log: its own pace, patience with a provider that is busy, and an end when asked


class Log:
    """A provider's log of a few pages, in numbers; adapter and transport in one. `script` goes before the pages."""

    def __init__(self, pages: int, script: list[Response | Exception] | None = None) -> None:
        self.pages = pages
        self.script = script or []
        self.asked_s: list[float] = []

    def log_request(self, query: LogQuery) -> Request:
        return Request("GET", "0", ())

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        self.asked_s.append(time.monotonic())
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            return step
        return Response(200, {}, request.url.encode())

    def log_page(self, response: Response, request: Request | None = None) -> LogPage:
        if response.status != 200:
            raise ValueError(f"HTTP {response.status}")
        page = int(response.content)
        following = Request("GET", str(page + 1), ()) if page + 1 < self.pages else None
        return LogPage((entry(f"m{page}"),), following)

    def walk(self, facts: LogFacts = FULL, cancel: asyncio.Event | None = None) -> list[str]:
        async def go() -> list[str]:
            pages = _Pages(self, self, facts, lambda: 0, cancel or asyncio.Event())  # type: ignore[arg-type]
            return [one.message_id for one in await pages.walk(LogQuery(T0, T0))]

        return asyncio.run(go())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", 0.01)


FAST = replace(FULL, requests_per_s=1000.0)


def test_every_page_is_read_and_none_faster_than_the_logs_own_pace() -> None:
    log = Log(5)
    assert log.walk(replace(FULL, requests_per_s=20.0)) == ["m0", "m1", "m2", "m3", "m4"]
    gaps = [later - earlier for earlier, later in zip(log.asked_s, log.asked_s[1:], strict=False)]
    assert min(gaps) > 0.04


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Response(429, {}, b""), id="429"),
        pytest.param(Response(503, {}, b"busy"), id="503"),
        pytest.param(NotSent("no connection"), id="no connection"),
        pytest.param(MaybeSent("no answer"), id="no answer"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_page_that_does_not_come_is_asked_for_again(trouble: Response | Exception) -> None:
    log = Log(2, [trouble, trouble])
    assert log.walk(FAST) == ["m0", "m1"]
    assert len(log.asked_s) == 4


@pytest.mark.usefixtures("impatient")
def test_the_providers_wish_to_wait_is_obeyed() -> None:
    log = Log(1, [Response(429, {"retry-after": "0.3"}, b"")])
    assert log.walk(FAST) == ["m0"]
    assert log.asked_s[1] - log.asked_s[0] > 0.28


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        pytest.param(Response(429, {}, b""), ValueError, id="429"),
        pytest.param(Response(500, {}, b""), ValueError, id="500"),
        pytest.param(NotSent("no connection"), NotSent, id="no connection"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_patience_has_an_end_and_then_nothing_is_proved(trouble: Response | Exception, error: type[Exception]) -> None:
    log = Log(1, [trouble] * 50)
    with pytest.raises(error):
        log.walk(FAST)
    assert len(log.asked_s) == module.PAGE_TRIES


@pytest.mark.usefixtures("impatient")
def test_a_refusal_for_good_is_not_asked_twice() -> None:
    log = Log(1, [Response(403, {}, b"")])
    with pytest.raises(ValueError, match="403"):
        log.walk(FAST)
    assert len(log.asked_s) == 1


def test_a_walk_that_is_cancelled_ends_at_once() -> None:
    cancel = asyncio.Event()
    log = Log(1, [Response(429, {"retry-after": "3600"}, b"")])

    async def go() -> None:
        pages = _Pages(log, log, FAST, lambda: 0, cancel)  # type: ignore[arg-type]
        walking = asyncio.create_task(pages.walk(LogQuery(T0, T0)))
        await asyncio.sleep(0.1)
        cancel.set()
        with pytest.raises(ValueError, match="interrupted"):
            await asyncio.wait_for(walking, 5)

    asyncio.run(go())


def test_pages_that_lead_in_a_circle_prove_nothing() -> None:
    log = Log(3, [Response(200, {}, b"0"), Response(200, {}, b"0")])
    with pytest.raises(ValueError, match="circle"):
        log.walk(FAST)
