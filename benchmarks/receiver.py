"""How the receiver of delivery reports keeps up while a run is sent: `python -m benchmarks.receiver`.

Starts `sender listen` and, beside it, a real run through the sandbox; then calls it with signed SignalWire reports
about messages of a ledger, at a fixed pace from open connections, and prints how long each answer took. An answer comes
after the report's commit and fsync.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from sender import sandbox
from sender.core.outcomes import Accepted
from sender.delivery.webhooks.signatures import signalwire_json
from sender.sandbox.webhook_client import WebhookClient
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.sqlite.ledger import SqliteLedger

RUN = "run-1"
WORDS = ("queued", "sent", "delivered")


def fill(path: Path, messages: int) -> None:
    """A ledger with a run of so many accepted messages."""
    ledger = SqliteLedger.open(path)
    ledger.create_run(Run(RUN, "bench", RunKind.SANDBOX, "signalwire", "x", None, messages, messages, 0, 0))
    for _ in range(0, messages, 5000):
        claims = ledger.claim(RUN, limit=5000, lease_ms=600_000)
        ledger.record(RUN, [Settlement(one, Accepted(f"M{one.seq}")) for one in claims])
    ledger.close()


async def call(url: str, reports: int, per_s: float) -> list[float]:
    """Seconds from when each report was due to its answer; open loop, so a slow answer holds no other up."""
    caller = WebhookClient()
    took: list[float] = []
    failed = 0

    async def one(number: int, due: float) -> None:
        nonlocal failed
        seq, word = divmod(number, 3)
        path = f"/status/signalwire?ref={RUN}.{seq}"
        body = json.dumps({"id": f"M{seq}", "status": WORDS[word], "number_of_segments": 1}).encode()
        signature = signalwire_json("PSK_sandbox", url + path, body)
        headers = {"content-type": "application/json", "x-signalwire-signature": signature}
        status = await caller.post(url + path, headers, body, timeout_s=30)
        took.append(time.perf_counter() - due)
        failed += status != 200

    tasks = []
    start = time.perf_counter()
    for number in range(reports):
        due = start + number / per_s
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    await caller.close()
    assert not failed, f"{failed} reports were not taken"
    print(f"{reports:,} reports in {time.perf_counter() - start:.1f} s", end="; ")
    return sorted(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=15_000)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--alone", action="store_true", help="without a run beside it")
    options = parser.parse_args()
    env = {name: text for name, text in os.environ.items() if not re.match("SENDER|SIGNALWIRE|TELNYX|TWILIO", name)}
    env |= sandbox.environment("http://127.0.0.1:1") | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "SENDER_RULES": "none",
    }
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        state = Path(folder)
        fill(state / "ledger.sqlite3", options.reports // 3 + 1)
        command = [sys.executable, "-m", "sender"]
        at = ["--state-dir", folder]
        listen = stack.enter_context(
            subprocess.Popen([*command, "listen", "--port", "0", *at], env=env, stdout=subprocess.PIPE, text=True)
        )
        assert listen.stdout is not None
        url = re.search(r"http://127\.0\.0\.1:\d+", listen.stdout.readline())[0]  # type: ignore[index]
        sending = None
        if not options.alone:
            people = state / "people.csv"
            areas = [area for area in range(201, 990) if area % 100 != 11]
            rows = (f"+1{area}55501{i:02}" for area in areas for i in range(90))
            people.write_text("phone\n" + "\n".join(rows) + "\n", encoding="utf-8")
            flags = ["--body", "Hi", "--from", "+12025550100", "--provider", "sandbox", "--rate", "100/s", "--yes"]
            sending = subprocess.Popen(
                [*command, "send", str(people), *flags, *at],
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(6)
            assert sending.poll() is None, "the run ended too early"
        took = asyncio.run(call(url, options.reports, options.rate))
        if sending is not None:
            sending.terminate()
            sending.wait(60)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        listen.terminate()
        listen.wait(60)
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        at_share = {f"p{share * 100:g}": took[int(len(took) * share)] for share in (0.5, 0.95, 0.99, 0.999)}
        told = ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in (at_share | {"most": took[-1]}).items())
        print(f"answered after {told}; receiver {1e6 * cpu / options.reports:.0f} µs CPU a report")
        ledger = SqliteLedger.open(state / "ledger.sqlite3")
        delivered = (ledger.journal(RUN)["status"] == "delivered").sum()
        ledger.close()
        print(f"{delivered:,} of {options.reports // 3:,} messages delivered")


if __name__ == "__main__":
    main()
