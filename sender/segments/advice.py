"""What `sender.segments.blame` found, as sentences for a person: only what would save a segment.

A sign may be replaced or left out. A letter may be part of somebody's name, and a digit of an amount: nothing says to
leave them out, and names in another script are only counted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

_NAMED = 3  # code points of a cluster
_MOST_TOGETHER = 6  # characters named in the sentence on all of them
_SCRIPTS = {"Cjk": "Chinese or Japanese", "Hiragana": "Japanese", "Katakana": "Japanese", "Hangul": "Korean"}


def advise(blamed: Mapping[str, Any], most: int | None = None) -> list[str]:
    """Return sentences on what `blame` returned, or an older manifest has: at most `most` on single characters."""
    characters = blamed.get("characters", ())
    costly = [entry for entry in characters if entry["segments"] and not _is_of_a_script(entry)]
    lines = [sentence(entry) for entry in costly[:most]]
    more = len(costly) - len(lines) + (blamed.get("unlisted", 0) if costly else 0)
    if more > 0:
        lines.append(f"and {more:,} more character{'' if more == 1 else 's'}: the manifest lists them")
    together = [entry for entry in characters if entry["instead"] or can_be_left_out(entry["character"])]
    if len(together) > 1 and blamed.get("segments", 0) > sum(entry["segments"] for entry in costly):
        shown = " ".join(repr(entry["character"]) for entry in together[:_MOST_TOGETHER])
        others = " and others" if len(together) > _MOST_TOGETHER else ""
        cheaper = blamed.get("cheaper", blamed["messages"])  # which older manifests do not have
        cost = f"{_count(blamed['segments'], 'segment')} in {_count(cheaper, 'message')}"
        lines.append(f"{shown}{others} together cost {cost}")
    return lines + describe_scripts(blamed)


def describe_scripts(blamed: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each script whose letters are in some messages."""
    if "scripts" in blamed:
        return [f"{_count(n, 'message')} with {script} letters: UCS-2" for script, n in blamed["scripts"].items()]
    n = blamed.get("other_script", 0)
    return [f"{_count(n, 'message')} in letters outside GSM-7: UCS-2"] if n else []


def sentence(entry: Mapping[str, Any]) -> str:
    """Return an entry of `characters` of `blame` as a sentence: `'’' costs 3 segments in 40 messages: write "'"`."""
    character, instead = entry["character"], entry["instead"]
    names = ", ".join(unicodedata.name(part, f"U+{ord(part):04X}").lower() for part in character[:_NAMED])
    costs = f"costs {_count(entry['segments'], 'segment')}" if entry["segments"] else "alone costs no segment"
    if instead:
        advice = f"GSM-7 has only {instead!r}" if character[0].isalpha() else f"write {instead!r}"
    else:
        advice = "leave it out" if can_be_left_out(character) else "GSM-7 has nothing like it"
    return f"{character!r} ({names}) {costs} in {_count(entry['messages'], 'message')}: {advice}"


def can_be_left_out(character: str) -> bool:
    """Whether a text says the same without a grapheme cluster: an emoji, no letter, digit or sign of a currency."""
    return not any(unicodedata.category(part)[0] in "LN" or unicodedata.category(part) == "Sc" for part in character)


def script_of(letter: str) -> str:
    """Return the name of a letter's script, as a sentence has it: `Cyrillic`."""
    name = unicodedata.name(letter, "OTHER").split()[0].title()
    return _SCRIPTS.get(name, name)


def _is_of_a_script(entry: Mapping[str, Any]) -> bool:
    """Whether a character is counted with its script."""
    first = entry["character"][0]
    return not entry["instead"] and first.isalpha() and script_of(first) != "Latin"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
