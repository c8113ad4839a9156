"""Counts of what was done, added up over many runs."""

from __future__ import annotations

from collections import Counter
from typing import Self


class Addable:
    """A dataclass of counts: numbers are added, counters updated, lists extended."""

    def add(self, other: Self) -> None:
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                mine.update(value)
            elif isinstance(mine, list):
                mine.extend(value)
            else:
                setattr(self, name, mine + value)
