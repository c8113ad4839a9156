"""A pool of sender numbers: which of them a recipient gets, always the same, and which replaces a disabled one.

Each number gets a score for each recipient: a hash of the two, raised by its weight (weighted rendezvous hashing). So a
recipient's number depends only on the pool; a number that is added or removed moves only its own share; and the order
of the scores is the order of preference when numbers are disabled. The hash is our own arithmetic, the same on every
machine and in every version. Knows no provider, no ledger and no clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sender.core.lazy_modules import phonenumbers, pl
from sender.core.number_hash import SPAN, hash_digits, mix, read_digits, seed_of
from sender.core.outcomes import Reason

# Refusals of the sender itself: every further message from it would be refused too (`Deferred.halt`).
UNHEALTHY = frozenset({Reason.SENDER_NOT_ALLOWED, Reason.UNREGISTERED, Reason.BLOCKED, Reason.FILTERED})
_SLICE = 250_000  # rows scored at a time, which bounds the memory for a large list


@dataclass(frozen=True, slots=True)
class PoolMember:
    """A number of the pool: its weight, its region, and its area code in North America."""

    number: str
    weight: float
    region: str | None
    area_code: str | None
    seed: int

    @staticmethod
    def of(number: str, weight: float) -> PoolMember:
        return PoolMember(number, weight, region_of(number), _area_code(number), seed_of(number))


class SenderPool:
    """Numbers by preference, for a column of recipients or for one. Only `disable` mutates it."""

    def __init__(self, weights: Mapping[str, float], match: str | None = None) -> None:
        """`weights` by number, each above 0. `match` is `area_code`, `country` or None."""
        self._members = [PoolMember.of(number, weights[number]) for number in sorted(weights)]
        self._match = match
        self._disabled: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._members)

    def assign(self, to: pl.Series, region: pl.Series) -> pl.Series:
        """Return each recipient's number (String). `to` is E.164 or a short code, `region` the recipients' regions.

        A null in `to` is a row without a message; it gets a number too, which has no meaning.
        """
        frame = pl.DataFrame({"to": to, "region": region}, schema={"to": pl.String, "region": pl.String})
        parts = [self._assign_part(part) for part in frame.iter_slices(_SLICE)]
        return pl.concat(parts).alias("from_number") if parts else pl.Series("from_number", [], pl.String)

    def _assign_part(self, frame: pl.DataFrame) -> pl.Series:
        base = hash_digits(read_digits(frame["to"]))
        area_code = frame.select(_area_code_expr()).to_series()
        best: pl.DataFrame | None = None
        for place, member in enumerate(self._members):
            scores = pl.DataFrame(
                {
                    "tier": self._tiers(member, frame["region"], area_code),
                    "score": ((mix(base ^ member.seed).cast(pl.Float64) + 0.5) / SPAN).log() / member.weight,
                    "place": pl.repeat(place, frame.height, dtype=pl.UInt32, eager=True),
                }
            )
            if best is None:
                best = scores
                continue
            ties = scores["tier"] == best["tier"]
            wins = (scores["tier"] > best["tier"]) | (ties & (scores["score"] > best["score"]))
            best = pl.DataFrame([new.zip_with(wins, old) for new, old in zip(scores, best, strict=True)])
        if best is None:
            raise ValueError("a pool without numbers")
        numbers = pl.Series([member.number for member in self._members], dtype=pl.String)
        return numbers.gather(best["place"])

    def order(self, to: str) -> tuple[str, ...]:
        """Return all numbers, disabled ones too, by this recipient's preference. The first is what `assign` gives."""
        digits = to.replace("+", "", 1)
        base = hash_digits(int(digits) if digits.isascii() and digits.isdigit() else 0)
        region = region_of(to) if self._match else None
        area_code = _area_code(to)
        ranked = sorted(
            self._members,
            key=lambda member: (
                self._tier(member, region, area_code),
                math.log((mix(base ^ member.seed) + 0.5) / SPAN) / member.weight,
            ),
            reverse=True,
        )
        return tuple(member.number for member in ranked)

    def choose(self, to: str, planned: str | None) -> str | None:
        """Return the number to send from: the `planned` one, or if it is disabled the recipient's next preference.

        A number that is not in this pool, or the planned one when no other is left, is returned unchanged.
        """
        if planned not in self._disabled:
            return planned
        return next((number for number in self.order(to) if number not in self._disabled), planned)

    def describe_nearness(self, to: str, number: str) -> str:
        """Return `, of its area code` or `, of its country` where the pool prefers such numbers and `number` is one."""
        member = next(member for member in self._members if member.number == number)
        return ("", ", of its country", ", of its area code")[self._tier(member, region_of(to), _area_code(to))]

    def disable(self, number: str | None, why: str) -> bool:
        """Disable `number`, because of `why`, and return whether others are left to send its messages.

        Returns False and changes nothing for a number that is not in the pool or is the last one.
        """
        if all(member.number != number for member in self._members) or number is None:
            return False
        left = [
            member.number for member in self._members if member.number not in self._disabled and member.number != number
        ]
        if left:
            self._disabled.setdefault(number, why)
        return bool(left)

    def redistribute(self, units: Mapping[str | None, float]) -> dict[str | None, float]:
        """Return `units` by number, those of disabled numbers given to the others by their weights."""
        enabled = [member for member in self._members if member.number not in self._disabled]
        stranded = sum(count for number, count in units.items() if number in self._disabled)
        carried = {number: count for number, count in units.items() if number not in self._disabled}
        total = sum(member.weight for member in enabled)
        for member in enabled:
            share = member.weight / total
            carried[member.number] = carried.get(member.number, 0.0) + stranded * share
        return carried

    @property
    def disabled(self) -> Mapping[str, str]:
        """The disabled numbers, and why."""
        return dict(self._disabled)

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
    """Return the region of a number in E.164; None for anything else, and for a number without one."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return None


def _area_code(number: str) -> str | None:
    """Return the area code of a North American number; elsewhere mobile numbers have none."""
    return number[2:5] if number.startswith("+1") and len(number) == 12 else None


def _area_code_expr() -> pl.Expr:
    to = pl.col("to")
    return pl.when(to.str.starts_with("+1") & (to.str.len_bytes() == 12)).then(to.str.slice(2, 3))
