"""The one number in a cell that holds more than a number: quotes, a label, the scheme of a link, odd blanks.

Only what cannot change the number is dropped. Words that are not labels, a second number, an extension: then there is
nothing to return, and the cell is held as it is.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

SCHEME_REPAIR = "dropped the `{}:` before the number"
LABEL_REPAIR = "dropped the label next to the number"
QUOTE_REPAIR = "dropped the quotation marks around the number"
SIGN_REPAIR = "dropped the signs around the number"
BLANK_REPAIR = "read tabs, line breaks and unusual blanks as blanks"
INVISIBLE_REPAIR = "dropped characters that cannot be seen"
SEPARATOR_REPAIR = "read the signs between the digits as blanks"
THOUSANDS_REPAIR = "dropped the thousands separators"

SCHEMES = ("tel", "sms", "smsto", "callto", "whatsapp")
_SCHEME = re.compile(rf"\s*({'|'.join(SCHEMES)})\s*:(?://)?\s*", re.IGNORECASE)
_WORD = (
    "mobile|mobil|mobiel|mobiele|mob|cell|cellular|cellphone|handy|natel|gsm|portable|movil|móvil|celular|cellulare"
    "|telemovel|telemóvel|phone|telephone|telefon|telefono|teléfono|telefone|telefoon|telephon|téléphone|tél|tel|ph"
    "|number|nummer|numéro|numero|nr|rufnummer|handynummer|mobilnummer|telefonnummer|home|work|office|private|privat"
    "|prive|privé|personal|main|primary|business|geschäftlich|dienstlich|casa|trabajo|lavoro|sms|text|whatsapp|contact"
)
_AFTER_WORD = r"[\s.:#=\-\u2013\u2014/]"
_LABEL_BEFORE = re.compile(
    rf"(?:[(\[]?(?:(?:{_WORD})(?![^\W_])|[mctphw](?=\s*[.:)\]]))[)\]]?{_AFTER_WORD}*)+(?=[\d+(])", re.IGNORECASE
)
_NUMBERED_LABEL = re.compile(r"\d(?:[^\d:]|$)")  # after a label without `:`, as in `Mobile 1 152 28817386`
_LABEL_AFTER = re.compile(
    rf"(?<=[\d)])[\s,;:=\-\u2013\u2014/]*(?:[(\[](?:{_WORD}|[mctphw])\.?[)\]]|(?<![^\W_])(?:{_WORD})(?![^\W_])[.]?|\s)+",
    re.IGNORECASE,
)
_QUOTES = "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\uff02\uff07"
_SIGNS = ",;:<>{}\u260e\u260f\u2706\U0001f4de\U0001f4f1\U0001f4f2\ufe0f"
_BETWEEN = re.compile(r"(?<=\d)\s*[\u00b7\u2022\u2027\u2219_|]+\s*(?=\d)")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3}){2,4}|\d{1,3}(?:['\u2019]\d{3}){2,4}")
_NOT_TEXTED = re.compile(r"(?<![^\W\d_])(?:tele)?fax|(?<![^\W\d_])(?:landline|festnetz|pager)", re.IGNORECASE)


class Unwrapped(NamedTuple):
    """The number alone, and what was dropped, as a sentence for a person."""

    text: str
    repair: str


def takes_no_texts(cell: str) -> bool:
    """Whether a label in the cell says that its number is one of a fax, a pager or a landline."""
    return _NOT_TEXTED.search(cell) is not None


def unwrap(cell: str) -> Unwrapped | None:
    """Return the number in `cell` alone; None where nothing is dropped. What is left need not be a number."""
    repairs: list[str] = []
    text = _drop_unseen(cell, repairs)
    if scheme := _SCHEME.match(text):
        text = text[scheme.end() :]
        repairs.append(SCHEME_REPAIR.format(scheme[1].lower()))
    if _THOUSANDS.fullmatch(text):
        text = re.sub(r"\D", "", text)
        repairs.append(THOUSANDS_REPAIR)
    for characters, repair in ((_QUOTES, QUOTE_REPAIR), (_SIGNS, SIGN_REPAIR), (_QUOTES, QUOTE_REPAIR)):
        stripped = text.strip(f"{characters} ")
        if stripped != text.strip():
            repairs.append(repair)
        text = stripped
    unlabelled = _drop_labels(text)
    if unlabelled != text:
        repairs.append(LABEL_REPAIR)
        text = unlabelled.strip(f"{_SIGNS} ")
    spaced = _BETWEEN.sub(" ", text)
    if spaced != text:
        repairs.append(SEPARATOR_REPAIR)
    return Unwrapped(spaced, "; ".join(dict.fromkeys(repairs))) if repairs else None


def _drop_labels(text: str) -> str:
    label = _LABEL_BEFORE.match(text)
    if label and (":" in label[0] or not _NUMBERED_LABEL.match(text, label.end())):
        text = text[label.end() :]
    after = _LABEL_AFTER.search(text)
    return text[: after.start()] if after and after.end() == len(text) else text


def _drop_unseen(cell: str, repairs: list[str]) -> str:
    """Return the cell with plain blanks and without invisible characters."""
    text = "".join(" " if character in "\t\n\r\v\f" or _is_blank(character) else character for character in cell)
    if text != cell:
        repairs.append(BLANK_REPAIR)
    seen = "".join(character for character in text if unicodedata.category(character) not in ("Cf", "Cc"))
    if seen != text:
        repairs.append(INVISIBLE_REPAIR)
    return seen.strip()


def _is_blank(character: str) -> bool:
    return character not in " \u00a0" and unicodedata.category(character) in ("Zs", "Zl", "Zp")
