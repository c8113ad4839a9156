"""Numbers of old numbering plans: held, with what changed, when, and what the number would be now."""

from __future__ import annotations

import re

import phonenumbers
import polars as pl
import pytest

from sender import phone
from sender.phone import e164
from sender.phone.cell import Reader
from sender.phone.old_plans import OLD_FORMS, describe_change

# Made up: digits in a row.
CHANGED = [
    pytest.param("+52 1 55 1234 5678", "US", "Mexico", "3 August 2019", "+525512345678", id="MX"),
    pytest.param("+5215512345678", "MX", "Mexico", "no 1 after +52", "+525512345678", id="MX without blanks"),
    pytest.param("0052 1 55 1234 5678", "DE", "Mexico", "3 August 2019", "+525512345678", id="MX by 00"),
    pytest.param("1 55 1234 5678", "MX", "Mexico", "3 August 2019", "+525512345678", id="MX national"),
    pytest.param("044 55 1234 5678", "MX", "Mexico", "01, 044 and 045", "+525512345678", id="MX dialled"),
    pytest.param("5215512345678", "MX", "Mexico", "3 August 2019", "+525512345678", id="MX without its plus"),
    pytest.param("+229 97 12 34 56", "US", "Benin", "30 November 2024", "+2290197123456", id="BJ"),
    pytest.param("97 12 34 56", "BJ", "Benin", "30 November 2024", "+2290197123456", id="BJ national"),
    pytest.param("+225 07 12 34 56", "US", "Côte d'Ivoire", "31 January 2021", "+2250707123456", id="CI 07"),
    pytest.param("+225 45 12 34 56", "US", "Côte d'Ivoire", "31 January 2021", "+2250545123456", id="CI 05"),
    pytest.param("+225 01 12 34 56", "US", "Côte d'Ivoire", "31 January 2021", "+2250101123456", id="CI 01"),
    pytest.param("+84 162 345 6789", "US", "Vietnam", "0162 became 032 in September 2018", "+84323456789", id="VN"),
    pytest.param("0162 345 6789", "VN", "Vietnam", "September 2018", "+84323456789", id="VN national"),
    pytest.param("+84 199 345 6789", "US", "Vietnam", "0199 became 059", "+84593456789", id="VN 059"),
    pytest.param("+237 75 12 34 56", "US", "Cameroon", "21 November 2014", "+237675123456", id="CM"),
    pytest.param("+230 712 3456", "US", "Mauritius", "1 September 2013", "+23057123456", id="MU"),
    pytest.param("+55 11 8123 4567", "US", "Brazil", "November 2016", "+5511981234567", id="BR"),
    pytest.param("(11) 8123-4567", "BR", "Brazil", "November 2016", "+5511981234567", id="BR national"),
    pytest.param("+57 1 234 5678", "US", "Colombia", "1 September 2021", "+576012345678", id="CO fixed"),
    pytest.param("+386 49 123 456", "US", "Kosovo", "+383 since December 2016", "+38349123456", id="XK"),
]


@pytest.mark.parametrize("least_rows", [1, 10**9], ids=["by tables", "by cell"])
@pytest.mark.parametrize(("cell", "region", "country", "said", "number"), CHANGED)
def test_the_sentence_says_what_changed(
    cell: str, region: str, country: str, said: str, number: str, least_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(e164, "_REGION_FROM_ROWS", least_rows)
    monkeypatch.setattr(e164, "_CODE_FROM_ROWS", least_rows)
    row = phone.normalize(pl.Series([cell, number]), default_region=region)
    assert (row["to"][0], row["reason"][0]) == (None, "invalid_number"), "it stays held"
    assert row["detail"][0].startswith(f"`{cell}` is an old number of {country}, where ")
    assert said in row["detail"][0]
    assert row["detail"][0].endswith(f"; it would be {number} now; ask before you use it")
    assert row["to"][1] == number
    assert row.row(0) == Reader(frozenset(), short_codes=False, careful=True).read(cell, region)


@pytest.mark.parametrize(
    ("cell", "region", "says"),
    [
        pytest.param("+52 1 11 1234 5678", "US", "too long for Mexico (+52)", id="no number now either"),
        pytest.param("+225 20 12 34 56", "US", "too short for Côte d’Ivoire (+225)", id="which operator is not known"),
        pytest.param("+229 97 12 34", "US", "too short for Benin (+229)", id="too short then, too"),
        pytest.param("+55902280000000", "US", "not a number in use in Brazil", id="a carrier's code after the plus"),
        pytest.param("+84 111 345 6789", "US", "Vietnam (+84)", id="a prefix that nobody had"),
    ],
)
def test_other_faults_are_what_they_were(cell: str, region: str, says: str) -> None:
    detail = phone.normalize(pl.Series([cell]), default_region=region)["detail"][0]
    assert says in detail
    assert "old number" not in detail


@pytest.mark.parametrize("form", OLD_FORMS, ids=lambda form: f"{form.country} {form.old}")
def test_each_form_has_a_number_that_is_valid_now_and_was_not(form) -> None:
    """Else the metadata has changed: the form is of no use any more, or wrong."""
    shape = re.sub(r"\(\?:|\(|\)|\[[^]]*\]|\\d\{\d+\}|\|.*", "", form.old)
    assert shape.startswith(str(form.code))
    digits = next(number for number in _examples(form.old) if describe_change(number))
    assert not phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}", None))


def _examples(pattern: str) -> list[str]:
    """Numbers that match a pattern, of digits in a row."""
    found = []
    code = re.match(r"\d{2,3}", pattern)[0]
    for lead in range(10_000):
        for length in range(8, 15):
            number = f"{code}{lead:04d}"[:length].ljust(length, "2")
            if re.fullmatch(pattern, number):
                found.append(number)
        for front in ("1", "01", "044"):
            number = f"52{front}{lead:04d}123456"
            if re.fullmatch(pattern, number):
                found.append(number)
    return found
