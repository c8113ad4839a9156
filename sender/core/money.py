"""Amounts of money as whole millionths of a currency unit, so that sums are exact. Never a float.

Vendors price a segment in fractions of a cent (0.0079); six decimals hold them all.
"""

from __future__ import annotations

import re
from decimal import Decimal

MICROS = 1_000_000  # in a currency unit
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")


def parse(value: object) -> int:
    """Return the micro-units of an amount such as `0.0079` or `25`. Raises ValueError, which says how to write it."""
    text = str(value).strip()
    if isinstance(value, bool) or not _AMOUNT.fullmatch(text):
        raise ValueError(
            f"{text!r} is not an amount: write 0.0079 or 25, with a point, at most 6 decimals and no currency sign"
        )
    return int(Decimal(text) * MICROS)


def text(micros: int) -> str:
    """Return the exact amount as decimal text, with at least two decimals: `12.30`, `0.0079`."""
    whole, rest = divmod(micros, MICROS)
    decimals = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole}.{decimals}"
