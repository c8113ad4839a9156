"""Which characters cost money: those that force UCS-2, or fill an extra segment, and what to write instead.

A *character* here is a grapheme cluster, what a reader takes for a single character: an emoji of several code points,
or a letter with its accent. Two kinds are blamed:

- those outside GSM-7, which turn the whole text into UCS-2, in every text that has them; and
- those of GSM-7's extension table (two septets), in the texts where they cost a segment.

A character costs what would be saved if only this character were replaced, in all its places, by `instead` (its
look-alike in GSM-7, else its base letter, else nothing): `segments` is the sum over all texts; a text that would grow
counts as nothing saved. Two curly quotes in a text may each save nothing alone, so the sum of replacing all characters
at once is given, too. A text whose letters are mostly outside GSM-7 is in another script: UCS-2 is intended there, and
none of its characters is blamed. Only advises; changes no text.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Any

import polars as pl

from sender.core.frame_buffer import SpillingFrames
from sender.segments.advice import can_be_left_out, script_of
from sender.segments.encoding import GSM_BASIC, GSM_EXTENSION, LOOK_ALIKES, UCS_2, measure
from sender.segments.graphemes import CLUSTER, cluster_outside

MOST_LISTED = 100  # characters in a plan's manifest; a hostile list may hold any number of them

_INSIDE = "".join(f"\\x{{{ord(character):X}}}" for character in GSM_BASIC + GSM_EXTENSION)
_FORCING = cluster_outside(_INSIDE)
_EXTENDED = "[" + "".join(f"\\x{{{ord(character):X}}}" for character in GSM_EXTENSION) + "]"
_FOREIGN_LETTER = rf"[\p{{L}}--{_INSIDE}]"
_LETTER_OF_A_SCRIPT = rf"([\p{{L}}--{_INSIDE}--\p{{Latin}}])"
_FEW_FOREIGN = 3
_MANY_PLAIN = f"[A-Za-z]{{{2 * _FEW_FOREIGN}}}"
_GSM = frozenset(GSM_BASIC + GSM_EXTENSION)

# What reads alike and takes a single septet. The euro sign has nothing: `EUR` would be longer still.
_SHORTER = {"[": "(", "]": ")", "{": "(", "}": ")", "~": "-", "\\": "/", "|": "/", "^": "'", "\f": "\n"}

# Letters that Unicode does not decompose.
_STROKED = {"Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "Ħ": "H", "ħ": "h", "ı": "i", "Œ": "OE", "œ": "oe", "ẞ": "SS"}

_LISTED = {"character": pl.String, "instead": pl.String, "messages": pl.UInt32, "segments": pl.UInt32}


def instead_of(character: str) -> str:
    """Return what to write for `character` in GSM-7: its look-alike, else its base letters, else "" (leave it out)."""
    if character in GSM_EXTENSION:
        return _SHORTER.get(character, "")
    if character in LOOK_ALIKES:
        return LOOK_ALIKES[character]
    if character in _STROKED:
        return _STROKED[character]
    composed = unicodedata.normalize("NFC", character)  # e and a combining acute are GSM-7's own é
    letters = "".join(part for part in unicodedata.normalize("NFKD", character) if not _is_mark(part))
    looks = "".join(LOOK_ALIKES.get(part, part) for part in character)
    base = "".join(LOOK_ALIKES.get(part, part) for part in letters)
    for candidate in (composed, looks, base):
        if candidate and _GSM.issuperset(candidate):
            return candidate
    return ""


def other_script(texts: pl.Series) -> pl.Series:
    """Return whether the letters of each text (String) are mostly outside GSM-7 (Boolean; false for null)."""
    foreign = texts.str.count_matches(_FOREIGN_LETTER).fill_null(0)
    few = (foreign <= _FEW_FOREIGN) & texts.str.contains(
        _MANY_PLAIN
    )  # true of most texts: counting all their letters is slow
    some = ((foreign > 0) & ~few).arg_true()
    mostly = 2 * foreign.gather(some) > texts.gather(some).str.count_matches(r"\p{L}")
    return pl.repeat(value=False, n=texts.len(), eager=True).scatter(some, mostly)


def blame(sizes: pl.DataFrame) -> dict[str, Any]:
    """Return what characters cost in texts: a frame of `body` (String), and `encoding` and `segments` as of `measure`.

    Plain values for a manifest. `characters` lists `character`, `instead`, `messages` (texts that it forces into UCS-2,
    or, of the extension table, texts that it costs a segment) and `segments` (saved if only it were replaced), the
    costliest first, at most MOST_LISTED of them; `unlisted` counts the rest. `messages` counts the texts with a blamed
    character, `segments` what replacing all of them at once would save (letters and digits that GSM-7 has nothing for
    stay) in `cheaper` texts, `other_script` the texts left out, `scripts` by script the texts with a letter of it.
    """
    blamed = Blame()
    blamed.add(sizes)
    return blamed.result()


class Blame:
    """`blame` of texts in parts. It stores only those that could save a segment."""

    def __init__(self) -> None:
        self._totals = pl.DataFrame(schema=_LISTED)
        self._messages = self._other_script = 0
        self._scripts: Counter[str] = Counter()
        self._long = SpillingFrames()

    def add(self, sizes: pl.DataFrame) -> None:
        """Add a part. Raises InputError if there is no room to store the texts that are read again."""
        if not ((sizes["encoding"] == UCS_2) | (sizes["segments"] > 1)).any():
            return
        texts, foreign = _texts(sizes)
        self._other_script += foreign
        first = sizes.filter(pl.col("encoding") == UCS_2)["body"].str.extract(_LETTER_OF_A_SCRIPT).drop_nulls()
        for letter, count in first.value_counts(name="n").iter_rows():
            self._scripts[script_of(letter)] += count
        if texts.is_empty():
            return
        pairs = _blamed_pairs(texts)
        counted = pairs.select("character", "instead", messages=1, segments="saved")
        self._totals = _sum_by_character(pl.concat([self._totals, _sum_by_character(counted)]))
        holding = texts[pairs["text"].unique()]
        self._messages += holding.height
        long = holding.filter(pl.col("segments") > 1)
        if long.height:
            self._long.append(long.select("body", "segments"))

    def result(self) -> dict[str, Any]:
        """Return what `blame` returns."""
        listed = self._totals.sort("segments", "messages", "character", descending=[True, True, False])
        free = [character for character in listed["character"] if can_be_left_out(character)]
        replaced = listed.filter((pl.col("instead") != "") | pl.col("character").is_in(free))
        together = [_saved_together(long, replaced) for long in self._long.frames()]
        return {
            "characters": listed.head(MOST_LISTED).to_dicts(),
            "unlisted": max(0, listed.height - MOST_LISTED),
            "messages": self._messages,
            "segments": sum(int(saved.sum()) for saved in together),
            "cheaper": sum(int((saved > 0).sum()) for saved in together),
            "other_script": self._other_script,
            "scripts": dict(self._scripts.most_common()),
        }


def _texts(sizes: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return the texts that could be cheaper, numbered in `text`, and the number of those left out (another script)."""
    texts = sizes.select("body", "segments", ucs=pl.col("encoding") == UCS_2)
    texts = texts.filter(pl.col("ucs") | (pl.col("segments") > 1)).with_columns(units=_ucs_units("body"))
    foreign = texts["ucs"] & other_script(texts["body"])
    return texts.filter(~foreign).with_row_index("text"), int(foreign.sum())


def _blamed_pairs(texts: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each text and `character` blamed in it, with `instead` and the segments `saved` by it alone."""
    pairs = pl.concat(
        [_find_characters(texts.filter("ucs"), _FORCING), _find_characters(texts.filter(~pl.col("ucs")), _EXTENDED)]
    )
    distinct = pairs["character"].unique().to_list()
    instead = pl.DataFrame(
        {"character": distinct, "instead": list(map(instead_of, distinct))},
        schema={"character": pl.String, "instead": pl.String},
    )
    pairs = pairs.join(instead, on="character", how="left")
    return pairs.with_columns(saved=_saved_alone(pairs, texts)).filter(pl.col("ucs") | (pl.col("saved") > 0))


def _sum_by_character(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the sums of `messages` and `segments` by character."""
    sums = rows.group_by("character").agg(pl.col("instead").first(), pl.col("messages", "segments").sum())
    return sums.select(pl.col(name).cast(dtype) for name, dtype in _LISTED.items())


def _find_characters(texts: pl.DataFrame, pattern: str) -> pl.DataFrame:
    """Return a row for each text and each distinct `character` that `pattern` finds in it, `times` times."""
    matches = texts.select("text", "units", "segments", "ucs", character=pl.col("body").str.extract_all(pattern))
    return (
        matches.filter(pl.col("character").list.len() > 0)
        .explode("character")
        .group_by("text", "units", "segments", "ucs", "character")
        .agg(times=pl.len())
    )


def _saved_alone(pairs: pl.DataFrame, texts: pl.DataFrame) -> pl.Series:
    """Return the segments (Int64) that each row's text would save with its `character` replaced by `instead`."""
    index = pairs.select(_may_save()).to_series().arg_true()
    tried = pairs[index]
    bodies = texts["body"].gather(tried["text"])
    parts = pl.select(bodies.str.split(tried["character"])).to_series()
    after = pl.select(parts.list.join(tried["instead"])).to_series()
    # The same code points may also be inside a longer cluster, or across two: those are not this character.
    hidden = (parts.list.len() != tried["times"] + 1).arg_true()
    by_cluster = zip(
        bodies.gather(hidden).str.extract_all(CLUSTER),
        tried["character"].gather(hidden),
        tried["instead"].gather(hidden),
        strict=True,
    )
    rewritten = [
        "".join(plain if cluster == bad else cluster for cluster in clusters) for clusters, bad, plain in by_cluster
    ]
    after = after.scatter(hidden, pl.Series(rewritten, dtype=pl.String))
    return pl.zeros(pairs.height, dtype=pl.Int64, eager=True).scatter(index, _saved(tried["segments"], after))


def _may_save() -> pl.Expr:
    """Return where replacing a character could save a segment, by sizes alone; most texts need no second measuring.

    A text with another character outside GSM-7 stays UCS-2 and must shrink below a boundary; without another it becomes
    GSM-7. A message has at least a segment.
    """
    alone = pl.len().over("text") == 1
    shrunk = pl.col("units") - pl.col("times") * _ucs_units("character") + pl.col("times") * _ucs_units("instead")
    fewer = pl.when(shrunk <= 70).then(1).otherwise((shrunk + 66) // 67) < pl.col("segments")
    return (pl.col("segments") > 1) & (~pl.col("ucs") | alone | fewer)


def _ucs_units(column: str) -> pl.Expr:
    text = pl.col(column).str
    return (text.len_chars() + text.count_matches(r"[\x{10000}-\x{10FFFF}]")).cast(pl.Int64)


def _saved_together(long: pl.DataFrame, listed: pl.DataFrame) -> pl.Series:
    """Return the segments (Int64) that each text would save with all characters `listed` replaced."""
    if listed.is_empty():
        return pl.Series(dtype=pl.Int64)
    longest_first = listed.sort(pl.col("character").str.len_chars(), descending=True)
    after = long["body"].str.replace_many(
        longest_first["character"].to_list(), longest_first["instead"].to_list(), leftmost=True
    )
    return _saved(long["segments"], after)


def _saved(before: pl.Series, after: pl.Series) -> pl.Series:
    """Return the segments saved by each text's new form (Int64): none where it grows or becomes empty."""
    saved = before.cast(pl.Int64) - measure(after)["segments"].cast(pl.Int64)
    return saved.clip(lower_bound=0).set((after == "").fill_null(value=True), 0)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me", "Mc")
