"""The pace where it counts: by the clock of the one who receives the requests, over real sockets and real kills."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

import sender
from tests import warm

A, B = "+12025550100", "+12025550101"
posix = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


class Receiver:
    """A provider that accepts everything after `latency_s` and notes when each request came."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.came_s: list[float] = []
        self.late_s = 0.0  # the most that a timer was late here: so much later than it came may a request be noted
        self.url = ""
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, backlog=512)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        beating = asyncio.create_task(self._beat())
        self._ready.set()
        await self._stop.wait()
        beating.cancel()
        server.close()

    async def _beat(self) -> None:
        while True:
            begun_s = time.monotonic()
            await asyncio.sleep(0.005)
            self.late_s = max(self.late_s, time.monotonic() - begun_s - 0.005)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if head.startswith(b"post"):
                    self.came_s.append(time.monotonic())
                message_id = f"SM{len(self.came_s):032}"
                size = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length:")), b":0")
                await reader.readexactly(int(size.partition(b":")[2]))
                await asyncio.sleep(self.latency_s)
                content = json.dumps({"sid": message_id, "status": "queued"}).encode()
                head = f"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
                writer.write(f"{head}\r\n".encode() + content)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + 60
        while len(self.came_s) < count:
            assert time.monotonic() < until, f"{len(self.came_s)} came"
            time.sleep(0.01)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def campaign(**keys: Any) -> dict[str, Any]:
    given = {"provider": "sandbox", "sandbox": {"dialect": "twilio"}, "from": A, "message": "Hi", "name": "pace"}
    return {**given, **keys}


def people(count: int) -> list[dict[str, str]]:
    return [{"phone": f"+1{212 + n // 60}55501{20 + n % 60}"} for n in range(count)]


def most_within(times: list[float], span_s: float) -> int:
    most = start = 0
    for end, time_s in enumerate(times):
        while time_s - times[start] >= span_s:
            start += 1
        most = max(most, end - start + 1)
    return most


@pytest.mark.parametrize(
    ("rate", "per_s", "count", "keys"),
    [
        pytest.param("10/s", 10, 21, {}, id="10-a-second"),
        pytest.param("100/s", 100, 201, {}, id="100-a-second"),
        pytest.param("none", 24, 49, {"from_": [{"number": A, "rate": "12/s"}, {"number": B, "rate": "12/s"}]}, id="two-numbers"),
    ],
)  # fmt: skip
def test_no_second_sees_more_than_the_limit(
    receiver: Receiver, tmp_path: Path, rate: str, per_s: float, count: int, keys: dict[str, Any]
) -> None:
    """What this machine was late by is allowed for: a request that was noted late makes a clump with the next ones."""
    receiver.latency_s = 0.1
    given = campaign(rate=rate, recipients={"rows": people(count)})
    given["from_"] = given.pop("from")
    plan = sender.build_plan(sender.load_campaign(**{**given, **keys}))
    result = sender.send(plan, state_dir=tmp_path, env={"SENDER_SANDBOX_URL": receiver.url})
    assert result.summary.accepted == count == len(receiver.came_s)
    assert most_within(receiver.came_s, 1.0) <= per_s * (1 + 3 * receiver.late_s) + 1
    seconds = receiver.came_s[-1] - receiver.came_s[1]  # the first request is alone until its answer is there
    if receiver.late_s < 0.02 and not keys:  # a pool takes as long as its busiest number
        assert (count - 2) / seconds >= 0.95 * per_s


@posix
def test_a_killed_and_resumed_run_keeps_its_pace(receiver: Receiver, tmp_path: Path) -> None:
    """Killed right after a message has left and started again at once: no start is for free.

    The first is killed after the answer has been recorded, the second while it waits for one. The pace is so slow that
    a process is there long before its message may leave.
    """
    (tmp_path / "people.csv").write_text("phone\n" + "".join(f"{one['phone']}\n" for one in people(9)))
    (tmp_path / "pace.yaml").write_text(json.dumps(campaign(recipients="people.csv", timeout_s=40)))
    command = ["send", "pace.yaml", "--yes", "--on-unknown", "hold"]
    per_min = 1.0
    for count in (1, 2, 3):
        begun_s = time.monotonic()
        process = warm.start(
            "sender",
            [*command, "--rate", f"{per_min:.4f}/min"],
            cwd=tmp_path,
            env=os.environ | {"SENDER_SANDBOX_URL": receiver.url, "PYTHONPATH": str(warm.ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            receiver.wait_for(count)
            if count == 1:
                per_min = 60 / (2 + 1.5 * (receiver.came_s[0] - begun_s))
            receiver.latency_s = 40.0
            time.sleep(0.3)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    gaps_s = [after - before for before, after in itertools.pairwise(receiver.came_s)]
    assert min(gaps_s) >= 60 / per_min - 3 * receiver.late_s - 0.05, gaps_s
