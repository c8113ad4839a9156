"""When the messages of a plan may leave: what the campaign's window and the shipped rules say of each recipient.

The plan keeps zones and rules; the times follow from them and from the moment at which somebody asks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sender.core import clock
from sender.core.errors import CampaignError, InputError
from sender.plan.waves import Interval
from sender.rules.holiday_calendar import find_calendar
from sender.rules.hours import ALL_DAY, ALL_DAYS, parse_days, parse_hours
from sender.rules.openings import Opening, closed_at, next_windows
from sender.rules.rule_sets import DEFAULT_SET, RuleSet, load_rule_sets
from sender.rules.zones import zone as find_zone

if TYPE_CHECKING:  # its models take 60 ms to build, and what sends a plan needs none
    from sender.campaign.model import Campaign

RULES_VARIABLE = "SENDER_RULES"
DEFAULT_RULES = (DEFAULT_SET,)
WINDOW = "window"  # the name of the campaign's own opening
_EVERYWHERE = "Etc/UTC"
_EXAMPLES = {"hours": '"09:00-20:00"', "days": "mon-sat", "holidays": "[US]", "zone": "Europe/London"}


@dataclass(frozen=True, slots=True)
class Times:
    """When a recipient may be texted from some moment on, and the names of what holds the message back until then."""

    intervals: tuple[Interval, ...]
    rules: tuple[str, ...] = ()


class SendingTimes:
    """The times of a plan, from what its manifest keeps (`window`)."""

    def __init__(self, window: Mapping[str, Any]) -> None:
        self._window = window
        self._known: dict[tuple[str | None, str | None, int], Times] = {}

    def __bool__(self) -> bool:
        return bool(self._window)

    @property
    def outside(self) -> str:
        """What becomes of a message outside its window: `hold`, `skip` or `expire`."""
        return str(self._window.get("outside", "hold"))

    @property
    def deadline_ms(self) -> int | None:
        return self._window.get("deadline_ms")

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The names of the sets of rules that apply."""
        return tuple(self._window.get("rules", ()))

    @cached_property
    def opening(self) -> Opening | None:
        """The campaign's own window; None where it has none."""
        window = self._window
        if not (window.get("hours") or window.get("days") or window.get("holidays")):
            return None
        return _opening(window)

    @cached_property
    def rule_set(self) -> RuleSet:
        return load_rule_sets(self.rule_names)

    def openings(self, places: str | None, at_ms: int) -> tuple[Opening, ...]:
        """Everything that must be open for a recipient who may be in `places`, as the plan's column has them."""
        today = datetime.fromtimestamp(at_ms / 1000, UTC).date()
        own = () if self.opening is None else (self.opening,)
        return (*own, *self.rule_set.openings_for(places or "", today))

    def of(self, zone: str | None, places: str | None, now_ms: int) -> Times:
        """When a recipient may be texted who may be in these zones and places (columns of the plan).

        Raises InputError where the holidays of a year that matters are not known.
        """
        key = (zone, places, now_ms)
        if key not in self._known:
            try:
                self._known[key] = self._find(zone, places, now_ms)
            except ValueError as error:  # checked for this year, and the window reaches into another
                what, _, fix = str(error).partition(": ")
                raise InputError(what, where="window.holidays", fix=fix) from None
        return self._known[key]

    def _find(self, zone: str | None, places: str | None, now_ms: int) -> Times:
        openings, zones = self.openings(places, now_ms), tuple((zone or _EVERYWHERE).split("|"))
        intervals = next_windows(
            openings,
            zones,
            now_ms,
            deadline_ms=self.deadline_ms,
            outside=self.outside,  # type: ignore[arg-type]
        )
        return Times(intervals, tuple(opening.name for opening in closed_at(openings, zones, now_ms)))


def compile_window(campaign: Campaign) -> dict[str, Any]:
    """Return what the manifest keeps of the campaign's window; empty where messages may leave at any time.

    Raises CampaignError for a window that cannot be.
    """
    if campaign.purpose == "transactional":
        return {}
    spec = campaign.window
    rules = spec.rules if spec.rules is not None else _default_rules(campaign)
    window: dict[str, Any] = {
        "hours": spec.hours,
        "days": spec.days,
        "holidays": list(spec.holidays),
        "zone": spec.zone,
        "outside": spec.outside,
        "deadline": None if spec.deadline is None else spec.deadline.text,
        "deadline_ms": None if spec.deadline is None else int(spec.deadline.at.timestamp() * 1000),
        "rules": list(rules),
    }
    if not (spec.hours or spec.days or spec.holidays or spec.deadline or rules):
        return {}
    try:
        window["rules_version"] = load_rule_sets(tuple(rules)).version if rules else None
    except ValueError as error:
        raise CampaignError(str(error), where="window.rules", fix="`sender rules` lists the sets") from None
    _check_window(window, campaign)
    return window


def _default_rules(campaign: Campaign) -> tuple[str, ...]:
    if campaign.provider == "sandbox":
        return ()
    named = os.environ.get(RULES_VARIABLE)
    if named is None:
        return DEFAULT_RULES
    return tuple(name.strip() for name in named.split(",") if name.strip() and name.strip().lower() != "none")


def _opening(window: Mapping[str, Any]) -> Opening:
    hours = parse_hours(window["hours"]) if window["hours"] else ALL_DAY
    days = parse_days(window["days"]) if window["days"] else ALL_DAYS
    holidays = find_calendar(window["holidays"]) if window["holidays"] else frozenset[date]()
    zone = None if window["zone"] == "recipient" else window["zone"]
    return Opening.of(WINDOW, hours, days, holidays, zone=zone)


def _check_window(window: Mapping[str, Any], campaign: Campaign) -> None:
    """Raise CampaignError for what is wrong with the window itself."""
    checks: dict[str, Callable[[], object]] = {
        "hours": lambda: window["hours"] and parse_hours(window["hours"]),
        "days": lambda: window["days"] and parse_days(window["days"]),
        "holidays": lambda: find_calendar(window["holidays"], years=(datetime.now(UTC).year,)),
        "zone": lambda: window["zone"] == "recipient" or find_zone(window["zone"]),
    }
    for key, check in checks.items():
        try:
            check()
        except InputError as error:
            raise CampaignError(error.what, where=f"window.{key}", fix=error.fix) from None
        except ValueError as error:
            what, _, fix = str(error).partition(": write ")
            raise CampaignError(what, where=f"window.{key}", fix=f"write {fix or _EXAMPLES[key]}") from None
    if window["deadline_ms"] is not None and window["deadline_ms"] <= clock.time_of_day_ms():
        raise CampaignError(
            "the deadline is in the past", where="window.deadline", fix="name a later one, or leave it out"
        )
    seconds = campaign.fields().get("validity_period")
    longest = _longest_s(window)
    if isinstance(seconds, int) and longest is not None and seconds > longest:
        raise CampaignError(
            f"validity_period is {seconds} s, but the window is open for {longest} s at most: a message could arrive"
            " after it has closed",
            where="validity_period",
            fix=f"write {longest} or less, or leave it out: the window sets it for each message",
        )


def _longest_s(window: Mapping[str, Any]) -> int | None:
    """The longest range of the campaign's hours in seconds; None without any."""
    ranges = parse_hours(window["hours"]) if window["hours"] else ()
    return max(((end - start) * 60 for start, end in ranges), default=None)
