"""The suppression list: which numbers get nothing, since when, who said so, and how far that goes.

It belongs to a state and outlives every run. People, files, replies, providers' errors and providers' own lists write
to it; `sender.suppression.live_check` holds back who is on it. It never sends, and never reads a campaign.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sender.core.lazy_modules import pl
from sender.core.outcomes import Reason, SkipReason
from sender.state.open import open_suppressions
from sender.state.suppression import LiftRow, SuppressionRow, SuppressionStore
from sender.suppression.entries import (
    EVERYWHERE,
    QUOTED_CHARS,
    SANDBOX,
    TAUGHT,
    EntrySource,
    Learned,
    Refusal,
    SuppressionEntry,
    check_scope,
    is_number,
)
from sender.suppression.keywords import Keyword, keyword_of
from sender.suppression.revocations import may_be_revocation

WHOLE_LIST = 200_000  # entries: up to here reading all of them is cheaper than looking numbers up
MANY_CHANGES = 50_000  # numbers: beyond it the plan's own numbers are looked up instead
_NOTE_CHARS = 200
_READ_CHARS = 500  # of a reply that is held for a person


class SuppressionList:
    """The suppression list of one state, over its store.

    May be used from any thread, by one at a time; any number of processes may have it open.
    """

    def __init__(
        self, store: SuppressionStore, own_words: Collection[str] = frozenset(), *, holds_unclear: bool = True
    ) -> None:
        """The list in `store`, which belongs to the caller.

        `own_words` are the sender's own opt-out words, of `sender.suppression.keywords.opt_out_words`. With
        `holds_unclear` a reply that may be an opt-out in other words is held for a person.
        """
        self._store = store
        self._own_words = own_words
        self._holds_unclear = holds_unclear

    @classmethod
    def open(cls, where: str | Path, *, create: bool = True, read_only: bool = False) -> Self:
        """The list of the state at `where`, with a handle of its own. Use as a context manager, or call `close`.

        With `create=False` a missing one is an empty list. With `read_only` it is, too, and nothing is written. Raises
        StateError when it cannot be used, and InputError as `sender.state.open.open_state` does.
        """
        return cls(open_suppressions(where, create=create, read_only=read_only))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._store.close()

    # -- what it holds ---------------------------------------------------------------------------------------------

    def why(self, number: str) -> list[SuppressionEntry]:
        """Every entry about `number` (E.164), oldest first, lifted ones too; empty when there is none."""
        return [_entry(row, active=active) for row, active in self._store.history(number)]

    def entries(self, scope: str | None = None) -> Iterator[SuppressionEntry]:
        """Every entry that counts, by number; of one scope, or of all."""
        for row in self._store.active():
            entry = _entry(SuppressionRow(*row))
            if scope is None or entry.scope == scope:
                yield entry

    def matching(self, numbers: pl.Series) -> list[SuppressionEntry]:
        """The entries that count about any of `numbers` (E.164; null or repeated).

        Takes seconds for millions on either side.
        """
        size = self._store.size()
        if not size:
            return []
        asked = numbers.drop_nulls().unique().sort()
        erased = [_entry(SuppressionRow(*row)) for row in self._store.look_up_erased(asked.to_list())]
        if size > max(WHOLE_LIST, asked.len()):
            return [*(_entry(SuppressionRow(*row)) for row in self._store.look_up(asked.to_list())), *erased]
        listed = pl.DataFrame(self._store.active(), schema=list(SuppressionRow._fields), orient="row")
        if listed.is_empty():
            return []
        matching = listed.filter(pl.col("number").cast(pl.String).is_in(asked.implode()))
        return [*(_entry(SuppressionRow(*row)) for row in matching.iter_rows()), *erased]

    # -- what people and files say ---------------------------------------------------------------------------------

    def add(
        self,
        numbers: Iterable[str],
        *,
        reason: SkipReason = SkipReason.SUPPRESSED,
        source: EntrySource = EntrySource.PERSON,
        scope: str = EVERYWHERE,
        via: str = "",
        at: datetime | None = None,
        note: str | None = None,
    ) -> int:
        """Put `numbers` (E.164) on the list, in one transaction; return how many are new, or newer than before.

        Without `at` they are on it from now on, whatever was taken back before, and by whichever clock.
        """
        scope, at_ms = check_scope(scope), _ms(at or _now())
        rows = (
            SuppressionRow(number, scope, SkipReason(reason).value, source.value, via, at_ms, note)
            for number in numbers
        )
        return self._store.add(rows, said_now=at is None)

    def restore(self, entries: Iterable[SuppressionEntry]) -> int:
        """Enter entries as they are, such as another machine exported them; return how many were new.

        Those of people who were erased are left out: only the state that they come from recognises them.
        """
        return self._store.add(
            SuppressionRow(
                entry.number,
                check_scope(entry.scope),
                entry.reason.value,
                entry.source.value,
                entry.via,
                _ms(entry.at),
                entry.note,
            )
            for entry in entries
            if not entry.is_erased
        )

    def remove(self, numbers: Iterable[str], *, scope: str | None = None) -> int:
        """Take `numbers` off the list, in one scope or in all; return how many were on it.

        Whatever is said later puts a number back on it.
        """
        now_ms = _ms(_now())
        lifts = []
        for number in dict.fromkeys(numbers):
            entries = [entry for entry in self.why(number) if entry.active and scope in (None, entry.scope)]
            if entries:
                lifts.append(LiftRow(number, "person", scope or "", "", lift_time_ms(entries, now_ms)))
        self._store.lift(lifts)
        return len(lifts)

    # -- what recipients and providers say -------------------------------------------------------------------------

    def learn_inbound(
        self,
        number: str,
        text: str | None,
        our_number: str | None,
        provider: str,
        at: datetime,
        *,
        keyword: str | None = None,
        message_id: str | None = None,
        heard_at: datetime | None = None,
        simulated: bool = False,
    ) -> Learned | None:
        """Enter the reply `text` from `number`; return what it taught, or None when it says nothing about consent.

        A STOP holds everywhere: the person means the sender, not one of its numbers. A START takes back what was
        learned through the same number of ours. `keyword` is how the provider itself read the text, where it says so
        (Telnyx `autoresponse_type`, Twilio `OptOutType`); a STOP in either counts. `at` is aware: when it was written.
        Doubled and reordered replies make the same list. A text that may be an opt-out in other words is held for a
        person: its number gets nothing until it is decided, or until a START that was written later.

        With a `message_id`, `heard_at` (aware; None: `at`) is when the reply reached us, and the first such time of an
        id counts: a STOP and a held reply are dated to it, a START to it or to `at`, whichever is earlier. So a START
        never lifts a STOP that was heard after it, however often and late it is delivered, and though a clock was set
        back in between.
        """
        keywords = {keyword_of(text, provider, self._own_words), keyword_of(keyword)}
        asked = next((each for each in (Keyword.STOP, Keyword.START) if each in keywords), None)
        if not is_number(number) or not (asked or (self._holds_unclear and may_be_revocation(text))):
            return None
        via = our_number or ""
        at_ms = heard_ms = _ms(at)
        if message_id:
            heard_ms = self._store.first_heard(number, message_id, _ms(heard_at or at))
        if asked is Keyword.START:
            scope = SANDBOX if simulated else ""
            new = self._store.lift([LiftRow(number, "start", scope, via, min(at_ms, heard_ms))])
        else:
            reason, most = (
                (SkipReason.OPTED_OUT, QUOTED_CHARS)
                if asked is Keyword.STOP
                else (SkipReason.UNDER_REVIEW, _READ_CHARS)
            )
            quoted = " ".join((text or keyword or "").split())[:most]
            scope = SANDBOX if simulated else EVERYWHERE
            row = SuppressionRow(number, scope, reason.value, EntrySource.REPLY.value, via, heard_ms, quoted)
            new = self._store.add([row])
        return Learned(number, asked, bool(new), tuple(entry for entry in self.why(number) if entry.active))

    def learn_errors(self, refusals: Iterable[Refusal], *, provider: str, simulated: bool = False) -> int:
        """Enter what providers' errors teach, in one transaction; return how many were new.

        Taught again, an entry keeps the latest time.
        """
        scope = SANDBOX if simulated else EVERYWHERE
        return self._store.add(
            SuppressionRow(
                refusal.number,
                scope,
                TAUGHT[Reason(refusal.reason)].value,
                EntrySource.PROVIDER_ERROR.value,
                refusal.our_number or "",
                _ms(refusal.at),
                " ".join(part for part in (provider, refusal.code, refusal.message) if part)[:_NOTE_CHARS],
            )
            for refusal in refusals
            if refusal.reason in TAUGHT and is_number(refusal.number)
        )

    # -- what waits for a person -----------------------------------------------------------------------------------

    def in_review(self) -> list[SuppressionEntry]:
        """The replies that wait for a decision, oldest first; not those of people who have opted out everywhere."""
        entries = [_entry(row) for row in self._store.in_review()]
        numbers = sorted({entry.number for entry in entries})
        over = {
            (row.number, scope)
            for row in map(SuppressionRow._make, self._store.look_up(numbers))
            for scope in (EVERYWHERE, SANDBOX)
            if row.reason == SkipReason.OPTED_OUT and row.scope in (EVERYWHERE, scope)
        }
        return [entry for entry in entries if (entry.number, entry.scope) not in over]

    def decide(self, number: str, via: str, scope: str, at: datetime, text: str | None, *, opt_out: bool) -> bool:
        """Decide about the reply that is held from `number` through `via` since `at`; return whether it was held.

        A later one stays held. Of the text no more stays than of a STOP.
        """
        at_ms = _ms(at)
        if opt_out:
            row = SuppressionRow(
                number,
                scope,
                SkipReason.OPTED_OUT.value,
                EntrySource.REPLY.value,
                via,
                at_ms,
                None if text is None else text[:QUOTED_CHARS],
            )
            self._store.add([row])  # first: a kill in between leaves the number on the list
        decided = self._store.lift([LiftRow(number, "review", scope, via, at_ms + 1)])
        self._store.shorten_notes(number, QUOTED_CHARS)
        return bool(decided)

    # -- what a send loop asks -------------------------------------------------------------------------------------

    def name_of_erased(self, number: str) -> str | None:
        """What the number is called in entries from before it was erased; None where nobody has been erased.

        Takes microseconds: a send loop asks before each message once somebody was erased meanwhile.
        """
        return self._store.name_of(number)

    def version(self) -> int:
        """A number that differs after anybody changed the list; microseconds."""
        return self._store.version()

    def is_current(self) -> bool:
        """Whether `version` is of now. While it is not, nothing may be sent."""
        return self._store.is_current()

    def mark(self) -> str:
        """A mark of the list as it is now: `changed_since` returns what came later. '' for a list that is not there."""
        return f"{self._store.list_id}:{self._store.change()}" if self._store.list_id else ""

    def changed_since(self, mark: str | None) -> list[str] | None:
        """The numbers about which something changed after `mark`; None when there are too many to list.

        None or the mark of another list means from the beginning.
        """
        list_id, _, change = (mark or "").partition(":")
        return self._store.changed_since(int(change) if list_id == self._store.list_id else 0, MANY_CHANGES)


def lift_time_ms(entries: Iterable[SuppressionEntry], now_ms: int) -> int:
    """When a person's lift takes effect that takes back `entries`: now, and later than each of them.

    An entry may come from a machine whose clock is ahead, and at the same millisecond the entry wins.
    """
    return max(now_ms, *(_ms(entry.at) + 1 for entry in entries))


def _entry(row: SuppressionRow, *, active: bool = True) -> SuppressionEntry:
    at = datetime.fromtimestamp(row.at / 1000, UTC)
    return SuppressionEntry(
        row.number, SkipReason(row.reason), EntrySource(row.source), row.via, row.scope, at, row.note, active
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
