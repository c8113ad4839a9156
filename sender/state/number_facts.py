"""What a state knows of phone numbers beyond opt-outs: their type, carrier and zone, and what it cost to learn that.

A cache: losing it costs money, and nobody a message. Of each number the newest lookup is kept, or else what a provider
said in passing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

from sender.core.errors import InputError, RunLocked

LOOKUP = "lookup"
ANSWER = "answer"


class NumberFacts(NamedTuple):
    """What a provider said of a number at `at` (milliseconds UTC).

    `source` is LOOKUP, or ANSWER for what an answer to a message said in passing. `line_type` is one of
    `sender.phone`'s types, `zone` the names of time zones joined with `|`. `reassigned` is `yes`, `no` or `unknown`,
    and the day since which it was asked for. `problem` is the provider's sentence where it could not tell. `price` is
    decimal text. `simulated` facts come from the sandbox, and count for simulations alone.
    """

    number: str
    simulated: bool
    source: str
    provider: str
    at: int
    line_type: str | None = None
    carrier: str | None = None
    zone: str | None = None
    reassigned: str | None = None
    reassigned_since: str | None = None
    valid: bool | None = None
    problem: str | None = None
    price: str | None = None
    currency: str | None = None


class NumberStore(Protocol):
    """The facts of one state. What is written is on disk before a method returns."""

    def put(self, facts: Iterable[NumberFacts]) -> int:
        """Keep these facts in one transaction, but for older ones, and answers where a lookup is; return how many."""
        ...

    def look_up(self, numbers: Sequence[str], *, simulated: bool) -> Iterator[NumberFacts]:
        """The facts of those of `numbers` that are known."""
        ...

    def hold_lookups(self) -> AbstractContextManager[None]:
        """Be the one who looks numbers up, until the end of the block. Raises RunLocked while another process does."""
        ...

    def everything(self) -> Iterator[NumberFacts]:
        """All facts, by number."""
        ...

    def erase(self, numbers: Iterable[str]) -> int:
        """Drop what is known of `numbers`; return of how many facts."""
        ...

    def drop_before(self, at: int) -> int:
        """Drop facts older than `at` (milliseconds UTC); return how many."""
        ...

    def compact(self) -> None:
        """Rid the store of whatever was dropped. Raises StateError while another process reads."""
        ...

    def close(self) -> None: ...


class EmptyNumbers:
    """The store of a state that knows nothing of numbers yet, and cannot be written. A `NumberStore`."""

    def put(self, facts: Iterable[NumberFacts]) -> int:  # noqa: ARG002 (the protocol's)
        raise InputError("the facts about numbers were opened for reading", fix="open it with create=True")

    def look_up(self, numbers: Sequence[str], *, simulated: bool) -> Iterator[Any]:  # noqa: ARG002
        return iter(())

    def hold_lookups(self) -> AbstractContextManager[None]:
        return nullcontext()

    def everything(self) -> Iterator[Any]:
        return iter(())

    def erase(self, numbers: Iterable[str]) -> int:  # noqa: ARG002
        return 0

    def drop_before(self, at: int) -> int:  # noqa: ARG002
        return 0

    def compact(self) -> None:
        pass

    def close(self) -> None:
        pass


def looked_up_elsewhere() -> RunLocked:
    """The error where another process looks numbers up: both would pay for those that they have in common."""
    return RunLocked(
        "another process looks numbers up for this state",
        fix="wait for it, and run the same command again: what was looked up meanwhile is known",
    )
