"""Whom a campaign has reached, in all of its runs: their plans hold the numbers, the ledger what happened to each.

A number is kept in clear, as it is in the plan beside it: a keyed hash whose key lies in the same folder would hide
nothing. Reads; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from sender.core.errors import RunComplete
from sender.core.outcomes import SubmissionState
from sender.plan.manifest import Manifest
from sender.state.ledger import Run, RunKind
from sender.state.state import State

_SETTLED = (SubmissionState.ACCEPTED, SubmissionState.REJECTED)
CONTACTS_SCHEMA = {"to": pl.String(), "run_id": pl.String(), "at_ms": pl.Int64()}


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition of one campaign: what nobody gets twice. A simulation knows only simulations of its own dialect."""

    campaign: str
    kind: RunKind
    name: str = ""
    dialect: str | None = None

    @classmethod
    def of(cls, manifest: Manifest, kind: RunKind) -> Edition:
        """The edition that a plan is of, in runs of that kind."""
        return cls(manifest.campaign, kind, manifest.edition, None if kind is RunKind.LIVE else manifest.dialect)

    def covers(self, manifest: Manifest | None) -> bool:
        """Whether a run of the campaign and kind is of this edition. One whose plan is gone may be."""
        return manifest is None or (manifest.edition == self.name and self.dialect in (None, manifest.dialect))


def find_reached(state: State, edition: Edition, *, after: Run | None = None) -> pl.DataFrame:
    """The people whom the edition has reached, as CONTACTS_SCHEMA: one row a number (`to`).

    Reached means accepted, unknown or under way: a person who may have the message counts as one who has it. Each has
    the newest run that reached it and the time that run was created (milliseconds UTC). With `after` only later runs
    count. Raises RunComplete when the plan of a run that reached somebody is gone, and PlanError when it is damaged:
    who has the message is unknown then.
    """
    runs = state.runs_of(edition.campaign, edition.kind)
    if after is not None:
        runs = runs[[run.run_id for run in runs].index(after.run_id) + 1 :]
    frames = [_find_reached_by(state, run) for run in runs if edition.covers(state.plans.manifest(run))]
    contacts = pl.concat(frames) if frames else pl.DataFrame(schema=CONTACTS_SCHEMA)
    return contacts.unique("to", keep="last", maintain_order=True)


def find_unsettled(state: State, run: Run) -> pl.Series:
    """The numbers (String, distinct) of the run's messages that may still be sent: pending, unknown or under way."""
    messages = state.plan(run).scan().filter(pl.col("seq").is_not_null())
    settled = state.ledger.journal(run.run_id, states=_SETTLED)["seq"]
    return messages.filter(~pl.col("seq").is_in(settled.implode())).select(pl.col("to").unique()).collect()["to"]


def _find_reached_by(state: State, run: Run) -> pl.DataFrame:
    seqs = state.ledger.reached(run.run_id)
    if seqs.is_empty():
        return pl.DataFrame(schema=CONTACTS_SCHEMA)
    if state.plans.manifest(run) is None:
        raise RunComplete(
            f"the plan of run {run.run_id} is gone: who has had {run.campaign} is unknown",
            fix="restore its folder from a backup; --again sends to everybody once more",
        )
    messages = state.plan(run).scan().filter(pl.col("seq").is_in(seqs.implode()))
    return messages.select(
        pl.col("to").unique(), run_id=pl.lit(run.run_id), at_ms=pl.lit(run.created_at_ms, pl.Int64())
    ).collect()
