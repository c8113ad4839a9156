"""Public holidays, by the codes of the `holidays` package (`US`, `US-MA`), and days of one's own (`12-24`).

Days on which a holiday is observed count, too. Two American days that are nobody's public holiday in the package have
names of their own: `good-friday` and `election-day`.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache

_DATE = re.compile(r"(?:(?P<year>\d{4})-)?(?P<month>\d{2})-(?P<day>\d{2})")
_NAMED = ("good-friday", "election-day")


@dataclass(frozen=True, slots=True)
class HolidayCalendar:
    """The days that are a holiday in any of the places with these codes, or one of the days among them."""

    codes: tuple[str, ...]

    def in_year(self, year: int) -> frozenset[date]:
        """The holidays of that year. Raises ValueError where a code has no data for it."""
        return _in_year(self.codes, year)

    def __str__(self) -> str:
        return ", ".join(self.codes)


def find_calendar(codes: Iterable[str], *, years: Iterable[int] = ()) -> HolidayCalendar:
    """Return the calendar of these codes, which has data for each of `years`. Raises ValueError."""
    calendar = HolidayCalendar(tuple(dict.fromkeys(_spell(code) for code in codes)))
    for year in years:
        calendar.in_year(year)
    return calendar


@cache
def _in_year(codes: tuple[str, ...], year: int) -> frozenset[date]:
    return frozenset(day for code in codes for day in _days_of(code, year))


def _days_of(code: str, year: int) -> Iterable[date]:
    match = _DATE.fullmatch(code)
    if match:
        only = match["year"]
        is_there = only is None or int(only) == year
        return [day for day in (_to_date(year, match),) if is_there and day is not None]
    if code == "election-day":  # the Tuesday after the first Monday of November
        return [next(day for day in (date(year, 11, number) for number in range(2, 9)) if day.weekday() == 1)]
    import holidays  # 80 ms, and few campaigns have any

    if code == "good-friday":
        return holidays.country_holidays("GB", years=year).get_named("Good Friday")
    country, _, part = code.partition("-")
    days = holidays.country_holidays(country, subdiv=part or None, years=year)
    if not days:
        raise ValueError(
            f"the holidays package {_version()} has no holidays of {code} in {year}: leave the code out, or name "
            f"another place with the same holidays, or the days themselves ({year}-12-24)"
        )
    return list(days)


@cache
def _spell(code: str) -> str:
    """The code as the package spells it. Raises ValueError."""
    match = _DATE.fullmatch(code)
    if match or code in _NAMED:
        if match and _to_date(int(match["year"] or 2024), match) is None:
            raise ValueError(f"{code!r} is not a day of the calendar: write 2026-12-24, or 12-24 for every year")
        return code
    country, dash, part = code.partition("-")
    parts = _countries().get(country.upper())
    if parts is None:
        raise ValueError(
            f"{code!r} is not a code of the holidays package {_version()}: write a country (US), a part of one "
            "(US-MA), or a day (2026-12-24)"
        )
    if not dash:
        return country.upper()
    spelled = {name.upper(): name for name in parts}.get(part.upper())
    if spelled is None:
        choice = f"it knows {', '.join(parts)}" if parts else f"it knows no parts of it: write {country.upper()}"
        raise ValueError(f"the holidays package {_version()} has no part {part!r} of {country.upper()}: {choice}")
    return f"{country.upper()}-{spelled}"


def _to_date(year: int, match: re.Match[str]) -> date | None:
    try:
        return date(year, int(match["month"]), int(match["day"]))
    except ValueError:  # also 29 February in other years
        return None


def _version() -> str:
    return importlib.metadata.version("holidays")


@cache
def _countries() -> dict[str, list[str]]:
    from holidays.utils import list_supported_countries

    return dict(list_supported_countries(include_aliases=False))
