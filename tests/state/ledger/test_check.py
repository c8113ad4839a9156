"""`check`, clause by clause: each row that cannot be is noticed by itself, and none that can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from sender.core.errors import StateError
from sender.core.outcomes import Accepted, Deferred, Reason, Rejected, Unknown
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.sqlite.ledger import SqliteLedger

ACCEPTED, REJECTED, UNKNOWN, INTENT, PENDING = range(5)  # the seq of a message in each state
CANCELED = "state = 'canceled', not_before = NULL, reason = 'closed'"  # what makes a pending one canceled
RUN = Run("run-1", "welcome", RunKind.LIVE, "twilio", "9f86d081", None, 6, 6, 0, 1_767_268_800_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger whose first five messages are in the five states; the sixth was never claimed."""
    path = tmp_path / "ledger.sqlite3"
    ledger = SqliteLedger.open(path)
    ledger.create_run(RUN)
    claims = ledger.claim(RUN.run_id, limit=5, lease_ms=1000)
    outcomes = {
        ACCEPTED: Accepted("SM0"),
        REJECTED: Rejected(Reason.BLOCKED),
        UNKNOWN: Unknown("timeout"),
        PENDING: Deferred(Reason.RATE_LIMITED),
    }
    ledger.record(RUN.run_id, [Settlement(claims[seq], outcome) for seq, outcome in outcomes.items()])
    ledger.close()
    return path


@pytest.fixture
def check(path: Path) -> Iterator[Callable[..., None]]:
    """Makes a change to the file that no program may make, and then checks the run."""
    ledger = SqliteLedger.open(path)

    def change_and_check(statement: str, *values: int) -> None:
        db = apsw.Connection(str(path))
        db.execute("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
        db.execute(statement, values)
        db.close()
        ledger.check(RUN.run_id)

    yield change_and_check
    ledger.close()


@pytest.mark.parametrize(
    ("seq", "change"),
    [
        pytest.param(REJECTED, "state = 'Rejected'", id="a state that is none"),
        pytest.param(INTENT, "deadline = NULL", id="an intent without a deadline"),
        pytest.param(REJECTED, "deadline = 1", id="a deadline without an intent"),
        pytest.param(PENDING, "not_before = NULL", id="pending, due never"),
        pytest.param(UNKNOWN, "not_before = 1", id="due, and not pending"),
        pytest.param(ACCEPTED, "message_id = NULL", id="accepted without an id"),
        pytest.param(REJECTED, "message_id = 'SM1'", id="an id that was not accepted"),
        pytest.param(REJECTED, "attempts = 0", id="rejected without an attempt"),
        pytest.param(PENDING, "attempts = -1", id="fewer than no attempts"),
        pytest.param(ACCEPTED, "attempts = fence + 1", id="more attempts than claims"),
        pytest.param(ACCEPTED, "attempts = 0", id="accepted without an attempt"),
        pytest.param(INTENT, "attempts = 0", id="an intent without an attempt"),
        pytest.param(UNKNOWN, "attempts = 0", id="unknown without an attempt"),
        pytest.param(REJECTED, "reason = NULL", id="rejected without a reason"),
        pytest.param(PENDING, f"{CANCELED}, reason = NULL", id="canceled without a reason"),
        pytest.param(PENDING, f"{CANCELED}, not_before = 1", id="canceled, and due"),
        pytest.param(PENDING, f"{CANCELED}, deadline = 1", id="canceled, with a deadline"),
        pytest.param(PENDING, f"{CANCELED}, message_id = 'SM1'", id="canceled, with an id"),
        pytest.param(PENDING, f"{CANCELED}, attempts = -1", id="canceled after fewer than no attempts"),
    ],
)
def test_a_row_that_cannot_be_is_noticed(check: Callable[..., None], seq: int, change: str) -> None:
    with pytest.raises(StateError, match=r"1 message of run run-1 is in an impossible state"):
        check(f"UPDATE message SET {change} WHERE seq = ?", seq)


def test_rows_that_cannot_be_are_counted(check: Callable[..., None]) -> None:
    with pytest.raises(StateError, match=r"3 messages of run run-1 are in an impossible state"):
        check("UPDATE message SET state = '' WHERE seq < 3")


@pytest.mark.parametrize(
    ("statement", "rows", "claimed"),
    [
        pytest.param("DELETE FROM message WHERE seq = 0", 4, 5, id="the first is gone"),
        pytest.param("DELETE FROM message WHERE seq = 3", 4, 5, id="one in between is gone"),
        pytest.param("UPDATE message SET seq = 5 WHERE seq = 4", 5, 6, id="the last has moved"),
        pytest.param("UPDATE message SET seq = -1 WHERE seq = 2", 5, 5, id="one is before the first"),
        pytest.param("UPDATE run SET messages = 4", 5, 5, id="more than the run has"),
    ],
)
def test_rows_that_are_not_dense_are_noticed(
    check: Callable[..., None], statement: str, rows: int, claimed: int
) -> None:
    with pytest.raises(StateError, match=rf"has {rows} rows of messages, and {claimed} were claimed"):
        check(statement)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT 1", id="as it is"),
        pytest.param("UPDATE run SET messages = 5, rows = 5", id="all were claimed"),
        pytest.param("UPDATE message SET attempts = 0 WHERE state = 'pending'", id="prefetched, never claimed"),
        pytest.param("UPDATE message SET fence = 9", id="claims that were released"),
        pytest.param("UPDATE message SET attempts = 3, fence = 3", id="claimed three times, none released"),
        pytest.param(f"UPDATE message SET {CANCELED} WHERE state = 'pending'", id="canceled"),
        pytest.param(
            f"UPDATE message SET {CANCELED}, attempts = 0 WHERE state = 'pending'", id="canceled, never claimed"
        ),
        pytest.param("DELETE FROM message", id="nothing was claimed"),
    ],
)
def test_what_can_be_is_left_alone(check: Callable[..., None], statement: str) -> None:
    check(statement)
