"""Local times of a zone as moments, and moments as local times for people.

Where clocks change, the rule is cron's: a local time that does not exist means the next minute that does, and of a time
that occurs twice the first is meant. Whoever gets such a moment gets a sentence about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_LONGEST_GAP = timedelta(hours=25)  # Samoa had no 30 December 2011


@dataclass(frozen=True, slots=True)
class LocalMoment:
    """A moment, in its zone. `note` says what a change of the clocks makes of the local time it was written as."""

    at: datetime
    note: str | None = None


def resolve_local(local: datetime, zone: ZoneInfo) -> LocalMoment:
    """Return the moment of `local`, a time without a zone, in `zone`."""
    moment = local.replace(tzinfo=zone, fold=0)
    where = f"{local:%H:%M} on {local:%Y-%m-%d}"
    if _exists(moment):
        if moment.utcoffset() == moment.replace(fold=1).utcoffset():
            return LocalMoment(moment)
        return LocalMoment(moment, f"clocks in {zone.key} go back: {where} occurs twice, and the first one is used")
    until = local + _LONGEST_GAP
    while not _exists(moment) and moment.replace(tzinfo=None) < until:
        moment = (moment.replace(tzinfo=None, second=0) + timedelta(minutes=1)).replace(tzinfo=zone)
    return LocalMoment(
        moment, f"clocks in {zone.key} go forward: {where} does not exist, and {moment:%H:%M} is used instead"
    )


def format_local(moment: datetime, zone: str | None) -> str:
    """Return `Tue 2026-12-01 09:00 EST (America/New_York)`; seconds only where there are any."""
    clock = f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
    return f"{moment:%a %Y-%m-%d} {clock} {moment.tzname()}" + (f" ({zone})" if zone else "")


def format_utc_and_local(moment: datetime, *, seconds: bool = True) -> str:
    """Return `2026-11-29 01:05:29 UTC (2026-11-28 20:05:29 EST)`: in the zone of this machine, unless that is UTC.

    The date of the local time is there where it is another.
    """
    utc, local = moment.astimezone(UTC), moment.astimezone()
    clock = "%H:%M:%S" if seconds else "%H:%M"
    both = f"{utc:%Y-%m-%d {clock}} UTC"
    if local.utcoffset() == utc.utcoffset():
        return both
    day = "" if local.date() == utc.date() else f"{local:%Y-%m-%d} "
    return f"{both} ({day}{local:{clock}} {local.tzname()})"


def _exists(moment: datetime) -> bool:
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)
