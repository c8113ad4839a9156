"""Public holidays by the codes of the `holidays` package: `US`, `US-MA`. Days on which one is observed count."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache


@dataclass(frozen=True, slots=True)
class HolidayCalendar:
    """The days that are a holiday in any of the places with these codes."""

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
    import holidays  # 80 ms, and few campaigns have any

    days: set[date] = set()
    for code in codes:
        country, _, part = code.partition("-")
        known = holidays.country_holidays(country, subdiv=part or None, years=year)
        if not known:
            raise ValueError(
                f"the holidays package {_version()} has no holidays of {code} in {year}: leave the code out, or name "
                "another place with the same holidays"
            )
        days.update(known)
    return frozenset(days)


@cache
def _spell(code: str) -> str:
    """The code as the package spells it. Raises ValueError."""
    country, dash, part = code.partition("-")
    parts = _countries().get(country.upper())
    if parts is None:
        raise ValueError(
            f"{code!r} is not a code of the holidays package {_version()}: write a country (US), or a part of one "
            "(US-MA)"
        )
    if not dash:
        return country.upper()
    spelled = {name.upper(): name for name in parts}.get(part.upper())
    if spelled is None:
        choice = f"it knows {', '.join(parts)}" if parts else f"it knows no parts of it: write {country.upper()}"
        raise ValueError(f"the holidays package {_version()} has no part {part!r} of {country.upper()}: {choice}")
    return f"{country.upper()}-{spelled}"


def _version() -> str:
    return importlib.metadata.version("holidays")


@cache
def _countries() -> dict[str, list[str]]:
    from holidays.utils import list_supported_countries

    return dict(list_supported_countries(include_aliases=False))
