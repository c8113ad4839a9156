"""Where the plans of runs are kept: the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.state.ledger import Run


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

    def folder(self, run: Run) -> Path:
        """The run's folder on this machine, for its results; it may not exist yet."""
        ...
