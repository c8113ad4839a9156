"""One contender, in a process of its own: `python -m benchmarks.contenders NAME URL MESSAGES IN_FLIGHT [FOLDER]`.

Prints one line of JSON: seconds, CPU seconds and the memory in MiB while sending. A library that is not installed ends
it with ImportError; the table then names what is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

TEXT = "Hi Ada, your order is ready. See you on Friday in Springfield."
FROM = "+12025550100"
NUMBERS = [f"+1202555{n:04}" for n in range(100, 200)]
URL_PATH = "/api/messaging/messages"


def main() -> None:
    name, url, messages, in_flight, *rest = sys.argv[1:]
    if rest:
        result = {"ours": ours, "resumed": resumed}[name](url, Path(rest[0]))
    else:
        result = globals()[name](url, int(messages), int(in_flight))
    print(json.dumps(result))


def timed(work: Callable[[], Any]) -> dict[str, float]:
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu, "mib": peak_mib()}


def peak_mib() -> float:
    """The most memory since the process began. Linux's own maximum counts what its parent had before."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)


def mib_now() -> float:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_mib()
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


# ── Ours: from a written plan to the last outcome on disk ──────────────────────────────────────────────────────────


def ours(url: str, folder: Path) -> dict[str, Any]:
    """The sending, from the first message to the last commit; `whole_s` with all that is before and after it."""
    import sender

    samples: list[tuple[float, float, int, float]] = []
    plan = sender.Plan.open(folder / "plan")
    begun = time.perf_counter()

    def tell(now: sender.Progress) -> None:
        samples.append((time.perf_counter(), time.process_time(), now.done, mib_now()))

    result = sender.send(
        plan, state_dir=folder / "state", env={"SENDER_SANDBOX_URL": url}, on_progress=tell, settle_unknowns=False
    )
    whole_s = time.perf_counter() - begun
    assert result.summary.accepted == plan.manifest.messages, result.summary.totals_line()
    (start, cpu_start, *_), (end, cpu_end, *_) = samples[0], samples[-1]
    mib = [one for *_, one in samples]
    return {
        "seconds": end - start,
        "cpu_s": cpu_end - cpu_start,
        "messages": samples[-1][2] - samples[0][2],
        "mib": max(mib),
        "mib_by_tenths": [round(mib[len(mib) * part // 10]) for part in range(10)],
        "whole_s": whole_s,
    }


def resumed(url: str, folder: Path) -> dict[str, float]:
    """When a run is resumed (seconds of the system's monotonic clock), which then stops after its next messages."""
    import sender

    send = sender.asend  # imports what sending needs
    begun_s = time.monotonic()
    plan = sender.Plan.open(folder / "plan")

    async def go() -> None:
        cancel = asyncio.Event()
        before: list[int] = []

        def tell(now: sender.Progress) -> None:
            before.append(now.done)
            if now.in_flight or now.done > before[0]:
                cancel.set()

        env = {"SENDER_SANDBOX_URL": url}
        options: dict[str, Any] = {"env": env, "on_progress": tell, "settle_unknowns": False}
        await send(plan, state_dir=folder / "state", cancel=cancel, **options)

    asyncio.run(go())
    return {"begun_s": begun_s}


# ── The others: a plain loop, no ledger, no pace, no resume ────────────────────────────────────────────────────────


def body(to: str) -> dict[str, str]:
    return {"to": to, "from": FROM, "body": TEXT}


async def in_tasks(one: Callable[[str], Awaitable[None]], messages: int, in_flight: int) -> None:
    numbers = iter([number for number, _ in zip(cycle(NUMBERS), range(messages), strict=False)])

    async def worker() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(worker() for _ in range(in_flight)))


def in_threads(make: Callable[[], Callable[[str], Any]], messages: int, in_flight: int) -> dict[str, float]:
    def worker(count: int) -> None:
        one = make()
        for number, _ in zip(cycle(NUMBERS), range(count), strict=False):
            one(number)

    def work() -> None:
        with ThreadPoolExecutor(in_flight) as pool:
            for done in [pool.submit(worker, messages // in_flight) for _ in range(in_flight)]:
                done.result()

    return timed(work)


def httpx(url: str, messages: int, in_flight: int) -> dict[str, float]:
    import httpx

    async def go() -> None:
        limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
        async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=60) as client:

            async def one(number: str) -> None:
                (await client.post(url + URL_PATH, json=body(number))).raise_for_status()

            await in_tasks(one, messages, in_flight)

    return timed(lambda: asyncio.run(go()))


def aiohttp(url: str, messages: int, in_flight: int) -> dict[str, float]:
    import aiohttp

    async def go() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

            async def one(number: str) -> None:
                async with client.post(url + URL_PATH, json=body(number)) as answer:
                    answer.raise_for_status()
                    await answer.read()

            await in_tasks(one, messages, in_flight)

    return timed(lambda: asyncio.run(go()))


def pyreqwest(url: str, messages: int, in_flight: int) -> dict[str, float]:
    from pyreqwest.client import ClientBuilder

    async def go() -> None:
        async with ClientBuilder().no_proxy().error_for_status().build() as client:

            async def one(number: str) -> None:
                answer = await client.post(url + URL_PATH).body_json(body(number)).build().send()
                await answer.bytes()

            await in_tasks(one, messages, in_flight)

    return timed(lambda: asyncio.run(go()))


def transport(url: str, messages: int, in_flight: int) -> dict[str, float]:
    """Ours, without plan, adapter, pace and ledger: what carrying costs."""
    from sender.providers.base import Request
    from sender.transport.factory import open_transport

    content = json.dumps(body(FROM)).encode()
    request = Request("POST", url + URL_PATH, (("content-type", "application/json"),), content)

    async def go() -> None:
        carrier = open_transport("fast", in_flight, url)

        async def one(_: str) -> None:
            assert (await carrier.send(request, timeout_s=60)).status == 201

        await in_tasks(one, messages, in_flight)
        await carrier.aclose()

    return timed(lambda: asyncio.run(go()))


def telnyx(url: str, messages: int, in_flight: int) -> dict[str, float]:
    import telnyx

    async def go() -> None:
        async with telnyx.AsyncTelnyx(api_key="KEY0", base_url=url, max_retries=0) as client:

            async def one(number: str) -> None:
                await client.messages.send(to=number, from_=FROM, text=TEXT)

            await in_tasks(one, messages, in_flight)

    return timed(lambda: asyncio.run(go()))


def twilio(url: str, messages: int, in_flight: int) -> dict[str, float]:
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    class Loopback(TwilioHttpClient):
        def request(self, method: str, url_: str, *args: Any, **options: Any) -> Any:
            return super().request(method, url_.replace("https://api.twilio.com", url), *args, **options)

    client = Client("AC" + "0" * 32, "token", http_client=Loopback(pool_connections=True))
    return in_threads(lambda: lambda n: client.messages.create(to=n, from_=FROM, body=TEXT), messages, in_flight)


def signalwire(url: str, messages: int, in_flight: int) -> dict[str, float]:
    from signalwire.rest import RestClient

    def make() -> Callable[[str], Any]:
        client = RestClient("project", "token", url.removeprefix("http://"))  # its session is for one thread
        return lambda number: client.messages.create(to=number, from_=FROM, body=TEXT)

    return in_threads(make, messages, in_flight)


if __name__ == "__main__":
    main()
