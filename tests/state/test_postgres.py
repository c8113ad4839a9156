"""What only a state in PostgreSQL has to promise: connections that break, processes that are cut off, servers that lose."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sender
from sender.core.errors import InputError, RunLocked, StateError, StateLost, UnknownRun
from sender.core.outcomes import CancelReason, Unknown
from sender.state.database_url import DatabaseUrl, read_database_url
from sender.state.ledger import Claim, Run, RunKind, Settlement
from sender.state.open import open_state
from sender.state.people import Person
from sender.state.postgres import database, locks
from sender.state.postgres.database import Database, Transaction
from sender.state.postgres.database_clock import DatabaseClock
from sender.state.postgres.install import install
from sender.state.postgres.ledger import PostgresLedger
from sender.state.postgres.locks import AdvisoryLocks
from sender.state.postgres.schema import SCHEMA_VERSION
from sender.state.postgres.state import DatabaseState
from sender.state.postgres.suppression import CURRENT_S, OLDEST_ANSWER_S, SuppressionTable
from tests.state.conftest import DATABASES
from tests.state.ledger.steps import ACCEPTED, LEASE_MS, RUN
from tests.state.postgres_server import BINARIES, Server, require
from tests.state.run_history import plan_for

KIND = DATABASES[0]


@pytest.fixture
def url(new_database: Callable[[str], str]) -> DatabaseUrl:
    return read_database_url(new_database(KIND))


@pytest.fixture
def ledger(url: DatabaseUrl) -> Iterator[PostgresLedger]:
    with contextlib.closing(PostgresLedger.open(url)) as ledger:
        ledger.create_run(RUN)
        yield ledger


def execute(url: DatabaseUrl, statement: str, *values: Any) -> list[Any]:
    with psycopg.connect(url.text, autocommit=True) as db:
        cursor = db.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def break_connection(url: DatabaseUrl, db: Database) -> None:
    """As a network does: nobody says anything to the client before it asks."""
    execute(url, "SELECT pg_terminate_backend(%s)", db._db.info.backend_pid)
    time.sleep(0.05)


# -- connections that break --------------------------------------------------------------------------------------------


def test_a_claim_whose_answer_is_lost_is_looked_up_and_never_made_again(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, lost = ledger._db._attempt, []

    def lose_the_answer(work: Any) -> Any:
        result = attempt(work)
        if not lost:
            lost.append(result)
            ledger._db._db.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(ledger._db, "_attempt", lose_the_answer)
    claims = ledger.claim(RUN.run_id, limit=3, lease_ms=LEASE_MS)
    assert lost == [claims]
    assert [one.seq for one in claims] == [0, 1, 2]
    assert ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in claims]) == 3
    assert [one.seq for one in ledger.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)] == [3]


def test_a_claim_that_was_not_committed_is_made(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    break_connection(url, ledger._db)
    claims = ledger.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)
    assert [(one.seq, one.attempt, one.fence) for one in claims] == [(0, 1, 1), (1, 1, 1)]
    assert ledger.frontier(RUN.run_id) == 2


@pytest.mark.parametrize("moment", ["before", "in the transaction", "after the commit"])
def test_an_answer_that_is_known_is_recorded_whatever_breaks(
    url: DatabaseUrl, ledger: PostgresLedger, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = ledger.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)
    attempt, broken = ledger._db._attempt, []

    def break_once(work: Any) -> Any:
        if broken:
            return attempt(work)
        broken.append(moment)
        if moment == "before":
            break_connection(url, ledger._db)
        elif moment == "in the transaction":
            return attempt(lambda db: (work(db), break_connection(url, ledger._db), db.execute("SELECT 1")))
        else:
            attempt(work)
            break_connection(url, ledger._db)
        return attempt(work)

    monkeypatch.setattr(ledger._db, "_attempt", break_once)
    ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in claims])
    assert ledger.counts(RUN.run_id).accepted == 2
    assert ledger.journal(RUN.run_id)["attempts"].to_list() == [1, 1]


def test_a_run_that_was_entered_is_not_refused_because_its_answer_was_lost(
    url: DatabaseUrl, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, lost = ledger._db._attempt, []

    def lose_the_answer(work: Any) -> Any:
        result = attempt(work)
        if not lost:
            lost.append(True)
            break_connection(url, ledger._db)
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(ledger._db, "_attempt", lose_the_answer)
    run = Run("run-2", "autumn", RunKind.LIVE, "twilio", "hash", None, 1, 1, 0, 5)
    ledger.create_run(run)
    assert ledger.run("run-2") == run


def test_commits_that_are_gone_are_noticed_and_nothing_more_is_claimed(
    url: DatabaseUrl, ledger: PostgresLedger
) -> None:
    """As after a standby that lagged behind has taken over: it has neither the intents nor the note of them."""
    ledger.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)
    execute(url, "DELETE FROM intent_range")
    execute(url, "UPDATE run_cursor SET next_seq = 0")
    execute(url, "UPDATE claim_note SET number = number - 1")
    break_connection(url, ledger._db)
    with pytest.raises(StateError, match="the database has lost commits that it had confirmed"):
        ledger.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)
    assert ledger_rows(url) == 0


def test_where_a_machine_cannot_keep_how_far_it_is_messages_are_sent(
    url: DatabaseUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is full: a claim that was made is given out, or nobody could send it."""
    (tmp_path / "runs" / RUN.run_id).mkdir(parents=True)
    with contextlib.closing(PostgresLedger.open(url, folder=tmp_path)) as ledger:
        ledger.create_run(RUN)

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("sender.core.output_files.os.fsync", fail)
        assert [one.seq for one in ledger.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)] == [0, 1]


def test_a_backup_that_is_restored_is_noticed_by_the_next_process(url: DatabaseUrl, tmp_path: Path) -> None:
    """By the machine that has seen more claims confirmed, in whichever process it sends next."""
    (tmp_path / "runs" / RUN.run_id).mkdir(parents=True)
    with contextlib.closing(PostgresLedger.open(url, folder=tmp_path)) as first:
        first.create_run(RUN)
        for _ in range(3):
            first.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)
    execute(url, "DELETE FROM intent_range WHERE start > 0")
    execute(url, "UPDATE run_cursor SET next_seq = 1, commits = 1")
    with contextlib.closing(PostgresLedger.open(url, folder=tmp_path)) as second:
        with pytest.raises(StateError, match="the database has lost commits that it had confirmed"):
            second.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)
        assert ledger_rows(url) == 1
        execute(url, "UPDATE run_cursor SET commits = 3")
        assert second.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)


@pytest.mark.parametrize(
    ("noted", "says"),
    [
        ("system = '1'", "another server answers at this address than before"),
        ("timeline = 77", "a standby has taken the server's place, or it was restored from a backup"),
    ],
)
def test_another_server_is_noticed_until_a_person_accepts_it(
    url: DatabaseUrl, ledger: PostgresLedger, tmp_path: Path, noted: str, says: str
) -> None:
    (tmp_path / "runs" / RUN.run_id).mkdir(parents=True)
    with contextlib.closing(PostgresLedger.open(url, folder=tmp_path)) as other:
        for _ in range(3):
            other.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)
    execute(url, f"UPDATE state SET {noted}")
    execute(url, "UPDATE run_cursor SET commits = 1")
    break_connection(url, ledger._db)
    with pytest.raises(StateLost, match=says):
        ledger.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)
    for begin in (lambda: open_state(url.text), lambda: install(url)):  # on any machine
        with pytest.raises(StateLost, match=says):
            begin()
    open_state(url.text, read_only=True).close()
    assert ledger_rows(url) == 3
    install(url, accept_server=True)
    with contextlib.closing(PostgresLedger.open(url, folder=tmp_path)) as other:
        assert other.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)


def test_a_standby_that_had_everything_takes_over_without_a_word(url: DatabaseUrl) -> None:
    execute(url, "UPDATE state SET timeline = timeline + 5, synchronous = true")
    open_state(url.text).close()
    assert execute(url, "SELECT timeline, synchronous FROM state") == [(1, False)]


def ledger_rows(url: DatabaseUrl) -> int:
    return int(execute(url, "SELECT count(*) FROM every_message")[0][0])


def test_another_database_behind_the_address_is_noticed(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    execute(url, "UPDATE state SET id = gen_random_uuid()")
    break_connection(url, ledger._db)
    with pytest.raises(StateError, match="this is another state than before"):
        ledger.runs()


def test_a_commit_that_no_standby_has_confirmed_counts_as_not_made(url: DatabaseUrl) -> None:
    """A wait for a standby that is cancelled ends with success, and a warning with this SQLSTATE."""
    with contextlib.closing(Database(url)) as db, pytest.raises(StateError, match="standby has not confirmed a commit"):
        db.transact(lambda db: db.execute("DO $$ BEGIN RAISE WARNING 'x' USING ERRCODE = '01000'; END $$"))


def test_commits_are_durable_whatever_the_user_s_settings(url: DatabaseUrl) -> None:
    quick = read_database_url(f"{url.text}%20-csynchronous_commit%3Doff")
    assert execute(quick, "SHOW synchronous_commit") == [("off",)]
    with contextlib.closing(Database(quick)) as db:
        assert db.read(lambda db: db.value("SHOW synchronous_commit")) == "on"


def test_a_connection_that_breaks_as_soon_as_it_is_there_is_opened_once_more(url: DatabaseUrl) -> None:
    """The first question over it is whether anything is lost."""
    with contextlib.closing(Database(url)) as db:
        asked: list[int] = []

        def check(connection: psycopg.Connection) -> None:
            asked.append(connection.info.backend_pid)
            if len(asked) < 3:
                execute(url, "SELECT pg_terminate_backend(%s)", asked[-1])
                time.sleep(0.05)
            connection.execute("SELECT 1")

        db.when_reconnected(check)
        break_connection(url, db)
        assert db.transact(lambda db: db.value("SELECT 7")) == 7
        assert len(asked) == 3


# -- processes that are cut off ----------------------------------------------------------------------------------------


@pytest.fixture
def cut_off(
    url: DatabaseUrl, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[PostgresLedger, list[Claim]]]:
    """A process of another machine that sends the campaign and has lost its lock; its ledger, and what it had claimed."""
    monkeypatch.setattr(locks, "KEEP_EVERY_S", 60.0)
    held = AdvisoryLocks(url)
    with held.hold_campaign(RUN.campaign, RUN.kind):
        sending = PostgresLedger.open(url, token_of=held.token)
        held.note_longest_request(RUN.campaign, RUN.kind, longest_s=30)
        claims = sending.claim(RUN.run_id, limit=2, lease_ms=LEASE_MS)
        execute(url, "UPDATE holder SET machine = 'another'")
        release_lock(url)
        yield sending, claims
        sending.close()


def release_lock(url: DatabaseUrl) -> None:
    """End the connections with this state's locks; other tests have locks on the same server."""
    ours = "(SELECT hashtextextended((SELECT id::text FROM state) || ' ' || name, 0) AS key FROM holder) AS held"
    is_ours = "locktype = 'advisory' AND ((classid::bigint << 32) | objid::bigint) = held.key"
    ended = execute(url, f"SELECT pg_terminate_backend(pid) FROM pg_locks, {ours} WHERE {is_ours}")
    assert ended == [(True,)]


def test_what_it_had_claimed_is_waited_for_to_the_end_of_its_longest_request(
    url: DatabaseUrl, cut_off: tuple[PostgresLedger, list[Claim]]
) -> None:
    with (
        pytest.raises(RunLocked, match=r"gone or cannot reach the database, and may still be sending .* until"),
        AdvisoryLocks(url).hold_campaign(RUN.campaign, RUN.kind),
    ):
        pass
    sending, _ = cut_off
    execute(url, "UPDATE intent_range SET deadline = %s", sending.now_ms() - 29_000)
    begun_s = time.monotonic()
    with AdvisoryLocks(url).hold_campaign(RUN.campaign, RUN.kind):
        assert time.monotonic() - begun_s > 1.0, "its last request may take 30 s from the deadline on"


def test_it_claims_nothing_more_once_another_has_taken_over(
    url: DatabaseUrl, ledger: PostgresLedger, cut_off: tuple[PostgresLedger, list[Claim]]
) -> None:
    sending, claims = cut_off
    sending.record(RUN.run_id, [Settlement(claims[0], Unknown("timeout"))])
    execute(url, "UPDATE intent_range SET deadline = 0")
    with AdvisoryLocks(url).hold_campaign(RUN.campaign, RUN.kind):
        assert ledger.orphans_to_unknown(RUN.run_id) == 1
        for _ in range(2):
            with pytest.raises(RunLocked, match=r"welcome was taken over by another process \(pid \d+ on "):
                sending.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)
        assert sending.record(RUN.run_id, [Settlement(claims[1], ACCEPTED)]) == 1, "its late answer is proof"
    with pytest.raises(RunLocked, match="welcome was taken over by another process while this one"):
        sending.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)
    assert ledger.counts(RUN.run_id).accepted == 1


def test_it_begins_no_run_and_changes_no_message_once_another_has_taken_over(
    url: DatabaseUrl, ledger: PostgresLedger, cut_off: tuple[PostgresLedger, list[Claim]]
) -> None:
    """A run that it began now would be for people whom the other process is texting meanwhile."""
    sending, claims = cut_off
    execute(url, "UPDATE intent_range SET deadline = 0")
    taken_over = "welcome was taken over by another process"
    with AdvisoryLocks(url).hold_campaign(RUN.campaign, RUN.kind):
        for closes in ((), (RUN.run_id,)):
            with pytest.raises(RunLocked, match=taken_over):
                sending.create_run(replace(RUN, run_id="run-2"), closes=closes)
        for change in (
            lambda: sending.orphans_to_unknown(RUN.run_id),
            lambda: sending.resend_unknown(RUN.run_id),
            lambda: sending.cancel(RUN.run_id, [5], CancelReason.FORGOTTEN),
        ):
            with pytest.raises(RunLocked, match=taken_over):
                change()
        assert sending.release(RUN.run_id, claims) == 2, "what it had claimed is its own to give back"
    assert [run.run_id for run in ledger.runs()] == [RUN.run_id]
    assert ledger.run(RUN.run_id).closed_at_ms is None
    assert ledger.counts(RUN.run_id).pending == RUN.messages


def test_a_campaign_is_taken_over_before_its_new_run_or_after_it(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    """Whoever takes over waits for the run that is being entered, and finds it."""
    held = AdvisoryLocks(url)
    with held.hold_campaign(RUN.campaign, RUN.kind):
        token, sending = held.token(RUN.campaign, RUN.kind), PostgresLedger.open(url, token_of=held.token)
        take = "UPDATE holder SET token = gen_random_uuid() WHERE token = %s"
        entering = threading.Thread(target=sending.create_run, args=[replace(RUN, run_id="run-2")])
        taking = threading.Thread(target=execute, args=[url, take, token])
        with contextlib.closing(psycopg.connect(url.text)) as blocker:
            blocker.execute("LOCK TABLE claim_note IN ACCESS EXCLUSIVE MODE")  # which entering a run comes to last
            for thread in (entering, taking):
                thread.start()
                time.sleep(0.3)
            was_waiting = taking.is_alive()
        for thread in (entering, taking):
            thread.join()
        assert was_waiting
        assert [run.run_id for run in ledger.runs()] == [RUN.run_id, "run-2"]
        sending.close()


def test_a_dead_process_of_this_machine_is_not_waited_for(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    script = (
        "import sys, os; from sender.state.open import open_state; from sender.state.ledger import RunKind\n"
        "with open_state(sys.argv[1]) as state, state.locks.hold_campaign('welcome', RunKind.LIVE):\n"
        "    state.ledger.claim('run-1', limit=2, lease_ms=60000)\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, url.text], check=False).returncode == -9
    assert ledger.counts(RUN.run_id).intent == 2
    with AdvisoryLocks(url).hold_campaign(RUN.campaign, RUN.kind):
        assert ledger.orphans_to_unknown(RUN.run_id) == 2


def test_a_lock_that_breaks_is_taken_again(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "KEEP_EVERY_S", 0.1)
    ours = AdvisoryLocks(url)
    with ours.hold_campaign("spring", RunKind.LIVE):
        release_lock(url)
        give_up = time.monotonic() + 10
        while AdvisoryLocks(url).holder("spring", RunKind.LIVE) is None:
            assert time.monotonic() < give_up
            time.sleep(0.1)
        with pytest.raises(RunLocked, match="is being sent"), AdvisoryLocks(url).hold_campaign("spring", RunKind.LIVE):
            pass
    assert AdvisoryLocks(url).holder("spring", RunKind.LIVE) is None


# -- the suppression list ----------------------------------------------------------------------------------------------


def test_a_list_that_does_not_answer_holds_everything_back(url: DatabaseUrl) -> None:
    with contextlib.closing(SuppressionTable(url)) as table:
        table.version()
        watch = table._watch
        assert watch is not None
        assert table.is_current()
        watch._stopped.set()
        watch._thread.join()
        for age_s, is_current in ((CURRENT_S + 0.1, False), (OLDEST_ANSWER_S - 0.1, False)):
            watch._answered_s = time.monotonic() - age_s
            watch._clock = time.monotonic
            assert table.is_current() is is_current
            assert table.version() == 0
        watch._answered_s = time.monotonic() - OLDEST_ANSWER_S - 0.1
        with pytest.raises(StateError, match="the suppression list cannot be read: nothing is sent"):
            table.version()


@pytest.mark.parametrize("read_only", [False, True])
def test_the_server_notices_a_machine_that_is_gone(url: DatabaseUrl, read_only: bool) -> None:
    """Within seconds, as a machine notices it: then it lets go of the machine's locks."""
    shown = "SELECT current_setting('tcp_keepalives_' || name) FROM unnest(ARRAY['idle', 'interval', 'count']) AS name"
    with contextlib.closing(Database(url, read_only=read_only)) as db:
        assert db.read(lambda db: db.rows(shown)) == [("3",), ("1",), ("3",)]
        assert db.read(lambda db: db.value("SHOW tcp_user_timeout")) in ("6s", "6000")


def test_a_list_answers_again_after_its_connection_broke(url: DatabaseUrl) -> None:
    with contextlib.closing(SuppressionTable(url)) as table, contextlib.closing(SuppressionTable(url)) as other:
        before = table.version()
        assert table._watch is not None
        break_connection(url, table._watch._db)
        other.add([])
        other.add([sender_entry()])
        give_up = time.monotonic() + 3
        while table.version() == before:
            assert time.monotonic() < give_up
            time.sleep(0.05)


def sender_entry() -> Any:
    from sender.state.suppression import SuppressionRow

    return SuppressionRow("+12025550101", "all", "opted_out", "reply", "", 1)


# -- plans on several machines -----------------------------------------------------------------------------------------


def test_another_machine_has_the_plan_and_loses_who_was_erased(
    url: DatabaseUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, grace = "+12025550101", "+12025550102"
    plan = plan_for(ada, grace)
    run = Run("run-1", "spring", RunKind.LIVE, "twilio", plan.hash, None, 2, 2, 0, 0)

    def machine(name: str) -> DatabaseState:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))
        return DatabaseState(url)

    with machine("a") as a, machine("b") as b:
        a.plans.save(run, plan)
        for state in (a, b):
            assert sorted(state.plan(run).recipients()) == [ada, grace]
        assert b.plans.manifest(run) is not None
        assert b.plans.find(run, Person.of(ada)).rows["row_number"].to_list() == [1]
        a.plans.erase(run, Person.of(ada), [1])
        for state in (b, a):
            assert state.plan(run).recipients().to_list() == [grace]
            assert ada.encode() not in (state.plans.folder(run) / "plan" / "plan.parquet").read_bytes()
        b.plans.note_output(run, tmp_path / "b.csv")
        a.plans.note_output(run, tmp_path / "a.csv")
        assert {file.name for file in b.plans.outputs(run)} == {"a.csv", "b.csv"}
        assert a.plans.size(run) > 0
        b.plans.prune(run)
        assert a.plans.pruned_at(run) is not None
        assert not (a.plans.folder(run) / "plan" / "plan.parquet").exists()


def test_a_copy_that_was_cut_off_is_fetched_again(url: DatabaseUrl) -> None:
    plan = plan_for("+12025550101")
    run = Run("run-1", "spring", RunKind.LIVE, "twilio", plan.hash, None, 1, 1, 0, 0)
    with DatabaseState(url) as state:
        state.plans.save(run, plan)
        file = state.plans.folder(run) / "plan" / "plan.parquet"
        for damage in (file.unlink, lambda: file.write_bytes(file.read_bytes()[:100])):
            damage()
            assert state.plan(run).hash == plan.hash


def test_what_one_process_fetches_does_not_undo_what_another_changes(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes of one machine, with one copy: a page that shows the run, and `forget`."""
    ada, grace = "+12025550101", "+12025550102"
    plan = plan_for(ada, grace)
    run = Run("run-1", "spring", RunKind.LIVE, "twilio", plan.hash, None, 2, 2, 0, 0)
    with DatabaseState(url) as page, DatabaseState(url) as forgetting:
        forgetting.plans.save(run, plan)
        assert page.plans.manifest(run) is not None
        store = forgetting.plans._store
        looking = threading.Thread(target=lambda: shown.append(page.plans.manifest(run)))
        shown: list[Any] = []

        def store_later(*arguments: Any, **named: Any) -> bool:
            looking.start()
            looking.join(1.0)
            return store(*arguments, **named)

        monkeypatch.setattr(forgetting.plans, "_store", store_later)
        forgetting.plans.erase(run, Person.of(ada), [1])
        looking.join()
        stored = forgetting.plans.manifest(run)
        assert stored is not None
        assert [one.parquet_sha256 for one in shown] == [stored.parquet_sha256]
    with DatabaseState(url) as state:
        for name in ("copy.json", "plan/plan.parquet"):
            (state.plans.folder(run) / name).unlink()
        assert state.plan(run).recipients().to_list() == [grace]


def test_what_is_fetched_is_of_one_version(url: DatabaseUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another machine changes the plan while its parts come, they would not fit one another."""
    ada, grace = "+12025550101", "+12025550102"
    plan = plan_for(ada, grace)
    run = Run("run-1", "spring", RunKind.LIVE, "twilio", plan.hash, None, 2, 2, 0, 0)
    with DatabaseState(url) as a:
        a.plans.save(run, plan)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "b"))
        with DatabaseState(url) as b:
            rows, erased = Transaction.rows, []

            def rows_then_erase(db: Transaction, statement: str, params: Any = None) -> Any:
                found = rows(db, statement, params)
                if not erased and params == (run.run_id, "plan/plan.parquet"):
                    erased.append(a.plans.erase(run, Person.of(ada), [1]))
                return found

            monkeypatch.setattr(Transaction, "rows", rows_then_erase)
            assert b.plan(run).hash == plan.hash
            assert erased
            assert b.plan(run).recipients().to_list() == [grace]


# -- the clock ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 400), st.floats(0, 1)), min_size=1))
def test_the_database_s_clock_is_never_behind_and_late_by_one_answer_at_most(
    answers: list[tuple[int, int, float]],
) -> None:
    """Deadlines are the database's: what this machine takes for now may be later than its now, and never earlier."""
    now_s, longest_ms, before = 1000.0, 0, 0
    clock = DatabaseClock(lambda: now_s)
    for pause_ms, took_ms, share in answers:
        now_s += pause_ms / 1000
        begun_s, longest_ms = clock.begin(), max(longest_ms, took_ms)
        answer_ms = int((now_s + share * took_ms / 1000) * 1000) + 7_000
        now_s += took_ms / 1000
        clock.note(begun_s, answer_ms)
        truth_ms = now_s * 1000 + 7_000
        assert truth_ms - 1 <= clock() <= truth_ms + longest_ms + 2
        assert clock() >= before
        before = clock()


# -- addresses, servers and rights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://user:s3cret@db/sender", "has a password in it"),
        ("postgresql://user@db/sender?password=s3cret", "has a password in it"),
        ("postgresql://user@db:s3cret/sender", "cannot be read"),
        ("postgresql://user@db1:5432,db2:s3cret/sender", "cannot be read"),
        ("postgresql:/user@s3cret/sender", "cannot be read"),
        ("postgresql://user@s3cret", "names no database"),
        ("postgresql://user@db/sender?s3cret=1", "cannot be read"),
        ("postgresql://user@db/sender?sslmode=s3cret", "cannot be reached|cannot be read"),
    ],
)
def test_a_wrong_address_is_explained_without_repeating_it(address: str, says: str) -> None:
    with pytest.raises((InputError, StateError), match=says) as caught:
        open_state(address)
    assert "s3cret" not in caught.value.what
    assert caught.value.fix


def test_a_database_without_a_state_is_named(servers: Callable[[str], Server]) -> None:
    empty = servers(KIND).new_schema()
    with pytest.raises(UnknownRun, match="there is no state in this database"):
        open_state(empty)
    address = read_database_url(empty)
    assert install(address).schema_before == 0
    assert install(address).schema_before == SCHEMA_VERSION
    with open_state(empty) as state:
        assert state.ledger.runs() == []


@pytest.mark.parametrize(("version", "says"), [(SCHEMA_VERSION + 1, "newer"), (0, "older")])
def test_another_version_s_state_is_refused(url: DatabaseUrl, version: int, says: str) -> None:
    execute(url, "UPDATE state SET version = %s", version)
    try:
        with pytest.raises(StateError, match=f"was written by an? {says} campaign-sender: schema {version}"):
            open_state(url.text)
        if says == "newer":
            with pytest.raises(StateError, match="newer"):
                install(url)
    finally:
        execute(url, "UPDATE state SET version = %s", SCHEMA_VERSION)


def test_a_state_that_changes_its_version_meanwhile_is_left_alone(url: DatabaseUrl, ledger: PostgresLedger) -> None:
    execute(url, "UPDATE state SET version = version + 1")
    try:
        with pytest.raises(StateError, match="newer"):
            ledger.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)
        assert ledger_rows(url) == 0
    finally:
        execute(url, "UPDATE state SET version = %s", SCHEMA_VERSION)


def test_who_may_not_read_or_write_is_told(url: DatabaseUrl) -> None:
    user = f"r{time.monotonic_ns()}"
    execute(url, f"CREATE ROLE {user} LOGIN")
    try:
        stranger = url.text.replace("sender@", f"{user}@")
        with pytest.raises(StateError, match="its schema is not there, or this user may not use it"):
            open_state(stranger)
    finally:
        execute(url, f"DROP ROLE {user}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("/postgres?", "/nosuch?"), "there is no such database"),
        (("127.0.0.1:", "127.0.0.1:1"), "cannot be reached|cannot be read"),
    ],
)
def test_a_server_or_database_that_is_not_there_is_told(url: DatabaseUrl, change: tuple[str, str], says: str) -> None:
    with pytest.raises((StateError, InputError), match=says):
        open_state(url.text.replace(*change))


def test_what_can_only_be_read_is_not_written(url: DatabaseUrl) -> None:
    standby = f"{url.text}%20-cdefault_transaction_read_only%3Don"
    with pytest.raises(StateError, match="this server can only be read"):
        open_state(standby)
    with open_state(standby, read_only=True) as state:
        assert state.ledger.runs() == []
        with pytest.raises(StateError, match="it can only be read"):
            state.ledger.create_run(RUN)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_what_it_confirmed_is_refused(url: DatabaseUrl, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from sender.state.postgres import server_checks as installing

    read = installing._setting
    monkeypatch.setattr(installing, "_setting", lambda db, name: "off" if name == setting else read(db, name))
    for begin in (install, open_state):
        with pytest.raises(StateError, match=f"the server runs with {setting}=off: .* texted twice"):
            begin(url if begin is install else url.text)


def test_a_restart_of_the_database_is_waited_for() -> None:
    """At once, as after a crash of the server: nothing is lost, and everybody goes on."""
    require(KIND)
    server = Server.start(BINARIES[KIND])
    try:
        address = read_database_url(server.url)
        install(address)
        with open_state(server.url) as state, state.locks.hold_campaign("welcome", RunKind.LIVE):
            state.ledger.create_run(RUN)
            claims = state.ledger.claim(RUN.run_id, limit=3, lease_ms=LEASE_MS)
            server.halt("immediate")
            back = threading.Timer(0.5, server.resume)
            back.start()
            assert state.ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in claims]) == 3
            assert [one.seq for one in state.ledger.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS)] == [3]
            back.join()
    finally:
        server.remove()


def test_a_database_that_stays_away_is_told(monkeypatch: pytest.MonkeyPatch, url: DatabaseUrl) -> None:
    monkeypatch.setattr(database, "RETRY_S", 0.3)
    with contextlib.closing(Database(url)) as db:
        break_connection(url, db)
        db._url = read_database_url(url.text.replace("127.0.0.1", "127.0.0.1,127.0.0.2").replace("sender@", "nobody@"))
        with pytest.raises(StateError):
            db.transact(lambda db: db.execute("SELECT 1"))


# -- a laptop ----------------------------------------------------------------------------------------------------------


def test_a_folder_needs_no_driver(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['psycopg'] = None; import sender, sender.cli.send\n"
        "with sender.open_state(sys.argv[1]) as state: state.ledger.runs(); state.suppressions.size()\n"
        "assert not any(name.startswith(('psycopg_', 'pgqueuer', 'sender.state.postgres')) for name in sys.modules)\n"
        "try: sender.open_state('postgresql://sender@db/sender')\n"
        "except sender.SenderError as error: print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    assert "needs psycopg, which is not installed" in told
    assert "pip install 'campaign-sender[cluster]'" in told


def test_the_library_s_names_are_there() -> None:
    assert sender.open_state is open_state
