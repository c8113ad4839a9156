"""A hash of phone numbers in our own arithmetic: the same on every machine and in every version.

For a column (UInt64) and for one number alike. Products stay below 2**64, so nothing overflows; `// 2**16` is a shift,
which columns do not have.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

from sender.core.lazy_modules import pl

_MASK = 0xFFFF_FFFF
SPAN = 2.0**32  # hashes are below this

Digits = TypeVar("Digits", int, "pl.Series")


def mix(value: Digits) -> Digits:
    """Return 32 bits, each of which depends on all of `value`: the finalizer of MurmurHash3."""
    value = value ^ (value // 2**16)
    value = (value * 0x85EB_CA6B) & _MASK
    value = value ^ (value // 2**13)
    value = (value * 0xC2B2_AE35) & _MASK
    return value ^ (value // 2**16)


def hash_digits(digits: Digits) -> Digits:
    """Return the hash of a number's digits, read as an integer: 32 bits, to be mixed with a seed."""
    return mix(mix((digits & _MASK) ^ 0x9E37_79B9) ^ (digits // 2**32))


def read_digits(to: pl.Series) -> pl.Series:
    """Return the digits of each number (E.164 or a short code) as UInt64; 0 for null and for anything else."""
    return to.str.replace("+", "", literal=True).cast(pl.UInt64, strict=False).fill_null(0)


def seed_of(text: str) -> int:
    """Return 32 bits of the text's SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
