"""A run that another process sends while somebody watches it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sender
from sender.core.errors import UnknownRun
from sender.state.ledger import Run
from sender.state.open import open_state

NAME = "spring <offer>"
SEND = """
import sys
import sender
from tests.web.runs import make_plan
state, messages, rate = sys.argv[1:]
sender.send(make_plan(int(messages), rate=rate), state_dir=state, init_state=True, wait_s=0)
"""
RESUME = """
import sys
import sender
sender.resume(sys.argv[2], state_dir=sys.argv[1], wait_s=0)
"""


def make_plan(messages: int, *, rate: str) -> sender.Plan:
    """The plan of a campaign to the sandbox, of at most 360 messages; one row is skipped."""
    areas = (212, 213, 214, 301, 302, 303, 305, 312, 404, 415, 503, 617)
    numbers = (f"+1{area}555{last:04}" for area in areas for last in range(120, 150))  # none is a trap of the sandbox
    rows = [{"phone": number} for number, _ in zip(numbers, range(messages), strict=False)]
    return sender.build_plan(
        sender.load_campaign(
            name=NAME,
            provider="sandbox",
            sandbox={"dialect": "twilio"},
            rate=rate,
            from_="+12025550100",
            message="A secret text",
            recipients={"rows": [*rows, rows[0]]},
        )
    )


@contextmanager
def process(script: str, *arguments: object) -> Iterator[None]:
    """The script in a process of its own, which ends by itself before this does."""
    child = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], cwd=Path(__file__).parents[2])
    try:
        yield
        child.wait(90)
    finally:
        child.kill()
        child.wait()


def first_run(folder: Path) -> Run:
    """The one run of the state, once it is there."""
    pause = threading.Event()
    for _ in range(400):
        with suppress(UnknownRun), open_state(folder, create=False, read_only=True) as state:
            if runs := state.ledger.runs():
                return runs[0]
        pause.wait(0.05)
    raise AssertionError("no run has begun")
