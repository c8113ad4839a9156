"""Runs with a plan and a history each, made in a state of their own: for tests of whom earlier runs have reached."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg

import sender
from sender.core.outcomes import Accepted, Outcome, Reason, Rejected, Unknown
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.open import open_state
from sender.state.postgres.ledger import PostgresLedger
from sender.state.postgres.state import DatabaseState
from sender.state.state import State

ADA, GRACE, JEAN, MARY, RADIA, SOPHIE = (f"+1202555010{n}" for n in range(1, 7))
NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00Z
MINUTE_MS = 60_000
ACCEPTED = Accepted("SM1")
REJECTED = Rejected(Reason.BLOCKED, "30007", "blocked")
UNKNOWN = Unknown("timeout")
INTENT, PENDING = "intent", "pending"
Fate = Outcome | str  # what became of a message: an outcome, INTENT or PENDING


@cache
def plan_for(
    *people: str, campaign: str = "spring", provider: str = "twilio", edition: str | None = None
) -> sender.Plan:
    """The plan of a campaign to these numbers."""
    rows = [{"phone": number} for number in people]
    values: dict[str, Any] = {} if edition is None else {"edition": edition}
    return sender.build_plan(
        sender.load_campaign(
            name=campaign, provider=provider, from_="+12025550199", message="Hi", recipients=rows, **values
        )
    )


class RunHistory:
    """The runs of a state in a folder, the first at noon and each a minute after the one before."""

    def __init__(self) -> None:
        self.folder: Path
        self.state: State
        self.now_ms = NOON_MS - MINUTE_MS
        self.runs: list[Run] = []

    def add(
        self,
        fates: Mapping[str, Fate],
        *,
        kind: RunKind = RunKind.LIVE,
        source: str | None = None,
        retry_of: str | None = None,
        **campaign: str,
    ) -> Run:
        """A run of the campaign to the numbers in `fates`, each with what became of its message."""
        plan = plan_for(*fates, **campaign)
        self.now_ms += MINUTE_MS
        run = Run(
            *(f"run-{len(self.runs)}", plan.manifest.campaign, kind, plan.manifest.provider, plan.hash, source),
            *(len(fates), len(fates), 0),
            created_at_ms=self.now_ms,
            retry_of=retry_of,
        )
        self.state.ledger.create_run(run)
        self.state.plans.save(run, plan)
        claims = self.state.ledger.claim(run.run_id, limit=len(fates), lease_ms=1000)
        pairs = list(zip(claims, fates.values(), strict=True))
        self.state.ledger.release(run.run_id, [claim for claim, fate in pairs if fate == PENDING])
        outcomes = [Settlement(claim, fate) for claim, fate in pairs if not isinstance(fate, str)]
        self.state.ledger.record(run.run_id, outcomes)
        self.runs.append(run)
        return run

    def lose_plan(self, run: Run) -> None:
        """Remove the run's plan, as a person does who clears up."""
        shutil.rmtree(self.state.plans.folder(run))
        if isinstance(self.state, DatabaseState):
            self._execute("DELETE FROM run_file", "DELETE FROM run_folder")

    def lose_rows(self, run: Run) -> None:
        """Remove the rows of the run's plan, and nothing else of it."""
        (self.state.plans.folder(run) / "plan" / "plan.parquet").unlink()
        if isinstance(self.state, DatabaseState):
            self._execute("DELETE FROM run_file WHERE name = 'plan/plan.parquet'")

    def _execute(self, *statements: str) -> None:
        with psycopg.connect(self.state.where, autocommit=True) as db:
            for statement in statements:
                db.execute(statement)


@contextmanager
def run_history(where: Path | str) -> Iterator[RunHistory]:
    """An empty history in a folder or a database."""
    history = RunHistory()
    clock = mock.patch("sender.state.sqlite.ledger.wall_clock_ms", return_value=lambda: history.now_ms)
    with clock, open_state(where) as state:
        if isinstance(state.ledger, PostgresLedger):
            state.ledger._clock = lambda: history.now_ms
        history.folder, history.state = Path(where), state
        yield history
