"""Who would get a campaign twice: a plan and an unfinished run, compared with whom earlier runs have reached."""

from __future__ import annotations

from datetime import UTC, datetime

from sender.core.errors import PlanError, RunComplete
from sender.plan.plan import Plan
from sender.state.contacts import Edition, find_reached, find_unsettled
from sender.state.ledger import Run, RunKind
from sender.state.state import State


def refuse_repeated(state: State, plan: Plan, kind: RunKind) -> None:
    """Raise RunComplete when somebody in the plan has had this campaign in this edition, or may have had it."""
    if kind is RunKind.REHEARSAL:  # reaches nobody
        return
    manifest = plan.manifest
    people = plan.recipients()
    repeated = find_reached(state, Edition.of(manifest, kind), people)
    if repeated.is_empty():
        return
    last = repeated.sort("at_ms").row(-1, named=True)
    created = datetime.fromtimestamp(last["at_ms"] / 1000, UTC)
    new = people.len() - repeated.height
    raise RunComplete(
        f"{repeated.height:,} of {people.len():,} people {'has' if repeated.height == 1 else 'have'} had"
        f" {manifest.campaign}, or may have had it (run {last['run_id']} of {created:%Y-%m-%d %H:%M} UTC);"
        f" {new:,} {'is' if new == 1 else 'are'} new",
        fix="--only-new sends to the people who have not had it; --again sends to everybody once more; for a campaign"
        " that is sent again and again, `edition:` in the campaign names a new edition",
    )


def count_repeated(state: State, plan: Plan, kind: RunKind) -> int:
    """Return how many people of the plan have had this campaign in this edition, or may have had it."""
    if not state.runs_of(plan.manifest.campaign, kind):
        return 0
    try:
        return find_reached(state, Edition.of(plan.manifest, kind), plan.recipients()).height
    except (PlanError, RunComplete):  # a person has chosen to send all the same
        return 0


def count_overtaken(state: State, run: Run) -> int:
    """Return how many people that the run has yet to reach have got the message from a later run of the campaign."""
    manifest = state.plans.manifest(run)
    if manifest is None or run.kind is RunKind.REHEARSAL:
        return 0
    return find_reached(state, Edition.of(manifest, run.kind), find_unsettled(state, run), after=run).height


def explain_overtaken(run: Run, people: int) -> RunComplete:
    """Return the error for a run that must not be resumed, because `people` have had the message since."""
    have = "person has" if people == 1 else "people have"
    return RunComplete(
        f"run {run.run_id} of {run.campaign} is unfinished, but {people:,} {have} had the message from a later run",
        fix="leave out --resume and add --only-new: it sends to the people who have not had it",
    )
