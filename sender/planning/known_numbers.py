"""What lookups and answers have said of a plan's numbers: who is skipped by `recipients.skip_types`, and zones.

Both only take away: a row that the numbering plan's own tables skip stays skipped, and a zone counts where the number
itself names none. Reads the state's list of numbers, nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sender.core.outcomes import SkipReason
from sender.planning.audience import FIXED_LINE, skip_rows
from sender.planning.compiled import CompiledCampaign
from sender.state.open import open_numbers

_SCHEMA = {"to": pl.String, "_type": pl.String, "_zone": pl.String, "_said": pl.String}


@dataclass(frozen=True, slots=True, eq=False)
class KnownNumbers:
    """What is known of numbers: `frame` has `to`, `_type`, `_zone` and `_said`, a row for each number."""

    frame: pl.DataFrame
    skip_types: tuple[str, ...]

    def mark_rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Skip the rows of `frame` whose number is of a type that the campaign leaves out."""
        known = self.frame.filter(pl.col("_type").is_in(self.skip_types)).drop("_zone")
        if known.is_empty():
            return frame
        joined = frame.join(known, on="to", how="left", maintain_order="left")
        detail = pl.format("a {} number (so said {}), a type that recipients.skip_types leaves out", "_type", "_said")
        is_fixed = pl.col("_type") == FIXED_LINE
        joined = skip_rows(joined, is_fixed, SkipReason.LANDLINE, detail)
        return skip_rows(joined, pl.col("_type").is_not_null(), SkipReason.SUPPRESSED, detail).select(frame.columns)

    def zones(self, to: pl.Series) -> pl.Series:
        """The zones that lookups gave the numbers `to`, joined with `|` (String); null where they gave none."""
        return pl.DataFrame({"to": to}).join(self.frame, on="to", how="left", maintain_order="left")["_zone"]


def read_known_numbers(compiled: CompiledCampaign, state_dir: str | Path | None) -> KnownNumbers | None:
    """What the state in `state_dir` knows, as far as the campaign asks for it; None where it asks for nothing."""
    types: Collection[str] = compiled.numbers.skip_types
    if state_dir is None or not (types or compiled.window):
        return None
    with closing(open_numbers(state_dir, create=False)) as known:
        facts = [fact for fact in known.everything() if compiled.simulated or not fact.simulated]
    if not facts:
        return None
    facts.sort(key=lambda fact: not fact.simulated)  # what the sandbox says goes before, in a simulation
    rows = [
        (fact.number, fact.line_type, fact.zone, f"{fact.provider} on {_day(fact.at)}")
        for fact in {fact.number: fact for fact in reversed(facts)}.values()
    ]
    return KnownNumbers(pl.DataFrame(rows, schema=_SCHEMA, orient="row"), tuple(types))


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
