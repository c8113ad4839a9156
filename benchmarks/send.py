"""Sending: all contenders against the same stub provider on loopback, in one go; then memory, resume and pace.

Ours is the whole durable path: intent and outcome of every message on disk (fsync) before and after it, from a written
plan to the last commit, the better of two turns. The others are plain loops without any of that, each at the better of
two numbers in flight.
What is not installed is said to be (`pip install -e '.[bench]'`; wrk and nginx are the system's).
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import pace, stub
from benchmarks.figures import Figure
from benchmarks.sending import half_sent, run, written_plan

# Name, title, the part of our messages that it sends, and how many times as fast ours is to be.
OTHERS = (
    ("httpx", "plain httpx", 0.02, 30),
    ("telnyx", "telnyx SDK, async", 0.02, 8),
    ("signalwire", "signalwire SDK, threads", 0.02, 8),
    ("twilio", "twilio SDK, threads", 0.04, 8),
    ("aiohttp", "aiohttp", 0.2, None),
    ("pyreqwest", "pyreqwest (Rust)", 0.2, None),
    ("transport", "our transport alone", 0.4, None),
)
IN_FLIGHT = {0: (16, 64), 100: (64, 512), 300: (128, 1024)}
THREADS_MOST = 128
SLOWED = {"httpx", "telnyx"}  # by more in flight: httpx looks through all connections for each request
FEW = 1_000  # messages of ours; below that a contender runs once and small, to see that it works
WRK_S = 3
GOAL_PER_S, GOAL_CPU_US, GOAL_MIB, GOAL_RESUME_S = 10_000, 100, 300, 1.5


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """`options.messages` messages of ours at each of `options.latencies` (ms), fewer of the slower contenders."""
    for latency_ms in options.latencies:
        with stub.running(latency_ms) as (url, kind):
            yield from _contest(url, kind, latency_ms, options)
    yield from _resumed(options.messages)
    for rate in options.paces:
        yield from pace.figures(rate, options.pace_seconds)


def _contest(url: str, kind: str, latency_ms: int, options: argparse.Namespace) -> Iterator[Figure]:
    at, messages = f"{latency_ms} ms:", options.messages
    with tempfile.TemporaryDirectory() as folder:
        written_plan(Path(folder), messages)
        mine = run("ours", url, messages, 0, folder)
        if messages >= FEW:  # the others have two turns each, too
            shutil.rmtree(Path(folder) / "state")
            mine = min(mine, run("ours", url, messages, 0, folder), key=lambda one: float(one["seconds"]))
    speed, cpu_us = messages / mine["seconds"], mine["cpu_s"] / messages * 1e6
    # With latency the ratios count: thousands of requests are under way then, and the stub itself is slower.
    least_per_s, most_us = (None, None) if latency_ms else (GOAL_PER_S, GOAL_CPU_US)
    yield Figure("send", f"{at} durable", speed, "/s", goal=least_per_s, note=f"{messages:,} messages; stub: {kind}")
    yield Figure("send", f"{at} CPU a message", cpu_us, " us", goal=most_us)
    yield Figure("send", f"{at} memory", mine["mib"], " MiB", goal=GOAL_MIB, note=_tenths(mine))
    for name, title, share, least in OTHERS:
        if options.contenders and name not in options.contenders:
            continue
        best = _best_of(name, url, latency_ms, messages, share)
        if isinstance(best, str):
            yield Figure("send", f"{at} durable", speed, "/s", way=title, note=f"not measured: {best}")
            continue
        told = f"{best['in_flight']} in flight, {best['cpu_s'] / best['n'] * 1e6:,.0f} us CPU, {best['mib']:.0f} MiB"
        yield Figure("send", f"{at} durable", speed, "/s", best["speed"], title, least, note=told)
    if not options.contenders or "wrk" in options.contenders:
        yield _floor(url, latency_ms, at, speed)


def _tenths(found: dict[str, Any]) -> str:
    return f"by tenths of the run: {' '.join(map(str, found['mib_by_tenths']))}"


def _best_of(name: str, url: str, latency_ms: int, ours: int, share: float) -> dict[str, Any] | str:
    """The better of two runs; or, as text, why there is none."""
    best: dict[str, Any] = {"speed": 0.0}
    both = IN_FLIGHT.get(latency_ms, (64, 512))
    once = ours < FEW or (latency_ms and name in SLOWED)
    for in_flight in both[:1] if once else both:
        at_once = min(in_flight, THREADS_MOST) if name in {"twilio", "signalwire"} else in_flight
        at_once = min(at_once, ours)
        least = 3 * at_once if ours >= FEW else at_once
        count = max(int(min(ours, 100_000) * share), least) // at_once * at_once
        try:
            found = run(name, url, count, at_once)
        except RuntimeError as error:
            return str(error)
        found |= {"speed": count / found["seconds"], "in_flight": at_once, "n": count}
        best = max(best, found, key=lambda one: one["speed"])
    return best


def _floor(url: str, latency_ms: int, at: str, speed: float) -> Figure:
    """What stub and sockets allow."""
    at_once = IN_FLIGHT.get(latency_ms, (64, 512))[1]
    measured = wrk(url, at_once)
    if measured is None:
        return Figure("send", f"{at} durable", speed, "/s", way="wrk", note="not measured: wrk is not on the PATH")
    told = f"{at_once} in flight, {measured[1]} us CPU"
    return Figure("send", f"{at} durable", speed, "/s", measured[0], "wrk: the floor", note=told)


def wrk(url: str, at_once: int) -> tuple[float, int] | None:
    """Requests a second of wrk with one thread, and its CPU for each in µs; None where it is not installed."""
    command = shutil.which("wrk")
    if command is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        body = '{"to":"+12025550100","from":"+12025550101","body":"Hi Ada, your order is ready."}'
        script.write(f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n")
        script.flush()
        arguments = [command, "-t1", f"-c{at_once}", f"-d{WRK_S}", "-s", script.name, url]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    answered = re.search(r"([0-9]+) requests in", said)
    assert found is not None, said
    assert answered is not None, said
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return float(found[1]), round(cpu_s / max(1, int(answered[1])) * 1e6)


def _resumed(messages: int) -> Iterator[Figure]:
    """How long a run that was half sent takes to its next message."""
    with tempfile.TemporaryDirectory() as name, stub.receiving(Path(name) / "arrivals") as (url, arrivals):
        folder = Path(name)
        written_plan(folder, messages)
        half_sent(folder, messages // 2)
        started_s = time.monotonic()
        begun_s = run("resumed", url, messages, 0, name)["begun_s"]
        first_s = arrivals()[0]
    told = f"from opening the plan to the first request's arrival; {first_s - started_s:.1f} s from the process's start"
    yield Figure("send", f"resume of {messages:,}, half sent", first_s - begun_s, " s", goal=GOAL_RESUME_S, note=told)
