"""Removes the plans and results of old runs. What stays is who was reached, as keyed hashes, and the runs' totals."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sender.core.errors import InputError, PlanError, RunLocked
from sender.core.lazy_modules import pl
from sender.state.files.failures import writing_explained
from sender.state.ledger import Run
from sender.state.people import ERASED_SCHEMA
from sender.state.state import State

_MESSAGES_AT_ONCE = 250_000  # whose numbers are hashed


@dataclass(frozen=True, slots=True)
class PrunedRun:
    """A run that was pruned, or would be: `people` were reached, whose hashes stay; `freed` is bytes."""

    run_id: str
    campaign: str
    people: int
    freed: int


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run that is old enough and stays, and `why`."""

    run_id: str
    campaign: str
    why: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` did, or with `dry_run` would do: the runs, the written plans (folders), and old runs that stay.

    `replies` counts those that were heard longer ago, `facts` what lookups and answers had said of numbers by then.
    """

    runs: tuple[PrunedRun, ...]
    plans: tuple[Path, ...]
    kept: tuple[KeptRun, ...]
    dry_run: bool
    replies: int = 0
    facts: int = 0

    @property
    def freed(self) -> int:
        """Bytes of the runs' files."""
        return sum(run.freed for run in self.runs)


def prune(state: State, *, older_than_s: float, dry_run: bool = False) -> Pruned:
    """Remove plans, texts and results of the runs that ended more than `older_than_s` seconds ago.

    Hashes of the people whom they reached stay, so that no campaign reaches anybody again without `again`. An
    unfinished run stays, one with unknown messages, and one that is being sent. Plans written into the state that are
    older go too, and replies that were heard before. With `dry_run` nothing is changed. Raises InputError and
    StateError.
    """
    if older_than_s < 0:
        raise InputError("older_than_s is negative", fix="older_than_s=90 * 86_400 is 90 days")
    before_ms = state.ledger.now_ms() - round(older_than_s * 1000)
    with writing_explained(state.folder):
        return _prune(state, before_ms, dry_run=dry_run)


def _prune(state: State, before_ms: int, *, dry_run: bool) -> Pruned:
    runs: list[PrunedRun] = []
    kept: list[KeptRun] = []
    for run in state.ledger.runs():
        if run.created_at_ms >= before_ms or _is_done(state, run):
            continue
        why = _reason_to_keep(state, run, before_ms)
        try:
            if why is None:
                runs.append(_prune_run(state, run, dry_run=dry_run))
        except (RunLocked, PlanError) as error:
            why = error.what
        if why is not None:
            kept.append(KeptRun(run.run_id, run.campaign, why))
    facts = _drop_facts(state, before_ms, dry_run=dry_run)
    plans = state.plans.written(before_ms=before_ms)
    if not dry_run:
        for folder in plans:
            state.plans.remove_written(folder)
    with closing(state.open_replies()) as store:
        replies = store.prune(before_ms, dry_run=dry_run)
    return Pruned(tuple(runs), tuple(plans), tuple(kept), dry_run, replies, facts)


def _drop_facts(state: State, before_ms: int, *, dry_run: bool) -> int:
    """Drop what lookups and answers said of numbers before then; return of how many facts."""
    with closing(state.open_numbers(create=False)) as known:
        if dry_run:
            return sum(facts.at < before_ms for facts in known.everything())
        dropped = known.drop_before(before_ms)
        if dropped:
            known.compact()
    return dropped


def _is_done(state: State, run: Run) -> bool:
    return state.plans.pruned_at(run) is not None and not state.plans.size(run)


def _reason_to_keep(state: State, run: Run, before_ms: int) -> str | None:
    counts = state.ledger.counts(run.run_id)
    if counts.pending + counts.intent:
        return f"unfinished: {counts.pending + counts.intent:,} pending"
    if counts.unknown:
        return f"{counts.unknown:,} unknown: `sender reconcile {run.run_id}` looks them up"
    if run.finished_at_ms is not None and run.finished_at_ms >= before_ms:
        return "it ended later than that"
    return None


def _prune_run(state: State, run: Run, *, dry_run: bool) -> PrunedRun:
    """Raises RunLocked while it is being sent, and PlanError where the plan is damaged."""
    freed = state.plans.size(run)
    if dry_run:
        people = state.ledger.reached(run.run_id).len()
        return PrunedRun(run.run_id, run.campaign, people, freed)
    with state.locks.hold_campaign(run.campaign, run.kind):
        if state.plans.pruned_at(run) is None and state.plans.manifest(run) is not None:
            state.people.create()
            state.plans.note_erased(run, _reached(state, run))
        people = state.plans.erased(run)["seq"].drop_nulls().len()
        state.ledger.erase_sentences(run.run_id)
        state.plans.prune(run)
    return PrunedRun(run.run_id, run.campaign, people, freed)


def _reached(state: State, run: Run) -> pl.DataFrame:
    """Whom the run has reached, as ERASED_SCHEMA, but for those who were erased before."""
    reached = state.ledger.reached(run.run_id)
    scan = state.plan(run).scan().filter(pl.col("seq").is_in(reached.implode()) & pl.col("to").is_not_null())
    people = scan.select("row_number", "seq", "to").collect()
    hashed = [
        part.select("row_number", "seq").with_columns(state.people.hash_all(part["to"]))
        for part in people.iter_slices(_MESSAGES_AT_ONCE)
    ]
    return pl.concat(hashed) if hashed else pl.DataFrame(schema=ERASED_SCHEMA)
