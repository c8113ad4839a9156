"""What holds messages back: a run's pace, its rate limiter and the limit of requests in flight, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.sending.concurrency import Concurrency
from sender.sending.rate_limit import RateLimit, RateLimiter, RecentMessage, SharedSlots, queue_limit
from sender.state.ledger import Ledger

RECENT_MESSAGES_MAX = 2_000  # messages of the process before that are read,
RECENT_UNITS_MAX = 20  # and the units that one of them may have had


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Throttle:
    """The pace of a process, the rate limiter that keeps it, and the limit of requests in flight.

    Nothing is claimed while `is_paused` says so, and what is claimed then is released.
    """

    pace: Pace
    rate_limiter: RateLimiter
    concurrency: Concurrency
    is_paused: Callable[[], bool] = _never

    def units(self, segments: int) -> int:
        """What a message of `segments` segments counts in the limits."""
        return segments if self.pace.unit == "segments" else 1


def account_limits(pace: Pace) -> tuple[RateLimit | None, dict[str, RateLimit]]:
    """The limit of all messages together (None: unlimited), and those of single numbers, in the pace's unit."""
    account = None if pace.per_s is None else RateLimit(pace.per_s)
    return account, {number: RateLimit(per_s) for number, per_s in pace.senders.items()}


def make_rate_limiter(pace: Pace, shared: SharedSlots | None = None, overall: RateLimiter | None = None) -> RateLimiter:
    """A rate limiter with the limits of `pace`, all of them in its unit; `overall` is what other routes share."""
    account, senders = account_limits(pace)
    queue = None if pace.queue is None else queue_limit(pace.queue.units, pace.queue.drained_per_s)
    return RateLimiter(account, senders=senders, queue=queue, shared=shared, overall=overall)


def resume_rate_limiter(
    pace: Pace,
    ledger: Ledger,
    reader: MessageReader,
    run_id: str,
    shared: SharedSlots | None = None,
    overall: RateLimiter | None = None,
) -> RateLimiter:
    """A rate limiter that starts where an earlier process left the run: it may have sent until it stopped."""
    rate_limiter = make_rate_limiter(pace, shared, overall)
    recent, queued = _recent_messages(ledger, reader, pace, run_id, rate_limiter.overall_per_s)
    rate_limiter.account_for(recent, queued=queued)
    return rate_limiter


def _recent_messages(
    ledger: Ledger, reader: MessageReader, pace: Pace, run_id: str, overall_per_s: float | None
) -> tuple[list[RecentMessage], float]:
    """What the last process sent last, as far as the limits still depend on it, and the queue's length.

    The limits are those of `pace` and `overall_per_s`. The queue is what has no final status yet, in units; 0 where
    no queue counts it.
    """
    limits = [per_s for per_s in (pace.per_s, overall_per_s, *pace.senders.values()) if per_s is not None]
    if not limits and pace.queue is None:
        return [], 0.0
    now_ms = ledger.now_ms()
    ages_s = {seq: (now_ms - at_ms) / 1000 for seq, at_ms in ledger.last_changed(run_id, limit=RECENT_MESSAGES_MAX)}
    felt_s = max([RECENT_UNITS_MAX / per_s for per_s in limits], default=0.0)
    seqs = [seq for place, (seq, age_s) in enumerate(ages_s.items()) if place == 0 or age_s <= felt_s]
    recent = [
        RecentMessage(ages_s[seq], segments if pace.unit == "segments" else 1, message.from_number)
        for seq, (message, segments) in zip(seqs, reader.read(seqs), strict=True)
    ]
    if pace.queue is None or not recent:
        return recent, 0.0
    return recent, ledger.delivering(run_id) * sum(message.units for message in recent) / len(recent)
