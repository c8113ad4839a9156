"""The durable record of what was attempted and what became of it: the protocol of every ledger.

The ledger upholds the guarantee, so its rules are here and not in the loop around it: an intent is committed before a
request may leave, transitions are guarded by state and attempt, and time is read from the ledger. A message without
a row is pending. Nothing outside this package knows SQL.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from sender.core.canary import Canary, OutcomeCount
from sender.core.lazy_modules import pl
from sender.core.outcomes import CancelReason, Reason, SubmissionState
from sender.state.ledger_values import (
    DOUBTS_SCHEMA,
    JOURNAL_SCHEMA,
    NOTHING,
    REPEATABLE_SCHEMA,
    SENT_SCHEMA,
    TYPED_SCHEMA,
    WHOLE_RUN,
    Claim,
    Counts,
    IdHolder,
    LogFinding,
    ReceivedReport,
    Refusals,
    ReportCounts,
    RequestFormat,
    RouteClaims,
    RunRoute,
    Settlement,
)
from sender.state.run_record import Run, RunKind
from sender.state.run_routes import RunRoutes
from sender.state.tallies import PaceBin, TallyKey, Totals

__all__ = [
    "DOUBTS_SCHEMA",
    "JOURNAL_SCHEMA",
    "NOTHING",
    "REPEATABLE_SCHEMA",
    "SENT_SCHEMA",
    "TYPED_SCHEMA",
    "WHOLE_RUN",
    "Claim",
    "Counts",
    "Ledger",
    "LogFinding",
    "ReceivedReport",
    "Refusals",
    "ReportCounts",
    "RequestFormat",
    "Run",
    "RunKind",
    "Settlement",
]


class Ledger(RunRoutes, Protocol):
    """Synchronous: the send loop calls it from a thread of its own. Changes are committed before a method returns.

    Methods that take a run id raise UnknownRun for one that is not there, and all raise StateError.
    """

    def now_ms(self) -> int:
        """Milliseconds UTC by the ledger's own clock, which does not jump when the system's clock is set."""
        ...

    def create_run(
        self,
        run: Run,
        *,
        closes: Collection[str] = (),
        reason: CancelReason = CancelReason.SUPERSEDED,
        takes_over: Mapping[str, Collection[int]] = NOTHING,
        routes: Sequence[RunRoute] = (),
    ) -> None:
        """Enter a new run, and close those of the ids `closes` for that reason in the same commit.

        What a dead process left under way in those becomes unknown, so call it with `closes` only while holding their
        lock. `takes_over` has the `seq` of messages, by the id of their run, that the new run sends though they are
        unknown there: proved absent they become canceled (superseded), and a resend leaves them alone. `routes` are
        the run's, where it has several. Raises ValueError when its id is taken, or its rows do not add up.
        """
        ...

    def run(self, run_id: str) -> Run:
        """The run of that id. Raises UnknownRun."""
        ...

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        ...

    def finish_run(self, run_id: str) -> bool:
        """Mark the run finished if no message is pending or an intent; return whether it is finished."""
        ...

    def close_run(self, run_id: str, *, by: str, reason: CancelReason = CancelReason.CLOSED) -> int:
        """Close the run for good, in one commit; return how many pending messages became canceled, for that reason.

        `by` says who or what closed it. Messages that were never claimed become canceled too. Unknown ones stay
        unknown. An intent is settled by whoever holds it: from now on whatever would make a message of the run pending
        makes it canceled (a Deferred, a release, a proof of absence). A delivery report with our ref settles a canceled
        message as accepted. Closing a closed run changes nothing.

        Here and wherever else pending messages are canceled, one that a person had sent again becomes unknown instead:
        it may have been accepted the first time, and only a proof of absence says that it was not.
        """
        ...

    def pause_run(self, run_id: str, *, by: str) -> bool:
        """Let nothing more of the run be claimed until `resume_run`; return whether that is new.

        `by` says who paused it. Claims that were made before are settled as always. A closed run is not paused.
        """
        ...

    def resume_run(self, run_id: str) -> bool:
        """Lift the pause; return whether the run was paused."""
        ...

    def note_request_format(self, run_id: str, request_format: RequestFormat) -> int:
        """Keep how requests of the run are written, once; return the number by which claims name it."""
        ...

    def request_formats(self, run_id: str) -> dict[int, RequestFormat]:
        """The formats of the run's requests by number."""
        ...

    def repeatable(
        self,
        run_id: str,
        state: SubmissionState,
        *,
        since_ms: int,
        request_format: int | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """The messages in that state, claimed with a format (that one) since then, as REPEATABLE_SCHEMA, last first.

        Those that a retry has taken over are not among them.
        """
        ...

    def claim(
        self,
        run_id: str,
        *,
        limit: int,
        lease_ms: int,
        below_seq: int | None = None,
        request_format: int | None = None,
        routed: RouteClaims | None = None,
    ) -> list[Claim]:
        """Claim up to `limit` messages durably: deferred ones that are due first, then the next in order.

        `below_seq` bounds the messages touched (`--limit N` is the first N of the plan). Nothing of a closed or paused
        run can be claimed. `routed` says for which route of a run with several, and which messages it may take; one
        that changes its route after an attempt leaves a row of `moves` in the same commit.
        """
        ...

    def frontier(self, run_id: str) -> int:
        """The first `seq` from which on no message was ever claimed, prefetched, held or canceled."""
        ...

    def hold(self, run_id: str, *, from_seq: int, below_seq: int, until_ms: int) -> int:
        """Let pending messages in the range be claimed from `until_ms` on; return the frontier afterwards.

        `until_ms` is by the ledger's clock, and replaces what an earlier call said. A Deferred that is due later stays
        due later. Where the frontier is in the range it moves to `below_seq`, so that messages behind the range can be
        claimed.
        """
        ...

    def lift(self, run_id: str, *, from_seq: int, below_seq: int) -> int:
        """Let what is held in the range be claimed now; return how many messages that changed.

        A Deferred keeps the time at which it is due.
        """
        ...

    def expire(self, run_id: str, *, from_seq: int, below_seq: int, reason: CancelReason) -> int:
        """Cancel what is pending in the range for that reason, and return the frontier afterwards.

        Messages that were never claimed become canceled too where the frontier is in the range. An intent is left
        alone: it may have left in time. If it returns to pending, the next call finds it.
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
        routed: RouteClaims | None = None,
    ) -> list[int]:
        """The `seq` of up to `limit` messages that may be claimed now, in the order of `claim`; none is claimed.

        Those in `exclude` are left out: the caller has them already. From now on they can be claimed in any order, by
        whoever comes first; processes that ask for different partitions get different messages. A closed or paused run
        has none. `routed` is as for `claim`.
        """
        ...

    def claim_prefetched(
        self,
        run_id: str,
        seqs: Collection[int],
        *,
        lease_ms: int,
        request_format: int | None = None,
        routed: RouteClaims | None = None,
    ) -> list[Claim]:
        """Claim those of `seqs` that were prefetched and may be claimed now, durably, and as `claim` would."""
        ...

    def last_changed(self, run_id: str, *, limit: int) -> list[tuple[int, int]]:
        """`(seq, at_ms)` of up to `limit` messages that may have left, the last changed row first.

        A request leaves after its intent and before its outcome is written, so none of them left after its `at_ms`.
        A released message did not leave.
        """
        ...

    def pending_from(self, run_id: str) -> tuple[int, list[int]]:
        """The `seq` from which on nothing was ever claimed, and those before it that are pending."""
        ...

    def release(self, run_id: str, claims: Iterable[Claim]) -> int:
        """Put intents back to pending whose request provably never started; return how many. No attempt is counted.

        Those of a closed run become canceled, as `close_run` says.
        """
        ...

    def use_senders(self, run_id: str, choices: Iterable[tuple[Claim, str]]) -> int:
        """Note the number that each claim uses instead of the planned one; return how many changed a row.

        Call it before the request leaves. Guarded as `record` is. The next claim of the message begins with the planned
        number again.
        """
        ...

    def record(self, run_id: str, settlements: Sequence[Settlement]) -> int:
        """Write outcomes, guarded by state `intent`, attempt and fence; return how many changed a row.

        An Accepted or Rejected settles an unknown message, too, if attempt and fence still fit: the answer to the
        request that is in doubt proves what became of it, however late it comes. Canceled counts no attempt. A Deferred
        of a closed run becomes canceled, as `close_run` says. A settlement that moves its message makes an intent
        pending at the other route, and leaves a row of `moves` in the same commit; it rejects the message where the run
        is closed, where the intent is unknown by now, and where a person had the message sent again.
        """
        ...

    def orphans_to_unknown(self, run_id: str, *, overdue_ms: int | None = None) -> int:
        """Make intents unknown that a dead process left; return how many. Call it only while holding the run's lock.

        With `overdue_ms`, only those whose deadline was that long ago, by the ledger's clock: others may still send
        theirs. So it is without it, too, where several machines send the run.
        """
        ...

    def reconcile(self, run_id: str, findings: Sequence[LogFinding]) -> int:
        """Settle unknown messages, guarded by state `unknown`; return how many changed.

        One that is proved absent becomes pending, or canceled where the run is closed.
        """
        ...

    def resend_unknown(self, run_id: str) -> int:
        """Put unknown messages back to pending because a person says so; return how many. Each counts it in `resent`.

        A finished run is no longer finished. In a closed run they stay unknown. Call it only while holding the run's
        lock.
        """
        ...

    def check(self, run_id: str) -> None:
        """Raise StateError when the run's rows contradict one another: some were lost, doubled or changed.

        Where the totals kept of it differ from its rows, they are counted anew, and a warning is logged.
        """
        ...

    def totals(self, run_id: str) -> Totals:
        """What is kept of the run's totals. Takes the same time for a million messages as for ten."""
        ...

    def pace(self, run_id: str, *, since_s: int = 0, step_s: int = 1) -> list[PaceBin]:
        """What happened to the run from `since_s` (UTC) on, in bins of `step_s` seconds; empty ones are left out."""
        ...

    def without_segments(self, run_id: str) -> pl.Series:
        """The `seq` (UInt32) of accepted messages of which the provider has not said how many segments they have."""
        ...

    def find_drift(self, run_id: str) -> dict[TallyKey, tuple[int, int]]:
        """The messages kept and counted of each tally that is not as the run's rows say. Reads all of them."""
        ...

    def record_reports(self, reports: Sequence[ReceivedReport]) -> ReportCounts:
        """Write delivery reports in one commit, in this order.

        A status moves forward by rank only. A report with our ref settles an unknown, pending or canceled message
        as accepted. A report that comes before its message's outcome is kept and applied with it; one that names no
        message is kept too.
        """
        ...

    def match_reports(self) -> int:
        """Apply kept reports without a ref to the messages of their ids; return how many changed one."""
        ...

    def delivering(self, run_id: str) -> int:
        """The number of accepted messages without a final status."""
        ...

    def kept_reports(self) -> int:
        """The number of reports that wait for their message."""
        ...

    def forget_reports(self, before_ms: int) -> int:
        """Drop kept reports that came before then, but for those about an intent; return how many."""
        ...

    def counts(self, run_id: str) -> Counts:
        """The run's messages by submission state."""
        ...

    def next_due_ms(
        self, run_id: str, *, below_seq: int | None = None, routed: RouteClaims | None = None
    ) -> int | None:
        """When the earliest deferred message that may be claimed so is due (ms UTC); None: none, or a paused run."""
        ...

    def journal(
        self,
        run_id: str,
        *,
        states: Collection[SubmissionState] | None = None,
        reasons: Collection[Reason | CancelReason] | None = None,
        seqs: Collection[int] | None = None,
        columns: Collection[str] | None = None,
    ) -> pl.DataFrame:
        """The run's rows in `seq` order: `columns` of JOURNAL_SCHEMA, or all; rows of some states, reasons or `seq`."""
        ...

    def reached(self, run_id: str, *, seqs: Collection[int] | None = None) -> pl.Series:
        """The `seq` (UInt32, ascending) of the messages that people have got or may have got, all or of `seqs`.

        They are accepted, unknown, an intent (a request that may have left), or were sent again by a person.
        """
        ...

    def sent(self, run_id: str, *, since_ms: int, seqs: Collection[int] | None = None) -> pl.DataFrame:
        """The messages that people have got or may have got since then, all or of `seqs`, as SENT_SCHEMA."""
        ...

    def refusals(self, run_id: str, *, from_seq: int, below_seq: int) -> list[Refusals]:
        """What was rejected, failed or not delivered among the messages of that range."""
        ...

    def outcomes(self, run_id: str, *, from_seq: int, below_seq: int) -> list[OutcomeCount]:
        """What became of the messages of that range that are accepted, rejected or unknown."""
        ...

    def last_receipt(self, run_id: str, *, from_seq: int = 0, below_seq: int | None = None) -> int | None:
        """The highest `seq` in the range of a message that was delivered, or was not; None before the first receipt."""
        ...

    def note_canary(self, run_id: str, canary: Canary) -> None:
        """Keep what the run's first messages have decided. Call it only while holding the run's lock."""
        ...

    def typed_numbers(self, run_id: str) -> pl.DataFrame:
        """The messages to numbers that the provider says are no mobiles, as TYPED_SCHEMA."""
        ...

    def recent_ids(self, *, limit: int) -> list[str]:
        """Up to `limit` of the provider's ids that were recorded last, by run and `seq`, in any order."""
        ...

    def doubts(self) -> pl.DataFrame:
        """Every message of every run that is unknown or an intent, as DOUBTS_SCHEMA. Reads all rows."""
        ...

    def holders_of(self, ids: Collection[str]) -> list[IdHolder]:
        """The messages of all runs that have one of the provider's `ids`. Reads all rows."""
        ...

    def cancel(self, run_id: str, seqs: Collection[int], reason: CancelReason) -> int:
        """Make pending ones of `seqs` canceled; return how many. Call it only while holding the run's lock."""
        ...

    def erase_sentences(self, run_id: str, *, seqs: Collection[int] | None = None) -> int:
        """Drop what providers said about these messages of the run and their numbers, or about all; return how many.

        Reasons and codes stay. A provider's sentence may repeat a number or a text.
        """
        ...

    def erase_mentions(self, digits: str) -> int:
        """Drop every provider's sentence with these digits in it, in every run; return how many."""
        ...

    def compact(self) -> None:
        """Rid the ledger's files of whatever was erased or deleted. Raises StateError while another process reads."""
        ...

    def close(self) -> None: ...
