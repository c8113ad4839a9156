"""The plans of runs in the database, with a copy of what this machine needs in a folder of its own.

The database has the files of each run's folder; the folder here is a copy, file by file, as of one version of them. A
change is made in the copy and then stored as a whole, in one transaction. Processes of this machine share the copy: one
at a time writes it, or what one of them fetches would take the place of what another is changing. Results are written
here only.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from sender.core.errors import StateError
from sender.core.filesystem import make_folder
from sender.core.lazy_modules import filelock
from sender.core.output_files import write_whole
from sender.plan.manifest import MANIFEST_FILE, Manifest
from sender.plan.plan import Plan
from sender.plan.stored_rows import PLAN_FILE
from sender.state.files.outcome_files import OUTCOMES_FILE
from sender.state.files.plans import CHANGES_FILE, IDENTITY_FILE, OUTPUTS_FILE, PEOPLE_FILE, PlanFolders
from sender.state.files.recipient_index import INDEX_FILE
from sender.state.ledger import Run
from sender.state.people import Person, PlanRows
from sender.state.postgres.database import Database, Transaction

T = TypeVar("T")
PART_BYTES = 1 << 20
COPY_FILE = "copy.json"  # which version of the run's files is here, and the size of each (null: there is none)
_PLAN, _MANIFEST = f"plan/{PLAN_FILE}", f"plan/{MANIFEST_FILE}"
_PLAN_FILES = (_PLAN, _MANIFEST, INDEX_FILE, CHANGES_FILE)
_STORED = (*_PLAN_FILES, PEOPLE_FILE, OUTPUTS_FILE, IDENTITY_FILE, OUTCOMES_FILE)
COPY_LOCK = "copy.lock"
_LOCK_S = 60.0  # to change a plan of ten million rows takes less
_ATTEMPTS = 10
_ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"  # all that is read then is of one version
_VERSION = "SELECT version FROM run_folder WHERE run_id = %s"
_PARTS = "SELECT bytes FROM run_file WHERE run_id = %s AND name = %s ORDER BY part"
_STORE = "INSERT INTO run_file (run_id, name, part, bytes) VALUES (%s, %s, %s, %s)"
_DROP = "DELETE FROM run_file WHERE run_id = %s AND name = ANY(%s::text[])"
_SIZE = """
SELECT coalesce(sum(octet_length(bytes)), 0)::bigint FROM run_file WHERE run_id = %s AND name = ANY(%s::text[])
"""


class PlanRowsStore:
    """The plans of one state. A `PlanStore`."""

    def __init__(self, db: Database, folder: Path) -> None:
        """`folder` is this machine's, for this state."""
        self._db = db
        self._copies = PlanFolders(folder)

    def folder(self, run: Run) -> Path:
        return self._copies.folder(run)

    def save(self, run: Run, plan: Plan) -> Plan:
        with self._copy_held(run):
            stored = self._copies.save(run, plan)
            self._store(run, _PLAN_FILES, before=None)
        return stored

    def open(self, run: Run) -> Plan:
        self.fetch(run, (_PLAN, _MANIFEST, CHANGES_FILE))
        return self._copies.open(run)

    def manifest(self, run: Run) -> Manifest | None:
        self.fetch(run, (_MANIFEST, IDENTITY_FILE))
        return self._copies.manifest(run)

    def erased(self, run: Run) -> pl.DataFrame:
        self.fetch(run, (PEOPLE_FILE,))
        return self._copies.erased(run)

    def recipients(self, run: Run) -> pl.DataFrame | None:
        self.fetch(run, (_MANIFEST, INDEX_FILE, IDENTITY_FILE))
        return self._copies.recipients(run)

    def find(self, run: Run, person: Person) -> PlanRows:
        self.fetch(run, (_PLAN, _MANIFEST, CHANGES_FILE))
        return self._copies.find(run, person)

    def note_erased(self, run: Run, people: pl.DataFrame) -> None:
        self.change(run, (PEOPLE_FILE,), lambda: self._copies.note_erased(run, people))

    def is_torn(self, run: Run) -> bool:  # noqa: ARG002 (the protocol's)
        """Never: what was cut off in the copy was not stored, and is fetched again."""
        return False

    def recover(self, run: Run) -> None:
        """Do nothing: no plan is torn."""

    def erase(self, run: Run, person: Person, row_numbers: Collection[int]) -> int:
        return self.change(run, _PLAN_FILES, lambda: self._copies.erase(run, person, row_numbers))

    def prune(self, run: Run) -> None:
        self.change(run, (*_PLAN_FILES, OUTCOMES_FILE), lambda: self._copies.prune(run))

    def changes(self, run: Run) -> list[dict[str, Any]]:
        self.fetch(run, (CHANGES_FILE,))
        return self._copies.changes(run)

    def pruned_at(self, run: Run) -> datetime | None:
        self.fetch(run, (CHANGES_FILE,))
        return self._copies.pruned_at(run)

    def size(self, run: Run) -> int:
        names = [_PLAN, INDEX_FILE]
        stored = self._db.read(lambda db: int(db.value(_SIZE, (run.run_id, names))))
        copied = sum((self.folder(run) / name).stat().st_size for name in names if (self.folder(run) / name).is_file())
        return stored + self._copies.size(run) - copied

    def written(self, *, before_ms: int | None = None) -> list[Path]:
        return self._copies.written(before_ms=before_ms)

    def remove_written(self, folder: Path) -> None:
        self._copies.remove_written(folder)

    def erase_written(self, person: Person) -> int:
        return self._copies.erase_written(person)

    def note_output(self, run: Run, file: Path) -> None:
        self.change(run, (OUTPUTS_FILE,), lambda: self._copies.note_output(run, file))

    def outputs(self, run: Run) -> tuple[Path, ...]:
        self.fetch(run, (OUTPUTS_FILE,))
        return self._copies.outputs(run)

    # -- the files of a run, and their copy on this machine ------------------------------------------------------------

    def fetch(self, run: Run, names: Collection[str]) -> uuid.UUID | None:
        """See that these files of the run are here as they are in the database; return their version, if it has any.

        Raises StateError.
        """
        version: uuid.UUID | None = self._db.read(lambda db: db.value(_VERSION, (run.run_id,)))
        if version is None:
            return None
        copied = self._read_copy(run, version)
        if copied is not None and copied >= {*names}:
            return version
        with self._copy_held(run):
            return self._fetch(run, names)

    def _fetch(self, run: Run, names: Collection[str]) -> uuid.UUID | None:
        """As `fetch`, by whoever holds the copy."""

        def read(db: Transaction) -> tuple[uuid.UUID | None, set[str] | None, dict[str, list[tuple[Any, ...]]]]:
            db.execute(_ONE_MOMENT)
            version: uuid.UUID | None = db.value(_VERSION, (run.run_id,))
            copied = None if version is None else self._read_copy(run, version)
            missing = [] if version is None else [name for name in names if name not in (copied or ())]
            return version, copied, {name: db.rows(_PARTS, (run.run_id, name)) for name in missing}

        version, copied, parts = self._db.transact(read)
        if version is None:
            return None
        if copied is None:  # of another version: whoever was erased since is in it
            for name in _STORED:
                (self.folder(run) / name).unlink(missing_ok=True)
        if parts:
            for name, rows in parts.items():
                self._write(self.folder(run) / name, rows)
            self._note_copy(run, version, {*(copied or ()), *parts})
        return version

    @contextlib.contextmanager
    def _copy_held(self, run: Run) -> Iterator[None]:
        """Keep other processes of this machine from writing the copy. Makes the run's folder. Raises StateError."""
        folder = self.folder(run)
        try:
            make_folder(folder)
            with filelock.FileLock(folder / COPY_LOCK, timeout=_LOCK_S, mode=0o600):
                yield
        except filelock.Timeout:
            raise StateError(
                f"another process here has been changing the files of run {run.run_id} for a minute",
                where=str(folder),
                fix="run the same command again",
            ) from None

    def _write(self, file: Path, parts: Sequence[tuple[Any, ...]]) -> None:
        if not parts:
            file.unlink(missing_ok=True)
            return
        make_folder(file.parent)
        write_whole(file, lambda stream: [stream.write(part) for (part,) in parts])

    def change(self, run: Run, names: Collection[str], change: Callable[[], T]) -> T:
        """Make a change in the copy and store it; make it again where another process has stored one meanwhile."""
        for _ in range(_ATTEMPTS):
            with self._copy_held(run):
                before = self._fetch(run, _STORED)
                self._forget_copy(run)  # until the change is stored, the copy is nobody's
                result = change()
                if self._store(run, names, before=before):
                    return result
        raise StateError(f"other processes change the files of run {run.run_id} all the time", fix="try again")

    def _store(self, run: Run, names: Collection[str], *, before: uuid.UUID | None) -> bool:
        """Store these files of the copy, if the database has version `before` (None: none); return whether."""
        version = uuid.uuid4()
        files = [(name, self.folder(run) / name) for name in names]

        def store(db: Transaction) -> bool:
            if db.value(_VERSION, (run.run_id,)) == version:  # the connection broke when it had been committed
                return True
            if before is None:
                db.execute("DELETE FROM run_file WHERE run_id = %s", (run.run_id,))
                db.execute("DELETE FROM run_folder WHERE run_id = %s", (run.run_id,))
                db.execute("INSERT INTO run_folder (run_id, version) VALUES (%s, %s)", (run.run_id, version))
            elif not db.execute(
                "UPDATE run_folder SET version = %s WHERE run_id = %s AND version = %s", (version, run.run_id, before)
            ):
                return False
            db.execute(_DROP, (run.run_id, [name for name, _ in files]))
            for name, file in files:
                if file.is_file():
                    _store_file(db, run.run_id, name, file)
            return True

        stored = self._db.transact(store)
        if stored:
            self._note_copy(run, version, set(_STORED if before is not None else names))
        return stored

    def _read_copy(self, run: Run, version: uuid.UUID) -> set[str] | None:
        """Which files of that version are here, or are known not to be there; None for a copy of another version."""
        try:
            note = json.loads((self.folder(run) / COPY_FILE).read_text(encoding="utf-8"))
            if note["version"] != str(version):
                return None
            return {name for name, size in note["sizes"].items() if _size(self.folder(run) / name) == size}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _note_copy(self, run: Run, version: uuid.UUID, names: set[str]) -> None:
        sizes = {name: _size(self.folder(run) / name) for name in sorted(names)}
        text = json.dumps({"version": str(version), "sizes": sizes})
        write_whole(self.folder(run) / COPY_FILE, lambda stream: stream.write(text.encode()))

    def _forget_copy(self, run: Run) -> None:
        (self.folder(run) / COPY_FILE).unlink(missing_ok=True)
        for torn in self.folder(run).glob(".plan.*.old"):  # of a change that was cut off
            shutil.rmtree(torn, ignore_errors=True)


def _size(file: Path) -> int | None:
    """The bytes of the file; None where there is none."""
    return file.stat().st_size if file.is_file() else None


def _store_file(db: Transaction, run_id: str, name: str, file: Path) -> None:
    with file.open("rb") as stream:
        for part, content in enumerate(iter(lambda: stream.read(PART_BYTES), b"")):
            db.execute(_STORE, (run_id, name, part, content))
