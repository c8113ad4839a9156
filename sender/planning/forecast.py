"""What would leave when, if a plan were started at some moment: now, later, or never. Sends nothing, stores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sender.core import clock
from sender.core.lazy_modules import pl
from sender.plan.plan import Plan
from sender.plan.waves import HeldMessages, urgency
from sender.planning.sending_times import SendingTimes, Times


@dataclass(frozen=True, slots=True)
class Forecast:
    """A plan's messages by when they may leave, as of `now_ms`.

    `leave_now` may leave at once. `held` wait, soonest first. `never` have no window left: they would not be sent.
    `late` may leave, but at the plan's pace their window closes before it is their turn; with `by_provider` that is the
    pace at which the provider sends on what it gets. `ends_ms` is when the last one leaves; None where nothing does, or
    nothing limits the pace. `unknown_zone` are the messages of which nothing says where in their country they go.
    """

    now_ms: int
    leave_now: int
    held: tuple[HeldMessages, ...]
    never: int
    late: int
    rules: tuple[str, ...]
    unknown_zone: int
    ends_ms: int | None
    by_provider: bool = False

    @property
    def held_messages(self) -> int:
        return sum(group.messages for group in self.held)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the key `when` of `plan --json`."""
        return {**asdict(self), "held_messages": self.held_messages, "missed": self.missed}

    @property
    def missed(self) -> int:
        """Messages that would not be sent."""
        return self.never + self.late


# Of some countries, the country says it all.
_IS_UNKNOWN = pl.col("zone_source").is_in(["region", "unknown"]) & (
    pl.col("zone").is_null() | pl.col("zone").str.contains("|", literal=True)
)


@dataclass(slots=True)
class _Simulated:
    times: Times
    zones: tuple[str, ...]
    messages: int
    left: float


def foresee(plan: Plan, now_ms: int | None = None) -> Forecast | None:
    """Return when the plan's messages would leave; None where all of them may leave at any time.

    `now_ms` (milliseconds UTC) is when the run would begin; now, by default. Raises InputError for a plan whose zones
    or rules are not known here.
    """
    now_ms = clock.time_of_day_ms() if now_ms is None else now_ms
    times = SendingTimes(plan.manifest.window)
    if not times or plan.manifest.test_to is not None:
        return None
    counts = (
        plan.scan()
        .filter(pl.col("seq").is_not_null())
        .group_by("zone", "zone_source", "places")
        .agg(pl.len().alias("messages"))
        .sort("zone", "places", nulls_last=True)
        .collect(engine="streaming")
    )
    groups = [
        _Simulated(times.of(zone, places, now_ms), tuple((zone or "").split("|")), messages, float(messages))
        for zone, _, places, messages in counts.iter_rows()
    ]
    held: dict[tuple[int, tuple[str, ...]], list[_Simulated]] = {}
    for group in groups:
        if group.times.intervals and group.times.intervals[0][0] > now_ms:
            held.setdefault((group.times.intervals[0][0], group.times.rules), []).append(group)
    per_s, by_provider = _per_s(plan)
    ends_ms = _simulate(groups, now_ms, per_s)
    return Forecast(
        now_ms=now_ms,
        leave_now=sum(g.messages for g in groups if g.times.intervals and g.times.intervals[0][0] <= now_ms),
        held=tuple(
            HeldMessages(until, tuple(sorted({z for g in some for z in g.zones if z})), rules, _sum(some))
            for (until, rules), some in sorted(held.items())
        ),
        never=sum(g.messages for g in groups if not g.times.intervals),
        late=round(sum(g.left for g in groups if g.times.intervals)),
        rules=times.rule_names,
        unknown_zone=int(counts.filter(_IS_UNKNOWN)["messages"].sum()),
        ends_ms=ends_ms,
        by_provider=by_provider,
    )


def _sum(groups: Sequence[_Simulated]) -> int:
    return sum(group.messages for group in groups)


def _per_s(plan: Plan) -> tuple[float | None, bool]:
    """Messages a second (None: nothing limits them), and whether the provider's own pace decides."""
    expected_s, messages = plan.manifest.expected_s, plan.manifest.messages
    feasibility = plan.manifest.feasibility
    per_s = messages / expected_s if expected_s else None
    drained_per_s, units = feasibility.get("drained_per_s"), feasibility.get("units")
    if not (drained_per_s and units):
        return per_s, False
    drained = drained_per_s * messages / units  # what is sent faster waits there, and arrives after the window
    return (per_s, False) if per_s is not None and per_s <= drained else (drained, True)


def _simulate(groups: Sequence[_Simulated], now_ms: int, per_s: float | None) -> int | None:
    """Send the groups at that pace, in the order of the claims; return when the last one leaves.

    What is left of a group afterwards (`left`) had no turn in time.
    """
    moments = sorted({at for group in groups for interval in group.times.intervals for at in interval if at > now_ms})
    in_order = sorted(groups, key=lambda group: urgency(group.times.intervals))
    last_ms: int | None = None
    for start, end in zip([now_ms, *moments], moments, strict=False):
        seconds = (end - start) / 1000
        for group in in_order:
            if not group.left or not any(a <= start and end <= b for a, b in group.times.intervals):
                continue
            sent = group.left if per_s is None else min(group.left, seconds * per_s)
            group.left -= sent
            if per_s is not None:
                seconds -= sent / per_s
                last_ms = round(end - seconds * 1000)
            if group.left < 0.5:
                group.left = 0.0
            if seconds <= 0:
                break
    return last_ms
