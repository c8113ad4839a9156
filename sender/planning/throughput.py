"""How fast a plan can be sent, how long that takes, and what bounds it; known before the first message leaves.

Limits stack: the account's (or the campaign's own rate) and those of single numbers. A pool is done when its busiest
number is, so the number whose share takes longest decides. Reads no clock and never touches the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from sender import providers
from sender.campaign.values import Rate
from sender.plan import message_fields, sender_pool
from sender.plan.pace import Pace, Queue
from sender.planning.compiled import CompiledCampaign
from sender.providers.base import DocumentedRate

DAY_S = 86_400
_SPANS = ((1, "s"), (60, "min"), (3600, "h"))
_MOST_SENDERS = 100  # listed in a manifest
_SANDBOX_PER_S = 50.0  # what `rate: auto` means in the sandbox


def estimate_throughput(
    compiled: CompiledCampaign, messages: pl.LazyFrame, *, mms: bool = False
) -> tuple[Pace, dict[str, Any]]:
    """Return the pace of `messages` (rows of a plan) and the manifest's `feasibility`; `mms`: some go as MMS.

    Its keys: `units` in `unit` and `expected_s` for the whole plan (None: unlimited); `bound_by`, the number that
    decides (None: the pace as a whole); `senders`, for the busiest 100 of several: `messages`, `units`, `share`,
    `per_s` (None: no limit of its own) and `expected_s` at it; `drained_per_s`, where messages have a window and are
    sent faster than the provider is documented to send them on; `warnings`, sentences.
    """
    loads = _sender_loads(messages)
    senders = list(compiled.all_senders) or loads["from_number"].drop_nulls().to_list()
    account, own, source = _rate_limits(compiled, senders, mms=mms)
    unit = _documented_rates(compiled, senders)[0].unit
    load = dict(loads.select("from_number", unit).iter_rows())
    units = sum(load.values())
    if len(own) == max(1, len(senders)):  # every sender has a limit: together they can do no more than their sum
        together = sum(own.values())
        account = together if account is None else min(account, together)
    several = len(senders) > 1
    rates = compiled.rates
    pace = Pace(
        rate=rates.rate.text,
        per_s=account,
        unit=unit,
        concurrency=rates.concurrency,
        retries=rates.retries,
        timeout_s=rates.timeout_s,
        source=source,
        senders=own if several else {},
        transport=rates.transport,
        queue=_queue(compiled, senders, account),
        max_rejected_in_a_row=rates.max_rejected_in_a_row,
        max_failed=rates.max_failed,
    )
    expected_s, bound_by = _expected_duration(units, load, account, pace.senders)
    if pace.queue is not None:
        expected_s = max(expected_s or 0.0, (units - pace.queue.units) / pace.queue.drained_per_s)
    estimate = {
        "unit": unit,
        "units": units,
        "expected_s": expected_s,
        "bound_by": bound_by,
        "senders": _describe_senders(loads, unit, own) if several else {},
    }
    drained_per_s, _ = _drain_rate(compiled, senders)
    if compiled.window and (account is None or account > drained_per_s):  # the rest waits in the provider's queue
        estimate["drained_per_s"] = drained_per_s
    warnings: list[str] = []
    if units:
        warnings = [*_warn_if_long(pace, estimate), *_warn_if_expiring(compiled, messages, loads, estimate)]
    return pace, {**estimate, "warnings": warnings}


def format_rate(per_s: float, unit: str = "") -> str:
    """Return `5/h`, `12.5 segments/min` or `3/s`: over the shortest time in which the figure is at least 1."""
    span, name = next(((span, name) for span, name in _SPANS if per_s * span >= 1), _SPANS[-1])
    return f"{round(per_s * span, 2):g}{f' {unit}' if unit else ''}/{name}"


def _sender_loads(messages: pl.LazyFrame) -> pl.DataFrame:
    """Return `from_number` (null: a service picks it), `messages` and `segments`, the busiest first."""
    return (
        messages.group_by("from_number")
        .agg(messages=pl.len().cast(pl.Int64), segments=pl.col("segments").sum().cast(pl.Int64))
        .sort("segments", "messages", "from_number", descending=[True, True, False])
        .collect(engine="streaming")
    )


def _documented_rates(compiled: CompiledCampaign, senders: Iterable[str]) -> list[DocumentedRate]:
    """Return the provider's documented rate for each kind of sender there is."""
    rates = compiled.capabilities.rates
    kinds = dict.fromkeys(_sender_kind(sender) for sender in senders) or ["service"]
    return [rates.get(kind) or rates["long_code"] for kind in kinds]


def _sender_kind(sender: str) -> str:
    """As `providers.rate_kind`, with `long_code_canada` for a Canadian long code."""
    kind = providers.rate_kind(sender)
    return "long_code_canada" if kind == "long_code" and sender_pool.region_of(sender) == "CA" else kind


def _rate_limits(
    compiled: CompiledCampaign, senders: list[str], *, mms: bool
) -> tuple[float | None, dict[str, float], str | None]:
    """Return the limit of all messages together, those of single numbers, and the source of a documented one."""
    rate = compiled.rates.rate
    documented = rate.auto and not compiled.simulated
    limits = {number: _number_limit(compiled, number, documented=documented) for number in senders}
    own = {number: limit for number, limit in limits.items() if limit is not None}
    if not rate.auto:
        return rate.per_s, own, None
    if compiled.simulated:
        return _SANDBOX_PER_S, own, "the sandbox's own default"
    capabilities = compiled.capabilities
    rates = _documented_rates(compiled, senders)
    account_rates = [rate for rate in rates if not rate.per_sender]
    if len(account_rates) < len(rates) and capabilities.account_rate is not None:
        account_rates.append(capabilities.account_rate)
    if mms and capabilities.mms_rate is not None:  # a mixed list goes at the rate of its slowest part
        account_rates.append(capabilities.mms_rate)
        rates.append(capabilities.mms_rate)
    slowest = min(rates, key=lambda rate: rate.per_s)  # and so does a mixed pool
    return min((rate.per_s for rate in account_rates), default=None), own, slowest.source


def _number_limit(compiled: CompiledCampaign, number: str, *, documented: bool) -> float | None:
    """Return a number's own limit: the campaign's, or else, with `documented`, the provider's."""
    rate: Rate | None = compiled.rates.by_number.get(number)
    if rate is not None and not rate.auto:
        return rate.per_s
    if rate is None and not documented:
        return None
    (provider_rate,) = _documented_rates(compiled, [number])
    return float(provider_rate.per_s) if provider_rate.per_sender else None


def _drain_rate(compiled: CompiledCampaign, senders: Sequence[str]) -> tuple[float, str]:
    """Return how many units a second the provider hands on by its documentation, and the unit."""
    slowest = min(_documented_rates(compiled, senders), key=lambda rate: rate.per_s)
    return slowest.per_s * (max(1, len(senders)) if slowest.per_sender else 1), slowest.unit


def _queue(compiled: CompiledCampaign, senders: Sequence[str], account: float | None) -> Queue | None:
    """Return the limit on the provider's queue; None where there is none, or where nothing queues at this rate."""
    most, documented = compiled.rates.queue, compiled.capabilities.queue
    drained_per_s, _ = _drain_rate(compiled, senders)
    if most == "auto":
        if documented is None:
            return None
        most = documented.units or round(drained_per_s * (documented.seconds or 0))
    if most is None or (account is not None and account <= drained_per_s):
        return None
    return Queue(float(most), drained_per_s)


def _expected_duration(
    units: int, load: Mapping[str | None, int], account: float | None, own: Mapping[str, float]
) -> tuple[float | None, str | None]:
    """Return the seconds that the plan takes, and the number whose share decides that, if one does."""
    whole_s = None if account is None else units / account
    seconds = {number: load.get(number, 0) / limit for number, limit in own.items()}
    slowest = max(seconds, key=lambda number: (seconds[number], number), default=None)
    if slowest is None or seconds[slowest] <= (whole_s or 0.0):
        return whole_s, None
    return seconds[slowest], slowest


def _describe_senders(loads: pl.DataFrame, unit: str, own: Mapping[str, float]) -> dict[str, Any]:
    whole = loads[unit].sum()
    return {
        row["from_number"]: {
            "messages": row["messages"],
            "units": row[unit],
            "share": round(row[unit] / whole, 6) if whole else 0.0,
            "per_s": own.get(row["from_number"]),
            "expected_s": row[unit] / own[row["from_number"]] if row["from_number"] in own else None,
        }
        for row in loads.drop_nulls("from_number").head(_MOST_SENDERS).iter_rows(named=True)
    }


def _warn_if_long(pace: Pace, estimate: Mapping[str, Any]) -> Iterable[str]:
    if estimate["expected_s"] is None or estimate["expected_s"] <= DAY_S:
        return
    bound = estimate["bound_by"]
    fix = "raise `rate`, if the provider allows it, or send to fewer"
    if bound is not None:
        share = pace.senders[bound] * estimate["expected_s"] / estimate["units"]
        rate = format_rate(pace.senders[bound])
        fix = f"{bound} carries {share:.0%} of it at {rate}: lower its `weight`, or add numbers"
    yield f"sending takes {estimate['expected_s'] / DAY_S:.1f} days at this pace; {fix}"


def _warn_if_expiring(
    compiled: CompiledCampaign, messages: pl.LazyFrame, loads: pl.DataFrame, estimate: Mapping[str, Any]
) -> Iterable[str]:
    """Warn where messages are sent faster than the provider's documented rate, and would expire in its queue."""
    if compiled.rates.rate.auto or compiled.simulated:
        return
    valid_s = _shortest_validity(compiled, messages)
    drained_per_s, unit = _drain_rate(compiled, loads["from_number"].drop_nulls().to_list())
    waits_s = estimate["units"] / drained_per_s - (estimate["expected_s"] or 0.0)
    if valid_s is not None and waits_s > valid_s:
        yield (
            f"the last messages would wait {waits_s / 60:,.0f} minutes in the provider's queue, which sends"
            f" {drained_per_s:g} {unit}/s by its documentation, and `validity_period` ends after"
            f" {valid_s / 60:,.0f}: they would expire there; lower `rate`, or raise `validity_period`"
        )


def _shortest_validity(compiled: CompiledCampaign, messages: pl.LazyFrame) -> int | None:
    """Return the shortest `validity_period` of a message, in seconds; None without one."""
    if "validity_period" in compiled.fields:
        return int(str(compiled.fields["validity_period"]))
    if "validity_period" not in compiled.row_fields.sources:
        return None
    shortest = message_fields.row_field("validity_period").cast(pl.Int64).min()
    validity_s = messages.select(shortest).collect(engine="streaming").item()
    return None if validity_s is None else int(validity_s)
