"""What a reply says about consent: a STOP, a START, or neither. Pure.

A reply is a STOP when it is an opt-out word, whatever is around it that changes nothing: case, accents, punctuation,
emoji, a courtesy (`Please stop. Thank you`), a signature (`STOP / Sent from my iPhone`), the quoted message. The plain
words also count as its first or last sentence (`STOP. Who is this?`), for the others may be about an appointment. A
word within a sentence is no revocation (`don't stop`, `stop by the store`). A START has to be the whole reply.

Other words that may mean a revocation (`leave me alone`) are for a person to read: `sender.suppression.revocations`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from enum import StrEnum

from sender.core.errors import InputError
from sender.suppression.reply_text import LONGEST, normalize, plain, without_tail


class Keyword(StrEnum):
    """What a reply asks for."""

    STOP = "STOP"
    START = "START"


# They mean an end to the messages in any sentence of their own. The carriers' keywords (SignalWire, messaging overview,
# and Telnyx and Twilio alike, 2026-08), those that 47 CFR 64.1200(a)(10) takes for a revocation whatever the sender
# says (`opt out`, `revoke`), ARRET, which the Canadian Common Short Code rules require as well as STOP, and words for
# the same in French, Spanish and German.
_PLAIN = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "unsub", "revoke", "optout", "opt out"}
    | {"arret", "arretez", "desabonner", "desabonnement", "desinscrire", "desinscription"}
    | {"darme de baja", "dar de baja", "desuscribir", "cancelar suscripcion"}
    | {"stopp", "abmelden", "abmeldung", "abbestellen", "austragen"}
)
# They may also be about an appointment or an order, so they have to be the whole reply. REMOVE and TD are on the list
# of words that AWS requires ("Required opt-out keywords", 2026-11).
_WHOLE = frozenset(
    {"cancel", "end", "quit", "remove", "td"}
    | {"arreter", "annuler", "resilier", "quitter", "retirer", "fin"}
    | {"alto", "baja", "parar", "pare", "cancelar", "detener", "terminar", "salir", "no mas"}
    | {"kundigen", "kuendigen", "beenden", "ende"}
)
_STOP = _PLAIN | _WHOLE
_START = frozenset({"start", "unstop"})
_START_AT: dict[str, frozenset[str]] = {"twilio": frozenset({"yes"})}  # YES opts in again there, and only there
# Words that carriers answer for us or that mean consent: nobody may have them mean the opposite.
_RESERVED = _START | frozenset({"yes", "help", "info", "aide", "ayuda", "hilfe"})

_BEFORE = re.compile(
    r"(?:(?:please|pls|plz|kindly|hi|hello|hey|ok|okay|bitte|hallo|bonjour|merci de|svp|sil vous plait|sil te plait"
    r"|hola|por favor|favor de) |merci d(?=arret))+"
)
_AFTER = re.compile(
    r"(?: (?:please|pls|plz|thanks|thank you|thank u|thx|ty|tks|so much|very much|now|immediately|asap"
    r"|bitte|danke|danke schon|vielen dank|sofort|merci|merci beaucoup|svp|sil vous plait|sil te plait|maintenant"
    r"|gracias|muchas gracias|por favor|ahora|ya))+"
)
_BETWEEN = frozenset({"or", "and", "ou", "et", "o", "y", "oder", "und"})
_RUN_TOGETHER = re.compile(r"(?:stop){2,}")
_SENTENCE_END = re.compile(r"[\n\r.!;]+|\s[-–—]\s")
_LONGEST_WORD = 40


def opt_out_words(words: Iterable[str]) -> frozenset[str]:
    """The words, or short phrases, of a sender's own that opt out as a whole reply, as `keyword_of` compares them.

    Raises InputError for one without letters and digits, of more than 40 characters, or that means something else.
    """
    read = {}
    for word in words:
        name = normalize(word)
        if not name or len(word) > _LONGEST_WORD:
            raise InputError(
                f"{word[:_LONGEST_WORD]!r} cannot be an opt-out word",
                where="listen.opt_out_words",
                fix=f"write a keyword or a short phrase of at most {_LONGEST_WORD} characters, with letters or digits",
            )
        if name in _RESERVED:
            raise InputError(
                f"{word!r} cannot be an opt-out word: it means help or opting in",
                where="listen.opt_out_words",
                fix="remove it",
            )
        read[name] = word
    return frozenset(read)


def keyword_of(text: str | None, provider: str = "", own_words: Collection[str] = frozenset()) -> Keyword | None:
    """What `text`, a whole reply, asks for; None when it is neither a STOP nor a START.

    `provider` is the dialect that carried it: some know keywords that others do not. `own_words` are from
    `opt_out_words`.
    """
    if not text:
        return None
    whole = normalize(text) if len(text) <= LONGEST else ""
    if whole in _START or whole in _START_AT.get(provider, ()):
        return Keyword.START
    written = without_tail(plain(text[:LONGEST]))
    said = _without_courtesy(normalize(written))
    if whole in _STOP or whole in own_words or said in _STOP or said in own_words or _is_only_stops(said):
        return Keyword.STOP
    sentences = [words for part in _SENTENCE_END.split(written) if (words := normalize(part))]
    if any(_without_courtesy(words) in _PLAIN for words in (*sentences[:1], *sentences[-1:])):
        return Keyword.STOP
    return None


def _is_only_stops(said: str) -> bool:
    """Whether normalised words are nothing but opt-out words: `stop arret`, `stop or unsubscribe`, `stopstop`."""
    words = [word for word in said.split() if word not in _BETWEEN]
    return bool(words) and all(word in _STOP or _RUN_TOGETHER.fullmatch(word) for word in words)


def _without_courtesy(words: str) -> str:
    """Normalised `words` without what is only polite or impatient around them."""
    said = words
    if before := _BEFORE.match(words):
        said = words[before.end() :]
    for after in _AFTER.finditer(said):
        if after.end() == len(said):
            return said[: after.start()]
    return said
