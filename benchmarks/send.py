"""Messages a second through the whole durable path (intent and outcome on disk for each) against the sandbox in a
process of its own, beside a bare loop over httpx.AsyncClient and the same sandbox."""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.figures import AREAS, ROOT, Figure


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """`options.messages` messages."""
    import sender

    numbers = [f"+1{area}55501{n:02}" for area in AREAS for n in range(90)][: options.messages]
    campaign = sender.load_campaign(
        recipients=[{"phone": number} for number in numbers],
        provider="sandbox", from_="+12025550100", message="Hi", rate="none", concurrency=16, dedupe="none",
    )  # fmt: skip
    made = sender.build_plan(campaign)
    n = made.manifest.messages
    with tempfile.TemporaryDirectory() as folder, sandbox() as url:
        env = {"SENDER_SANDBOX_URL": url}
        begun, cpu = time.perf_counter(), time.process_time()
        result = sender.send(made, state_dir=Path(folder) / "state", env=env)
        ours, ours_cpu = time.perf_counter() - begun, time.process_time() - cpu
        assert result.summary.accepted == n, result.summary.law()
        begun = time.perf_counter()
        asyncio.run(bare_httpx(url, numbers))
        bare = time.perf_counter() - begun
    note = f"{n:,} messages at {ours_cpu / n * 1e6:,.0f} us CPU each"
    yield Figure("send", "durable", n / ours, "/s", n / bare, "a bare httpx loop", note=note)


@contextmanager
def sandbox():
    process = subprocess.Popen(
        [sys.executable, "-m", "sender", "sandbox", "--port", "0", "--latency", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield re.search(r"http://\S+", process.stdout.readline())[0]  # type: ignore[index]
    finally:
        process.terminate()
        process.wait()


async def bare_httpx(url: str, numbers: list[str]) -> None:
    from sender.sandbox import environment

    env = environment(url)
    auth = (env["SIGNALWIRE_PROJECT_ID"], env["SIGNALWIRE_API_TOKEN"])
    gate = asyncio.Semaphore(16)
    async with httpx.AsyncClient(auth=auth, trust_env=False) as client:

        async def one(number: str) -> None:
            async with gate:
                body = {"to": number, "from": "+12025550100", "body": "Hi"}
                (await client.post(f"{url}/api/messaging/messages", json=body)).raise_for_status()

        await asyncio.gather(*(one(number) for number in numbers))
