"""`limits` of a campaign: what one start may do, what one person gets, the provider's queue, and refusals."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from sender.campaign.values import CapText, OrNone, Share, SkipLimit, Strict, is_none, to_list
from sender.core import money
from sender.core.guards import MAX_FAILED, MAX_REJECTED_IN_A_ROW


def _read_amount(value: object) -> Decimal | None:
    return None if is_none(value) else Decimal(money.text(money.parse(value)))


_Money = Annotated[
    Decimal | None,
    BeforeValidator(_read_amount),
    WithJsonSchema({"anyOf": [{"type": ["string", "number"]}, {"type": "null"}]}),
]
_Count = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(lambda value: None if is_none(value) else value)]


class LimitsSpec(Strict):
    """Limits on what one start may do, on what one person gets, on the provider's queue, and on refusals."""

    max_messages: _Count = Field(None, description="The most messages that the whole plan may have.")
    max_skipped: SkipLimit | None = Field(
        None,
        description="The most rows that may be skipped for what is wrong with them (`invalid_number`, `missing_data`,"
        " `render_error`): a number, or a share like `10%` of these rows and the messages. `none`: any. Default: `send`"
        " asks above 50% from 20 rows on, and is refused where it cannot ask.",
    )
    max_segments_per_message: _Count = Field(None, description="The most segments that any message may take.")
    max_cost: _Money = Field(
        None,
        description="The most that the whole plan may cost, in the price table's currency; above it, `send` stops"
        " before the first message.",
    )
    max_cost_per_day: _Money = Field(
        None, description="The most that live runs of the state may cost in any 24 hours, this start included."
    )
    max_messages_per_day: _Count = Field(
        None, description="The most messages that live runs of the state may send in any 24 hours, this start included."
    )
    per_person: Annotated[tuple[CapText, ...], BeforeValidator(to_list)] = Field(
        (),
        description="The most messages that a person may get in a rolling window, from all live campaigns of the state"
        " directory: `3/24h`, or a list of such caps.",
    )
    queue: Literal["auto"] | Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="The most messages or segments (the provider's unit) that may wait in the provider's queue; `auto`"
        " is what it documents. Above it, sending continues as fast as the queue drains. Matters when `rate` is above"
        " the documented one.",
    )
    max_rejected_in_a_row: Annotated[
        OrNone[Annotated[int, Field(ge=1)]],
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "none"}]}),
    ] = Field(
        MAX_REJECTED_IN_A_ROW,
        description="Stop after this many rejections for one reason without an acceptance between them, if the reason"
        " is the text, the sender or the account; `none` never stops. A wrong number, a landline or an opt-out is not"
        " counted.",
    )
    max_failed: OrNone[Share] = Field(
        MAX_FAILED,
        description="Stop when this share of the first 200 messages (and at least 20) was refused or filtered for such"
        " a reason, at once or in a delivery report: `25%`; `none` never stops.",
    )

    def to_manifest(self) -> dict[str, Any]:
        """Return the limits on a start that are set, as plain values, but for `max_cost`, which is with the prices."""
        values = {
            "max_messages": self.max_messages,
            "max_skipped": self.max_skipped,
            "max_segments_per_message": self.max_segments_per_message,
            "max_cost_per_day": None if self.max_cost_per_day is None else f"{self.max_cost_per_day:f}",
            "max_messages_per_day": self.max_messages_per_day,
        }
        return {name: value for name, value in values.items() if value is not None}
