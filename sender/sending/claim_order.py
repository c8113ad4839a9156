"""The order in which a run's messages are claimed, and the waves in which they may leave, computed when it starts.

What must leave first comes first: the canary, then messages whose window closes sooner, then those whose window opens
sooner, then the order of the file. The run's own copy of the plan is numbered in that order, so `seq` is the order of
the claims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl

from sender.plan.canary_order import choose_canary, put_canary_first, renumber
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.plan.waves import Interval, Wave, urgency
from sender.planning.sending_times import SendingTimes, Times
from sender.state.ledger import RunKind

WAITING_KINDS = (RunKind.LIVE, RunKind.SANDBOX)  # a rehearsal and a test wait for no window


def arrange_run(plan: Plan, now_ms: int, *, waits: bool = True, first: int | None = None) -> Plan:
    """Return the plan as `arrange` does, for a run that starts at `now_ms`; unchanged where nothing is held back.

    Without `waits` its windows hold nothing back, and only its canary goes first.
    """
    times = SendingTimes(plan.manifest.window)
    if not (times and waits):
        return put_canary_first(plan, limit=first)
    return arrange(plan, lambda zone, places: times.of(zone, places, now_ms), now_ms, first=first)


def arrange(
    plan: Plan, times_of: Callable[[str | None, str | None], Times], now_ms: int, *, first: int | None = None
) -> Plan:
    """Return the plan with its messages numbered in the order of the claims, and with the run's waves.

    `times_of` gives the times of a recipient with these zones and places (columns of the plan). `first` is how many
    messages of the file come before all others, in any case; the campaign's canary comes before the others. The plan's
    hash and identity stay what they are.
    """
    keys = ["zone", "places"]
    messages = plan.scan().filter(pl.col("seq").is_not_null()).select("seq", *keys).collect()
    groups = messages.select(keys).unique(maintain_order=True)
    times = [times_of(zone, places) for zone, places in groups.iter_rows()]
    kinds = list(dict.fromkeys(each.intervals for each in times))  # the waves' intervals; groups may share them
    kinds.sort(key=urgency)
    opens = [_opens_ms(intervals, now_ms) for intervals in kinds]
    numbers = [kinds.index(each.intervals) for each in times]
    groups = groups.with_columns(
        _kind=pl.Series(numbers, dtype=pl.UInt32), _opens=pl.Series([opens[n] for n in numbers], dtype=pl.Int64)
    )
    order = (
        messages.join(groups, on=keys, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(_later=pl.col("seq") >= (len(messages) if first is None else first))
        .sort("_later", "_kind", "seq")
    )
    order, manifest = _mark_canary(order, plan, first)
    order = order.sort("_later", "_rest", maintain_order=True)
    by_kind = _zones_and_rules(groups, times)
    waves = tuple(_waves(order, kinds, by_kind))
    return _number(plan, replace(manifest, waves=tuple(wave.to_manifest() for wave in waves)), order)


def _mark_canary(order: pl.DataFrame, plan: Plan, first: int | None) -> tuple[pl.DataFrame, Manifest]:
    """Add `_rest`, whether a message is not of the canary; the manifest has the canary's size."""
    canary = plan.manifest.canary
    if canary is None:
        return order.with_columns(_rest=pl.lit(value=True)), plan.manifest
    chosen = choose_canary(order["_opens"], first=canary["first"], limit=first)
    size = int(chosen.sum())
    return order.with_columns(_rest=~chosen), replace(plan.manifest, canary={**canary, "size": size})


def _number(plan: Plan, manifest: Manifest, order: pl.DataFrame) -> Plan:
    """Return the plan with that manifest, its messages numbered as they are ordered."""
    if order["seq"].is_sorted():
        return plan.with_manifest(manifest)
    return Plan(manifest, renumber(plan, order.select("seq", _place=pl.int_range(pl.len(), dtype=pl.UInt32))))


def _opens_ms(intervals: Sequence[Interval], now_ms: int) -> int | None:
    """When a message with these intervals may leave first; None where it never may."""
    return next((max(start, now_ms) for start, end in intervals if end > now_ms), None)


def _zones_and_rules(groups: pl.DataFrame, times: Sequence[Times]) -> dict[int, tuple[set[str], set[str]]]:
    by_kind: dict[int, tuple[set[str], set[str]]] = {}
    for (zone, kind), each in zip(groups.select("zone", "_kind").iter_rows(), times, strict=True):
        zones, names = by_kind.setdefault(kind, (set(), set()))
        zones.update(zone.split("|") if zone else ())
        names.update(each.rules)
    return by_kind


def _waves(
    order: pl.DataFrame, kinds: Sequence[tuple[Interval, ...]], by_kind: dict[int, tuple[set[str], set[str]]]
) -> list[Wave]:
    waves, start = [], 0
    runs = order.select(pl.struct("_later", "_kind").rle().struct.unnest())
    for length, value in runs.iter_rows():
        zones, rules = by_kind[value["_kind"]]
        waves.append(Wave(start, start + length, kinds[value["_kind"]], tuple(sorted(zones)), tuple(sorted(rules))))
        start += length
    return waves
