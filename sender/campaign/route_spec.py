"""`routes:` of a campaign: several providers, in order, each with its own senders, prices and pace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sender.campaign.values import File, FromSpec, PaceText, ProviderFields, to_list

RoutedProvider = Literal["signalwire", "signalwire-compat", "telnyx", "twilio"]
ROUTES_MAX = 4
_OWN = ("provider", "from")
# What an entry may leave to the campaign, besides the provider's own fields.
SHARED = ("prices", "rate", *ProviderFields.model_fields)


def expand_from(value: object) -> object:
    """Return one sender, or a list of them, as the mapping that `from` stands for."""
    return {"numbers": to_list(value)} if isinstance(value, str | int | list | tuple) else value


class RouteSpec(ProviderFields):
    """A way to send: a provider, and what is different there. What an entry leaves out is the campaign's own."""

    provider: RoutedProvider = Field(description="The provider of this route.")
    from_: Annotated[FromSpec | None, BeforeValidator(expand_from)] = Field(
        None,
        alias="from",
        description="The senders of this route, as the campaign's `from`, but no template. Each number belongs to one"
        " route.",
    )
    prices: File | None = Field(None, description="Price table of this route. Default: the campaign's.")
    rate: PaceText | None = Field(
        None,
        description="How fast to send through this route. Default: the campaign's `rate`, which holds for all routes"
        " together.",
    )


def expand_routes(data: Any) -> Any:
    """Return the keys of a campaign in which the first of `routes` is the campaign's own provider, senders and fields.

    Raises ValueError where `provider` or `from` is given twice.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("routes"), Sequence) or isinstance(data["routes"], str):
        return data
    routes = [{"provider": entry} if isinstance(entry, str) else entry for entry in data["routes"]]
    if not routes or not all(isinstance(entry, Mapping) for entry in routes):
        return {**data, "routes": routes}
    first = routes[0]
    for key in _OWN:
        if data.get(key) is not None and first.get(key) not in (None, data[key]):
            raise ValueError(f"`{key}` is given for the campaign and for the first of `routes`: keep the latter")
    shared = {key: data[key] for key in SHARED if key in data}
    own = {key: first[key] for key in (*_OWN, *SHARED) if key in first and key != "rate"}
    return {**data, **own, "routes": [{**shared, **entry} for entry in routes]}
