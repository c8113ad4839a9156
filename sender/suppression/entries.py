"""An entry of the suppression list: its reason, source and scope, and what a refusal teaches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sender.core.errors import InputError
from sender.core.outcomes import Reason, SkipReason
from sender.suppression.keywords import Keyword

EVERYWHERE = "all"
SANDBOX = "sandbox"  # what a simulated run learned: it holds back nothing that is real
SCOPES = ("campaign", "sender", "account")

_ERROR_CODE = re.compile(r"\d+|[a-z]+(?:_[a-z]+)+")  # 21610, message_blocked_by_number
ERASED = "#"  # begins the name of somebody who was erased
_E164 = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}")  # and short codes


class EntrySource(StrEnum):
    """Where an entry comes from."""

    PERSON = "person"  # `sender suppress add`
    FILE = "file"  # `sender suppress import`; `via` names the file
    REPLY = "reply"  # the recipient wrote STOP; `via` is our number
    PROVIDER_ERROR = "provider_error"  # the provider refused the number; `via` is our number
    PROVIDER_LIST = "provider_list"  # what the provider knows: its opt-outs, landlines, deactivated numbers


FIXED_LINE = "fixed_line"  # the type of number that no text arrives at
# Why a number is on the list, strongest first. The last two say that no text can arrive there: `skip_dead`.
REASONS = (
    SkipReason.OPTED_OUT,
    SkipReason.SUPPRESSED,
    SkipReason.UNDER_REVIEW,
    SkipReason.LANDLINE,
    SkipReason.INVALID_NUMBER,
)
QUOTED_CHARS = 40  # of a reply, in a sentence
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
    """One statement about one number. `at` is when it was made. `active` is False once a START or a person lifted it.

    `via` is the number of ours, or the file, that it came through; '' where that is unknown.
    """

    number: str
    reason: SkipReason
    source: EntrySource
    via: str
    scope: str
    at: datetime
    note: str | None = None
    active: bool = True

    @property
    def is_erased(self) -> bool:
        """Whether it is about somebody who was erased: `number` is a hash then, made with the state's own key."""
        return self.number.startswith(ERASED)

    def sentence(self) -> str:
        """`replied STOP to +12025550100 on 2026-11-21 14:03 UTC`; with the scope where it is not everywhere."""
        match self.source:
            case EntrySource.PERSON:
                what = f"put on the suppression list by hand{f' ({self.note})' if self.note else ''}"
            case EntrySource.FILE:
                what = f"on the suppression list from {self.via or 'a file'}"
            case EntrySource.REPLY:
                what = f"replied {self._quote()} to {self.via or 'us'}"
            case EntrySource.PROVIDER_ERROR:
                what = _refusal(self.note or "", self.reason)
            case EntrySource.PROVIDER_LIST:
                what = _listed(self)
        where = "" if self.scope == EVERYWHERE else f", for {self.scope}"
        held = ", which may be an opt-out" if self.reason == SkipReason.UNDER_REVIEW else ""
        return f"{what} on {self.at:%Y-%m-%d %H:%M} UTC{held}{where}"

    def _quote(self) -> str:
        """The reply in a few words; between backticks, as everywhere, where it is more than a keyword."""
        if self.reason != SkipReason.UNDER_REVIEW:
            return self.note or "STOP"
        text = (self.note or "").replace("`", "'")
        if not text:
            return "a text that was erased"
        return f"`{text}`" if len(text) <= QUOTED_CHARS else f"`{text[:QUOTED_CHARS].rstrip()}…`"


def _listed(entry: SuppressionEntry) -> str:
    """`a landline, as telnyx says (EXAMPLE TELECOM)`, or what else the provider knows of the number."""
    if entry.reason == SkipReason.OPTED_OUT:
        return f"on the provider's list of opt-outs{f' for {entry.via}' if entry.via else ''}"
    return entry.note or f"known to the provider as {entry.reason.value}"


def _refusal(note: str, reason: SkipReason) -> str:
    """`refused by twilio, error 21610 (Attempt to send to unsubscribed recipient)`, as far as the note says so."""
    provider, _, rest = note.partition(" ")
    code, _, message = rest.partition(" ")
    if not provider:
        return f"refused by the provider as {reason.value}"
    if not _ERROR_CODE.fullmatch(code):
        code, message = "", rest
    return f"refused by {provider}" + (f", error {code}" if code else "") + (f" ({message})" if message else "")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A provider's error about a number. `reason` is the adapter's normalised one; `at` is aware.

    The adapter has judged the code already: Telnyx 40300 is `opted_out` only where its text speaks of a STOP.
    """

    number: str
    reason: str
    code: str | None
    message: str | None
    our_number: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Learned:
    """What a reply taught.

    `keyword` is what the person asked for; None where that is for a person to decide. `new` is False for what was known
    already. `active` are the entries that count now: after a START there are some where the number was put on the list
    for another reason.
    """

    number: str
    keyword: Keyword | None
    new: bool
    active: tuple[SuppressionEntry, ...]


def known_landline(
    number: str, provider: str, carrier: str | None, at: datetime, *, simulated: bool = False
) -> SuppressionEntry:
    """The entry of a number that the provider calls a landline. `at` is aware: when it said so."""
    said = f"a landline, as {provider} says" + (f" ({carrier})" if carrier else "")
    scope = SANDBOX if simulated else EVERYWHERE
    return SuppressionEntry(number, SkipReason.LANDLINE, EntrySource.PROVIDER_LIST, provider, scope, at, said)


def is_number(text: str) -> bool:
    """Whether `text` can be on the list: an E.164 number, or a short code."""
    return _E164.fullmatch(text) is not None


def check_scope(text: str) -> str:
    """The scope in `text`, without blanks around it. Raises InputError when it is none."""
    kind, colon, name = text.strip().partition(":")
    if text.strip() in (EVERYWHERE, SANDBOX):
        return text.strip()
    if kind not in SCOPES or not colon or not name.strip():
        raise InputError(
            f"{text!r} is not a scope", fix="write all, campaign:NAME, sender:+12025550100 or account:PROVIDER"
        )
    return f"{kind}:{name.strip()}"
