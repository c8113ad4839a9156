"""The provider's ids that came last: an answer with one of them belongs to another message.

Why not every id of the ledger: it would take an index over random ids, which every message would have to write, or
memory that grows with the campaign (`docs/decisions.md`). A doubled or stored answer comes soon after the first, and
one about another person is recognised by its number anyway. Pure; performs no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

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
