"""Who of the people in a plan is in a list of numbers, column by column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sender.core.lazy_modules import phonenumbers, pl
from sender.suppression.number_list import NumberColumn, NumberList

_CODES = [str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Who is in a list. `held` has a Boolean for each person; `alone` counts, by column, whom no other one holds."""

    held: pl.Series
    alone: dict[str, int]


class People:
    """The numbers of people (String; null ones match nothing), as they are compared with lists."""

    def __init__(self, to: pl.Series) -> None:
        self._to = to

    @cached_property
    def _digits(self) -> pl.Series:
        plain = self._to.str.starts_with("+")
        return self._to.str.strip_prefix("+").cast(pl.UInt64, strict=False).set(~plain, None)

    def match(self, numbers: NumberList) -> Matches:
        """Return who of them is in `numbers`."""
        foreign = self._foreign(numbers.rules.calling_codes) if any(c.keys.len() for c in numbers.columns) else None
        by_column = [self._held_by(column, foreign) for column in numbers.columns]
        if len(by_column) == 1:
            return Matches(by_column[0], {numbers.columns[0].name: int(by_column[0].sum())})
        counts = _add(by_column, self._to.len())
        alone = {
            column.name: int((held & (counts == 1)).sum())
            for column, held in zip(numbers.columns, by_column, strict=True)
        }
        return Matches(counts > 0, alone)

    def _held_by(self, column: NumberColumn, foreign: pl.Series | None) -> pl.Series:
        """Whether each of them is in the column: by the number, or in another country by its digits."""
        plain = column.numbers.str.starts_with("+")
        digits = column.numbers.filter(plain).str.slice(1).cast(pl.UInt64, strict=False)
        held = self._digits.is_in(digits.implode()).fill_null(value=False)
        if not plain.all():
            held |= self._to.is_in(column.numbers.filter(~plain).implode()).fill_null(value=False)
        if foreign is not None and column.keys.len() and foreign.len():
            keys = column.keys.implode()
            alike = self._digits.gather(foreign).is_in(keys) | self._national.gather(foreign).is_in(keys)
            held = held.scatter(foreign.filter(alike.fill_null(value=False)), values=True)
        return held

    def _foreign(self, codes: Iterable[int]) -> pl.Series:
        """The places of those in other countries than these, for whom digits without a country code are compared."""
        own = pl.repeat(value=False, n=self._to.len(), dtype=pl.Boolean, eager=True)
        for code in codes:
            own |= self._to.str.starts_with(f"+{code}").fill_null(value=False)
        return (~own & self._digits.is_not_null()).arg_true()

    @cached_property
    def _national(self) -> pl.Series:
        """The digits without the country code, as UInt64. No country code is the beginning of another."""
        two = [code for code in _CODES if len(code) == 2]
        to = pl.col("to")
        length = (
            pl.when(to.str.slice(1, 1).is_in(["1", "7"]))
            .then(1)
            .when(to.str.slice(1, 2).is_in(two))
            .then(2)
            .otherwise(3)
        )
        frame = pl.DataFrame({"to": self._to}).select(to.str.slice(length + 1).cast(pl.UInt64, strict=False))
        return frame.to_series()


def _add(columns: list[pl.Series], height: int) -> pl.Series:
    counts = pl.repeat(0, height, dtype=pl.UInt16, eager=True)
    for held in columns:
        counts += held.cast(pl.UInt16)
    return counts
