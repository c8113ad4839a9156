"""Holds each answer against its request: one about another message counts for nothing, and discredits its connection.

An id that came before belongs to another message. Why not every id of the ledger: it would take an index over random
ids, which every message would have to write, or memory that grows with the campaign (`docs/decisions.md`). A doubled or
stored answer comes soon after the first, and one about another person is recognised by its number anyway.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

from sender.core.outcomes import Accepted, Outcome, Unknown
from sender.providers.base import Adapter, Message, Response
from sender.transport.base import Transport

log = logging.getLogger("sender.sending.answer_check")

REMEMBERED = 100_000  # ids of this session
SEEDED = 20_000  # of these, the newest that the ledger has when the session begins


class RecentIds:
    """A set of the last `size` ids."""

    def __init__(self, ids: Iterable[str] = (), *, size: int = REMEMBERED) -> None:
        self._order: deque[str] = deque()
        self._ids: set[str] = set()
        self._size = size
        for message_id in ids:
            self.add(message_id)

    def add(self, message_id: str) -> bool:
        """Remember an id, and return whether it is new."""
        if message_id in self._ids:
            return False
        if len(self._order) >= self._size:
            self._ids.discard(self._order.popleft())
        self._order.append(message_id)
        self._ids.add(message_id)
        return True


class AnswerCheck:
    """Judges the answers of one session. `ids` are the newest that the ledger has."""

    def __init__(self, adapter: Adapter, transport: Transport, ids: Iterable[str] = ()) -> None:
        self._adapter = adapter
        self._transport = transport
        self._ids = RecentIds(ids)

    def judge(self, response: Response, message: Message) -> Outcome:
        """What the answer to the request of `message` proves. Call it before anything else is awaited."""
        outcome = self._adapter.outcome(response, message)
        if isinstance(outcome, Accepted) and not self._ids.add(outcome.message_id):
            outcome = Unknown(f"HTTP {response.status}, but the answer has another message's id", foreign=True)
        if isinstance(outcome, Unknown) and outcome.foreign:
            self._transport.distrust(response)
            log.warning("%s: its connection is closed", outcome.error_message, extra={"event": "foreign_answer"})
        return outcome
