"""The campaign's `window`: when its messages may leave."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sender.campaign.start_time import StartText
from sender.campaign.values import Strict, Text, is_none, to_list


def _read_names(value: object) -> object:
    """Return the names of a list; `none` is an empty one, and commas separate names in a text."""
    if value is not None and is_none(value):
        return ()
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return to_list(value)


def _join_days(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


Names = Annotated[tuple[Text, ...], BeforeValidator(_read_names)]
Joined = Annotated[Text, BeforeValidator(_join_days)]
Outside = Literal["hold", "skip", "expire"]


class WindowSpec(Strict):
    """When messages may leave, by the clock of each recipient."""

    hours: Joined | None = Field(
        None, description="The hours in which messages may leave: `09:00-20:00`, or several ranges with commas."
    )
    days: Joined | None = Field(
        None, description="The days on which they may: `mon-sat`, or `mon, wed, fri`. Default: every day."
    )
    holidays: Names = Field(
        (),
        description="Countries on whose public holidays nothing leaves, by the codes of the `holidays` package: `US`,"
        " `US-MA`.",
    )
    zone: Text = Field(
        "recipient",
        description="The time zone that counts: each recipient's own (`recipient`), or one for all, such as"
        " `Europe/London`.",
    )
    outside: Outside = Field(
        "hold",
        description="What happens to a message outside its window: it waits for the next one (`hold`), it waits only"
        " until the end of the recipient's day (`expire`), or it is not sent (`skip`).",
    )
    deadline: StartText | None = Field(
        None,
        description="Messages that have not left by then are not sent: `2026-12-01T21:00 America/New_York`. Until then"
        " messages are held from one window to the next.",
    )
    rules: Names | None = Field(
        None,
        description="Sets of shipped rules that apply as well: `us-federal`, `strict`, or `none`. Default: `us-federal`"
        " for live marketing runs to numbers that may be in the United States. `sender rules` lists them.",
    )
