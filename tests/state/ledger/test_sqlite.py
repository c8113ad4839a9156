"""What only the SQLite ledger has: a file that others can break, lock, fill or own."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from sender.core.errors import StateError
from sender.core.outcomes import Accepted, Deferred, Reason, Rejected
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.sqlite import reports, statements
from sender.state.sqlite.file import APPLICATION_ID
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.sqlite.schema import SCHEMA_VERSION
from sender.state.sqlite.suppression import SuppressionFile

MESSAGES = 50_000
RUN = Run("run-1", "welcome", RunKind.LIVE, "twilio", "9f86d081", None, MESSAGES, MESSAGES, 0, 1_767_268_800_000)
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX modes and signals")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger.open(path)
    ledger.create_run(RUN)
    yield ledger
    ledger.close()


def states(ledger: SqliteLedger, run_id: str = RUN.run_id) -> list[str]:
    return ledger.journal(run_id)["state"].to_list()


# The file


LOOK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
assert db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
db.close()
"""


@pytest.mark.parametrize("kind", [SqliteLedger, SuppressionFile])
def test_a_second_handle_in_this_process_takes_no_locks_from_the_first(
    path: Path, kind: type[SqliteLedger | SuppressionFile]
) -> None:
    """POSIX drops all locks of a process on a file when it closes any handle to it.

    Then whoever looks at the file (here another SQLite, as people do) believes to be the last to close it, and deletes the
    log; this process goes on with a log that nobody else has, and texts people whom others have texted.
    """
    with contextlib.closing(kind.open(path)), contextlib.closing(kind.open(path)):
        subprocess.run([sys.executable, "-c", LOOK, str(path)], check=True)
        assert path.with_name(path.name + "-wal").exists()
        if sys.platform == "linux":
            held = [line.split()[5].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines()]
            assert str(path.stat().st_ino) in held


@posix
def test_file_and_directory_are_for_the_user_alone(path: Path, ledger: SqliteLedger) -> None:
    ledger.claim(RUN.run_id, limit=1, lease_ms=1)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {f"ledger.sqlite{suffix}": 0o600 for suffix in ("", "-wal", "-shm", "-mark")}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        pytest.param("journal_mode", "wal", id="write-ahead log"),
        pytest.param("synchronous", 2, id="FULL: a commit is on disk when it returns"),
        pytest.param("fullfsync", 1, id="on macOS too"),
        pytest.param("foreign_keys", 1, id="foreign keys"),
        pytest.param("application_id", APPLICATION_ID, id="whose file it is"),
        pytest.param("user_version", SCHEMA_VERSION, id="schema version"),
    ],
)
def test_settings_hold_when_opened_again(path: Path, ledger: SqliteLedger, pragma: str, value: object) -> None:
    ledger.close()
    again = SqliteLedger.open(path)
    assert again._db.pragma(pragma) == value
    again.close()


def other_database(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE theirs (x)")
    db.close()


def newer_ledger(path: Path) -> None:
    SqliteLedger.open(path).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", SCHEMA_VERSION + 1)
    db.close()


def damaged_ledger(path: Path) -> None:
    SqliteLedger.open(path).close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996  # the table of tables
    path.write_bytes(content)


def parent_is_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize(
    ("spoil", "what", "fix"),
    [
        pytest.param(other_database, "not a ledger of campaign-sender", "--state-dir", id="another database"),
        pytest.param(
            lambda path: path.write_bytes(b"name,phone\n" * 100),
            "not a ledger of campaign-sender",
            "--state-dir",
            id="not a database",
        ),
        pytest.param(newer_ledger, "written by a newer campaign-sender", "upgrade", id="newer"),
        pytest.param(damaged_ledger, "damaged", "backup", id="damaged"),
        pytest.param(Path.mkdir, "it is a directory", "--state-dir", id="a directory"),
        pytest.param(parent_is_a_file, "cannot be opened", "write access", id="no directory can be made"),
    ],
)
def test_a_file_that_cannot_be_the_ledger_is_refused_and_left_alone(
    path: Path, spoil: Callable[[Path], object], what: str, fix: str
) -> None:
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StateError) as caught:
        SqliteLedger.open(path)
    assert what in caught.value.what
    assert fix in str(caught.value.fix)
    assert caught.value.where == str(path)
    assert before is None or path.read_bytes() == before


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everything")
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_directory_without_write_access_is_refused(path: Path, mode: int) -> None:
    path.parent.mkdir(mode=mode)
    with pytest.raises(StateError, match="cannot be opened: Permission denied") as caught:
        SqliteLedger.open(path)
    assert "write access" in str(caught.value.fix)


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    ledger = SqliteLedger.open(path)
    assert ledger.runs() == []
    ledger.close()


# Failures while working: nothing half done, and a sentence for a person


def test_a_full_disk_undoes_the_whole_claim(ledger: SqliteLedger) -> None:
    first = ledger.claim(RUN.run_id, limit=10, lease_ms=1000)
    ledger._db.pragma("max_page_count", ledger._db.pragma("page_count"))
    with pytest.raises(StateError, match="the disk is full") as caught:
        ledger.claim(RUN.run_id, limit=5000, lease_ms=1000)
    assert "free some space" in str(caught.value.fix)
    assert states(ledger) == ["intent"] * 10
    ledger._db.pragma("max_page_count", 1_000_000)
    assert ledger.record(RUN.run_id, [Settlement(one, Accepted("SM1")) for one in first]) == 10
    assert [one.seq for one in ledger.claim(RUN.run_id, limit=2, lease_ms=1000)] == [10, 11]


def test_a_ledger_that_may_only_be_read_says_so(path: Path, ledger: SqliteLedger) -> None:
    ledger._db.pragma("query_only", True)
    with pytest.raises(StateError, match="cannot be written") as caught:
        ledger.claim(RUN.run_id, limit=1, lease_ms=1)
    assert caught.value.where == str(path)
    assert states(ledger) == []


def test_a_ledger_that_another_process_holds_says_so(path: Path, ledger: SqliteLedger) -> None:
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    ledger._db.set_busy_timeout(1)
    with pytest.raises(StateError, match="another process holds it"):
        ledger.claim(RUN.run_id, limit=1, lease_ms=1)
    other.execute("ROLLBACK")
    other.close()
    assert len(ledger.claim(RUN.run_id, limit=1, lease_ms=1)) == 1


def test_what_is_wrong_in_a_batch_undoes_all_of_it(ledger: SqliteLedger) -> None:
    """A bug of the caller is raised as it is; what was in doubt stays in doubt."""
    good, bad = ledger.claim(RUN.run_id, limit=2, lease_ms=1000)
    broken = Rejected(None)  # type: ignore[arg-type]
    with pytest.raises(apsw.ConstraintError, match="refused_says_why"):
        ledger.record(RUN.run_id, [Settlement(good, Accepted("SM1")), Settlement(bad, broken)])
    assert states(ledger) == ["intent", "intent"]


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 'intent', deadline = NULL", "only_an_intent_has_a_deadline"),
        ("state = 'unknown'", "only_an_intent_has_a_deadline"),
        ("state = 'pending', deadline = NULL", "only_pending_waits"),
        ("not_before = 5", "only_pending_waits"),
        ("state = 'accepted', deadline = NULL, status = 'queued'", "only_accepted_has_an_id"),
        ("message_id = 'SM1'", "only_accepted_has_an_id"),
        ("state = 'accepted', deadline = NULL, message_id = 'SM1'", "only_accepted_has_a_status"),
        ("status = 'queued'", "only_accepted_has_a_status"),
        ("state = 'rejected', deadline = NULL", "refused_says_why"),
        ("state = 'canceled', deadline = NULL", "refused_says_why"),
        ("state = 'canceled', reason = 'closed'", "only_an_intent_has_a_deadline"),
        ("state = 'canceled', deadline = NULL, reason = 'closed', status = 'queued'", "only_accepted_has_a_status"),
        ("attempts = 0", "only_unsent_may_have_no_attempt"),
        (
            "state = 'pending', deadline = NULL, not_before = 5, attempts = -1",
            "only_unsent_may_have_no_attempt",
        ),
        ("attempts = 2", "attempts_were_claimed"),
        ("state = 'sent'", "state IN"),
        ("seq = -1", "seq >= 0"),
        ("run = 99", "FOREIGN KEY"),
        ("deadline = 'soon'", "TEXT value in INTEGER column"),
    ],
)
def test_the_schema_refuses_a_row_that_breaks_a_rule(ledger: SqliteLedger, change: str, constraint: str) -> None:
    ledger.claim(RUN.run_id, limit=1, lease_ms=1)
    with pytest.raises(apsw.ConstraintError) as caught:
        ledger._db.execute(f"UPDATE message SET {change}")
    assert constraint in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "values", "way"),
    [
        pytest.param(statements.CLAIM_WAITING, range(6), "USING COVERING INDEX message_waiting", id="due"),
        pytest.param(statements.NEXT_DUE, range(2), "USING COVERING INDEX message_waiting", id="next due"),
        pytest.param(statements.NEXT_SEQ, range(1), "USING PRIMARY KEY (run=?)", id="next in order"),
        pytest.param(
            statements.RECORD,
            dict.fromkeys((*statements.COMMON, "settlements", "run", "now", "uncounted"), "[]"),
            "SEARCH message USING PRIMARY KEY (run=? AND seq=?)",
            id="record",
        ),
        pytest.param(reports._SELECT_WAITING, range(3), "USING INDEX report_waiting (run=? AND seq>?", id="kept"),
        pytest.param(reports._SELECT_ROW, range(2), "USING PRIMARY KEY (run=? AND seq=?)", id="reported"),
    ],
)
def test_what_runs_for_every_batch_never_scans_the_run(
    ledger: SqliteLedger, statement: str, values: range | dict[str, str], way: str
) -> None:
    bindings = tuple(values) if isinstance(values, range) else values
    lines = ledger._db.execute(f"EXPLAIN QUERY PLAN {statement}", bindings).fetchall()
    plan = "; ".join(str(line[3]) for line in lines)
    assert way in plan
    batch = ("SCAN settled", "SCAN json_each VIRTUAL TABLE INDEX 1:")  # what is asked for, not the run
    assert not [line for line in plan.split("; ") if line.startswith("SCAN") and line not in batch]
    assert "TEMP B-TREE" not in plan


# Other processes


WRITER = """
import sys
from pathlib import Path
from sender.state.ledger import Settlement
from sender.state.sqlite.ledger import SqliteLedger
from sender.core.outcomes import Accepted

path, run_id, batch, settle = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "settle"
ledger = SqliteLedger.open(path)
while claims := ledger.claim(run_id, limit=batch, lease_ms=60_000):
    print(claims[-1].seq, flush=True)
    if settle:
        ledger.record(run_id, [Settlement(claim, Accepted(f"SM{claim.seq}")) for claim in claims])
ledger.close()
"""


def writer(path: Path, run_id: str, *, batch: int, settle: bool) -> subprocess.Popen[str]:
    arguments = [str(path), run_id, str(batch), "settle" if settle else "leave"]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True)


@posix
@pytest.mark.parametrize(
    ("version", "refused"),
    [("3.45.1", True), ("3.51.2", True), ("3.51.3", False), ("3.100.0", False), ("4.0.0", False)],
)
def test_a_sqlite_that_may_lose_commits_is_refused(
    path: Path, version: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The WAL-reset bug of SQLite before 3.51.3; some systems build apsw on their own SQLite."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    if refused:
        with pytest.raises(StateError, match=f"SQLite {version}, which may lose") as caught:
            SqliteLedger.open(path)
        assert "apsw>=3.51.3" in str(caught.value.fix)
    else:
        SqliteLedger.open(path).close()


@pytest.mark.parametrize("claims_before_the_kill", [1, 3, 20])
def test_committed_intents_survive_kill_9(path: Path, ledger: SqliteLedger, claims_before_the_kill: int) -> None:
    process = writer(path, RUN.run_id, batch=10, settle=False)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(claims_before_the_kill)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    process.stdout.close()
    ledger.close()
    again = SqliteLedger.open(path)
    found = states(again)
    assert len(found) > told[-1], "each claim that was told had been committed"
    assert set(found) == {"intent"}
    assert len(found) % 10 == 0, "a claim is there whole or not at all"
    assert again.orphans_to_unknown(RUN.run_id) == len(found)
    again.close()


def test_two_processes_write_two_runs_in_one_file(path: Path, ledger: SqliteLedger) -> None:
    runs = [replace(RUN, run_id=name, rows=3000, messages=3000) for name in ("run-a", "run-b")]
    for run in runs:
        ledger.create_run(run)
    processes = [writer(path, run.run_id, batch=50, settle=True) for run in runs]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    for run, output in zip(runs, outputs, strict=True):
        assert [int(line) for line in output.splitlines()] == list(range(49, 3000, 50))
        journal = ledger.journal(run.run_id)
        assert journal["message_id"].to_list() == [f"SM{seq}" for seq in range(3000)]
        assert ledger.finish_run(run.run_id)


def test_handles_that_open_a_new_file_at_once_make_one_ledger(path: Path) -> None:
    script = "import sys; from pathlib import Path; from sender.state.sqlite.ledger import SqliteLedger\n"
    script += "SqliteLedger.open(Path(sys.argv[1])).close()"
    command = [sys.executable, "-c", script, str(path)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    ledger = SqliteLedger.open(path)
    assert ledger.runs() == []
    ledger.close()


@posix
def test_a_disk_that_fails_is_told_and_nothing_is_half_done(path: Path, ledger: SqliteLedger) -> None:
    """A limit on the size of files makes the write itself fail, as a broken disk does."""
    script = """
import resource, signal, sys
from pathlib import Path
from sender.core.errors import StateError
from sender.state.sqlite.ledger import SqliteLedger

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = SqliteLedger.open(Path(sys.argv[1]))
ledger.claim("run-1", limit=10, lease_ms=1000)
size = Path(sys.argv[1] + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, resource.RLIM_INFINITY))
try:
    ledger.claim("run-1", limit=5000, lease_ms=1000)
except StateError as error:
    print(error.what)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert "the disk failed to read or write" in done.stdout
    assert states(ledger) == ["intent"] * 10


def test_deferred_rows_leave_the_index_when_they_are_claimed(ledger: SqliteLedger) -> None:
    """The partial index would otherwise cost every transition of a smooth run."""
    claims = ledger.claim(RUN.run_id, limit=100, lease_ms=1000)
    waiting = "SELECT count(*) FROM message INDEXED BY message_waiting WHERE run = 1 AND state = 'pending'"
    assert ledger._db.execute(waiting).get == 0
    ledger.record(RUN.run_id, [Settlement(one, Deferred(Reason.RATE_LIMITED)) for one in claims])
    assert ledger._db.execute(waiting).get == 100
    ledger.claim(RUN.run_id, limit=100, lease_ms=1000)
    assert ledger._db.execute(waiting).get == 0
