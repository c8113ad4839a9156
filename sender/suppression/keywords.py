"""What a reply says about consent: a STOP, a START, or neither. Pure.

A reply is a STOP when it is an opt-out word, whatever is around it that changes nothing: case, accents, punctuation,
emoji, a courtesy (`Please stop. Thank you`), a signature (`STOP / Sent from my iPhone`), the quoted message. The plain
words also count as its first or last sentence (`STOP. Who is this?`), for the others may be about an appointment. A
word within a sentence is no revocation (`don't stop`, `stop by the store`). A START has to be the whole reply.

Other words that may mean a revocation (`leave me alone`) are for a person to read: they would be told apart where
`keyword_of` returns None.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from enum import StrEnum

from sender.core.errors import InputError


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
    r"|hola|por favor|favor de) )+"
)
_AFTER = re.compile(
    r"(?: (?:please|pls|plz|thanks|thank you|thank u|thx|ty|tks|so much|very much|now|immediately|asap"
    r"|bitte|danke|danke schon|vielen dank|sofort|merci|merci beaucoup|svp|sil vous plait|sil te plait|maintenant"
    r"|gracias|muchas gracias|por favor|ahora|ya))+"
)
_APOSTROPHES = re.compile(r"['’`´]")  # they join within a word: `don't` is one word
_NO_WORD = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"[\n\r.!;]+|\s[-–—]\s")
# What mail programs and phones put below a text, without accents and in small letters.
_SIGNATURE = re.compile(
    r"\b(?:sent (?:from|via) |get outlook for |envoye (?:de|depuis|a partir de) |enviado desde |gesendet (?:von|mit) "
    r"|von mein\w* \w+ gesendet)"
)
_RULE = re.compile(r"\s*(?:-{2,}|_{3,}|={3,}|\*{3,})")
_QUOTES_BEGIN = re.compile(
    r"\s*(?:(?:on|le|el|am) .{4,100}(?:wrote|a ecrit|escribio|schrieb)\b"
    r"|(?:from|de|von|sent|gesendet|envoye|enviado) ?: )"
)
_QUOTED = re.compile(r"[\"“„«].{12,}", re.DOTALL)  # a passage, and not a word between quotation marks
_LONGEST = 2000  # characters of a reply that are read
_LONGEST_WORD = 40


def opt_out_words(words: Iterable[str]) -> frozenset[str]:
    """The words, or short phrases, of a sender's own that opt out as a whole reply, as `keyword_of` compares them.

    Raises InputError for one without letters and digits, of more than 40 characters, or that means something else.
    """
    read = {}
    for word in words:
        name = _normalize(word)
        if not name or len(word) > _LONGEST_WORD:
            raise InputError(
                f"{word[:_LONGEST_WORD]!r} cannot be an opt-out word",
                where="listen.opt_out_words",
                fix=f"write a keyword or a short phrase of at most {_LONGEST_WORD} characters, with letters or digits",
            )
        if name in _RESERVED:
            raise InputError(
                f"{word!r} cannot be an opt-out word: it asks for help or for messages",
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
    whole = _normalize(text) if len(text) <= _LONGEST else ""
    if whole in _START or whole in _START_AT.get(provider, ()):
        return Keyword.START
    written = _without_tail(_plain(text[:_LONGEST]))
    said = _without_courtesy(_normalize(written))
    if whole in _STOP or whole in own_words or said in _STOP or said in own_words:
        return Keyword.STOP
    sentences = [words for part in _SENTENCE_END.split(written) if (words := _normalize(part))]
    if any(_without_courtesy(words) in _PLAIN for words in (*sentences[:1], *sentences[-1:])):
        return Keyword.STOP
    return None


def _plain(text: str) -> str:
    """`text` in small letters without accents; its punctuation and lines stay."""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letters).casefold()


def _normalize(text: str) -> str:
    """`text` in small letters and digits with single blanks: `“Stop, ALL!!” 🛑` is `stop all`, `S.T.O.P` is `stop`."""
    words = _NO_WORD.sub(" ", _APOSTROPHES.sub("", _plain(text))).split()
    if len(words) > 1 and all(len(word) == 1 for word in words):
        words = ["".join(words)]
    for size in (1, 2):  # a keyword that is repeated is that keyword
        if words and words == words[:size] * (len(words) // size):
            return " ".join(words[:size])
    return " ".join(words)


def _without_courtesy(words: str) -> str:
    """Normalised `words` without what is only polite or impatient around them."""
    said = words
    if before := _BEFORE.match(words):
        said = words[before.end() :]
    for after in _AFTER.finditer(said):
        if after.end() == len(said):
            return said[: after.start()]
    return said


def _without_tail(text: str) -> str:
    """`text`, as `_plain` makes it, without its signature and without the message that it answers.

    A text that is nothing else is empty.
    """
    lines: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith(">") or (not lines and _QUOTES_BEGIN.match(line)):
            continue
        if lines and (_RULE.match(line) or _QUOTES_BEGIN.match(line)):
            break
        if lines or line.strip():
            lines.append(line)
    written = "\n".join(lines)
    for tail in (_SIGNATURE, _QUOTED):
        if (found := tail.search(written)) and _normalize(written[: found.start()]):
            written = written[: found.start()]
    return written
