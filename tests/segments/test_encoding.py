"""Segments are billed: the vectorised count must equal a plain walk over the characters, always."""

from __future__ import annotations

import math

import polars as pl
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from sender.segments.blame import _FORCING
from sender.segments.encoding import GSM_BASIC, GSM_EXTENSION, LOOK_ALIKES, measure, smart_encode
from sender.segments.graphemes import CLUSTER

BASIC = set(GSM_BASIC)
EXTENSION = set(GSM_EXTENSION)


def clusters(text: str) -> list[str]:
    """Grapheme clusters by another implementation, CR and LF apart."""
    return [part for one in regex.findall(r"\X", text) for part in (one if one == "\r\n" else [one])]


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def plainly(text: str) -> tuple[str | None, int, int]:
    """The rule, piece by piece: a piece that does not fit into what is left begins the next segment."""
    part_ucs = 67
    if not text:
        return None, 0, 0
    if all(character in BASIC or character in EXTENSION for character in text):
        encoding, whole, part = "GSM-7", 160, 153
        sizes = [2 if character in EXTENSION else 1 for character in text]
    else:
        encoding, whole, part = "UCS-2", 70, part_ucs
        whole_or_loose = [part for one in clusters(text) for part in ([one] if units(one) <= part_ucs else one)]
        sizes = [units(piece) for piece in whole_or_loose]
    if sum(sizes) <= whole:
        return encoding, sum(sizes), 1
    segments, used = 1, 0
    for size in sizes:
        if used + size > part:
            segments, used = segments + 1, 0
        used += size
    return encoding, sum(sizes), segments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", (None, 0, 0), id="empty"),
        pytest.param(None, (None, 0, 0), id="null"),
        pytest.param("a", ("GSM-7", 1, 1), id="one character"),
        pytest.param("a" * 160, ("GSM-7", 160, 1), id="160 fit in one"),
        pytest.param("a" * 161, ("GSM-7", 161, 2), id="161 take two"),
        pytest.param("a" * 306, ("GSM-7", 306, 2), id="306 fit in two"),
        pytest.param("a" * 307, ("GSM-7", 307, 3), id="307 take three"),
        pytest.param("€" * 80, ("GSM-7", 160, 1), id="80 euros fit in one"),
        pytest.param("€" * 81, ("GSM-7", 162, 2), id="81 euros take two"),
        pytest.param("€" * 153, ("GSM-7", 306, 3), id="escape pairs waste the odd septet of each segment"),
        pytest.param("a" + "€" * 152, ("GSM-7", 305, 2), id="aligned pairs waste nothing in the first segment"),
        pytest.param("a" * 152 + "€" + "a" * 152, ("GSM-7", 306, 3), id="one pair on the boundary"),
        pytest.param("a" * 151 + "€" + "a" * 153, ("GSM-7", 306, 2), id="one pair just before the boundary"),
        pytest.param("\f", ("GSM-7", 2, 1), id="form feed is in the extension"),
        pytest.param("\r\n", ("GSM-7", 2, 1), id="CRLF counts two"),
        pytest.param("\x1b", ("UCS-2", 1, 1), id="ESC is no character"),
        pytest.param("\t", ("UCS-2", 1, 1), id="tab"),
        pytest.param("`", ("UCS-2", 1, 1), id="backtick"),
        pytest.param("ç", ("UCS-2", 1, 1), id="lower-case c cedilla"),
        pytest.param("Ç", ("GSM-7", 1, 1), id="upper-case c cedilla"),
        pytest.param("á", ("UCS-2", 1, 1), id="a acute"),
        pytest.param("à", ("GSM-7", 1, 1), id="a grave"),
        pytest.param("е", ("UCS-2", 1, 1), id="a Cyrillic letter that looks Latin"),
        pytest.param("é" * 160, ("GSM-7", 160, 1), id="e acute is GSM-7"),
        pytest.param("e\u0301", ("UCS-2", 2, 1), id="a combining accent is not"),
        pytest.param("“" * 70, ("UCS-2", 70, 1), id="70 units fit in one"),
        pytest.param("“" * 71, ("UCS-2", 71, 2), id="71 take two"),
        pytest.param("“" * 134, ("UCS-2", 134, 2), id="134 fit in two"),
        pytest.param("😀" * 35, ("UCS-2", 70, 1), id="35 emoji fit in one"),
        pytest.param("😀" * 36, ("UCS-2", 72, 2), id="36 emoji take two"),
        pytest.param("😀" * 67, ("UCS-2", 134, 3), id="surrogate pairs waste the odd unit of each segment"),
        pytest.param("x" + "😀" * 66, ("UCS-2", 133, 2), id="an odd start aligns the first segment"),
        pytest.param("€" * 70 + "😀", ("UCS-2", 72, 2), id="an extension character is one unit in UCS-2"),
        pytest.param(
            "“" + "x" * 65 + "👩\u200d👧" + "x" * 20, ("UCS-2", 91, 2), id="a family on the boundary moves whole"
        ),
        pytest.param("“" + "x" * 65 + "👩\u200d👧" + "x" * 63, ("UCS-2", 134, 3), id="and may cost a segment"),
        pytest.param("“" + "x" * 65 + "🇺🇸" + "x" * 64, ("UCS-2", 134, 3), id="a flag is four units"),
        pytest.param("“" + "x" * 66 + "e\u0301" + "x" * 65, ("UCS-2", 134, 2), id="a letter after the boundary"),
        pytest.param(
            "“" + "x" * 65 + "e\u0301" + "x" * 66, ("UCS-2", 134, 3), id="a letter and its accent on the boundary"
        ),
        pytest.param("“" + "x" * 65 + "❤\ufe0f" + "x" * 66, ("UCS-2", 134, 3), id="a variation selector stays"),
        pytest.param("“" + "x" * 65 + "\r\n" + "x" * 66, ("UCS-2", 134, 2), id="CR and LF may be split"),
        pytest.param("가" * 134, ("UCS-2", 134, 2), id="Hangul syllables are one unit each"),
        pytest.param("“" + "x" * 64 + "각ᆨᆨ" + "x" * 66, ("UCS-2", 134, 3), id="a syllable with more finals"),
        pytest.param("e" + "\u0301" * 69, ("UCS-2", 70, 1), id="a cluster that fits one segment alone"),
        pytest.param("e" + "\u0301" * 70, ("UCS-2", 71, 2), id="a cluster longer than a segment is split"),
        pytest.param("x" * 30 + "e" + "\u0301" * 103, ("UCS-2", 134, 2), id="and flows on where it stands"),
        pytest.param("x" * 2 + "e" + "\u0301" * 66 + "x" * 65, ("UCS-2", 134, 3), id="one as long as a segment is not"),
        pytest.param("𝒳" * 34 + "“", ("UCS-2", 69, 1), id="letters beyond the BMP are two units"),
    ],
)
def test_measure(text, expected):
    assert measure(pl.Series([text], dtype=pl.String)).row(0) == expected


def test_the_alphabets_are_whole():
    assert len(BASIC) == len(GSM_BASIC) == 127
    assert len(EXTENSION) == len(GSM_EXTENSION) == 10
    assert not BASIC & EXTENSION


def test_shapes():
    frame = measure(pl.Series([], dtype=pl.String))
    assert frame.schema == {"encoding": pl.String, "units": pl.UInt32, "segments": pl.UInt32}
    assert measure(pl.Series([None, None])).rows() == [(None, 0, 0)] * 2


# Whatever joins: marks, emoji with modifiers and joiners, flags, tags, jamo, a prepended sign, vowel signs.
JOINED = "e1#\u0300\u0301\u20e3\ufe0f\u200d\u200c❤✂👩👧🏽🇺🇸🇬🏴\U000e0067\U000e007f각가각\u0600کกำ\u0e33\u0e31த\u0bbe\u0bbfक\u093f\u200b\r\n\f"
# Where the other implementation knows another version of Unicode, or joins consonants over a virama without a consonant
# before it (rule GB9c asks for one); those have rows of their own below.
OTHERWISE = "\u094d\u09cd\u0acd\u0b4d\u0c4d\u0d4d\u1039\u17d2\u1a60\u1b44\u1bab\ua9c0\uaaf6" + "".join(
    map(chr, (0x10A3F, 0x11133, 0x113D0, 0x1193E, 0x11A3A, 0x11A47, 0x11A99, 0x11F42))
)
HARD = st.text(
    st.one_of(
        st.sampled_from("aé €^{}\\[~]|\f\r\n"),
        st.sampled_from("a“😀𝒳\u0301\ufe0f"),
        st.sampled_from(JOINED),
        st.characters(codec="utf-8", exclude_categories=["Cn"], exclude_characters=OTHERWISE),
    ),
    max_size=40,
)


@given(st.lists(st.builds(lambda text, times, tail: text * times + tail, HARD, st.integers(1, 30), HARD), max_size=8))
@example(["a" * 152 + "€" + "a" * 153])
def test_measure_equals_the_plain_walk(texts):
    assert measure(pl.Series(texts, dtype=pl.String)).rows() == [plainly(text) for text in texts]


@given(st.lists(st.sampled_from("a€"), min_size=150, max_size=500), st.integers(0, 2))
def test_measure_equals_the_plain_walk_where_pairs_meet_boundaries(characters, kind):
    text = "".join(characters).translate({ord("€"): "€😀x"[kind], ord("a"): "aaé"[kind]})
    assert measure(pl.Series([text])).row(0) == plainly(text)


@given(st.text(st.sampled_from(JOINED), max_size=30))
def test_clusters_are_those_of_another_implementation(text):
    assert pl.Series([text]).str.extract_all(CLUSTER)[0].to_list() == clusters(text)


@given(st.text(st.one_of(st.sampled_from(JOINED), st.sampled_from("aé€[ “’")), max_size=30))
def test_the_clusters_outside_gsm7_are_those_that_hold_such_a_character(text):
    outside = [one for one in clusters(text) if not set(one) <= BASIC | EXTENSION]
    assert pl.Series([text]).str.extract_all(_FORCING)[0].to_list() == outside


PIECES = [
    *"xжก",
    "👩\u200d👧",
    "👩🏽\u200d👧🏽",
    "🇺🇸",
    "🇺🇸\u0301",
    "e\u0301",
    "각ᆨ",
    "\r\n",
    "😀",
    "क्ष",
    "त्रि",
    "क्\u200dत्\u200dष",
    "กำ",
    "e\u0301\u0302\u0303",
]
FAMILIES = [PIECES, PIECES[:3] + PIECES[-5:-1], PIECES[:6], ["x", "ж", "क्\u200dत्\u200dष"], ["x", "👩🏽\u200d👧🏽"]]


@given(st.sampled_from(FAMILIES).flatmap(lambda pieces: st.lists(st.sampled_from(pieces), min_size=50, max_size=300)))
def test_measure_equals_the_plain_walk_where_clusters_meet_boundaries(pieces):
    text = "ж" + "".join(pieces)
    assert measure(pl.Series([text])).row(0) == plainly(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("क्क", ["क्क"], id="a virama joins two consonants"),
        pytest.param("क्षत्रिय", ["क्ष", "त्रि", "य"], id="conjuncts with vowel signs"),
        pytest.param("क्\u200dक", ["क्\u200dक"], id="also with a joiner"),
        pytest.param("क्\u200cक", ["क्\u200c", "क"], id="a non-joiner keeps them apart"),
        pytest.param("a्क", ["a्", "क"], id="after a letter of another script nothing joins"),
        pytest.param("ক্ক", ["ক্ক"], id="Bengali"),
        pytest.param("က္က", ["က္", "က"], id="Myanmar is not among the six scripts"),
    ],
)
def test_conjuncts(text, expected):
    assert pl.Series([text]).str.extract_all(CLUSTER)[0].to_list() == expected


def test_plain_division_is_wrong_and_we_are_not():
    """The case the slow path is for: the sum of units alone would say 2."""
    text = "a" * 152 + "€" + "a" * 152
    assert math.ceil(306 / 153) == 2
    assert measure(pl.Series([text]))["segments"].item() == 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("It’s “on” – now…", 'It\'s "on" - now...', id="curly quotes, dash, ellipsis"),
        pytest.param("10\u00a0% off", "10 % off", id="no-break space"),
        pytest.param("zero\u200bwidth", "zerowidth", id="zero width space vanishes"),
        pytest.param("«Bonjour»", '"Bonjour"', id="guillemets"),
        pytest.param("plain", "plain", id="nothing to do"),
        pytest.param("“hi” 😀", "“hi” 😀", id="an emoji keeps it UCS-2: left as it is"),
        pytest.param("“Olá”", "“Olá”", id="letters are never replaced"),
        pytest.param("…" * 70, "…" * 70, id="left as it is where GSM-7 would take more segments"),
        pytest.param("\u200b", "\u200b", id="never made empty"),
        pytest.param("", "", id="empty"),
        pytest.param(None, None, id="null"),
    ],
)
def test_smart_encode(before, after):
    texts, used = smart_encode(pl.Series([before], dtype=pl.String))
    assert texts.to_list() == [after]
    assert (used.height > 0) is (before != after)


def test_smart_encode_lists_each_replacement_once_a_message():
    texts, used = smart_encode(pl.Series(["‘a’ ’", "b’", "c", "’😀"]))
    assert texts.to_list() == ["'a' '", "b'", "c", "’😀"]
    assert used.rows() == [("’", "'", 2), ("‘", "'", 1)]
    assert used.schema == {"character": pl.String, "replacement": pl.String, "messages": pl.UInt32}


@pytest.mark.parametrize(
    ("look", "plain"), [pytest.param(*pair, id=f"U+{ord(pair[0]):04X}") for pair in LOOK_ALIKES.items()]
)
def test_every_look_alike_forces_ucs2_and_becomes_gsm7(look, plain):
    assert plainly(look)[0] == "UCS-2"
    assert plainly(plain)[0] in ("GSM-7", None)
    assert smart_encode(pl.Series([f"a{look}b"]))[0].item() == f"a{plain}b"


@given(st.lists(HARD))
def test_smart_encode_never_costs_a_segment(texts):
    before = pl.Series(texts, dtype=pl.String)
    after, _ = smart_encode(before)
    assert (measure(after)["segments"] <= measure(before)["segments"]).all()
    assert smart_encode(after)[0].equals(after)
