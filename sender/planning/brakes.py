"""What stops a start before its first message: the limits of a campaign on a whole plan and on a day.

One table, `BRAKES`: each limit has a name, and says what it found and what to do. The manifest of a plan holds its
limits, so that they bind a written plan, a resumed run and a retry as well. Never asks: a stop says whether a person
may go on (`asks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sender.core import money
from sender.core.errors import CostLimit, LimitReached, setting
from sender.core.outcomes import SkipReason
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.planning import costs
from sender.planning.day_use import DayUse, Due, find_due, read_day_use
from sender.state.ledger import Run, RunKind
from sender.state.state import State

_BROKEN = (SkipReason.INVALID_NUMBER, SkipReason.MISSING_DATA, SkipReason.RENDER_ERROR)
_BROKEN_SHARE = Decimal(50)  # per cent; more than that is a broken export
_FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Stop:
    """A limit that a start would pass: its name, what was found, and what to do. `asks`: a person may go on."""

    limit: str
    found: str
    fix: str
    asks: bool = False

    def error(self) -> LimitReached:
        """Return the error to raise."""
        kind = CostLimit if self.limit.startswith("max_cost") else LimitReached
        return kind(self.found, fix=self.fix)


@dataclass(frozen=True, slots=True)
class Start:
    """What a start is about to do: its plan in numbers; for a live run also what is due now, and the last 24 hours.

    `resumed`: its first message has been sent, so what the plan skips is settled.
    """

    manifest: Manifest
    resumed: bool = False
    due: Due | None = None
    day: DayUse | None = None


@dataclass(frozen=True, slots=True)
class Brake:
    """A limit by its name in the campaign's `limits`; `find` returns what to say where the start passes it."""

    name: str
    find: Callable[[Start, Any], Stop | None]


def find_stops(start: Start) -> tuple[Stop, ...]:
    """Return every limit that the start would pass, in the order of `BRAKES`."""
    limits = limits_of(start.manifest)
    found = (brake.find(start, limits.get(brake.name)) for brake in BRAKES)
    return tuple(stop for stop in found if stop is not None)


def check_start(state: State, plan: Plan, run: Run | None, kind: RunKind, *, limit: int | None) -> None:
    """Raise LimitReached or CostLimit where a start of `plan` passes a limit. `run` is the one that is resumed.

    `limit` is the most messages of the plan that are sent now.
    """
    for stop in find_stops(read_start(state, plan, run, kind, limit=limit)):
        raise stop.error()


def read_start(state: State, plan: Plan, run: Run | None, kind: RunKind, *, limit: int | None) -> Start:
    """Return what a start of `plan` is about to do; the last day is read only where a limit asks for it."""
    start = Start(plan.manifest, resumed=run is not None)
    limits = limits_of(plan.manifest)
    if kind is not RunKind.LIVE or all(limits.get(name) is None for name in _PER_DAY):
        return start
    cost = plan.manifest.cost
    currency = cost["currency"] if cost is not None and limits.get("max_cost_per_day") is not None else None
    return replace(start, due=find_due(state, plan, run, limit=limit), day=read_day_use(state, currency=currency))


def measure_stored(stored: Plan, today: Manifest) -> Plan:
    """Return a stored plan with the limits of today's, in today's currency."""
    limits = limits_of(today)
    cost = stored.manifest.cost
    if cost is not None and today.cost is not None and cost["currency"] != today.cost["currency"]:
        stored = stored.with_manifest(replace(stored.manifest, cost=None))
    return with_limits(stored.with_manifest(replace(stored.manifest, limits={})), limits)


def limits_of(manifest: Manifest) -> dict[str, Any]:
    """Return the plan's limits by name; `max_cost` is kept with the cost."""
    max_cost = None if manifest.cost is None else manifest.cost.get("max_cost")
    return {"max_cost": max_cost, **manifest.limits}


def with_limits(plan: Plan, limits: Mapping[str, Any]) -> Plan:
    """Return the plan with some of its limits changed; what it sends stays as it is."""
    if not limits:
        return plan
    manifest = plan.manifest
    others = {name: value for name, value in limits.items() if name != "max_cost"}
    cost = manifest.cost
    if "max_cost" in limits:
        if cost is None:
            others["max_cost"] = limits["max_cost"]  # there are no prices to hold it against
        else:
            cost = {**cost, "max_cost": limits["max_cost"]}
    return plan.with_manifest(replace(manifest, limits={**manifest.limits, **others}, cost=cost))


def _find_messages(start: Start, most: int | None) -> Stop | None:
    messages = start.manifest.messages
    if most is None or messages <= most:
        return None
    return Stop(
        "max_messages",
        f"the plan has {_many(messages, 'message')}, and limits.max_messages is {most:,}",
        f"raise {setting('limits.max_messages')}, or send to fewer; nothing was sent",
    )


def _find_skipped(start: Start, most: str | None) -> Stop | None:
    """Only what a broken export makes counts, of the rows that were not left out on purpose."""
    manifest = start.manifest
    if manifest.test_to is not None or start.resumed:
        return None
    by_reason = {reason.value: manifest.skipped.get(reason, 0) for reason in _BROKEN}
    broken = sum(by_reason.values())
    rows = broken + manifest.messages
    if not broken or (most is None and rows < _FEWEST_ROWS):
        return None
    limit = most or f"{_BROKEN_SHARE}%"
    allowed = Decimal(limit.removesuffix("%"))
    if Decimal(broken) * 100 <= allowed * rows if limit.endswith("%") else broken <= allowed:
        return None
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in by_reason.items() if count)
    would = f"{broken:,} of {_many(rows, 'row')} would be skipped because something is wrong with them ({reasons})"
    look = "`sender plan` shows each row"
    if most is None:
        return Stop(
            "max_skipped",
            f"{would}: more than half, as in a broken export",
            f"correct the list ({look}); `--max-skipped none` (limits.max_skipped) sends to the others",
            asks=True,
        )
    return Stop(
        "max_skipped",
        f"{would}, and limits.max_skipped is {most}",
        f"correct the list ({look}), or raise {setting('limits.max_skipped')}; nothing was sent",
    )


def _find_segments(start: Start, most: int | None) -> Stop | None:
    sizes = {int(size): count for size, count in start.manifest.segment_counts.items()}
    larger = {size: count for size, count in sizes.items() if most is not None and size > most}
    if not larger:
        return None
    return Stop(
        "max_segments_per_message",
        f"{_many(sum(larger.values()), 'message')} would take more segments than limits.max_segments_per_message, which"
        f" is {most}: up to {max(larger)}",
        "shorten the text; `message.max_segments` skips such rows; or raise"
        f" {setting('limits.max_segments_per_message')}; nothing was sent",
    )


def _find_cost(start: Start, most: str | None) -> Stop | None:
    if most is None:
        return None
    cost = start.manifest.cost
    if cost is None:
        began = "the run started with a plan that" if start.resumed else "the plan"
        return Stop(
            "max_cost",
            f"{began} has no prices in this currency, so its cost is unknown, and limits.max_cost is {most}",
            "remove `limits.max_cost` (or --max-cost none) to send anyway",
        )
    problem = costs.cost_problem({**cost, "max_cost": most})
    return None if problem is None else Stop("max_cost", *problem)


def _find_messages_per_day(start: Start, most: int | None) -> Stop | None:
    if most is None or start.day is None or start.due is None:
        return None
    sent, due = start.day.messages, start.due.messages
    if not due or sent + due <= most:
        return None
    rest = most - sent
    first = f"`--limit {start.due.offset + rest}` sends {rest:,} of them now; " if rest > 0 else ""
    return Stop(
        "max_messages_per_day",
        f"live runs have sent {_many(sent, 'message')} in the last 24 hours, this start would add {due:,}, and"
        f" limits.max_messages_per_day is {most:,}",
        f"{first}{_when(start.day.frees_messages_at(sent + due - most))} or raise"
        f" {setting('limits.max_messages_per_day')}; nothing was sent",
    )


def _find_cost_per_day(start: Start, most: str | None) -> Stop | None:
    if most is None or start.day is None or start.due is None or not start.due.messages:
        return None
    raised = f"raise {setting('limits.max_cost_per_day')}"
    if start.day.unpriced or start.due.cost_micros is None:
        where = ", ".join(start.day.unpriced) or "this plan"
        return Stop(
            "max_cost_per_day",
            f"messages of the last 24 hours have no price in this currency ({where}), so the day's cost is unknown, and"
            f" limits.max_cost_per_day is {most}",
            f"add prices to the campaigns that share this limit, or remove it ({setting('limits.max_cost_per_day')})",
        )
    limit = money.parse(most)
    spent, due = start.day.cost_micros, start.due.cost_micros
    if spent + due <= limit:
        return None
    return Stop(
        "max_cost_per_day",
        f"live runs of the last 24 hours cost {money.text(spent)}, this start would add {money.text(due)}, and"
        f" limits.max_cost_per_day is {most}",
        f"{_when(start.day.frees_cost_at(spent + due - limit))} send fewer (--limit), or {raised}; nothing was sent",
    )


def _when(moment: str | None) -> str:
    return f"from {moment} on there is room for all;" if moment else "there is never room for all;"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


_PER_DAY = ("max_messages_per_day", "max_cost_per_day")
BRAKES: tuple[Brake, ...] = (
    Brake("max_messages", _find_messages),
    Brake("max_skipped", _find_skipped),
    Brake("max_segments_per_message", _find_segments),
    Brake("max_cost", _find_cost),
    Brake("max_messages_per_day", _find_messages_per_day),
    Brake("max_cost_per_day", _find_cost_per_day),
)
