"""`schedule:` of a campaign: when `sender schedule run` starts it, again and again."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from sender.campaign.cron_ticks import Ticks, read_ticks
from sender.campaign.start_time import LateText, find_zone
from sender.campaign.values import Strict, Text


def _check_cron(text: str) -> str:
    return read_ticks(text, UTC).text


def _check_zone(name: str) -> str:
    return find_zone(name).key


class ScheduleSpec(Strict):
    """The times at which a campaign is sent: a cron expression in a zone."""

    cron: Annotated[Text, AfterValidator(_check_cron), WithJsonSchema({"type": "string"})] = Field(
        description="The times, in cron's format: minute, hour, day of the month, month, day of the week"
        " (`0 9 * * mon`), or a name such as `@daily`."
    )
    zone: Annotated[Text, AfterValidator(_check_zone)] = Field(
        description="The zone of these times: an IANA name, such as `America/New_York`."
    )
    late: LateText | None = Field(
        None,
        description="How late a start may be, if no scheduler was running at its time. Default: the campaign's `late`.",
    )

    @property
    def ticks(self) -> Ticks:
        """The times that it names."""
        return read_ticks(self.cron, find_zone(self.zone))
