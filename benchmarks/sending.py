"""`python -m benchmarks.sending`: sending, all contenders against the same stub provider on loopback, in one go.

Ours is the whole durable path: intent and outcome of every message on disk (fsync) before and after it, from a written
plan to the last commit. The others are plain loops without any of that, each at the better of two numbers in flight.
Figures of one run on one machine: the ratios are what counts.

    --messages N   of ours at each latency; the others send fewer, as many as their speed allows
    --million N    size of the run whose memory and resume are measured (0: leave it out)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import stub

ROOT = Path(__file__).parent.parent
# Name, title, and the part of our messages that it sends.
OTHERS = (
    ("httpx", "plain httpx", 0.05),
    ("telnyx", "telnyx SDK, async", 0.05),
    ("signalwire", "signalwire SDK, threads", 0.1),
    ("twilio", "twilio SDK, threads", 0.1),
    ("aiohttp", "aiohttp", 0.5),
    ("pyreqwest", "pyreqwest (reqwest, Rust)", 0.5),
)
SDKS = frozenset({"telnyx", "signalwire", "twilio"})
IN_FLIGHT = {0: (16, 64), 100: (64, 512), 300: (128, 1024)}
THREADS_MOST = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--latencies", type=lambda text: [int(one) for one in text.split(",")], default=[0, 100, 300])
    parser.add_argument("--million", type=int, default=1_000_000)
    options = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, {time.strftime('%Y-%m-%d')}")
    for latency_ms in options.latencies:
        table(latency_ms, options.messages)
    if options.million:
        memory_and_resume(options.million)


def table(latency_ms: int, messages: int) -> None:
    with stub.running(latency_ms) as (url, kind):
        print(f"\nlatency {latency_ms} ms, stub: {kind}")
        print(f"{'':28}{'msg/s':>9}{'in flight':>11}{'us CPU':>8}{'MiB':>6}{'ours is':>10}")
        with tempfile.TemporaryDirectory() as folder:
            written_plan(Path(folder), messages)
            mine = run("ours", url, messages, 0, folder)
        speed = messages / mine["seconds"]
        row("ours, durable", speed, "auto", mine["cpu_s"] / messages, mine["mib"], "")
        best_sdk = ("", 0.0)
        for name, title, share in OTHERS:
            best = best_of(name, url, latency_ms, max(500, int(messages * share)))
            if isinstance(best, str):
                print(f"{title:28}  not measured: {best}")
                continue
            row(title, best["speed"], best["in_flight"], best["cpu_s"] / best["n"], best["mib"], speed / best["speed"])
            if name in SDKS:
                best_sdk = max(best_sdk, (title, best["speed"]), key=lambda one: one[1])
        ceiling(url, latency_ms)
        if best_sdk[1]:
            print(f"best vendor SDK: {best_sdk[0]}; ours is {speed / best_sdk[1]:.1f} x")


def row(title: str, speed: float, in_flight: Any, cpu_s: float, mib: float, ratio: float | str) -> None:
    shown = f"{ratio:,.1f} x" if isinstance(ratio, float) else ratio
    print(f"{title:28}{speed:9,.0f}{in_flight!s:>11}{cpu_s * 1e6:8,.0f}{mib:6,.0f}{shown:>10}")


def best_of(name: str, url: str, latency_ms: int, messages: int) -> dict[str, Any] | str:
    """The better of two runs; or, as text, why there is none."""
    best: dict[str, Any] = {"speed": 0.0}
    threads = name in {"twilio", "signalwire"}
    for in_flight in IN_FLIGHT.get(latency_ms, (64, 512)):
        at_once = min(in_flight, THREADS_MOST) if threads else in_flight
        count = max(messages, 3 * at_once) // at_once * at_once
        try:
            found = run(name, url, count, at_once)
        except RuntimeError as error:
            return str(error)
        found |= {"speed": count / found["seconds"], "in_flight": at_once, "n": count}
        best = max(best, found, key=lambda one: one["speed"])
    return best


def run(name: str, url: str, messages: int, in_flight: int, *folder: str) -> dict[str, Any]:
    """What the contender's own process says. Raises RuntimeError with the last line of its complaint."""
    command = [sys.executable, "-m", "benchmarks.contenders", name, url, str(messages), str(in_flight), *folder]
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ceiling(url: str, latency_ms: int) -> None:
    wrk = shutil.which("wrk")
    if wrk is None:
        print(f"{'wrk, the ceiling':28}  not measured: wrk is not installed")
        return
    at_once = IN_FLIGHT.get(latency_ms, (64, 512))[1]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        body = '{"to":"+12025550100","from":"+12025550101","body":"Hi Ada, your order is ready."}'
        script.write(f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n")
        script.flush()
        command = [wrk, "-t1", f"-c{at_once}", "-d3", "-s", script.name, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    if found:
        print(f"{'wrk, the ceiling':28}{float(found[1]):9,.0f}{at_once:>11}")


# ── Plans ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def written_plan(folder: Path, messages: int) -> None:
    """Writes a plan of so many messages to fictional numbers, in a process whose memory then goes away."""
    code = f"from benchmarks.sending import write_plan; write_plan({str(folder)!r}, {messages})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def write_plan(folder: str, messages: int) -> None:
    import polars as pl

    import sender

    frame = pl.select(n=pl.int_range(messages)).select(
        phone=pl.format("+1202555{}", (pl.col("n") % 100 + 100).cast(pl.String).str.zfill(4)),
        name=pl.format("Name{}", "n"),
    )
    campaign = sender.load_campaign(
        recipients=frame, provider="sandbox", from_="+12025550100", rate="none", dedupe="none",
        message="Hi {{ name }}, your order is ready. See you on Friday in Springfield.", name="speed",
    )  # fmt: skip
    sender.build_plan(campaign).write(Path(folder) / "plan")


# ── A large run: memory, and resuming it half-way ──────────────────────────────────────────────────────────────────


def memory_and_resume(messages: int) -> None:
    with tempfile.TemporaryDirectory() as folder, stub.running(0) as (url, _):
        written_plan(Path(folder), messages)
        half_sent(Path(folder), messages // 2)
        found = run("ours", url, messages, 0, folder)
        speed = found["messages"] / found["seconds"]
        print(f"\na run of {messages:,} messages, half of it sent before")
        print(f"first message after {found['first_s']:.2f} s, from the call of `send`")
        print(f"memory while sending, MiB by tenths: {found['mib_by_tenths']}; most {found['mib']:.0f}")
        print(f"{found['messages']:,} sent at {speed:,.0f}/s; {found['whole_s']:.0f} s with the results file")


def half_sent(folder: Path, messages: int) -> None:
    code = f"from benchmarks.sending import send_half; send_half({str(folder)!r}, {messages})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def send_half(folder: str, messages: int) -> None:
    """A run whose first messages have been accepted, as the ledger of a stopped process has it."""
    import asyncio

    from sender.ledger import Settlement
    from sender.opening import open_session
    from sender.outcomes import Accepted
    from sender.plan import Plan

    plan = Plan.open(Path(folder) / "plan")
    with open_session(plan, state_dir=Path(folder) / "state") as session:
        stop = asyncio.Event()
        stop.set()
        env = {"SENDER_SANDBOX_URL": "http://127.0.0.1:9"}
        asyncio.run(session.send(env=env, cancel=stop, settle_unknowns=False))
        ledger, run_id = session.workspace.ledger, session.run.run_id
        while messages > 0:
            claims = ledger.claim(run_id, limit=min(messages, 10_000), lease_ms=60_000)
            ledger.record(run_id, [Settlement(one, Accepted(f"{one.seq:032x}")) for one in claims])
            messages -= len(claims)


if __name__ == "__main__":
    main()
