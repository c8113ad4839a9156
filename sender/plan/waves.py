"""When each message of a run may leave: ranges of messages that share the same times.

A run's plan has its messages in the order in which they are claimed, so a wave is a range of `seq`. The times are
computed once, when the run starts, and are stored with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Interval = tuple[int, int]  # milliseconds UTC: from the first on, before the second


def urgency(intervals: Sequence[Interval]) -> tuple[int, int]:
    """Return the sort key of the claims: the end of the last interval, then the start of the first.

    Messages without an interval come first.
    """
    return (intervals[-1][1], intervals[0][0]) if intervals else (-1, -1)


@dataclass(frozen=True, slots=True)
class Wave:
    """The messages with `seq` from `first` to below `end`, and the intervals in which they may leave, in order.

    Without an interval they may never leave. `zones` are the zones that their recipients may be in, and `rules` what
    set the times, each by its name.
    """

    first: int
    end: int
    intervals: tuple[Interval, ...]
    zones: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def opens_ms(self) -> int | None:
        return self.intervals[0][0] if self.intervals else None

    @property
    def ends_ms(self) -> int | None:
        return self.intervals[-1][1] if self.intervals else None

    def open_until(self, now_ms: int, arrives_ms: int | None = None) -> int | None:
        """The end of the interval that `now_ms` is in; None where the wave is closed.

        With `arrives_ms`, a message that leaves now arrives then, and has to arrive in the same interval.
        """
        arrives_ms = now_ms if arrives_ms is None else arrives_ms
        return next((end for start, end in self.intervals if start <= now_ms and arrives_ms < end > now_ms), None)

    def next_opening(self, now_ms: int) -> int | None:
        """When the next interval begins; None where none does any more."""
        return next((start for start, _ in self.intervals if start > now_ms), None)

    def is_over(self, now_ms: int) -> bool:
        return not self.intervals or now_ms >= self.intervals[-1][1]

    def to_manifest(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "end": self.end,
            "intervals": [list(interval) for interval in self.intervals],
            "zones": list(self.zones),
            "rules": list(self.rules),
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Wave:
        """The wave that `to_manifest` describes."""
        return cls(
            data["first"],
            data["end"],
            tuple((start, end) for start, end in data["intervals"]),
            tuple(data["zones"]),
            tuple(data["rules"]),
        )


class Waves(Sequence[Wave]):
    """The waves of a run, in the order of their messages. They cover every message once."""

    def __init__(self, waves: Iterable[Wave]) -> None:
        self._waves = tuple(waves)
        self._ends = [wave.end for wave in self._waves]

    @classmethod
    def of(cls, data: Iterable[Mapping[str, Any]]) -> Waves:
        """The waves that a manifest has."""
        return cls(Wave.of(entry) for entry in data)

    def __len__(self) -> int:
        return len(self._waves)

    def __getitem__(self, index: Any) -> Any:
        return self._waves[index]

    def index_of(self, seq: int) -> int:
        """The number of the wave that the message is in."""
        return bisect_right(self._ends, seq)

    def next_change_ms(self, now_ms: int) -> int | None:
        """When the next interval of any wave begins or ends; None where none does any more."""
        return min(
            (moment for wave in self._waves for interval in wave.intervals for moment in interval if moment > now_ms),
            default=None,
        )


@dataclass(frozen=True, slots=True)
class HeldMessages:
    """Messages that wait for their window: until when (milliseconds UTC), in which zones, and what holds them."""

    until_ms: int
    zones: tuple[str, ...]
    rules: tuple[str, ...]
    messages: int
