"""Which times of a campaign's schedule are settled: the record of `sender schedule run`, and its protocol."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TickRecord:
    """What is known of a campaign's schedule. Times are milliseconds UTC.

    `schedule` is the expression with its zone; `settled_ms` is the time up to which nothing is due any more. `tick_ms`
    is the last time that was started, with the edition that it sends and when that was; it is under way, or was cut
    off, until it has an `ended_ms`. `failures` counts the processes that crashed over it. `exit_code` is that of its
    end, `success_ms` the end of the last one that was sent to its end. `missed` counts times that nobody started.
    """

    campaign: str
    schedule: str
    settled_ms: int
    tick_ms: int | None = None
    edition: str | None = None
    begun_ms: int | None = None
    failures: int = 0
    ended_ms: int | None = None
    exit_code: int | None = None
    success_ms: int | None = None
    missed: int = 0

    @property
    def is_unfinished(self) -> bool:
        """Whether its last start has not come to an end."""
        return self.tick_ms is not None and self.ended_ms is None


class TickStore(Protocol):
    """The records of a state, a campaign each."""

    def read(self, campaign: str) -> TickRecord | None:
        """The campaign's record; None before its first. Raises StateError for one that is damaged."""
        ...

    def write(self, record: TickRecord) -> None:
        """Write the record; it is on disk when this returns. Raises StateError."""
        ...

    def hold(self, campaign: str) -> AbstractContextManager[None]:
        """Hold the campaign's record, so that one process starts what is due. Raises RunLocked at once."""
        ...
