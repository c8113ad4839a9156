"""What a person was sent, and the texts in the results: `sender history` and `--with-body`."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

import sender as library
from tests.cli.conftest import Shell

SAMPLE = Path(__file__).parents[1] / "samples" / "state-6dd9dae"
OPTIONS = ("--provider", "sandbox", "--from", "+12025550100", "--default-region", "US", "--yes")
ADA, GRACE, REJECTED = "+12025550101", "+12025550102", "+12025550190"


@pytest.fixture
def sent(sender: Shell) -> Shell:
    """Two campaigns: Ada had both, was in one of them twice, and has opted out since."""
    sender.write("offer.csv", f"name,phone\nAda,{ADA}\nGrace,202-555-0102\nAda,(202) 555-0101\nBo,{REJECTED}\n")
    sender.write("news.csv", f"name,phone\nAda,{ADA}\n")
    assert sender("send", "offer.csv", "--body", "Hi {{ name }}", *OPTIONS).code == 1
    assert sender("send", "news.csv", "--body", "=News for {{ name }}", *OPTIONS).code == 0
    assert sender("suppress", "add", ADA, "--note", "asked by phone").code == 0
    return sender


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        pytest.param(ADA, (), id="e164"),
        pytest.param("12025550101", (), id="without-plus"),
        pytest.param("+1 (202) 555-0101", (), id="spaced"),
        pytest.param("tel:+1-202-555-0101", (), id="uri"),
        pytest.param("(202) 555-0101", ("--region", "US"), id="national"),
        pytest.param("202.555.0101", ("--region", "us"), id="dots-and-lower-case"),
        pytest.param("2025550101", ("--default-region", "US"), id="the-other-name"),
    ],
)
def test_a_number_is_found_in_any_form_that_a_person_types(sent: Shell, typed: str, options: tuple[str, ...]) -> None:
    found = sent("history", typed, "--json", *options).json
    assert found["number"] == ADA
    shown = [(entry["campaign"], entry["row_number"], entry["status"], entry["text"]) for entry in found["messages"]]
    assert shown == [
        ("offer", 2, "delivered", "Hi Ada"),
        ("offer", 4, "skipped", None),
        ("news", 2, "delivered", "=News for Ada"),
    ]
    assert [(entry["reason"], entry["note"]) for entry in found["suppressions"]] == [("suppressed", "asked by phone")]
    first = found["messages"][0]
    assert first["ref"].startswith(first["run_id"])
    assert first["at"].endswith("+00:00")
    assert (first["from_number"], first["provider"], first["kind"]) == ("+12025550100", "sandbox", "sandbox")


@pytest.mark.parametrize("typed", ["2025550101", "hello", "", "+1202555"])
def test_what_cannot_be_read_as_a_number_is_refused(sent: Shell, typed: str) -> None:
    refused = sent("history", typed)
    assert refused.code == 2, refused
    assert "--region US" in refused.err


def test_history_for_a_person_to_read(sent: Shell) -> None:
    shown = sent("history", ADA)
    assert shown.code == 0, shown
    assert f"{ADA}: 2 messages (2 delivered), skipped 1 time; 1 entry on the suppression list" in shown.out
    assert "skipped: duplicate; same number as row 2" in shown.out
    assert "'Hi Ada'" in shown.out
    assert "asked by phone" in shown.out
    refused = sent("history", REJECTED)
    assert "rejected: " in refused.out, refused
    nobody = sent("history", "+12025550199")
    assert (nobody.code, "0 messages; 0 entries" in nobody.out) == (0, True), nobody


def test_a_run_whose_plan_is_gone_is_named(sent: Shell) -> None:
    run = sent("status", "offer", "--json").json["run_id"]
    shutil.rmtree(sent.folder / ".sender" / "runs" / run / "plan")
    found = sent("history", ADA, "--json").json
    assert found["unread_runs"] == [run]
    assert [entry["campaign"] for entry in found["messages"]] == ["news"]
    assert run in sent("history", ADA).out


def test_the_history_of_a_state_of_an_older_version(sender: Shell) -> None:
    shutil.copytree(SAMPLE / "state", sender.folder / ".sender")
    with library.open_state(sender.folder / ".sender", read_only=True) as state:
        number = state.plan(state.find("half")).messages["to"][0]
    found = sender("history", number, "--json").json
    assert found["unread_runs"] == []
    (entry,) = [entry for entry in found["messages"] if entry["campaign"] == "half"]
    assert (entry["status"] in {"queued", "sent", "delivered"}, "the water is off" in entry["text"]) == (True, True)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
def test_texts_are_in_the_results_on_request(sent: Shell, form: str) -> None:
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet, "xlsx": pl.read_excel}[form]
    for campaign, texts in (("offer", ["Hi Ada", "Hi Grace", None, "Hi Bo"]), ("news", ["=News for Ada"])):
        file = sent.folder / f"out-{campaign}.{form}"
        assert sent("results", campaign, "-o", str(file)).code == 0
        plain = read(file)
        assert sent("results", campaign, "-o", str(file), "--with-body").code == 0, "it replaces the other"
        frame = read(file)
        assert frame.columns == [*plain.columns, "body"]
        guarded = [f"'{text}" if form == "csv" and text and text.startswith("=") else text for text in texts]
        assert frame["body"].to_list() == guarded
        assert sent("results", campaign, "-o", str(file)).code == 0, "and is replaced"


def test_send_and_retry_write_the_texts_on_request(sender: Shell) -> None:
    sender.write("offer.csv", f"name,phone\nAda,{ADA}\nBo,{REJECTED}\n")
    assert sender("send", "offer.csv", "--body", "Hi {{ name }}", "--with-body", *OPTIONS).code == 1
    assert sender.results()["body"].to_list() == ["Hi Ada", "Hi Bo"]
    again = sender("retry", "offer", "--reason", "invalid_number", "--with-body", "--output", "out.jsonl", "--yes")
    assert again.code == 1, again
    assert pl.read_ndjson(sender.folder / "out.jsonl")["body"].to_list() == ["Hi Bo"]


def test_a_column_called_body_keeps_its_name(sender: Shell) -> None:
    sender.write("own.csv", f"phone,body\n{ADA},Your own\n")
    assert sender("send", "own.csv", "--with-body", *OPTIONS).code == 0
    rows = sender.results()
    assert (rows["body"].item(), rows["sender_body"].item()) == ("Your own", "Your own")


def test_from_python(sent: Shell) -> None:
    with library.open_state(sent.folder / ".sender", read_only=True) as state:
        found = library.history(state, "(202) 555-0102", region="US")
        assert (found.number, [entry.text for entry in found.messages]) == (GRACE, ["Hi Grace"])
        run = state.find("news")
        assert library.run_results(state, run, with_body=True)["body"].to_list() == ["=News for Ada"]
        assert "body" not in library.run_results(state, run).columns
