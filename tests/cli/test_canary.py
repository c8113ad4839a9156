"""A canary, as a person or a job meets it: some messages first, and the others once their receipts allow it."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.conftest import AREAS, Done, Shell

FIRST = 30
MESSAGES = 120
CAMPAIGN = """
provider: sandbox
from: "+12025550100"
recipients: {{file: people.csv}}
dedupe: none
message: "Hi {{{{ name }}}}"
rate: none
canary: {{first: 30, wait: {wait}{stop_if}}}
"""


def people(sender: Shell, *endings: str, messages: int = MESSAGES) -> None:
    """A list in which every fourth block of four begins with one of `endings`, so that the canary meets its share."""
    rows = []
    for number in range(messages):
        block, place = divmod(number, 4)
        area = AREAS[number % len(AREAS)]
        ending = endings[block % len(endings)] if not place and endings else ""
        rows.append(f"P{number},+1{area}555{ending or f'01{number % 90:02}'}")
    sender.write("people.csv", "name,phone\n" + "\n".join(rows) + "\n")


def campaign(sender: Shell, wait: str = "20s", stop_if: str = "") -> None:
    sender.write("offer.yaml", CAMPAIGN.format(wait=wait, stop_if=f", stop_if: {stop_if}" if stop_if else ""))


def send(sender: Shell, *arguments: str, **env: str) -> Done:
    return sender("send", "offer.yaml", "--yes", "--json", "--log-format", "json", *arguments, **env)


def events(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]


def test_a_good_canary_lets_the_others_go_and_its_evidence_is_everywhere(sender: Shell) -> None:
    campaign(sender)
    people(sender)
    done = send(sender)
    assert done.code == 0, done
    canary = done.json["canary"]
    assert (canary["size"], canary["state"], canary["evidence"]["delivered"]) == (FIRST, "passed", FIRST)
    assert [event["event"] for event in events(done) if event["event"].startswith("canary")] == [
        "canary_waiting",
        "canary_passed",
    ]
    assert sender("status", "offer.yaml", "--json").json["canary"] == canary
    assert sender("report", "offer.yaml", "--json").json["run"]["canary"] == canary
    assert "canary of 30 messages: the others were let go on" in sender("status", "offer.yaml").out
    assert "0 of 30 failed (the limit is 10 %)" in sender("report", "offer.yaml").out
