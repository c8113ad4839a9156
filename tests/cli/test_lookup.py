"""`sender lookup`: its cost is said first, each number is paid for once, and what is learned counts."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tests.cli.conftest import Done, Sandbox, Shell

PEOPLE = "phone\n(202) 555-0192\n+12025550101\n+12025550187\n+12025550190\n+12025550186\n+12025550101\nabc\n"
ASKED = ("--provider", "twilio", "--price", "0.008", "--default-region", "US")


@pytest.fixture
def shell(sender: Shell) -> Shell:
    assert sender("init", "--state-only").code == 0
    sender.write("people.csv", PEOPLE)
    return sender


def ask(shell: Shell, provider: Sandbox, *arguments: str) -> Done:
    return shell("lookup", "people.csv", *ASKED, *arguments, **provider.env)


def test_each_number_is_paid_for_once_and_written(shell: Shell, shared_sandbox: Sandbox) -> None:
    done = ask(shell, shared_sandbox, "--yes", "--limit", "2")
    assert (done.code, done.out.splitlines()[:2]) == (
        0,
        ["5 numbers; 2 to look up at twilio", "cost 0.016 USD (0.008 each), about 0 s"],
    )
    rest = ask(shell, shared_sandbox, "--yes", "-o", "numbers.csv")
    assert rest.out.startswith("5 numbers, 2 already known; 3 to look up at twilio\n")
    assert "up to 0.024 USD spent" in rest.out
    rows = pl.read_csv(shell.folder / "numbers.csv", infer_schema=False).rows(named=True)
    assert [(row["number"][-4:], row["line_type"], row["valid"]) for row in rows] == [
        ("0192", "fixed_line", "true"),
        ("0101", "mobile", "true"),
        ("0187", "voip", "true"),
        ("0190", None, "false"),
        ("0186", "mobile", "true"),
    ]
    assert rows[0]["looked_up_at"].endswith("Z")
    again = ask(shell, shared_sandbox, "-o", "numbers.parquet")
    assert (again.code, "0 to look up" in again.out, "cost" in again.out) == (0, True, False)
    assert pl.read_parquet(shell.folder / "numbers.parquet").schema["looked_up_at"] == pl.Datetime("ms", "UTC")
    dead = {(each["number"][-4:], each["reason"]) for each in shell("numbers", "list", "--json").json}
    assert dead == {("0192", "landline"), ("0190", "invalid_number")}


def test_a_number_with_a_new_owner_gets_nothing(shell: Shell, shared_sandbox: Sandbox) -> None:
    done = ask(shell, shared_sandbox, "--yes", "--reassigned-since", "2026-05-01")
    assert "1 number with a new owner: suppressed" in done.out
    why = shell("suppress", "why", "+12025550186").out
    assert "suppressed: with a new owner after 2026-05-01, as twilio says on " in why
    plan = shell("plan", "people.csv", "--body", "Hi", "--from", "+12025550100", *ASKED[:2], *ASKED[4:], "--json").json
    assert plan["skipped"] == {"invalid_number": 1, "duplicate": 1, "suppressed": 1}


def test_forget_and_prune_take_what_was_learned(shell: Shell, shared_sandbox: Sandbox) -> None:
    ask(shell, shared_sandbox, "--yes")
    assert "erased the results of lookups" in shell("forget", "+12025550187", "--yes").out
    assert "1 to look up" in ask(shell, shared_sandbox, "--dry-run").out
    assert shell("prune", "--older-than", "0s", "--dry-run").out == "would remove the results of lookups of 4 numbers\n"
    assert shell("prune", "--older-than", "0s", "--yes").out == "removed the results of lookups of 4 numbers\n"
    assert "5 to look up" in ask(shell, shared_sandbox, "--dry-run").out
    assert not any(b"+12025550187" in file.read_bytes() for file in (shell.folder / ".sender").glob("numbers*"))


def test_a_campaign_asks_for_those_it_would_text(shell: Shell) -> None:
    shell.write(
        "offer.yaml",
        'provider: sandbox\nfrom: "+12025550100"\nmessage: Hi\nlimits: {max_cost: 0.01}\nprices: p.yaml\n'
        "recipients: {file: people.csv, default_region: US}\n",
    )
    shell.write("p.yaml", "currency: USD\nprices: [{to: US, sms: 0.001}]\n")
    shell("suppress", "add", "+12025550101")
    over = shell("lookup", "offer.yaml", "--yes")
    assert (over.code, "4 lookups would cost 0.020 USD, but at most 0.01 may be spent" in over.err) == (3, True), over
    done = shell("lookup", "offer.yaml", "--max-cost", "1")
    assert (done.code, "4 numbers; 4 to look up at sandbox" in done.out) == (0, True), done


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        pytest.param(["people.csv"], 2, "the provider to ask is missing", id="no provider"),
        pytest.param(["people.csv", "--provider", "twilio"], 2, "the price of a lookup is unknown", id="no price"),
        pytest.param(["people.csv", *ASKED], 2, "no terminal to ask on", id="not agreed to"),
        pytest.param(["people.csv", *ASKED, "--max-cost", "0.01", "--yes"], 3, "--limit 1 stays within", id="too dear"),
        pytest.param(["people.csv", *ASKED[:3], "cheap"], 2, "--price: 'cheap' is not an amount", id="a bad price"),
        pytest.param(["people.csv", *ASKED, "--reassigned-since", "May"], 2, "`May` is not a day", id="a bad day"),
        pytest.param(["people.csv", *ASKED, "-o", "x.pdf"], 2, "not a format that can be written", id="a bad format"),
        pytest.param(["people.csv", *ASKED, "-o", "people.csv", "--force"], 2, "is an input of the campaign", id="the list"),
        pytest.param(["people.csv", *ASKED, "--dry-run", "-o", "x.csv"], 2, "leave out --output", id="a dry run's file"),
        pytest.param(["people.csv", *ASKED, "--max-age", "old"], 2, "--max-age: 'old' is not a duration", id="a bad age"),
        pytest.param(["none.csv", *ASKED], 2, "no such file", id="no list"),
        pytest.param(
            ["people.csv", "--provider", "telnyx", *ASKED[2:], "--reassigned-since", "2026-05-01", "--yes"],
            2, "only Twilio says whether", id="not Telnyx",
        ),
        pytest.param(["people.csv", *ASKED, "--yes"], 3, "HTTP 401", id="wrong credentials"),
    ],
)  # fmt: skip
def test_bad_input_has_its_sentence(
    shell: Shell, shared_sandbox: Sandbox, arguments: list[str], code: int, sentence: str
) -> None:
    env = shared_sandbox.env | ({"TWILIO_AUTH_TOKEN": "bad token".replace(" ", "-")} if code == 3 else {})
    done = shell("lookup", *arguments, **env)
    assert (done.code, sentence in done.err + done.out) == (code, True), done
    listed = shell("numbers", "list", "--json").out
    assert json.loads(listed) == []


def test_no_state_is_begun(sender: Shell) -> None:
    sender.write("people.csv", PEOPLE)
    done = sender("lookup", "people.csv", *ASKED, "--yes")
    assert (done.code, "init --state-only" in done.err) == (2, True)


def test_a_rehearsal_asks_the_sandbox_and_costs_nothing_real(shell: Shell) -> None:
    done = shell("lookup", "people.csv", "--provider", "telnyx", "--default-region", "US", "--rehearse")
    assert (done.code, "(0.005 each, simulated)" in done.out) == (0, True), done
    assert "for sandbox" in shell("suppress", "why", "+12025550192").out
