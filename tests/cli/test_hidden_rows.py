"""Rows that a workbook hides: what the commands say and ask."""

from __future__ import annotations

import pytest
import xlsxwriter

from tests.cli.conftest import Shell
from tests.cli.test_prompts import Terminal

WORDS = ("people.xlsx", "--body", "Hi {{ name }}", "--from", "+12025550100", "--provider", "sandbox")
QUESTION = r"1 row is hidden in the workbook, by a filter or by hand, and it would get a message: row 3\. Skip"


@pytest.fixture
def filtered(sender: Shell) -> Shell:
    """A folder with a list of two people, of whom a filter hides the second."""
    with xlsxwriter.Workbook(sender.folder / "people.xlsx") as book:
        sheet = book.add_worksheet()
        for row, cells in enumerate([("phone", "name"), ("+12025550101", "Ada"), ("+12025550102", "Grace")]):
            sheet.write_row(row, 0, cells)
        sheet.set_row(2, options={"hidden": True})
    return sender


@pytest.mark.parametrize("command", ["plan", "preview", "send"])
def test_nobody_can_be_asked(filtered: Shell, command: str) -> None:
    done = filtered(command, *WORDS, *(["--yes"] if command == "send" else []))
    assert done.code == 2
    assert done.err.startswith("error: people.xlsx: 1 row is hidden in the workbook")
    assert "--hidden-rows skip" in done.err
    assert filtered("status").code in (0, 2), "no run began"


@pytest.mark.parametrize(("choice", "accepted"), [("skip", 1), ("keep", 2)])
def test_the_option_decides(filtered: Shell, choice: str, accepted: int) -> None:
    done = filtered("send", *WORDS, "--hidden-rows", choice, "--yes", "--wait", "0", "--json")
    assert (done.code, done.json["accepted"]) == (0, accepted), done
    again = filtered("send", *WORDS, "--hidden-rows", choice, "--yes", "--wait", "0", "--json")
    assert (again.code, "has been sent" in again.err) == (3, True), "twice is once"


def test_the_campaign_decides_and_the_plan_says_so(filtered: Shell) -> None:
    filtered.write(
        "offer.yaml",
        "name: offer\nprovider: sandbox\nfrom: '+12025550100'\nmessage: Hi\n"
        "recipients: {file: people.xlsx, hidden_rows: skip}\n",
    )
    done = filtered("plan", "offer.yaml", "--json")
    assert (done.code, done.json["skipped"], done.json["numbers"]["hidden_rows"]) == (0, {"hidden_row": 1}, "skip")
    assert any("it gets no message" in note for note in done.json["notes"])


def test_a_wrong_word_is_refused(filtered: Shell) -> None:
    assert filtered("plan", *WORDS, "--hidden-rows", "maybe").code == 2
    assert filtered("plan", *WORDS, "--set", "recipients.hidden_rows=maybe").code == 2


@pytest.mark.process
@pytest.mark.parametrize(("answer", "messages"), [("skip", 1), ("keep", 2)])
def test_a_person_is_asked_once(filtered: Shell, answer: str, messages: int) -> None:
    terminal = Terminal(filtered, "send", *WORDS, "--wait", "0")
    terminal.sees(QUESTION)
    terminal.types("perhaps\n")
    terminal.sees("'perhaps' is not one of")
    terminal.types(f"{answer}\n")
    terminal.sees(rf"Send {messages} messages? through the sandbox\? \[y/N\]: ")
    terminal.types("y\n")
    terminal.sees(rf"{messages} accepted")
    assert terminal.ends() == 0
    terminal.close()


@pytest.mark.process
def test_a_person_at_a_terminal_is_asked_by_plan(filtered: Shell) -> None:
    terminal = Terminal(filtered, "plan", *WORDS, "--json")
    terminal.sees(QUESTION)
    terminal.types("skip\n")
    terminal.sees('"hidden_row": ?1')
    assert terminal.ends() == 0
    terminal.close()
