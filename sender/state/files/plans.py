"""The plans of runs as folders below `runs/`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from sender.core.errors import PlanError
from sender.plan.manifest import MANIFEST_FILE, Manifest, read_manifest
from sender.plan.plan import Plan
from sender.state.files.notes import read_note, write_note
from sender.state.ledger import Run

RUNS_FOLDER = "runs"
IDENTITY_FILE = "identity.json"


class PlanFolders:
    """The plans of one state directory: `runs/RUN/plan`."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the state directory."""
        self._runs = directory / RUNS_FOLDER

    def folder(self, run: Run) -> Path:
        return self._runs / run.run_id

    def save(self, run: Run, plan: Plan) -> Plan:
        return plan.write(self._plan_folder(run))

    def open(self, run: Run) -> Plan:
        plan = Plan.open(self._plan_folder(run))
        if plan.hash != run.plan_hash:
            raise self._other_plan(run)
        return plan

    def manifest(self, run: Run) -> Manifest | None:
        """As the protocol says. The identity of a plan in format 3 is computed from its rows, once."""
        folder = self._plan_folder(run)
        if not (folder / MANIFEST_FILE).exists():
            return None
        manifest = read_manifest(folder)
        if manifest.plan_hash != run.plan_hash:
            raise self._other_plan(run)
        if manifest.identity is None:
            manifest = replace(manifest, identity=self._read_identity(run) or self._compute_identity(run))
        return manifest

    def _plan_folder(self, run: Run) -> Path:
        return self.folder(run) / "plan"

    def _read_identity(self, run: Run) -> str | None:
        """The identity computed for the run's plan before; None when there is none, or it cannot be read."""
        try:
            note = read_note(self.folder(run) / IDENTITY_FILE)
            return str(note["identity"]) if note["plan_hash"] == run.plan_hash else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _compute_identity(self, run: Run) -> str:
        identity = self.open(run).identity
        with contextlib.suppress(OSError):  # then it is computed again next time
            write_note(self.folder(run) / IDENTITY_FILE, {"plan_hash": run.plan_hash, "identity": identity})
        return identity

    def _other_plan(self, run: Run) -> PlanError:
        return PlanError(f"this is not the plan of run {run.run_id}", where=str(self._plan_folder(run)))
