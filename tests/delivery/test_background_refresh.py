"""The log that is read while messages are sent: statuses come by themselves, and leaving waits for no long log."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

import sender
from sender.core.outcomes import Accepted
from sender.delivery import background_refresh
from sender.delivery.background_refresh import refresh_meanwhile
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.open import open_state
from sender.state.state_dir import StateDir

PEOPLE = ("+12025550101", "+12025550102")
LONGEST_LOG = 200  # pages, each of which takes 50 ms


class TwilioLog(ThreadingHTTPServer):
    """A log of `pages` pages whose first one has SM0, delivered; it answers with an error `refusals` times before."""

    daemon_threads = True

    def __init__(self, pages: int, refusals: int) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.pages = pages
        self.refusals = refusals
        self.asked = threading.Event()
        self.pages_read = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: TwilioLog

    def do_GET(self) -> None:
        time.sleep(0.05)
        server = self.server
        server.asked.set()
        server.pages_read += 1
        url = urlsplit(self.path)
        page = int(parse_qs(url.query).get("Page", ["0"])[0])
        price = {"price": "-0.01", "price_unit": "USD"}
        delivered = {"sid": "SM0", "status": "delivered", "direction": "outbound-api", "to": PEOPLE[0], **price}
        following = f"{url.path}?Page={page + 1}" if page + 1 < server.pages else None
        self._answer({"messages": [] if page else [delivered], "next_page_uri": following})

    def _answer(self, document: object) -> None:
        refused = self.server.refusals > 0
        self.server.refusals -= refused
        body = b"<html>" if refused else json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def twilio_log(*, pages: int = 1, refusals: int = 0) -> Iterator[TwilioLog]:
    with TwilioLog(pages, refusals) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    campaign = sender.load_campaign(
        recipients=pl.DataFrame({"phone": PEOPLE}), provider="twilio", from_="+12025550100", message="Hi", name="offer"
    )
    plan = sender.build_plan(campaign)
    with StateDir(tmp_path) as state:
        now_ms = state.ledger.now_ms()
        run = Run("run-1", "offer", RunKind.REHEARSAL, "twilio", plan.hash, None, 2, 2, 0, now_ms, simulated=True)
        state.plans.save(run, plan)
        state.ledger.create_run(run)
        claims = state.ledger.claim("run-1", limit=2, lease_ms=60_000)
        state.ledger.record("run-1", [Settlement(claim, Accepted(f"SM{claim.seq}")) for claim in claims])
    return run


def statuses(folder: Path) -> list[str]:
    with StateDir(folder) as state:
        return state.ledger.journal("run-1").sort("seq")["status"].to_list()


@pytest.mark.parametrize("refusals", [0, 1])
def test_statuses_come_while_messages_are_sent(run: Run, tmp_path: Path, refusals: int) -> None:
    """Also where the log could not be read at first."""

    async def send(url: str) -> None:
        async with asyncio.timeout(20), refresh_meanwhile(str(tmp_path), run, {"SENDER_SANDBOX_URL": url}):
            while statuses(tmp_path) != ["delivered", "queued"]:  # noqa: ASYNC110 (another thread writes it)
                await asyncio.sleep(0.02)

    with twilio_log(refusals=refusals) as server:
        asyncio.run(send(server.url))


def test_a_disk_that_fails_for_a_moment_does_not_end_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(errno.EIO, "Input/output error")]

    def open_or_fail(*args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return open_state(*args, **options)

    async def send(url: str) -> None:
        async with asyncio.timeout(20), refresh_meanwhile(str(tmp_path), run, {"SENDER_SANDBOX_URL": url}):
            while statuses(tmp_path) != ["delivered", "queued"]:  # noqa: ASYNC110 (another thread writes it)
                await asyncio.sleep(0.02)

    monkeypatch.setattr(background_refresh, "open_state", open_or_fail)
    with twilio_log() as server:
        asyncio.run(send(server.url))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "the provider's log could not be read: [Errno 5] Input/output error"
    ]


def test_leaving_ends_the_walk_of_a_long_log(run: Run, tmp_path: Path) -> None:
    async def send(server: TwilioLog) -> None:
        async with refresh_meanwhile(str(tmp_path), run, {"SENDER_SANDBOX_URL": server.url}):
            assert await asyncio.to_thread(server.asked.wait, 20)

    with twilio_log(pages=LONGEST_LOG) as server:
        asyncio.run(send(server))
        assert 0 < server.pages_read < LONGEST_LOG / 2


def test_a_process_that_ends_does_not_wait_for_it(run: Run, tmp_path: Path) -> None:
    """Python waits at its end for every thread that is not a daemon."""

    async def send(url: str) -> list[threading.Thread]:
        before = set(threading.enumerate())
        async with refresh_meanwhile(str(tmp_path), run, {"SENDER_SANDBOX_URL": url}):
            return [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]

    with twilio_log() as server:
        assert asyncio.run(send(server.url)) == []


def test_one_that_cannot_begin_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread needs files of its own, and a machine may have none left."""
    run = Run("run-1", "offer", RunKind.REHEARSAL, "twilio", "hash", None, 2, 2, 0, 0, simulated=True)
    failures: list[type[BaseException]] = []

    def no_loop(work: Coroutine[Any, Any, None]) -> None:
        work.close()
        raise OSError(errno.EMFILE, "Too many open files")

    async def send() -> str:
        monkeypatch.setattr(asyncio, "run", no_loop)
        monkeypatch.setattr(threading, "excepthook", lambda failure: failures.append(failure.exc_type))
        async with asyncio.timeout(20), refresh_meanwhile(str(tmp_path), run, {}):
            return "sent"

    with asyncio.Runner() as runner:
        assert runner.run(send()) == "sent"
    assert failures == [], "a person reads no traceback"
    assert "the provider's log could not be read: [Errno 24] Too many open files" in caplog.text
