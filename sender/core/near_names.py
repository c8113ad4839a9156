"""The names that somebody may have meant who wrote one that is not known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

_LONGEST = 100  # characters that are compared: comparing takes quadratic time
_MOST = 3
_ALIKE = 0.7  # of difflib's ratio: `mesage` and `message` are, `region` and `edition` are not
_SLIP = 0.9  # a slip of the finger: one is meant, and no key of another place
_OF_A_WORD = 0.85  # of the likeness to a single word of the other: `regoin` and `default_region`
_CLOSEST = 0.12  # what is so much less alike than the best is left out


def find_near(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of the `known` names that `name` may stand for, the nearest first.

    Case, blanks and punctuation make no difference. A name that is a whole part of the other is near: `region` and
    `default_region`.
    """
    scores = {each: _likeness(name[:_LONGEST], each) for each in dict.fromkeys(known)}
    best = max(scores.values(), default=0.0)
    near = [each for each, score in scores.items() if score >= max(_ALIKE, best - _CLOSEST)]
    return sorted(near, key=lambda each: -scores[each])[:_MOST]


def find_near_keys(
    key: str, here: Iterable[str], elsewhere: Mapping[str, Iterable[str]], meant: Mapping[str, str] | None = None
) -> list[str]:
    """Return up to three keys that an unknown `key` may stand for: as `rate`, or as `limits.queue` in another place.

    `here` are the keys of the same place, `elsewhere` those of others by the place's name ("": the top). `meant` has
    keys by other words for them, written in small letters and digits alone.
    """
    near = find_near(key, here)
    if near and _likeness(key[:_LONGEST], near[0]) >= _SLIP:
        return near[:1]
    far = {f"{place}.{name}".lstrip("."): name for place, names in elsewhere.items() for name in names}
    exact = [dotted for dotted, name in far.items() if _plain(name) == _plain(key)]
    if exact:
        return exact[:_MOST]
    if meant and _plain(key) in meant:
        return [meant[_plain(key)]]
    if near:
        return near
    names = find_near(key, far.values())
    return [dotted for dotted, name in far.items() if name in names][:_MOST]


def did_you_mean(names: Iterable[str]) -> str:
    """Return "did you mean `rate`, or `limits.queue`?"; nothing for no names."""
    *others, last = [f"`{name}`" for name in names] or [""]
    if not last:
        return ""
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


def _likeness(name: str, other: str) -> float:
    """Return 0 to 1: 1 for the same letters and digits."""
    a, b = _plain(name), _plain(other)
    if a == b:
        return 1.0
    parts, others = set(_parts(name)), set(_parts(other))
    within = 0.85 if parts and others and (parts <= others or others <= parts) else 0.0
    words = [difflib.SequenceMatcher(None, a, word).ratio() for word in others if len(word) > 3]
    return max(within, _OF_A_WORD * max(words, default=0.0), difflib.SequenceMatcher(None, a, b).ratio())


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _parts(name: str) -> list[str]:
    """Return the words of `default_region`, `default-region` or `defaultRegion`, without those of two letters."""
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)
    return [word.lower() for word in words if len(word) > 2]
