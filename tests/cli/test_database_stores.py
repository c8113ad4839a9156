"""What besides runs and opt-outs is kept in a state in a database: replies, and what commands make of it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import Callable

import pytest

from sender import sandbox as simulator
from sender.sandbox.webhooks import SimulatedReply, WebhookSender
from sender.state.open import open_state
from sender.state.ticks import TickRecord
from tests.cli.conftest import Sandbox, Shell
from tests.state.conftest import DATABASES, give_back, lent, new_database, servers, state_pools

__all__ = ["give_back", "lent", "new_database", "servers", "state_pools"]  # fixtures
Start = Callable[..., Sandbox]
OFTEN = """\
provider: sandbox
from: "+12025550199"
recipients: people.csv
message: "Hi {{ name }}"
rate: none
schedule: {cron: "* * * * *", zone: UTC}
"""
ADA, BOB, EVE, OURS = "+12025550147", "+12025550148", "+12025550149", "+12025550100"


@pytest.fixture
def url(new_database: Callable[[str], str]) -> str:
    return new_database(DATABASES[0])


def deliver(listener: str, text: str, number: str, message_id: str) -> int | None:
    """What the webhook about a reply is answered with."""

    async def post() -> int | None:
        async with WebhookSender() as provider:
            reply = SimulatedReply("twilio", f"{listener}/inbound/twilio", number, OURS, text, message_id, ())
            return await provider.deliver_reply(reply)

    return asyncio.run(post())


def test_replies_are_taken_on_one_machine_and_decided_on_another(sender: Shell, url: str) -> None:
    """A STOP and a reply that may be one hold everywhere; `forget` and `prune` reach what is kept."""
    listener = sender.start(
        "listen",
        "--port",
        "0",
        "--keep-replies",
        "--state",
        url,
        **simulator.environment(""),
        XDG_STATE_HOME=str(sender.folder / "one"),
    )
    assert listener.stdout is not None
    at = re.search(r"http://127\.0\.0\.1:\d+", listener.stdout.readline())
    assert at is not None
    for n, (number, text) in enumerate([(ADA, "leave me alone"), (BOB, "STOP"), (EVE, "Yes")]):
        for _ in range(2):  # the same webhook again
            assert deliver(at[0], text, number, f"SM{n:032}") == 200
    listener.send_signal(signal.SIGTERM)
    listener.communicate(timeout=30)
    here = {"SENDER_STATE": url, "XDG_STATE_HOME": str(sender.folder / "two")}
    assert [row["text"] for row in sender("replies", "--json", **here).json] == ["leave me alone", "STOP", "Yes"]
    why = {number: sender("suppress", "why", number, **here).out for number in (ADA, BOB, EVE)}
    assert "under_review" in why[ADA]
    assert "opted_out" in why[BOB]
    assert "is not on the list" in why[EVE]
    assert sender("replies", "--review", "--opt-out", ADA, **here).code == 0
    assert sender("replies", "--review", **here).out == "no reply waits for a decision\n"
    assert "opted_out" in sender("suppress", "why", ADA, **here).out
    assert "1 reply blanked" in sender("forget", EVE, "--yes", **here).out
    assert EVE not in sender("replies", **here).out
    assert "removed 3 replies" in sender("prune", "--older-than", "0h", "--yes", **here).out


def test_each_number_is_looked_up_once_by_any_machine(sender: Shell, sandbox: Start, url: str) -> None:
    provider = sandbox()
    sender.write("people.csv", "phone\n+12025550192\n+12025550101\n+12025550187\n")
    asked = ("lookup", "people.csv", "--provider", "twilio", "--price", "0.008", "--state", url, "--yes")
    done = sender(*asked, "--limit", "2", **provider.env)
    assert (done.code, "3 numbers; 2 to look up at twilio" in done.out) == (0, True), done
    rest = sender(*asked, "-o", "numbers.csv", XDG_STATE_HOME=str(sender.folder / "two"), **provider.env)
    assert rest.out.startswith("3 numbers, 2 already known; 1 to look up at twilio\n"), rest
    listed = sender("numbers", "list", "--json", "--state", url).json
    assert {(each["number"], each["reason"]) for each in listed} == {("+12025550192", "landline")}
    assert "erased the results of lookups" in sender("forget", "+12025550187", "--yes", "--state", url).out
    assert not (sender.folder / ".sender").exists()


def test_two_machines_keep_one_schedule(sender: Shell, url: str) -> None:
    """Each time is started by one of them, and the other knows."""
    sender.people(3)
    sender.write("often.yaml", OFTEN)
    installed = sender("schedule", "install", "--cron", "--state", url)
    where = url.replace("%", "\\%")
    assert f"--state '{where}' --once >>{sender.folder}/schedule.log" in installed.out, installed
    if time.time() % 60 > 40:  # else another time would come meanwhile
        time.sleep(60 - time.time() % 60)
    with open_state(url) as state:
        state.ticks.write(TickRecord("often", "* * * * * UTC", int(time.time() * 1000) - 61_000))
    machines = [
        sender.start("schedule", "run", "--state", url, XDG_STATE_HOME=str(sender.folder / name))
        for name in ("one", "two")
    ]
    until = time.monotonic() + 40
    with open_state(url) as state:
        while time.monotonic() < until:
            record = state.ticks.read("often")
            if record is not None and record.ended_ms is not None:
                break
            time.sleep(0.1)
        runs = state.ledger.runs()
    for process in machines:
        process.send_signal(signal.SIGTERM)
    told = [process.communicate(timeout=30) for process in machines]
    assert [process.returncode for process in machines] == [0, 0], told
    events = [json.loads(line) for out, _ in told for line in out.splitlines()]
    assert [event["exit_code"] for event in events if event["event"] == "tick_ended"] == [0], told
    assert len([event for event in events if event["event"] == "tick_started"]) == 1
    assert [run.campaign for run in runs] == ["often"]
    assert "exit 0" in " ".join(sender("schedule", "list", "--state", url).out.split())


def test_what_people_did_is_entered_on_one_machine_and_compared_on_another(sender: Shell, url: str) -> None:
    sender.people(40)
    sender.write(
        "offer.yaml",
        'name: offer\nprovider: sandbox\nfrom: "+12025550100"\nrecipients: people.csv\nrate: none\n'
        "message: {variants: [{name: short, body: Hi}, {name: long, body: Hello}]}\n"
        "experiment: {key: offer, event: purchase, base: 10%, lift: 80%, wait: 0s}\n",
    )
    one, two = ({"SENDER_STATE": url, "XDG_STATE_HOME": str(sender.folder / name)} for name in ("one", "two"))
    assert sender("send", "offer.yaml", "--yes", "--wait", "0", **one).code == 0
    sender.write("bought.csv", "phone,event\n" + "".join(f"+120255501{n:02},purchase\n" for n in range(10)))
    first = sender("outcomes", "import", "bought.csv", **two)
    assert (first.code, "10 counted, 10 new" in first.out) == (0, True), first
    assert "10 counted, 0 new" in sender("outcomes", "import", "bought.csv", **one).out
    report = sender("report", "offer", "--json", **one)
    assert report.code == 0, report
    assert sum(group["successes"] for group in report.json["comparison"]["groups"]) == 10
    assert sender("evidence", "offer", "--output", "offer.tar", **two).code == 0
    assert sender("evidence", "verify", "offer.tar").code == 0


def test_a_folder_may_name_the_database(sender: Shell, url: str) -> None:
    """In `sender.toml`: then no command has to be told, and none makes a folder."""
    sender.people(3)
    sender.write("sender.toml", f'state = "{url}"\n')
    sender.write("offer.yaml", OFTEN.replace("schedule", "# schedule") + "name: offer\n")
    done = sender("send", "offer.yaml", "--yes", "--wait", "0")
    assert done.code == 0, done
    for words in (("status", "offer"), ("suppress", "add", ADA), ("schedule", "list"), ("replies",), ("workers",)):
        assert sender(*words).code == 0, words
    with open_state(url) as state:
        assert [run.campaign for run in state.ledger.runs()] == ["offer"]
        assert [row[0] for row in state.suppressions.active()] == [ADA]
    assert "`sender cluster init URL` creates a state in a database" in sender("init", ".").err
    assert "--workers is for a state in a folder" in sender("send", "offer.yaml", "--yes", "--workers", "2").err
    assert not (sender.folder / ".sender").exists()
    sender.write("sender.toml", f'state = "{url.replace("sender@", "sender:s3cret@")}"\n')
    refused = sender("status")
    assert (refused.code, "has a password in it" in refused.err, "s3cret" in refused.err) == (2, True, False), refused
