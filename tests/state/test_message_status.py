"""A message's status for people."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sender
from sender.state.ledger import JOURNAL_SCHEMA, RunKind
from sender.state.message_status import join_journal, read_journal, status_of, what_became
from tests.state.run_history import (
    ACCEPTED,
    ADA,
    GRACE,
    INTENT,
    JEAN,
    MARY,
    PENDING,
    RADIA,
    REJECTED,
    UNKNOWN,
    run_history,
)


@given(
    rows=st.lists(st.integers(0, 12) | st.none(), max_size=12),
    known=st.sets(st.integers(0, 12)) | st.builds(lambda low, high: set(range(low, high)), *[st.integers(0, 12)] * 2),
)
def test_a_journal_is_joined_by_the_number_of_the_message(rows: list[int | None], known: set[int]) -> None:
    plan = pl.DataFrame(
        {"seq": rows, "row_number": range(len(rows))}, schema={"seq": pl.UInt32, "row_number": pl.Int64}
    )
    texts = {seq: f"SM{seq}" for seq in sorted(known)}
    journal = pl.DataFrame(
        {"seq": [*texts], "message_id": [*texts.values()]}, {"seq": pl.UInt32, "message_id": pl.String}
    )
    joined = join_journal(plan, journal)
    assert dict(joined.schema) == {"seq": pl.UInt32, "row_number": pl.Int64, "_message_id": pl.String}
    assert joined.rows() == [(seq, at, texts.get(-1 if seq is None else seq)) for at, seq in enumerate(rows)]


@pytest.mark.parametrize(
    ("seq", "state", "status", "shown"),
    [
        (None, None, None, "skipped"),
        (0, None, None, "pending"),
        (0, "pending", None, "pending"),
        (0, "intent", None, "unknown"),
        (0, "unknown", None, "unknown"),
        (0, "rejected", None, "rejected"),
        (0, "canceled", None, "canceled"),
        (0, "accepted", None, "queued"),
        (0, "accepted", "delivered", "delivered"),
    ],
)
def test_the_status_of_a_row(seq: int | None, state: str | None, status: str | None, shown: str) -> None:
    frame = pl.DataFrame(
        {"seq": [seq], "_state": [state], "_status": [status]},
        schema={"seq": pl.UInt32, "_state": pl.String, "_status": pl.String},
    )
    assert frame.select(status_of()).item() == shown


def test_a_journal_has_the_columns_that_were_asked_for(tmp_path: Path) -> None:
    with run_history(tmp_path) as history:
        run = history.add({ADA: ACCEPTED, GRACE: INTENT})
        assert read_journal(history.state, run, columns=("seq", "state")).columns == ["seq", "state"]
        assert read_journal(history.state, run, seqs=[1])["seq"].to_list() == [1]


def test_what_became_of_each_message() -> None:
    people = [{"phone": "+12025550101"}, {"phone": "n/a"}, {"phone": "+12025550102"}]
    plan = sender.build_plan(
        sender.load_campaign(provider="sandbox", from_="+12025550100", message="Hi", recipients=people)
    )
    row = dict.fromkeys(JOURNAL_SCHEMA) | {"seq": 1, "state": "rejected", "reason": "blocked"}
    journal = pl.DataFrame([row], schema=JOURNAL_SCHEMA)
    statuses = what_became(plan, journal)
    assert dict(statuses.schema) == {"row_number": pl.UInt32, "status": pl.String, "reason": pl.String}
    assert statuses.rows() == [(1, "pending", None), (3, "rejected", "blocked")]


@pytest.mark.parametrize("by", ["nobody", "another kind", "another campaign", "a process"])
def test_a_message_under_way_is_pending_while_a_process_sends_the_run(tmp_path: Path, by: str) -> None:
    fates = {ADA: ACCEPTED, GRACE: INTENT, JEAN: UNKNOWN, MARY: PENDING, RADIA: REJECTED}
    with run_history(tmp_path) as history:
        run = history.add(fates)
        locks = history.state.locks
        holds = {
            "nobody": nullcontext,
            "another kind": lambda: locks.hold_campaign(run.campaign, RunKind.TEST),
            "another campaign": lambda: locks.hold_campaign("summer", run.kind),
            "a process": lambda: locks.hold_campaign(run.campaign, run.kind),
        }
        with holds[by]():
            journal = read_journal(history.state, run)
        states = ["accepted", "pending" if by == "a process" else "intent", "unknown", "pending", "rejected"]
        assert journal["state"].to_list() == states
        assert journal.drop("state").equals(history.state.ledger.journal(run.run_id).drop("state"))
