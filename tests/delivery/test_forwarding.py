"""Replies are posted on until their receiver has taken them: signed, bounded, over restarts, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from sender.core.standard_webhooks import Target, sign
from sender.delivery.webhooks import forwarding
from sender.delivery.webhooks.forwarding import GIVE_UP_S, RETRY_DELAYS_S, Forwarder, reply_event
from sender.state.replies import ReplyRow
from sender.state.sqlite.replies import ReplyFile

KEY = bytes(range(24))
TARGET = Target("https://hooks.example.com/replies?token=secret", KEY)
ADA, OURS = "+12025550101", "+12025550150"
START_S = 1_780_000_000.0
Answer = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


def reply(message_id: str, text: str = "Yes", **fields: Any) -> ReplyRow:
    row = ReplyRow("twilio", message_id, ADA, OURS, text, (), None, None, round(START_S * 1000), simulated=False)
    return row._replace(**fields)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_IDLE_S", 0.01)
    monkeypatch.setattr(forwarding, "_LONGEST_PAUSE_S", 0.02)


@dataclass
class World:
    """An outbox on disk, a receiver that answers as it is told, and a clock that is set by hand."""

    path: Path
    answer: Answer = lambda _: httpx.Response(204)
    now_s: float = START_S
    requests: list[httpx.Request] = field(default_factory=list)
    looks: int = 0  # at the clock: one for each look for something due, and one for each post
    forwarder: Forwarder | None = None  # the last one

    def add(self, message_id: str, text: str = "Yes", *, keep: bool = False) -> bool:
        """Whether it is new."""
        with closing(ReplyFile.open(self.path)) as store:
            return store.add(reply(message_id, text), keep=keep, forward=True)

    def counts(self) -> dict[str, int]:
        with closing(ReplyFile.open(self.path)) as store:
            return store.forward_counts()

    def run(self, until: Callable[[], bool], *, for_s: float = 10.0) -> None:
        """Forward until that holds."""
        asyncio.run(self._run(until, for_s))

    def look_on(self) -> None:
        """Forward what is due, if anything is: until it has been looked for twice."""
        before = self.looks
        self.run(lambda: self.looks >= before + 3)

    def _look(self) -> float:
        self.looks += 1
        return self.now_s

    async def _run(self, until: Callable[[], bool], for_s: float) -> None:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._take), follow_redirects=False)
        opened = partial(ReplyFile.open, self.path)
        async with Forwarder(opened, TARGET, client=client, clock=self._look) as self.forwarder:
            give_up = time.monotonic() + for_s
            while not until():
                assert time.monotonic() < give_up, self.counts()
                await asyncio.sleep(0.01)

    async def _take(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answer(request)
        return await answer if isinstance(answer, Awaitable) else answer


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "replies.sqlite3")


def test_a_reply_is_posted_once_and_signed(world: World) -> None:
    world.add("SM1", "Yes, I'll come 🎉")
    world.run(lambda: world.counts() == {"done": 1})
    [request] = world.requests
    assert str(request.url) == TARGET.url
    name, stamp = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
    assert stamp == START_S
    assert request.headers["webhook-signature"] == sign(KEY, name, stamp, request.content)
    assert json.loads(request.content) == {
        "type": "reply.received",
        "timestamp": "2026-05-28T20:26:40.000+00:00",
        "data": {
            "message_id": "SM1",
            "provider": "twilio",
            "from": ADA,
            "to": OURS,
            "text": "Yes, I'll come 🎉",
            "media": [],
            "meaning": None,
            "written_at": None,
            "heard_at": "2026-05-28T20:26:40.000+00:00",
            "simulated": False,
        },
    }


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.Response(500), id="500"),
        pytest.param(httpx.Response(503, headers={"retry-after": "1"}), id="503"),
        pytest.param(httpx.Response(404), id="404"),
        pytest.param(httpx.Response(301, headers={"location": "https://elsewhere.example/"}), id="a redirect is not followed"),
        pytest.param(httpx.ConnectError("no"), id="no connection"),
        pytest.param(httpx.ReadTimeout("slow"), id="no answer"),
    ],
)  # fmt: skip
def test_what_failed_is_tried_again_after_a_restart_with_the_same_id(
    world: World, answer: httpx.Response | Exception
) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    world.add("SM1")
    world.answer = fail
    world.run(lambda: len(world.requests) == 1)
    world.look_on()
    assert (len(world.requests), world.counts()) == (1, {"waiting": 1}), "not before its time"
    world.now_s += RETRY_DELAYS_S[0]
    world.answer = lambda _: httpx.Response(200)
    world.run(lambda: world.counts() == {"done": 1})
    assert len({request.headers["webhook-id"] for request in world.requests}) == 1
    assert {request.url.host for request in world.requests} == {"hooks.example.com"}


def test_the_waits_grow_until_it_is_given_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.add("SM1", "secret words", keep=False)
    world.answer = lambda _: httpx.Response(500)
    tries = 0
    with caplog.at_level(logging.INFO, "sender.delivery"):
        while world.counts() == {"waiting": 1}:
            tries += 1
            world.run(lambda: len(world.requests) == tries)  # noqa: B023
            world.now_s += RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S)) - 1]
    assert world.counts() == {"failed": 1}
    assert GIVE_UP_S <= world.now_s - START_S < GIVE_UP_S + 2 * RETRY_DELAYS_S[-1]
    assert 35 < tries < 50
    assert b"secret words" not in world.path.read_bytes()
    logged = " ".join(record.getMessage() for record in caplog.records)
    assert "hooks.example.com answered 500" in logged
    for secret in ("secret", ADA, "token"):
        assert secret not in logged


def test_a_receiver_may_ask_for_a_longer_wait(world: World) -> None:
    world.add("SM1")
    world.answer = lambda _: httpx.Response(429, headers={"retry-after": "900"})
    world.run(lambda: len(world.requests) == 1)
    world.now_s += 899
    world.look_on()
    assert len(world.requests) == 1
    world.now_s += 1
    world.run(lambda: len(world.requests) == 2)


@pytest.mark.parametrize(
    ("asked", "waits_s"),
    [
        pytest.param("86400", 3600, id="for a day: an hour is the most"),
        pytest.param("1", RETRY_DELAYS_S[0], id="for less than it would wait anyway"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", RETRY_DELAYS_S[0], id="until a date"),
        pytest.param("9" * 400, RETRY_DELAYS_S[0], id="for longer than a number can say"),
    ],
)
def test_what_a_receiver_may_not_ask_for(world: World, asked: str, waits_s: float) -> None:
    world.add("SM1")
    world.answer = lambda _: httpx.Response(503, headers={"retry-after": asked})
    world.run(lambda: len(world.requests) == 1)
    world.now_s += waits_s - 1
    world.look_on()
    assert len(world.requests) == 1
    world.now_s += 1
    world.run(lambda: len(world.requests) == 2)


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
def test_a_receiver_that_would_take_no_other_either_is_left_alone_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(forwarding, "_IDLE_S", 60.0)
    monkeypatch.setattr(forwarding, "_LONGEST_PAUSE_S", 60.0)
    for n in range(3):
        world.add(f"SM{n}")
    world.answer = lambda _: httpx.Response(status)
    moments = iter(range(10))  # after the first request, in which a second one could come
    world.run(lambda: bool(world.requests) and next(moments, None) is None)
    assert (len(world.requests), world.counts()) == (1, {"waiting": 3})


def test_what_went_wrong_is_known_until_it_goes_well_again(world: World) -> None:
    """The receiver's health page shows it."""
    world.add("SM1")
    world.answer = lambda _: httpx.Response(500 if len(world.requests) == 1 else 200)

    def has_failed() -> bool:
        assert world.forwarder is not None
        if world.forwarder.failure == "hooks.example.com answered 500":
            world.now_s = START_S + RETRY_DELAYS_S[0]
        return world.now_s > START_S

    world.run(lambda: has_failed() and world.counts() == {"done": 1})
    assert world.forwarder is not None
    assert world.forwarder.failure is None


def test_one_reply_that_is_refused_delays_no_other(world: World) -> None:
    for n in range(5):
        world.add(f"SM{n}")
    world.answer = lambda request: httpx.Response(400 if b"SM0" in request.content else 200)
    world.run(lambda: world.counts() == {"done": 4, "waiting": 1})


def test_a_receiver_that_takes_them_is_not_kept_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_LONGEST_PAUSE_S", 60.0)
    for n in range(14):
        world.add(f"SM{n}")
    world.run(lambda: world.counts() == {"done": 14})


def test_a_receiver_has_fifteen_seconds_for_its_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed_s: list[float] = []
    posted = asyncio.Event()

    async def take(_: object, request: httpx.Request) -> httpx.Response:
        allowed_s.extend(request.extensions["timeout"].values())
        posted.set()
        return httpx.Response(204)

    async def forward() -> None:
        async with Forwarder(partial(ReplyFile.open, world.path), TARGET, clock=lambda: world.now_s):
            await posted.wait()

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", take)
    world.add("SM1")
    asyncio.run(asyncio.wait_for(forward(), 10))
    assert (set(allowed_s), world.counts()) == ({15.0}, {"done": 1})


def test_two_forwarders_share_the_work(world: World) -> None:
    for n in range(20):
        world.add(f"SM{n}")

    async def both() -> None:
        done = lambda: world.counts() == {"done": 20}  # noqa: E731
        await asyncio.gather(world._run(done, 20), world._run(done, 20))

    asyncio.run(both())
    names = [request.headers["webhook-id"] for request in world.requests]
    assert len(names) == len(set(names)) == 20


def test_what_a_killed_process_had_begun_is_posted_again(world: World) -> None:
    world.add("SM1")
    with closing(ReplyFile.open(world.path)) as store:
        assert store.claim_waiting(round(START_S * 1000), lease_ms=60_000) is not None  # and then it is killed
    world.look_on()
    assert world.requests == []
    world.now_s += 60
    world.run(lambda: world.counts() == {"done": 1})


def test_an_answer_that_never_ends_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that comes byte by byte would hold for ever where only each read has a limit."""
    monkeypatch.setattr(forwarding, "_TIMEOUT_S", 0.2)

    async def serve() -> None:
        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer):
                for letter in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000:
                    writer.write(bytes([letter]))
                    await writer.drain()
                    await asyncio.sleep(0.05)

        server = await asyncio.start_server(drip, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        world.add("SM1")
        async with Forwarder(
            partial(ReplyFile.open, world.path), Target(f"http://127.0.0.1:{port}/", KEY), clock=lambda: world.now_s
        ) as forwarder:
            for _ in range(300):
                if forwarder.failure:
                    break
                await asyncio.sleep(0.01)
            assert forwarder.failure == "127.0.0.1: TimeoutError"
        server.close()

    asyncio.run(serve())
    assert world.counts() == {"waiting": 1}


def test_an_outbox_that_cannot_be_read_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from sender.core.errors import StateError

    world.add("SM1")
    claim, failures = ReplyFile.claim_waiting, [StateError("the disk is full"), OSError("no")]

    def fail(store: ReplyFile, now_ms: int, *, lease_ms: int) -> object:
        if failures:
            raise failures.pop()
        return claim(store, now_ms, lease_ms=lease_ms)

    monkeypatch.setattr(ReplyFile, "claim_waiting", fail)
    world.run(lambda: world.counts() == {"done": 1})


def test_it_has_a_thread_of_its_own(world: World) -> None:
    """What else the process does in threads, or whether it still can, is nothing to it."""
    closed = ThreadPoolExecutor(1)
    closed.shutdown()

    async def forward() -> None:
        asyncio.get_running_loop().set_default_executor(closed)
        await world._run(lambda: world.counts() == {"done": 1}, 10)

    world.add("SM1")
    asyncio.run(forward())
    assert len(world.requests) == 1


def test_a_try_that_is_under_way_at_the_end_is_finished(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_FINISH_S", 60.0)

    async def slowly() -> httpx.Response:
        await asyncio.sleep(0.1)
        return httpx.Response(204)

    world.add("SM1")
    world.answer = lambda _: slowly()
    world.run(lambda: len(world.requests) == 1)
    assert world.counts() == {"done": 1}


def test_one_that_takes_longer_is_left_and_made_again_once_its_lease_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_FINISH_S", 0.05)

    async def never() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    world.add("SM1")
    world.answer = lambda _: never()
    world.run(lambda: len(world.requests) == 1)
    assert world.counts() == {"waiting": 1}
    world.answer = lambda _: httpx.Response(204)
    world.now_s += 59
    world.look_on()
    assert len(world.requests) == 1
    world.now_s += 1
    world.run(lambda: world.counts() == {"done": 1})


def test_a_webhook_that_is_repeated_for_eight_days_is_forwarded_once(world: World) -> None:
    """After that its provider repeats it no more, and that there was one is forgotten."""
    world.add("SM1")
    world.run(lambda: world.counts() == {"done": 1})
    world.now_s = START_S + 8 * 86_400
    world.look_on()
    assert not world.add("SM1")
    world.now_s += 1
    world.run(lambda: world.counts() == {})
    assert world.add("SM1")


def test_what_a_receiver_is_told_of_a_reply() -> None:
    picture = "https://media.example.com/a.jpg"
    stop = reply("SM1", "STOP", media=(picture,), meaning="stop", written_at=round(START_S * 1000) - 1500)
    event = reply_event(stop._replace(simulated=True))
    told = json.loads(event.body())["data"]
    assert {name: told[name] for name in ("media", "meaning", "written_at", "simulated")} == {
        "media": [picture],
        "meaning": "stop",
        "written_at": "2026-05-28T20:26:38.500+00:00",
        "simulated": True,
    }
    ids = [
        reply_event(one).id for one in (stop, reply("SM1", "other words"), reply("SM2"), reply("SM1", dialect="telnyx"))
    ]
    assert ids[0] == ids[1], "by it a receiver knows what it has had"
    assert len(set(ids)) == 3
