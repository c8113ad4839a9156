"""Which encoding a text that is not UTF-8 may have, judged by the cell that shows it. Proposes, never decides."""

from __future__ import annotations

import re
import unicodedata

# In the order in which they are likely; what a cell shows in each decides.
_CANDIDATES = (
    ("cp1252", "Windows, Western Europe"),
    ("mac-roman", "older Macs"),
    ("cp1250", "Windows, Central Europe"),
    ("cp1251", "Windows, Cyrillic"),
    ("cp1253", "Windows, Greek"),
    ("cp1254", "Windows, Turkish"),
    ("cp850", "MS-DOS"),
)
_SEPARATORS = (b",", b";", b"\t", b"|", b"\r", b"\n", b'"')
_CELL = re.compile(rb"[^,;\t|\r\n\"]*")
CONTEXT_BYTES = 60  # before and after a byte that cannot be read
_WORD = re.compile(r"[^\W\d_]+")
_SIGNS = frozenset("€’‘“”–—…«»§©®ºª¿¡£")
_SIGN_INSIDE = re.compile(r"(?<=[^\W\d_])[^\w\s’.\-'&/]+(?=[^\W\d_])")
_MOST_SHOWN = 3


def propose_encodings(data: bytes, at: int) -> list[tuple[str, str, str]]:
    """Return encodings in which the cell around the byte `at` reads like a text, best first.

    Each as its name, who writes it, and the cell. Empty where it reads like a text in none.
    """
    before = data[max(0, at - CONTEXT_BYTES) : at]
    start = at - len(before) + max(before.rfind(separator) + 1 for separator in _SEPARATORS)
    found = _CELL.match(data, start, at + CONTEXT_BYTES)
    cell = found[0] if found else b""
    scored = []
    for place, (name, where) in enumerate(_CANDIDATES):
        try:
            text = cell.decode(name).strip()
        except UnicodeDecodeError:
            continue
        score = _score(text)
        if score > 0:
            scored.append((-score, place, name, where, text))
    shown: dict[str, tuple[str, str, str]] = {}
    for _, _, name, where, text in sorted(scored):
        shown.setdefault(text, (name, where, text))
    return list(shown.values())[:_MOST_SHOWN]


def _score(text: str) -> float:
    """Return how much a text reads like one: letters of one script in a word, no capital and no odd sign inside it."""
    if any(unicodedata.category(character) in ("Cc", "Co", "Cn") for character in text):
        return 0
    odd = sum(not character.isascii() and not character.isalpha() and character not in _SIGNS for character in text)
    score = 1.0 - 2 * (odd + len(_SIGN_INSIDE.findall(text)))
    for word in _WORD.findall(text):
        if word.isascii() or len(word) == 1:
            continue
        scripts = {unicodedata.name(character, "?").split()[0] for character in word}
        foreign = sum(not character.isascii() for character in word)
        score += 1 if len(scripts) == 1 else -2
        score += 1 if word.islower() or word.isupper() or word.istitle() else -1
        score -= 2 if "LATIN" in scripts and 2 * foreign > len(word) else 0
    return score
