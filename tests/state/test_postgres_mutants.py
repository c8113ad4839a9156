"""Rules of a state in PostgreSQL, each taken away: the test that holds it notices."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from sender.core.errors import StateError
from sender.state.database_url import DatabaseUrl, read_database_url
from sender.state.ledger import Settlement
from sender.state.postgres import database, settling, shared_run
from sender.state.postgres.database import Database
from sender.state.postgres.ledger import PostgresLedger
from sender.state.postgres.locks import AdvisoryLocks
from sender.state.postgres.shared_run import SharedRunRows
from sender.state.sharing import SlotRequest
from tests.state.conftest import DATABASES
from tests.state.ledger.steps import ACCEPTED, LEASE_MS, RUN


@pytest.fixture
def url(new_database: Callable[[str], str]) -> DatabaseUrl:
    return read_database_url(new_database(DATABASES[0]))


def check_lost_answer(url: DatabaseUrl, patch: pytest.MonkeyPatch) -> None:
    """All that is claimed is held by somebody, also where the answer to a claim is lost."""
    with contextlib.closing(PostgresLedger.open(url)) as ledger:
        ledger.create_run(RUN)
        attempt, lost = ledger._db._attempt, []

        def lose_the_answer(work: Any) -> Any:
            result = attempt(work)
            if not lost:
                lost.append(True)
                ledger._db._db.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            return result

        patch.setattr(ledger._db, "_attempt", lose_the_answer)
        claims = ledger.claim(RUN.run_id, limit=3, lease_ms=LEASE_MS)
        ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in claims])
        assert ledger.counts(RUN.run_id).intent == 0


def check_notice(url: DatabaseUrl, patch: pytest.MonkeyPatch) -> None:
    """A commit that no standby has confirmed is not taken for one."""
    statement = "DO $$ BEGIN RAISE WARNING 'x' USING ERRCODE = '01000'; END $$"
    with contextlib.closing(Database(url)) as db:
        try:
            db.transact(lambda db: db.execute(statement))
        except StateError:
            return
    raise AssertionError


def check_rate(url: DatabaseUrl, patch: pytest.MonkeyPatch) -> None:
    """No slot is given to two senders."""
    slots: list[float] = []

    def take() -> None:
        with contextlib.closing(SharedRunRows(url, RUN.run_id)) as shared:
            for _ in range(40):
                slots.extend(shared.take_slots([SlotRequest(1.0)] * 2, queue_slack_s=0.0, margin=1.0)[1])

    with contextlib.closing(SharedRunRows(url, RUN.run_id)) as shared:
        shared.begin_rate(1_000.0, wait_s=0.0)
    senders = [threading.Thread(target=take) for _ in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    slots.sort()
    assert len(slots) == 240
    assert min(later - earlier for earlier, later in pairwise(slots)) > 0.0009


def check_grace(url: DatabaseUrl, patch: pytest.MonkeyPatch) -> None:
    """What another machine may still send is not in doubt, whoever begins here."""
    locks = AdvisoryLocks(url)
    with contextlib.closing(PostgresLedger.open(url, token_of=locks.token)) as ledger:
        ledger.create_run(RUN)
        with locks.hold_campaign(RUN.campaign, RUN.kind):
            locks.note_longest_request(RUN.campaign, RUN.kind, longest_s=1.0)
            locks.share(RUN.campaign, RUN.kind)
            ledger.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)
            assert ledger.orphans_to_unknown(RUN.run_id) == 0
            assert ledger.counts(RUN.run_id).intent == 2


def expire_at_once(url: DatabaseUrl, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "LATE_MS", -1_000_000)


def claim_again(url: DatabaseUrl, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PostgresLedger, "_look_up", lambda *_: [])


def ignore_notices(url: DatabaseUrl, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(database, "_NOT_REPLICATED", "none")


def do_not_lock(url: DatabaseUrl, patch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(url.text, autocommit=True) as db:
        row = db.execute("SELECT pg_get_functiondef('take_slots'::regproc)").fetchone()
        assert row is not None
        unlocked = (
            row[0].replace("FOR UPDATE", "").replace("now_s := extract", "PERFORM pg_sleep(0.002); now_s := extract", 1)
        )
        db.execute(unlocked.replace("take_slots(", "take_slots_unlocked(", 1).encode())
    patch.setattr(shared_run, "_TAKE", shared_run._TAKE.replace("take_slots(", "take_slots_unlocked("))


CHECKS = {
    "expiry without grace": (check_grace, expire_at_once),
    "claim made again": (check_lost_answer, claim_again),
    "notice ignored": (check_notice, ignore_notices),
    "rate without a lock": (check_rate, do_not_lock),
}


@pytest.mark.parametrize("rule", CHECKS)
def test_the_rule_holds(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    CHECKS[rule][0](url, monkeypatch)


@pytest.mark.parametrize("rule", CHECKS)
def test_its_absence_is_noticed(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    check, mutate = CHECKS[rule]
    mutate(url, monkeypatch)
    try:
        with pytest.raises(AssertionError):
            check(url, monkeypatch)
    finally:
        with psycopg.connect(url.text, autocommit=True) as db:
            db.execute("DROP FUNCTION IF EXISTS take_slots_unlocked")
