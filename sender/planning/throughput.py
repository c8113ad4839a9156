"""How fast a plan can go, how long that takes, and what stands against it. Known before the first message leaves.

Limits stack: the account's (or the campaign's own pace) and those of single numbers. A pool is done when its busiest
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


def feasibility(offer: CompiledCampaign, sent: pl.LazyFrame, *, mms: bool = False) -> tuple[Pace, dict[str, Any]]:
    """The pace of the messages in `sent` (rows of a plan), and plain values for a manifest; `mms`: some have media.

    `units` in `unit` and `expected_s` for the whole plan (None: unlimited); `bound_by`, the number that decides (None:
    the pace as a whole); `senders`, for the busiest 100 of several: `messages`, `units`, `share`, `per_s` (None: no
    limit of its own) and `expected_s` at it; `warnings`, sentences.
    """
    campaign = offer.campaign
    loads = _loads(sent)
    senders = list(offer.senders) or loads["from_number"].drop_nulls().to_list()
    account, own, source = _limits(offer, senders, mms=mms)
    unit = _documented(offer, senders)[0].unit
    load = dict(loads.select("from_number", unit).iter_rows())
    units = sum(load.values())
    if len(own) == max(1, len(senders)):  # then all together can do no more than each by itself
        together = sum(own.values())
        account = together if account is None else min(account, together)
    several = len(senders) > 1
    pace = Pace(
        rate=campaign.rate.text,
        per_s=account,
        unit=unit,
        concurrency=campaign.concurrency,
        retries=campaign.retries,
        timeout_s=campaign.timeout_s,
        source=source,
        senders=own if several else {},
        transport=campaign.transport,
        queue=_queue(offer, senders, account),
    )
    expected_s, bound_by = _expected(units, load, account, pace.senders)
    if pace.queue is not None:
        expected_s = max(expected_s or 0.0, (units - pace.queue.units) / pace.queue.drained_per_s)
    told = {
        "unit": unit,
        "units": units,
        "expected_s": expected_s,
        "bound_by": bound_by,
        "senders": _by_sender(loads, unit, own) if several else {},
    }
    warnings = [*_long(pace, told), *_queued(offer, sent, loads, units, expected_s)] if units else []
    return pace, {**told, "warnings": warnings}


def rate_told(per_s: float, unit: str = "") -> str:
    """`5/h`, `12.5 segments/min`, `3/s`: in the span in which the figure is at least 1."""
    span, name = next(((span, name) for span, name in _SPANS if per_s * span >= 1), _SPANS[-1])
    return f"{round(per_s * span, 2):g}{f' {unit}' if unit else ''}/{name}"


def _loads(sent: pl.LazyFrame) -> pl.DataFrame:
    """`from_number` (null: a service picks it), `messages` and `segments`, the busiest first."""
    return (
        sent.group_by("from_number")
        .agg(messages=pl.len().cast(pl.Int64), segments=pl.col("segments").sum().cast(pl.Int64))
        .sort("segments", "messages", "from_number", descending=[True, True, False])
        .collect(engine="streaming")
    )


def _documented(offer: CompiledCampaign, senders: Iterable[str]) -> list[DocumentedRate]:
    rates = offer.capabilities.rates
    kinds = dict.fromkeys(_kind(one) for one in senders) or ["service"]
    return [rates.get(kind) or rates["long_code"] for kind in kinds]


def _kind(sender: str) -> str:
    """As `providers.rate_kind`, and `long_code_canada` for a long code there."""
    kind = providers.rate_kind(sender)
    return "long_code_canada" if kind == "long_code" and sender_pool.region_of(sender) == "CA" else kind


def _limits(
    offer: CompiledCampaign, senders: list[str], *, mms: bool
) -> tuple[float | None, dict[str, float], str | None]:
    """The limit of all messages together, those of single numbers, and where a documented one was read."""
    given = {one.number: one.rate for one in offer.campaign.from_.numbers}
    pace, simulated = offer.campaign.rate, offer.campaign.provider == "sandbox"
    own = {
        number: limit
        for number in senders
        if (limit := _own_limit(offer, number, given.get(number), documented=pace.auto and not simulated)) is not None
    }
    if not pace.auto:
        return pace.per_s, own, None
    if simulated:
        return 50.0, own, "the sandbox's own default"
    known = _documented(offer, senders)
    whole = [rate for rate in known if not rate.per_sender]
    if len(whole) < len(known) and offer.capabilities.account_rate is not None:
        whole.append(offer.capabilities.account_rate)
    if mms and offer.capabilities.mms_rate is not None:  # a mixed list goes at the pace of its slowest
        whole.append(offer.capabilities.mms_rate)
        known.append(offer.capabilities.mms_rate)
    slowest = min(known, key=lambda rate: rate.per_s)  # and so does a mixed pool
    return min((rate.per_s for rate in whole), default=None), own, slowest.source


def _drained(offer: CompiledCampaign, senders: Sequence[str]) -> tuple[float, str]:
    """How fast the provider hands messages on by its documentation, in units a second, and the unit."""
    slowest = min(_documented(offer, senders), key=lambda rate: rate.per_s)
    return slowest.per_s * (max(1, len(senders)) if slowest.per_sender else 1), slowest.unit


def _queue(offer: CompiledCampaign, senders: Sequence[str], account: float | None) -> Queue | None:
    """What may lie at the provider; None where nobody asks, or where nothing gathers there at this pace."""
    most, documented = offer.campaign.limits.queue, offer.capabilities.queue
    drained_per_s, _ = _drained(offer, senders)
    if most == "auto":
        if documented is None:
            return None
        most = documented.units or round(drained_per_s * (documented.seconds or 0))
    if most is None or (account is not None and account <= drained_per_s):
        return None
    return Queue(float(most), drained_per_s)


def _own_limit(offer: CompiledCampaign, number: str, given: Rate | None, *, documented: bool) -> float | None:
    if given is not None and not given.auto:
        return given.per_s
    if given is None and not documented:
        return None
    (rate,) = _documented(offer, [number])
    return float(rate.per_s) if rate.per_sender else None


def _expected(
    units: int, load: Mapping[str | None, int], account: float | None, own: Mapping[str, float]
) -> tuple[float | None, str | None]:
    """Seconds that the plan takes, and the number whose share decides that, if one does."""
    whole_s = None if account is None else units / account
    seconds = {number: load.get(number, 0) / limit for number, limit in own.items()}
    slowest = max(seconds, key=lambda number: (seconds[number], number), default=None)
    if slowest is None or seconds[slowest] <= (whole_s or 0.0):
        return whole_s, None
    return seconds[slowest], slowest


def _by_sender(loads: pl.DataFrame, unit: str, own: Mapping[str, float]) -> dict[str, Any]:
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


def _long(pace: Pace, told: Mapping[str, Any]) -> Iterable[str]:
    if told["expected_s"] is None or told["expected_s"] <= DAY_S:
        return
    bound = told["bound_by"]
    cure = "raise `rate`, if the provider allows it, or send to fewer"
    if bound is not None:
        share = pace.senders[bound] * told["expected_s"] / told["units"]
        cure = (
            f"{bound} carries {share:.0%} of it at {rate_told(pace.senders[bound])}: lower its `weight`, or add numbers"
        )
    yield f"sending takes {told['expected_s'] / DAY_S:.1f} days at this pace; {cure}"


def _queued(
    offer: CompiledCampaign, sent: pl.LazyFrame, loads: pl.DataFrame, units: int, expected_s: float | None
) -> Iterable[str]:
    """What is sent faster than the provider's documented limit waits there, and may expire there."""
    if offer.campaign.rate.auto or offer.campaign.provider == "sandbox":
        return
    valid_s = _shortest_validity(offer, sent)
    drained_per_s, unit = _drained(offer, loads["from_number"].drop_nulls().to_list())
    waits_s = units / drained_per_s - (expected_s or 0.0)
    if valid_s is not None and waits_s > valid_s:
        yield (
            f"the last messages would wait {waits_s / 60:,.0f} minutes in the provider's queue, which sends"
            f" {drained_per_s:g} {unit}/s by its documentation, and `validity_period` ends after"
            f" {valid_s / 60:,.0f}: they would expire there; lower `rate`, or raise `validity_period`"
        )


def _shortest_validity(offer: CompiledCampaign, sent: pl.LazyFrame) -> int | None:
    """The shortest `validity_period` of a message, in seconds."""
    if "validity_period" in offer.fields:
        return int(str(offer.fields["validity_period"]))
    if "validity_period" not in offer.templates.sources:
        return None
    shortest = message_fields.own("validity_period").cast(pl.Int64).min()
    own = sent.select(shortest).collect(engine="streaming").item()
    return None if own is None else int(own)
