"""How fast a plan is sent: rates, retries and time-outs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sender.core.guards import MAX_FAILED, MAX_REJECTED_IN_A_ROW


@dataclass(frozen=True, slots=True)
class Queue:
    """The provider's queue: how many units may wait in it, and how many leave it a second."""

    units: float
    drained_per_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to send, and how often to retry. Not part of the hash: a run may be resumed at another pace.

    `per_s` limits all messages together, in `unit`s (`messages` or `segments`, as the provider counts); None is
    unlimited. `senders` are the limits of single numbers, in the same unit. A `concurrency` of None follows from the
    rate and the latency. `transport` is `fast` or `httpx`. A `queue` of None does not limit the provider's queue.

    `max_rejected_in_a_row` and `max_failed` (a share of the first 200 messages, from 0 to 1) are the refusals after
    which a run stops; None never does.
    """

    rate: str
    per_s: float | None
    unit: str
    concurrency: int | None
    retries: int
    timeout_s: float
    source: str | None = None
    senders: Mapping[str, float] = field(default_factory=dict)
    transport: str = "fast"
    queue: Queue | None = None
    max_rejected_in_a_row: int | None = MAX_REJECTED_IN_A_ROW
    max_failed: float | None = MAX_FAILED

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Pace:
        """Return the Pace that `asdict` made `values` of. Raises KeyError or TypeError when parts are missing."""
        queue = values.get("queue")
        return Pace(**{**values, "queue": Queue(**queue) if queue else None})
