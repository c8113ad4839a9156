"""A pool of sender numbers: which of them a recipient gets, always the same, and who stands in for one that is out.

Each number draws a lot for each recipient by a hash of the two, raised by its weight (weighted rendezvous hashing).
So a recipient's number depends on nothing but the pool; a number that joins or leaves moves only its own share; and
the order of the lots is the order of preference when numbers go out. The hash is our own arithmetic, the same on every
machine and in every version. Knows no provider, no ledger and no clock.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import phonenumbers
import polars as pl

from sender.core.outcomes import Reason

# Refusals that are about the sender, if every further message from it would meet them too (`Deferred.halt`).
UNHEALTHY = frozenset({Reason.SENDER_NOT_ALLOWED, Reason.UNREGISTERED, Reason.BLOCKED, Reason.FILTERED})
_MASK = 0xFFFF_FFFF
_SLICE = 250_000  # rows scored at a time: bounds the memory of a large list


@dataclass(frozen=True, slots=True)
class PoolMember:
    """A number of the pool, its weight, and where it is at home: its region, and its area code in North America."""

    number: str
    weight: float
    region: str | None
    area_code: str | None
    seed: int

    @staticmethod
    def of(number: str, weight: float = 1.0) -> PoolMember:
        seed = int.from_bytes(hashlib.sha256(number.encode()).digest()[:4])
        return PoolMember(number, weight, region_of(number), _area_code(number), seed)


class SenderPool:
    """Numbers by preference, for a column of recipients or for one. `out` is the only thing that changes it."""

    def __init__(self, weights: Mapping[str, float], match: str | None = None) -> None:
        """`weights` by number, each above 0. `match` is `area_code`, `country` or None."""
        self._members = [PoolMember.of(number, weights[number]) for number in sorted(weights)]
        self._match = match
        self._out: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._members)

    def assign(self, to: pl.Series, region: pl.Series) -> pl.Series:
        """The number of each recipient (String). `to` is E.164 or a code, `region` the recipients' regions.

        A null in `to` is a row without a message; it gets some number all the same.
        """
        frame = pl.DataFrame({"to": to, "region": region}, schema={"to": pl.String, "region": pl.String})
        parts = [self._assigned(part) for part in frame.iter_slices(_SLICE)]
        return pl.concat(parts).alias("from_number") if parts else pl.Series("from_number", [], pl.String)

    def _assigned(self, frame: pl.DataFrame) -> pl.Series:
        digits = frame["to"].str.replace("+", "", literal=True).cast(pl.UInt64, strict=False).fill_null(0)
        base = _base(digits)
        area_code = frame.select(_area_code_expr()).to_series()
        best: pl.DataFrame | None = None
        for place, member in enumerate(self._members):
            drawn = pl.DataFrame(
                {
                    "tier": self._tiers(member, frame["region"], area_code),
                    "lot": ((_mixed(base ^ member.seed).cast(pl.Float64) + 0.5) / 2.0**32).log() / member.weight,
                    "place": pl.repeat(place, frame.height, dtype=pl.UInt32, eager=True),
                }
            )
            if best is None:
                best = drawn
                continue
            wins = (drawn["tier"] > best["tier"]) | ((drawn["tier"] == best["tier"]) & (drawn["lot"] > best["lot"]))
            best = pl.DataFrame([one.zip_with(wins, other) for one, other in zip(drawn, best, strict=True)])
        if best is None:
            raise ValueError("a pool of no numbers")
        numbers = pl.Series([member.number for member in self._members], dtype=pl.String)
        return numbers.gather(best["place"])

    def order(self, to: str) -> tuple[str, ...]:
        """All numbers, those that are out too, by this recipient's preference. The first is what `assign` gives."""
        digits = to.replace("+", "", 1)
        base = _base(int(digits) if digits.isascii() and digits.isdigit() else 0)
        region = region_of(to) if self._match else None
        area_code = _area_code(to)
        ranked = sorted(
            self._members,
            key=lambda member: (
                self._tier(member, region, area_code),
                math.log((_mixed(base ^ member.seed) + 0.5) / 2**32) / member.weight,
            ),
            reverse=True,
        )
        return tuple(member.number for member in ranked)

    def choose(self, to: str, planned: str | None) -> str | None:
        """The number to send from: the `planned` one while it is well, else the next of the recipient's preference.

        A number that is not of this pool, and the planned one when none is left, is returned as it is.
        """
        if planned not in self._out:
            return planned
        return next((number for number in self.order(to) if number not in self._out), planned)

    def describe_nearness(self, to: str, number: str) -> str:
        """`, of its area code` or `, of its country` where the pool prefers such a number and `number` is one."""
        member = next(one for one in self._members if one.number == number)
        return ("", ", of its country", ", of its area code")[self._tier(member, region_of(to), _area_code(to))]

    def out(self, number: str | None, why: str) -> bool:
        """Takes `number` out, for `why`; whether others are left to carry its messages.

        False, and nothing changed, for one that is not of the pool or is the last.
        """
        if all(member.number != number for member in self._members) or number is None:
            return False
        left = [one.number for one in self._members if one.number not in self._out and one.number != number]
        if left:
            self._out.setdefault(number, why)
        return bool(left)

    def spread(self, units: Mapping[str | None, float]) -> dict[str | None, float]:
        """`units` by number, with those of numbers that are out given to the others by their weights."""
        well = [member for member in self._members if member.number not in self._out]
        stranded = sum(count for number, count in units.items() if number in self._out)
        carried = {number: count for number, count in units.items() if number not in self._out}
        for member in well:
            share = member.weight / sum(one.weight for one in well)
            carried[member.number] = carried.get(member.number, 0.0) + stranded * share
        return carried

    @property
    def taken_out(self) -> Mapping[str, str]:
        """The numbers that are out, and why."""
        return dict(self._out)

    def _tier(self, member: PoolMember, region: str | None, area_code: str | None) -> int:
        if self._match == "area_code" and area_code is not None and member.area_code == area_code:
            return 2
        return int(self._match is not None and region is not None and member.region == region)

    def _tiers(self, member: PoolMember, region: pl.Series, area_code: pl.Series) -> pl.Series:
        tiers = pl.repeat(0, region.len(), dtype=pl.Int8, eager=True)
        if self._match is not None and member.region is not None:
            tiers = (region == member.region).fill_null(value=False).cast(pl.Int8)
        if self._match == "area_code" and member.area_code is not None:
            near = (area_code == member.area_code).fill_null(value=False)
            tiers = pl.repeat(2, region.len(), dtype=pl.Int8, eager=True).zip_with(near, tiers)
        return tiers


def region_of(number: str) -> str | None:
    """The country that a number in E.164 belongs to; None for what is no number or of no country."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return None


def _area_code(number: str) -> str | None:
    """The area code of a number of the North American plan; elsewhere mobile numbers have none."""
    return number[2:5] if number.startswith("+1") and len(number) == 12 else None


def _area_code_expr() -> pl.Expr:
    to = pl.col("to")
    return pl.when(to.str.starts_with("+1") & (to.str.len_bytes() == 12)).then(to.str.slice(2, 3))


# The same arithmetic for a column (UInt64) and for one number. Products stay below 2**64, so nothing ever overflows;
# `// 2**16` is a shift, which columns do not have. `_mixed` is the finalizer of MurmurHash3, which spreads each bit of
# its input over all of its output.

_Digits = TypeVar("_Digits", int, pl.Series)


def _mixed(value: _Digits) -> _Digits:
    value = value ^ (value // 2**16)
    value = (value * 0x85EB_CA6B) & _MASK
    value = value ^ (value // 2**13)
    value = (value * 0xC2B2_AE35) & _MASK
    return value ^ (value // 2**16)


def _base(digits: _Digits) -> _Digits:
    return _mixed(_mixed((digits & _MASK) ^ 0x9E37_79B9) ^ (digits // 2**32))
