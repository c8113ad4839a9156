"""A ledger file of an older version becomes one of this version, whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from sender.core.errors import StateError
from sender.core.outcomes import Accepted, Canceled, CancelReason
from sender.state.ledger import LogFinding, Run, RunKind, Settlement
from sender.state.sqlite import file
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.sqlite.schema import SCHEMA_VERSION, STEPS

DATA = Path(__file__).parent / "data"
WELCOME, OFFER = "20260101-120000-aaaaaaaa", "20260101-130000-bbbbbbbb"


def tables(path: Path) -> list[str]:
    db = apsw.Connection(str(path))
    found = [sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")]
    db.close()
    return found


def version(path: Path) -> int:
    db = apsw.Connection(str(path))
    found: int = db.pragma("user_version")
    db.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture(params=range(1, 2), ids=lambda one: f"version {one}")
def old(request: pytest.FixtureRequest, path: Path) -> Path:
    """A file that the program of that version wrote."""
    db = apsw.Connection(str(path))
    db.execute((DATA / f"version_{request.param}.sql").read_text(encoding="utf-8"))
    db.close()
    return path


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of a program of the future; what a test appends counts."""
    known = list(STEPS)
    monkeypatch.setattr(file, "STEPS", known)
    return known


def test_an_old_file_keeps_everything_and_works_on(old: Path) -> None:
    ledger = SqliteLedger.open(old, clock=lambda: 1_767_300_000_000)
    assert version(old) == SCHEMA_VERSION
    assert [run.run_id for run in ledger.runs()] == [WELCOME, OFFER]
    journal = ledger.journal(WELCOME)
    assert journal["state"].to_list() == ["accepted", "rejected", "unknown", "pending", "pending", "intent"]
    assert journal["message_id"][0] == "SM00"
    assert journal["price"][0] == "-0.00790"
    assert journal["error_code"].to_list() == [None, "21610", None, "20429", None, None]
    assert ledger.run(OFFER).simulated
    assert ledger.orphans_to_unknown(WELCOME) == 1
    assert ledger.reconcile(WELCOME, [LogFinding(2, Accepted("SM02"), 1), LogFinding(5, None, 1)]) == 2
    claims = ledger.claim(WELCOME, limit=10, lease_ms=1000)
    assert [claim.seq for claim in claims] == [3, 4, 5, 6]
    ledger.record(WELCOME, [Settlement(claim, Accepted(f"SM0{claim.seq}")) for claim in claims])
    assert ledger.finish_run(WELCOME)
    ledger.close()


def test_an_old_file_becomes_what_a_new_one_is(old: Path, tmp_path: Path) -> None:
    SqliteLedger.open(old).close()
    fresh = tmp_path / "fresh.sqlite3"
    SqliteLedger.open(fresh).close()
    assert tables(old) == tables(fresh)
    assert version(old) == version(fresh) == SCHEMA_VERSION == len(STEPS)


def test_a_step_that_fails_leaves_the_old_file(old: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before, was = tables(old), version(old)
    monkeypatch.setattr(file, "SCHEMA_VERSION", len(steps) + 1)
    steps.append("CREATE TABLE extra (x); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(apsw.SQLError, match="nowhere"):
        SqliteLedger.open(old)
    assert tables(old) == before
    assert version(old) == was


def test_a_step_may_make_a_table_anew(old: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to another CHECK constraint; rows elsewhere refer to the table meanwhile."""
    SqliteLedger.open(old).close()
    monkeypatch.setattr(file, "SCHEMA_VERSION", len(steps) + 1)
    run = next(sql for sql in tables(old) if sql.startswith("CREATE TABLE run "))
    other = run.replace("TABLE run", "TABLE other").replace("'test')", "'test', 'drill')")
    steps.append(f"{other}; INSERT INTO other SELECT * FROM run; DROP TABLE run; ALTER TABLE other RENAME TO run;")
    ledger = SqliteLedger.open(old)
    assert [run.run_id for run in ledger.runs()] == [WELCOME, OFFER]
    ledger.close()
    assert any("'drill'" in sql for sql in tables(old))


def test_a_step_that_loses_rows_is_refused(old: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "SCHEMA_VERSION", len(steps) + 1)
    steps.append("DELETE FROM run WHERE key = 1")
    with pytest.raises(StateError, match="rows without the row they refer to"):
        SqliteLedger.open(old)
    assert version(old) < len(steps)


def test_a_program_that_is_older_than_the_file_says_what_to_do(path: Path) -> None:
    SqliteLedger.open(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(StateError) as caught:
        SqliteLedger.open(path)
    assert f"newer campaign-sender: schema {SCHEMA_VERSION + 1}, and this one knows {SCHEMA_VERSION}" in str(
        caught.value
    )
    assert "upgrade campaign-sender" in str(caught.value)


def test_a_program_that_had_the_file_open_when_it_was_upgraded_writes_no_more(path: Path) -> None:
    ledger = SqliteLedger.open(path)
    ledger.create_run(Run("r", "welcome", RunKind.LIVE, "twilio", "9f", None, 1, 1, 0, 0))
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(StateError, match="newer campaign-sender"):
        ledger.claim("r", limit=1, lease_ms=1)
    assert ledger.counts("r").pending == 1
    ledger.close()


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_an_old_file_keeps_its_mode(old: Path) -> None:
    old.chmod(0o600)
    SqliteLedger.open(old).close()
    assert old.stat().st_mode & 0o777 == 0o600


SAMPLE = Path(__file__).parents[2] / "samples" / "state-6dd9dae" / "state" / "ledger.sqlite3"
STATES = {
    "accepted": "1, 1, 5, NULL, NULL, 'SM1', 'delivered', NULL",
    "rejected": "1, 1, 5, NULL, NULL, NULL, NULL, 'blocked'",
    "unknown": "2, 3, 5, NULL, NULL, NULL, NULL, NULL",
    "pending": "1, 1, 5, NULL, 9, NULL, NULL, 'rate_limited'",
    "intent": "1, 1, 5, 8, NULL, NULL, NULL, NULL",
}


MADE = ("of 6dd9dae", "by a script")


@pytest.fixture(params=MADE)
def version_5(request: pytest.FixtureRequest, path: Path) -> Path:
    """A ledger that a program of version 5 wrote."""
    if request.param == MADE[0]:
        shutil.copy(SAMPLE, path)
        return path
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    for step in STEPS[:5]:
        db.execute(step)
    db.pragma("application_id", file.APPLICATION_ID)
    db.pragma("user_version", 5)
    db.execute(
        "INSERT INTO run (run_id, campaign, kind, provider, plan_hash, rows, messages, skipped, created_at, simulated)"
        " VALUES ('r', 'welcome', 'live', 'twilio', '9f', 500, 500, 0, 0, 0)"
    )
    columns = "attempts, fence, intent_at, deadline, not_before, message_id, status, reason"
    for number in range(200):
        state = list(STATES)[number % len(STATES)]
        db.execute(
            f"INSERT INTO message (run, seq, state, updated_at, {columns}) VALUES (1, {number}, '{state}', 5,"
            f" {STATES[state]})"
        )
    db.close()
    return path


def rows(path: Path) -> list[object]:
    """Every message, in the columns that version 5 knew."""
    db = apsw.Connection(str(path))
    found = [row[:23] for row in db.execute("SELECT * FROM message ORDER BY run, seq")]
    db.close()
    return [*found]


def test_version_5_becomes_what_a_new_file_is_and_keeps_every_row(version_5: Path, tmp_path: Path) -> None:
    before, was = rows(version_5), version(version_5)
    assert was == 5
    ledger = SqliteLedger.open(version_5)
    ledger.close()
    SqliteLedger.open(tmp_path / "fresh.sqlite3").close()
    assert tables(version_5) == tables(tmp_path / "fresh.sqlite3")
    assert rows(version_5) == before
    db = apsw.Connection(str(version_5))
    assert db.pragma("integrity_check") == "ok"
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.pragma("user_version") == SCHEMA_VERSION
    db.close()


def test_a_file_of_version_5_can_be_closed(version_5: Path) -> None:
    ledger = SqliteLedger.open(version_5)
    for run in ledger.runs():
        assert (run.base_url, run.closed_at_ms, run.closed_by, run.paused_at_ms) == (None, None, None, None)
        ledger.check(run.run_id)
        before = ledger.counts(run.run_id)
        for claim in ledger.claim(run.run_id, limit=1, lease_ms=1000):
            ledger.record(run.run_id, [Settlement(claim, Canceled(CancelReason.OPTED_OUT))])
        ledger.close_run(run.run_id, by="anna")
        after = ledger.counts(run.run_id)
        assert (after.pending, after.canceled) == (0, before.pending)
        assert (after.accepted, after.rejected, after.unknown) == (before.accepted, before.rejected, before.unknown)
        ledger.check(run.run_id)
    ledger.close()
    db = apsw.Connection(str(version_5))
    assert db.pragma("integrity_check") == "ok"
    db.close()


UPGRADE = """
import os, signal, sys
from pathlib import Path
import apsw
from sender.state.sqlite import file
from sender.state.sqlite.ledger import SqliteLedger

left = int(sys.argv[2])

def killed(cursor, statement, bindings):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return True

def traced(db):
    db.exec_trace = killed

apsw.connection_hooks.append(traced)
SqliteLedger.open(Path(sys.argv[1])).close()
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("version_5", [MADE[0], pytest.param(MADE[1], marks=pytest.mark.long)], indirect=True)
def test_a_kill_in_the_middle_leaves_the_old_version_or_the_new_one(version_5: Path, tmp_path: Path) -> None:
    """At each statement in turn."""
    seen = set()
    for number in range(100):
        path = tmp_path / f"{number}.sqlite3"
        shutil.copy(version_5, path)
        ended = subprocess.run([sys.executable, "-c", UPGRADE, str(path), str(number)], check=False)
        seen.add(version(path))
        new = any("refused_says_why" in sql and "base_url" not in sql for sql in tables(path))
        runs = any("close_reason" in sql for sql in tables(path))
        assert (version(path), new, runs) in ((5, False, False), (SCHEMA_VERSION, True, True))
        assert rows(path) == rows(version_5)
        SqliteLedger.open(path).close()
        assert version(path) == SCHEMA_VERSION
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
    else:
        pytest.fail("the upgrade never ended")
    assert seen == {5, SCHEMA_VERSION}
    assert number > len(STEPS[5].split(";")), "each statement was a place to die"


def test_a_program_of_version_5_refuses_a_file_of_today(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteLedger.open(path).close()
    monkeypatch.setattr(file, "SCHEMA_VERSION", 5)
    with pytest.raises(StateError, match=f"schema {SCHEMA_VERSION}, and this one knows 5") as caught:
        SqliteLedger.open(path)
    assert caught.value.exit_code == 5
