"""A run that is looked up in its provider's log after it was sent, with the state and the provider as they are kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

import sender
from sender import sandbox
from sender.core.errors import RunLocked
from sender.core.outcomes import Accepted
from sender.delivery.reconcile import ReconcileResult
from sender.delivery.refresh import reconcile_run, refresh_run
from sender.delivery.settle import SettleWait
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.state_dir import StateDir

PEOPLE = ("+12025550101", "+12025550102", "+12025550103")


@dataclass
class World:
    """A rehearsal of three messages that was killed when it had claimed them, and a sandbox that never saw them."""

    state: StateDir
    run: Run
    url: str

    def reconcile(self, *, settle_s: float = 0.0, canceled: bool = False, **options: object) -> ReconcileResult:
        env = {"SENDER_SANDBOX_URL": self.url, "SENDER_SANDBOX_SETTLE_S": str(settle_s)}

        async def go() -> ReconcileResult:
            cancel = asyncio.Event()
            if canceled:
                cancel.set()
            async with asyncio.timeout(30):
                return await reconcile_run(self.state, self.run, env, cancel=cancel, **options)  # type: ignore[arg-type]

        return asyncio.run(go())

    @property
    def states(self) -> tuple[int, int]:
        """How many are pending and unknown."""
        counts = self.state.ledger.counts(self.run.run_id)
        return counts.pending, counts.unknown


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sandbox.embedded() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, url: str) -> Iterator[World]:
    people = pl.DataFrame({"phone": PEOPLE})
    campaign = sender.load_campaign(
        recipients=people, provider="twilio", from_="+12025550100", message="Hi", rate="none", name="offer"
    )
    plan = sender.build_plan(campaign)
    with StateDir(tmp_path) as state:
        now_ms = state.ledger.now_ms()
        run = Run("run-1", "offer", RunKind.REHEARSAL, "twilio", plan.hash, None, 3, 3, 0, now_ms, simulated=True)
        state.plans.save(run, plan)
        state.ledger.create_run(run)
        state.ledger.claim("run-1", limit=3, lease_ms=600_000)
        yield World(state, run, url)


def test_what_a_killed_process_had_claimed_is_looked_up(world: World) -> None:
    result = world.reconcile(settle_s=3600)
    assert (result.found, result.absent, result.doubtful, result.failure) == (0, 0, 3, None)
    assert world.states == (0, 3)


def test_with_a_wait_it_stays_until_the_log_decides(world: World) -> None:
    waits: list[SettleWait] = []
    result = world.reconcile(settle_s=0.5, wait=True, on_wait=waits.append)
    assert (result.absent, result.doubtful) == (3, 0)
    assert world.states == (3, 0)
    assert waits
    assert {wait.unknown for wait in waits} == {3}


def test_without_a_wait_it_asks_once(world: World) -> None:
    begun_s = time.monotonic()
    assert world.reconcile(settle_s=3600, on_wait=lambda _: pytest.fail("it waits")).doubtful == 3
    assert time.monotonic() - begun_s < 20


def test_a_wait_that_is_canceled_ends_at_once(world: World) -> None:
    result = world.reconcile(settle_s=3600, wait=True, canceled=True)
    assert (result.doubtful, world.states) == (3, (0, 3))


def test_a_run_that_is_being_sent_is_not_touched(world: World) -> None:
    with world.state.locks.hold_campaign("offer", RunKind.REHEARSAL), pytest.raises(RunLocked):
        world.reconcile()
    assert world.states == (0, 0)


def test_a_refresh_that_is_canceled_asks_nobody(world: World) -> None:
    ledger = world.state.ledger
    ledger.orphans_to_unknown("run-1")
    ledger.resend_unknown("run-1")
    claims = ledger.claim("run-1", limit=3, lease_ms=600_000)
    ledger.record("run-1", [Settlement(claim, Accepted(f"SM{claim.seq}")) for claim in claims])

    async def refresh(*, canceled: bool) -> tuple[int, int]:
        cancel = asyncio.Event()
        if canceled:
            cancel.set()
        env = {"SENDER_SANDBOX_URL": world.url}
        result = await refresh_run(world.state, world.run, env, cancel=cancel)
        return result.pages, result.delivering

    assert asyncio.run(refresh(canceled=True)) == (0, 3)
    assert asyncio.run(refresh(canceled=False)) == (1, 3)
