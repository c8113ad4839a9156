"""The times of a cron expression in a zone: what `schedule:` in a campaign means.

The answers are Debian cron's, by cronsim: a time that occurs twice is met once, the first time; one that does not exist
is met at the next minute that does. Steps over all hours (`*/15 * * * *`) follow the time that passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile

from cronsim import CronSim, CronSimError

_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * sun",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = "minute hour day-of-month month day-of-week"
_LOOK_BACK_DAYS = (0.05, 1, 8, 32, 370, 3000, 15_000)  # leap days are up to eight years apart, some dates more
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ticks:
    """A cron expression, as it was written and as five fields, in a zone."""

    text: str
    expression: str
    zone: tzinfo

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times after `moment`, each once, in the zone."""
        last = moment.astimezone(UTC)
        # cronsim works on local times where it mimics cron: it repeats one across a gap, and from within the second
        # hour of an overlap it begins in the first.
        for tick in CronSim(self.expression, moment.astimezone(self.zone)):
            if tick.astimezone(UTC) > last:
                last = tick.astimezone(UTC)
                yield last.astimezone(self.zone)

    def next(self, moment: datetime) -> datetime:
        """Return the first time after `moment`."""
        return next(self.after(moment))

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the times after `after`, up to and including `until`."""
        # In UTC: two times of one zone are compared by their local time alone.
        last = until.astimezone(UTC)
        return takewhile(lambda tick: tick.astimezone(UTC) <= last, self.after(after))

    def last(self, moment: datetime) -> datetime | None:
        """Return the last time up to and including `moment`; None if there was none in 41 years."""
        # Backwards, cronsim leaves out what a gap has moved (2.8, 2026-11-05).
        for days in _LOOK_BACK_DAYS:
            found = None
            for tick in self.between(moment - timedelta(days=days), moment):
                found = tick
            if found is not None:
                return found
        return None

    def explain(self) -> str:
        """Return the expression in words: `At 09:00 on Monday`."""
        return CronSim(self.expression, _SOME_DAY).explain()


def read_ticks(text: str, zone: tzinfo) -> Ticks:
    """Return the times that `text` means: five fields of cron, or a name as `@daily`. Raises ValueError."""
    written = " ".join(text.split())
    expression = _NAMES.get(written.lower(), written)
    fields = expression.split()
    if expression.startswith("@"):
        raise ValueError(f"{written!r} is not a time: write five fields ({_FIELDS}), or {', '.join(_NAMES)}")
    if len(fields) != 5:
        raise ValueError(f"{written!r} has {len(fields)} fields: write five ({_FIELDS}), for example `0 9 * * mon`")
    try:
        times = CronSim(expression, _SOME_DAY)
        has_time = next(times, None) is not None
    except CronSimError as error:
        if _is_readable(fields):
            has_time = False
        else:
            what = str(error).replace("Bad ", "the ") + " cannot be read"
            raise ValueError(f"{written!r}: {what}; the fields are {_FIELDS}, for example `0 9 * * mon`") from None
    if not has_time:
        raise ValueError(f"{written!r} never occurs: no date matches it; check the day against the month")
    return Ticks(written, expression, zone)


def _is_readable(fields: list[str]) -> bool:
    """Whether each field can be read alone."""
    for number, field in enumerate(fields):
        others = ["*"] * 5
        others[number] = field
        try:
            CronSim(" ".join(others), _SOME_DAY)
        except CronSimError:
            return False
    return True
