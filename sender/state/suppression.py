"""What a store of suppression entries keeps and answers: the protocol, and its rows.

Entries are never deleted: a START or a person *lifts* them, by a row with a time of its own, and an entry counts while
no later lift covers it. So the same events make the same list in any order, once or twice. The rules of who may lift
what are the store's; what a reply or an error means is `sender.suppression`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from sender.core.errors import InputError

# SQL that both databases read: whether the lift `l` is one that takes back the entry `e`, their times aside.
# A START takes back what was learned through the same number of ours, or through no number we know; a person takes
# back anything, in one scope or in all of them; a review the reply that it is about. At the same millisecond the entry
# wins: in doubt, nothing is sent.
COVERED = """
l.number = e.number AND (l.scope = '' OR l.scope = e.scope)
    AND (
        l.by = 'person'
        OR (l.by = 'start' AND e.source IN ('reply', 'provider_error', 'provider_list') AND e.via IN ('', l.via)
            AND e.reason IN ('opted_out', 'under_review'))
        OR (l.by = 'review' AND e.reason = 'under_review' AND e.via = l.via)
    )
"""


class SuppressionRow(NamedTuple):
    """An entry as it is stored. `at` is milliseconds UTC."""

    number: str
    scope: str
    reason: str
    source: str
    via: str
    at: int
    note: str | None = None


class LiftRow(NamedTuple):
    """What takes entries back. `by` is `start`, `person` or `review`; `scope` '' means every scope.

    `at` is milliseconds UTC. A review takes back replies that were held for it, through the same number of ours.
    """

    number: str
    by: str
    scope: str
    via: str
    at: int


class SuppressionStore(Protocol):
    """The entries and lifts of one state. What is written is on disk before a method returns.

    A handle may be used from any thread, by one at a time; any number of processes may have one open.
    """

    @property
    def list_id(self) -> str:
        """The list's name for ever: a change number means nothing to another list."""
        ...

    def version(self) -> int:
        """A number that differs after anybody changed the list. Takes microseconds: it is asked five times a second."""
        ...

    def is_current(self) -> bool:
        """Whether `version` is of now, and not of a moment ago because the list cannot be reached. Takes microseconds.

        While it is not, nothing may be sent.
        """
        ...

    def change(self) -> int:
        """The number of transactions that changed something."""
        ...

    def changed_since(self, change: int, most: int) -> list[str] | None:
        """The numbers whose entries or lifts are newer than `change`; None when there are more than `most`."""
        ...

    def add(self, rows: Iterable[SuppressionRow], *, said_now: bool = False) -> int:
        """Enter `rows` in one transaction; return how many are new or newer.

        With `said_now` each is said at this moment, so that nothing which was taken back before covers it: where the
        clock that dated a lift was ahead, the row is dated a millisecond after the lift.
        """
        ...

    def lift(self, lifts: Iterable[LiftRow]) -> int:
        """Take entries back in one transaction; return how many lifts are new or newer."""
        ...

    def first_heard(self, number: str, message_id: str, at: int) -> int:
        """When the message was heard first, in milliseconds UTC; also where the number was erased since.

        One that was never heard before counts as of `at`, and as later than all lifts of its number that are there,
        whatever the clocks say that dated them.
        """
        ...

    def size(self) -> int:
        """The number of entries, lifted ones included."""
        ...

    def active(self) -> Iterator[tuple[Any, ...]]:
        """Every entry that counts, as the fields of `SuppressionRow`."""
        ...

    def in_review(self) -> list[SuppressionRow]:
        """The entries that count and wait for a person's decision, oldest first. Takes no time if there are none."""
        ...

    def shorten_notes(self, number: str, most: int) -> int:
        """Cut the notes of the number's decided reviews to `most` characters; return how many were longer."""
        ...

    def look_up(self, numbers: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The entries of `numbers` that count, as `active`. Sorted numbers are found faster."""
        ...

    def history(self, number: str) -> list[tuple[SuppressionRow, bool]]:
        """Every entry of the number, oldest first, and whether it counts; those from before it was erased too."""
        ...

    def has_erased(self) -> bool:
        """Whether there are entries of erased people, who are called by a hash of their number."""
        ...

    def name_of(self, number: str) -> str | None:
        """What the number is called in entries from before it was erased; None where nobody has been erased."""
        ...

    def look_up_erased(self, numbers: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """As `look_up`, the entries of those of `numbers` that were erased; 2 s for a million if there are any."""
        ...

    def erase(self, number: str) -> int:
        """Put the hash of the number in the place of the number, drop the notes; return how many entries changed."""
        ...

    def compact(self) -> None:
        """Rid the store of whatever was erased. Raises StateError while another process reads."""
        ...

    def close(self) -> None: ...


class EmptySuppressions:
    """The store of a state that has none yet: nobody is on it, and nothing can be written. A `SuppressionStore`."""

    list_id = ""

    def version(self) -> int:
        raise _read_only()

    def is_current(self) -> bool:
        return True

    def change(self) -> int:
        return 0

    def changed_since(self, change: int, most: int) -> list[str] | None:  # noqa: ARG002 (the protocol's)
        raise _read_only()

    def add(self, rows: Iterable[SuppressionRow], *, said_now: bool = False) -> int:  # noqa: ARG002
        raise _read_only()

    def lift(self, lifts: Iterable[LiftRow]) -> int:  # noqa: ARG002
        raise _read_only()

    def first_heard(self, number: str, message_id: str, at: int) -> int:  # noqa: ARG002
        raise _read_only()

    def size(self) -> int:
        return 0

    def active(self) -> Iterator[tuple[Any, ...]]:
        return iter(())

    def in_review(self) -> list[SuppressionRow]:
        return []

    def shorten_notes(self, number: str, most: int) -> int:  # noqa: ARG002
        return 0

    def look_up(self, numbers: Sequence[str]) -> Iterator[tuple[Any, ...]]:  # noqa: ARG002
        return iter(())

    def history(self, number: str) -> list[tuple[SuppressionRow, bool]]:  # noqa: ARG002
        return []

    def has_erased(self) -> bool:
        return False

    def name_of(self, number: str) -> str | None:  # noqa: ARG002
        return None

    def look_up_erased(self, numbers: Sequence[str]) -> Iterator[tuple[Any, ...]]:  # noqa: ARG002
        return iter(())

    def erase(self, number: str) -> int:  # noqa: ARG002
        return 0

    def compact(self) -> None:
        pass

    def close(self) -> None:
        pass


def _read_only() -> InputError:
    return InputError("this suppression list was opened for reading", fix="open it with create=True")
