"""A canary, as a person or a job meets it: some messages first, and the others once their receipts allow it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

import sender as library
from sender.core import clock
from sender.sandbox import Options, embedded
from tests import local_http
from tests.cli.conftest import Done, Sandbox, Shell

FIRST, MESSAGES = 30, 120  # every fourth goes first
CAMPAIGN = """
provider: sandbox
from: "+12025550100"
recipients: {{file: people.csv}}
message: "Hi {{{{ name }}}}"
rate: none
canary: {{first: 30, wait: {wait}{stop_if}}}
"""
Simulator = Callable[..., str]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A maker of sandboxes of one's own; returns the address of each."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(embedded(Options(**options)))


def people(sender: Shell, *endings: str) -> list[str]:
    """A list in which the canary, every fourth, begins with the numbers that end like this."""
    left = iter(endings)
    listed = []
    for place in range(MESSAGES):
        ending = f"01{place % 90:02}" if place % 4 else next(left, f"01{place % 90:02}")
        listed.append(f"+1{202 + place // 90 * 10}555{ending}")
    rows = "".join(f"P{place},{number}\n" for place, number in enumerate(listed))
    sender.write("people.csv", "name,phone\n" + rows)
    return listed


def campaign(sender: Shell, *, wait: str = "20s", stop_if: str = "") -> None:
    keys = f", stop_if: {stop_if}" if stop_if else ""
    text = CAMPAIGN.format(wait=wait, stop_if=keys)
    sender.write("offer.yaml", text + "dedupe: none\n")


def send(sender: Shell, *arguments: str, command: str = "send", **env: str) -> Done:
    return sender(command, "offer.yaml", "--yes", "--json", "--log-format", "json", *arguments, **env)


def logged(done: Done) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"].startswith("canary")]


def asked(url: str) -> dict[str, int]:
    """How many messages the provider has accepted, by recipient."""
    counts: dict[str, int] = local_http.get(f"{url}/sandbox/counts").json()["recipients"]
    return counts


def test_a_good_canary_lets_the_others_go_and_its_evidence_is_everywhere(sender: Shell) -> None:
    campaign(sender)
    people(sender)
    done = send(sender)
    assert done.code == 0, done
    canary = done.json["canary"]
    assert (canary["size"], canary["state"], canary["evidence"]["delivered"]) == (FIRST, "passed", FIRST)
    assert [line["event"] for line in logged(done)] == ["canary_waiting", "canary_passed"]
    assert logged(done)[1]["canary"] == canary
    assert sender("status", "offer.yaml", "--json").json["canary"] == canary
    assert sender("report", "offer.yaml", "--json").json["run"]["canary"] == canary
    for shown in (sender("status", "offer.yaml").out, sender("report", "offer.yaml").out):
        assert "canary of 30 messages: the others were let go on" in shown
        assert "30 sent: 30 delivered, 0 failed, 0 unknown, 0 without a receipt" in shown
        assert "0 of 30 failed (the limit is 10 %)" in shown


def test_the_canary_is_every_fourth_of_the_list_and_the_results_keep_its_order(
    sender: Shell, simulator: Simulator
) -> None:
    campaign(sender, wait="0.2s")
    listed = people(sender)
    url = simulator(sent_after_s=600, delivered_after_s=600)
    plain = sender("plan", "offer.yaml", "--canary", "none", "--json").json["plan_hash"]
    done = send(sender, SENDER_SANDBOX_URL=url)
    assert done.code == 3, done
    assert done.json["canary"]["evidence"]["broken"] == ["receipts"]
    assert "0 of the 30 messages sent have a receipt, too few to decide" in done.json["stopped"]
    assert set(asked(url)) == set(listed[::4])
    assert sender("status", "offer.yaml", "--json").json["plan_hash"] == plain
    results = sender.results()
    assert results["to"].to_list() == listed
    assert results["row_number"].cast(int).is_sorted()
    assert [status == "pending" for status in results["status"]] == [place % 4 > 0 for place in range(MESSAGES)]


STOPS = [
    pytest.param(["0194"] * 8, "", ["failed"], id="not delivered"),
    pytest.param(["0190"] * 8, "", ["failed"], id="refused"),
    pytest.param(["0193"] * 3, "", ["filtered"], id="filtered"),
    pytest.param(["0191"] * 4, "", ["opted_out"], id="opted out"),
    pytest.param(["0197"] * 4, "", ["unknown"], id="unknown"),
    pytest.param(["0194"] * 30, "", ["failed"], id="nobody"),
    pytest.param(["0193"] * 8, "{failed: none}", ["filtered"], id="one limit lifted"),
    pytest.param(["0194"] * 2, "{failed: 0%}", ["failed"], id="no failures at all"),
    pytest.param(["0194"] * 3, "", [], id="three of thirty may be chance"),
    pytest.param(["0193"] * 1, "", [], id="one filtered message is chance"),
    pytest.param(["0194"] * 8, "{failed: 50%}", [], id="a higher limit"),
    pytest.param(["0194"] * 8, "{failed: none}", [], id="no limit"),
]


@pytest.mark.parametrize(("endings", "stop_if", "broken"), STOPS)
def test_what_stops_and_what_does_not(sender: Shell, endings: list[str], stop_if: str, broken: list[str]) -> None:
    campaign(sender, stop_if=stop_if)
    people(sender, *endings)
    done = send(sender, "--on-unknown", "hold")
    canary = done.json["canary"]
    assert canary["evidence"]["broken"] == broken, done
    assert canary["evidence"]["sent"] == FIRST
    if not broken:
        assert (done.code, done.json["pending"], canary["state"]) == (1, 0, "passed")
        return
    assert (done.code, done.json["pending"], canary["state"]) == (3, MESSAGES - FIRST, "stopped")
    assert "is stopped by its canary" in done.json["stopped"]
    again = send(sender, "--on-unknown", "hold")
    assert (again.code, again.json["pending"]) == (3, MESSAGES - FIRST), "the same evidence stops the same command"
    assert again.json["canary"]["evidence"]["broken"] == broken


def test_resume_goes_on_knowingly(sender: Shell) -> None:
    campaign(sender)
    people(sender, *["0194"] * 8)
    assert send(sender).code == 3
    shown = sender("resume", "offer.yaml", "--yes")
    assert shown.code == 1, shown
    assert "continuing in spite of this: run" in shown.out
    assert "8 of 30 failed (26.7 %, with 95 % confidence over 15.7 %; the limit is 10 %)" in shown.out
    status = sender("status", "offer.yaml", "--json").json
    assert (status["pending"], status["canary"]["state"], status["canary"]["overridden"]) == (0, "passed", ["failed"])
    assert "overridden by" in sender("status", "offer.yaml").out


def test_the_library_stops_and_goes_on_in_the_same_way(sender: Shell) -> None:
    campaign(sender)
    people(sender, *["0194"] * 8)
    plan = library.build_plan(library.load_campaign(sender.folder / "offer.yaml"))
    stopped = library.send(plan, state_dir=sender.folder / "state")
    assert isinstance(stopped.stopped, library.GuardStop)
    assert (stopped.exit_code, stopped.summary.pending) == (3, MESSAGES - FIRST)
    forced = library.resume(stopped.run.run_id, state_dir=sender.folder / "state")
    assert (forced.exit_code, forced.summary.pending) == (1, 0)
    assert forced.run.canary is not None
    assert forced.run.canary.overridden == ("failed",)


def test_close_ends_a_stopped_run(sender: Shell) -> None:
    campaign(sender)
    people(sender, *["0194"] * 8)
    assert send(sender).code == 3
    assert sender("close", "offer.yaml").code == 0
    status = sender("status", "offer.yaml", "--json").json
    assert (status["canceled"], status["canary"]["state"]) == (MESSAGES - FIRST, "stopped")


def test_limits_that_were_changed_count_for_a_run_that_goes_on(sender: Shell) -> None:
    campaign(sender)
    people(sender, *["0194"] * 8)
    assert send(sender).code == 3
    campaign(sender, stop_if="{failed: 40%}")
    done = send(sender)
    assert (done.code, done.json["pending"], done.json["canary"]["overridden"]) == (1, 0, []), done


def test_a_start_that_names_no_canary_keeps_that_of_the_run(sender: Shell) -> None:
    campaign(sender)
    people(sender, *["0194"] * 8)
    assert send(sender).code == 3
    done = send(sender, "--canary", "none")
    assert (done.code, done.json["pending"]) == (3, MESSAGES - FIRST), done


@pytest.mark.parametrize("limit", [10, 30, 31])
def test_with_a_limit_the_first_of_the_file_leave_and_nothing_is_awaited(
    sender: Shell, simulator: Simulator, limit: int
) -> None:
    campaign(sender)
    listed = people(sender)
    url = simulator(sent_after_s=0, delivered_after_s=0)
    part = send(sender, "--limit", str(limit), SENDER_SANDBOX_URL=url)
    assert part.code == 0, part
    assert set(asked(url)) == set(listed[:limit])
    awaited = limit > FIRST
    assert ("canary_waiting" in [line["event"] for line in logged(part)]) is awaited
    rest = send(sender, SENDER_SANDBOX_URL=url)
    assert (rest.code, rest.json["canary"]["state"], rest.json["canary"]["evidence"]["sent"]) == (0, "passed", FIRST)
    assert asked(url) == dict.fromkeys(listed, 1)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        pytest.param(["--canary", "60"], 60, id="another number"),
        pytest.param(["--canary", "120"], None, id="all of the list"),
        pytest.param(["--canary", "none"], None, id="none"),
        pytest.param(["--canary-wait", "1m"], 30, id="another wait"),
    ],
)
def test_options_for_one_start(sender: Shell, arguments: list[str], size: int | None) -> None:
    campaign(sender)
    people(sender)
    done = send(sender, *arguments)
    assert done.code == 0, done
    assert (done.json["canary"] and done.json["canary"]["size"]) == size


def test_the_canary_is_spread_over_those_whose_window_is_open(
    sender: Shell, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At noon in London it is four in Los Angeles."""
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    monkeypatch.setattr(clock, "time_of_day_ms", lambda: int(noon.timestamp() * 1000))
    campaign(sender)
    sender.write("offer.yaml", (sender.folder / "offer.yaml").read_text() + 'window: {hours: "09:00-20:00"}\n')
    london = [f"+442079460{number:03}" for number in range(60)]
    angeles = [f"+1213555{number:04}" for number in range(100, 160)]
    rows = [f"P,{number}" for pair in zip(angeles, london, strict=True) for number in pair]
    sender.write("people.csv", "name,phone\n" + "\n".join(rows) + "\n")
    url = simulator(sent_after_s=0, delivered_after_s=0)
    done = send(sender, "--no-hold", SENDER_SANDBOX_URL=url)
    assert (done.code, done.json["pending"]) == (130, 60), done
    canary = done.json["canary"]
    assert (canary["size"], canary["state"], canary["evidence"]["sent"]) == (FIRST, "passed", FIRST)
    messages = local_http.get(f"{url}/sandbox/messages").json()["messages"]
    in_order = [message["to"] for message in sorted(messages, key=lambda message: message["created_ms"])]
    assert set(in_order[:FIRST]) == set(london[::2])
    assert set(in_order) == set(london)


def test_a_plan_says_what_goes_first(sender: Shell) -> None:
    campaign(sender, stop_if="{unknown: none}")
    people(sender)
    planned = sender("plan", "offer.yaml")
    assert "canary" in planned.out
    assert (
        "first, then up to 20 s for their receipts; stops above 10 % failed, 5 % opted out, 2 % filtered" in planned.out
    )
    manifest = sender("send", "offer.yaml", "--dry-run", "--json").json
    assert manifest["canary"]["first"] == FIRST
    assert (
        "canary.first"
        in sender("plan", "people.csv", "--body", "Hi", "--canary-wait", "5m", "--provider", "sandbox").err
    )


def test_a_retry_has_no_canary(sender: Shell) -> None:
    campaign(sender, stop_if="{failed: none}")
    people(sender, *["0194"] * 30)
    assert send(sender).code == 1
    retried = sender("retry", "offer.yaml", "--yes", "--json", "--status", "undelivered")
    assert (retried.code, retried.json["canary"]) == (1, None), retried


def test_the_others_are_stopped_when_they_fail(sender: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.sending.canary_gate.LOOK_EVERY_S", 0.05)
    campaign(sender)
    listed = people(sender)
    listed = [number if not place % 4 else f"{number[:-4]}0194" for place, number in enumerate(listed)]
    sender.write("people.csv", "name,phone\n" + "".join(f"P,{number}\n" for number in listed))
    done = send(sender, "--rate", "40/s")
    assert done.code == 3, done
    assert "is stopped by the results of its messages" in done.json["stopped"]
    assert 0 < done.json["pending"] < MESSAGES - FIRST
    assert done.json["canary"]["passed_at_ms"] is not None
    assert sender("resume", "offer.yaml", "--yes").code == 1
    assert sender("status", "offer.yaml", "--json").json["pending"] == 0


@pytest.mark.parametrize("accepted", [12, FIRST])
def test_a_run_that_was_killed_goes_on_with_the_same_canary(sender: Shell, simulator: Simulator, accepted: int) -> None:
    """While it is sent, and while its receipts are awaited."""
    campaign(sender)
    listed = people(sender)
    url = simulator(sent_after_s=0, delivered_after_s=3)
    process = sender.start("send", "offer.yaml", "--yes", "--rate", "30/s", SENDER_SANDBOX_URL=url)
    wait_until(lambda: len(asked(url)) >= accepted)
    if accepted == FIRST:
        wait_until(lambda: _canary(sender)["state"] == "waiting")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = _canary(sender)
    assert set(asked(url)) <= set(listed[::4])
    done = send(sender, "--rate", "none", SENDER_SANDBOX_URL=url, SENDER_SANDBOX_SETTLE_S="0")
    assert done.code == 0, done
    canary = done.json["canary"]
    assert (canary["size"], canary["state"]) == (before["size"], "passed")
    if accepted == FIRST:
        assert canary["waiting_since_ms"] == before["waiting_since_ms"]
    messages = local_http.get(f"{url}/sandbox/messages").json()["messages"]
    in_order = [message["to"] for message in sorted(messages, key=lambda message: message["created_ms"])]
    assert set(in_order[:FIRST]) == set(listed[::4])
    assert asked(url) == dict.fromkeys(listed, 1)


def test_a_run_that_is_paused_while_it_waits_is_not_overridden(sender: Shell, simulator: Simulator) -> None:
    campaign(sender)
    listed = people(sender)
    url = simulator(sent_after_s=0, delivered_after_s=4)
    process = sender.start("send", "offer.yaml", "--yes", SENDER_SANDBOX_URL=url)
    wait_until(lambda: len(asked(url)) == FIRST and _canary(sender)["state"] == "waiting")
    assert sender("pause", "offer.yaml").code == 0
    process.communicate()
    assert process.returncode == 130
    assert _canary(sender)["evidence"] is None
    done = send(sender, command="resume", SENDER_SANDBOX_URL=url)
    assert (done.code, done.json["canary"]["state"], done.json["canary"]["overridden"]) == (0, "passed", []), done
    assert asked(url) == dict.fromkeys(listed, 1)


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def _canary(sender: Shell) -> dict[str, Any]:
    canary: dict[str, Any] = sender("status", "offer.yaml", "--json").json["canary"]
    return canary


@pytest.mark.process
def test_workers_send_the_canary_and_the_command_decides(sender: Shell, sandbox: Callable[..., Sandbox]) -> None:
    campaign(sender)
    listed = people(sender, *["0194"] * 8)
    url = sandbox().url
    done = send(sender, "--workers", "2", SENDER_SANDBOX_URL=url)
    assert (done.code, done.json["pending"]) == (3, MESSAGES - FIRST), done
    assert set(asked(url)) == set(listed[::4])
    forced = send(sender, "--workers", "2", command="resume", SENDER_SANDBOX_URL=url)
    assert (forced.code, forced.json["pending"]) == (1, 0), forced
    assert sum(asked(url).values()) == MESSAGES
