"""The run of one time of a schedule, recognised by its edition."""

from __future__ import annotations

from sender.state.ledger import RunKind
from sender.state.state import State


def find_tick_run(state: State, campaign: str, edition: str, kind: RunKind) -> tuple[str | None, int | None]:
    """Return the id of the newest run of the campaign in that edition, and its exit code if it was sent to its end.

    Both are None without such a run: one of another kind, such as a rehearsal, has reached nobody. The exit code is 4
    where messages are unknown, 1 where some were rejected or canceled, else 0.
    """
    for run in reversed(state.runs_of(campaign, kind)):
        if run.retry_of is not None:
            continue
        manifest = state.plans.manifest(run)
        if manifest is None or manifest.edition != edition:
            continue
        counts = state.ledger.counts(run.run_id)
        if run.closed_at_ms is None and counts.pending + counts.intent:
            return run.run_id, None
        if counts.unknown + counts.intent:
            return run.run_id, 4
        return run.run_id, 1 if counts.rejected + counts.canceled else 0
    return None, None
