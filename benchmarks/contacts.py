"""`python -m benchmarks contacts`: what a plan costs that asks whom earlier runs have reached.

The state has ten runs, each with ten times the rows divided by ten: for a list of 1,000,000 rows, 10,000,000 contacts.
One run has reached a tenth of the list; the others have other people. With `--only-new`, and with a cap, against the
same plan without, in turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

import sender
from benchmarks import plan as plans
from benchmarks.figures import Figure
from benchmarks.windows import run
from sender.core.outcomes import Accepted
from sender.state.ledger import Ledger, Run, RunKind, Settlement
from sender.state.open import open_state

MOST = 1_000_000
RUNS, PAIRS = 10, 7
GOAL = 1.05
CAMPAIGN = f"""\
name: people
provider: twilio
from: "+12025550100"
recipients: people.csv
message: "{plans.TEXT}"
"""


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """A list of `options.rows` people, MOST at most."""
    rows = min(options.rows, MOST)
    pairs = PAIRS if rows >= MOST else 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plans.people(folder / "people.csv", rows)
        (folder / "people.yaml").write_text(CAMPAIGN, encoding="utf-8")
        make_runs(folder / "state", rows)
        for what, asked in (("--only-new", ("--only-new",)), ("--per-person", ("--per-person", "3/24h"))):
            yield plan_figure(folder, rows, what, asked, pairs)


def make_runs(state_dir: Path, rows: int) -> None:
    """RUNS runs of the campaign, as `sender send` leaves them; the last has sent to a tenth of the list."""
    with open_state(state_dir) as state:
        for n in range(RUNS):
            first = rows * (n + 1) if n < RUNS - 1 else rows * 9 // 10
            numbers = [plans.number(at, plans.WAYS[3]) for at in range(first, first + rows)]
            campaign = sender.load_campaign(
                name="people",
                provider="twilio",
                from_="+12025550100",
                message="Hi",
                recipients=pl.DataFrame({"phone": numbers}),
            )
            plan = sender.build_plan(campaign)
            run_id = f"20260101-00000{n}-people-{n:06}"
            manifest = plan.manifest
            counts = (manifest.rows, manifest.messages, manifest.rows - manifest.messages)
            entry = Run(
                run_id, "people", RunKind.LIVE, "twilio", plan.hash, None, *counts, created_at_ms=state.ledger.now_ms()
            )
            state.ledger.create_run(entry)
            state.plans.save(entry, plan)
            if n == RUNS - 1:
                send_all(state.ledger, run_id)


def send_all(ledger: Ledger, run_id: str) -> None:
    while claims := ledger.claim(run_id, limit=10_000, lease_ms=60_000):
        ledger.record(run_id, [Settlement(claim, Accepted(f"SM{claim.seq:032}")) for claim in claims])
    ledger.finish_run(run_id)


def plan_figure(folder: Path, rows: int, what: str, asked: Sequence[str], pairs: int) -> Figure:
    """A written plan that asks earlier runs, against one that does not."""
    command = ("plan", "people.yaml", "--state", "state", "--out", "plan", "--default-region", "US")
    both = [(run(folder, (*command, *asked))[0], run(folder, command)[0]) for _ in range(pairs)]
    ours, plainly = sorted(both, key=lambda pair: pair[0] / pair[1])[len(both) // 2]
    ratios = sorted(ours / plainly for ours, plainly in both)
    note = f"{rows:,} rows, {RUNS * rows:,} contacts, {pairs} pairs: {ratios[0]:.2f} to {ratios[-1]:.2f}"
    note += f"; wanted: at most {GOAL}"
    missed = statistics.median(ratios) > GOAL and ratios[0] > GOAL and rows >= MOST
    return Figure(
        "contacts", f"plan {what}, CPU", ours, " s", plainly, "without", note=f"MISSED: {note}" if missed else note
    )
