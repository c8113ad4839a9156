"""Messages that wait, prefetched and not yet claimed, behind the limits of their numbers."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque

from sender.providers.base import Message
from sender.sending.throttle import Throttle

NEARLY_DUE_S = 0.25  # a message is claimed this long before it may leave, not earlier
# Messages prefetched for each number that has a limit of its own, so that every number finds work.
PREFETCH_EACH = 32
PREFETCH_MAX = 4_000


class SenderQueues:
    """A queue for each number of a pace that limits single numbers."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._senders = throttle.pace.senders
        self._usual_max = min(PREFETCH_MAX, PREFETCH_EACH * len(self._senders))
        self._queues: dict[str | None, deque[tuple[int, Message, int]]] = {}
        # When each number is due after what was taken here; the rate limiter learns of that only when it leaves.
        self._due_s: dict[str | None, float] = {}
        self.seqs: set[int] = set()

    def missing(self) -> int:
        """How many messages to prefetch now; 0 while half of the places are taken.

        A list sorted by number has the other numbers' messages further on, so more are read while a number is idle.
        """
        is_idle = any(not self._queues.get(number) for number in self._senders)
        places = PREFETCH_MAX if is_idle and self.seqs else self._usual_max
        return places - len(self.seqs) if len(self.seqs) <= places // 2 else 0

    def add(self, seq: int, message: Message, segments: int) -> None:
        """Put a prefetched message into the queue of its number."""
        self._queues.setdefault(message.from_number, deque()).append((seq, message, segments))
        self.seqs.add(seq)

    def due_in_s(self) -> float:
        """Seconds until the first of the messages may leave; 0 without any."""
        due = self._due()
        return due[0][0] - asyncio.get_running_loop().time() if due else 0.0

    def forget_taken(self) -> None:
        """What was taken has not left."""
        self._due_s.clear()

    def take(self, limit: int) -> dict[int, tuple[Message, int]]:
        """The next messages with their segments by `seq`: numbers that are due first come first, none long before."""
        due, until_s = self._due(), asyncio.get_running_loop().time() + 2 * NEARLY_DUE_S
        taken: dict[int, tuple[Message, int]] = {}
        while due and len(taken) < limit and (not taken or due[0][0] < until_s):
            at_s, _, sender = heapq.heappop(due)
            queue = self._queues[sender]
            seq, message, segments = queue.popleft()
            self.seqs.discard(seq)
            taken[seq] = (message, segments)
            interval_s = self._throttle.rate_limiter.interval_s(self._throttle.units(segments), sender)
            self._due_s[sender] = at_s + interval_s
            if queue:
                heapq.heappush(due, (self._due_s[sender], queue[0][0], sender))
        return taken

    def _due(self) -> list[tuple[float, int, str | None]]:
        """A heap of each number's due time, its first message and itself; ties are in the order of the plan."""
        now_s = asyncio.get_running_loop().time()
        senders = [sender for sender, queue in self._queues.items() if queue]
        due = [
            (max(now_s + due_in_s, self._due_s.get(sender, now_s)), self._queues[sender][0][0], sender)
            for due_in_s, sender in zip(self._throttle.rate_limiter.due_in_s(*senders), senders, strict=True)
        ]
        heapq.heapify(due)
        return due
