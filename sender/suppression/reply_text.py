"""The words of a reply that its writer typed, in one spelling: without dress, signature and quoted message. Pure."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 2000  # characters of a reply that are read

_APOSTROPHES = re.compile(r"['’`´]")  # they join within a word: `don't` is one word
_NO_WORD = re.compile(r"[\W_]+")
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
# The message that is answered, on the reply's own line: `STOP > Acme: sale`, `STOP On Mon, Nov 2, Acme wrote: sale`.
_QUOTED_INLINE = re.compile(r"\s>\s?\S.{8,}|\bon (?:mon|tue|wed|thu|fri|sat|sun)\w*,? .{4,100}\bwrote\b", re.DOTALL)
_SUBJECT = re.compile(r"\s*(?:(?:re|aw|fwd?|wg|tr|rv|subject|betreff|objet|asunto)\s?: ?)+")  # of a mail gateway
_MARKS = str.maketrans("™®©℠", "    ")  # which would become letters


def plain(text: str) -> str:
    """`text` in small letters without accents; its punctuation and lines stay."""
    letters = (
        letter
        for letter in unicodedata.normalize("NFKD", text.translate(_MARKS))
        if not unicodedata.combining(letter) and unicodedata.category(letter) != "Cf"  # invisible, also within a word
    )
    return "".join(letters).casefold()


def split_words(text: str) -> list[str]:
    """The words of `text`, in small letters and digits: `“Don't, PLEASE!!”` is `dont`, `please`."""
    return _NO_WORD.sub(" ", _APOSTROPHES.sub("", plain(text))).split()


def normalize(text: str) -> str:
    """`text` in small letters and digits with single blanks: `“Stop, ALL!!” 🛑` is `stop all`, `S.T.O.P` is `stop`."""
    words = split_words(text)
    if len(words) > 1 and all(len(word) == 1 for word in words):
        words = ["".join(words)]
    for size in (1, 2):  # a keyword that is repeated is that keyword
        if words and words == words[:size] * (len(words) // size):
            return " ".join(words[:size])
    return " ".join(words)


def without_tail(text: str) -> str:
    """`text`, as `plain` makes it, without its signature and without the message that it answers.

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
    written = _SUBJECT.sub("", "\n".join(lines), count=1) if lines and _SUBJECT.match(lines[0]) else "\n".join(lines)
    for tail in (_SIGNATURE, _QUOTED_INLINE, _QUOTED):
        if (found := tail.search(written)) and normalize(written[: found.start()]):
            written = written[: found.start()]
    return written
