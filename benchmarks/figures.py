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
    """`ours` and `plain` in `unit`; of `/s` and `%` more is better, of all else less.

    `least` is the ratio that is wanted, `goal` the value of ours; either is told with MISSED behind it where it is not
    reached. `plain` is None where there is no plain way; `way` says what it is; `note` is anything else worth a word.
    """

    part: str
    what: str
    ours: float
    unit: str
    plain: float | None = None
    way: str = ""
    least: float | None = None
    note: str = ""
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as good as the plain way ours is; of times, how many times as long it takes."""
        return self.ours / self.plain if self.plain else None

    @property
    def missed(self) -> bool:
        """Whether what is wanted is not reached."""
        if self.least is not None and self.ratio is not None:
            return self.ratio < self.least
        if self.goal is None:
            return False
        return self.ours < self.goal if self.unit in _MORE_IS_BETTER else self.ours > self.goal

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:,.1f} x" if self.ratio < 100 else f"{self.ratio:,.0f} x"
        wanted = ""
        if self.least is not None and self.ratio is not None:
            wanted = f"{self.least:g} x"
        elif self.goal is not None:
            wanted = f"{'≥' if self.unit in _MORE_IS_BETTER else '≤'} {self._amount(self.goal)}"
        wanted += " MISSED" if self.missed else ""
        plain = "" if self.plain is None else self._amount(self.plain)
        return self.part, self.what, self._amount(self.ours), plain, ratio, wanted, self.way, self.note

    def _amount(self, value: float) -> str:
        whole = value >= 1000 or value == round(value) or self.unit in {"/s", " ms"}
        return f"{value:,.0f}{self.unit}" if whole else f"{value:.3g}{self.unit}"


HEADERS = ("part", "what", "ours", "plain", "ratio", "wanted", "the plain way", "")
_RIGHT = {2, 3, 4, 5}
_MORE_IS_BETTER = {"/s", "%"}


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


def two_columns(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> list[str]:
    """The lines of a Markdown table of names and counts."""
    return [f"| {head[0]} | {head[1]} |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)]
