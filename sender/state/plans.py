"""Where the plans of runs are kept: the protocol."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sender.core.lazy_modules import pl
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.state.ledger import Run
from sender.state.people import Person, PlanRows

RESULTS_FILE = "results.csv"  # in the run's folder
SANDBOX_FILE = "sandbox.sqlite3"  # there too: what the simulator of a simulated run has received


class PlanStore(Protocol):
    """The plan of every run, and a folder on this machine for what is made of the run."""

    def save(self, run: Run, plan: Plan) -> Plan:
        """Keep `plan` as the run's own; return it as it is stored. Raises StateError."""
        ...

    def open(self, run: Run) -> Plan:
        """The plan that the run executes. Raises PlanError when it is missing, damaged or another run's."""
        ...

    def manifest(self, run: Run) -> Manifest | None:
        """The manifest of the run's plan, with its identity; None when the plan is gone. Raises PlanError."""
        ...

    def erased(self, run: Run) -> pl.DataFrame:
        """What stays of the people who are no longer in the run's plan, as ERASED_SCHEMA."""
        ...

    def recipients(self, run: Run) -> pl.DataFrame | None:
        """The run's messages by number, as RECIPIENTS_SCHEMA, sorted; None where only the plan itself can tell.

        Raises PlanError.
        """
        ...

    def find(self, run: Run, person: Person) -> PlanRows:
        """The person's rows in the run's plan. Raises PlanError."""
        ...

    def note_erased(self, run: Run, people: pl.DataFrame) -> None:
        """Keep `people` (ERASED_SCHEMA), durably, before they leave the run's plan. Raises StateError and OSError."""
        ...

    def is_torn(self, run: Run) -> bool:
        """Whether a process was killed in the moment in which it put the new plan into the place of the old one."""
        ...

    def recover(self, run: Run) -> None:
        """Put the old plan of such a run back. Call it only while holding the run's lock. Raises OSError."""
        ...

    def erase(self, run: Run, person: Person, row_numbers: Collection[int]) -> int:
        """Take the person out of the run's plan and results; return how many rows of the results changed.

        `row_numbers` are the person's rows. The old and the new hash of the plan's file are kept. Raises PlanError,
        StateError and OSError.
        """
        ...

    def prune(self, run: Run) -> None:
        """Remove the rows of the run's plan and its results. Raises PlanError, StateError and OSError."""
        ...

    def changes(self, run: Run) -> Sequence[Mapping[str, Any]]:
        """When the run's plan was written anew or pruned (`at`), `why`, and its `old_sha256` and `new_sha256`.

        Raises PlanError.
        """
        ...

    def pruned_at(self, run: Run) -> datetime | None:
        """When the run was pruned; None if it was not."""
        ...

    def size(self, run: Run) -> int:
        """The bytes of what `prune` removes."""
        ...

    def written(self, *, before_ms: int | None = None) -> list[Path]:
        """The folders of plans that were written into the state (before then) and belong to no run."""
        ...

    def remove_written(self, folder: Path) -> None:
        """Remove one of these plans. Raises OSError."""
        ...

    def erase_written(self, person: Person) -> int:
        """Take the person out of these plans; return of how many. Raises PlanError, StateError and OSError."""
        ...

    def note_output(self, run: Run, file: Path) -> None:
        """Remember that results of the run were written to `file`. Raises OSError."""
        ...

    def outputs(self, run: Run) -> tuple[Path, ...]:
        """The files outside the state to which results of the run were written."""
        ...

    def folder(self, run: Run) -> Path:
        """The run's folder on this machine, for its results; it may not exist yet."""
        ...
