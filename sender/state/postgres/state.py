"""The state in a PostgreSQL database: its stores, and a folder on this machine for results and copies of plans."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from sender.core.filesystem import make_folder
from sender.state.database_url import DatabaseUrl
from sender.state.files.file_names import file_name
from sender.state.files.outcome_files import OutcomeFiles
from sender.state.files.plans import RUNS_FOLDER
from sender.state.known_states import registry_path
from sender.state.ledger import Ledger, RunKind
from sender.state.number_facts import NumberStore
from sender.state.postgres.approvals import ApprovalRows
from sender.state.postgres.database import Database
from sender.state.postgres.heartbeats import HeartbeatRows
from sender.state.postgres.ledger import PostgresLedger
from sender.state.postgres.locks import AdvisoryLocks
from sender.state.postgres.number_facts import NumberFactsTable
from sender.state.postgres.people import PeopleKeyRow
from sender.state.postgres.plans import PlanRowsStore
from sender.state.postgres.questions import Questions
from sender.state.postgres.replies import ReplyTable
from sender.state.postgres.run_outcomes import OutcomesOfRuns
from sender.state.postgres.shared_runs import SharedRuns
from sender.state.postgres.suppression import SuppressionTable
from sender.state.postgres.ticks import TickRows
from sender.state.replies import ReplyStore
from sender.state.state import State
from sender.state.suppression import SuppressionStore

DATABASES_FOLDER = "databases"


class DatabaseState(State):
    """A state in a database. `folder` is this machine's: results, and copies of what the database has."""

    def __init__(self, url: DatabaseUrl, *, read_only: bool = False) -> None:
        """Open the state at `url`. Raises StateError, InputError, and UnknownRun where there is none."""
        self._url = url
        self._read_only = read_only
        self.where = str(url)
        self._db = Database(url, read_only=read_only)
        try:
            self.folder = registry_path().parent / DATABASES_FOLDER / self._db.state_id
            make_folder(self.folder)
            self._questions = Questions(url)
            self._locks = self.locks = AdvisoryLocks(url, self._questions)
            self.sharing = self._shared_runs = SharedRuns(url, self._locks, read_only=read_only)
            self.plans = plans = PlanRowsStore(self._db, self.folder)
            self.people = PeopleKeyRow(self._db)
            self.heartbeats = HeartbeatRows(url, self._questions)
            self.ticks = TickRows(self._db, self._locks)
            self.outcomes = OutcomesOfRuns(plans, OutcomeFiles(self.folder / RUNS_FOLDER))
            self.approvals = ApprovalRows(lambda **_: nullcontext(self._db))
            self.ledger = self.open_ledger()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._shared_runs.close()
            self._questions.close()
            self._db.close()

    def open_ledger(self) -> Ledger:
        return PostgresLedger.open(self._url, read_only=self._read_only, token_of=self._locks.token, folder=self.folder)

    def open_suppressions(self) -> SuppressionStore:
        return SuppressionTable(self._url, read_only=self._read_only)

    def open_replies(self, *, create: bool = False) -> ReplyStore:  # noqa: ARG002 (the table is there)
        return ReplyTable(self._url, read_only=self._read_only)

    def open_numbers(self, *, create: bool = True) -> NumberStore:  # noqa: ARG002 (the table is there)
        return NumberFactsTable(self._url, read_only=self._read_only)

    def workers_folder(self, campaign: str, kind: RunKind) -> Path:
        """Unused: a start with several workers is refused before."""
        return self.folder / "workers" / f"{kind.value}-{file_name(campaign)}"
