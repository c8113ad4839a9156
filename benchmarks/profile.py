"""`python -m benchmarks.profile`: where the processor time of a message goes, as a Markdown table.

Each step of a message is done alone for all messages, with the values the send loop gives it, and its processor time is
taken; the best of some turns, since the machine is shared. Then the whole durable send in a process of its own. What
that takes beyond the sum of its steps is what holds them together: tasks, futures, events, and two threads that hand
Python's lock to and fro. `transport` holds the kernel's part of a request and its answer; the last lines say how much.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import stub
from benchmarks.contenders import transport
from benchmarks.send import wrk
from benchmarks.sending import run, written_plan
from sender import providers
from sender.plan.message_reader import MessageReader
from sender.plan.plan import Plan
from sender.providers.base import Response
from sender.sending.rate_limit import RateLimiter
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.sqlite.ledger import SqliteLedger

BATCH = 500
IN_FLIGHT = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, stub.running(0) as (url, kind):
        steps: dict[str, float] = {}
        written_plan(Path(name), options.messages)
        for turn in range(options.turns):
            for step, us in _steps(Path(name), url, options.messages, turn).items():
                steps[step] = min(us, steps.get(step, us))
        wholes = []
        for _ in range(options.turns):
            shutil.rmtree(Path(name) / "state", ignore_errors=True)
            wholes.append(run("ours", url, options.messages, 0, name)["cpu_s"] / options.messages * 1e6)
        floor = wrk(url, IN_FLIGHT)
    kernel = steps.pop("kernel")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    print(f"{options.messages:,} messages, best of {options.turns} turns; stub: {kind}\n")
    print("| step | µs a message |\n| --- | ---: |")
    for step, us in steps.items():
        print(f"| {step} | {us:.1f} |")
    print(f"| what holds them together | {max(0.0, min(wholes) - sum(steps.values())):.1f} |")
    print(f"| **a message, durable** | **{min(wholes):.1f}** |")
    print(f"| of the transport, in the kernel | {kernel:.1f} |")
    print(f"| the floor: wrk | {floor[1] if floor else 'not on the PATH'} |")


def _steps(folder: Path, url: str, messages: int, turn: int) -> dict[str, float]:
    """Processor time of each step, µs a message."""
    plan = Plan.open(folder / "plan")
    ledger = SqliteLedger.open(folder / f"ledger-{turn}")
    ledger.create_run(Run("r", "speed", RunKind.SANDBOX, "signalwire", "x", None, messages, messages, 0, 0))
    adapter = providers.sandbox_adapter("signalwire", url)
    reader = MessageReader(plan, "r")
    answer = Response(201, {}, stub.ANSWER.format(id="0" * 32).encode())
    spent: dict[str, float] = {}

    def timed(step: str, work: Callable[[], object]) -> object:
        begun = time.process_time()
        found = work()
        spent[step] = spent.get(step, 0.0) + time.process_time() - begun
        return found

    async def paced() -> None:
        pacer = RateLimiter()
        for _ in range(messages):
            await pacer.acquire(1)

    for _ in range(0, messages, BATCH):
        claims = timed("claim: intents committed", lambda: ledger.claim("r", limit=BATCH, lease_ms=60_000))
        found = timed("plan: rows to messages", lambda: reader.read([one.seq for one in claims]))  # noqa: B023
        timed("adapter: message to request", lambda: [adapter.request(message) for message, _ in found])  # noqa: B023
        told = timed("adapter: answer to outcome", lambda: [adapter.outcome(answer) for _ in found])  # noqa: B023
        settled = [Settlement(*pair) for pair in zip(claims, told, strict=True)]
        timed("record: outcomes committed", lambda: ledger.record("r", settled))  # noqa: B023
    timed("pace", lambda: asyncio.run(paced()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_stime
    timed("transport: request out, answer in", lambda: transport(url, messages, IN_FLIGHT))
    spent["kernel"] = resource.getrusage(resource.RUSAGE_SELF).ru_stime - before
    ledger.close()
    return {step: seconds / messages * 1e6 for step, seconds in spent.items()}


if __name__ == "__main__":
    main()
