"""The price table: what it may say, what is said when it is wrong, and which of its prices a message has."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.campaign.prices import load_prices
from sender.core import money
from sender.core.errors import PricesError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        ("0", 0),
        ("0.0079", 7_900),
        ("25", 25_000_000),
        ("0.000001", 1),
        (" 1.50 ", 1_500_000),
        (3, 3_000_000),
        (0.1, 100_000),
    ],
)
def test_amounts(written: object, micros: int) -> None:
    assert money.parse(written) == micros


@pytest.mark.parametrize(
    "written", ["", "-1", "+1", "1,5", "$1", "1e3", "0.0000001", "nan", "inf", "1_000", "٣", True, None, 1e-7]
)
def test_no_amounts(written: object) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        money.parse(written)


@pytest.mark.parametrize(
    ("micros", "text"), [(0, "0.00"), (7_900, "0.0079"), (25_000_000, "25.00"), (1_500_000, "1.50"), (1, "0.000001")]
)
def test_amounts_as_text(micros: int, text: str) -> None:
    assert money.text(micros) == text


@given(st.integers(0, 10**14))
def test_amounts_survive_their_text(micros: int) -> None:
    assert money.parse(money.text(micros)) == micros


def table(folder: Path, text: str):
    path = folder / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return load_prices(path, name="prices.yaml")


TABLE = """\
currency: EUR
prices:
  - {to: US, sms: 1, mms: 2, sms_fee: 0.5, mms_fee: 0.25}
  - {to: us, from: [toll_free, short_code], sms: 3}
  - {to: "+1", sms: 4, mms: 5}
  - {to: "+1202", sms: 6}
  - {to: "+12025", from: short_code, sms: 7}
  - {to: [GB, IE], sms: 8}
  - {to: "+447", from: alphanumeric, sms: 9}
  - {to: "+44", sms: 10, mms: 11}
default: {sms: 12, mms: 13, mms_fee: 1}
"""


@pytest.mark.parametrize(
    ("prefix", "region", "sender", "mms", "price", "fee"),
    [
        pytest.param("+1", "US", "long_code", False, 1, 0.5, id="a region goes before its calling code"),
        pytest.param("+1", "US", "toll_free", False, 3, 0, id="an entry for the sender before one for all"),
        pytest.param("+1", "US", "toll_free", True, 2, 0.25, id="without an MMS price it is passed over"),
        pytest.param("+1", "CA", "long_code", False, 4, 0, id="calling code"),
        pytest.param("+1202", "US", "long_code", False, 6, 0, id="a longer prefix before the region"),
        pytest.param("+1202", "US", "long_code", True, 2, 0.25, id="a prefix without MMS leaves it to the region"),
        pytest.param("+12025", "US", "short_code", False, 7, 0, id="the longest prefix"),
        pytest.param("+12025", "US", "long_code", False, 6, 0, id="the longest that is for this sender"),
        pytest.param("+44", "GB", "long_code", False, 8, 0, id="region of a list"),
        pytest.param("+447", "GB", "alphanumeric", False, 9, 0, id="prefix and sender"),
        pytest.param("+447", "GB", "long_code", False, 8, 0, id="prefix for other senders only"),
        pytest.param("+447", "GB", "long_code", True, 11, 0, id="down to the calling code"),
        pytest.param(None, "FR", "service", False, 12, 0, id="default"),
        pytest.param(None, None, "service", True, 13, 1, id="default, MMS"),
    ],
)
def test_the_most_exact_price_counts(
    prefix: str | None, region: str | None, sender: str, mms: bool, price: float, fee: float, tmp_path: Path
) -> None:
    rate = table(tmp_path, TABLE).find(prefix, region, sender, mms=mms)
    assert rate is not None
    assert (rate.price, rate.fee) == (price * money.MICROS, fee * money.MICROS)


def test_without_a_default_there_may_be_no_price(tmp_path: Path) -> None:
    found = table(tmp_path, "currency: USD\nprices: [{to: US, sms: 1}]\n")
    assert found.find(None, "FR", "long_code", mms=False) is None
    assert found.find(None, "US", "long_code", mms=True) is None
    assert found.prefixes == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("prices: []\n", "key `currency`: is missing\n  fix: add `currency:` to the price table", id="currency"),
        pytest.param("currency: dollar\n", "line 1, key `currency`", id="no currency code"),
        pytest.param("currency: USD\nprice: []\n", "line 2, key `price`: unknown key\n  fix: did you mean `prices`?", id="typo"),
        pytest.param(
            "currency: USD\nprices:\n  - to: US\n    smss: 1\n    sms: 1\n", "line 4, key `prices.0.smss`: unknown key\n  fix: did you mean `sms`?", id="typo in an entry"
        ),
        pytest.param("currency: USD\ndefault: {smss: 1}\n", "did you mean `sms`?", id="typo in the default"),
        pytest.param("currency: USD\nprices:\n  - {to: US, sms: '0,01'}\n", "line 3, key `prices.0.sms`: '0,01' is not an amount", id="comma"),
        pytest.param("currency: USD\nprices:\n  - {to: US, sms: -1}\n", "'-1' is not an amount", id="negative"),
        pytest.param("currency: USD\nprices:\n  - {to: UK, sms: 1}\n", "there is no region 'UK': did you mean GB?", id="UK"),
        pytest.param("currency: USD\nprices:\n  - {to: XX, sms: 1}\n", "there is no region 'XX'", id="no region"),
        pytest.param("currency: USD\nprices:\n  - {to: +1a, sms: 1}\n", "'+1a' is not the beginning of a number", id="no prefix"),
        pytest.param("currency: USD\nprices:\n  - {to: [], sms: 1}\n", "key `prices.0.to`", id="nowhere"),
        pytest.param("currency: USD\nprices:\n  - {to: US}\n", "neither `sms` nor `mms` has a price", id="no price"),
        pytest.param("currency: USD\nprices:\n  - {to: US, sms: 1, mms_fee: 1}\n", "`mms_fee` needs `mms`", id="fee alone"),
        pytest.param("currency: USD\nprices:\n  - {to: US, from: pigeon, sms: 1}\n", "line 3, key `prices.0.from", id="sender type"),
        pytest.param(
            "currency: USD\nprices:\n  - {to: [US, CA], sms: 1}\n  - {to: CA, sms: 2}\n",
            "line 4, key `prices.1`: sms to CA already has a price (line 3)\n  fix: keep one of them",
            id="twice",
        ),
        pytest.param("- 1\n", "not a price table: it must be a mapping of keys", id="a list"),
        pytest.param("", "not a price table: it must be a mapping of keys", id="empty"),
        pytest.param("currency: [\n", "not valid YAML", id="broken"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(PricesError) as error:
        table(tmp_path, text)
    assert told in str(error.value)
    assert str(tmp_path / "prices.yaml") in str(error.value)


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match="cannot be read"):
        load_prices(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"currency: \xff\n")
    with pytest.raises(PricesError, match="not UTF-8"):
        load_prices(tmp_path / "latin.yaml")


def test_the_example_is_valid_and_says_that_it_is_one() -> None:
    path = ROOT / "campaigns" / "prices.example.yaml"
    found = load_prices(path)
    assert path.read_text(encoding="utf-8").startswith("# AN EXAMPLE WITH INVENTED PRICES.")
    rate = found.find("+447", "GB", "alphanumeric", mms=False)
    assert rate is not None
    assert (money.text(rate.price), found.currency) == ("0.04", "USD")
