"""Databases that older versions have made become this version's, with all that is in them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from sender.core.errors import StateError
from sender.core.outcomes import SubmissionState
from sender.state.database_url import DatabaseUrl, read_database_url
from sender.state.open import make_database_state, open_state
from sender.state.postgres.schema import SCHEMA_VERSION, STEPS
from tests.state.conftest import DATABASES
from tests.state.postgres_server import Server

# What every version has had: a run with an accepted and a pending message, and somebody who has opted out.
CONTENT = """
UPDATE state SET version = %(version)s;
INSERT INTO run (run_id, campaign, kind, provider, plan_hash, rows, messages, skipped, created_at, simulated)
VALUES ('run-1', 'spring', 'live', 'twilio', 'hash', 2, 2, 0, 1767268800000, false);
INSERT INTO run_cursor (run, next_seq, commits) VALUES (1, 2, 1);
INSERT INTO message (run, seq, state, attempts, fence, intent_at, message_id, status, segments, updated_at)
VALUES (1, 0, 'accepted', 1, 1, 1767268800000, 'SM1', 'queued', 1, 1767268800000);
INSERT INTO message (run, seq, state, attempts, fence, intent_at, not_before, updated_at)
VALUES (1, 1, 'pending', 0, 1, 1767268800000, 0, 1767268800000);
INSERT INTO entry (number, scope, reason, source, via, at, change)
VALUES ('+12025550101', 'all', 'opted_out', 'person', '', 1767268800000, 1);
"""
# Since version 4 totals are kept.
COUNTED = """
INSERT INTO tally VALUES (1, 'accepted', 'queued', '', '', '', '', 1, 1, 1, 0);
INSERT INTO pace VALUES (1, 1767268800, 1, 0, 0);
"""


@pytest.fixture(params=range(1, SCHEMA_VERSION), ids=lambda version: f"schema {version}")
def old(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> DatabaseUrl:
    url = servers(DATABASES[request.param % len(DATABASES)]).new_schema()
    with psycopg.connect(url) as db:
        for step in STEPS[: request.param]:
            db.execute(step.encode())
        db.execute(CONTENT.replace("%(version)s", str(request.param)).encode())
        if request.param >= 4:
            db.execute(COUNTED)
    return read_database_url(url)


def test_it_is_upgraded_by_init_alone(old: DatabaseUrl) -> None:
    with pytest.raises(
        StateError, match=f"older campaign-sender: schema \\d+, and this one needs {SCHEMA_VERSION}"
    ) as told:
        open_state(old.text)
    assert f"`sender cluster init {old}` upgrades it" in str(told.value.fix)
    for _ in range(2):
        assert make_database_state(old.text)[1] is False
    with open_state(old.text) as state:
        counts = state.ledger.counts("run-1")
        assert (counts.accepted, counts.pending) == (1, 1)
        assert state.ledger.find_drift("run-1") == {}
        assert [tally.messages for tally in state.ledger.totals("run-1").tallies] == [1]
        assert [row[0] for row in state.suppressions.active()] == ["+12025550101"]
        assert state.ledger.journal("run-1", states=[SubmissionState.PENDING])["seq"].to_list() == [1]
        with closing(state.open_replies(create=True)) as replies, closing(state.open_numbers()) as facts:
            assert (replies.kept(), [*facts.everything()], [*state.approvals.read()]) == ([], [], [])
