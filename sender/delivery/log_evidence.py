"""What entries of a provider's log prove about messages in doubt. Pure; asks nobody and records nothing.

An entry counts for one message, and only where it can be compared. One that fits messages of two runs proves nothing
for either, and one that cannot be compared with a message speaks against its absence: it is a rival. One whose id a
message has already is that message, unless it is to somebody else: an answer may have given it another message's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sender.core import numbers
from sender.delivery.provider_log import SKEW
from sender.providers.base import LogEntry, LogFacts


@dataclass(frozen=True, slots=True)
class DoubtfulMessage:
    """A message that may have been accepted. `to` is None where its plan cannot be read: it may be to anybody."""

    run_id: str
    seq: int
    ref: str
    to: str | None
    from_number: str | None
    body: str | None
    intent_at: datetime
    doubted_at: datetime  # from then on, nothing of it was in flight
    attempt: int


class KnownMessage(NamedTuple):
    """A message that has an id of the provider's. `to` is None where its plan cannot be read."""

    to: str | None
    body: str | None


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """An entry as a walk met it.

    `asked_for` is the recipient of the query that it answers (None: a query for everybody). `dated`: its page says what
    time it is at the provider, so that its own time can be compared. `repeated`: two pages show it, so the pages have
    moved, and one of them may have skipped something.
    """

    entry: LogEntry
    asked_for: str | None = None
    dated: bool = True
    repeated: bool = False

    @property
    def created_at(self) -> datetime | None:
        """When it was created; None where that cannot be compared with our time."""
        return self.entry.created_at if self.dated else None


@dataclass(slots=True)
class Evidence:
    """What a log says about messages of one run: entries by `seq`, and messages that may be another entry."""

    entries: dict[int, LogEntry] = field(default_factory=dict)
    rivalled: set[int] = field(default_factory=set)


def weigh(
    messages: Sequence[DoubtfulMessage],
    others: Sequence[DoubtfulMessage],
    logged: Iterable[LoggedMessage],
    known: Mapping[str, Sequence[KnownMessage]],
    facts: LogFacts,
) -> Evidence:
    """Compare a log with the `messages` of one run, earliest first, and with the `others` in doubt of all other runs.

    `known` are the messages that have an id of the provider's, by that id.
    """
    logged = list(logged)
    entries = _match_by_ref(messages, logged)
    if not facts.carries_ref:  # else an entry without one of ours is another message
        fresh = [one for one in logged if not any(_is_known(one, each, facts) for each in _known_as(one, known))]
        _match_by_content(entries, messages, others, fresh, facts)
    used = {entry.message_id for entry in entries.values()}
    rest = [one for one in logged if one.entry.message_id not in used and not _is_accounted_for(one, known)]
    open_messages = [message for message in messages if message.seq not in entries]
    rivalled = {message.seq for message in open_messages if any(may_be(message, one) for one in rest)}
    return Evidence(entries, rivalled)


def _known_as(one: LoggedMessage, known: Mapping[str, Sequence[KnownMessage]]) -> Sequence[KnownMessage]:
    return known.get(one.entry.message_id, ())


def _is_accounted_for(one: LoggedMessage, known: Mapping[str, Sequence[KnownMessage]]) -> bool:
    """Whether a message that has the entry's id may be it."""
    return any(_may_be_to(one, each.to) for each in _known_as(one, known))


def _is_known(one: LoggedMessage, known: KnownMessage, facts: LogFacts) -> bool:
    """Whether the entry may be the message that has its id: to the same number, with the same text."""
    text = one.entry.body if facts.carries_body else None
    return _may_be_to(one, known.to) and (text is None or known.to is None or _has_body(text, known.body))


def _match_by_ref(messages: Iterable[DoubtfulMessage], logged: Iterable[LoggedMessage]) -> dict[int, LogEntry]:
    by_ref = {message.ref: message for message in messages}
    entries: dict[int, LogEntry] = {}
    for one in logged:
        message = None if one.entry.ref is None else by_ref.get(one.entry.ref)
        if message is not None and (message.to is None or numbers.may_be(one.entry.to or None, message.to)):
            entries.setdefault(message.seq, one.entry)
    return entries


def _match_by_content(
    entries: dict[int, LogEntry],
    messages: Sequence[DoubtfulMessage],
    others: Sequence[DoubtfulMessage],
    fresh: Iterable[LoggedMessage],
    facts: LogFacts,
) -> None:
    """Add to `entries` those that fit messages of this run alone, matched one to one in the order of time.

    Two texts to one person look alike in a log without texts: then both are found, or both stay in doubt.
    """
    matched: dict[int, LoggedMessage] = {}
    timed = [
        (one.created_at, one)
        for one in fresh
        if one.entry.ref is None and one.created_at is not None and not one.repeated
    ]
    for _, one in sorted(timed, key=lambda pair: pair[0]):
        if any(fits(other, one, facts) for other in others):
            continue
        for message in messages:
            if message.seq not in entries and message.seq not in matched and fits(message, one, facts):
                matched[message.seq] = one
                break
    by_seq = {message.seq: message for message in messages}
    left = [message for message in messages if message.seq not in entries and message.seq not in matched]
    while left:
        message = left.pop()
        for seq in [seq for seq, one in matched.items() if fits(message, one, facts)]:
            if (by_seq[seq].to, by_seq[seq].body) != (message.to, message.body):  # else it does not matter which
                left.append(by_seq[seq])
                del matched[seq]
    entries.update({seq: one.entry for seq, one in matched.items()})


def fits(message: DoubtfulMessage, one: LoggedMessage, facts: LogFacts) -> bool:
    """Whether everything the entry says can be compared with the message, and is the same."""
    entry, created_at = one.entry, one.created_at
    if created_at is None or not message.intent_at - SKEW <= created_at <= message.doubted_at + SKEW:
        return False
    if message.to is None:
        return True
    if not numbers.is_same(entry.to, message.to):
        return False
    if message.from_number and entry.from_number and not _is_sender(entry.from_number, message.from_number):
        return False
    return not (facts.carries_body and entry.body is not None) or _has_body(entry.body, message.body)


def may_be(message: DoubtfulMessage, one: LoggedMessage) -> bool:
    """Whether the entry could be the message for all that can be compared: enough to doubt that it is absent."""
    entry = one.entry
    if entry.ref is not None and entry.ref != message.ref:
        return False
    if one.created_at is not None and one.created_at < message.intent_at - SKEW:
        return False
    return _may_be_to(one, message.to)


def _may_be_to(one: LoggedMessage, to: str | None) -> bool:
    """Whether the entry could be to that number (None: to anybody)."""
    entry = one.entry
    if to is None or entry.to == to:
        return True
    if numbers.read_e164(to) is None:  # a short code
        return not entry.to
    if one.asked_for == to and numbers.read_e164(entry.to) is None:
        return True  # the provider found it by that number, and shows it in a form that we cannot read
    return numbers.may_be(entry.to or None, to)


def decidable_at(message: DoubtfulMessage, settle_s: float) -> datetime:
    """From when on the log can no longer lag behind the message."""
    return message.doubted_at + timedelta(seconds=settle_s)


def _is_sender(logged: str, ours: str) -> bool:
    if logged == ours:
        return True
    return numbers.read_e164(ours) is not None and numbers.may_be(logged, ours)


def _has_body(logged: str, body: str | None) -> bool:
    """Whether the log's text is `body`. Providers put a notice before the text of a trial account."""
    return logged.endswith(body) if body else logged == ""
