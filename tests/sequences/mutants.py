"""One rule taken away each: the sequences must notice every one of them. Applied in the process of the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from sender.cli import state_place
from sender.core.outcomes import SubmissionState
from sender.delivery import reconcile
from sender.planning import earlier_runs, retry
from sender.sending import choose_run, open_run, open_ways
from sender.sending.live_caps import LiveCaps
from sender.state import contacts
from sender.state.contacts import Edition
from sender.state.find_state import StatePlace
from sender.state.ledger import RunKind
from sender.state.sqlite import tallies
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.sqlite.suppression import SuppressionFile
from sender.suppression.live_check import LiveSuppression


def forget_whom_earlier_runs_reached() -> None:
    choose_run.refuse_repeated = lambda *args: None  # type: ignore[assignment]


def count_only_what_was_accepted_as_reached() -> None:
    def reached(self: SqliteLedger, run_id: str, *, seqs: Any = None) -> Any:
        accepted = self.journal(run_id, states=(SubmissionState.ACCEPTED,))["seq"]
        return accepted if seqs is None else accepted.filter(accepted.is_in(list(seqs)))

    SqliteLedger.reached = reached  # type: ignore[method-assign]


def ask_the_list_only_when_planning() -> None:
    LiveSuppression.refuses = lambda *args: None  # type: ignore[method-assign, assignment]


def read_suppression_files_only_when_planning() -> None:
    watch_suppressions = open_ways.watch_suppressions
    open_ways.watch_suppressions = lambda of, plan, suppressions, *files: watch_suppressions(  # type: ignore[assignment]
        of, plan, suppressions
    )


def send_a_rehearsal_for_real() -> None:
    RunKind.of = lambda provider, rehearse: RunKind.LIVE  # type: ignore[method-assign, assignment]
    open_run.SendOptions.rehearse = property(lambda self: False, lambda self, value: None)  # type: ignore[assignment]


def retry_everybody() -> None:
    retry._is_chosen = lambda *args, **options: pl.lit(True)  # type: ignore[assignment]


def ignore_the_edition() -> None:
    Edition.covers = lambda *args: True  # type: ignore[method-assign]


def hear_every_start_as_new() -> None:
    SuppressionFile.first_heard = lambda self, number, message_id, at: at  # type: ignore[method-assign]


def leave_closed_runs_open() -> None:
    SqliteLedger.close_run = lambda *args, **options: 0  # type: ignore[method-assign]


def let_replaced_runs_go_on() -> None:
    create_run = SqliteLedger.create_run
    SqliteLedger.create_run = lambda self, run, **options: create_run(self, run)  # type: ignore[method-assign]
    choose_run.count_overtaken = lambda *args: 0  # type: ignore[assignment]


def look_for_the_state_where_one_stands() -> None:
    state_place.find_state = lambda source=None: StatePlace(Path(".sender"), Path(".sender").is_dir(), ())


def resend_what_a_retry_took_over() -> None:
    create_run = SqliteLedger.create_run

    def forgetful(self: SqliteLedger, run: Any, **options: Any) -> None:
        create_run(self, run, **{name: value for name, value in options.items() if name != "takes_over"})

    SqliteLedger.create_run = forgetful  # type: ignore[method-assign]
    choose_run.count_overtaken = lambda *args: 0  # type: ignore[assignment]


def take_any_log_entry_that_fits() -> None:
    reconcile._other_doubts = lambda *args: []  # type: ignore[assignment]


def send_in_spite_of_a_pause() -> None:
    SqliteLedger.pause_run = lambda *args, **options: True  # type: ignore[method-assign]


def take_no_notice_of_caps() -> None:
    earlier_runs._PlannedCaps.skip = lambda _self, frame, *_: frame  # type: ignore[method-assign]
    LiveCaps.refusal = lambda *args: None  # type: ignore[method-assign]


def forget_that_erased_people_were_reached() -> None:
    def find_in(self: contacts.AskedPeople, state: Any, run: Any) -> pl.DataFrame:
        return self._find_in_plan(state, run)

    contacts.AskedPeople.find_in = find_in  # type: ignore[method-assign]


def take_orphans_for_pending() -> None:
    def orphans_to_pending(self: SqliteLedger, run_id: str, *, overdue_ms: int | None = None) -> int:
        key, _ = self._run_key(run_id)
        self._db.execute(
            "UPDATE message SET state = 'pending', deadline = NULL, not_before = updated_at"
            " WHERE run = ? AND state = 'intent'",
            (key,),
        )
        tallies.recount(self._db, key)
        return 0

    SqliteLedger.orphans_to_unknown = orphans_to_pending  # type: ignore[method-assign]


MUTANTS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        forget_whom_earlier_runs_reached,
        count_only_what_was_accepted_as_reached,
        ask_the_list_only_when_planning,
        read_suppression_files_only_when_planning,
        send_a_rehearsal_for_real,
        retry_everybody,
        ignore_the_edition,
        hear_every_start_as_new,
        leave_closed_runs_open,
        let_replaced_runs_go_on,
        look_for_the_state_where_one_stands,
        resend_what_a_retry_took_over,
        take_any_log_entry_that_fits,
        send_in_spite_of_a_pause,
        take_no_notice_of_caps,
        forget_that_erased_people_were_reached,
        take_orphans_for_pending,
    )
}


def apply(name: str) -> None:
    """Take the rule away in this process."""
    MUTANTS[name]()
