"""A message's status for people."""

from __future__ import annotations

import polars as pl
import pytest

import sender
from sender.state.ledger import JOURNAL_SCHEMA
from sender.state.message_status import status_of, what_became


@pytest.mark.parametrize(
    ("seq", "state", "status", "shown"),
    [
        (None, None, None, "skipped"),
        (0, None, None, "pending"),
        (0, "pending", None, "pending"),
        (0, "intent", None, "unknown"),
        (0, "unknown", None, "unknown"),
        (0, "rejected", None, "rejected"),
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
