"""What a reader takes for a single character: extended grapheme clusters, as patterns for polars' regular expressions.

The rules are those of Unicode Standard Annex #29 (Unicode 16, the tables of polars' regex engine), with two limits:
CR and LF stay two characters, as billing counts them; and a consonant joins over a virama (rule GB9c) in the six
scripts that Unicode 15.1 named. Holds patterns only; never touches a text.
"""

from __future__ import annotations

# Rule GB9c, DerivedCoreProperties.txt (InCB) of Unicode 15.1: Devanagari, Bengali, Gujarati, Oriya, Telugu, Malayalam.
_LINKER = r"\x{94D}\x{9CD}\x{ACD}\x{B4D}\x{C4D}\x{D4D}"
_CONSONANT = (
    r"\x{915}-\x{939}\x{958}-\x{95F}\x{978}-\x{97F}"
    r"\x{995}-\x{9A8}\x{9AA}-\x{9B0}\x{9B2}\x{9B6}-\x{9B9}\x{9DC}\x{9DD}\x{9DF}\x{9F0}\x{9F1}"
    r"\x{A95}-\x{AA8}\x{AAA}-\x{AB0}\x{AB2}\x{AB3}\x{AB5}-\x{AB9}\x{AF9}"
    r"\x{B15}-\x{B28}\x{B2A}-\x{B30}\x{B32}\x{B33}\x{B35}-\x{B39}\x{B5C}\x{B5D}\x{B5F}\x{B71}"
    r"\x{C15}-\x{C28}\x{C2A}-\x{C39}\x{C58}-\x{C5A}\x{D15}-\x{D3A}"
)
_JOINING = r"[\p{gcb=Extend}\p{gcb=ZWJ}--\x{200C}]"  # a zero width non-joiner keeps a conjunct apart
_TRAILING = r"[\p{gcb=Extend}\p{gcb=ZWJ}\p{gcb=SpacingMark}]"

_HANGUL = (
    r"\p{gcb=L}*(?:\p{gcb=V}+|\p{gcb=LV}\p{gcb=V}*|\p{gcb=LVT})\p{gcb=T}*"  # a syllable
    r"|\p{gcb=L}+|\p{gcb=T}+"  # or a part of one
)
_FLAG = r"\p{gcb=RI}{2}"
_EMOJI = r"\p{Extended_Pictographic}(?:\p{gcb=Extend}*\p{gcb=ZWJ}\p{Extended_Pictographic})*"
_CONJUNCT = f"[{_CONSONANT}](?:{_JOINING}*[{_LINKER}]{_JOINING}*[{_CONSONANT}])+"
_CONTROL = r"\p{gcb=Control}\r\n"

_SPECIAL = f"{_CONJUNCT}|{_EMOJI}|{_FLAG}|{_HANGUL}"  # what is joined by more than marks

CLUSTER = rf"(?:\p{{gcb=Prepend}}*(?:{_SPECIAL}|[^{_CONTROL}]){_TRAILING}*|[{_CONTROL}])"

# Wherever two characters hold together, one of them is a JOINER that counts for this place alone, or a TWO_SIDED one,
# which may hold on both of its sides: so their counts together are never less than such places.
JOINER = r"[\p{gcb=Extend}\p{gcb=ZWJ}\p{gcb=SpacingMark}\p{gcb=Prepend}\p{gcb=RI}\p{gcb=L}\p{gcb=V}\p{gcb=T}]"
TWO_SIDED = rf"[\p{{gcb=ZWJ}}{_LINKER}]"

# A text without LONG has no cluster of more than SHORT_UNITS 16-bit units (ASTRAL_UNITS where it has characters beyond
# the BMP): a beginning (a letter, an emoji, a flag's two) and at most two of what may follow it.
_FOLLOWING = rf"(?:[{_LINKER}]{_JOINING}*[{_CONSONANT}]|\p{{gcb=ZWJ}}\p{{Extended_Pictographic}}|{_TRAILING})"
LONG = rf"[\p{{gcb=Prepend}}\p{{gcb=L}}\p{{gcb=V}}\p{{gcb=T}}]|{_FOLLOWING}{{3}}"
SHORT_UNITS, ASTRAL_UNITS = 7, 12


def cluster_outside(alphabet: str) -> str:
    """Return a pattern of the clusters with a character outside `alphabet` (the inside of a character class).

    `alphabet` consists of characters that only marks join: letters, digits and signs, CR, LF and FF.
    """
    return (
        rf"(?:[{alphabet}--\r\n\f]{_TRAILING}+"
        rf"|\p{{gcb=Prepend}}+(?:{_SPECIAL}|[^{_CONTROL}]){_TRAILING}*"
        rf"|(?:{_SPECIAL}|[^{_CONTROL}{alphabet}]){_TRAILING}*"
        rf"|[\p{{gcb=Control}}--{alphabet}])"
    )
