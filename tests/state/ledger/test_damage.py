"""Flipped, torn, lost and missing bytes: a ledger that forgot what was sent says so, and nothing is sent from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import apsw
import polars as pl
import pytest

from sender.core.errors import SenderError, StateError
from sender.core.outcomes import Accepted, Deferred, Reason, Rejected, Unknown
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.sqlite.file import CommitMark
from sender.state.sqlite.ledger import SqliteLedger

N = 400
RUN = Run("run-1", "welcome", RunKind.LIVE, "twilio", "9f86d081", None, N, N, 0, 1_767_268_800_000)
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX modes")


def half_sent(path: Path) -> SqliteLedger:
    """A ledger in the middle of a run, with messages in each state, still open."""
    ledger = SqliteLedger.open(path)
    ledger.create_run(RUN)
    for _ in range(6):
        claims = ledger.claim(RUN.run_id, limit=40, lease_ms=30_000)
        outcomes = [
            Accepted(f"SM{claims[0].seq}"),
            Rejected(Reason.BLOCKED, "21610"),
            Unknown("read timeout"),
            Deferred(Reason.RATE_LIMITED),
        ]
        ledger.record(
            RUN.run_id,
            [Settlement(one, outcomes[one.seq % 4], 4_000_000_000_000) for one in claims[:36]],
        )
    return ledger


def crashed(path: Path) -> Path:
    """What a SIGKILL leaves of `path`: the file and its log as they are, in a directory of their own."""
    ledger = half_sent(path)
    left = path.parent / "left"
    left.mkdir()
    for file in path.parent.iterdir():
        if file.is_file() and not file.name.endswith("-shm"):  # the shared memory dies with the machine
            shutil.copy2(file, left / file.name)
    ledger.close()
    return left / path.name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


def settled(ledger: SqliteLedger) -> dict[int, str]:
    """What must never be forgotten: a message that is not pending, and its state."""
    return dict(ledger.journal(RUN.run_id).filter(pl.col("state") != "pending").select("seq", "state").iter_rows())


def sendable(path: Path) -> set[int]:
    """The messages that a next start would send from the file. Raises SenderError when it refuses to."""
    ledger = SqliteLedger.open(path)
    try:
        ledger.check(RUN.run_id)
        ledger.orphans_to_unknown(RUN.run_id)
        return {claim.seq for claim in ledger.claim(RUN.run_id, limit=N, lease_ms=1)}
    finally:
        ledger.close()


def test_what_a_crash_leaves_is_whole(path: Path) -> None:
    left = crashed(path)
    ledger = SqliteLedger.open(left)
    ledger.check(RUN.run_id)
    before = settled(ledger)
    ledger.close()
    assert len(before) == 6 * 31  # of each 40: 27 settled, 4 left as intents; 9 deferred
    assert not set(before) & sendable(left)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_byte_never_sends_anything_twice(path: Path, seed: int) -> None:
    """In the file, its log or its mark: it is noticed, or it changes nothing about who still is to get a message."""
    random = Random(seed)
    left = crashed(path)
    ledger = SqliteLedger.open(shutil.copytree(left.parent, left.parent.with_name("whole")) / left.name)
    before = set(settled(ledger))
    ledger.close()
    victim = random.choice([file for file in left.parent.iterdir() if file.stat().st_size])
    content = bytearray(victim.read_bytes())
    for _ in range(random.choice([1, 1, 8])):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    victim.write_bytes(content)
    try:
        again = sendable(left)
    except (SenderError, apsw.Error, ValueError):
        return
    assert not again & before, f"seed {seed}: {victim.name}"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda log: log.unlink(), id="deleted"),
        pytest.param(lambda log: log.write_bytes(b""), id="emptied"),
        pytest.param(lambda log: log.write_bytes(log.read_bytes()[: log.stat().st_size // 2]), id="torn in half"),
        pytest.param(lambda log: log.write_bytes(log.read_bytes()[:-9000]), id="without its last commit"),
        pytest.param(lambda log: flip(log, -2000), id="its last commit damaged"),
        pytest.param(lambda log: flip(log, 4), id="its header damaged"),
    ],
)
def test_a_log_that_lost_commits_is_refused(path: Path, spoil: Callable[[Path], object]) -> None:
    """SQLite itself takes each of these for a log that simply ends there."""
    left = crashed(path)
    spoil(left.with_name(left.name + "-wal"))
    with pytest.raises(StateError) as caught:
        sendable(left)
    assert "commits are missing" in caught.value.what or "not a ledger" in caught.value.what
    assert caught.value.exit_code == 5


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0xFF
    file.write_bytes(content)


def test_an_old_copy_of_the_ledger_is_refused(path: Path, tmp_path: Path) -> None:
    """As after a restored backup of the file alone."""
    half_sent(path).close()
    old = shutil.copy2(path, tmp_path / "backup")
    ledger = SqliteLedger.open(path)
    ledger.claim(RUN.run_id, limit=5, lease_ms=1)
    ledger.close()
    shutil.copy2(old, path)
    for read_only in (False, True):
        with pytest.raises(StateError, match=r"the last \d+ of its \d+ commits are missing") as caught:
            SqliteLedger.open(path, read_only=read_only)
        assert "ledger.sqlite3-mark" in str(caught.value.fix)


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 12, b"\xff" * 40])
def test_a_mark_that_is_damaged_itself_says_nothing(path: Path, content: bytes) -> None:
    half_sent(path).close()
    CommitMark(path).path.write_bytes(content)
    SqliteLedger.open(path).close()


def test_a_mark_that_lags_behind_is_right(path: Path) -> None:
    """It is not synced: after a power cut it may be older than the ledger."""
    half_sent(path).close()
    old = CommitMark(path).path.read_bytes()
    ledger = SqliteLedger.open(path)
    ledger.claim(RUN.run_id, limit=5, lease_ms=1)
    ledger.close()
    CommitMark(path).path.write_bytes(old)
    SqliteLedger.open(path).close()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        pytest.param("DELETE FROM message WHERE seq = 17", "rows of messages, and", id="a row is gone"),
        pytest.param("UPDATE message SET seq = 399 WHERE seq = 239", "rows of messages, and", id="the last one moved"),
        pytest.param("UPDATE message SET run = 2 WHERE seq = 3", "rows of messages, and", id="to another run"),
        pytest.param(
            "UPDATE message SET state = 'accepteD' WHERE seq = 3", "in an impossible state", id="a state of no name"
        ),
        pytest.param(
            "UPDATE message SET message_id = NULL WHERE seq = 0", "in an impossible state", id="accepted without an id"
        ),
        pytest.param(
            "UPDATE message SET attempts = 9 WHERE seq = 0", "in an impossible state", id="more tries than claims"
        ),
    ],
)
def test_rows_that_contradict_one_another_are_refused(path: Path, change: str, what: str) -> None:
    half_sent(path).close()
    db = apsw.Connection(str(path))
    db.execute("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
    db.execute(change)
    db.close()
    with pytest.raises(StateError, match=what):
        sendable(path)


def test_an_index_that_calls_a_settled_message_pending_sends_nothing(path: Path) -> None:
    """The row itself is asked once more when it is claimed."""
    ledger = half_sent(path)
    deferred = ledger.claim(RUN.run_id, limit=1, lease_ms=1)[0].seq  # a fresh one; the deferred wait for long
    ledger.close()
    db = apsw.Connection(str(path))
    db.execute("PRAGMA ignore_check_constraints = ON; PRAGMA writable_schema = ON")
    sql = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'message_waiting'").get
    db.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, 'state = ''pending''', 'seq >= 0') WHERE name = 'message_waiting'"
    )
    db.close()
    db = apsw.Connection(str(path))  # now the index holds every row, as a damaged one might
    db.execute("REINDEX message_waiting; PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'message_waiting'", (sql,))
    db.close()
    before = SqliteLedger.open(path)
    known = set(settled(before))
    before.close()
    assert deferred in known
    assert not sendable(path) & known


# Reading what nobody may write


def test_reading_changes_nothing(path: Path) -> None:
    half_sent(path).close()
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.name != path.name + "-shm"}
    ledger = SqliteLedger.open(path, read_only=True)
    assert ledger.counts(RUN.run_id).accepted == 54
    with pytest.raises(StateError, match="cannot be written"):
        ledger.claim(RUN.run_id, limit=1, lease_ms=1)
    ledger.close()
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.name != path.name + "-shm"}
    assert {name: content for name, content in after.items() if content} == before


def test_reading_while_another_process_writes(path: Path) -> None:
    writing = half_sent(path)
    reading = SqliteLedger.open(path, read_only=True)
    writing.claim(RUN.run_id, limit=3, lease_ms=1)
    assert reading.counts(RUN.run_id).intent == 24 + 3
    reading.close()
    writing.close()


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users may enter; pytest's own are closed to them, again at each start of a pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


AS_NOBODY = """
import os, sys
from pathlib import Path
from sender.state.sqlite.ledger import SqliteLedger

if os.geteuid() == 0:  # who may write everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
ledger = SqliteLedger.open(Path(sys.argv[1]), read_only=True)
print(ledger.counts("run-1").accepted)
"""


@posix
@pytest.mark.process
@pytest.mark.parametrize("log_left", [False, True], ids=["closed", "crashed"])
def test_a_directory_that_nobody_may_write_can_be_read(path: Path, public_folder: Path, log_left: bool) -> None:
    """As another user, so that it holds for root too. What a crash left in the log needs its shared memory as well."""
    ledger = half_sent(path)
    place = public_folder / "mounted"
    if log_left:
        shutil.copytree(path.parent, place)
    ledger.close()
    if not log_left:
        shutil.copytree(path.parent, place)
    for file in place.iterdir():
        file.chmod(0o444)
    place.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(place / path.name)], capture_output=True, text=True, check=False
    )
    place.chmod(0o755)
    assert done.stdout.strip() == "54", done.stderr


def test_a_ledger_that_is_not_there_is_not_made_by_reading(path: Path) -> None:
    with pytest.raises(StateError, match="cannot be opened"):
        SqliteLedger.open(path, read_only=True)
    assert not path.parent.exists()
