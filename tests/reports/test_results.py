"""Every input row in the results exactly once, its own cells untouched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sender.core.outcomes import Reason, Status
from sender.core.safe_tables import BODY, are_results_headers
from sender.reports.results import COLUMNS, results_frame
from tests.reports.runs import AT, RUN, make_journal, make_plan


def test_columns_are_the_designs_with_the_original_ones_after_row_number():
    frame = results_frame(make_plan([{}], {"Phone": ["202-555-0100"], "name": ["Ana"]}), make_journal(), RUN)
    assert frame.columns == ["row_number", "Phone", "name", *COLUMNS[1:]]
    assert frame.schema["created_at"] == pl.Datetime("ms", "UTC")


def test_an_accepted_message():
    journal = make_journal(
        {
            "seq": 0,
            "state": "accepted",
            "attempts": 2,
            "message_id": "SM1",
            "status": "delivered",
            "provider_status": "read",
            "segments": 2,
            "price": "-0.0075",
            "currency": "USD",
            "created_at": AT,
            "sent_at": AT,
            "updated_at": AT,
            "line_type": "mobile",
            "carrier": "EXAMPLE WIRELESS",
            "smart_encoded": True,
        }
    )
    assert results_frame(make_plan([{}], {"name": ["Ana"]}), journal, RUN).row(0, named=True) == {
        "row_number": 2,
        "name": "Ana",
        "to": "+12025550100",
        "from": "+12025550199",
        "provider": "twilio",
        "message_id": "SM1",
        "ref": f"{RUN}.0",
        "status": "delivered",
        "provider_status": "read",
        "reason": None,
        "error_code": None,
        "error_message": None,
        "segments": 2,
        "encoding": "GSM-7",
        "price": "-0.0075",
        "currency": "USD",
        "attempts": 2,
        "created_at": AT,
        "sent_at": AT,
        "updated_at": AT,
        "line_type": "mobile",
        "carrier": "EXAMPLE WIRELESS",
        "smart_encoded": True,
        "variant": None,
        "moved_from": None,
        "run_id": RUN,
    }


def test_a_skipped_row_says_why_and_nothing_about_a_message():
    skipped = {"reason": "too_long", "detail": "7 segments", "from_number": "+12025550199", "segments": 7}
    row = results_frame(make_plan([{}, skipped]), make_journal(), RUN).row(1, named=True)
    told = {name: value for name, value in row.items() if value is not None}
    assert told == {
        "row_number": 3,
        "to": "+12025550101",
        "provider": "twilio",
        "status": "skipped",
        "reason": "too_long",
        "error_message": "7 segments",
        "run_id": RUN,
    }


@pytest.mark.parametrize(
    ("row", "status"),
    [
        pytest.param(None, "pending", id="never claimed"),
        pytest.param({"state": "pending"}, "pending", id="deferred"),
        pytest.param({"state": "intent"}, "unknown", id="a crash left the intent"),
        pytest.param({"state": "unknown"}, "unknown", id="unknown"),
        pytest.param({"state": "rejected"}, "rejected", id="rejected"),
        pytest.param({"state": "accepted"}, "queued", id="accepted, no word yet"),
        pytest.param({"state": "accepted", "status": "queued"}, "queued", id="accepted, queued"),
        pytest.param({"state": "accepted", "status": "undelivered"}, "undelivered", id="accepted, undelivered"),
        pytest.param({"state": "accepted", "status": "unconfirmed"}, "unconfirmed", id="accepted, unconfirmed"),
    ],
)
def test_status(row: dict[str, Any] | None, status: str):
    journal = make_journal(*([{"seq": 0, **row}] if row else []))
    frame = results_frame(make_plan([{}]), journal, RUN)
    assert frame["status"].item() == status
    assert frame["attempts"].item() == (1 if row else 0)


@pytest.mark.parametrize(
    ("fields", "from_number", "shown"),
    [
        pytest.param({}, "+12025550199", "+12025550199", id="number"),
        pytest.param({"messaging_service_sid": "MG1"}, None, "MG1", id="Twilio service"),
        pytest.param({"messaging_profile_id": "p-1"}, None, "p-1", id="Telnyx number pool"),
        pytest.param({"messaging_profile_id": "p-1"}, "ACME", "ACME", id="alphanumeric with a profile"),
    ],
)
def test_from(fields: dict[str, str], from_number: str | None, shown: str):
    plan = make_plan([{"from_number": from_number}], fields=fields)
    assert results_frame(plan, make_journal(), RUN)["from"].item() == shown


def test_the_document_names_every_column_status_and_reason() -> None:
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text("utf-8")
    table = text[text.index("| column |") : text.index("Reasons of skipped rows")]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    assert tuple(name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)) == (*COLUMNS, BODY)
    assert {*Status, *Reason} <= set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize(
    ("headers", "is_one"),
    [
        pytest.param([*COLUMNS], True, id="ours"),
        pytest.param([*COLUMNS, "body"], True, id="with-texts"),
        pytest.param(["row_number", "body", *COLUMNS[1:], "sender_body"], True, id="with-texts-and-a-column-body"),
        pytest.param(["row_number", "name", "phone", *COLUMNS[1:]], True, id="with-original-columns"),
        pytest.param(["sender_row_number", "row_number", *COLUMNS[1:]], True, id="prefixed"),
        pytest.param([name for name in COLUMNS if name != "encoding"], True, id="of-a-version-with-fewer"),
        pytest.param([*COLUMNS[:-1], "latency_s", "run_id"], True, id="of-a-version-with-more"),
        pytest.param(["name", "phone"], False, id="a-list"),
        pytest.param([name for name in COLUMNS if name != "ref"], False, id="without-what-each-has"),
        pytest.param([*COLUMNS[1:]], False, id="without-row-number"),
        pytest.param([], False, id="nothing"),
    ],
)
def test_a_results_file_is_recognised_by_its_headers(headers: list[str], is_one: bool) -> None:
    assert are_results_headers(headers) is is_one
