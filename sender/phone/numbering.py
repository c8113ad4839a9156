"""The national numbers of each country code as ranges of digit strings: which are valid, of which region and type.

Compiled from the metadata of `phonenumbers`: the expressions and lengths by which it decides. What precedes a national
number (prefixes, country codes) is the subject of `sender.phone.ranges`. Never guesses, reads no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import cache

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberType, ValidationResult
from phonenumbers.phonemetadata import PhoneNumberDesc

from sender.core.lazy_modules import pl
from sender.phone.digit_sets import (
    EMPTY,
    DigitSet,
    Unreadable,
    anything,
    continued,
    difference,
    intersection,
    language,
    length,
    of_lengths,
    union,
)

MAX_NATIONAL = 17  # libphonenumber's own limit
_NO_COUNTRY = "001"  # libphonenumber's region of numbers that belong to none

NUMBER_TYPES = {
    PhoneNumberType.FIXED_LINE: "fixed_line",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_line_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium_rate",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal_number",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan",
    PhoneNumberType.VOICEMAIL: "voicemail",
}
HELD_TYPES = ("toll_free", "premium_rate", "shared_cost", "uan", "voicemail")
"""Types of numbers of services. None is a person's phone, and a text to some costs more than a text."""
_REGIONS = [*sorted(phonenumbers.SUPPORTED_REGIONS), _NO_COUNTRY]
_RANK = {region: rank for rank, region in enumerate(_REGIONS)}
_TYPES = list(NUMBER_TYPES)


class NumberVerdict(IntEnum):
    """An answer below zero: the number is not valid, or no table has it. (From zero on: a region and a type.)"""

    ASK = -1
    ABROAD = -2  # the international prefix: what follows reads as after a `+`
    NOT_IN_USE = -3
    TOO_SHORT = -4
    LOCAL_ONLY = -5
    TOO_LONG = -6
    ODD_LENGTH = -7
    NO_CODE = -8  # after a `+`: the digits do not begin with a country code
    UNBUILT = -9


FAULTS = {
    ValidationResult.IS_POSSIBLE: NumberVerdict.NOT_IN_USE,
    ValidationResult.TOO_SHORT: NumberVerdict.TOO_SHORT,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: NumberVerdict.LOCAL_ONLY,
    ValidationResult.TOO_LONG: NumberVerdict.TOO_LONG,
    ValidationResult.INVALID_LENGTH: NumberVerdict.ODD_LENGTH,
}
"""Why a number is not valid, by libphonenumber's result for its length."""


@cache
def meanings() -> pl.DataFrame:
    """Return `region` and `number_type` of the answers from zero on; the answer is the row's index."""
    return pl.DataFrame(
        [(region, NUMBER_TYPES[kind]) for region in _REGIONS for kind in _TYPES],
        schema={"region": pl.String, "number_type": pl.String},
        orient="row",
    )


@cache
def national_plan(code: int) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Return the national numbers of a country code, of 2 to 17 digits: the ranges' first keys, and the ranges as first
    key, last key, answer."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
    rest = of_lengths(anything(), range(2, MAX_NATIONAL + 1))
    ranges: list[tuple[int, int, int]] = []
    for region in regions:  # the first region that matches a number has it
        metadata = metadata_of(code, region)
        mine = rest
        if len(regions) > 1 and metadata.leading_digits is not None:
            mine = intersection(rest, continued(language(metadata.leading_digits)))
            rest = difference(rest, mine)
        for kind, numbers in _typed(mine, metadata):
            answer = _RANK[region] * len(_TYPES) + _TYPES.index(kind)
            ranges += [(low, high, answer) for low, high in numbers]
            rest = difference(rest, numbers)
    lengths = main_metadata(code)
    valid = union((low, high) for low, high, _ in ranges)
    for low, high in difference(of_lengths(anything(), range(2, MAX_NATIONAL + 1)), valid):
        ranges.append((low, high, FAULTS[possible(length(low), lengths)]))
    ranges.sort()
    return [low for low, _, _ in ranges], ranges


def _typed(numbers: DigitSet, metadata: PhoneMetadata) -> Iterator[tuple[int, DigitSet]]:
    """Yield each type with those of `numbers` that have it in the region. The first type that fits counts, as in
    libphonenumber."""
    left = intersection(numbers, _described(metadata.general_desc))
    for kind, described in (
        (PhoneNumberType.PREMIUM_RATE, metadata.premium_rate),
        (PhoneNumberType.TOLL_FREE, metadata.toll_free),
        (PhoneNumberType.SHARED_COST, metadata.shared_cost),
        (PhoneNumberType.VOIP, metadata.voip),
        (PhoneNumberType.PERSONAL_NUMBER, metadata.personal_number),
        (PhoneNumberType.PAGER, metadata.pager),
        (PhoneNumberType.UAN, metadata.uan),
        (PhoneNumberType.VOICEMAIL, metadata.voicemail),
    ):
        hit = intersection(left, _described(described))
        left = difference(left, hit)
        yield kind, hit
    fixed, mobile = intersection(left, _described(metadata.fixed_line)), intersection(left, _described(metadata.mobile))
    both = fixed if metadata.same_mobile_and_fixed_line_pattern else intersection(fixed, mobile)
    yield PhoneNumberType.FIXED_LINE_OR_MOBILE, both
    yield PhoneNumberType.FIXED_LINE, difference(fixed, both)
    if not metadata.same_mobile_and_fixed_line_pattern:
        yield PhoneNumberType.MOBILE, difference(mobile, fixed)


def _described(described: PhoneNumberDesc | None) -> DigitSet:
    """Return the national numbers that match a description."""
    if described is None or not described.national_number_pattern:
        return EMPTY
    numbers = language(described.national_number_pattern)
    return of_lengths(numbers, described.possible_length) if described.possible_length else numbers


def general(metadata: PhoneMetadata) -> DigitSet:
    """Return what could be a national number of the region, of whatever length."""
    described = metadata.general_desc
    pattern = described.national_number_pattern if described else None
    return language(pattern) if pattern else EMPTY


def possible(digits: int, metadata: PhoneMetadata) -> int:
    """Return libphonenumber's ValidationResult for a national number of `digits` digits."""
    described = metadata.general_desc
    if described is None or not described.possible_length:
        raise Unreadable("no lengths")
    if digits in described.possible_length_local_only:
        return ValidationResult.IS_POSSIBLE_LOCAL_ONLY
    if digits in described.possible_length:
        return ValidationResult.IS_POSSIBLE
    if digits < min(described.possible_length):
        return ValidationResult.TOO_SHORT
    return ValidationResult.TOO_LONG if digits > max(described.possible_length) else ValidationResult.INVALID_LENGTH


def main_metadata(code: int) -> PhoneMetadata:
    """Return the metadata of the country code's main region, whose prefixes and lengths apply to all its regions."""
    return metadata_of(code, phonenumbers.region_code_for_country_code(code))


def metadata_of(code: int, region: str) -> PhoneMetadata:
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if metadata is None:
        raise Unreadable(f"no metadata for +{code} {region}")
    return metadata
