"""A figure of a benchmark: ours and the plain way, measured in one run; and the table they end in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
AREAS = [area for area in range(201, 990) if area % 100 != 11]  # as many as are needed; all +1 NPA-555-01xx


@dataclass(frozen=True, slots=True)
class Figure:
    """`ours` and `plain` in `unit` (`/s`: more is better; `ms`: less is). `least` is the ratio that is wanted.

    `plain` is None where there is no plain way; `way` says what it is; `note` is anything else worth a word.
    """

    part: str
    what: str
    ours: float
    unit: str
    plain: float | None = None
    way: str = ""
    least: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as good as the plain way ours is; of times, how many times as long it takes."""
        return self.ours / self.plain if self.plain else None

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:,.1f} x" if self.ratio < 100 else f"{self.ratio:,.0f} x"
        wanted = ""
        if self.least is not None and self.ratio is not None:
            wanted = f"{self.least:g} x{'' if self.ratio >= self.least else ' MISSED'}"
        plain = "" if self.plain is None else f"{self.plain:,.0f}{self.unit}"
        return self.part, self.what, f"{self.ours:,.0f}{self.unit}", plain, ratio, wanted, self.way, self.note


HEADERS = ("part", "what", "ours", "plain", "ratio", "wanted", "the plain way", "")
_RIGHT = {2, 3, 4, 5}


def table(figures: Iterable[Figure]) -> str:
    """The figures as lines of text, under headers."""
    rows = [HEADERS, *(one.cells() for one in figures)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADERS))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in _RIGHT else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def rates(
    ours: Callable[[], object], rows: int, plain: Callable[[], object], plain_rows: int, *, turns: int = 3
) -> tuple[float, float]:
    """Rows a second of ours and of the plain way, turn by turn since the machine is shared: those of the middle
    ratio."""
    pairs = [(rows / seconds(ours), plain_rows / seconds(plain)) for _ in range(turns)]
    return sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]


def median_seconds(action: Callable[[], object], turns: int) -> float:
    return statistics.median(seconds(action) for _ in range(turns))
