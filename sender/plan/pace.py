"""How fast a plan is sent, and how stubbornly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Queue:
    """What may lie at the provider, accepted and not yet handed to a carrier, and how fast it gets less; in units."""

    units: float
    drained_per_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and how stubbornly. Not part of the hash: a run may be resumed at another pace.

    `per_s` is in `unit` (`messages` or `segments`, as the provider counts); None is unlimited. It is
    for all messages together; `senders` are the limits of single numbers beside it, in the same unit. `concurrency`
    None follows from the pace and the latency. `transport` is `fast` or `httpx`. `queue` None lets the provider's queue
    grow as it will.
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

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Pace:
        """What `asdict` made. Raises KeyError or TypeError when parts are missing."""
        queue = values.get("queue")
        return Pace(**{**values, "queue": Queue(**queue) if queue else None})
