"""Which replies may be a revocation in other words (`leave me alone`): a table of phrases in four languages. Pure.

In the United States a revocation counts in any form that a person would understand (47 CFR 64.1200(a)(10)). A machine
cannot decide that, so a reply with such a phrase is shown to a person; until then its number gets nothing. A phrase is
in `revocations.toml` if it is said to a sender of texts and hardly ever about anything else: to hold somebody who meant
nothing costs a look, and a flood of them would cost everybody's attention. Opt-out words themselves are in
`sender.suppression.keywords`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sender.suppression.reply_text import LONGEST, plain, split_words, without_tail

_TABLE = Path(__file__).with_name("revocations.toml")
_NEGATED_WITHIN = 3  # words
_MEANS_NOTHING = re.compile(
    r"\b(?:by (?:mistake|accident)|accidental\w*|(?:didnt|did not|dont) mean|por error|sin querer|par erreur"
    r"|aus versehen|is (?:this|it) (?:a )?(?:spam|scam)|(?:do not|dont) call(?: me)? (?:just |please )?text)\b"
)
_SENTENCE_END = re.compile(r"[\n\r.!?;,:]+|\s[-–—/]\s")
_SIGNS = frozenset("🖕🛑⛔🚫✋")


class _Language(NamedTuple):
    """The phrases of one language. Those of `acts` mean nothing shortly after a word of `negators`."""

    acts: re.Pattern[str]
    others: re.Pattern[str]
    negators: frozenset[str]


def may_be_revocation(text: str | None) -> bool:
    """Whether `text`, a whole reply that is no keyword, may ask for an end to the messages.

    Its first 2,000 characters are read, without the signature and the message that it answers.
    """
    if not text:
        return False
    written = without_tail(plain(text[:LONGEST]))
    whole = " ".join(split_words(written))
    if not whole:
        return bool(_SIGNS & set(text))
    if _MEANS_NOTHING.search(whole):
        return False
    sentences = [" ".join(split_words(part)) for part in _SENTENCE_END.split(written)]
    return any(_has_phrase(sentence) for sentence in (*sentences, whole))


def _has_phrase(sentence: str) -> bool:
    for language in _read_table():
        if language.others.search(sentence):
            return True
        for act in language.acts.finditer(sentence):
            if not language.negators & set(sentence[: act.start()].split()[-_NEGATED_WITHIN:]):
                return True
    return False


@cache
def _read_table() -> tuple[_Language, ...]:
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    words: Mapping[str, str] = table.pop("words")
    return tuple(
        _Language(_compile(phrases["acts"], words), _compile(phrases["others"], words), frozenset(phrases["negators"]))
        for phrases in table.values()
    )


def _compile(phrases: Iterable[str], words: Mapping[str, str]) -> re.Pattern[str]:
    """One expression for all phrases, with the words for `<name>`."""
    joined = "|".join(f"(?:{phrase})" for phrase in phrases)
    for name, alternatives in words.items():
        joined = joined.replace(f"<{name}>", alternatives)
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)")
