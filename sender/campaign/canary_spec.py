"""The campaign's `canary`: a few messages first, and what stops the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from sender.campaign import schema_forms
from sender.campaign.values import OrNone, Strict, parse_share
from sender.core.canary import STOP_IF, CanaryTerms, Condition
from sender.core.durations import read_duration_s

_LONGEST_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait; `text` is how a person writes it: `15m`."""

    seconds: float
    text: str


def _parse_wait(value: object) -> object:
    if isinstance(value, Wait):
        return value
    seconds = read_duration_s(value)
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError(f"{str(value)!r} cannot be waited for: write 15m, or any time up to 7d")
    return Wait(seconds, str(value).strip())


_Limit = Annotated[
    float, BeforeValidator(parse_share), Field(ge=0, lt=1), WithJsonSchema(schema_forms.share(zero=True))
]
_Wait = Annotated[Wait, BeforeValidator(_parse_wait), WithJsonSchema(schema_forms.DURATION)]


class StopIfSpec(Strict):
    """The shares above which a run stops: `10%`, or `none` for no limit."""

    failed: OrNone[_Limit] = Field(
        STOP_IF[Condition.FAILED],
        description="Refused by the provider or reported as not delivered, for any reason: share of the messages with"
        " a result.",
    )
    opted_out: OrNone[_Limit] = Field(
        STOP_IF[Condition.OPTED_OUT],
        description="Opted out, by a STOP in reply or according to the provider: share of the messages with a result.",
    )
    filtered: OrNone[_Limit] = Field(
        STOP_IF[Condition.FILTERED],
        description="Filtered or blocked by a carrier: share of the messages with a result.",
    )
    unknown: OrNone[_Limit] = Field(
        STOP_IF[Condition.UNKNOWN], description="Unknown whether accepted: share of all messages sent."
    )


class CanarySpec(Strict):
    """The first messages, spread over the list, whose receipts decide whether the others leave."""

    first: int = Field(ge=1, description="How many messages go first, spread evenly over those that may leave now.")
    wait: _Wait = Field(
        default_factory=lambda: Wait(900.0, "15m"),
        description="The longest wait for their receipts. The wait ends early when every message has its final status.",
    )
    stop_if: StopIfSpec = Field(
        default_factory=StopIfSpec,
        description="The shares above which the run stops, once the 95 % lower bound of one exceeds its limit. They"
        " count for the rest of the run, too.",
    )

    @property
    def terms(self) -> CanaryTerms:
        """What it asks for, as the plan keeps it."""
        limits = {condition: getattr(self.stop_if, condition.value) for condition in Condition}
        stop_if = {condition: limit for condition, limit in limits.items() if limit is not None}
        return CanaryTerms(self.first, self.wait.seconds, stop_if)


def expand_canary(value: Any) -> Any:
    """Return the mapping that a number of messages is short for; `none` is no canary."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() == "none":
        return None
    return {"first": value} if isinstance(value, int | str) else value
