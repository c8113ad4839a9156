"""The schema of a frame, known by name before polars is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from sender.core.lazy_modules import pl

MOMENT = "moment"  # milliseconds UTC
TEXTS = "texts"  # a list of them in each row


class FrameSchema(Mapping[str, "pl.DataType"]):
    """Names of columns and their types, for polars' `schema=`. Names cost nothing; a type loads polars.

    Types are written as polars' names (`"UInt32"`), MOMENT, or TEXTS.
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self.types = types

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, name: str) -> pl.DataType:
        return self._dtypes[name]

    def __repr__(self) -> str:
        return f"FrameSchema({self.types!r})"

    @cached_property
    def _dtypes(self) -> dict[str, pl.DataType]:
        return {name: _dtype(of) for name, of in self.types.items()}


def _dtype(of: str) -> pl.DataType:
    if of == TEXTS:
        return pl.List(pl.String())
    dtype: pl.DataType = pl.Datetime("ms", "UTC") if of == MOMENT else getattr(pl, of)()
    return dtype
