"""Time zones by name, always from the `tzdata` package: never from the machine, whose files differ in age and in names.

Two machines with the same `tzdata` read the same times. Names that only a machine has, such as `localtime`,
`posixrules` or `right/Europe/Berlin`, are unknown here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from sender.core.errors import InputError

_NOT_PLACES = {"Factory", "localtime", "posixrules"}
# What people write for a zone and IANA does not have, or has for another clock.
_ABBREVIATIONS = {
    **dict.fromkeys(("et", "est", "edt", "eastern", "eastern time", "new york"), "America/New_York"),
    **dict.fromkeys(("ct", "cst", "cdt", "central", "central time"), "America/Chicago"),
    **dict.fromkeys(("mt", "mst", "mdt", "mountain", "mountain time"), "America/Denver"),
    **dict.fromkeys(("pt", "pst", "pdt", "pacific", "pacific time"), "America/Los_Angeles"),
    **dict.fromkeys(("akst", "akdt", "alaska"), "America/Anchorage"),
    **dict.fromkeys(("hawaii", "hawaiian"), "Pacific/Honolulu"),
}


@cache
def zone_names() -> frozenset[str]:
    """The names of all zones, links such as `Asia/Calcutta` included."""
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split()) - _NOT_PLACES


@cache
def zone(name: str) -> ZoneInfo:
    """Return the zone of that name. Raises InputError, with a name that may be meant, where there is none."""
    if name not in zone_names():
        raise InputError(f"there is no time zone `{name}`", fix=f"write it as {suggest_zone(name) or 'Europe/Berlin'}")
    file = files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with file.open("rb") as stream:
        return ZoneInfo.from_file(stream, key=name)


@cache
def spellings() -> dict[str, str]:
    """The zone that a cell in lower case, with `_` for spaces, names. `EST` and `MST` are left out: people write them
    for places with summer time, and IANA has them for Panama and Phoenix."""
    return {name.lower(): name for name in zone_names() if name not in {"EST", "MST"}}


def suggest_zone(text: str) -> str | None:
    """Return the zone that `text` may mean; None where nothing is near."""
    plain = text.strip().lower()
    if plain in _ABBREVIATIONS:
        return _ABBREVIATIONS[plain]
    written = plain.replace(" ", "_")
    if written in spellings():
        return spellings()[written]
    cities = {name.rpartition("/")[2]: name for name in sorted(spellings(), reverse=True)}
    if written in cities:
        return spellings()[cities[written]]
    near = get_close_matches(written, (name for name in spellings() if "/" in name), n=1, cutoff=0.75)
    return spellings()[near[0]] if near else None


def format_time(at_ms: int, name: str) -> str:
    """Return `Mon 2026-11-30 09:00 EST`: milliseconds UTC on the clock of a zone."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone(name)):%a %Y-%m-%d %H:%M %Z}"
