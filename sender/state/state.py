"""A state: everything durable about any number of runs, wherever it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from sender.plan.plan import Plan
from sender.state.approvals import ApprovalStore
from sender.state.heartbeat import Heartbeats
from sender.state.ledger import Ledger, Run, RunKind
from sender.state.locks import RunLocks
from sender.state.number_facts import NumberStore
from sender.state.people import PeopleKey
from sender.state.plans import PlanStore
from sender.state.recorded_outcomes import OutcomeStore
from sender.state.replies import ReplyStore
from sender.state.runs import find_run
from sender.state.sharing import Sharing
from sender.state.suppression import SuppressionStore
from sender.state.ticks import TickStore


class State(ABC):
    """The stores of one state, each behind its protocol. Use as a context manager, or call `close`.

    `where` is what `open_state` takes to open the same state again, from the same working directory. `folder` is on
    this machine, for what is made of the state here, such as results: nothing else may write into it.
    """

    where: str
    folder: Path
    ledger: Ledger
    locks: RunLocks
    plans: PlanStore
    people: PeopleKey
    heartbeats: Heartbeats
    ticks: TickStore
    outcomes: OutcomeStore
    sharing: Sharing | None = None  # None where one machine alone can use the state
    approvals: ApprovalStore

    @abstractmethod
    def open_ledger(self) -> Ledger:
        """Another handle to the ledger, for another thread; the caller closes it. Raises StateError."""

    @abstractmethod
    def open_suppressions(self) -> SuppressionStore:
        """Another handle to the suppression entries, for another thread; the caller closes it. Raises StateError."""

    @abstractmethod
    def open_replies(self, *, create: bool = False) -> ReplyStore:
        """A handle to the replies; the caller closes it. Without `create`, a missing store is an empty one.

        Raises StateError.
        """

    @abstractmethod
    def open_numbers(self, *, create: bool = True) -> NumberStore:
        """What is known of numbers; the caller closes it. With `create=False` nothing is made. Raises StateError."""

    @abstractmethod
    def workers_folder(self, campaign: str, kind: RunKind) -> Path:
        """A folder on this machine for what the processes that send the campaign together share."""

    @cached_property
    def suppressions(self) -> SuppressionStore:
        """The suppression entries, opened when they are first asked for and closed with the state."""
        return self.open_suppressions()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger and the suppression entries."""
        try:
            if "suppressions" in vars(self):
                self.suppressions.close()
        finally:
            self.ledger.close()

    def plan(self, run: Run) -> Plan:
        """The plan that the run executes. Raises PlanError when it is missing or damaged."""
        return self.plans.open(run)

    def find(self, target: str | Path) -> Run:
        """The run that `target` names: a run id or its unique beginning, a file, or a campaign's name.

        A file is a campaign or a recipients file. Of several runs the newest is meant, and a test, a rehearsal or a
        retry only if there is nothing else. Raises UnknownRun.
        """
        return find_run(self.ledger.runs(), target, where=self.where)

    def runs_of(self, campaign: str, kind: RunKind) -> list[Run]:
        """The campaign's runs of that kind, oldest first."""
        return [run for run in self.ledger.runs() if run.campaign == campaign and run.kind is kind]

    def retries(self, run: Run) -> list[Run]:
        """The runs that sent messages of `run` again, oldest first."""
        return [retry for retry in self.ledger.runs() if retry.retry_of == run.run_id]
