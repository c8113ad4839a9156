"""Amounts are exact: what is read is what is written, and nothing is rounded."""

from __future__ import annotations

import pytest

from sender.core import money


@pytest.mark.parametrize(
    ("written", "micros", "shown"),
    [
        ("25", 25_000_000, "25.00"),
        ("0.0079", 7_900, "0.0079"),
        ("12.3", 12_300_000, "12.30"),
        ("0.000001", 1, "0.000001"),
        (" 1.50 ", 1_500_000, "1.50"),
        (3, 3_000_000, "3.00"),
        (0.05, 50_000, "0.05"),
        ("0", 0, "0.00"),
        ("999999999.999999", 999_999_999_999_999, "999999999.999999"),
    ],
)
def test_amounts(written: object, micros: int, shown: str) -> None:
    assert money.parse(written) == micros
    assert money.text(micros) == shown
    assert money.parse(shown) == micros


@pytest.mark.parametrize(
    "written", ["", "1,50", "-1", "+1", "1.2345678", "1e3", "$5", "5 USD", "1_000", True, None, "1."]
)
def test_what_is_not_an_amount(written: object) -> None:
    with pytest.raises(ValueError, match=r"is not an amount: write 0\.0079 or 25"):
        money.parse(written)
