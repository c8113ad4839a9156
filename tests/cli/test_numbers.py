"""`sender numbers`: the numbers that no text can arrive at, and who skips them."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Sandbox, Shell


@pytest.fixture
def shell(sender: Shell) -> Shell:
    assert sender("init", "--state-only").code == 0
    return sender


def test_a_day_is_fetched_and_its_numbers_are_skipped_where_the_campaign_says_so(
    shell: Shell, shared_sandbox: Sandbox
) -> None:
    first = shell("numbers", "import-deactivations", "yesterday", **shared_sandbox.env)
    assert (first.code, first.out.partition(": ")[2]) == (0, "3 deactivated numbers, 3 new\n")
    again = shell("numbers", "import-deactivations", "2026-11-20", **shared_sandbox.env)
    assert again.out == "twilio, 2026-11-20: 3 deactivated numbers, 0 new\n"
    shell.write("people.csv", "phone\n+12025550188\n+12025550101\n")
    plan = ("plan", "people.csv", "--body", "Hi", "--from", "+12025550100", "--provider", "twilio", "--json")
    assert shell(*plan).json["messages"] == 2
    skipped = shell(*plan, "--skip-dead").json
    assert (skipped["messages"], skipped["skipped"]) == (1, {"invalid_number": 1})


def test_a_file_is_read_as_any_list_and_names_what_it_cannot_read(shell: Shell) -> None:
    shell.write("deact-2026-11-01.txt", "12025550101\n(212) 555-0102\nabc\n")
    done = shell("numbers", "import-deactivations", "deact-2026-11-01.txt")
    assert done.code == 1
    assert done.out.splitlines()[0] == "deact-2026-11-01.txt, 2026-11-01: 2 deactivated numbers, 2 new"
    assert "line 3: `abc`" in done.out
    (newest, _) = shell("numbers", "list", "--json").json
    assert newest == {
        "number": "+12125550102",
        "reason": "invalid_number",
        "at": "2026-11-01T00:00:00+00:00",
        "why": "on the list of deactivated numbers from deact-2026-11-01.txt on 2026-11-01 00:00 UTC",
    }
    assert shell("numbers", "list", "--limit", "1").out.startswith("2 dead numbers (2 invalid_number)\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["nonsense"], "`nonsense` is neither a day nor a file", id="neither"),
        pytest.param(["2026-13-01"], "`2026-13-01` is neither a day nor a file", id="no such day"),
        pytest.param(["2199-01-01"], "is in the future", id="future"),
        pytest.param(["yesterday", "--date", "2026-11-01"], "--date is the day of a file's list", id="two days"),
        pytest.param(["list.txt", "--date", "soon"], "`soon` is neither", id="a file's day"),
        pytest.param(["words.txt"], "not one phone number", id="a file without numbers"),
        pytest.param(["yesterday"], "TWILIO_ACCOUNT_SID", id="no credentials"),
    ],
)
def test_bad_input_has_its_sentence(shell: Shell, arguments: list[str], sentence: str) -> None:
    shell.write("list.txt", "+12025550101\n")
    shell.write("words.txt", "hello\nworld\n")
    done = shell("numbers", "import-deactivations", *arguments)
    assert (done.code, sentence in done.err) == (2, True), done
    assert shell("numbers", "list").out == "0 dead numbers\n"


def test_a_number_is_revived_but_an_opt_out_stays(shell: Shell) -> None:
    shell.write("list.txt", "+12025550101\n+12025550102\n")
    shell("numbers", "import-deactivations", "list.txt")
    shell("suppress", "add", "+12025550102", "--reason", "opted_out")
    done = shell("numbers", "remove", "(202) 555-0101", "+12025550102", "+12025550103", "--region", "US")
    assert (done.code, done.out.splitlines()[0]) == (1, "1 number removed, 1 not on the list")
    assert "kept: +12025550102 is put on the suppression list by hand" in done.out
    assert [each["number"] for each in shell("numbers", "list", "--json").json] == ["+12025550102"]
    assert shell("numbers", "remove", "+12025550104").out == "0 numbers removed, 1 not on the list\n"
    assert shell("numbers", "remove", "abc").code == 2


def test_no_state_is_begun(sender: Shell) -> None:
    done = sender("numbers", "import-deactivations", "yesterday")
    assert (done.code, "init --state-only" in done.err) == (2, True)
