"""What a store of replies keeps and answers: the protocol, and its rows.

It holds the replies that a listener was told to keep, and those that wait to be forwarded. A reply that was not to be
kept is blanked once it has been forwarded; what is left of it is its message id, by which a second delivery of its
webhook is recognised.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from sender.core.clock import time_of_day_ms
from sender.core.errors import InputError

MOST_WAITING = 100_000  # replies that wait to be forwarded: beyond that, new ones are not


class ReplyRow(NamedTuple):
    """A reply. Times are milliseconds UTC. `number`, `our_number` and `text` are None where they were erased.

    `meaning` is `stop`, `start`, `review` or None, as the suppression list understood it. `written_at` is the
    provider's time, where it says one. `simulated` ones are the sandbox's.
    """

    dialect: str
    message_id: str
    number: str | None
    our_number: str | None
    text: str | None
    media: tuple[str, ...]
    meaning: str | None
    written_at: int | None
    heard_at: int
    simulated: bool


REPLY_COLUMNS = ", ".join(ReplyRow._fields)  # of a table; `media` is JSON there


def reply_columns(reply: ReplyRow) -> tuple[Any, ...]:
    """The values of REPLY_COLUMNS."""
    return tuple(reply._replace(media=json.dumps(reply.media)))  # type: ignore[arg-type]


def read_reply(columns: Sequence[Any]) -> ReplyRow:
    """The reply of which `reply_columns` made these values."""
    row = ReplyRow._make(columns)
    return row._replace(media=tuple(json.loads(row.media)), simulated=bool(row.simulated))  # type: ignore[arg-type]


class StoredReply(NamedTuple):
    """A reply that is kept. `forwarded` is `waiting`, `done`, `failed`, or None where it was not to be forwarded."""

    reply: ReplyRow
    forwarded: str | None


class WaitingReply(NamedTuple):
    """A reply that is to be forwarded now, for the `tries`-th time; `key` names it in the store."""

    key: int
    reply: ReplyRow
    tries: int


class ReplyStore(Protocol):
    """The replies of one state. What is written is on disk before a method returns.

    A handle may be used from any thread, by one at a time; any number of processes may have one open.
    """

    def now_ms(self) -> int:
        """Milliseconds UTC by the clock that all share who use the store."""
        ...

    def add(self, reply: ReplyRow, *, keep: bool, forward: bool) -> bool:
        """Store a reply; return whether it is new. The same dialect and message id are the same reply.

        One that cannot wait, because MOST_WAITING do, counts as failed at once.
        """
        ...

    def kept(self, *, number: str | None = None, since_ms: int = 0) -> list[StoredReply]:
        """The replies that are kept, oldest first: of one number, or heard since then."""
        ...

    def claim_waiting(self, now_ms: int, *, lease_ms: int) -> WaitingReply | None:
        """The reply to forward at `now_ms`, or None. Until the lease is over, no other process gets it."""
        ...

    def settle(self, key: int, *, retry_at_ms: int | None = None, failed: bool = False) -> None:
        """Note what became of a reply that was claimed: forwarded, to be tried again then, or given up."""
        ...

    def forward_counts(self) -> dict[str, int]:
        """How many replies are `waiting`, `done` and `failed`; without those that there are none of."""
        ...

    def erase(self, number: str) -> int:
        """Blank the replies of a number, and forward none of them; return how many there were."""
        ...

    def prune(self, before_ms: int, *, dry_run: bool = False) -> int:
        """Remove the replies that were heard before; return how many kept ones."""
        ...

    def drop_blank(self, before_ms: int) -> None:
        """Forget the message ids of blanked replies that were not kept, and were heard before."""
        ...

    def compact(self) -> None:
        """Rid the store of whatever was erased. Raises StateError while another process reads."""
        ...

    def close(self) -> None: ...


class EmptyReplies:
    """The store of a state in which no reply was ever kept. A `ReplyStore` that cannot be written."""

    def now_ms(self) -> int:
        return time_of_day_ms()

    def add(self, reply: ReplyRow, *, keep: bool, forward: bool) -> bool:  # noqa: ARG002 (the protocol's)
        raise InputError("these replies were opened for reading", fix="open them with create=True")

    def kept(self, *, number: str | None = None, since_ms: int = 0) -> list[StoredReply]:  # noqa: ARG002
        return []

    def claim_waiting(self, now_ms: int, *, lease_ms: int) -> WaitingReply | None:  # noqa: ARG002
        return None

    def settle(self, key: int, *, retry_at_ms: int | None = None, failed: bool = False) -> None:
        pass

    def forward_counts(self) -> dict[str, int]:
        return {}

    def erase(self, number: str) -> int:  # noqa: ARG002
        return 0

    def prune(self, before_ms: int, *, dry_run: bool = False) -> int:  # noqa: ARG002
        return 0

    def drop_blank(self, before_ms: int) -> None:
        pass

    def compact(self) -> None:
        pass

    def close(self) -> None:
        pass
