"""The shipped rules as values, and which of them count where. Reads the package's own data; knows no campaign.

What statutes say is data, in `data/*.yaml`, with source, date and confidence: this module decides nothing. It is not
legal advice either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

import yaml

from sender.core.errors import InputError
from sender.core.frequency import FrequencyCap, parse_cap
from sender.rules.holiday_calendar import HolidayCalendar
from sender.rules.hours import ALL_DAY, Ranges, parse_days, parse_hours
from sender.rules.openings import LOOK_AHEAD_DAYS, Opening

DEFAULT_SET = "us"
STRICT_SET = "strict"
# What a campaign may write. There is no set of the federal hours alone: nobody who names it wants to text Floridians
# at half past eight in the evening.
SET_NAMES = (DEFAULT_SET, STRICT_SET)
_ALIASES = {"us-federal": DEFAULT_SET}
_FILES = {DEFAULT_SET: ("us",), STRICT_SET: ("us", "strict")}
_PLACE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_MARGIN = timedelta(days=2)  # what is today somewhere is another day elsewhere
_YEAR = timedelta(days=366)


class RuleKind(StrEnum):
    """What a rule bounds."""

    WINDOW = "window"  # the hours of a day
    DAYS = "days"  # the days of the week
    HOLIDAY = "holiday"  # closed on these days
    CAP = "cap"  # messages to a person in a rolling window
    NOTICE = "notice"  # a duty that only people can see to


class Confidence(StrEnum):
    """How sure a rule is of what the statute says."""

    STATUTE = "statute"  # its text was read
    QUOTED = "quoted"  # its text was read in a quotation
    SECONDARY = "secondary"  # summaries agree; the text was not reached
    CONFLICTING = "conflicting"  # sources contradict one another; the strictest stands here


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `hours`, `holidays` and `cap` are what its `value` means, by its kind.

    `scope` says whether the statute is about texts or was written for calls, `basis` whose clock counts. `url` is where
    its text is, `read` where it was read.
    """

    id: str
    jurisdiction: str
    set_name: str
    scope: str
    kind: RuleKind
    value: str
    basis: str
    citation: str
    url: str
    read: str
    quote: str
    exception: str
    as_of: date
    confidence: Confidence
    effective_from: date | None
    effective_to: date | None
    hours: tuple[Ranges, ...] | None
    holidays: HolidayCalendar | None
    cap: FrequencyCap | None

    def counts_on(self, day: date) -> bool:
        """Whether it is in force on that day."""
        return (self.effective_from or day) <= day <= (self.effective_to or day)

    def is_old(self, today: date) -> bool:
        """Whether nobody has looked it up for more than twelve months."""
        return today - self.as_of > _YEAR

    def to_opening(self) -> Opening | None:
        """The hours in which it lets messages leave; None for a rule that is not about time."""
        if self.hours is None and self.holidays is None:
            return None
        return Opening(
            name=self.id,
            hours=self.hours or (ALL_DAY,) * 7,
            holidays=self.holidays or frozenset(),
            source=self.citation,
            effective_from=self.effective_from,
            effective_to=self.effective_to,
        )


@dataclass(frozen=True, slots=True, eq=False)
class RuleSet:
    """The rules of the named sets, in order. `version` is that of the rules' data: `rules 2026.11`."""

    names: tuple[str, ...]
    rules: tuple[Rule, ...]
    version: str

    def rules_for(self, places: str) -> tuple[Rule, ...]:
        """The rules of each of `places`, the codes of where somebody may be: `US|US-FL`. All of them count."""
        return _rules_for(self, places)

    def openings_for(self, places: str, on_date: date) -> tuple[Opening, ...]:
        """What lets messages leave to somebody who may be in `places`, on that day or as far ahead as windows look.

        An opening has the dates of its rule, so that one which takes effect within a long run does so.
        """
        first, last = on_date - _MARGIN, on_date + timedelta(days=LOOK_AHEAD_DAYS) + _MARGIN
        return tuple(
            opening
            for rule in self.rules_for(places)
            if (rule.effective_to or last) >= first and (rule.effective_from or first) <= last
            if (opening := rule.to_opening()) is not None
        )

    def caps_for(self, places: str, on_date: date) -> tuple[FrequencyCap, ...]:
        """The caps on what a person who may be in `places` gets, each named by its rule: `3/24h (rule us-fl-cap)`."""
        return tuple(
            FrequencyCap(rule.cap.messages, rule.cap.window_s, f"{rule.cap.text} (rule {rule.id})")
            for rule in self.rules_for(places)
            if rule.cap is not None and rule.counts_on(on_date)
        )

    def caps(self) -> tuple[FrequencyCap, ...]:
        """The caps of all rules, wherever they count."""
        return tuple(rule.cap for rule in self.rules if rule.cap is not None)

    @property
    def has_caps(self) -> bool:
        """Whether any rule bounds how many messages a person gets."""
        return bool(self.caps())

    def old_rules(self, today: date) -> tuple[Rule, ...]:
        """The rules that nobody has looked up for more than twelve months."""
        return tuple(rule for rule in self.rules if rule.is_old(today))


def load_rule_sets(names: Iterable[str] = (DEFAULT_SET,)) -> RuleSet:
    """Return the rules of these sets; `us-federal` is another name of `us`. Raises ValueError for an unknown name."""
    chosen = tuple(dict.fromkeys(_ALIASES.get(name.strip().lower(), name.strip().lower()) for name in names))
    for name in chosen:
        if name not in SET_NAMES:
            known = " or ".join(SET_NAMES)
            raise ValueError(f"{name!r} is not a set of rules: write {known}; `sender rules` lists what is in them")
    return _load(chosen)


def list_rules(place: str | None = None, *, rule_set: str = STRICT_SET) -> tuple[Rule, ...]:
    """Return the shipped rules of a set, or those that count in a place: `US-FL`, or `US|US-FL` for several.

    Raises InputError for an unknown set, and for what is not the code of a place.
    """
    try:
        rules = load_rule_sets([rule_set])
    except ValueError as problem:
        raise InputError(str(problem)) from None
    if place is None:
        return rules.rules
    for code in place.split("|"):
        if not _PLACE.fullmatch(code.strip()):
            raise InputError(f"{code.strip()!r} is not the code of a place", fix="write US, US-FL or FR")
    return rules.rules_for(place)


@cache
def _load(names: tuple[str, ...]) -> RuleSet:
    files = dict.fromkeys(file for name in names for file in _FILES[name])
    rules = tuple(rule for file in files for rule in _read(file)[1])
    return RuleSet(names, rules, f"rules {_read(DEFAULT_SET)[0]}")


@cache
def _rules_for(rule_set: RuleSet, places: str) -> tuple[Rule, ...]:
    there = {place.strip() for place in places.split("|")}
    there |= {place.partition("-")[0] for place in there}  # what counts in the country counts in each part
    return tuple(rule for rule in rule_set.rules if rule.jurisdiction in there)


@cache
def _read(file: str) -> tuple[str, tuple[Rule, ...]]:
    """The version and the rules of one of the package's files."""
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # everything stays text: 09:00 is no number
    text = (resources.files("sender.rules") / "data" / f"{file}.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506 (a base loader makes text, lists and dicts)
    read = document.get("read", "")
    return document["version"], tuple(_to_rule(entry, document["set"], read) for entry in document["rules"])


def _to_rule(entry: Mapping[str, Any], set_name: str, read: str) -> Rule:
    kind, value = RuleKind(entry["kind"]), entry["value"]
    shown = value
    if isinstance(value, Mapping):
        shown = "; ".join(f"{days} {hours}" for days, hours in value.items())
    elif isinstance(value, list):
        shown = ", ".join(value)
    return Rule(
        id=entry["id"],
        jurisdiction=entry["jurisdiction"],
        set_name=set_name,
        scope=entry["scope"],
        kind=kind,
        value=shown,
        basis=entry.get("basis", "recipient"),
        citation=entry["citation"],
        url=entry["url"],
        read=entry.get("read", read),
        quote=entry.get("quote", ""),
        exception=entry.get("exception", ""),
        as_of=date.fromisoformat(entry["as_of"]),
        confidence=Confidence(entry["confidence"]),
        effective_from=_to_date(entry.get("effective_from")),
        effective_to=_to_date(entry.get("effective_to")),
        hours=_to_hours(kind, value),
        holidays=HolidayCalendar(tuple(value)) if kind is RuleKind.HOLIDAY else None,
        cap=parse_cap(value) if kind is RuleKind.CAP else None,
    )


def _to_hours(kind: RuleKind, value: Any) -> tuple[Ranges, ...] | None:
    if kind is RuleKind.DAYS:
        open_days = parse_days(value)
        return tuple(ALL_DAY if day in open_days else () for day in range(7))
    if kind is not RuleKind.WINDOW:
        return None
    hours: list[Ranges] = [()] * 7
    for days, text in (value if isinstance(value, Mapping) else {"all": value}).items():
        for day in parse_days(days):
            hours[day] = parse_hours(text)
    return tuple(hours)


def _to_date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
