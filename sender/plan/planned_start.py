"""When a plan may begin to be sent: not before a moment, and not long after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sender.campaign.start_time import Late, StartTime, find_zone
from sender.core.local_time import format_local


@dataclass(frozen=True, slots=True)
class PlannedStart:
    """The moment at which a plan begins, how many seconds later it still may, and the zone it was written in.

    `note` says what a change of the clocks makes of the time as it was written.
    """

    at: datetime
    late_s: float
    zone: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if self.at.utcoffset() is None:
            raise ValueError("a start needs a time with a zone")

    @classmethod
    def of(cls, start: StartTime, late: Late) -> PlannedStart:
        """The start at a campaign's time."""
        return cls(start.at, late.seconds, start.zone, start.note)

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any] | None) -> PlannedStart | None:
        """The start in a manifest; None where the plan begins when it is sent."""
        if values is None:
            return None
        return cls(datetime.fromisoformat(values["at"]), values["late_s"], values["zone"], values["note"])

    def to_manifest(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "late_s": self.late_s,
            "zone": self.zone,
            "note": self.note,
        }

    @property
    def at_ms(self) -> int:
        """The moment in milliseconds UTC."""
        return round(self.at.timestamp() * 1000)

    @property
    def last_ms(self) -> int:
        """The last moment at which it may begin, in milliseconds UTC."""
        return self.at_ms + round(self.late_s * 1000)

    def __str__(self) -> str:
        return format_local(self.at.astimezone(find_zone(self.zone)) if self.zone else self.at, self.zone)
