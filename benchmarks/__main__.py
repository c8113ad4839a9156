"""`python -m benchmarks`: the figures of the README, measured anew. Ratios of one run; the machine is shared.

start  `sender --help` against an empty Python
plan   rows a second from a CSV of 8 columns to a written plan, and the peak memory of the process (more: .lists)
send   messages a second through the whole durable path (intent and outcome on disk for each) against the sandbox in a
       process of its own, beside a bare loop over httpx.AsyncClient and the same sandbox
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks import lists

ROOT = Path(__file__).parent.parent
AREAS = [area for area in range(201, 990) if area % 100 != 11]  # as many as are needed; all +1 NPA-555-01xx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="rows to plan")
    parser.add_argument("--messages", type=int, default=3_000, help="messages to send")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        start()
        print(f"plan   {lists.plan(lists.people(Path(folder) / 'plan.csv', options.rows), options.rows)}")
        send(Path(folder), options.messages)


def start() -> None:
    def seconds(*command: str) -> float:
        times = []
        for _ in range(9):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    ours, empty = seconds("-m", "sender", "--help"), seconds("-c", "pass")
    print(f"start  sender --help {ours * 1000:.0f} ms, an empty Python {empty * 1000:.0f} ms: {ours / empty:.1f} x")


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


def send(folder: Path, messages: int) -> None:
    import sender

    numbers = [f"+1{area}55501{n:02}" for area in AREAS for n in range(90)][:messages]
    campaign = sender.load_campaign(
        recipients=[{"phone": number} for number in numbers],
        provider="sandbox", from_="+12025550100", message="Hi", rate="none", concurrency=16, dedupe="none",
    )  # fmt: skip
    made = sender.build_plan(campaign)
    with sandbox() as url:
        env = {"SENDER_SANDBOX_URL": url}
        begun, cpu = time.perf_counter(), time.process_time()
        result = sender.send(made, state_dir=folder / "state", env=env)
        ours, ours_cpu = time.perf_counter() - begun, time.process_time() - cpu
        assert result.summary.accepted == made.manifest.messages, result.summary.law()
        begun = time.perf_counter()
        asyncio.run(bare_httpx(url, numbers))
        bare = time.perf_counter() - begun
    n = made.manifest.messages
    print(
        f"send   {n:,} messages: durable {n / ours:,.0f}/s at {ours_cpu / n * 1e6:,.0f} us CPU each;"
        f" bare httpx loop {n / bare:,.0f}/s: {bare / ours:.2f} x"
    )


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


if __name__ == "__main__":
    main()
