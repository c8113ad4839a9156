"""Phone numbers as others write them, compared with ours in E.164. Pure; knows no country's numbering plan.

"Cannot be read" and "differs" are two answers: a number that is masked, in national form or missing proves nothing, and
what to make of that is the caller's decision.
"""

from __future__ import annotations

import re

_SEPARATORS = re.compile(r"[\s().\-/\u00a0\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_E164 = re.compile(r"\+[0-9]{5,17}")
_CHANNEL = re.compile(r"^[a-z]+:(?://)?", re.IGNORECASE)  # whatsapp:+1..., tel:+1...
_MASKED = re.compile(r"[xX*#?•_]+")
_MIN_DIGITS = 4  # fewer say nothing of a number
# Carriers and providers write a Mexican and an Argentine mobile number with or without this digit after the country
# code: the same phone (ITU-T E.164 national plans; Mexico dropped it in 2019).
_SAME_PHONE = (("+521", "+52"), ("+549", "+54"))


def read_e164(text: object) -> str | None:
    """`text` as an E.164 number, without separators; None for anything that is not whole and international."""
    if not isinstance(text, str):
        return None
    number = _SEPARATORS.sub("", text)
    return number if _E164.fullmatch(number) else None


def is_canonical(text: object) -> bool:
    """Whether `text` is E.164 without separators, and the usual spelling of that phone."""
    return isinstance(text, str) and _E164.fullmatch(text) is not None and _canonical(text) == text


def is_same(text: object, ours: str) -> bool:
    """Whether `text` is the E.164 number `ours`."""
    if text == ours:
        return True
    number = read_e164(text)
    return number is not None and _canonical(number) == _canonical(ours)


def may_be(text: object, ours: str) -> bool:
    """Whether `text` can stand for the E.164 number `ours`: it is that number, or a part of it, or cannot be read."""
    if text == ours:
        return True
    if not isinstance(text, str) or not _E164.fullmatch(ours):  # a short code is written in many ways
        return True
    plain = _SEPARATORS.sub("", _CHANNEL.sub("", text))
    if _E164.fullmatch(plain):
        return _canonical(plain) == _canonical(ours)
    if _MASKED.search(plain):
        shown = [re.escape(part) for part in re.split(_MASKED, re.sub(r"[^0-9xX*#?•_]", "", plain))]
        return re.fullmatch(f"{'' if plain.startswith('+') else '.*'}{'.*'.join(shown)}", ours[1:]) is not None
    digits = re.sub(r"[^0-9]", "", plain).lstrip("0")
    letters = re.search(r"[A-Za-z]", plain) is not None
    return letters or len(digits) < _MIN_DIGITS or ours.endswith(digits)


def _canonical(number: str) -> str:
    for written, same in _SAME_PHONE:
        if number.startswith(written):
            return same + number.removeprefix(written)
    return number
