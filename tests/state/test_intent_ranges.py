"""One intent for a range of messages, in a database: what it covers is an intent until each has its outcome."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from sender.core.errors import StateError
from sender.core.outcomes import CancelReason
from sender.state.database_url import DatabaseUrl, read_database_url
from sender.state.ledger import Claim, Settlement
from sender.state.postgres.install import install
from sender.state.postgres.ledger import PostgresLedger
from sender.state.postgres.schema import SCHEMA_VERSION, STEPS
from tests.state.conftest import DATABASES
from tests.state.ledger.steps import ACCEPTED, CANCELED, DEFERRED, LEASE_MS, REJECTED, RUN, UNKNOWN
from tests.state.postgres_server import Server


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> DatabaseUrl:
    return read_database_url(new_database(request.param))


@pytest.fixture
def ledger(url: DatabaseUrl) -> Iterator[PostgresLedger]:
    with contextlib.closing(PostgresLedger.open(url)) as ledger:
        ledger.create_run(RUN)
        yield ledger
        assert not ledger.find_drift(RUN.run_id)


def ask(url: DatabaseUrl, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url.text, autocommit=True) as db:
        return db.execute(statement.encode()).fetchall()


def rows(url: DatabaseUrl) -> int:
    return int(ask(url, "SELECT count(*) FROM message")[0][0])


def ranges(url: DatabaseUrl) -> list[tuple[Any, ...]]:
    return ask(url, "SELECT start, stop, without_row FROM intent_range ORDER BY start")


def _entries_read(url: DatabaseUrl) -> int:
    """How many entries of the ranges' index the processes have read that are gone: each reports it when it ends."""
    others = "SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database()"
    with psycopg.connect(url.text, autocommit=True) as db:
        while db.execute(f"{others} AND pid <> pg_backend_pid()".encode()).fetchone():
            time.sleep(0.01)
        row = db.execute(
            "SELECT idx_tup_read FROM pg_stat_user_indexes"
            " WHERE schemaname = current_schema() AND indexrelname = 'intent_range_pkey'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def states(ledger: PostgresLedger) -> list[str]:
    return ledger.journal(RUN.run_id)["state"].to_list()


def test_a_claim_is_one_row_and_its_outcomes_are_theirs(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    claims = ledger.claim(RUN.run_id, limit=4, lease_ms=LEASE_MS)
    assert (rows(url), ranges(url)) == (0, [(0, 4, 4)])
    assert states(ledger) == ["intent"] * 4
    assert ledger.counts(RUN.run_id).intent == 4
    ledger.record(RUN.run_id, [Settlement(claims[1], ACCEPTED), Settlement(claims[3], REJECTED)])
    assert (rows(url), ranges(url)) == (2, [(0, 4, 2)])
    assert states(ledger) == ["intent", "accepted", "intent", "rejected"]
    ledger.record(RUN.run_id, [Settlement(claims[0], UNKNOWN), Settlement(claims[2], CANCELED)])
    assert (rows(url), ranges(url)) == (4, [])
    assert states(ledger) == ["unknown", "accepted", "canceled", "rejected"]
    assert ledger.journal(RUN.run_id)["attempts"].to_list() == [1, 1, 0, 1]
    ledger.check(RUN.run_id)


def test_who_dies_leaves_in_doubt_what_has_no_outcome_and_no_more(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    with contextlib.closing(PostgresLedger.open(url)) as dead:
        lost = dead.claim(RUN.run_id, limit=4, lease_ms=LEASE_MS)
        dead.record(RUN.run_id, [Settlement(lost[2], ACCEPTED)])
        dead.release(RUN.run_id, [lost[3]])
    mine = ledger.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)
    assert [one.seq for one in mine] == [3], "what was released is due at once"
    assert ledger.orphans_to_unknown(RUN.run_id) == 3
    assert states(ledger) == ["unknown", "unknown", "accepted", "unknown"]
    assert ranges(url) == []
    assert ledger.record(RUN.run_id, [Settlement(lost[0], ACCEPTED)]) == 1, "its late answer is proof"
    assert ledger.record(RUN.run_id, [Settlement(lost[3], ACCEPTED)]) == 0, "it was given back, and claimed again"


def test_only_what_is_overdue_becomes_unknown(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    ledger.claim(RUN.run_id, limit=2, lease_ms=-5_000)
    ledger.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)
    assert ledger.orphans_to_unknown(RUN.run_id, overdue_ms=1_000) == 2
    assert states(ledger) == ["unknown", "unknown", "intent", "intent"]
    assert ranges(url) == [(2, 4, 2)]


def test_an_outcome_counts_once_however_often_it_is_written(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    claims = ledger.claim(RUN.run_id, limit=3, lease_ms=LEASE_MS)
    outcomes = [Settlement(one, ACCEPTED) for one in claims[:2]]
    assert ledger.record(RUN.run_id, outcomes) == 2
    assert ledger.record(RUN.run_id, outcomes) == 0
    assert ledger.record(RUN.run_id, [Settlement(one, REJECTED) for one in claims]) == 1
    assert states(ledger) == ["accepted", "accepted", "rejected"]


def test_old_and_new_claims_are_settled_together(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    first = ledger.claim(RUN.run_id, limit=3, lease_ms=LEASE_MS)
    ledger.record(RUN.run_id, [Settlement(one, DEFERRED, 0) for one in first])
    claims = ledger.claim(RUN.run_id, limit=5, lease_ms=LEASE_MS)
    assert [(one.seq, one.attempt, one.fence) for one in claims] == [(0, 2, 2), (1, 2, 2), (2, 2, 2), (3, 1, 1), (4, 1, 1)]  # fmt: skip
    assert ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in claims]) == 5
    assert ledger.counts(RUN.run_id).accepted == 5


def test_a_number_is_noted_and_a_closed_run_releases(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    claims = ledger.claim(RUN.run_id, limit=3, lease_ms=LEASE_MS)
    assert ledger.use_senders(RUN.run_id, [(claims[1], "+12025550177")]) == 1
    assert (rows(url), ranges(url)) == (1, [(0, 3, 2)])
    assert ledger.close_run(RUN.run_id, by="a person") == RUN.messages - 3
    assert not ledger.run(RUN.run_id).finished_at_ms, "three are under way"
    assert ledger.release(RUN.run_id, claims[:1]) == 1
    ledger.record(RUN.run_id, [Settlement(claims[1], ACCEPTED), Settlement(claims[2], DEFERRED)])
    assert states(ledger)[:3] == ["canceled", "accepted", "canceled"]
    assert ledger.journal(RUN.run_id)["sender"].to_list()[1] == "+12025550177"
    assert ledger.finish_run(RUN.run_id)


def test_a_lost_row_of_a_range_is_never_sent_again(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    """While the range is there, it is an intent again, which becomes unknown; after that it is missed."""
    claims = ledger.claim(RUN.run_id, limit=3, lease_ms=LEASE_MS)
    ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in claims[:2]])
    with psycopg.connect(url.text, autocommit=True) as db:
        db.execute("DELETE FROM message WHERE seq = 1")
        assert states(ledger) == ["accepted", "intent", "intent"]
        assert ledger.orphans_to_unknown(RUN.run_id) == 2
        assert not [one for one in ledger.claim(RUN.run_id, limit=9, lease_ms=LEASE_MS) if one.seq < 3]
        ledger.check(RUN.run_id)
        db.execute("DELETE FROM message WHERE seq = 1")
    with pytest.raises(StateError, match="has 9 rows of messages, and 10 were claimed"):
        ledger.check(RUN.run_id)
    with psycopg.connect(url.text, autocommit=True) as db:  # or the totals differ, too
        db.execute("UPDATE tally SET messages = messages - 1 WHERE state = 'unknown'")


def test_an_outcome_reads_one_range_however_many_are_gone(url: DatabaseUrl) -> None:
    """Gone ranges have entries in the index until a vacuum; after an ANALYZE that found few ranges all were read."""
    of_each, ranges = 10, 300
    read = []
    under_way = deque[Claim]()
    with contextlib.closing(PostgresLedger.open(url)) as ledger:
        ledger.create_run(replace(RUN, rows=of_each * ranges + 2, messages=of_each * ranges))
    for part in range(2):
        with contextlib.closing(PostgresLedger.open(url)) as ledger:
            for _ in range(ranges // 2):
                under_way += ledger.claim(RUN.run_id, limit=of_each, lease_ms=LEASE_MS)
                answered = [under_way.popleft() for _ in range(len(under_way) - 2 * of_each)]
                ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in answered])
        read.append(_entries_read(url))
        if part == 0:
            with psycopg.connect(url.text, autocommit=True) as db:
                db.execute("ANALYZE intent_range, message, run")
    assert read[1] - read[0] < 3 * (of_each * ranges / 2), "one for each message, and a few for each range"


def test_a_state_of_the_version_before_goes_on(url: DatabaseUrl, servers: Callable[[str], Server]) -> None:
    """What its processes had claimed has rows, which are settled as ever."""
    before = next(number for number, step in enumerate(STEPS) if "CREATE TABLE intent_range" in step)
    server = next(one for one in map(servers, DATABASES) if f":{one.port}/" in url.text)
    old = read_database_url(server.new_schema())
    with psycopg.connect(old.text, autocommit=True) as db:
        for step in STEPS[:before]:
            db.execute(step.encode())
        db.execute("UPDATE state SET version = %s", (before,))
        db.execute(
            "INSERT INTO run (run_id, campaign, kind, provider, plan_hash, rows, messages, skipped, created_at, simulated)"
            " VALUES ('run-1', 'welcome', 'live', 'twilio', '9f86d081', 12, 10, 2, 1, false)"
        )
        db.execute("INSERT INTO run_cursor (run, next_seq, commits) VALUES (1, 2, 1)")
        db.execute(
            "INSERT INTO message (run, seq, state, attempts, fence, intent_at, deadline, updated_at)"
            " SELECT 1, seq, 'intent', 1, 1, 5, 9, 5 FROM generate_series(0, 1) AS seq"
        )
        db.execute("INSERT INTO tally VALUES (1, 'intent', '', '', '', '', '', 2, 0, 0, NULL)")
    assert install(old).schema_before == before < SCHEMA_VERSION
    with contextlib.closing(PostgresLedger.open(old)) as ledger:
        claims = ledger.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)
        earlier = [one._replace(seq=one.seq - 2) for one in claims]
        assert ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in (earlier[0], *claims)]) == 3
        assert ledger.orphans_to_unknown(RUN.run_id) == 1
        assert states(ledger) == ["accepted", "unknown", "accepted", "accepted"]
        assert not ledger.find_drift(RUN.run_id)
        assert ledger.cancel(RUN.run_id, range(4, 6), CancelReason.CLOSED) == 2
        ledger.check(RUN.run_id)
