"""What people write for a country, to libphonenumber's two-letter region: codes, calling codes, names in any language.

Understood are ISO 3166-1 codes of two and three letters, a calling code with its `+`, and the country's name as CLDR
(through Babel) has it in English and in every official language, without regard to case, accents and punctuation. A
few names that people and ISO write and CLDR does not are listed here. What may mean several countries is not guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

import phonenumbers
from babel import Locale, localedata
from babel.core import get_global
from babel.languages import get_official_languages

_CALLING_CODE = re.compile(r"\+ ?(\d{1,3})")
_ACCENTS = re.compile("[\u0300-\u036f]")  # of Latin, Greek and Cyrillic letters; the signs of other scripts are letters

# Beside CLDR's names, as `_key` makes them: ISO's long forms, older names, parts of a country, short forms. Several
# regions: the name alone does not say which.
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
    """The two-letter regions that `text` may mean: one, several (sorted), or none.

    A calling code means its main region: national numbers are read alike in all regions that share it. Digits without
    a plus mean nothing: `36` is Hungary's calling code and Australia's number in ISO 3166-1.
    """
    written = text.strip()
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


def fault(text: str) -> str:
    """Why `text`, which means not one region, names none (a predicate), and what to write."""
    found = regions_of(text)
    if found:
        return f"may mean {' or '.join(found)}; write the one that is meant"
    return "is no country that we know by that name; write its two letters, such as US or GB"


@cache
def _codes() -> dict[str, str]:
    """ISO's three letters, and `UK`, to the region of today. (Other former codes of two letters would more often be
    a slip of the pen.)"""
    aliases: Mapping[str, list[str]] = get_global("territory_aliases")
    return {
        code: regions[0]
        for code, regions in aliases.items()
        if (code == "UK" or (len(code) == 3 and code.isalpha()))
        and len(regions) == 1
        and regions[0] in phonenumbers.SUPPORTED_REGIONS
    }


@cache
def _names(locales: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Every region's name in these locales, as `_key` makes it, to the regions that have it."""
    found: dict[str, set[str]] = {}
    for locale in locales:
        for region, name in Locale.parse(locale).territories.items():
            if region in phonenumbers.SUPPORTED_REGIONS:
                found.setdefault(_key(name), set()).add(region)
    return {name: tuple(sorted(regions)) for name, regions in found.items()}


@cache
def _official_languages() -> tuple[str, ...]:
    """The locales of all languages that are official somewhere. (Some hundred and fifty: half a second to read, so
    English, which most lists are in, goes first.)"""
    languages = {
        language
        for region in phonenumbers.SUPPORTED_REGIONS
        for language in get_official_languages(region, regional=True, de_facto=True)
    }
    return tuple(sorted(one for one in languages if localedata.exists(one)))


def _key(name: str) -> str:
    """A name as it is compared: without case, accents, punctuation and a leading `the`."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", name)).casefold().replace("&", " and ")
    plain = re.sub("['\u2019\u02bb\u02bc`]", "", plain)
    letters = "".join(" " if unicodedata.category(one)[0] in "PSZC" else one for one in plain)
    return " ".join(letters.split()).removeprefix("the ")
