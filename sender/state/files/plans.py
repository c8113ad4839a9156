"""The plans of runs as folders below `runs/`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sender.core.errors import PlanError
from sender.core.filesystem import sync_folder
from sender.core.lazy_modules import pl
from sender.core.output_files import write_whole
from sender.plan.manifest import MANIFEST_FILE, Manifest, read_manifest
from sender.plan.plan import Plan
from sender.plan.stored_rows import PLAN_FILE
from sender.state.files.erasure import (
    drop_rows,
    erase_from_plan,
    erase_from_results,
    find_rows,
    remove_leftovers,
    write_frame,
)
from sender.state.files.failures import writing_explained
from sender.state.files.heartbeats import HEARTBEAT_FILE
from sender.state.files.notes import read_note, write_note
from sender.state.files.outcome_files import OUTCOMES_FILE
from sender.state.files.recipient_index import INDEX_FILE, read_index, remove_index, write_index
from sender.state.ledger import Run
from sender.state.people import ERASED_SCHEMA, Person, PlanRows
from sender.state.plans import RESULTS_FILE, SANDBOX_FILE

RUNS_FOLDER = "runs"
WRITTEN_FOLDER = "plans"
PEOPLE_FILE = "people.parquet"  # of erased people: row, message, and the number's hash
CHANGES_FILE = "erased.json"  # when the plan was written anew and why, with its old and new SHA-256
OUTPUTS_FILE = "outputs.json"  # where else results were written
PRUNED = "pruned"
IDENTITY_FILE = "identity.json"


class PlanFolders:
    """The plans of one state directory: `runs/RUN/plan`."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the state directory."""
        self._runs = directory / RUNS_FOLDER

    def folder(self, run: Run) -> Path:
        return self._runs / run.run_id

    def save(self, run: Run, plan: Plan) -> Plan:
        with writing_explained(self._runs.parent):
            remove_index(self.folder(run))
            stored = plan.write(self._plan_folder(run))
        write_index(self.folder(run), stored)
        return stored

    def open(self, run: Run) -> Plan:
        if (at := self.pruned_at(run)) is not None:
            raise PlanError(
                f"run {run.run_id} was pruned on {at:%Y-%m-%d}: its plan and its results are gone",
                fix=f"`sender status {run.run_id}` shows its totals",
            )
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

    def erased(self, run: Run) -> pl.DataFrame:
        file = self.folder(run) / PEOPLE_FILE
        return pl.read_parquet(file) if file.exists() else pl.DataFrame(schema=ERASED_SCHEMA)

    def recipients(self, run: Run) -> pl.DataFrame | None:
        manifest = self.manifest(run)
        return None if manifest is None else read_index(self.folder(run), manifest.parquet_sha256)

    def find(self, run: Run, person: Person) -> PlanRows:
        return find_rows(self.open(run), person)

    def note_erased(self, run: Run, people: pl.DataFrame) -> None:
        before = self.erased(run)
        new = people.join(before, on=["row_number", "key"], how="anti")
        if new.height:
            write_frame(pl.concat([before, new.select(before.columns)]), self.folder(run) / PEOPLE_FILE)
            sync_folder(self.folder(run))

    def is_torn(self, run: Run) -> bool:
        return not self._plan_folder(run).exists() and bool(self._set_aside(run))

    def recover(self, run: Run) -> None:
        if self.is_torn(run):
            self._set_aside(run)[0].replace(self._plan_folder(run))
            sync_folder(self.folder(run))

    def erase(self, run: Run, person: Person, row_numbers: Collection[int]) -> int:
        manifest = self.manifest(run)
        remove_leftovers(self.folder(run))
        if manifest is not None and not self.pruned_at(run) and self.find(run, person).concern:
            remove_index(self.folder(run))
            old, new = erase_from_plan(self._plan_folder(run), person, manifest.identity or "")
            self._note_change(run, {"why": "erased a person", "old_sha256": old, "new_sha256": new})
            write_index(self.folder(run), self.open(run))
        self._remove_sandbox(run)
        return erase_from_results(self.folder(run) / RESULTS_FILE, row_numbers, person)

    def prune(self, run: Run) -> None:
        manifest = self.manifest(run)
        remove_leftovers(self.folder(run))
        if not self.pruned_at(run):
            digest = None if manifest is None else manifest.parquet_sha256
            self._note_change(run, {"why": PRUNED, "old_sha256": digest, "new_sha256": None})
        if manifest is not None:
            drop_rows(self._plan_folder(run), manifest.identity or "")
        for name in (RESULTS_FILE, HEARTBEAT_FILE, INDEX_FILE, OUTCOMES_FILE):
            (self.folder(run) / name).unlink(missing_ok=True)
        self._remove_sandbox(run)
        sync_folder(self.folder(run))

    def pruned_at(self, run: Run) -> datetime | None:
        times = [note["at"] for note in self.changes(run) if note["why"] == PRUNED]
        return datetime.fromisoformat(times[0]) if times else None

    def size(self, run: Run) -> int:
        folder = self.folder(run)
        names = (RESULTS_FILE, f"plan/{PLAN_FILE}", INDEX_FILE, SANDBOX_FILE)
        return sum(file.stat().st_size for name in names if (file := folder / name).is_file())

    def written(self, *, before_ms: int | None = None) -> list[Path]:
        folder = self._runs.parent / WRITTEN_FOLDER
        manifests = sorted(folder.glob(f"*/{MANIFEST_FILE}")) if folder.is_dir() else []
        return [
            file.parent for file in manifests if before_ms is None or file.stat().st_mtime_ns < before_ms * 1_000_000
        ]

    def remove_written(self, folder: Path) -> None:
        for name in (PLAN_FILE, MANIFEST_FILE):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else is in it
            folder.rmdir()

    def erase_written(self, person: Person) -> int:
        erased = 0
        remove_leftovers(self._runs.parent / WRITTEN_FOLDER)
        for folder in self.written():
            plan = Plan.open(folder)
            if find_rows(plan, person).concern:
                erase_from_plan(folder, person, plan.identity)
                erased += 1
        return erased

    def note_output(self, run: Run, file: Path) -> None:
        outputs = [*self.outputs(run), file.resolve()]
        write_note(self.folder(run) / OUTPUTS_FILE, {"results": [str(path) for path in dict.fromkeys(outputs)]})

    def outputs(self, run: Run) -> tuple[Path, ...]:
        try:
            return tuple(Path(path) for path in read_note(self.folder(run) / OUTPUTS_FILE)["results"])
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    def _set_aside(self, run: Run) -> list[Path]:
        """The plan's folder while a new one takes its place; a kill in that moment leaves it there."""
        return sorted(self.folder(run).glob(".plan.*.old"))

    def _remove_sandbox(self, run: Run) -> None:
        """Remove what the simulator of a simulated run has received: numbers and texts."""
        for file in self.folder(run).glob(f"{SANDBOX_FILE}*"):
            file.unlink(missing_ok=True)

    def changes(self, run: Run) -> list[dict[str, Any]]:
        file = self.folder(run) / CHANGES_FILE
        try:
            changes: list[dict[str, Any]] = read_note(file) if file.exists() else []
        except (OSError, ValueError) as error:
            raise PlanError(
                f"the record of what was erased from run {run.run_id} is damaged: {error}", where=str(file)
            ) from None
        return changes

    def _note_change(self, run: Run, change: dict[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps([*self.changes(run), {"at": at, **change}], indent=2) + "\n"
        write_whole(self.folder(run) / CHANGES_FILE, lambda file: file.write(text.encode()))

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
