"""How libphonenumber reads a string of digits, compiled from its metadata into sorted integer ranges.

`phonenumbers` decides by regular expressions over digits and by lengths, and what it strips from the front (the
international prefix, the country code, the national prefix) is fixed text. So for a region, and for a country code
after a `+`, all strings of 4 to 18 digits fall into ranges in which the answer is the same and E.164 is the string plus
a constant. A table holds these ranges; a binary search answers for a row.

Tables are built when a list needs them (5 to 100 ms each) and kept for the life of the process. Where a rule rewrites a
number or cannot be compiled, the range says ASK: `phonenumbers` answers. Never guesses, reads no files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain, groupby
from threading import Lock
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, ValidationResult

from sender.core.lazy_modules import pl
from sender.phone.digit_sets import (
    EMPTY,
    MAX_DIGITS,
    Choice,
    DigitSet,
    Unreadable,
    after,
    anything,
    continued,
    difference,
    intersection,
    key,
    language,
    length,
    of_lengths,
    parse,
    spelled,
    strings,
    union,
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
    """First and last key; the shift, which added to the key gives E.164's digits (for a fault: the country code); the
    answer, and the answer of a careful sender."""

    low: int
    high: int
    shift: int
    answer: int
    careful: int


class NumberTable:
    """Ranges that cover every key of 4 to 18 digits. `starts` (Int64) has their first keys, in order."""

    def __init__(self, ranges: list[Range]) -> None:
        self.starts = pl.Series([part.low for part in ranges], dtype=pl.Int64)
        self._values = pl.DataFrame(
            ranges,
            schema={"low": pl.Int64, "high": pl.Int64, "shift": pl.Int64, "answer": pl.Int16, "careful": pl.Int16},
            orient="row",
        )

    def read(self, keys: pl.Series, *, careful: bool) -> tuple[pl.Series, pl.Series]:
        """Return for each key (Int64, of 4 to 18 digits) the answer (Int16), and the key plus its shift, or the country
        code where the answer is a fault (Int64)."""
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
    """How digits after a `+` read: a table that grows with the country codes that lists contain."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._built: dict[str, list[Range]] = {}
        self._table = NumberTable(_covering([], NumberVerdict.UNBUILT))

    def read(self, keys: pl.Series, *, from_rows: int) -> tuple[pl.Series, pl.Series]:
        """As `NumberTable.read`. A country code with fewer than `from_rows` of the keys is not built; they get
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
        frequent = [prefix for prefix, count in rows.items() if count >= from_rows]
        with self._lock:
            self._built |= {prefix: _after_plus(prefix) for prefix in frequent if prefix not in self._built}
            if frequent:
                ranges = list(chain.from_iterable(self._built.values()))
                self._table = NumberTable(_covering(ranges, NumberVerdict.UNBUILT))
        return bool(frequent)


def _country_prefix(lead: str) -> str:
    """Return the country code with which these three digits begin; the three digits if there is none."""
    for digits in (1, 2, 3):
        if lead[0] != "0" and int(lead[:digits]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return lead[:digits]
    return lead


@cache
def _after_plus(prefix: str) -> list[Range]:
    """Return the ranges of what begins with a country code."""
    whole = anything(prefix, MIN_DIGITS)
    if int(prefix) not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE or prefix[0] == "0":
        return _ranges(whole, NumberVerdict.NO_CODE)
    try:
        builder = _RangeBuilder(int(prefix))
        builder.strip(whole, prefix, main_metadata(int(prefix)))
    except Unreadable:
        return _ranges(whole, NumberVerdict.ASK)
    return builder.merged(EMPTY)


def region_table(region: str) -> NumberTable:
    """Return how digits without a `+` read in a region of libphonenumber's."""
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
    """Return the ranges of a region, by the steps of libphonenumber's `parse`."""
    code = phonenumbers.country_code_for_region(region)
    metadata = metadata_of(code, region)
    builder = _RangeBuilder(code)
    left = builder.abroad(anything("", MIN_DIGITS), metadata)
    prefix, plan = str(code), general(metadata)
    too_long = [n for n in range(MIN_DIGITS, MAX_DIGITS + 1) if possible(n, metadata) == ValidationResult.TOO_LONG]
    with_code = intersection(left, anything(prefix))
    own = difference(left, with_code)
    stripped, asks = _stripped(with_code, prefix, metadata)
    builder.add(asks, NumberVerdict.ASK)
    for inputs, cut in stripped:  # the country code without its `+`
        better = intersection(difference(inputs, plan), after(cut, plan))
        taken = union((*better, *of_lengths(inputs, too_long)))
        builder.strip(taken, cut, main_metadata(code))
        own = union((*own, *difference(inputs, taken)))
    builder.strip(own, "", metadata)
    mobile = metadata.mobile.possible_length if metadata.mobile else ()
    dates = EMPTY if 8 in mobile else language(_BARE_DATE)
    return builder.merged(union((*dates, *_two_readings(builder.merged(EMPTY), _after_plus(prefix)))))


def _two_readings(here: list[Range], with_plus: list[Range]) -> DigitSet:
    """Return the keys that are valid in both readings and mean different numbers."""
    keys = []
    starts = [part.low for part in with_plus]
    for part in here:
        if part.answer < 0:
            continue
        first = max(bisect_right(starts, part.low) - 1, 0)
        for at in range(first, len(with_plus)):
            other = with_plus[at]
            if other.low > part.high:
                break
            if other.high >= part.low and other.answer >= 0 and other.shift != part.shift:
                keys.append((max(part.low, other.low), min(part.high, other.high)))
    return union(keys)


class _RangeBuilder:
    """Collects the inputs of a country code by shift and answer."""

    def __init__(self, code: int) -> None:
        self._code = code
        self._inputs: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def add(self, inputs: DigitSet, answer: int, shift: int = 0) -> None:
        self._inputs.setdefault((shift, answer), []).extend(inputs)

    def abroad(self, inputs: DigitSet, metadata: PhoneMetadata) -> DigitSet:
        """Take what begins with the international prefix out of `inputs`, and return the rest."""
        pattern = metadata.international_prefix
        rest = inputs
        for prefix, begins in _prefixes(pattern, rewrites=False) if pattern else ():
            hit = intersection(inputs, begins)
            inputs = difference(inputs, hit)
            if prefix is None:
                self.add(hit, NumberVerdict.ASK)
                rest = difference(rest, hit)
                continue
            # No country code begins with 0, so before one this is not the international prefix.
            no_code = intersection(hit, anything(prefix + "0"))
            rest = difference(rest, difference(hit, no_code))
            for low, high in difference(hit, no_code):
                digits = length(low) - len(prefix)
                alike = prefix.startswith(str(self._code)) or str(self._code).startswith(prefix)
                unclear = digits < MIN_DIGITS or length(low) == 8 or alike
                if unclear:  # a date, two readings, too short: rare, so `phonenumbers` decides
                    self.add(((low, high),), NumberVerdict.ASK)
                else:
                    self.add(((low, high),), NumberVerdict.ABROAD, (1 - key(prefix)) * 10**digits)
        return rest

    def strip(self, inputs: DigitSet, cut: str, metadata: PhoneMetadata) -> None:
        """Judge `inputs` without their `cut`, which precedes the national number; a national prefix may follow it."""
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
        for at in range(bisect_right(starts, low - back) - 1, len(plan)):
            first, last, answer = plan[at]
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
        """Return the ranges in order. Where valid ones are `doubtful`, the careful answer is ASK."""
        ranges = []
        for (shift, answer), parts in self._inputs.items():
            inputs = union(parts)
            held = intersection(inputs, doubtful) if answer >= 0 else EMPTY
            ranges += [Range(low, high, shift, answer, answer) for low, high in difference(inputs, held)]
            ranges += [Range(low, high, shift, answer, NumberVerdict.ASK) for low, high in held]
        return sorted(ranges)


def _stripped(inputs: DigitSet, cut: str, metadata: PhoneMetadata) -> tuple[list[tuple[DigitSet, str]], DigitSet]:
    """Return `inputs` by what is cut from their front, `cut` or that and a national prefix, and those to ask about."""
    pattern = metadata.national_prefix_for_parsing
    if not pattern:
        return [(inputs, cut)], EMPTY
    plan = general(metadata)
    rest, asks, parts = inputs, EMPTY, []
    for text, begins in _prefixes(pattern, rewrites=metadata.national_prefix_transform_rule is not None):
        hit = intersection(rest, after(cut, begins))
        rest = difference(rest, hit)
        if text is None:
            asks = union((*asks, *hit))
            continue
        # A number that is complete with the prefix is not cut down to an incomplete one.
        whole = difference(intersection(hit, after(cut, plan)), after(cut + text, plan))
        parts += [(whole, cut), (difference(hit, whole), cut + text)]
    return [*parts, (rest, cut)], asks


def _prefixes(pattern: str, *, rewrites: bool) -> Iterator[tuple[str | None, DigitSet]]:
    """Yield the texts that `pattern` cuts from a front, in order, each with all strings that begin with it.

    The text is None, and `phonenumbers` has to answer, where a filled group rewrites the number (`rewrites`), and where
    a length has many texts (carrier codes): they are seldom written, and would fill the tables.
    """
    for part in parse(pattern).parts():
        plain: Choice | None = part
        if rewrites and part.has_group():
            filled, plain = part.split_group()
            yield None, _begins(filled)  # all that fills the group, so that the group is empty below
        if plain is None:
            continue
        texts = None if plain.ends() else spelled(plain, most=5_000)
        if texts is None:
            yield None, _begins(plain)
            continue
        many = {size for size, count in Counter(map(len, texts)).items() if count > _MOST_LITERALS}
        for carriers, some in groupby(texts, key=lambda text: len(text) in many):
            if carriers:
                yield None, continued(union((key(text), key(text)) for text in some))
            else:
                yield from ((text, anything(text)) for text in some)


def _begins(part: Choice) -> DigitSet:
    """Return the strings of which `part` matches the front."""
    return strings(part) if part.ends() else continued(strings(part))


def _ranges(inputs: DigitSet, answer: int) -> list[Range]:
    return [Range(low, high, 0, answer, answer) for low, high in inputs]


def _covering(ranges: list[Range], filler: int) -> list[Range]:
    """Return `ranges` in order, with `filler` in the gaps."""
    gaps = difference(anything("", MIN_DIGITS), union((part.low, part.high) for part in ranges))
    return sorted([*ranges, *_ranges(gaps, filler)])


@cache
def international() -> International:
    """Return the table of this process."""
    return International()
