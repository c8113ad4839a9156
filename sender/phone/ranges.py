"""What libphonenumber makes of a string of digits, compiled from its metadata into sorted integer ranges.

`phonenumbers` decides by regular expressions over digits and by lengths, and what it strips from the front (the
international prefix, the country code, the national prefix) is fixed text. So for one region, and for one country
code after a `+`, all strings of 4 to 18 digits fall into ranges in which the answer is the same and E.164 is the string
plus a constant. A table holds these ranges; one binary search answers for a row.

Tables are built when a list needs them (5 to 100 ms each) and kept for the life of the process. Where a rule rewrites a
number or cannot be read, the range says ASK: the answer is left to `phonenumbers`. Never guesses, reads no files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from threading import Lock
from typing import NamedTuple

import phonenumbers
import polars as pl
from phonenumbers import PhoneMetadata, ValidationResult

from sender.phone.digit_sets import (
    EMPTY,
    MAX_DIGITS,
    Choice,
    DigitSet,
    Unreadable,
    after,
    anything,
    common,
    continued,
    joined,
    key,
    language,
    length,
    of_lengths,
    parse,
    spelled,
    strings,
    without,
)
from sender.phone.numbering import (
    MAX_NATIONAL,
    NumberVerdict,
    general,
    main_metadata,
    metadata_of,
    national_plan,
    possible,
)

_BUILDING = Lock()
MIN_DIGITS = 4  # shorter ones are few in kind, and libphonenumber has rules of its own for them
_MOST_LITERALS = 64
_BARE_DATE = "(?:19|20)\\d\\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\\d|3[01])"


class Range(NamedTuple):
    """First and last key; what to add to the key for E.164's digits, of a fault the country code; the answer, and the
    answer of a careful sender."""

    low: int
    high: int
    shift: int
    answer: int
    careful: int


class NumberTable:
    """Ranges that cover every key of 4 to 18 digits. `starts` (Int64) has their first keys, in order."""

    def __init__(self, ranges: list[Range]) -> None:
        self.starts = pl.Series([one.low for one in ranges], dtype=pl.Int64)
        self._values = pl.DataFrame(
            ranges,
            schema={"low": pl.Int64, "high": pl.Int64, "shift": pl.Int64, "answer": pl.Int16, "careful": pl.Int16},
            orient="row",
        )

    def read(self, keys: pl.Series, *, careful: bool) -> tuple[pl.Series, pl.Series]:
        """For each key (Int64, of 4 to 18 digits) the answer (Int16), and the key with the shift added, or where
        the answer is a fault the country code (Int64)."""
        at = self.starts.search_sorted(keys, side="right") - 1
        answers = self._values["careful" if careful else "answer"].gather(at)
        shifts = self._values["shift"].gather(at)
        number = pl.DataFrame({"answer": answers, "shift": shifts, "key": keys}).select(
            pl.when(pl.col("answer") <= NumberVerdict.NOT_IN_USE)
            .then("shift")
            .otherwise(pl.col("shift") + pl.col("key"))
        )
        return answers, number.to_series()


class International:
    """How digits after a `+` read: a table that grows by the country codes that lists bring."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._built: dict[str, list[Range]] = {}
        self._table = NumberTable(_covering([], NumberVerdict.UNBUILT))

    def read(self, keys: pl.Series, *, from_rows: int) -> tuple[pl.Series, pl.Series]:
        """As `Table.read`. A country code that fewer than `from_rows` of the keys have is not built for them:
        UNBUILT."""
        answers, numbers = self._table.read(keys, careful=False)
        leads = keys.filter(answers == NumberVerdict.UNBUILT).cast(pl.String).str.slice(1, 3).value_counts(name="n")
        if leads.height and self._build(leads, from_rows):
            answers, numbers = self._table.read(keys, careful=False)
        return answers, numbers

    def _build(self, leads: pl.DataFrame, from_rows: int) -> bool:
        rows: dict[str, int] = {}
        for lead, count in leads.iter_rows():
            prefix = _country_prefix(lead)
            rows[prefix] = rows.get(prefix, 0) + count
        wanted = [prefix for prefix, count in rows.items() if count >= from_rows]
        with self._lock:
            self._built |= {prefix: _after_plus(prefix) for prefix in wanted if prefix not in self._built}
            if wanted:
                ranges = [one for some in self._built.values() for one in some]
                self._table = NumberTable(_covering(ranges, NumberVerdict.UNBUILT))
        return bool(wanted)


def _country_prefix(lead: str) -> str:
    """The country code that these three digits begin with, or where there is none the three digits."""
    for digits in (1, 2, 3):
        if lead[0] != "0" and int(lead[:digits]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return lead[:digits]
    return lead


@cache
def _after_plus(prefix: str) -> list[Range]:
    """The ranges of what begins with one country code."""
    whole = anything(prefix, MIN_DIGITS)
    if int(prefix) not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE or prefix[0] == "0":
        return _ranges(whole, NumberVerdict.NO_CODE)
    try:
        found = _Ranges(int(prefix))
        found.strip(whole, prefix, main_metadata(int(prefix)))
    except Unreadable:
        return _ranges(whole, NumberVerdict.ASK)
    return found.merged(EMPTY)


def region_table(region: str) -> NumberTable:
    """How digits without a `+` read in a region of libphonenumber's."""
    with _BUILDING:  # once, whichever thread comes first
        return _region_table(region)


@cache
def _region_table(region: str) -> NumberTable:
    try:
        ranges = _without_plus(region)
    except Unreadable:
        ranges = []
    return NumberTable(_covering(ranges, NumberVerdict.ASK))


def _without_plus(region: str) -> list[Range]:
    """The ranges of one region, by the steps of libphonenumber's `parse`."""
    code = phonenumbers.country_code_for_region(region)
    metadata = metadata_of(code, region)
    found = _Ranges(code)
    left = found.abroad(anything("", MIN_DIGITS), metadata)
    prefix, plan = str(code), general(metadata)
    too_long = [n for n in range(MIN_DIGITS, MAX_DIGITS + 1) if possible(n, metadata) == ValidationResult.TOO_LONG]
    with_code = common(left, anything(prefix))
    own = without(left, with_code)
    stripped, asks = _stripped(with_code, prefix, metadata)
    found.add(asks, NumberVerdict.ASK)
    for inputs, cut in stripped:  # the country code without its `+`
        better = common(without(inputs, plan), after(cut, plan))
        taken = joined((*better, *of_lengths(inputs, too_long)))
        found.strip(taken, cut, main_metadata(code))
        own = joined((*own, *without(inputs, taken)))
    found.strip(own, "", metadata)
    mobile = metadata.mobile.possible_length if metadata.mobile else ()
    dates = EMPTY if 8 in mobile else language(_BARE_DATE)
    return found.merged(joined((*dates, *_two_readings(found.merged(EMPTY), _after_plus(prefix)))))


def _two_readings(here: list[Range], with_plus: list[Range]) -> DigitSet:
    """Where both are valid and do not mean the same number."""
    found = []
    starts = [one.low for one in with_plus]
    for one in here:
        if one.answer < 0:
            continue
        at = max(bisect_right(starts, one.low) - 1, 0)
        for other in with_plus[at:]:
            if other.low > one.high:
                break
            if other.high >= one.low and other.answer >= 0 and other.shift != one.shift:
                found.append((max(one.low, other.low), min(one.high, other.high)))
    return joined(found)


class _Ranges:
    """Gathers what is found for one country code: the inputs, by shift and answer."""

    def __init__(self, code: int) -> None:
        self._code = code
        self._found: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def add(self, inputs: DigitSet, answer: int, shift: int = 0) -> None:
        self._found.setdefault((shift, answer), []).extend(inputs)

    def abroad(self, inputs: DigitSet, metadata: PhoneMetadata) -> DigitSet:
        """Takes what begins with the international prefix out of `inputs`; returns the rest."""
        pattern = metadata.international_prefix
        rest = inputs
        for prefix, begins in _prefixes(pattern, rewrites=False) if pattern else ():
            hit = common(inputs, begins)
            inputs = without(inputs, hit)
            if prefix is None:
                self.add(hit, NumberVerdict.ASK)
                rest = without(rest, hit)
                continue
            no_code = common(hit, anything(prefix + "0"))  # no country code begins with 0, so it is none after all
            rest = without(rest, without(hit, no_code))
            for low, high in without(hit, no_code):
                digits = length(low) - len(prefix)
                alike = prefix.startswith(str(self._code)) or str(self._code).startswith(prefix)
                unclear = digits < MIN_DIGITS or length(low) == 8 or alike
                if unclear:  # a date, two readings, too short: rare, and judged one by one
                    self.add(((low, high),), NumberVerdict.ASK)
                else:
                    self.add(((low, high),), NumberVerdict.ABROAD, (1 - key(prefix)) * 10**digits)
        return rest

    def strip(self, inputs: DigitSet, cut: str, metadata: PhoneMetadata) -> None:
        """Judges `inputs` of which `cut` is no part of the national number, the national prefix still may be."""
        stripped, asks = _stripped(inputs, cut, metadata)
        self.add(asks, NumberVerdict.ASK)
        for some, longer_cut in stripped:
            for low, high in some:
                rest = length(low) - len(longer_cut)
                keep = possible(rest, metadata) in (ValidationResult.IS_POSSIBLE, ValidationResult.TOO_LONG)
                self._judge(low, high, longer_cut if keep else cut)

    def _judge(self, low: int, high: int, cut: str) -> None:
        digits = length(low) - len(cut)
        if not 2 <= digits <= MAX_NATIONAL:
            self.add(((low, high),), NumberVerdict.ASK)
            return
        starts, plan = national_plan(self._code)
        back = (key(cut) - 1) * 10**digits
        at = bisect_right(starts, low - back) - 1
        for first, last, answer in plan[at:]:
            if first > high - back:
                break
            part = ((max(low, first + back), min(high, last + back)),)
            if answer < 0:
                self.add(part, answer, self._code)
            elif len(str(self._code)) + digits > MAX_DIGITS:
                self.add(part, NumberVerdict.ASK)
            else:
                self.add(part, answer, (self._code - key(cut)) * 10**digits)

    def merged(self, doubtful: DigitSet) -> list[Range]:
        """The ranges in order. In the valid ones that are `doubtful` too the careful answer is ASK."""
        ranges = []
        for (shift, answer), parts in self._found.items():
            inputs = joined(parts)
            held = common(inputs, doubtful) if answer >= 0 else EMPTY
            ranges += [Range(low, high, shift, answer, answer) for low, high in without(inputs, held)]
            ranges += [Range(low, high, shift, answer, NumberVerdict.ASK) for low, high in held]
        return sorted(ranges)


def _stripped(inputs: DigitSet, cut: str, metadata: PhoneMetadata) -> tuple[list[tuple[DigitSet, str]], DigitSet]:
    """`inputs` by what goes from their front when the national prefix follows `cut`, and those that must be asked."""
    pattern = metadata.national_prefix_for_parsing
    if not pattern:
        return [(inputs, cut)], EMPTY
    plan = general(metadata)
    rest, asks, found = inputs, EMPTY, []
    for text, begins in _prefixes(pattern, rewrites=metadata.national_prefix_transform_rule is not None):
        hit = common(rest, after(cut, begins))
        rest = without(rest, hit)
        if text is None:
            asks = joined((*asks, *hit))
            continue
        # A number that is whole as it stands is not cut down to one that is not.
        kept = without(common(hit, after(cut, plan)), after(cut + text, plan))
        found += [(kept, cut), (without(hit, kept), cut + text)]
    return [*found, (rest, cut)], asks


def _prefixes(pattern: str, *, rewrites: bool) -> Iterator[tuple[str | None, DigitSet]]:
    """The texts that `pattern` takes from a front, first come first served, each with all that begins with it.

    There is no text, and `phonenumbers` is to be asked, where a group is filled and `rewrites` the number, and where
    a length has many texts (carrier codes): they are seldom written, and would fill the tables.
    """
    for part in parse(pattern).parts():
        plain: Choice | None = part
        if rewrites and part.has_group():
            filled, plain = part.split_group()
            yield None, _begins(filled)  # whatever could fill the group, so that below it is empty
        if plain is None:
            continue
        texts = None if plain.ends() else spelled(plain, most=5_000)
        if texts is None:
            yield None, _begins(plain)
            continue
        many = {size for size, count in Counter(map(len, texts)).items() if count > _MOST_LITERALS}
        for carriers, some in groupby(texts, key=lambda text: len(text) in many):
            if carriers:
                yield None, continued(joined((key(text), key(text)) for text in some))
            else:
                yield from ((text, anything(text)) for text in some)


def _begins(part: Choice) -> DigitSet:
    """The strings of which `part` matches the front."""
    return strings(part) if part.ends() else continued(strings(part))


def _ranges(inputs: DigitSet, answer: int) -> list[Range]:
    return [Range(low, high, 0, answer, answer) for low, high in inputs]


def _covering(ranges: list[Range], filler: int) -> list[Range]:
    """`ranges` in order, with `filler` where none is."""
    gaps = without(anything("", MIN_DIGITS), joined((one.low, one.high) for one in ranges))
    return sorted([*ranges, *_ranges(gaps, filler)])


INTERNATIONAL = International()
"""The one of this process."""
