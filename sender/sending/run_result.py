"""What a call of `send` did, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from sender.core.errors import GuardStop, SenderError, StateError
from sender.delivery.poll import RefreshResult
from sender.delivery.reconcile import ReconcileResult
from sender.plan.plan import Plan
from sender.plan.waves import HeldMessages
from sender.reports.run_results import run_results
from sender.reports.summary import Summary
from sender.state.ledger import Run
from sender.state.open import open_state


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a call of `send` did. `stopped` is the guard or the failure of the state that stopped it, or None.

    `refreshed` is what waiting for delivery found, or None without a wait. `resent` is how many unknown messages were
    sent again on request. `taken_out` are the numbers of a pool that the provider refused, and why: the others carried
    their messages. `held` is what waits for its window. `is_handed_over` says that other
    machines go on with the run.
    """

    run: Run
    plan: Plan
    summary: Summary
    results_path: Path
    state_dir: Path | str
    reconciled: ReconcileResult
    limit: int | None
    refreshed: RefreshResult | None = None
    interrupted: bool = False
    stopped: SenderError | None = None
    resent: int = 0
    taken_out: Mapping[str, str] = field(default_factory=dict)
    held: tuple[HeldMessages, ...] = ()
    is_handed_over: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code of `sender send`: 0 all accepted, 1 some rejected, canceled or failed, 3 stopped by a guard,
        4 some unknown, 5 the state could not be written, 130 unfinished or paused."""
        if isinstance(self.stopped, StateError):
            return StateError.exit_code
        if self.stopped is not None:
            return GuardStop.exit_code  # whatever stopped it: messages may have been sent by then
        if self.summary.pending and (self.interrupted or self.limit is None):
            return 130
        return self.summary.exit_code

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the keys of `send --json`."""
        run, summary = self.run, self.summary
        return {
            "run_id": run.run_id,
            "campaign": run.campaign,
            "kind": run.kind.value,
            "results": str(self.results_path),
            "exit_code": self.exit_code,
            "stopped": self.stopped.sentence() if self.stopped else None,
            "interrupted": self.interrupted,
            "resent": self.resent,
            "taken_out": dict(self.taken_out),
            "held": [asdict(group) for group in self.held],
            "canary": None if run.canary is None else run.canary.to_dict(),
            "law": summary.totals_line(),
            **json.loads(json.dumps(asdict(summary), default=str)),
        }

    def results(self, *, with_body: bool = False) -> pl.DataFrame:
        """Every input row with its outcome as of now, in the columns of `sender.reports.results.results_frame`.

        With `with_body` the text of each message is in one more column, the last.
        """
        with open_state(self.state_dir, read_only=True) as state:
            return run_results(state, self.run, with_body=with_body)
