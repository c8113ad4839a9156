"""What is kept for several senders of a run, and who is erased from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest

from sender.core.errors import RunLocked
from sender.core.outcomes import Accepted, Deferred, Reason
from sender.state.database_url import DatabaseUrl, read_database_url
from sender.state.forget import forget
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.number_facts import ANSWER, NumberFacts
from sender.state.postgres.state import DatabaseState
from sender.state.replies import ReplyRow
from sender.state.suppression import SuppressionRow
from tests.state.conftest import DATABASES
from tests.state.postgres_server import TABLES
from tests.state.run_history import ADA, GRACE, plan_for

NOON_MS = 1_767_268_800_000
HELD = {ADA: "in do-not-text.csv, in the column phone", GRACE: "in do-not-text.csv, in the column phone"}


@pytest.fixture
def url(new_database: Callable[[str], str]) -> DatabaseUrl:
    return read_database_url(new_database(DATABASES[0]))


def stored(url: DatabaseUrl) -> str:
    """Every row of every table, as text."""
    with psycopg.connect(url.text, autocommit=True) as db:
        return "\n".join(
            str(row) for table in TABLES for row in db.execute(f"SELECT {table}::text FROM {table}".encode()).fetchall()
        )


def begin(state: DatabaseState) -> Run:
    """A shared run whose files hold two people back, left by who began it before it was over."""
    plan = plan_for(ADA, GRACE)
    run = Run("run-1", "spring", RunKind.LIVE, "twilio", plan.hash, None, 2, 2, 0, NOON_MS)
    state.plans.save(run, plan)
    state.ledger.create_run(run)
    assert state.sharing is not None
    with state.locks.hold_campaign(run.campaign, run.kind):
        state.sharing.share(run, json.dumps({"shifts": 2, "held": HELD}))
        state.sharing.end(run, is_over=False)
    return run


def test_who_is_erased_is_in_no_order_and_in_no_table(url: DatabaseUrl) -> None:
    with DatabaseState(url) as state:
        run = begin(state)
        with closing(state.open_numbers()) as facts, closing(state.open_replies(create=True)) as replies:
            for number in (ADA, GRACE):
                state.suppressions.add([SuppressionRow(number, "all", "opted_out", "person", "", NOON_MS, "by phone")])
                facts.put([NumberFacts(number, False, ANSWER, "twilio", NOON_MS)])
                text = f"I am {number}"
                reply = ReplyRow("twilio", number[-4:], number, None, text, (), None, None, NOON_MS, simulated=False)
                replies.add(reply, keep=True, forward=True)
        forget(state, ADA)
        order = state.sharing.order(run.run_id)
        assert order is not None
        assert json.loads(order.text) == {"shifts": 2, "held": {GRACE: HELD[GRACE]}}
    rows = stored(url)
    assert ADA.removeprefix("+") not in rows
    assert GRACE in rows


def test_an_order_that_others_still_follow_is_left_alone(url: DatabaseUrl) -> None:
    """Whoever is held back stays held while the run is being sent: nothing is changed."""
    with DatabaseState(url) as state, DatabaseState(url) as other:
        run = begin(state)
        assert state.sharing is not None
        with other.locks.hold_campaign(run.campaign, run.kind), pytest.raises(RunLocked):
            forget(state, ADA)
        order = state.sharing.order(run.run_id)
        assert order is not None
        assert json.loads(order.text)["held"] == HELD


def test_nobody_is_erased_from_under_a_sender_whose_steward_is_gone(url: DatabaseUrl) -> None:
    """Its answer may make the message pending again, and it has the plan as it was: it would send it once more."""
    with DatabaseState(url) as state, DatabaseState(url) as other:
        run = begin(state)
        assert state.sharing is not None
        assert other.sharing is not None
        with state.locks.hold_campaign(run.campaign, run.kind):
            state.locks.note_longest_request(run.campaign, run.kind, longest_s=5)
            state.sharing.share(run, json.dumps({"shifts": 2, "held": {GRACE: HELD[GRACE]}}))
        with other.sharing.join(run), closing(other.sharing.open(run)) as shift:
            shift.beat(sent=0, in_flight=0)
            refused = "spring is being sent by other machines"
            with pytest.raises(RunLocked, match=refused):
                forget(state, ADA)
            [claim] = other.ledger.claim(run.run_id, limit=1, lease_ms=30_000)
            shift.close()
            with pytest.raises(RunLocked, match=refused) as caught:
                forget(state, ADA)
            assert f"sender pause {run.run_id}" in str(caught.value.fix)
            assert sorted(state.plan(run).recipients()) == [ADA, GRACE], "nothing was changed"
            late = Deferred(Reason.RATE_LIMITED, "20429", "too many requests")
            assert other.ledger.record(run.run_id, [Settlement(claim, late)]) == 1
            [again] = other.ledger.claim(run.run_id, limit=1, lease_ms=30_000)
            assert other.ledger.record(run.run_id, [Settlement(again, Accepted("SM1"))]) == 1
            assert forget(state, GRACE).runs[0].canceled == 1
            assert forget(state, ADA).runs[0].canceled == 0
            assert other.ledger.claim(run.run_id, limit=9, lease_ms=30_000) == []
    rows = stored(url)
    assert not any(number.removeprefix("+") in rows for number in (ADA, GRACE))


def test_who_is_claimed_while_being_erased_is_not_erased_yet(url: DatabaseUrl) -> None:
    """By a sender that was not seen: the message is canceled, or its sender has it, and never both."""
    with DatabaseState(url) as state, DatabaseState(url) as other:
        run = begin(state)
        assert state.sharing is not None
        assert other.sharing is not None
        with state.locks.hold_campaign(run.campaign, run.kind):
            state.sharing.share(run, "{}")
        with other.sharing.join(run):
            note_erased = state.plans.note_erased

            def claim_then_note(*arguments: Any) -> None:
                other.ledger.claim(run.run_id, limit=1, lease_ms=30_000)
                note_erased(*arguments)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(state.plans, "note_erased", claim_then_note)
                with pytest.raises(RunLocked, match="spring is being sent by other machines"):
                    forget(state, ADA)
            assert sorted(state.plan(run).recipients()) == [ADA, GRACE]
