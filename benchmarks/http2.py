"""`python -m benchmarks.http2`: clients over HTTP/2 and HTTP/1.1 as a Markdown table; needs nginx and `.[bench,http2]`.

Both without TLS, which costs the same either way, and against the same nginx: HTTP/2 by prior knowledge on a second
port. Over HTTP/2 all requests share one connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from benchmarks import stub
from benchmarks.contenders import URL_PATH, body, in_tasks, timed
from benchmarks.figures import ROOT
from benchmarks.sending import run

IN_FLIGHT = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=3_000)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:  # in a process of its own
        make = {"httpx": _httpx, "pyreqwest": _pyreqwest}[options.contender]
        print(json.dumps(timed(lambda: asyncio.run(_go(make, options.url, options.messages)))))
        return
    count = options.messages
    with stub.running(0) as (url, _), stub.running(0, http2=True) as (url2, _):
        print("| client | protocol | msg/s | µs CPU |\n| --- | --- | ---: | ---: |")
        for name in ("httpx", "pyreqwest"):
            _row(name, "HTTP/1.1", run(name, url, count, IN_FLIGHT), count)
            command = [sys.executable, "-m", "benchmarks.http2", "--contender", name, "--url", url2]
            command += ["--messages", str(count)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
            if done.returncode:
                print(f"| {name} | HTTP/2 | ended with {done.returncode} | |", flush=True)
            else:
                _row(name, "HTTP/2", json.loads(done.stdout), count)
        _row("ours", "HTTP/1.1", run("transport", url, count, IN_FLIGHT), count)


def _row(name: str, protocol: str, found: dict[str, Any], count: int) -> None:
    print(
        f"| {name} | {protocol} | {count / found['seconds']:,.0f} | {found['cpu_s'] / count * 1e6:,.0f} |", flush=True
    )


async def _go(make: Callable[[], AbstractAsyncContextManager[Any]], url: str, messages: int) -> None:
    async with make() as client:

        async def one(number: str) -> None:
            await client(url + URL_PATH, body(number))

        await in_tasks(one, messages, IN_FLIGHT)


class _httpx:  # noqa: N801 (named as the library)
    async def __aenter__(self) -> Callable[..., Any]:
        import httpx

        self._client = httpx.AsyncClient(http1=False, http2=True, trust_env=False, timeout=60)

        async def post(url: str, document: dict[str, str]) -> None:
            (await self._client.post(url, json=document)).raise_for_status()

        return post

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


class _pyreqwest:  # noqa: N801
    async def __aenter__(self) -> Callable[..., Any]:
        from pyreqwest.client import ClientBuilder

        self._client = await ClientBuilder().no_proxy().error_for_status().http2_prior_knowledge().build().__aenter__()

        async def post(url: str, document: dict[str, str]) -> None:
            await (await self._client.post(url).body_json(document).build().send()).bytes()

        return post

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__(None, None, None)


if __name__ == "__main__":
    main()
