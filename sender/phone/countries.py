"""Reads what people write for a country as libphonenumber's two-letter region: codes, calling codes, names.

Understood are ISO 3166-1 codes of two and three letters, a calling code with its `+`, and the country's name as CLDR
(through Babel) has it in English and in every official language, whatever the case, accents and punctuation. A few
names that people and ISO write and CLDR does not have are listed here. Never guesses between several countries.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

import phonenumbers

from sender.core.lazy_modules import babel, babel_languages

_CALLING_CODE = re.compile(r"\+ ?(\d{1,3})")
_ACCENTS = re.compile("[\u0300-\u036f]")  # of Latin, Greek and Cyrillic letters; the signs of other scripts are letters

# In addition to CLDR's names, as `_key` returns them: ISO's long forms, older names, parts of a country, short forms.
# Several regions: the name alone does not say which.
_ALSO = {
    "america": "US",
    "u s": "US",
    "u s a": "US",
    "united states of america": "US",
    "britain": "GB",
    "great britain": "GB",
    "england": "GB",
    "northern ireland": "GB",
    "scotland": "GB",
    "u k": "GB",
    "united kingdom of great britain and northern ireland": "GB",
    "wales": "GB",
    "bolivia plurinational state of": "BO",
    "bosnia": "BA",
    "brunei darussalam": "BN",
    "cabo verde": "CV",
    "congo": "CD CG",
    "congo democratic republic of the": "CD",
    "democratic republic of congo": "CD",
    "democratic republic of the congo": "CD",
    "dr congo": "CD",
    "drc": "CD",
    "republic of congo": "CG",
    "republic of the congo": "CG",
    "east timor": "TL",
    "falkland islands malvinas": "FK",
    "federal republic of germany": "DE",
    "holland": "NL",
    "netherlands kingdom of the": "NL",
    "iran islamic republic of": "IR",
    "ireland republic of": "IE",
    "republic of ireland": "IE",
    "kongo": "CD CG",
    "korea": "KP KR",
    "korea democratic peoples republic of": "KP",
    "korea republic of": "KR",
    "republic of korea": "KR",
    "lao pdr": "LA",
    "lao peoples democratic republic": "LA",
    "macedonia": "MK",
    "micronesia federated states of": "FM",
    "moldova republic of": "MD",
    "republic of moldova": "MD",
    "myanmar": "MM",
    "oesterreich": "AT",
    "palestine": "PS",
    "palestine state of": "PS",
    "peoples republic of china": "CN",
    "russian federation": "RU",
    "sao tome": "ST",
    "syrian arab republic": "SY",
    "taiwan province of china": "TW",
    "tanzania united republic of": "TZ",
    "united republic of tanzania": "TZ",
    "trinidad": "TT",
    "uae": "AE",
    "vatican": "VA",
    "holy see": "VA",
    "venezuela bolivarian republic of": "VE",
    "virgin islands": "VG VI",
    "virgin islands british": "VG",
    "virgin islands u s": "VI",
    "xkx": "XK",
}


def regions_of(text: str) -> tuple[str, ...]:
    """Return the two-letter regions that `text` may mean, sorted; empty if it names none.

    A calling code means its main region: national numbers read alike in all regions that share it. Digits without a
    plus mean nothing: `36` is Hungary's calling code and Australia's number in ISO 3166-1. `US or Germany` means both.
    """
    written = text.strip()
    if " or " in written:
        return tuple(sorted({region for part in written.split(" or ") for region in regions_of(part)}))
    code = written.upper()
    if code in phonenumbers.SUPPORTED_REGIONS:
        return (code,)
    if calling := _CALLING_CODE.fullmatch(written):
        main = phonenumbers.region_code_for_country_code(int(calling[1]))
        return (main,) if main in phonenumbers.SUPPORTED_REGIONS else ()
    if code in _codes():
        return (_codes()[code],)
    name = _key(written)
    if name in _ALSO:
        return tuple(_ALSO[name].split())
    return _names(("en",)).get(name) or _names(_official_languages()).get(name) or ()


@cache
def two_letter_codes() -> frozenset[str]:
    """Return the codes of two capital letters that `regions_of` knows."""
    return frozenset({*phonenumbers.SUPPORTED_REGIONS, *(code for code in _codes() if len(code) == 2)})


def fault(text: str) -> str:
    """Return why `text` does not name a single region (a predicate), and what to write."""
    regions = regions_of(text)
    if regions:
        return f"may mean {' or '.join(regions)}; write the one that is meant"
    return "is not a country name or code that we know; write its two letters, such as US or GB"


@cache
def place_of(calling_code: int) -> str:
    """Return the country of a calling code as a sentence names it: `France (+33)`, or `country code +44`."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(calling_code, ())
    if len(regions) != 1 or regions[0] not in phonenumbers.SUPPORTED_REGIONS:
        return f"country code +{calling_code}"
    return f"{babel.Locale.parse('en').territories[regions[0]]} (+{calling_code})"


@cache
def _codes() -> dict[str, str]:
    """Return the region of ISO's codes of three letters and of `UK`. (Other former codes of two letters are more often
    a typing error.)"""
    aliases: Mapping[str, list[str]] = babel.core.get_global("territory_aliases")
    return {
        code: regions[0]
        for code, regions in aliases.items()
        if (code == "UK" or (len(code) == 3 and code.isalpha()))
        and len(regions) == 1
        and regions[0] in phonenumbers.SUPPORTED_REGIONS
    }


@cache
def _names(locales: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the regions of each name in these locales; the names as `_key` returns them."""
    regions_by_name: dict[str, set[str]] = {}
    for locale in locales:
        for region, name in babel.Locale.parse(locale).territories.items():
            if region in phonenumbers.SUPPORTED_REGIONS:
                regions_by_name.setdefault(_key(name), set()).add(region)
    return {name: tuple(sorted(regions)) for name, regions in regions_by_name.items()}


@cache
def _official_languages() -> tuple[str, ...]:
    """Return the locales of all languages that are official somewhere. (They are about 150 and take half a second to
    read, so English, in which most lists are written, is tried first.)"""
    languages = {
        language
        for region in phonenumbers.SUPPORTED_REGIONS
        for language in babel_languages.get_official_languages(region, regional=True, de_facto=True)
    }
    return tuple(sorted(filter(babel.localedata.exists, languages)))


def _key(name: str) -> str:
    """Return a name as it is compared: without case, accents, punctuation and a leading `the`."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", name)).casefold().replace("&", " and ")
    plain = re.sub("['\u2019\u02bb\u02bc`]", "", plain)
    letters = "".join(" " if unicodedata.category(char)[0] in "PSZC" else char for char in plain)
    return " ".join(letters.split()).removeprefix("the ")
