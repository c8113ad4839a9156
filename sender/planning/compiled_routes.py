"""The routes of a campaign, compiled once: what each sends with, paces by and costs.

The first is the campaign itself; each of the others is the campaign with another provider, other senders, fields and
prices. A route that could not carry the campaign is refused before the first row is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from sender import providers
from sender.campaign.model import Campaign
from sender.campaign.route_spec import SHARED, RouteSpec
from sender.core import money
from sender.core.errors import CampaignError, InputError
from sender.plan.pace import Pace
from sender.planning import costs
from sender.planning.compiled import CompiledCampaign, compile_way
from sender.planning.throughput import estimate_throughput
from sender.providers.base import SenderKind
from sender.recipients.columns import Recipients


def compile_routes(campaign: Campaign, first: CompiledCampaign) -> CompiledCampaign:
    """Return `first`, the campaign compiled for its own provider, with its other routes. Raises InputError."""
    if not campaign.routes:
        return first
    if len(campaign.routes) == 1:
        raise CampaignError(
            "there is only one route",
            where="routes",
            fix="name another provider, or write `provider:` instead",
        )
    _refuse_shared_accounts(campaign)
    own_rate = campaign.routes[0].rate
    if own_rate is not None:
        first = replace(first, rates=replace(first.rates, rate=own_rate))
    others = tuple(_compile_route(campaign, first, spec, place) for place, spec in enumerate(campaign.routes[1:], 1))
    for place, other in enumerate(others, 1):
        _refuse_shared_senders((first, *others[: place - 1]), other, place)
    _check_prices((first, *others))
    inputs = dict.fromkeys(file for way in (first, *others) for file in way.inputs)
    overall = None if campaign.rate.auto else campaign.rate.per_s
    return replace(first, others=others, overall_per_s=overall, inputs=tuple(inputs))


def check_routes(compiled: CompiledCampaign, recipients: Recipients) -> None:
    """Raise InputError where a route cannot carry what every row has."""
    media = max([len(compiled.media), *(len(variant.media) for variant in compiled.variants)])
    if recipients.media is not None and not media:
        media = 1
    for place, way in enumerate(compiled.others, 1):
        with _naming_the_route(place):
            providers.check(way.capabilities, senders=way.senders, fields=way.fields, media_count=media)


def routes_manifest(compiled: CompiledCampaign, pace: Pace, messages: pl.LazyFrame, *, mms: bool) -> dict[str, Any]:
    """Return the manifest's `routes` and `overall_per_s`; nothing for a campaign with one way to send.

    Each route has `provider`, `dialect`, `senders`, `fields`, `pool`, `pace`, and `cost`: what all messages cost by it
    alone (text, None without prices).
    """
    if not compiled.others:
        return {}
    ways = (compiled, *compiled.others)
    paces = [pace]
    paces += [estimate_throughput(way, _by_way(messages, way), mms=mms)[0] for way in compiled.others]
    priced = [messages, *(_by_way(messages, way) for way in compiled.others)]
    by_itself = [_whole_cost(frame, way) for frame, way in zip(priced, ways, strict=True)]
    routes = tuple(
        {
            "provider": way.provider,
            "dialect": way.dialect,
            "senders": list(way.all_senders),
            "fields": dict(way.fields),
            "pool": way.pool_settings,
            "pace": asdict(its_pace),
            "cost": cost,
        }
        for way, its_pace, cost in zip(ways, paces, by_itself, strict=True)
    )
    return {"routes": routes, "overall_per_s": compiled.overall_per_s}


def price_dearest(frame: pl.DataFrame, compiled: CompiledCampaign) -> pl.DataFrame:
    """Return `frame` with `cost_micros` as `costs.price_messages` fills it in; of several routes, the dearest counts.

    A message without a price on one of its routes has none: it may be sent there.
    """
    priced = costs.price_messages(frame, compiled.prices, is_mms=compiled.is_mms)
    for way in compiled.others:
        other = _price_by(frame, way)
        dearer = pl.max_horizontal("cost_micros", pl.lit(other))
        unpriced = pl.col("cost_micros").is_null() | pl.lit(other).is_null()
        priced = priced.with_columns(cost_micros=pl.when(~unpriced).then(dearer))
    return priced


def _compile_route(campaign: Campaign, first: CompiledCampaign, spec: RouteSpec, place: int) -> CompiledCampaign:
    own = {key: getattr(spec, key) for key in SHARED if key not in ("prices", "rate")}
    own |= {"provider": spec.provider, "from_": spec.from_ or campaign.from_}
    own |= {"prices": spec.prices, "rate": spec.rate or campaign.rate}
    with _naming_the_route(place):
        way = compile_way(campaign.model_copy(update=own), first)
        varying = [*way.row_fields.sources, *(["from"] if way.sender is not None else [])]
        if varying:
            raise CampaignError(
                f"`{varying[0]}` is a template, and only the first route may fill it in for each row",
                where=varying[0],
                fix="write one value for all messages of this route",
            )
        if "send_at" in way.fields:
            raise CampaignError(
                "a message that the provider holds until `send_at` cannot move to another route",
                where="send_at",
                fix="use `start:` instead, or name one provider",
            )
        service = way.capabilities.service_field
        if not way.senders and (service is None or service not in way.fields):
            raise CampaignError(f"{way.provider} has no sender", where="from", fix="add `from:` to the route")
    return way


def _refuse_shared_accounts(campaign: Campaign) -> None:
    seen: set[str] = set()
    for spec in campaign.routes:
        family = providers.account_family(spec.provider)
        if family in seen:
            raise CampaignError(
                f"two routes lead to the same account of {family}, and both would refuse the same messages",
                where="routes",
                fix="name each provider once",
            )
        seen.add(family)


def _refuse_shared_senders(before: Sequence[CompiledCampaign], way: CompiledCampaign, place: int) -> None:
    for other in before:
        for number in way.senders:
            if number in other.senders and providers.sender_kind(number) is not SenderKind.ALPHANUMERIC:
                raise CampaignError(
                    f"{number} is a sender of {other.provider} and of {way.provider}; a number belongs to one provider",
                    where=f"routes.{place}",
                    fix=f"give {way.provider} a `from` of its own in `routes`",
                )


def _check_prices(ways: Sequence[CompiledCampaign]) -> None:
    if all(way.prices is None for way in ways):
        return
    for place, way in enumerate(ways):
        if way.prices is None:
            raise CampaignError(
                f"{way.provider} has no prices, and another route has",
                where=f"routes.{place}",
                fix="add `prices:` to the route, or to the campaign for all of them",
            )
    currencies = dict.fromkeys(way.prices.currency for way in ways if way.prices is not None)
    if len(currencies) > 1:
        raise CampaignError(
            f"the routes' prices are in {' and '.join(currencies)}, so they cannot be compared",
            where="routes",
            fix="write all price tables in one currency",
        )


def _by_way(messages: pl.LazyFrame, way: CompiledCampaign) -> pl.LazyFrame:
    """Return the messages from the senders of another route."""
    return messages.map_batches(lambda frame: _sent_by(frame, way), streamable=True)


def _sent_by(frame: pl.DataFrame, way: CompiledCampaign) -> pl.DataFrame:
    if way.pool is not None:
        return frame.with_columns(from_number=way.pool.assign(frame["to"], frame["region"]))
    return frame.with_columns(from_number=pl.lit(way.senders[0] if way.senders else None, pl.String))


def _price_by(frame: pl.DataFrame, way: CompiledCampaign) -> pl.Series:
    return costs.price_messages(_sent_by(frame, way), way.prices, is_mms=way.is_mms)["cost_micros"]


def _whole_cost(messages: pl.LazyFrame, way: CompiledCampaign) -> str | None:
    """Return what all messages cost by that route, from its own senders; None without prices."""
    if way.prices is None:
        return None
    priced = messages.map_batches(
        lambda frame: costs.price_messages(frame, way.prices, is_mms=way.is_mms), streamable=True
    )
    total = priced.select(pl.col("cost_micros").sum()).collect(engine="streaming").item()
    return money.text(int(total or 0))


@contextmanager
def _naming_the_route(place: int) -> Iterator[None]:
    """An error about a key of a route says where in the campaign it is."""
    try:
        yield
    except InputError as error:
        error.where = f"routes.{place}.{error.where}" if error.where else f"routes.{place}"
        raise
