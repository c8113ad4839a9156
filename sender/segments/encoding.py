"""How a column of texts is encoded, and how many segments each takes.

A text that fits GSM 03.38 (the basic table and its extension) is sent in septets: 160 in one segment, 153 in each of
several. Any other character turns the whole text into UCS-2: 70 units of UTF-16 in one segment, 67 in each of several.
An extension character (escape and code), a surrogate pair and a grapheme cluster (an emoji of several code points, a
letter with its marks) are not split across segments, so plain division is wrong for some long texts; those are packed
exactly. A cluster longer than a whole segment has to be split: it counts as its characters. Never changes a text unless
asked.

Source: 3GPP TS 23.038 (alphabets), TS 23.040 section 9.2.3.24.1 (concatenation). That clusters stay whole is how
the providers count (Twilio's segment calculator, github.com/TwilioDevEd/message-segment-calculator, read 2026-11).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import polars as pl

from sender.segments.graphemes import ASTRAL_UNITS, CLUSTER, JOINER, LONG, SHORT_UNITS, TWO_SIDED

GSM_7 = "GSM-7"
UCS_2 = "UCS-2"

# TS 23.038 section 6.2.1 without ESC, which announces the extension table and is not a character itself.
GSM_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = "\f^{}\\[~]|€"  # section 6.2.1.1: two septets each


def _class(characters: str) -> str:
    """Return a regular expression's class of these characters, as code points so that none is syntax."""
    return "[" + "".join(f"\\x{{{ord(character):X}}}" for character in characters) + "]"


_ONLY_GSM = f"^{_class(GSM_BASIC + GSM_EXTENSION)}*$"
_EXTENDED = _class(GSM_EXTENSION)
_ASTRAL = r"[\x{10000}-\x{10FFFF}]"  # two units of UTF-16 each
_GSM_PART, _UCS_PART = 153, 67  # units of a segment of several

# What forces UCS-2 and reads the same in GSM-7. Letters are not here: `á` is not `a`.
LOOK_ALIKES: dict[str, str] = {
    "\u0009": " ",  # character tabulation
    "\u0060": "'",  # grave accent
    "\u00a0": " ",  # no-break space
    "\u00ab": '"',  # left-pointing double angle quotation mark
    "\u00ad": "",  # soft hyphen
    "\u00b4": "'",  # acute accent
    "\u00b7": ".",  # middle dot
    "\u00bb": '"',  # right-pointing double angle quotation mark
    "\u02b9": "'",  # modifier letter prime
    "\u02ba": '"',  # modifier letter double prime
    "\u02bb": "'",  # modifier letter turned comma
    "\u02bc": "'",  # modifier letter apostrophe
    "\u02c6": "^",  # modifier letter circumflex accent
    "\u02dc": "~",  # small tilde
    "\u2000": " ",  # en quad
    "\u2001": " ",  # em quad
    "\u2002": " ",  # en space
    "\u2003": " ",  # em space
    "\u2004": " ",  # three-per-em space
    "\u2005": " ",  # four-per-em space
    "\u2006": " ",  # six-per-em space
    "\u2007": " ",  # figure space
    "\u2008": " ",  # punctuation space
    "\u2009": " ",  # thin space
    "\u200a": " ",  # hair space
    "\u200b": "",  # zero width space
    "\u200c": "",  # zero width non-joiner
    "\u200d": "",  # zero width joiner
    "\u200e": "",  # left-to-right mark
    "\u200f": "",  # right-to-left mark
    "\u2010": "-",  # hyphen
    "\u2011": "-",  # non-breaking hyphen
    "\u2012": "-",  # figure dash
    "\u2013": "-",  # en dash
    "\u2014": "-",  # em dash
    "\u2015": "-",  # horizontal bar
    "\u2018": "'",  # left single quotation mark
    "\u2019": "'",  # right single quotation mark
    "\u201a": "'",  # single low-9 quotation mark
    "\u201b": "'",  # single high-reversed-9 quotation mark
    "\u201c": '"',  # left double quotation mark
    "\u201d": '"',  # right double quotation mark
    "\u201e": '"',  # double low-9 quotation mark
    "\u201f": '"',  # double high-reversed-9 quotation mark
    "\u2022": "-",  # bullet
    "\u2024": ".",  # one dot leader
    "\u2025": "..",  # two dot leader
    "\u2026": "...",  # horizontal ellipsis
    "\u2028": "\n",  # line separator
    "\u2029": "\n",  # paragraph separator
    "\u202a": "",  # left-to-right embedding
    "\u202c": "",  # pop directional formatting
    "\u202f": " ",  # narrow no-break space
    "\u2032": "'",  # prime
    "\u2033": '"',  # double prime
    "\u2039": "'",  # single left-pointing angle quotation mark
    "\u203a": "'",  # single right-pointing angle quotation mark
    "\u2044": "/",  # fraction slash
    "\u2053": "~",  # swung dash
    "\u205f": " ",  # medium mathematical space
    "\u2060": "",  # word joiner
    "\u2066": "",  # left-to-right isolate
    "\u2069": "",  # pop directional isolate
    "\u2126": "Ω",  # ohm sign
    "\u2212": "-",  # minus sign
    "\u2215": "/",  # division slash
    "\u2216": "\\",  # set minus
    "\u223c": "~",  # tilde operator
    "\u2500": "-",  # box drawings light horizontal
    "\u3000": " ",  # ideographic space
    "\u300c": '"',  # left corner bracket
    "\u300d": '"',  # right corner bracket
    "\ufe0f": "",  # variation selector-16, left over where its emoji is gone
    "\ufeff": "",  # zero width no-break space (byte order mark)
    "\uff02": '"',  # fullwidth quotation mark
    "\uff07": "'",  # fullwidth apostrophe
    "\uff0c": ",",  # fullwidth comma
    "\uff0d": "-",  # fullwidth hyphen-minus
    "\uff0e": ".",  # fullwidth full stop
    "\uff1a": ":",  # fullwidth colon
    "\uff01": "!",  # fullwidth exclamation mark
    "\uff1f": "?",  # fullwidth question mark
}
_ANY_LOOK_ALIKE = _class("".join(LOOK_ALIKES))


def measure(texts: pl.Series) -> pl.DataFrame:
    """Return columns `encoding` (String, `GSM-7` or `UCS-2`), `units` and `segments` (UInt32), a row for each text.

    Units are septets in GSM-7 and 16-bit units in UCS-2. An empty or null text has no encoding (null), and 0
    units and segments.
    """
    text = pl.col("text")
    counted = pl.DataFrame({"text": texts.cast(pl.String)}).select(
        text,
        gsm=text.str.contains(_ONLY_GSM),
        characters=text.str.len_chars(),
    )
    doubled = pl.when("gsm").then(text.str.count_matches(_EXTENDED)).otherwise(text.str.count_matches(_ASTRAL))
    whole = pl.when("gsm").then(160).otherwise(70)
    part = pl.when("gsm").then(_GSM_PART).otherwise(_UCS_PART)
    measured = (
        counted.with_columns(doubled=doubled)
        .with_columns(units=pl.col("characters") + pl.col("doubled"))
        .with_columns(
            segments=pl.when(pl.col("units") == 0)
            .then(0)
            .when(pl.col("units") <= whole)
            .then(1)
            .otherwise((pl.col("units") + part - 1) // part)
            .cast(pl.UInt32)
        )
        .with_columns(free=pl.col("segments") * part - pl.col("units"))
    )
    segments = measured["segments"]
    for index, exact in (_exact_gsm(measured), _exact_ucs(measured)):
        if index.len():
            segments = segments.scatter(index, exact)
    not_empty = pl.when(pl.col("units") > 0)
    return measured.with_columns(segments=segments).select(
        encoding=not_empty.then(pl.when("gsm").then(pl.lit(GSM_7)).otherwise(pl.lit(UCS_2))),
        units=pl.col("units").fill_null(0).cast(pl.UInt32),
        segments=pl.col("segments").fill_null(0),
    )


def _exact_gsm(measured: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return the indexes of the GSM-7 texts for which division may be wrong, and their segments.

    Each boundary but the last may leave a septet unused because of a pair; if as many are free anyway, division is
    exact.
    """
    most_waste = pl.min_horizontal("doubled", pl.col("segments") - 1)
    unsure = pl.col("gsm") & (pl.col("segments") > 1) & (pl.col("free") < most_waste)
    index = measured.select(unsure).to_series().arg_true()
    return index, _pack(measured["text"].gather(index), "(?s).", _septets, _GSM_PART)


def _exact_ucs(measured: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return the indexes of the UCS-2 texts for which division may be wrong, and their segments.

    The boundaries leave fewer units unused than there are units that must follow the one before them: the second halves
    of surrogate pairs, and one for each place where two characters hold together. They also leave less than a cluster
    at each boundary but the last.
    """
    text = pl.col("text")
    index = measured.select(~pl.col("gsm") & (pl.col("segments") > 1)).to_series().arg_true()
    if index.is_empty():
        return index, pl.Series(dtype=pl.UInt32)
    long = measured[index]
    held = text.str.count_matches(JOINER) + text.str.count_matches(TWO_SIDED)
    index = index.filter(long.select(pl.col("free") < pl.col("doubled") + held).to_series())
    long = measured[index]
    most = (pl.col("segments") - 1) * pl.when(pl.col("doubled") == 0).then(SHORT_UNITS - 1).otherwise(ASTRAL_UNITS - 1)
    index = index.filter(long.select((pl.col("free") < most) | text.str.contains(LONG)).to_series())
    return index, _pack(measured["text"].gather(index), CLUSTER, _utf16_units, _UCS_PART)


def _pack(texts: pl.Series, piece: str, units: Callable[[pl.Series], pl.Series], room: int) -> pl.Series:
    """Return the segments (UInt32) of texts known to need several, filled with whole pieces one after the other.

    `piece` is the pattern of what stays together, `units` returns its size, `room` is the size of a segment.
    """
    if texts.is_empty():  # as almost always: the queries below take a small list as long as everything else here
        return pl.Series(dtype=pl.UInt32)
    pieces = pl.DataFrame({"piece": texts.str.extract_all(piece)}).with_row_index("row").explode("piece")
    sizes = units(pieces["piece"])
    if (sizes > room).any():  # a cluster longer than a segment: as its characters
        loose = pl.when(sizes > room).then(pl.col("piece").str.split("")).otherwise(pl.concat_list("piece"))
        pieces = pieces.with_columns(piece=loose).explode("piece")
        sizes = units(pieces["piece"])
    ends = sizes.cum_sum().to_list()
    lasts = pieces["row"].rle().struct.field("len").cum_sum().to_list()
    firsts = [0, *lasts[:-1]]
    return pl.Series(
        [_fill(ends, first, last, room) for first, last in zip(firsts, lasts, strict=False)], dtype=pl.UInt32
    )


def _fill(ends: list[int], first: int, last: int, room: int) -> int:
    """Return the segments of `room` units that the pieces `first` to `last` (excluded) fill, none longer than `room`.

    `ends` has the unit at which each piece ends, counted from the beginning of the first text.
    """
    start = ends[first - 1] if first else 0
    segments = 1
    while ends[last - 1] - start > room:
        first = bisect_right(ends, start + room, first, last)
        start = ends[first - 1]
        segments += 1
    return segments


def _septets(characters: pl.Series) -> pl.Series:
    return pl.Series([1], dtype=pl.Int64) + characters.is_in(list(GSM_EXTENSION)).cast(pl.Int64)


def _utf16_units(clusters: pl.Series) -> pl.Series:
    """Return the units of each cluster: counted by character only where there are several and one may be astral."""
    chars, size = clusters.str.len_chars().cast(pl.Int64), clusters.str.len_bytes()
    units = chars + (size == 4).cast(pl.Int64) * (chars == 1).cast(pl.Int64)
    several = ((chars > 1) & (size > 4)).arg_true()
    longer = clusters.gather(several)
    return units.scatter(several, (longer.str.len_chars() + longer.str.count_matches(_ASTRAL)).cast(pl.Int64))


def smart_encode(texts: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
    """Return the texts with look-alikes replaced where that makes them GSM-7, and what was replaced.

    A text that would stay UCS-2 (an emoji, another script) or need more segments is not changed: a replacement would
    save nothing. The frame has a row for each character, most frequent first: `character` (String), `replacement`
    (String), `messages` (UInt32, the texts in which it was replaced).
    """
    before = texts.cast(pl.String)
    dirty = before.str.contains(_ANY_LOOK_ALIKE).fill_null(value=False)
    index = dirty.arg_true()
    old = before.gather(index)
    new = old.str.replace_many(list(LOOK_ALIKES), list(LOOK_ALIKES.values()))
    # A text of invisible characters only would become empty, another message, so it is not changed either.
    better = (new.str.contains(_ONLY_GSM) & (new != "")) & (measure(new)["segments"] <= measure(old)["segments"])
    replaced = old.filter(better)
    text = pl.col(replaced.name)
    counts = replaced.to_frame().select(text.str.contains(look, literal=True).sum().alias(look) for look in LOOK_ALIKES)
    used = pl.DataFrame(
        [(look, LOOK_ALIKES[look], messages) for look, messages in counts.row(0, named=True).items() if messages],
        schema={"character": pl.String, "replacement": pl.String, "messages": pl.UInt32},
        orient="row",
    )
    after = before.clone().scatter(index.filter(better), new.filter(better)) if better.any() else before
    return after, used.sort("messages", descending=True, maintain_order=True)
