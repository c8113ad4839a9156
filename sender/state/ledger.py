"""The durable record of what was attempted and what came of it: the protocol every ledger keeps.

A ledger keeps the guarantee, so its rules are here and not in the loop around it: an intent is committed before a
request may leave, transitions are guarded by state and attempt, and time is read from the ledger. A message without
a row is pending. Nothing outside this package knows SQL.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

import polars as pl

from sender.core.outcomes import DeliveryReport, Outcome, Reason, State

# The frame `Ledger.journal` returns, one row a message that was ever claimed or set aside. Times are milliseconds UTC.
# `sender` is the number its last claim used instead of the planned one, null where that was the planned one.
JOURNAL_SCHEMA: dict[str, pl.DataType] = {
    "seq": pl.UInt32(),
    "state": pl.String(),
    "attempts": pl.UInt32(),
    "intent_at": pl.Datetime("ms", "UTC"),
    "sender": pl.String(),
    "message_id": pl.String(),
    "status": pl.String(),
    "provider_status": pl.String(),
    "reason": pl.String(),
    "error_code": pl.String(),
    "error_message": pl.String(),
    "segments": pl.UInt32(),
    "price": pl.String(),
    "currency": pl.String(),
    "created_at": pl.Datetime("ms", "UTC"),
    "sent_at": pl.Datetime("ms", "UTC"),
    "updated_at": pl.Datetime("ms", "UTC"),
    "final_at": pl.Datetime("ms", "UTC"),  # when the status became final, as far as the provider or the report says
    "resent": pl.UInt32(),  # how often a person had it put back to pending though it may have been accepted
}


# A partition `(k, n)` is the share of one of n processes that send a run together: messages with `seq % n == k`.
WHOLE_RUN = (0, 1)


class RunKind(StrEnum):
    """What a run reached. Only a `LIVE` run counts when asking whether a plan has been sent."""

    LIVE = "live"
    SANDBOX = "sandbox"  # provider: sandbox
    REHEARSAL = "rehearsal"  # the provider's own dialect, spoken to the sandbox
    TEST = "test"  # --test-to: every message went to one number


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a plan. `source` is the path the user named (campaign or recipients file), if any.

    `simulated` says that it talks to the sandbox, whatever its kind. `account` is the public id of the account it is
    sent by (None where credentials do not tell it): only that account's log can say what became of it. `retry_of` is
    the run whose messages this one sends again.
    """

    run_id: str
    campaign: str
    kind: RunKind
    provider: str
    plan_hash: str
    source: str | None
    rows: int
    messages: int
    skipped: int
    created_at_ms: int
    finished_at_ms: int | None = None
    simulated: bool = False
    account: str | None = None
    retry_of: str | None = None


class Claim(NamedTuple):  # a tuple, as is a Settlement: each message makes one, and they are four times as quick
    """A committed intent: this process may submit message `seq` until `deadline_ms`, as attempt `attempt` (from 1).

    `fence` numbers the claims ever made of a message. A release gives the attempt back but never the fence, so an
    older claim can neither settle nor release what a newer one holds.
    """

    seq: int
    attempt: int
    deadline_ms: int
    fence: int = 0


class Settlement(NamedTuple):
    """What came of a claim. `not_before_ms` delays a Deferred message."""

    claim: Claim
    outcome: Outcome
    not_before_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LogFinding:
    """What reconciliation proved of an unknown message: an Accepted, or None for proved absent (back to pending).

    `attempt` is the journal's when the proof was begun: a proof about an earlier attempt changes nothing. None
    trusts the state alone, which is enough only while the run's lock is held.
    """

    seq: int
    outcome: Outcome | None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """A delivery report and the message it is about, where its ref (or who asked for it) names one."""

    report: DeliveryReport
    run_id: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class ReportCounts:
    """What became of a batch of reports: `applied`, `same` (nothing new), or `kept` for a message to come."""

    applied: int = 0
    same: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of a run by submission state. They add up to `Run.messages`."""

    pending: int
    intent: int
    accepted: int
    rejected: int
    unknown: int


class Ledger(Protocol):
    """Synchronous: the send loop calls it from its own thread. What changes is committed before a method returns."""

    def now_ms(self) -> int:
        """Milliseconds UTC, from the ledger's own clock: it does not jump when the system's clock is set."""
        ...

    def create_run(self, run: Run) -> None: ...

    def run(self, run_id: str) -> Run:
        """Raises UnknownRun."""
        ...

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        ...

    def finish_run(self, run_id: str) -> bool:
        """Marks the run finished if nothing is pending or in doubt between intent and outcome; says whether it is."""
        ...

    def claim(self, run_id: str, *, limit: int, lease_ms: int, below_seq: int | None = None) -> list[Claim]:
        """Up to `limit` intents, committed and durable: deferred messages that are due first, then the next in order.

        `below_seq` bounds the messages touched (`--limit N` is the first N of the plan).
        """
        ...

    def prefetch(
        self,
        run_id: str,
        *,
        limit: int,
        exclude: Collection[int] = (),
        below_seq: int | None = None,
        partition: tuple[int, int] = WHOLE_RUN,
    ) -> list[int]:
        """The `seq` of up to `limit` messages that may be claimed now, in the order of `claim`, without claiming them.

        Those in `exclude` are left out: the caller has them already. From now on they can be claimed in any order, by
        whoever comes first; processes that ask for different parts get different ones.
        """
        ...

    def claim_prefetched(self, run_id: str, seqs: Collection[int], *, lease_ms: int) -> list[Claim]:
        """Intents for those of `seqs` that were set aside and may still be claimed now, committed and durable."""
        ...

    def last_changed(self, run_id: str, *, limit: int) -> list[tuple[int, int]]:
        """`(seq, at_ms)` of up to `limit` messages that may have left, those first whose row changed last.

        A request leaves after its intent and before its outcome is written, so none of them left after its `at_ms`.
        What was released did not leave.
        """
        ...

    def pending_from(self, run_id: str) -> tuple[int, list[int]]:
        """The `seq` from which on nothing was ever claimed, and those before it that are pending all the same."""
        ...

    def release(self, run_id: str, claims: Iterable[Claim]) -> int:
        """Back to pending: intents whose request provably never started. The attempt does not count."""
        ...

    def use_senders(self, run_id: str, choices: Iterable[tuple[Claim, str]]) -> int:
        """Notes, before a request leaves, the number that a claim uses instead of the planned one; says how many.

        Guarded as `record` is. The next claim of the message begins with the planned one again.
        """
        ...

    def record(self, run_id: str, settlements: Sequence[Settlement]) -> int:
        """Writes outcomes, guarded by state `intent` and the attempt; says how many changed a row."""
        ...

    def orphans_to_unknown(self, run_id: str) -> int:
        """Intents left by a process that died become unknown; says how many. Call only while holding the run's lock."""
        ...

    def reconcile(self, run_id: str, found: Sequence[LogFinding]) -> int:
        """Settles unknown messages; guarded by state `unknown`; says how many changed."""
        ...

    def resend_unknown(self, run_id: str) -> int:
        """Unknown messages become pending because a person said so; each keeps count in `resent`. Says how many.

        A finished run is no longer finished. Call only while holding the run's lock.
        """
        ...

    def check(self, run_id: str) -> None:
        """Raises StateError when the run's rows contradict one another: some were lost, doubled or changed."""
        ...

    def record_reports(self, reports: Sequence[ReceivedReport]) -> ReportCounts:
        """Writes delivery reports in one commit, in this order; all of them are on disk when it returns.

        A status moves forward by rank only. A report with our ref settles an unknown or pending message as accepted.
        What comes before the outcome is recorded is kept and applied with it; what names no message is kept too.
        """
        ...

    def match_reports(self) -> int:
        """Applies what was kept without a ref to the messages of those ids; says how many changed one."""
        ...

    def delivering(self, run_id: str) -> int:
        """How many accepted messages have no final status yet."""
        ...

    def kept_reports(self) -> int:
        """How many reports wait for their message."""
        ...

    def forget_reports(self, before_ms: int) -> int:
        """Drops kept reports that came before then; says how many. Other programs of the account have messages too."""
        ...

    def counts(self, run_id: str) -> Counts: ...

    def next_due_ms(self, run_id: str, *, below_seq: int | None = None) -> int | None:
        """When the earliest deferred message is due; None when none waits."""
        ...

    def journal(
        self, run_id: str, *, states: Collection[State] | None = None, reasons: Collection[Reason] | None = None
    ) -> pl.DataFrame:
        """The run's rows in `seq` order, as JOURNAL_SCHEMA says: all, or those of some states, of some reasons."""
        ...

    def message_ids(self) -> set[str]:
        """The provider's ids of everything accepted, in every run: a log entry with one of them is no other message."""
        ...

    def close(self) -> None: ...
