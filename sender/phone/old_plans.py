"""Numbers that were right before their country changed its numbering plan: what they would be now.

A sentence for the person who keeps the list, no more: such a row stays held, because a number that has been out of use
for years may have changed its owner. Only changes of the last years with a public source are here, and of those only
the forms whose new number follows from the old one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers


class OldForm(NamedTuple):
    """Numbers (E.164's digits) that match `old` became `new`. `change` says what happened, and when."""

    code: int
    old: str  # the pattern of the whole number, with the country code
    new: str  # with polars' references to groups
    country: str
    change: str


def _vietnam() -> Iterator[OldForm]:
    prefixes = {"120": "70", "121": "79", "122": "77", "126": "76", "128": "78", "123": "83", "124": "84", "125": "85"}
    prefixes |= {"127": "81", "129": "82", "186": "56", "188": "58", "199": "59"}
    prefixes |= {f"16{digit}": f"3{digit}" for digit in range(2, 10)}
    for old, new in prefixes.items():
        yield OldForm(84, rf"84{old}(\d{{7}})", f"84{new}$1", "Vietnam", f"0{old} became 0{new} in September 2018")


# The sources, all read 2026-11-29.
# Mexico: IFT, communicated to the ITU on 12 June 2018; commsupdate.com, 18 July 2019.
# Benin: ARCEP Benin, itu.int/oth/T0202000017. Cameroon: ART, communicated to the ITU on 6 October 2014.
# Côte d'Ivoire: ARTCI, in force 31 January 2021; who had which mobile numbers: google/libphonenumber issue 1909.
# Vietnam: Ministry of Information and Communications, in force 15 September 2018 (sggpnews.org.vn, article 76279).
# Mauritius: ICTA (commsupdate.com, 2 September 2013). Brazil: Anatel, the last states on 6 November 2016.
# Colombia: CRC, resolution 5826, in force 1 September 2021. Kosovo: ITU, +383 since December 2016.
_IVORIAN = ("Côte d'Ivoire", "mobiles have 10 digits since 31 January 2021")
OLD_FORMS = (
    OldForm(52, r"521(\d{10})", "52$1", "Mexico", "mobiles have no 1 after +52 since 3 August 2019"),
    OldForm(52, r"520(?:1|44|45)(\d{10})", "52$1", "Mexico", "01, 044 and 045 are gone since 3 August 2019"),
    OldForm(229, r"229([2-9]\d{7})", "22901$1", "Benin", "all numbers begin with 01 since 30 November 2024"),
    OldForm(225, r"225([04578][789]\d{6})", "22507$1", *_IVORIAN),
    OldForm(225, r"225([04578][456]\d{6})", "22505$1", *_IVORIAN),
    OldForm(225, r"225((?:[05][123]|4[0-3]|71)\d{6})", "22501$1", *_IVORIAN),
    *_vietnam(),
    OldForm(237, r"237([5-9]\d{7})", "2376$1", "Cameroon", "mobiles begin with 6 since 21 November 2014"),
    OldForm(230, r"230([79]\d{6})", "2305$1", "Mauritius", "mobiles begin with 5 since 1 September 2013"),
    OldForm(55, r"55([1-9]\d)([6-9]\d{7})", "55${1}9$2", "Brazil", "mobiles begin with a 9 since November 2016"),
    OldForm(57, r"57([124-8]\d{7})", "5760$1", "Colombia", "fixed lines begin with 60 since 1 September 2021"),
    OldForm(386, r"386(49\d{6})", "383$1", "Kosovo", "the country code is +383 since December 2016"),
)
OLD_CODES = frozenset(form.code for form in OLD_FORMS)
AFTER = " now; ask before you use it"


def describe_change(digits: str) -> str | None:
    """Return why E.164's `digits` are an old number (a predicate), and what it would be now; None if they are none."""
    for form in OLD_FORMS:
        if re.fullmatch(form.old, digits):
            number = re.sub(form.old, re.sub(r"\$\{?(\d)\}?", r"\\g<\1>", form.new), digits)
            if phonenumbers.is_valid_number(phonenumbers.parse(f"+{number}", None)):
                return f"{describe_form(form)}{number}{AFTER}"
    return None


def describe_form(form: OldForm) -> str:
    """Return the beginning of the sentence, up to the number."""
    return f"is an old number of {form.country}, where {form.change}; it would be +"
