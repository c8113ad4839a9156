"""What a reply says about consent: a STOP, a START, or neither. Pure.

Only a whole message counts: `Stop.` is an opt-out, `don't stop` is not. Case, accents, punctuation, quotes, emoji and
blanks do not matter, and a keyword that is repeated is that keyword.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum


class Keyword(StrEnum):
    """What a reply asks for."""

    STOP = "STOP"
    START = "START"


# The carriers' keywords (SignalWire, messaging overview, and Telnyx and Twilio alike, 2026-08), the keywords that
# 47 CFR 64.1200(a)(10) takes for a revocation whatever the sender says (`opt out`, `revoke`), and ARRET, which the
# Canadian Common Short Code rules require as well as STOP.
_STOP = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out", "arret"}
)
_START = frozenset({"start", "unstop"})
_START_AT: dict[str, frozenset[str]] = {"twilio": frozenset({"yes"})}  # YES opts in again there, and only there

_APOSTROPHES = re.compile(r"['’`´]")  # they join within a word: `don't` is one word
_NO_WORD = re.compile(r"[\W_]+")


def keyword_of(text: str | None, provider: str = "") -> Keyword | None:
    """What `text`, a whole reply, asks for; None when it is neither a STOP nor a START.

    `provider` is the dialect that carried it: some know keywords that others do not.
    """
    words = _normalize(text or "")
    if words in _STOP:
        return Keyword.STOP
    if words in _START or words in _START_AT.get(provider, ()):
        return Keyword.START
    return None


def _normalize(text: str) -> str:
    """`text` in lower-case letters and digits with single blanks: `  “Stop, ALL!!” 🛑` is `stop all`."""
    if len(text) > 200:  # not a keyword, however often it is repeated
        return ""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    words = _NO_WORD.sub(" ", _APOSTROPHES.sub("", "".join(letters)).casefold()).split()
    return words[0] if words and len(set(words)) == 1 else " ".join(words)
