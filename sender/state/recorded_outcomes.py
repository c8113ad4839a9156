"""What people did after a run: the protocol of the store, and the frames it speaks."""

from __future__ import annotations

from typing import Protocol

from sender.core.frame_schema import FrameSchema
from sender.core.lazy_modules import pl
from sender.state.ledger import Run

# A row of the run's plan, what happened, when (milliseconds UTC; null: not known), and what it was worth (or null).
OUTCOMES_SCHEMA = FrameSchema({"row_number": "UInt32", "event": "String", "at_ms": "Int64", "value": "Float64"})


class OutcomeStore(Protocol):
    """The outcomes of each run. They name rows of its plan and no numbers, so nothing of a person is in them."""

    def add(self, run: Run, outcomes: pl.DataFrame) -> int:
        """Keep `outcomes` (OUTCOMES_SCHEMA), durably; return how many were not there before. Raises StateError."""
        ...

    def read(self, run: Run) -> pl.DataFrame:
        """The outcomes of the run, as OUTCOMES_SCHEMA. Raises StateError."""
        ...
