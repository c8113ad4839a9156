"""What a ledger keeps of each run's totals, so that nobody has to read its messages to know them.

A tally counts the messages of a run that are alike: same state, status, reason, code and price. Whatever changes
messages changes the tallies in the same transaction. Performs no I/O and knows no SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sender.core.outcomes import Status, SubmissionState
from sender.state.ledger_values import Counts

_FAILED = (Status.UNDELIVERED, Status.FAILED)


class TallyKey(NamedTuple):
    """What the messages of a tally have in common; "" for what they do not have.

    A message under way has its state alone: what an earlier attempt left in its row is over. A pending message without
    a reason and a code is in no tally: those are what is left of the run.
    """

    state: str
    status: str = ""
    reason: str = ""
    error_code: str = ""
    currency: str = ""
    price: str = ""


class Counted(Protocol):
    """The part of a message's row that decides in which tally it is."""

    @property
    def state(self) -> SubmissionState: ...
    @property
    def status(self) -> Status | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def currency(self) -> str | None: ...
    @property
    def price(self) -> str | None: ...
    @property
    def segments(self) -> int | None: ...
    @property
    def final_at(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Tally:
    """`messages` that are alike. `reported` of them have a number of segments from the provider, `segments` together.

    `example` is what the provider said about one of them, where it refused it or its fate is not known.
    """

    state: SubmissionState
    status: Status | None
    reason: str | None
    error_code: str | None
    currency: str | None
    price: str | None
    messages: int
    reported: int
    segments: int
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """A run in numbers: its tallies, and how many messages a person had sent again though they may have been accepted.

    Messages that are in no tally are pending.
    """

    tallies: tuple[Tally, ...]
    resent: int


class PaceBin(NamedTuple):
    """What happened in the seconds from `at_s` (UTC) on: messages claimed, and those whose final status is of then."""

    at_s: int
    claimed: int
    delivered: int
    failed: int


class KeptTally(NamedTuple):
    """A tally as a ledger keeps it. `example` is the `seq` of a message that was in it."""

    key: TallyKey
    messages: int
    reported: int
    segments: int
    example: int | None = None


def read_tallies(rows: Iterable[Sequence[Any]]) -> list[KeptTally]:
    """The tallies of rows that have the fields of a key, and then those of `KeptTally`."""
    return [KeptTally(TallyKey(*row[:6]), *row[6:]) for row in rows]


class TallyChanges:
    """What a transaction changes in the tallies of one run, and in its seconds."""

    def __init__(self) -> None:
        self._tallies: dict[TallyKey, list[int]] = {}
        self._examples: dict[TallyKey, int] = {}
        self._seconds: dict[int, list[int]] = {}

    def add(
        self, key: TallyKey | None, messages: int, *, reported: int = 0, segments: int = 0, example: int | None = None
    ) -> None:
        """`messages` more are in the tally, or fewer; None: in none."""
        if key is None or not messages:
            return
        sums = self._tallies.setdefault(key, [0, 0, 0])
        sums[0] += messages
        sums[1] += reported
        sums[2] += segments
        if example is not None:
            self._examples[key] = example

    def move(self, seq: int, before: Counted, after: Counted) -> None:
        """The row of the message has changed."""
        for row, sign in ((before, -1), (after, 1)):
            self.add(
                key_of(row),
                sign,
                reported=sign * (row.segments is not None),
                segments=sign * (row.segments or 0),
                example=seq if row is after else None,
            )
            self.finish(row, sign)

    def finish(self, row: Counted, messages: int) -> None:
        """That many messages have this row; where its status is final, it counts for the second in which it became."""
        if row.final_at is not None and messages and (row.status is Status.DELIVERED or row.status in _FAILED):
            self._second(row.final_at)[1 if row.status is Status.DELIVERED else 2] += messages

    def claim(self, messages: int, now_ms: int) -> None:
        """That many were claimed; they are under way now."""
        if messages:
            self.add(TallyKey(SubmissionState.INTENT.value), messages)
            self._second(now_ms)[0] += messages

    def recount(self, before: Iterable[KeptTally], after: Iterable[KeptTally]) -> None:
        """Messages that were counted as `before` are now counted as `after`."""
        for tallies, sign in ((before, -1), (after, 1)):
            for one in tallies:
                self.add(
                    one.key,
                    sign * one.messages,
                    reported=sign * one.reported,
                    segments=sign * one.segments,
                    example=one.example if sign > 0 else None,
                )

    def recount_seconds(self, before: Iterable[PaceBin], after: Iterable[PaceBin]) -> None:
        """What became final in the seconds of `before` did so in those of `after`."""
        for bins, sign in ((before, -1), (after, 1)):
            for at_s, claimed, delivered, failed in bins:
                second = self._second(at_s * 1000)
                for at, number in enumerate((claimed, delivered, failed)):
                    second[at] += sign * number

    @property
    def tallies(self) -> list[KeptTally]:
        """What to add to each tally."""
        return [
            KeptTally(key, sums[0], sums[1], sums[2], self._examples.get(key))
            for key, sums in self._tallies.items()
            if any(sums)
        ]

    @property
    def seconds(self) -> list[PaceBin]:
        """What to add to each second."""
        return [PaceBin(at_s, *sums) for at_s, sums in self._seconds.items() if any(sums)]

    def _second(self, at_ms: int) -> list[int]:
        return self._seconds.setdefault(at_ms // 1000, [0, 0, 0])


def key_of(row: Counted) -> TallyKey | None:
    """The tally that a message with this row is in; None for one that is merely pending."""
    match row.state:
        case SubmissionState.INTENT:
            return TallyKey(row.state.value)
        case SubmissionState.PENDING if row.reason is None and row.error_code is None:
            return None
    return TallyKey(
        row.state.value,
        row.status or "",
        row.reason or "",
        row.error_code or "",
        row.currency or "",
        row.price or "",
    )


def pending_key(reason: str | None, error_code: str | None) -> TallyKey | None:
    """The tally that a pending message with this reason and code is in."""
    if reason is None and error_code is None:
        return None
    return TallyKey(SubmissionState.PENDING.value, "", reason or "", error_code or "")


def count_by_state(tallies: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The messages of tallies (state, messages) by state, without those that are pending."""
    counts: dict[str, int] = {}
    for state, messages in tallies:
        if state != SubmissionState.PENDING:
            counts[state] = counts.get(state, 0) + messages
    return counts


def count_messages(totals: Totals, messages: int) -> Counts:
    """The messages of a run by state; `messages` is how many it has."""
    return make_counts(count_by_state((one.state.value, one.messages) for one in totals.tallies), messages)


def has_example(key: TallyKey) -> bool:
    """Whether a sentence of the provider about one of its messages says more than its key."""
    return key.state == SubmissionState.UNKNOWN or bool(key.reason or key.error_code)


def make_tally(kept: KeptTally, example: str | None) -> Tally:
    state, status, reason, error_code, currency, price = (part or None for part in kept.key)
    return Tally(
        SubmissionState(state or ""),
        None if status is None else Status(status),
        reason,
        error_code,
        currency,
        price,
        kept.messages,
        kept.reported,
        kept.segments,
        example,
    )


def differing(kept: Iterable[KeptTally], counted: Iterable[KeptTally]) -> Mapping[TallyKey, tuple[int, int]]:
    """The messages kept and counted of each tally that is not as the rows say; empty where all are right."""

    def by_key(tallies: Iterable[KeptTally]) -> dict[TallyKey, tuple[int, int, int]]:
        return {one.key: (one.messages, one.reported, one.segments) for one in tallies if any(one[1:4])}

    have, want = by_key(kept), by_key(counted)
    none = (0, 0, 0)
    return {
        key: (have.get(key, none)[0], want.get(key, none)[0])
        for key in {**have, **want}
        if have.get(key) != want.get(key)
    }


def make_counts(by_state: Mapping[str, int], messages: int) -> Counts:
    """The run's messages by state, from the numbers of those that are not pending; all others are."""
    return Counts(
        pending=messages - sum(by_state.values()),
        intent=by_state.get(SubmissionState.INTENT, 0),
        accepted=by_state.get(SubmissionState.ACCEPTED, 0),
        rejected=by_state.get(SubmissionState.REJECTED, 0),
        canceled=by_state.get(SubmissionState.CANCELED, 0),
        unknown=by_state.get(SubmissionState.UNKNOWN, 0),
    )
