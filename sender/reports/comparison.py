"""An experiment in figures: what the people of each group did, how they differ, and whether that may be chance.

Everybody who was to get a message counts, whether it arrived or not, and so does everybody who was held out: groups
that differ by nothing but the draw. Nothing is decided before the planned number of people and the planned time, so
that looking often finds no winner that is none. Reads the frames it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

import polars as pl

from sender.core.experiment import HOLDOUT, MESSAGES, UNEVEN, Experiment, chance_of_split
from sender.core.outcomes import SkipReason, Status, SubmissionState
from sender.core.proportions import (
    CONFIDENCE,
    Successes,
    chance_of_difference,
    difference_interval,
    wilson_interval,
)
from sender.plan.plan import Plan
from sender.state.ledger import Run
from sender.state.message_status import join_journal

OPT_OUT = "opt-out"  # an event that the receiver hears


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """A variant, the holdout, or everybody with a message. `interval` is of the rate of success, at 95 %."""

    name: str
    people: int
    accepted: int
    delivered: int
    opt_outs: int
    successes: int
    value: float
    interval: tuple[float, float]

    @property
    def rate(self) -> float:
        """Successes of the people, from 0 to 1."""
        return Successes(self.successes, self.people).rate


@dataclass(frozen=True, slots=True)
class Difference:
    """Two groups compared: the rate of `second` less that of `first`, its interval, and the chance if there is none.

    The interval is as wide as the number of comparisons asks for. `winner` is the better group where it is decided.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float]
    chance: float
    winner: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The groups of an experiment. `undecided` says why nothing is decided yet, or never will be; None: it is.

    `event` is what counts as success (None: any but an opt-out), `ends_at` when outcomes stop counting. `split_chance`
    is the probability of a split as uneven as this.
    """

    key: str
    event: str | None
    groups: tuple[GroupOutcome, ...]
    differences: tuple[Difference, ...]
    planned_size: int | None
    ends_at: datetime | None
    split_chance: float
    undecided: str | None


def compare_groups(
    plan: Plan, journal: pl.DataFrame, run: Run, outcomes: pl.DataFrame, opt_outs: pl.DataFrame, *, now_ms: int
) -> Comparison | None:
    """Return the comparison of a run's groups; None for a run without an experiment.

    `outcomes` are as OUTCOMES_SCHEMA; `opt_outs` has `to` and `at_ms` of what people wrote or providers said.
    """
    experiment = Experiment.from_manifest(plan.manifest.experiment)
    if experiment is None or len(experiment.groups) < 2:
        return None
    people = _people(plan, journal)
    last = journal["intent_at"].max()
    ends_ms = None if not isinstance(last, datetime) else round(last.timestamp() * 1000 + experiment.wait_s * 1000)
    people = _add_events(people, run, outcomes, opt_outs, experiment.event, ends_ms)
    groups = tuple(_measure(people, name) for name in experiment.groups)
    counts = {group.name: group.people for group in groups if group.name not in (HOLDOUT, MESSAGES)}
    split = chance_of_split(counts, experiment.weights) if counts and experiment.only is None else 1.0
    undecided = _why_undecided(experiment, groups, journal, plan, ends_ms=ends_ms, now_ms=now_ms)
    return Comparison(
        key=experiment.key,
        event=experiment.event,
        groups=groups,
        differences=tuple(_compare(experiment, pair, decided=undecided is None) for pair in combinations(groups, 2)),
        planned_size=experiment.planned_size,
        ends_at=None if ends_ms is None else datetime.fromtimestamp(ends_ms / 1000, UTC),
        split_chance=split,
        undecided=undecided,
    )


def _people(plan: Plan, journal: pl.DataFrame) -> pl.DataFrame:
    """Return `row_number`, `to`, `group`, `accepted`, `delivered` of everybody who was in the draw."""
    held_out = pl.col("reason") == SkipReason.HOLDOUT.value
    rows = plan.scan().filter(pl.col("seq").is_not_null() | held_out)
    group = pl.when(held_out).then(pl.lit(HOLDOUT)).otherwise(pl.coalesce("variant", pl.lit(MESSAGES)))
    frame = rows.select("row_number", "seq", "to", group=group).collect()
    return join_journal(frame, journal.select("seq", "state", "status")).select(
        "row_number",
        "to",
        "group",
        accepted=(pl.col("_state") == SubmissionState.ACCEPTED.value).fill_null(value=False),
        delivered=(pl.col("_status") == Status.DELIVERED.value).fill_null(value=False),
    )


def _add_events(
    people: pl.DataFrame,
    run: Run,
    outcomes: pl.DataFrame,
    opt_outs: pl.DataFrame,
    event: str | None,
    ends_ms: int | None,
) -> pl.DataFrame:
    """Return `people` with `success` (each counts once), `value` and `opt_out`."""
    in_time = pl.col("at_ms").is_null() | (pl.lit(ends_ms is None) | (pl.col("at_ms") <= (ends_ms or 0)))
    counted = outcomes.filter(in_time)
    counted = counted.filter(pl.col("event") == event if event is not None else pl.col("event") != OPT_OUT)
    successes = counted.group_by("row_number").agg(value=pl.col("value").sum(), success=pl.lit(value=True))
    told = outcomes.filter(in_time & (pl.col("event") == OPT_OUT)).select("row_number").unique()
    heard = opt_outs.filter((pl.col("at_ms") >= run.created_at_ms) & in_time).select("to").unique()
    return (
        people.join(successes, on="row_number", how="left", maintain_order="left")
        .join(heard.with_columns(_heard=pl.lit(value=True)), on="to", how="left", maintain_order="left")
        .join(told.with_columns(_told=pl.lit(value=True)), on="row_number", how="left", maintain_order="left")
        .with_columns(
            pl.col("success").fill_null(value=False),
            pl.col("value").fill_null(0.0),
            opt_out=pl.coalesce("_heard", "_told", pl.lit(value=False)),
        )
    )


def _measure(people: pl.DataFrame, name: str) -> GroupOutcome:
    own = people.filter(group=name)
    successes = int(own["success"].sum())
    return GroupOutcome(
        name=name,
        people=own.height,
        accepted=int(own["accepted"].sum()),
        delivered=int(own["delivered"].sum()),
        opt_outs=int(own["opt_out"].sum()),
        successes=successes,
        value=float(own["value"].sum()),
        interval=wilson_interval(Successes(successes, own.height)),
    )


def _why_undecided(
    experiment: Experiment,
    groups: tuple[GroupOutcome, ...],
    journal: pl.DataFrame,
    plan: Plan,
    *,
    ends_ms: int | None,
    now_ms: int,
) -> str | None:
    if experiment.only is not None:
        evidence = (plan.manifest.experiment or {}).get("evidence")
        why = f"; chosen after run {evidence['run_id']}: {evidence['lines'][-1]}" if evidence else ""
        return f"everybody got `{experiment.only}` in this run{why}"
    if experiment.planned_size is None:
        return "no size was planned (`experiment.base` and `experiment.lift`), so no winner is called"
    done = journal.filter(~pl.col("state").is_in([SubmissionState.PENDING.value, SubmissionState.INTENT.value])).height
    if done < plan.manifest.messages or ends_ms is None:
        return "not enough yet: the run is not finished"
    small = min(groups, key=lambda group: group.people)
    if small.people < experiment.planned_size:
        return f"not enough: {small.people:,} people in {small.name}, and {experiment.planned_size:,} were planned"
    if now_ms < ends_ms:
        return f"not yet: outcomes count until {datetime.fromtimestamp(ends_ms / 1000, UTC):%Y-%m-%d %H:%M UTC}"
    return None


def _compare(experiment: Experiment, pair: tuple[GroupOutcome, GroupOutcome], *, decided: bool) -> Difference:
    first, second = pair
    a, b = Successes(first.successes, first.people), Successes(second.successes, second.people)
    alpha = (1 - CONFIDENCE) / experiment.comparisons  # Bonferroni
    chance = chance_of_difference(a, b)
    better = second.name if b.rate > a.rate else first.name
    return Difference(
        first=first.name,
        second=second.name,
        difference=b.rate - a.rate,
        interval=difference_interval(a, b, confidence=1 - alpha),
        chance=chance,
        winner=better if decided and chance <= alpha else None,
    )


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield sentences for a person: each difference, then what is decided."""
    for each in comparison.differences:
        low, high = (f"{100 * end:+.2f}" for end in each.interval)
        chance = f"a difference that chance alone makes in {_percent(each.chance)} of such tests"
        yield (
            f"{each.second} less {each.first}: {100 * each.difference:+.2f} points ({low} to {high}),"
            f" {chance if each.difference else 'no difference'}"
        )
    if comparison.split_chance < UNEVEN:
        yield "the groups are not split by their weights: something else than the draw decided who is in which"
    if comparison.undecided is not None:
        yield comparison.undecided
        return
    winners = [f"{each.winner} is better than {_other(each)}" for each in comparison.differences if each.winner]
    yield "; ".join(winners) or "no difference was found that chance does not explain"


def _other(each: Difference) -> str:
    return each.first if each.winner == each.second else each.second


def _percent(chance: float) -> str:
    if chance > 0.999:
        return "over 99.9 %"
    return "under 0.1 %" if chance < 0.001 else f"{100 * chance:.1f} %"
