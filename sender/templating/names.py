"""The filters for names of people: a first name for a greeting, and names in name case.

`nameparser` finds the parts of a name: titles, particles and suffixes of many languages are in its word lists. It takes
a third of a millisecond for a name, so the plainest ones are read here, to the same result (a test compares both). What
it does not do is to say that there is no first name to greet with: initials, companies and families have none.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes 60 ms, and few campaigns use it
    from nameparser import Lexicon, Parser

NOT_SAID = "has no first name to greet with; write {{ ... | first_name | default('there') }}"

# One to three words of Latin letters.
_WORD = r"[A-Za-z\u00c0-\u024f]{2,}(?:['\u2019-][A-Za-z\u00c0-\u024f]{2,})*"
_PLAIN = re.compile(rf"{_WORD}(?: {_WORD}){{0,2}}")
_PATRONYMIC = re.compile(r"(?:ich|i[čtć]|vna|chna|čna|čina|ovna)\Z")  # in East Slavic order the family name is first
_ORDINAL = re.compile(r"\s\d(?:st|nd|rd|th)\Z", re.IGNORECASE)  # John Smith 3rd
_LETTER = r"[A-Za-z\u00c0-\u024f\u0370-\u052f]"
_INITIALS = re.compile(rf"{_LETTER}(?:[.\s-]+{_LETTER})*\.?")
_NOT_IN_A_NAME = re.compile(r"[\d@/\\_#<>{}|=+*%&]|\.\w{2,}|https?:")
_LATIN = re.compile(r"[A-Za-z]{2,}")
_VOWEL = re.compile("[AEIOUYaeiouy]")
_EAST_ASIAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
# Words of what is not one person.
_NOT_A_PERSON = frozenset(
    {"family", "familie", "famille", "familia", "fam", "household", "estate", "heirs", "team", "sons", "brothers"}
    | {"ltd", "limited", "llc", "llp", "lp", "inc", "corp", "corporation", "plc", "co", "company", "gmbh", "kg", "ohg"}
    | {"mbh", "ug", "ag", "sa", "sas", "sarl", "srl", "spa", "sl", "bv", "nv", "oy", "ab", "aps", "pty", "kft", "sro"}
    | {
        "trust",
        "foundation",
        "association",
        "club",
        "school",
        "church",
        "university",
        "restaurant",
        "hotel",
        "services",
    }
)
_THE = frozenset({"the", "die", "les", "los"})

_APOSTROPHES = "'\u2019\u02bc"
# Words that are lower case inside a name, but not at its beginning or end.
_PARTICLES = frozenset(
    {"van", "der", "den", "de", "het", "'t", "te", "ten", "ter", "op", "von", "vom", "und", "zu", "zum", "zur"}
    | {"af", "av", "ap", "of", "and", "da", "das", "degli", "dei", "del", "della", "di", "do", "dos", "du", "des"}
    | {"e", "y", "i", "la", "las", "le", "les", "lo", "los", "el", "al", "bin", "binti", "ibn", "na"}
)
# Suffixes that are not written like words. A single letter is a capital anyway.
_SUFFIXES = {
    suffix.lower(): suffix
    for suffix in (
        *("II", "III", "IV", "VI", "VII", "VIII", "IX", "XI", "XII"),
        *("PhD", "MD", "DDS", "DMD", "DVM", "JD", "MBA", "CPA", "RN", "BSc", "MSc", "LLM", "OBE", "CBE", "MBE", "QC"),
    )
}


def first_name(value: str) -> str | None:
    """The given name in a full name, in name case: `ADA LOVELACE`, `lovelace, ada` and `Mrs. Ada King` give `Ada`.

    None where there is none that could be said aloud: a title and a surname, initials, a company, a family. A name in
    mixed case stays as it is.
    """
    if _is_plain(value):
        return _said(value.partition(" ")[0])
    text = " ".join(value.split())
    if _is_plain(text):
        return _said(text.partition(" ")[0])
    text = _ORDINAL.sub("", text)
    words = re.findall(r"[^\W\d_]+", text.casefold())
    if not _is_a_person(words) or _NOT_IN_A_NAME.search(re.sub(r"\s&\s", " ", text)):
        return None
    given = _find_given(text)
    if not given and _EAST_ASIAN.fullmatch(text):  # without blanks nothing says where the family name ends
        return text
    return _said(given)


def _is_plain(text: str) -> bool:
    """Whether the first word of a name is the given name, and no other word can change that."""
    if _PLAIN.fullmatch(text) is None:
        return False
    words = text.casefold().split(" ")
    special = _special_words()  # which are in lower case: `großfürst`, where `casefold` writes `ss`
    return (
        special.isdisjoint(words)
        and special.isdisjoint(text.lower().split(" "))
        and not (len(words) == 3 and _PATRONYMIC.search(words[2]))
    )


def _said(given: str) -> str | None:
    """A given name in name case; None for what is none, or only initials and abbreviations: `J. R.`, `Wm.`, `HRH`."""
    if given[1:].islower() and given[:1].isupper() and _VOWEL.search(given):  # most of them
        return given
    latin = _LATIN.fullmatch(given)
    unsaid = not given or _INITIALS.fullmatch(given) or given.endswith(".") or (latin and not _VOWEL.search(given))
    return None if unsaid else name_case(given)


def _find_given(text: str) -> str:
    given = " ".join(_parser().parse(text).given.strip(" ,;:()\"'").split())
    if given.casefold() in _lexicon().bound_given_names:  # `Abdul` alone is half a name
        match = re.search(rf"{re.escape(given)}\s+\S+", text)
        return match[0] if match else ""
    return given


@cache
def _lexicon() -> Lexicon:
    from nameparser import Lexicon

    return Lexicon.default()


@cache
def _parser() -> Parser:
    from nameparser import Parser, PatronymicRule, Policy

    return Parser(policy=Policy(patronymic_rules=frozenset({PatronymicRule.EAST_SLAVIC})))


@cache
def _special_words() -> frozenset[str]:
    """The words, in lower case, that are more than a part of a name, to `nameparser` or here."""
    lexicon = _lexicon()
    lists = (
        lexicon.titles,
        lexicon.given_name_titles,
        lexicon.suffix_acronyms,
        lexicon.suffix_words,
        lexicon.suffix_acronyms_ambiguous,
        lexicon.particles,
        lexicon.particles_ambiguous,
        lexicon.conjunctions,
        lexicon.conjunctions_ambiguous,
        lexicon.bound_given_names,
        lexicon.maiden_markers,
        lexicon.honorific_tails,
        lexicon.after_given_titles,
    )
    return frozenset().union(_NOT_A_PERSON, _THE, *lists)


def _is_a_person(words: list[str]) -> bool:
    return bool(words) and words[0] not in _THE and (len(words) == 1 or _NOT_A_PERSON.isdisjoint(words[1:]))


def name_case(value: str) -> str:
    """A name in name case if it is all capitals or all lower case: `LUDWIG VAN BEETHOVEN` gives `Ludwig van Beethoven`.

    Knows hyphens, `O'Brien`, `D'Angelo`, `McDonald`, particles and suffixes (`Jose II`). A name in mixed case stays as
    it is.
    """
    words = value.split()
    letters = "".join(filter(str.isalpha, value))
    if letters.isupper() or letters.islower():
        # `J Smith` is mixed case; `J` and `J. R.` alone stay capitals.
        last = len(words) - 1
        words = [_cased(word, inside=0 < place < last, later=place > 0) for place, word in enumerate(words)]
    return " ".join(words)


def _cased(word: str, *, inside: bool, later: bool) -> str:
    small = word.lower()
    if inside and small in _PARTICLES:
        return small
    if later and small.rstrip(",") in _SUFFIXES:
        return _SUFFIXES[small.rstrip(",")] + small[len(small.rstrip(",")) :]
    if "." in word:  # initials: `J.R.`, `A.-M.`
        return "".join(part[:1].title() + part[1:].lower() for part in re.split(r"(?<=[.\-])", word))
    return "-".join(_cased_part(part) for part in small.split("-"))


def _cased_part(part: str) -> str:
    for mark in _APOSTROPHES:
        before, apostrophe, after = part.partition(mark)
        if apostrophe and len(before) <= 1 and len(after) > 1:  # O'Brien, D'Angelo, 'Ofa; not Ja'net, nor a final 's
            return before.title() + apostrophe + _titled(after)
    if re.fullmatch(r"mc[^\W\d_]{3,}", part):
        return "Mc" + _titled(part[2:])
    return _titled(part)


def _titled(text: str) -> str:
    at = next((place for place, letter in enumerate(text) if letter.isalnum()), 0)  # after a bracket or a quote
    return text[:at] + text[at : at + 1].title() + text[at + 1 :]
