"""Plans of some of a run's stored messages: which are held back by now, and what the others add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from sender.core.experiment import Experiment, count_variants
from sender.core.outcomes import SubmissionState
from sender.plan import message_fields
from sender.plan.manifest import Manifest
from sender.plan.message_fields import SERVICE_FIELDS
from sender.plan.plan import Plan
from sender.planning import costs
from sender.planning.audience import mark_suppressed
from sender.state.ledger import Run
from sender.state.state import State
from sender.suppression.live_check import SendContext, apply_suppression
from sender.suppression.number_files import NumberFile, files_of
from sender.suppression.number_match import People
from sender.suppression.suppression_list import SuppressionList

_SETTLED = [state for state in SubmissionState if state is not SubmissionState.PENDING]


def remaining_plan(state: State, run: Run) -> Plan:
    """Return the messages of `run` that are still to be sent, as a plan to look at.

    Its texts are those the run began with. Whom the suppression list or the campaign's suppression files hold back by
    now is skipped. Messages that are unknown, or in flight in another process, are not among them. Raises StateError
    where the run's plan is gone.
    """
    plan = state.plan(run)
    settled = state.ledger.journal(run.run_id, states=_SETTLED)["seq"]
    held, mark = hold_back(state, run, plan, read_rows(plan, ~pl.col("seq").is_in(settled.implode())))
    frame = number_messages(held)
    return Plan(recount(plan.manifest, frame, mark), frame)


def read_rows(plan: Plan, which: pl.Expr) -> pl.DataFrame:
    """Return the messages of the plan for which `which` is true, in file order, without those of erased people."""
    known = pl.col("seq").is_not_null() & pl.col("to").is_not_null()
    return plan.scan().filter(which & known).sort("row_number").collect()


def hold_back(state: State, run: Run, plan: Plan, chosen: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Return `chosen`, messages of the run's plan, with those skipped that its suppressions hold back now.

    The text is the suppression list's mark: entries up to it need not be looked at again.
    """
    before = plan.manifest
    with SuppressionList.open(state.where, read_only=True) as suppressions:
        mark = suppressions.mark()
        skip_dead = bool((before.suppression or {}).get("skip_dead"))
        sending = SendContext(before.campaign, before.provider, before.service, run.simulated, skip_dead)
        held = apply_suppression(chosen, suppressions, sending, own_service=message_fields.row_service(SERVICE_FIELDS))
    return _mark_listed(held, files_of(plan, run.source)), mark


def number_messages(held: pl.DataFrame) -> pl.DataFrame:
    """Return `held` with `seq` anew, null for the rows that are skipped, which cost nothing."""
    live = pl.col("reason").is_null()
    return held.with_columns(
        seq=pl.when(live).then(live.cum_sum() - 1).cast(pl.UInt32),
        cost_micros=pl.when(live).then("cost_micros"),
    )


def recount(before: Manifest, frame: pl.DataFrame, mark: str) -> Manifest:
    """Return the manifest `before` with the totals of `frame`, whose rows are some of its plan's."""
    sent = frame.filter(pl.col("reason").is_null())
    skip_dead = bool((before.suppression or {}).get("skip_dead"))
    return replace(
        before,
        rows=frame.height,
        messages=sent.height,
        blank_rows=0,
        skipped=_counted(frame["reason"].drop_nulls()),
        segments=int(sent["segments"].sum()),
        segment_counts=_counted(sent["segments"]),
        encodings=_counted(sent["encoding"].drop_nulls()),
        mms=sent.filter(message_fields.is_mms(before.fields)).height,
        replacements=(),
        notes=(),
        blame={},
        lint=(),
        cost=_cost(sent, before.cost),
        feasibility={"senders": before.feasibility.get("senders", {})},
        suppression={"mark": mark, "skip_dead": skip_dead},
        experiment=_recount_variants(before.experiment, sent),
        routes=tuple({**route, "cost": None} for route in before.routes),  # whose prices are not known any more
        waves=(),
        start=None,
        parquet_sha256=None,
    )


def _mark_listed(frame: pl.DataFrame, files: Iterable[NumberFile]) -> pl.DataFrame:
    """`frame` with the rows skipped whose number is in one of the suppression files as they are now."""
    names = pl.repeat(None, frame.height, dtype=pl.String, eager=True)
    people = People(frame.select(pl.when(pl.col("reason").is_null()).then("to")).to_series())
    for file in files:
        names = names.set(people.match(file.read()).held & names.is_null(), file.path.name)
    return mark_suppressed(frame, names)


def _cost(sent: pl.DataFrame, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What `sent` costs at the prices of the first plan."""
    return None if before is None else {**before, **costs.sum_costs(sent)}


def _recount_variants(before: Mapping[str, Any] | None, sent: pl.DataFrame) -> dict[str, Any] | None:
    """Return the manifest's `experiment`, each variant with what it has of `sent`."""
    experiment = Experiment.from_manifest(before)
    if before is None or experiment is None:
        return None
    return {**before, "variants": experiment.to_manifest(count_variants(sent.lazy()))["variants"]}


def _counted(column: pl.Series) -> dict[str, int]:
    counts = column.value_counts(name="n").sort(column.name)
    return {str(value): int(count) for value, count in counts.iter_rows()}
