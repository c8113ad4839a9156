"""Every input row in the results exactly once, its own cells untouched; the formats; the sums."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import stat
import sys
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.core.errors import InputError
from sender.core.outcomes import Reason, Status
from sender.plan.manifest import Manifest
from sender.plan.pace import Pace
from sender.plan.plan import PLAN_SCHEMA, Plan
from sender.reports import results
from sender.state.ledger import JOURNAL_SCHEMA

RUN = "20251121-spring-1a2b"
AT = datetime(2025, 11, 21, 9, 30, 0, 120_000, tzinfo=UTC)


def make_plan(
    rows: Sequence[Mapping[str, Any]],
    cells: Mapping[str, Sequence[str | None]] | None = None,
    *,
    fields: Mapping[str, Any] | None = None,
    rows_in_manifest: int | None = None,
) -> Plan:
    """A plan of `rows`: one with a `reason` is skipped, the others are messages of one segment unless they say more."""
    full, seq = [], 0
    for index, row in enumerate(rows):
        base: dict[str, Any] = {"row_number": index + 2, "to": f"+1202555{100 + index % 100:04d}", "region": "US"}
        if "reason" not in row:
            base |= {"seq": seq, "from_number": "+12025550199", "body": "Hi", "media": []}
            base |= {"encoding": "GSM-7", "segments": 1}
            seq += 1
        full.append(base | dict(row))
    frame = pl.DataFrame(full, schema=PLAN_SCHEMA)
    originals = pl.DataFrame(dict(cells or {}), schema=dict.fromkeys(cells or {}, pl.String))
    recipient = originals.to_struct("recipient") if cells else pl.Series("recipient", [None] * frame.height)
    manifest = Manifest(
        campaign="spring",
        provider="twilio",
        dialect="twilio",
        senders=("+12025550199",),
        fields=fields or {},
        test_to=None,
        rows=frame.height if rows_in_manifest is None else rows_in_manifest,
        messages=seq,
        blank_rows=0,
        skipped={},
        segments=seq,
        segment_counts={"1": seq},
        encodings={"GSM-7": seq},
        mms=0,
        replacements=(),
        notes=(),
        pace=Pace("none", None, "messages", 16, 5, 30.0),
        sandbox={},
        inputs=(),
        versions={},
        plan_hash="0" * 64,
    )
    return Plan(manifest, frame.with_columns(recipient))


def make_journal(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """A journal; every row was claimed once unless it says more."""
    return pl.DataFrame([{"attempts": 1} | dict(row) for row in rows], schema=JOURNAL_SCHEMA)


def one(**cells: str | None) -> pl.DataFrame:
    """The results of one accepted message with these values in our columns."""
    row = {"seq": 0, "state": "accepted", "status": "sent", "created_at": AT, **cells}
    return results.results(make_plan([{}]), make_journal(row), RUN)


def test_columns_are_the_designs_with_the_original_ones_after_row_number():
    frame = results.results(make_plan([{}], {"Phone": ["202-555-0100"], "name": ["Ana"]}), make_journal(), RUN)
    assert frame.columns == ["row_number", "Phone", "name", *results.COLUMNS[1:]]
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
        }
    )
    assert results.results(make_plan([{}], {"name": ["Ana"]}), journal, RUN).row(0, named=True) == {
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
        "run_id": RUN,
    }


def test_a_skipped_row_says_why_and_nothing_about_a_message():
    skipped = {"reason": "too_long", "detail": "7 segments", "from_number": "+12025550199", "segments": 7}
    row = results.results(make_plan([{}, skipped]), make_journal(), RUN).row(1, named=True)
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
    frame = results.results(make_plan([{}]), journal, RUN)
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
    assert results.results(plan, make_journal(), RUN)["from"].item() == shown


@pytest.mark.parametrize(
    ("originals", "renamed"),
    [
        pytest.param(["Phone"], {}, id="none"),
        pytest.param(["status"], {"status": "sender_status"}, id="one"),
        pytest.param(["to", "row_number"], {"to": "sender_to", "row_number": "sender_row_number"}, id="two"),
        pytest.param(["Status", "TO"], {}, id="another case is another name"),
        pytest.param(["to", "sender_to"], {"to": "sender_sender_to"}, id="the prefixed name is taken too"),
        pytest.param(["sender_to"], {}, id="only the prefixed name"),
    ],
)
@pytest.mark.parametrize("form", results.FORMATS)
def test_a_clash_renames_our_column_and_never_theirs(
    originals: list[str], renamed: dict[str, str], form: str, tmp_path: Path
):
    plan = make_plan([{}], {name: [f"=their {name}"] for name in originals})
    frame = results.results(plan, make_journal({"seq": 0, "state": "rejected", "error_message": "=x"}), RUN)
    ours = [renamed.get(name, name) for name in results.COLUMNS]
    assert frame.columns == [ours[0], *originals, *ours[1:]]
    path = tmp_path / f"out.{form}"
    results.write(frame, path)
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet, "xlsx": pl.read_excel}
    back = read[form](path)
    assert back.columns == frame.columns
    assert [back[name].item() for name in originals] == [f"=their {name}" for name in originals]
    assert back[renamed.get("status", "status")].item() == "rejected"


def test_a_frame_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"results\(\)"):
        results.dump(pl.DataFrame({"a": [1]}), io.BytesIO(), "csv")


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(ANY_TEXT | st.none(), ANY_TEXT, st.booleans()), min_size=1, max_size=20))
def test_every_row_comes_back_once_in_order_and_unchanged(rows: list[tuple[str | None, str, bool]]):
    cells = {'a,\n"b': [row[0] for row in rows], "=name": [row[1] for row in rows]}
    plan = make_plan([{} if row[2] else {"reason": "duplicate", "detail": "of row 2"} for row in rows], cells)
    messages = sum(row[2] for row in rows)
    journal = make_journal(*({"seq": seq, "state": "accepted"} for seq in range(0, messages, 2)))
    frame = results.results(plan, journal, RUN)
    assert frame["row_number"].to_list() == list(range(2, len(rows) + 2))
    assert frame.select(list(cells)).to_dict(as_series=False) == cells
    assert frame["ref"].drop_nulls().to_list() == [f"{RUN}.{seq}" for seq in range(messages)]

    text = io.BytesIO()
    results.dump(frame, text, "csv")
    header, *lines = csv.reader(io.StringIO(text.getvalue().decode(), newline=""))
    assert header == frame.columns
    assert [(line[1], line[2]) for line in lines] == [(row[0] or "", row[1]) for row in rows]

    objects = io.BytesIO()
    results.dump(frame, objects, "jsonl")
    back = [json.loads(line) for line in objects.getvalue().decode().split("\n") if line]
    assert [tuple(entry[name] for name in cells) for entry in back] == [row[:2] for row in rows]
    assert list(back[0]) == frame.columns


@pytest.mark.parametrize("form", ["csv", "jsonl", "xlsx"])
def test_times_are_iso_8601_utc_in_text(form: str, tmp_path: Path):
    path = tmp_path / f"out.{form}"
    results.write(one(), path)
    back = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "xlsx": pl.read_excel}[form](path)
    assert back["created_at"].to_list() == ["2025-11-21T09:30:00.120Z"]


def test_parquet_is_the_frame_itself(tmp_path: Path):
    results.write(one(error_message="=1+1"), tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").equals(one(error_message="=1+1"))


def test_csv_has_no_byte_order_mark_so_that_the_first_header_is_its_name():
    file = io.BytesIO()
    results.dump(one(error_message="Número no válido"), file, "csv")
    assert file.getvalue().startswith(b"row_number,to,")
    assert "Número no válido".encode() in file.getvalue()


FORMULAS = [
    pytest.param("=HYPERLINK(1)", True, id="equals"),
    pytest.param("+cmd|' /C calc'!A0", True, id="plus"),
    pytest.param("-2+3+cmd", True, id="minus"),
    pytest.param("@SUM(1)", True, id="at"),
    pytest.param("\t=1", True, id="tab"),
    pytest.param("\r=1", True, id="carriage return"),
    pytest.param("\n=1", True, id="line feed"),
    pytest.param("＝1+1", True, id="full-width equals"),
    pytest.param("-0.0075", False, id="negative price"),
    pytest.param("+12025550100", False, id="E.164"),
    pytest.param("-", True, id="sign alone"),
    pytest.param("-1\n=1", True, id="number and more"),
    pytest.param("1=1", False, id="equals inside"),
    pytest.param("The number is +1", False, id="sentence"),
    pytest.param("", False, id="empty"),
]


@pytest.mark.parametrize(("text", "guarded"), FORMULAS)
@pytest.mark.parametrize("column", ["error_message", "provider_status", "message_id", "price"])
def test_csv_guards_what_a_spreadsheet_takes_for_a_formula(text: str, guarded: bool, column: str):
    file = io.BytesIO()
    results.dump(one(**{column: text}), file, "csv")
    row = next(csv.DictReader(io.StringIO(file.getvalue().decode(), newline="")))
    assert row[column] == ("'" if guarded else "") + text


@pytest.mark.parametrize(("text", "marked"), FORMULAS)
def test_a_workbook_keeps_every_text_a_text(text: str, marked: bool, tmp_path: Path):
    plan = make_plan([{}], {"their": [text], "number": ["007"], "link": ["https://example.com"]})
    journal = make_journal({"seq": 0, "state": "rejected", "error_message": text, "price": "-0.0075"})
    results.write(results.results(plan, journal, RUN), tmp_path / "out.xlsx")
    with zipfile.ZipFile(tmp_path / "out.xlsx") as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
        assert not any("hyperlink" in archive.read(name).decode() for name in archive.namelist())
        assert ("quotePrefix" in archive.read("xl/styles.xml").decode()) == marked
    assert "<f>" not in sheet
    back = pl.read_excel(tmp_path / "out.xlsx").row(0, named=True)
    assert (back["their"], back["error_message"]) == (text, text)
    assert (back["number"], back["link"]) == ("007", "https://example.com")
    assert (back["row_number"], back["price"]) == (2, -0.0075)


@pytest.mark.parametrize(
    ("text", "limits", "what"),
    [
        pytest.param("x" * 32_768, {}, "32768 characters", id="long cell"),
        pytest.param("\N{PARTY POPPER}" * 16_384, {}, "32768 characters", id="long cell in UTF-16"),
        pytest.param("x", {"_XLSX_ROWS": 1}, "do not fit", id="rows"),
        pytest.param("x", {"_XLSX_COLUMNS": 20}, "do not fit", id="columns"),
    ],
)
def test_a_workbook_that_would_lose_something_is_not_written(
    text: str, limits: dict[str, int], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in limits.items():
        monkeypatch.setattr(results, name, value)
    frame = results.results(make_plan([{}], {"note": [text]}), make_journal(), RUN)
    with pytest.raises(InputError, match=what) as caught:
        results.write(frame, tmp_path / "out.xlsx")
    assert caught.value.fix == "write csv, jsonl or parquet"
    assert list(tmp_path.iterdir()) == []


def test_a_workbook_of_no_rows(tmp_path: Path):
    results.write(results.results(make_plan([]), make_journal(), RUN), tmp_path / "out.xlsx")
    assert pl.read_excel(tmp_path / "out.xlsx", raise_if_empty=False).height == 0


@pytest.mark.parametrize(
    ("name", "form", "starts"),
    [
        pytest.param("out.csv", None, b"row_number", id="csv"),
        pytest.param("out.CSV", None, b"row_number", id="upper case"),
        pytest.param("out.jsonl", None, b"{", id="jsonl"),
        pytest.param("out.ndjson", None, b"{", id="ndjson"),
        pytest.param("out.parquet", None, b"PAR1", id="parquet"),
        pytest.param("out.xlsx", None, b"PK", id="xlsx"),
        pytest.param("out.txt", "csv", b"row_number", id="format over suffix"),
        pytest.param("out", "jsonl", b"{", id="format without suffix"),
    ],
)
def test_write_replaces_the_file_whole_for_its_owner_only(name: str, form: str | None, starts: bytes, tmp_path: Path):
    path = tmp_path / name
    path.write_text("what was there before")
    results.write(one(), path, form)
    assert path.read_bytes().startswith(starts)
    assert list(tmp_path.iterdir()) == [path]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_write_goes_through_a_link_to_the_file_it_names(tmp_path: Path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    results.write(one(), tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes().startswith(b"row_number")


@pytest.mark.parametrize(
    ("path", "form", "what", "fix"),
    [
        pytest.param("out.pdf", None, "'.pdf' is not", "csv, jsonl, parquet, xlsx", id="suffix"),
        pytest.param("out", None, "no suffix", "csv, jsonl, parquet, xlsx", id="no suffix"),
        pytest.param("out.csv", "yaml", "'yaml' is not", "csv, jsonl, parquet, xlsx", id="format"),
        pytest.param("no/such/out.csv", None, "there is no folder", "create the folder", id="folder"),
        pytest.param("file/out.csv", None, "there is no folder", "create the folder", id="folder is a file"),
        pytest.param("folder.csv", None, "not a file", "name a file", id="target is a folder"),
    ],
)
def test_write_refuses_in_a_sentence(path: str, form: str | None, what: str, fix: str, tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError) as caught:
        results.write(one(), tmp_path / path, form)
    assert what in caught.value.what
    assert fix in (caught.value.fix or "")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.csv"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_write_never_replaces_what_is_not_a_file(tmp_path: Path):
    """As the superuser, a plain replace would turn /dev/null into the results."""
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="not a file"):
        results.write(one(), tmp_path / "pipe.csv")
    assert (tmp_path / "pipe.csv").is_fifo()


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), id="text"),
        pytest.param(pl.exceptions.ComputeError("No space left on device"), id="parquet"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def half_written(frame: pl.DataFrame, file: Any, form: str) -> None:
        file.write(b"row_nu")
        raise error

    monkeypatch.setattr(results, "dump", half_written)
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        results.write(one(), tmp_path / "out.csv")
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"out.csv": "old"}


def test_nothing_is_replaced_before_the_new_file_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(InputError, match="Input/output error"):
        results.write(one(), tmp_path / "out.csv")
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"out.csv": "old"}


MIXED = make_plan([*[{}] * 8, {"reason": "duplicate"}, {"reason": "duplicate"}, {"reason": "invalid_number"}])
MIXED_JOURNAL = make_journal(
    {"seq": 0, "state": "accepted", "status": "delivered", "price": "-0.0075", "currency": "USD", "segments": 3},
    {"seq": 1, "state": "accepted", "status": "delivered", "price": "-0.0075", "currency": "USD"},
    {"seq": 2, "state": "accepted", "status": "failed", "reason": "filtered", "error_code": "30007"},
    {"seq": 3, "state": "rejected", "reason": "invalid_number", "error_code": "21211", "error_message": "bad To"},
    {"seq": 4, "state": "rejected", "reason": "invalid_number", "error_code": "21211", "error_message": "bad too"},
    {"seq": 5, "state": "unknown", "error_message": "the answer did not come within 30 s"},
    {"seq": 6, "state": "pending", "reason": "rate_limited", "error_code": "20429"},
)


def test_summary_counts_what_became_of_the_rows():
    assert results.summarise(MIXED, MIXED_JOURNAL) == results.Summary(
        rows=11,
        skipped={"duplicate": 2, "invalid_number": 1},
        accepted=3,
        rejected=2,
        unknown=1,
        pending=2,
        statuses={"skipped": 3, "delivered": 2, "pending": 2, "rejected": 2, "failed": 1, "unknown": 1},
        errors=(
            results.ErrorCount("rejected", "invalid_number", "21211", "bad To", 2),
            results.ErrorCount("failed", "filtered", "30007", None, 1),
            results.ErrorCount("unknown", None, None, "the answer did not come within 30 s", 1),
            results.ErrorCount("pending", "rate_limited", "20429", None, 1),
        ),
        segments=5,
        price={"USD": Decimal("0.0150")},
    )


def test_summary_reads_a_written_plan(tmp_path: Path):
    written = MIXED.write(tmp_path / "plan")
    assert results.summarise(written, MIXED_JOURNAL) == results.summarise(MIXED, MIXED_JOURNAL)
    assert results.results(written, MIXED_JOURNAL, RUN).equals(results.results(MIXED, MIXED_JOURNAL, RUN))


@pytest.mark.parametrize(
    ("plan", "journal", "law", "holds"),
    [
        pytest.param(
            MIXED,
            MIXED_JOURNAL,
            "11 rows = 3 skipped + 3 accepted + 2 rejected + 1 unknown + 2 pending",
            True,
            id="holds",
        ),
        pytest.param(
            make_plan([{}]),
            make_journal({"seq": 0, "state": "intent"}),
            "1 row = 0 skipped + 0 accepted + 0 rejected + 1 unknown + 0 pending",
            True,
            id="an intent is unknown",
        ),
        pytest.param(
            make_plan([]),
            make_journal(),
            "0 rows = 0 skipped + 0 accepted + 0 rejected + 0 unknown + 0 pending",
            True,
            id="no rows",
        ),
        pytest.param(
            make_plan([{}]),
            make_journal({"seq": 0, "state": "accepted"}, {"seq": 7, "state": "accepted"}),
            "1 row ≠ 0 skipped + 2 accepted + 0 rejected + 0 unknown + 0 pending",
            False,
            id="a journal row without a message",
        ),
        pytest.param(
            make_plan([{}]),
            make_journal({"seq": 0, "state": "lost"}),
            "1 row ≠ 0 skipped + 0 accepted + 0 rejected + 0 unknown + 0 pending",
            False,
            id="a state nobody knows",
        ),
        pytest.param(
            make_plan([{}], rows_in_manifest=2),
            make_journal(),
            "2 rows ≠ 0 skipped + 0 accepted + 0 rejected + 0 unknown + 1 pending",
            False,
            id="a row lost since the plan was made",
        ),
    ],
)
def test_the_conservation_law(plan: Plan, journal: pl.DataFrame, law: str, holds: bool):
    summary = results.summarise(plan, journal)
    assert summary.law() == law
    assert summary.holds is holds


@given(st.lists(st.sampled_from(["skip", "absent", "pending", "intent", "accepted", "rejected", "unknown"])))
def test_the_law_holds_for_every_mixture_and_agrees_with_the_results(fates: list[str]):
    plan = make_plan([{"reason": "suppressed"} if fate == "skip" else {} for fate in fates])
    sent = [fate for fate in fates if fate != "skip"]
    journal = make_journal(*({"seq": n, "state": fate} for n, fate in enumerate(sent) if fate != "absent"))
    summary = results.summarise(plan, journal)
    assert summary.holds
    assert summary.accepted == fates.count("accepted")
    assert summary.unknown == fates.count("unknown") + fates.count("intent")
    statuses = results.results(plan, journal, RUN)["status"].to_list()
    assert summary.statuses == {status: statuses.count(status) for status in set(statuses)}


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        pytest.param([], 0, id="only pending"),
        pytest.param([{"state": "accepted", "status": "queued"}], 0, id="queued"),
        pytest.param([{"state": "accepted", "status": "delivered"}], 0, id="delivered"),
        pytest.param([{"state": "accepted", "status": "canceled"}], 0, id="canceled on purpose"),
        pytest.param([{"state": "accepted", "status": "unconfirmed"}], 0, id="no receipt will come"),
        pytest.param([{"state": "accepted", "status": "failed"}], 1, id="failed"),
        pytest.param([{"state": "accepted", "status": "undelivered"}], 1, id="undelivered"),
        pytest.param([{"state": "rejected"}, {"state": "accepted"}], 1, id="one rejected"),
        pytest.param([{"state": "unknown"}, {"state": "rejected"}], 4, id="unknown before rejected"),
        pytest.param([{"state": "intent"}], 4, id="intent"),
    ],
)
def test_exit_code(rows: list[dict[str, str]], code: int):
    plan = make_plan([{}, {}, {"reason": "duplicate"}])
    journal = make_journal(*({"seq": seq, **row} for seq, row in enumerate(rows)))
    assert results.summarise(plan, journal).exit_code == code


@pytest.mark.parametrize(
    ("prices", "total"),
    [
        pytest.param([("0.1", "USD")] * 3, {"USD": "0.3"}, id="exact"),
        pytest.param([("-0.0075", "USD"), ("0.0040", "USD")], {"USD": "0.0115"}, id="a charge may be negative"),
        pytest.param([("1", "EUR"), ("2", "USD")], {"EUR": "1", "USD": "2"}, id="by currency"),
        pytest.param([("1", None)], {"": "1"}, id="no currency"),
        pytest.param([(None, "USD"), ("n/a", "USD"), ("NaN", "USD")], {}, id="none readable"),
    ],
)
def test_price(prices: list[tuple[str | None, str | None]], total: dict[str, str]):
    rows = [
        {"seq": seq, "state": "accepted", "price": price, "currency": currency}
        for seq, (price, currency) in enumerate(prices)
    ]
    summary = results.summarise(make_plan([{}] * len(prices)), make_journal(*rows))
    assert summary.price == {currency: Decimal(amount) for currency, amount in total.items()}


def test_the_document_names_every_column_status_and_reason() -> None:
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text("utf-8")
    table = text[text.index("| column |") : text.index("Reasons of skipped rows")]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    assert tuple(name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)) == results.COLUMNS
    assert {*Status, *Reason} <= set(re.findall(r"`(\w+)`", text))
