"""The suppression list: which numbers get nothing, since when, on whose word, and how far that goes.

It lives in the state directory and outlives every run. People, files, replies, providers' errors and providers' own
lists write to it; `sender.suppression.live_check` holds back who is on it. It never sends, and never reads a campaign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from sender.core.errors import InputError
from sender.core.outcomes import Reason, SkipReason
from sender.state.sqlite.suppression import LiftRow, SuppressionFile, SuppressionRow
from sender.suppression.keywords import Keyword, keyword_of

FILE_NAME = "suppression.sqlite3"  # in the state directory
EVERYWHERE = "all"
SANDBOX = "sandbox"  # what a simulated run learned: it holds back nothing that is real
SCOPES = ("campaign", "sender", "account")
EXPORTED = ("number", "reason", "scope", "source", "via", "at", "note")  # the columns of an exported list

_E164 = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}")  # and short codes
_WHOLE_LIST = 200_000  # entries: up to here reading all of them is cheaper than looking numbers up
_MANY_CHANGES = 50_000  # numbers: beyond it the plan's own numbers are looked up instead


class EntrySource(StrEnum):
    """Whose word it is."""

    PERSON = "person"  # `sender suppress add`
    FILE = "file"  # `sender suppress import`; `via` names the file
    REPLY = "reply"  # the recipient wrote STOP; `via` is our number
    PROVIDER_ERROR = "provider_error"  # the provider refused the number; `via` is our number
    PROVIDER_LIST = "provider_list"  # the provider's own list of opt-outs; `via` is our number


# Why a number is on the list, strongest first. The last two say that no text can arrive there: `skip_dead`.
REASONS = (SkipReason.OPTED_OUT, SkipReason.SUPPRESSED, SkipReason.LANDLINE, SkipReason.INVALID_NUMBER)
DEAD = frozenset({SkipReason.LANDLINE, SkipReason.INVALID_NUMBER})
# What an error teaches, by its normalised reason. Unreachable handsets come back, filters are about the text, and a
# carrier's block may be about us: they teach nothing.
TAUGHT = {
    Reason.OPTED_OUT: SkipReason.OPTED_OUT,
    Reason.INVALID_NUMBER: SkipReason.INVALID_NUMBER,
    Reason.LANDLINE: SkipReason.LANDLINE,
}


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """One word about one number. `at` is when it was said. `active` is False once a START or a person lifted it."""

    number: str
    reason: SkipReason
    source: EntrySource
    via: str
    scope: str
    at: datetime
    note: str | None = None
    active: bool = True

    def sentence(self) -> str:
        """`replied STOP to +12025550100 on 2026-11-21 14:03 UTC`; with the scope where it is not everywhere."""
        match self.source:
            case EntrySource.PERSON:
                what = f"put on the suppression list by hand{f' ({self.note})' if self.note else ''}"
            case EntrySource.FILE:
                what = f"on the suppression list from {self.via or 'a file'}"
            case EntrySource.REPLY:
                what = f"replied {self.note or 'STOP'} to {self.via or 'us'}"
            case EntrySource.PROVIDER_ERROR:
                what = f"refused by the provider: {self.note or self.reason.value}"
            case EntrySource.PROVIDER_LIST:
                what = f"on the provider's list of opt-outs{f' for {self.via}' if self.via else ''}"
        where = "" if self.scope == EVERYWHERE else f", for {self.scope}"
        return f"{what} on {self.at:%Y-%m-%d %H:%M} UTC{where}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A provider's error about a number. `reason` is the adapter's normalised one; `at` is aware."""

    number: str
    reason: str
    code: str | None
    message: str | None
    our_number: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Learned:
    """What a reply or an error taught.

    `keyword` is what the person asked for (None: an error). `new` is False for what was known already. `standing` are
    the entries that still count: after a START there are some where the number was put on the list for another reason.
    """

    number: str
    keyword: Keyword | None
    reason: SkipReason
    new: bool
    standing: tuple[SuppressionEntry, ...]


class SuppressionList:
    """The list of one state directory. Use as a context manager, or call `close`.

    May be used from any thread, by one at a time; any number of processes may have it open.
    """

    def __init__(self, file: SuppressionFile | None) -> None:
        self._file = file

    @classmethod
    def open(cls, state_dir: str | Path, *, create: bool = True) -> Self:
        """The list in `state_dir`. With `create=False` a missing one is an empty list, and nothing is written.

        Raises StateError when it cannot be used.
        """
        path = Path(state_dir) / FILE_NAME
        return cls(SuppressionFile.open(path) if create or path.exists() else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    # -- what it holds ---------------------------------------------------------------------------------------------

    def why(self, number: str) -> list[SuppressionEntry]:
        """Every word about `number` (E.164), oldest first, lifted ones too; empty when there is none."""
        if self._file is None:
            return []
        return [_entry(row, active=active) for row, active in self._file.history(number)]

    def entries(self, scope: str | None = None) -> Iterator[SuppressionEntry]:
        """Everything that counts, by number; of one scope, or of all."""
        for row in self._file.active() if self._file is not None else ():
            entry = _entry(SuppressionRow(*row))
            if scope is None or entry.scope == scope:
                yield entry

    def numbers(self, scope: str | None = None) -> pl.Series:
        """The distinct numbers that are on the list (String, sorted), of one scope, or of all."""
        return pl.Series("number", [one.number for one in self.entries(scope)], dtype=pl.String).unique().sort()

    def matching(self, numbers: pl.Series) -> list[SuppressionEntry]:
        """What counts about any of `numbers` (E.164; null or repeated): in seconds for millions on either side."""
        if self._file is None or not (size := self._file.size()):
            return []
        wanted = numbers.drop_nulls().unique().sort()
        if size > max(_WHOLE_LIST, wanted.len()):
            return [_entry(SuppressionRow(*row)) for row in self._file.look_up(wanted.to_list())]
        listed = pl.DataFrame(self._file.active(), schema=list(SuppressionRow._fields), orient="row")
        found = listed.filter(pl.col("number").cast(pl.String).is_in(wanted.implode())) if listed.height else listed
        return [_entry(SuppressionRow(*row)) for row in found.iter_rows()]

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
        """Puts `numbers` (E.164) on the list; says how many were not, or were said again later. One transaction."""
        scope, at_ms = check_scope(scope), _ms(at or _now())
        return self._open().add(
            SuppressionRow(one, scope, SkipReason(reason).value, source.value, via, at_ms, note) for one in numbers
        )

    def restore(self, entries: Iterable[SuppressionEntry]) -> int:
        """Enters entries as they are, such as another machine exported them; says how many were new."""
        return self._open().add(
            SuppressionRow(
                one.number, check_scope(one.scope), one.reason.value, one.source.value, one.via, _ms(one.at), one.note
            )
            for one in entries
        )

    def remove(self, numbers: Iterable[str], *, scope: str | None = None) -> int:
        """Takes `numbers` off the list, in one scope or in all; says how many were on it. A later word counts again."""
        standing = [
            entry
            for number in dict.fromkeys(numbers)
            for entry in self.why(number)
            if entry.active and scope in (None, entry.scope)
        ]
        # Later than whatever it takes back, also where that came from a machine whose clock is ahead.
        now_ms = _ms(_now())
        latest: dict[str, int] = {}
        for entry in standing:
            latest[entry.number] = max(latest.get(entry.number, now_ms), _ms(entry.at) + 1)
        self._open().lift(LiftRow(number, "person", scope or "", "", at) for number, at in latest.items())
        return len(latest)

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
        simulated: bool = False,
    ) -> Learned | None:
        """What a reply from `number` taught; None when it is neither a STOP nor a START.

        A STOP holds everywhere: who says it means the sender, not one of its numbers. A START takes back what was
        learned through the same number of ours. `keyword` is what the provider itself made of the text, where it says
        so (Telnyx `autoresponse_type`, Twilio `OptOutType`); a STOP in either counts. `at` is aware: when it was
        written. Doubled and reordered replies make the same list.
        """
        words = {keyword_of(text, provider), keyword_of(keyword)}
        if not is_number(number) or not words & {Keyword.STOP, Keyword.START}:
            return None
        heard = Keyword.STOP if Keyword.STOP in words else Keyword.START
        scope, via = SANDBOX if simulated else EVERYWHERE, our_number or ""
        if heard is Keyword.STOP:
            spoken = (text or keyword or "").strip()[:40]
            row = SuppressionRow(
                number, scope, SkipReason.OPTED_OUT.value, EntrySource.REPLY.value, via, _ms(at), spoken
            )
            new = self._open().add([row])
        else:
            new = self._open().lift([LiftRow(number, "start", SANDBOX if simulated else "", via, _ms(at))])
        return self._learned(number, heard, SkipReason.OPTED_OUT, new)

    def learn_error(
        self,
        number: str,
        reason: Reason | str | None,
        *,
        code: str | None,
        message: str | None,
        our_number: str | None,
        provider: str,
        at: datetime,
        simulated: bool = False,
    ) -> Learned | None:
        """What a provider's error about `number` taught; None when it taught nothing.

        `reason` is the adapter's normalised one, which has judged the code already (Telnyx 40300 is `opted_out` only
        where its words speak of a STOP). `at` is aware. Learned again, it keeps the latest time.
        """
        taught = TAUGHT.get(Reason(reason)) if reason else None
        if taught is None or not is_number(number):
            return None
        refusal = Refusal(number, Reason(reason or "").value, code, message, our_number, at)
        return self._learned(number, None, taught, self.learn_errors([refusal], provider=provider, simulated=simulated))

    def learn_errors(self, refusals: Iterable[Refusal], *, provider: str, simulated: bool = False) -> int:
        """`learn_error` for many, in one commit; says how many taught something new."""
        scope = SANDBOX if simulated else EVERYWHERE
        return self._open().add(
            SuppressionRow(
                one.number,
                scope,
                TAUGHT[Reason(one.reason)].value,
                EntrySource.PROVIDER_ERROR.value,
                one.our_number or "",
                _ms(one.at),
                " ".join(part for part in (provider, one.code, one.message) if part)[:200],
            )
            for one in refusals
            if one.reason in TAUGHT and is_number(one.number)
        )

    def _learned(self, number: str, heard: Keyword | None, reason: SkipReason, new: int) -> Learned:
        standing = tuple(entry for entry in self.why(number) if entry.active)
        return Learned(number, heard, reason, bool(new), standing)

    # -- what a send loop asks -------------------------------------------------------------------------------------

    def version(self) -> int:
        """Another number once another process (or connection) has changed the list; microseconds."""
        return self._open().version()

    def mark(self) -> str:
        """Where the list stands now: `changed_since` tells what came later."""
        return f"{self._file.list_id}:{self._file.change()}" if self._file is not None else ""

    def changed_since(self, mark: str | None) -> list[str] | None:
        """The numbers about which something changed after `mark`; None when they are too many to be told one by one.

        None or the mark of another list means from the beginning.
        """
        file = self._open()
        list_id, _, change = (mark or "").partition(":")
        return file.changed_since(int(change) if list_id == file.list_id else 0, _MANY_CHANGES)

    def _open(self) -> SuppressionFile:
        if self._file is None:
            raise InputError("this list was opened to be read", fix="open it with create=True")
        return self._file


def is_number(text: str) -> bool:
    """Whether `text` can stand on the list: E.164, or a short code."""
    return _E164.fullmatch(text) is not None


def to_frame(entries: Iterable[SuppressionEntry]) -> pl.DataFrame:
    """`entries` as a table that `of_frame` reads back: EXPORTED, all String, `at` as ISO 8601 UTC."""
    rows = (
        (one.number, one.reason.value, one.scope, one.source.value, one.via, one.at.isoformat(), one.note or "")
        for one in entries
    )
    return pl.DataFrame(list(rows), schema=dict.fromkeys(EXPORTED, pl.String), orient="row")


def of_frame(frame: pl.DataFrame) -> list[SuppressionEntry]:
    """The entries in a table that `to_frame` made (all String). Raises InputError where it is not as it was."""
    entries = []
    for row, (number, reason, scope, source, via, at, note) in enumerate(frame.select(EXPORTED).iter_rows(), start=2):
        try:
            moment = datetime.fromisoformat(at)
            entry = SuppressionEntry(
                number, SkipReason(reason), EntrySource(source), via, check_scope(scope), moment, note or None
            )
        except (ValueError, TypeError, InputError) as error:
            raise InputError(f"is not as it was exported: {error}", where=f"row {row}", fix="export it again") from None
        if not is_number(number) or entry.reason not in REASONS or moment.tzinfo is None:
            raise InputError(
                "is not as it was exported: a number, a reason or a time", where=f"row {row}", fix="export it again"
            )
        entries.append(entry)
    return entries


def check_scope(text: str) -> str:
    """The scope in `text`. Raises InputError when it is none."""
    kind, colon, name = text.strip().partition(":")
    if text.strip() in (EVERYWHERE, SANDBOX):
        return text.strip()
    if kind not in SCOPES or not colon or not name.strip():
        raise InputError(
            f"{text!r} is not a scope", fix="write all, campaign:NAME, sender:+12025550100 or account:PROVIDER"
        )
    return f"{kind}:{name.strip()}"


def _entry(row: SuppressionRow, *, active: bool = True) -> SuppressionEntry:
    at = datetime.fromtimestamp(row.at / 1000, UTC)
    return SuppressionEntry(
        row.number, SkipReason(row.reason), EntrySource(row.source), row.via, row.scope, at, row.note, active
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
