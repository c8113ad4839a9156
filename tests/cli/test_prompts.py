"""What is asked on a real terminal, and what each answer does: a start in a pseudo-terminal of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sender.suppression.suppression_list import SuppressionList
from tests import warm
from tests.cli.conftest import Sandbox, Shell

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
ADA, GRACE, EVE = "+12025550101", "+12025550102", "+12025550103"
OFFER = 'name: offer\nprovider: twilio\nfrom: "+12025550150"\nrate: none\nrecipients: people.csv\nmessage: Hi\n'
CTRL_C = "\x03"
SEND_IT = r"Send 1 message through twilio\? \[y/N\]: "


class Terminal:
    """A command on a terminal: what it shows, and what a person types. Its standard output may go to a file."""

    def __init__(self, shell: Shell, *args: str, output: Path | None = None, **env: str) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = ""
        file = None if output is None else output.open("wb")
        self.process = warm.start(
            "sender",
            args,
            cwd=shell.folder,
            env=shell.env | env | {"TERM": "dumb", "COLUMNS": "200"},
            stdout=theirs if file is None else file,
            stderr=theirs,
            terminal=True,
        )
        os.close(theirs)
        if file is not None:
            file.close()

    def sees(self, pattern: str) -> None:
        """Wait until it is shown, behind what was seen before."""
        until = time.monotonic() + 60
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < until, self.shown
            assert self._read() or re.search(pattern, self.shown), f"it ended: {self.shown}"
        self.shown = self.shown[found.end() :]

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())
        for _ in range(10 if text == CTRL_C else 0):  # one that comes right before the program reads waits for the next
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
                return
            os.write(self._ours, text.encode())

    def ends(self) -> int:
        while self._read():
            pass
        return self.process.wait(60)

    def _read(self) -> bool:
        """Whether it still runs."""
        if not select.select([self._ours], [], [], 60)[0]:
            return False
        try:
            some = os.read(self._ours, 65_536)
        except OSError:  # how Linux tells the end
            some = b""
        self.shown += some.decode("utf-8", "replace").replace("\r", "")
        return bool(some)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@pytest.fixture
def at_terminal(sender: Shell, shared_sandbox: Sandbox) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*args: str, output: Path | None = None) -> Terminal:
        opened.append(Terminal(sender, *args, output=output, **shared_sandbox.env))
        return opened[-1]

    sender.begins_states = False
    sender.write("offer.yaml", OFFER)
    sender.write("people.csv", f"phone\n{ADA}\n")
    yield start
    for each in opened:
        each.close()


def decide(start: Terminal, agrees: bool, then: str = SEND_IT) -> int:
    """The exit code after an answer, and after a yes to the question `then`, which is asked of whoever agrees."""
    start.types("y\n" if agrees else "n\n")
    if agrees:
        start.sees(then)
        start.types("y\n")
    return start.ends()


def reached(sender: Shell) -> int:
    found = sender("history", ADA, "--json")
    return len(found.json["messages"]) if found.code == 0 else 0


@pytest.mark.parametrize(
    ("answer", "code", "texts"), [("y\n", 0, 1), ("n\n", 130, 0), ("\n", 130, 0), (CTRL_C, 130, 0)]
)
def test_a_new_state_is_asked_about_and_then_the_start(
    at_terminal: Callable[..., Terminal], sender: Shell, answer: str, code: int, texts: int
) -> None:
    start = at_terminal("send", "offer.yaml", "--wait", "0")
    start.sees(r"new state directory .sender: no earlier runs")
    start.sees(r"Create it\? \[y/N\]: ")
    start.types(answer)
    if texts:
        start.sees(SEND_IT)
        start.types("y\n")
    assert start.ends() == code, start.shown
    assert (sender.folder / ".sender").exists() is bool(texts)
    assert reached(sender) == texts


@pytest.mark.parametrize("answer", ["n\n", "\n", CTRL_C])
def test_whoever_does_not_agree_sends_nothing(at_terminal: Callable[..., Terminal], sender: Shell, answer: str) -> None:
    sender.make_state()
    start = at_terminal("send", "offer.yaml", "--wait", "0")
    start.sees(SEND_IT)
    start.types(answer)
    assert start.ends() == 130, start.shown
    assert reached(sender) == 0
    assert "no runs yet" in sender("status").out


@pytest.mark.parametrize("agrees", [True, False])
def test_a_broken_export_is_asked_about(at_terminal: Callable[..., Terminal], sender: Shell, agrees: bool) -> None:
    sender.make_state()
    sender.write("people.csv", f"phone\n{ADA}\n" + "n/a\n" * 30)
    start = at_terminal("send", "offer.yaml", "--wait", "0")
    start.sees(r"30 of 31 .*Send to the others\? \[y/N\]: ")
    assert decide(start, agrees) == (0 if agrees else 130), start.shown
    assert reached(sender) == agrees


@pytest.mark.parametrize("agrees", [True, False])
def test_the_name_of_another_files_campaign_is_asked_about(
    at_terminal: Callable[..., Terminal], sender: Shell, shared_sandbox: Sandbox, agrees: bool
) -> None:
    sender.make_state()
    assert sender("send", "offer.yaml", "--yes", "--wait", "0", **shared_sandbox.env).code == 0
    sender.write("other/people.csv", f"phone\n{GRACE}\n")
    sender.write("other/offer.yaml", OFFER)
    start = at_terminal("send", "other/offer.yaml", "--wait", "0", "--state", ".sender")
    start.sees(r"offer has been sent from .*to other people\. Is this the same campaign\? \[y/N\]: ")
    assert decide(start, agrees) == (0 if agrees else 130), start.shown
    found = sender("history", GRACE, "--json")
    assert len(found.json["messages"]) == agrees


@pytest.mark.parametrize("agrees", [True, False])
def test_missed_windows_are_asked_about(at_terminal: Callable[..., Terminal], sender: Shell, agrees: bool) -> None:
    later = datetime.now(UTC) + timedelta(hours=3)
    sender.make_state()
    sender.write("people.csv", f"phone,timezone\n{ADA},Etc/UTC\n{GRACE},Asia/Kathmandu\n")
    sender.write(
        "offer.yaml",
        f"{OFFER}window: {{hours: '00:00-24:00', days: all, outside: skip, holidays: [{later:%Y-%m-%d}]}}\n",
    )
    start = at_terminal("send", "offer.yaml", "--wait", "0", "--window", f"{later:%H}:00-{later:%H}:59")
    start.sees(r"2 messages would not be sent.*Send the others\? \[y/N\]: ")
    assert decide(start, agrees, r"Send 2 messages through twilio\? \[y/N\]: ") == (1 if agrees else 130), start.shown
    assert reached(sender) == agrees


def test_a_late_start_is_asked_about(at_terminal: Callable[..., Terminal], sender: Shell) -> None:
    sender.make_state()
    ago = datetime.now(UTC) - timedelta(hours=2)
    sender.write("offer.yaml", f"{OFFER}start: {ago:%Y-%m-%dT%H:%M} Etc/UTC\n")
    start = at_terminal("send", "offer.yaml", "--wait", "0")
    start.sees(r"The start was 2 h.* ago, on .*Begin now\? \[y/N\]: ")
    start.types("y\n")
    start.sees(SEND_IT)
    start.types("y\n")
    assert start.ends() == 0, start.shown
    assert reached(sender) == 1


def test_unclear_replies_are_decided_one_by_one(at_terminal: Callable[..., Terminal], sender: Shell) -> None:
    """Opt out, keep, later: each by its first letters; a typing error is asked about again."""
    sender.make_state()
    unclear = {ADA: "leave me alone", GRACE: "wrong number", EVE: "do not text me"}
    with SuppressionList.open(sender.folder / ".sender") as suppressions:
        for at, (number, text) in enumerate(unclear.items()):
            suppressions.learn_inbound(
                number, text, "+12025550150", "twilio", datetime(2026, 11, 21, 12, at, tzinfo=UTC)
            )
    review = at_terminal("replies", "--review")
    review.sees("3 replies to be decided; until then these numbers get nothing")
    review.sees(
        re.escape(f"{ADA} to +12025550150") + r"[^\n]*\n *leave me alone\n *\S+ opt out, keep, or decide later\?"
    )
    review.types("perhaps\n")
    review.sees(r"opt out, keep, or decide later\?")
    review.types("opt-out\n")
    review.sees(re.escape(f"{ADA} has opted out"))
    review.sees(re.escape(f"{GRACE}: opt out, keep, or decide later?"))
    review.types("keep\n")
    review.sees(re.escape(f"{GRACE} gets messages again"))
    review.sees(re.escape(f"{EVE}: opt out, keep, or decide later?"))
    review.types("later\n")
    assert review.ends() == 0, review.shown
    waiting = sender("replies", "--review", "--json").json
    assert [entry["number"] for entry in waiting] == [EVE]
    assert "opted_out" in sender("suppress", "why", ADA).out
    assert "removed since" in sender("suppress", "why", GRACE).out


@pytest.mark.parametrize("leaves", [CTRL_C, "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_whoever_leaves_the_review_keeps_what_was_decided(
    at_terminal: Callable[..., Terminal], sender: Shell, leaves: str
) -> None:
    sender.make_state()
    with SuppressionList.open(sender.folder / ".sender") as suppressions:
        for at, number in enumerate((ADA, GRACE)):
            when = datetime(2026, 11, 21, 12, at, tzinfo=UTC)
            suppressions.learn_inbound(number, "leave me alone", "+12025550150", "twilio", when)
    review = at_terminal("replies", "--review")
    review.sees(re.escape(f"{ADA}: opt out, keep, or decide later?"))
    review.types("opt-out\n")
    review.sees(re.escape(f"{GRACE}: opt out, keep, or decide later?"))
    review.types(leaves)
    assert review.ends() == 130, review.shown
    assert "Traceback" not in review.shown
    assert [entry["number"] for entry in sender("replies", "--review", "--json").json] == [GRACE]
    assert "opted_out" in sender("suppress", "why", ADA).out


@pytest.mark.parametrize(
    ("command", "question", "key"),
    [
        (("prune", "--older-than", "0s", "--json"), r"Remove this\? It cannot be undone\. \[y/N\]: ", "runs"),
        (("close", "offer", "--json"), r"Close run .*, and cancel 0 pending messages\? \[y/N\]: ", "run_id"),
    ],
    ids=["prune", "close"],
)
def test_a_question_is_no_part_of_the_output(
    at_terminal: Callable[..., Terminal], sender: Shell, command: tuple[str, ...], question: str, key: str
) -> None:
    """`sender ... --json > FILE` asks on the terminal, and the file holds the JSON alone."""
    start = at_terminal("send", "offer.yaml", "--wait", "0", "--yes", "--init-state")
    assert start.ends() == 0, start.shown
    start = at_terminal(*command, output=sender.folder / "out.json")
    start.sees(question)
    start.types("y\n")
    assert start.ends() == 0, start.shown
    assert key in json.loads((sender.folder / "out.json").read_text(encoding="utf-8"))
