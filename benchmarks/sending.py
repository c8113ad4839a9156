"""What the benchmarks of sending share: written plans, runs that were half sent, and contenders as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT

NOWHERE = "http://127.0.0.1:9"


def run(name: str, url: str, messages: int, in_flight: int, *folder: str) -> dict[str, Any]:
    """What the contender's own process says. Raises RuntimeError with the last line of its complaint."""
    command = [sys.executable, "-m", "benchmarks.contenders", name, url, str(messages), str(in_flight), *folder]
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def written_plan(folder: Path, messages: int, rate: str = "none") -> None:
    """Writes a plan of so many messages to fictional numbers, in a process whose memory then goes away."""
    _call(f"write_plan({str(folder)!r}, {messages}, {rate!r})")


def half_sent(folder: Path, messages: int) -> None:
    """Makes a run of the plan in `folder` whose first messages have been accepted, in a process of its own."""
    _call(f"send_half({str(folder)!r}, {messages})")


def _call(code: str) -> None:
    subprocess.run([sys.executable, "-c", f"from benchmarks.sending import *; {code}"], cwd=ROOT, check=True)


def write_plan(folder: str, messages: int, rate: str) -> None:
    import polars as pl

    import sender

    frame = pl.select(n=pl.int_range(messages)).select(
        phone=pl.format("+1202555{}", (pl.col("n") % 100 + 100).cast(pl.String).str.zfill(4)),
        name=pl.format("Name{}", "n"),
    )
    campaign = sender.load_campaign(
        recipients=frame, provider="sandbox", from_="+12025550100", rate=rate, dedupe="none",
        message="Hi {{ name }}, your order is ready. See you on Friday in Springfield.", name="speed",
    )  # fmt: skip
    sender.build_plan(campaign).write(Path(folder) / "plan")


def send_half(folder: str, messages: int) -> None:
    """As the ledger of a stopped process has it."""
    import asyncio

    from sender.core.outcomes import Accepted
    from sender.plan.plan import Plan
    from sender.sending.open_run import open_run
    from sender.sending.options import SendOptions
    from sender.state.ledger import Settlement

    plan = Plan.open(Path(folder) / "plan")
    options = SendOptions(state_dir=Path(folder) / "state", env={"SENDER_SANDBOX_URL": NOWHERE}, settle_unknowns=False)
    with open_run(plan, options) as session:
        stop = asyncio.Event()
        stop.set()
        asyncio.run(session.send(options, cancel=stop))
        ledger, run_id = session.state.ledger, session.run.run_id
        while messages > 0:
            claims = ledger.claim(run_id, limit=min(messages, 10_000), lease_ms=60_000)
            ledger.record(run_id, [Settlement(one, Accepted(f"{one.seq:032x}")) for one in claims])
            messages -= len(claims)
