"""Values and rows: what cannot be stored is left out, and the rest comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sender.core.canary import Canary, CanaryState
from sender.core.outcomes import (
    Accepted,
    Canceled,
    CancelReason,
    Deferred,
    Outcome,
    Reason,
    Rejected,
    Status,
    SubmissionState,
    Unknown,
)
from sender.state.ledger import DOUBTS_SCHEMA, JOURNAL_SCHEMA, Run, RunKind
from sender.state.ledger_values import MOVES_SCHEMA
from sender.state.rows import (
    SettledFields,
    cleaned,
    doubts_frame,
    epoch_ms,
    journal_frame,
    moves_frame,
    read_run,
    run_columns,
    settled,
    uint32,
)

NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00Z
COLUMNS = len(JOURNAL_SCHEMA)
RUN = Run("run-1", "spring", RunKind.LIVE, "twilio", "hash", "spring.yaml", 3, 2, 1, NOON_MS, NOON_MS + 1, account="AC1", retry_of="run-0")  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "fields"),
    [
        pytest.param(
            Accepted("SM1", status=Status.SENT, segments=2, price="0.01", currency="USD", created_at="2026-01-01T12:00:00Z"),
            SettledFields(SubmissionState.ACCEPTED, message_id="SM1", status=Status.SENT, segments=2, price="0.01", currency="USD", created_at=NOON_MS),
            id="accepted",
        ),
        pytest.param(
            Accepted("SM1", status=Status.DELIVERED),
            SettledFields(SubmissionState.ACCEPTED, message_id="SM1", status=Status.DELIVERED, final_at=20),
            id="accepted and final at once",
        ),
        pytest.param(
            Accepted("SM\ud83d", Status.SENT, "sent\ud83d", 2, "0.01\ud83d", "USD\ud83d", "2026-01-01T12:00:00Z", "2026-01-01T12:00:01Z", Reason.OTHER, "7\ud83d", "\ud83d odd", wait_s=1.0, pause_s=2.0),
            SettledFields(SubmissionState.ACCEPTED, None, "SM?", Status.SENT, "sent?", Reason.OTHER, "7?", "? odd", 2, "0.01?", "USD?", NOON_MS, NOON_MS + 1000),
            id="accepted with all that an answer can hold",
        ),
        pytest.param(
            Accepted("SM1", segments=-1, created_at="yesterday", sent_at="soon"),
            SettledFields(SubmissionState.ACCEPTED, message_id="SM1", status=Status.QUEUED),
            id="accepted with what cannot be stored",
        ),
        pytest.param(
            Rejected(Reason.BLOCKED, "1", "no"),
            SettledFields(SubmissionState.REJECTED, reason=Reason.BLOCKED, error_code="1", error_message="no"),
            id="rejected",
        ),
        pytest.param(
            Deferred(Reason.RATE_LIMITED, "2", "later"),
            SettledFields(SubmissionState.PENDING, not_before=10, reason=Reason.RATE_LIMITED, error_code="2", error_message="later"),
            id="deferred",
        ),
        pytest.param(Unknown("timeout"), SettledFields(SubmissionState.UNKNOWN, error_message="timeout"), id="unknown"),
        pytest.param(Rejected(Reason.OTHER, "1\ud83d", "\ud83d"), SettledFields(SubmissionState.REJECTED, reason=Reason.OTHER, error_code="1?", error_message="?"), id="rejected in odd text"),
        pytest.param(Deferred(Reason.OTHER, "1\ud83d", "\ud83d"), SettledFields(SubmissionState.PENDING, 10, reason=Reason.OTHER, error_code="1?", error_message="?"), id="deferred in odd text"),
        pytest.param(Unknown("\ud83d", "503\ud83d"), SettledFields(SubmissionState.UNKNOWN, error_code="503?", error_message="?"), id="unknown with a code, in odd text"),
        pytest.param(None, SettledFields(SubmissionState.PENDING, not_before=10), id="proved absent"),
        pytest.param(Canceled(CancelReason.OPTED_OUT, "\ud83d STOP"), SettledFields(SubmissionState.CANCELED, reason=CancelReason.OPTED_OUT, error_message="? STOP"), id="canceled"),
    ],
)  # fmt: skip
def test_what_an_outcome_makes_of_a_row(outcome: Outcome | None, fields: SettledFields) -> None:
    assert settled(outcome, due_ms=10, now_ms=20) == fields


@pytest.mark.parametrize(
    "run",
    [
        RUN,
        replace(RUN, closed_at_ms=NOON_MS, closed_by="anna", close_reason=CancelReason.ABANDONED),
        replace(RUN, simulated=True, source=None, finished_at_ms=None, kind=RunKind.TEST),
        replace(RUN, canary=Canary(200, CanaryState.WAITING, waiting_since_ms=NOON_MS)),
    ],
)
def test_a_run_comes_back(run: Run) -> None:
    columns = run_columns(run)
    assert len(columns) == 21
    stored = [
        str(value) if isinstance(value, str) else int(value) if isinstance(value, bool) else value for value in columns
    ]
    again = read_run(stored)
    assert again == run
    assert (type(again.kind), type(again.simulated)) == (RunKind, bool)
    assert type(again.close_reason) is type(run.close_reason)


def test_lone_surrogates_are_replaced() -> None:
    assert cleaned("caf\u00e9 \ud83d") == "caf\u00e9 ?"
    assert cleaned("\U0001f600") == "\U0001f600"
    assert cleaned(None) is None
    assert run_columns(replace(RUN, campaign="\ud83d", source="\ud83d"))[1:6:4] == ("?", "?")
    assert run_columns(replace(RUN, campaign=""))[1] == ""


@pytest.mark.parametrize(("value", "stored"), [(None, None), (-1, None), (0, 0), (2**32 - 1, 2**32 - 1), (2**32, None)])
def test_a_count_that_fits_is_stored(value: int | None, stored: int | None) -> None:
    assert uint32(value) == stored


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        (None, None),
        ("", None),
        ("yesterday", None),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00", 0),
        ("1970-01-01T01:00:00.0019+01:00", 1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_a_time_is_milliseconds_utc(text: str | None, ms: int | None, local_zone: None) -> None:
    assert epoch_ms(text) == ms


def test_a_journal_s_frame_has_its_schema() -> None:
    row = dict.fromkeys(JOURNAL_SCHEMA) | {"seq": 7, "state": "accepted", "intent_at": NOON_MS, "resent": 0}
    frame = journal_frame([tuple(row.values()), tuple((row | {"seq": 8, "intent_at": None}).values())], JOURNAL_SCHEMA)
    assert dict(frame.schema) == JOURNAL_SCHEMA
    assert frame["seq"].to_list() == [7, 8]
    assert frame["intent_at"].to_list() == [datetime(2026, 1, 1, 12, tzinfo=UTC), None]


@pytest.mark.parametrize(
    "widths", [(COLUMNS - 1,), (COLUMNS, COLUMNS - 1), (COLUMNS, COLUMNS + 1), (COLUMNS + 1,)], ids=str
)
def test_a_row_that_is_not_a_journal_s_is_an_error(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        journal_frame([(None,) * width for width in widths], JOURNAL_SCHEMA)


@pytest.mark.parametrize("count", [0, 1, len(DOUBTS_SCHEMA), 20])
def test_a_frame_of_doubts_has_its_schema(count: int) -> None:
    row = dict.fromkeys(DOUBTS_SCHEMA) | {"run_id": "run-1", "state": "unknown", "intent_at": NOON_MS}
    frame = doubts_frame([tuple((row | {"seq": seq}).values()) for seq in range(count)])
    assert dict(frame.schema) == DOUBTS_SCHEMA
    assert frame["seq"].to_list() == list(range(count))
    assert frame["intent_at"].to_list() == [datetime(2026, 1, 1, 12, tzinfo=UTC)] * count


@pytest.mark.parametrize("count", [0, 1, len(MOVES_SCHEMA), 20])
def test_a_frame_of_moves_has_its_schema(count: int) -> None:
    row = dict.fromkeys(MOVES_SCHEMA) | {"attempt": 1, "route": 0, "outcome": "rejected", "at": NOON_MS + 7}
    frame = moves_frame([tuple((row | {"seq": seq}).values()) for seq in range(count)])
    assert dict(frame.schema) == MOVES_SCHEMA
    assert frame["seq"].to_list() == list(range(count))
    assert frame["at"].to_list() == [datetime(2026, 1, 1, 12, 0, 0, 7_000, tzinfo=UTC)] * count
