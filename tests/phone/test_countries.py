"""What people write for a country, and what is not guessed."""

from __future__ import annotations

import phonenumbers
import pytest
from babel import Locale
from babel.core import get_global

from sender.phone import countries
from sender.phone.countries import fault, regions_of

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        pytest.param("US", "US", id="alpha-2"),
        pytest.param("us", "US", id="in lower case"),
        pytest.param(" De ", "DE", id="with blanks"),
        pytest.param("USA", "US", id="alpha-3"),
        pytest.param("gbr", "GB", id="alpha-3 in lower case"),
        pytest.param("UK", "GB", id="UK"),
        pytest.param("U.K.", "GB", id="with points"),
        pytest.param("U.S.A.", "US", id="USA with points"),
        pytest.param("+49", "DE", id="calling code"),
        pytest.param("+ 49", "DE", id="calling code with a blank"),
        pytest.param("+1", "US", id="a shared calling code: its main region"),
        pytest.param("+44", "GB", id="shared with Jersey"),
        pytest.param("Germany", "DE", id="English"),
        pytest.param("GERMANY", "DE", id="in upper case"),
        pytest.param("Deutschland", "DE", id="German"),
        pytest.param("Allemagne", "DE", id="French"),
        pytest.param("Alemania", "DE", id="Spanish"),
        pytest.param("Германия", "DE", id="Russian"),
        pytest.param("德国", "DE", id="Chinese"),
        pytest.param("भारत", "IN", id="Hindi"),
        pytest.param("Österreich", "AT", id="with its umlaut"),
        pytest.param("Osterreich", "AT", id="without"),
        pytest.param("Oesterreich", "AT", id="spelled out"),
        pytest.param("United States", "US", id="United States"),
        pytest.param("United States of America", "US", id="in full"),
        pytest.param("The Netherlands", "NL", id="with its article"),
        pytest.param("Holland", "NL", id="a part for the whole"),
        pytest.param("Scotland", "GB", id="a part"),
        pytest.param("Côte d’Ivoire", "CI", id="typographic apostrophe"),
        pytest.param("Cote d'Ivoire", "CI", id="plain"),
        pytest.param("Bosnia and Herzegovina", "BA", id="and"),
        pytest.param("Bosnia & Herzegovina", "BA", id="ampersand"),
        pytest.param("Korea, Republic of", "KR", id="as ISO writes it"),
        pytest.param("Iran (Islamic Republic of)", "IR", id="with brackets"),
        pytest.param("Czech Republic", "CZ", id="a former name"),
        pytest.param("Niger", "NE", id="Niger"),
        pytest.param("Nigeria", "NG", id="Nigeria"),
    ],
)
def test_understood(text, region):
    assert regions_of(text) == (region,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("Congo", "may mean CD or CG", id="Congo"),
        pytest.param("Korea", "may mean KP or KR", id="Korea"),
        pytest.param("Virgin Islands", "may mean VG or VI", id="Virgin Islands"),
        pytest.param("Kata", "may mean QA or TD", id="one name in two languages"),
        pytest.param("Narnia", "is not a country", id="no country"),
        pytest.param("Germny", "is not a country", id="misspelled: not guessed"),
        pytest.param("49", "is not a country", id="digits: a calling code, or ISO's number of another country"),
        pytest.param("+800", "is not a country", id="a calling code without a country"),
        pytest.param("+999", "is not a country", id="no calling code"),
        pytest.param("DY", "is not a country", id="a former code"),
        pytest.param("Antarctica", "is not a country", id="no numbers there"),
        pytest.param("", "is not a country", id="nothing"),
        pytest.param("?", "is not a country", id="punctuation"),
    ],
)
def test_not_guessed(text, says):
    assert len(regions_of(text)) != 1
    assert says in fault(text)


@pytest.mark.parametrize(
    "language", ["en", "de", "fr", "es", "pt", "it", "nl", "pl", "tr", "ar", "ja", "zh", "ru", "hi"]
)
def test_every_country_by_its_name(language):
    """None means another country; where two have one name, both are told."""
    for region, name in Locale.parse(language).territories.items():
        if region in phonenumbers.SUPPORTED_REGIONS:
            assert region in regions_of(name), name


def test_every_country_by_its_codes():
    for region in REGIONS:
        assert regions_of(region) == (region,)
    threes = {code: one for code, one in get_global("territory_aliases").items() if len(code) == 3 and code.isalpha()}
    for region in set(REGIONS) - {"XK", "AC", "TA"}:  # those have none in ISO 3166-1
        assert any(regions_of(code) == (region,) for code, one in threes.items() if one == [region]), region


def test_what_is_listed_here_is_not_what_cldr_says_anyway():
    english = countries._names(("en",))
    for name, regions in countries._ALSO.items():
        assert countries._key(name) == name, "it would never be found"
        assert set(regions.split()) <= set(REGIONS)
        assert name not in english
