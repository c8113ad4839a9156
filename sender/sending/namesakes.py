"""A campaign is known by its name: two files with one name, and nobody in common, are probably two campaigns.

Whoever sends the second one under the first one's name would find it refused, resumed or retried as the other. So a
start asks once; the run then records the file, and that is how it is remembered.
"""

from __future__ import annotations

from pathlib import Path

from sender.core.errors import OtherCampaign
from sender.core.outcomes import SkipReason
from sender.plan.manifest import MANIFEST_FILE
from sender.plan.plan import Plan
from sender.state.ledger import Run, RunKind
from sender.state.runs import resolve_path
from sender.state.state import State


def refuse_namesake(state: State, plan: Plan, kind: RunKind, source: str | Path | None) -> None:
    """Raise OtherCampaign where a new live run would take the name of a campaign of another file and other people."""
    run = find_namesake(state, plan, kind, source)
    if run is not None:
        raise OtherCampaign(
            f"{run.campaign} is the name of another campaign in this state: run {run.run_id} sent {run.source} to other"
            " people",
            fix="--name gives this campaign another name; --same-campaign (same_campaign=True) confirms, once, that it"
            " is the same campaign",
        )


def find_namesake(state: State, plan: Plan, kind: RunKind, source: str | Path | None) -> Run | None:
    """Return the newest run of another file that has this name and nobody in common with `plan`; None without one.

    A written plan is no file of a campaign: its folder is another one for each plan.
    """
    if kind is not RunKind.LIVE or source is None or plan.manifest.retry_of or _is_plan(Path(source)):
        return None
    runs = [run for run in state.runs_of(plan.manifest.campaign, kind) if run.retry_of is None]
    known = [run for run in runs if run.source is not None and not _is_plan(Path(run.source))]
    if plan.manifest.skipped.get(SkipReason.ALREADY_SENT):  # some people are in common
        return None
    if not known or any(run.source == resolve_path(source) for run in known):
        return None
    people = plan.recipients()
    for run in reversed(known):
        if state.plans.manifest(run) is None or people.is_in(state.plan(run).recipients().implode()).any():
            return None
    return known[-1]


def _is_plan(path: Path) -> bool:
    return path.parent.name == "plans" or (path / MANIFEST_FILE).is_file()
