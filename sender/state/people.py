"""People whom a state no longer knows by number: the protocol of their keyed hashes, and one person as it is searched.

An erased person must still be recognised as one who was reached or has opted out. So a keyed hash of the number stays.
The key lies in the state: the hash keeps the number out of files and backups of files, not from whoever has the key and
the patience to try all numbers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from sender.core.frame_schema import FrameSchema
from sender.core.lazy_modules import phonenumbers, pl

# What stays of erased people in a run: the row, its message (null for a skipped row), and the hash of the number.
ERASED_SCHEMA = FrameSchema({"row_number": "UInt32", "seq": "UInt32", "key": "UInt64"})
# The messages of a run by the numbers they go to, as integers.
RECIPIENTS_SCHEMA = FrameSchema({"number": "UInt64", "seq": "UInt32"})
KEY_BYTES = 32  # of the secret that numbers are hashed with
_LONG = 9  # digits of a national number that are nobody else's even among others
_SHORTEST = 7  # digits of a national number that are taken for the person's wherever they are


def as_integer(numbers: pl.Expr) -> pl.Expr:
    """E.164 numbers as integers, which are sorted and compared quickly (UInt64); null for anything else.

    Equal integers are equal numbers, since no calling code begins with 0.
    """
    is_e164 = numbers.str.starts_with("+") & ~numbers.str.starts_with("+0")
    return pl.when(is_e164).then(numbers.str.slice(1).cast(pl.UInt64, strict=False))


def hash_number(key: bytes, number: str) -> int:
    """The hash of a number (64 bits) that a state with this secret keeps in its place."""
    return int.from_bytes(hashlib.blake2b(number.encode(), digest_size=8, key=key).digest())


class PeopleKey(Protocol):
    """The secret of one state, and the hashes that it makes of numbers.

    It is made when the first person is erased, or for a campaign's links.
    """

    def hash(self, number: str) -> int | None:
        """The hash of the number (64 bits); None where nobody has been erased. Raises StateError."""
        ...

    def hash_all(self, numbers: Iterable[str]) -> pl.Series:
        """The hashes of the numbers (UInt64); two seconds for a million. Raises StateError where there is no key."""
        ...

    def secret(self) -> bytes | None:
        """The secret; None where it was not made yet. Raises StateError."""
        ...

    def create(self) -> None:
        """Make the secret unless it is there. Raises StateError."""
        ...


@dataclass(frozen=True, slots=True)
class Person:
    """A number, and the digits by which it is found in other texts."""

    number: str
    national: str | None = None

    @classmethod
    def of(cls, number: str) -> Person:
        """The person with this number, E.164 or a short code."""
        if not number.startswith("+"):
            return cls(number)
        try:
            national = str(phonenumbers.national_significant_number(phonenumbers.parse(number, None)))
        except phonenumbers.NumberParseException:
            return cls(number)
        return cls(number, national if len(national) >= _SHORTEST else None)

    @property
    def digits(self) -> str:
        return self.number.removeprefix("+")

    def is_in(self, text: pl.Expr) -> pl.Expr:
        """Whether a column of texts has the number in it, however it is written (Boolean, false for null)."""
        return text.str.contains(self._pattern()).fill_null(value=False)

    def may_be_in(self, text: pl.Expr) -> pl.Expr:
        """As `is_in`, also where the national number has digits around it, such as an extension."""
        if self.national is None or len(self.national) < _LONG:
            return self.is_in(text)
        return text.str.contains(_spread(self.national)).fill_null(value=False)

    def is_in_text(self, text: str) -> bool:
        """Whether one text has the number in it, as `is_in` says."""
        return re.search(self._pattern(), text) is not None

    def _pattern(self) -> str:
        """A regular expression for the number: with its country code anywhere, without it as the only digits."""
        if not self.number.startswith("+"):
            return rf"^\s*{re.escape(self.number)}\s*$"
        alone = "" if self.national is None else rf"|^[^0-9]*(?:0[^0-9]*)?{_spread(self.national)}[^0-9]*$"
        return _spread(self.digits) + alone


def _spread(digits: str) -> str:
    """A regular expression for digits with anything but digits between them."""
    return "[^0-9]*".join(digits)


@dataclass(frozen=True, slots=True)
class PlanRows:
    """The rows of a plan that are a person's: `row_number` and `seq` (null for a skipped row); both UInt32.

    `mentions` counts other rows with the number in an original cell; `texts` messages to others with it in their text.
    """

    rows: pl.DataFrame
    mentions: int
    texts: int

    @property
    def concern(self) -> bool:
        """Whether the plan's files have to be written anew."""
        return bool(self.rows.height or self.mentions)
