"""Replies are posted on until their receiver has taken them: signed, bounded, over restarts, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from sender.core.standard_webhooks import Target, sign
from sender.delivery.webhooks import forwarding
from sender.delivery.webhooks.forwarding import GIVE_UP_S, RETRY_DELAYS_S, Forwarder
from sender.state.replies import ReplyRow
from sender.state.sqlite.replies import ReplyFile

KEY = bytes(range(24))
TARGET = Target("https://hooks.example.com/replies?token=secret", KEY)
ADA, OURS = "+12025550101", "+12025550150"
START_S = 1_780_000_000.0
Answer = Callable[[httpx.Request], httpx.Response]


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

    def add(self, message_id: str, text: str = "Yes", *, keep: bool = False) -> None:
        with closing(ReplyFile.open(self.path)) as store:
            row = ReplyRow(
                "twilio", message_id, ADA, OURS, text, (), None, None, round(START_S * 1000), simulated=False
            )
            store.add(row, keep=keep, forward=True)

    def counts(self) -> dict[str, int]:
        with closing(ReplyFile.open(self.path)) as store:
            return store.forward_counts()

    def run(self, until: Callable[[], bool], *, for_s: float = 10.0) -> None:
        """Forward until that holds."""
        asyncio.run(self._run(until, for_s))

    async def _run(self, until: Callable[[], bool], for_s: float) -> None:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._take), follow_redirects=False)
        async with Forwarder(partial(ReplyFile.open, self.path), TARGET, client=client, clock=lambda: self.now_s):
            give_up = time.monotonic() + for_s
            while not until():
                assert time.monotonic() < give_up, self.counts()
                await asyncio.sleep(0.01)

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)


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
    world.run(lambda: time.sleep(0.1) is None, for_s=1)
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
    world.run(lambda: time.sleep(0.1) is None, for_s=1)
    assert len(world.requests) == 1
    world.now_s += 1
    world.run(lambda: len(world.requests) == 2)


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
    world.run(lambda: time.sleep(0.1) is None, for_s=1)
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
