"""What a process that sends a run says about it each second, for people who watch from another terminal.

Nothing depends on it: a heartbeat may be missing, old, or of a process that died.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sender.state.ledger import Run

EVERY_S = 1.0  # between two moments that are published
FRESH_S = 5.0  # how old one may be to be shown


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run. Counts are messages and durable; `rate_per_s` is of this session, in messages a second.

    `eta_s` is until the last answer (None: there is no estimate yet). `slowed_to_per_s` is the rate in force while the
    provider's refusals hold it below the limit, in the unit of the limit (None while they do not). `held_until_ms` is
    when the next window opens (milliseconds UTC), while none is open. While a canary's receipts are awaited, `awaited`
    is how many, and `waiting_s` the seconds that are left (else None).
    """

    total: int
    accepted: int
    rejected: int
    canceled: int
    unknown: int
    pending: int
    in_flight: int
    elapsed_s: float
    rate_per_s: float
    eta_s: float | None
    paused_s: float = 0.0
    slowed_to_per_s: float | None = None
    held_until_ms: int | None = None
    awaited: int | None = None
    waiting_s: float | None = None

    @property
    def done(self) -> int:
        return self.accepted + self.rejected + self.canceled + self.unknown


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`eta_s` and `slowed_to_per_s` as in `Progress`."""

    eta_s: float | None
    slowed_to_per_s: float | None


OnProgress = Callable[[Progress], None]


class Heartbeats(Protocol):
    """The heartbeat of each run that is being sent."""

    def publish(self, run: Run, on_progress: OnProgress | None = None) -> AbstractContextManager[OnProgress]:
        """Publish the moments that the result is called with, about one a second, and remove the last one at the end.

        `on_progress` is called with every moment. Failing to publish is not an error.
        """
        ...

    def read(self, run: Run) -> Heartbeat | None:
        """The run's newest heartbeat, `eta_s` as of now; None when there is none of the last few seconds."""
        ...
