"""Runs that a program closes, pauses and lets go on: what it is told of each."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sender.core.errors import RunComplete
from sender.core.outcomes import Canceled, CancelReason
from sender.delivery.scheduled import TakenBack
from sender.sending.run_control import ClosedRun, close, lift_pause, name_person, pause
from sender.state.ledger import Counts, Settlement
from tests.state.run_history import ACCEPTED, ADA, GRACE, INTENT, JEAN, MARY, PENDING, RunHistory

EMPTY = Counts(pending=0, intent=0, accepted=0, rejected=0, canceled=0, unknown=0)


class TestClosing:
    def test_what_is_pending_is_canceled_once(self, history: RunHistory) -> None:
        run = history.add({ADA: ACCEPTED, GRACE: PENDING, JEAN: PENDING})
        first = close(run.run_id, state_dir=history.folder, by="anna", env={})
        closed = history.state.ledger.run(run.run_id)
        counts = replace(EMPTY, accepted=1, canceled=2)
        assert (closed.closed_by, closed.closed_at_ms) == ("anna", history.now_ms)
        assert first == ClosedRun(closed, True, 2, counts, retryable=2, scheduled=TakenBack())
        again = close(run.run_id, state_dir=history.folder, by="bob", env={})
        assert again == replace(first, is_new=False, canceled=0)

    def test_it_says_who_closes_it_where_nobody_is_named(self, history: RunHistory) -> None:
        run = history.add({ADA: PENDING})
        assert close(run.run_id, state_dir=history.folder).run.closed_by == name_person()

    def test_people_who_want_nothing_more_are_not_counted_for_a_retry(self, history: RunHistory) -> None:
        run = history.add(dict.fromkeys((ADA, GRACE, JEAN, MARY), PENDING))
        claims = history.state.ledger.claim(run.run_id, limit=3, lease_ms=1000)
        reasons = (CancelReason.OPTED_OUT, CancelReason.UNDER_REVIEW, CancelReason.FREQUENCY_CAP)
        outcomes = [Settlement(claim, Canceled(reason, "no")) for claim, reason in zip(claims, reasons, strict=True)]
        history.state.ledger.record(run.run_id, outcomes)
        closed = close(run.run_id, state_dir=history.folder, env={})
        assert (closed.canceled, closed.counts.canceled, closed.retryable) == (1, 4, 2)

    def test_what_a_dead_process_had_in_flight_becomes_unknown(self, history: RunHistory) -> None:
        run = history.add({ADA: INTENT, GRACE: PENDING})
        closed = close(run.run_id, state_dir=history.folder, env={})
        assert closed.counts == replace(EMPTY, unknown=1, canceled=1)
        assert closed.run.finished_at_ms == history.now_ms

    def test_what_a_live_process_has_in_flight_is_left_to_it(self, history: RunHistory) -> None:
        run = history.add({ADA: INTENT, GRACE: PENDING})
        with history.state.locks.hold_campaign(run.campaign, run.kind):
            closed = close(run.run_id, state_dir=history.folder, env={})
        assert closed.counts == replace(EMPTY, intent=1, canceled=1)

    def test_it_can_be_called_where_an_event_loop_runs(self, history: RunHistory) -> None:
        run = history.add({ADA: PENDING})

        async def in_a_loop() -> ClosedRun:
            return close(run.run_id, state_dir=history.folder, env={})

        assert asyncio.run(in_a_loop()).scheduled == TakenBack()


class TestPausing:
    def test_a_paused_run_is_let_go_on_once(self, history: RunHistory) -> None:
        run = history.add({ADA: ACCEPTED, GRACE: PENDING})
        paused = pause(run.run_id, state_dir=history.folder, by="anna")
        assert (paused.is_new, paused.under_way) == (True, 0)
        assert (paused.run.paused_by, paused.run.paused_at_ms) == ("anna", history.now_ms)
        assert paused.counts == replace(EMPTY, accepted=1, pending=1)
        assert not pause(run.run_id, state_dir=history.folder).is_new
        assert lift_pause(run.run_id, state_dir=history.folder)
        assert history.state.ledger.run(run.run_id).paused_at_ms is None
        assert not lift_pause(run.run_id, state_dir=history.folder)

    def test_the_answers_that_a_live_process_awaits_are_counted(self, history: RunHistory) -> None:
        run = history.add({ADA: INTENT, GRACE: INTENT, JEAN: PENDING})
        with history.state.locks.hold_campaign(run.campaign, run.kind):
            assert pause(run.run_id, state_dir=history.folder, wait_s=0).under_way == 2

    def test_what_no_process_awaits_is_not_waited_for(self, history: RunHistory) -> None:
        run = history.add({ADA: INTENT, GRACE: PENDING})
        assert pause(run.run_id, state_dir=history.folder).under_way == 0

    @pytest.mark.parametrize("is_closed", [False, True], ids=["sent", "closed"])
    def test_a_run_that_is_over_cannot_be_paused(self, history: RunHistory, is_closed: bool) -> None:
        run = history.add({ADA: PENDING if is_closed else ACCEPTED})
        if is_closed:
            close(run.run_id, state_dir=history.folder, env={})
        with pytest.raises(RunComplete, match="was closed" if is_closed else "nothing left to send"):
            pause(run.run_id, state_dir=history.folder)
        assert history.state.ledger.run(run.run_id).paused_at_ms is None
