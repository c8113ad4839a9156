"""A campaign with two routes as a person meets it: refused, rehearsed, sent while a provider fails, and reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sender.core.errors import InputError
from sender.state.state_dir import StateDir
from tests.cli.conftest import Sandbox, Shell
from tests.sending.test_pool_sending import BAD

Start = Callable[..., Sandbox]
CAMPAIGN = """\
name: offer
recipients: people.csv
message: "Hi {{ name }}"
rate: 50/s
routes:
  - {provider: twilio, from: "+12025550100"}
  - {provider: signalwire, from: "+13105550143", prices: prices.yaml}
prices: prices.yaml
"""
PRICES = "currency: USD\nprices: [{to: US, sms: 0.01}]\n"


@pytest.fixture
def offer(sender: Shell) -> Shell:
    sender.people(12)
    sender.write("prices.yaml", PRICES)
    sender.write("offer.yaml", CAMPAIGN)
    return sender


def env_of(first: Sandbox, second: Sandbox) -> dict[str, str]:
    """Twilio is the first sandbox, SignalWire the second."""
    own = {name: value for name, value in first.env.items() if name.startswith("TWILIO")}
    return own | {name: value for name, value in second.env.items() if name.startswith("SIGNALWIRE")}


def send(offer: Shell, *args: str, **env: str) -> tuple[int, str]:
    done = offer("send", "offer.yaml", "--yes", "--wait", "0", *args, **env)
    return done.code, done.out + done.err


def test_a_plan_shows_each_route_and_what_it_would_cost(offer: Shell) -> None:
    done = offer("plan", "offer.yaml")
    assert done.code == 0, done
    assert "through twilio, else signalwire" in done.out
    assert "route 1" in done.out
    assert "signalwire, from +13105550143, 50 segments/s" in done.out
    assert "at most, each by its most expensive route" in done.out


def test_a_rehearsal_speaks_the_first_routes_dialect_to_one_sandbox(offer: Shell, shared_sandbox: Sandbox) -> None:
    code, said = send(offer, "--rehearse")
    assert code == 0, said
    assert set(offer.results()["provider"]) == {"twilio"}
    assert offer.results()["moved_from"].null_count() == 12


def test_a_route_without_credentials_is_refused_before_anything_is_sent(offer: Shell, sandbox: Start) -> None:
    first = sandbox()
    code, said = send(offer, **{name: value for name, value in first.env.items() if name.startswith("TWILIO")})
    assert code == 2, said
    assert "SIGNALWIRE_PROJECT_ID" in said
    assert first.counts() == {}
    assert not list((offer.folder / ".sender" / "runs").glob("*/plan.parquet"))


def test_several_processes_are_refused(offer: Shell, sandbox: Start) -> None:
    server = sandbox()
    code, said = send(offer, "--workers", "2", **env_of(server, server))
    assert code == 2, said
    assert "a campaign with several routes is sent by one process" in said
    assert server.counts() == {}


def test_a_database_is_refused(offer: Shell) -> None:
    from types import SimpleNamespace

    import sender
    from sender.sending.options import SendOptions
    from sender.sending.routes_allowed import check_routes

    plan = sender.build_plan(sender.load_campaign(offer.folder / "offer.yaml"))
    state = SimpleNamespace(where="postgresql://db.example.com/sender")
    with pytest.raises(InputError, match="needs a state in a folder, but this one is in a database"):
        check_routes(state, plan, plan, SendOptions())  # type: ignore[arg-type]


def test_a_number_that_a_later_route_takes_out_of_its_pool_is_named(offer: Shell, sandbox: Start) -> None:
    first, second = sandbox("--faults", "no-funds=1"), sandbox()
    pool = CAMPAIGN.replace('from: "+13105550143"', f'from: ["+13105550143", "{BAD}"]')
    offer.write("offer.yaml", pool)
    done = offer("send", "offer.yaml", "--yes", "--wait", "0", "--json", **env_of(first, second))
    assert done.code == 0, done
    assert list(done.json["taken_out"]) == [BAD]


def test_what_the_first_provider_refuses_goes_by_the_second(offer: Shell, sandbox: Start) -> None:
    first, second = sandbox("--faults", "no-region=0.4", "--seed", "3"), sandbox()
    code, said = send(offer, **env_of(first, second))
    assert code == 0, said
    once, moved = first.counts(), second.counts()
    assert moved
    assert len(once) + len(moved) == 12
    assert not once.keys() & moved.keys()
    results = {row["to"]: row for row in offer.results().iter_rows(named=True)}
    for to, row in results.items():
        by, sender = ("signalwire", "+13105550143") if to in moved else ("twilio", "+12025550100")
        assert (row["provider"], row["from"]) == (by, sender)
        assert row["moved_from"] == ("twilio (sender_not_allowed)" if to in moved else None)
        assert row["attempts"] == ("2" if to in moved else "1")
        known = json.loads(offer("history", to, "--json").out)["messages"]
        assert [(each["provider"], each["from_number"]) for each in known] == [(by, sender)]
    status = json.loads(offer("status", "offer", "--json").out)
    assert status["routes"] == {"twilio": len(once), "signalwire": len(moved)}
    report = json.loads(offer("report", "offer", "--json").out)
    assert {group["name"]: group["messages"] for group in report["routes"]} == status["routes"]
    assert "route" in offer("report", "offer").out
    assert f"{len(once)} twilio" in offer("status", "offer").out
    page = offer.folder / "report.html"
    assert offer("report", "offer", "--html", page.name).code == 0
    assert "By route" in page.read_text(encoding="utf-8")


def test_an_account_without_funds_is_left_and_nobody_waits(offer: Shell, sandbox: Start) -> None:
    first, second = sandbox("--faults", "no-funds=1"), sandbox()
    code, said = send(offer, **env_of(first, second))
    assert code == 0, said
    assert "route twilio is no longer used, its messages go through signalwire" in said
    assert "it is tried again in 30 s" in said
    assert (first.counts(), len(second.counts())) == ({}, 12)
    moved = offer.results().filter(moved_from="twilio (unauthorized)").height
    assert 1 <= moved < 12, "one was asked for, the others never left by it"


def test_a_provider_that_is_down_is_left(offer: Shell, sandbox: Start) -> None:
    second = sandbox()
    env = env_of(second, second) | {"TWILIO_API_BASE": "http://127.0.0.1:9"}
    code, said = send(offer, **env)
    assert code == 0, said
    assert "route twilio is no longer used" in said
    assert len(second.counts()) == 12


def test_once_both_fail_the_run_stops_and_the_same_command_goes_on(offer: Shell, sandbox: Start) -> None:
    # The first two requests for that number, at each of them.
    twice = offer.write("twice.yaml", "'+12025550100': [no-funds, no-funds]\n")
    first, second = sandbox("--faults", str(twice)), sandbox("--faults", str(twice))
    env = env_of(first, second)
    code, said = send(offer, **env)
    assert code == 3, said
    assert "12 pending" in said
    codes = [send(offer, **env)[0] for _ in range(2)]
    assert codes[-1] == 0, codes
    both = [*first.counts().values(), *second.counts().values()]
    assert (sum(both), set(both)) == (12, {1})


def test_other_routes_than_the_run_began_with_are_refused(offer: Shell, sandbox: Start) -> None:
    server = sandbox()
    offer("send", "offer.yaml", "--yes", "--wait", "0", "--limit", "4", **env_of(server, server))
    alone = CAMPAIGN[: CAMPAIGN.index("routes:")] + 'provider: twilio\nfrom: "+12025550100"\n'
    offer.write("offer.yaml", alone)
    code, said = send(offer, **env_of(server, server))
    assert code == 3, said
    assert "the run began with the routes twilio, signalwire, but the campaign now names twilio alone" in said
    assert len(server.counts()) == 4
    code, said = send(offer, "--resume", **env_of(server, server))
    assert code == 0, said
    assert len(server.counts()) == 12


def test_each_doubt_is_looked_up_in_the_log_of_its_own_provider(
    offer: Shell, sandbox: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sender.delivery import route_sessions
    from sender.sending import route_dispatch

    facts = route_sessions.log_facts
    monkeypatch.setattr(
        route_sessions,
        "log_facts",
        lambda *args: replace(facts(*args), settle_s=0.5, requests_per_s=100.0),
    )
    monkeypatch.setattr(route_dispatch, "PROBE_FIRST_S", 0.2)
    first = sandbox("--faults", "no-region=0.3,reset-after=0.2,reset-before=0.2", "--seed", "5")
    second = sandbox("--faults", "reset-after=0.3,reset-before=0.2", "--seed", "6")
    env = env_of(first, second)
    for _ in range(8):
        code, said = send(offer, **env)
        if code == 0:
            break
    assert code == 0, said
    both = [*first.counts().values(), *second.counts().values()]
    assert (sum(both), set(both)) == (12, {1})
    with StateDir(offer.folder / ".sender", create=False) as state:
        run = state.find("offer")
        journal = state.ledger.journal(run.run_id)
        assert [route.provider for route in state.ledger.routes(run.run_id)] == ["twilio", "signalwire"]
    assert dict(journal.group_by("route").len().iter_rows()) == {0: len(first.counts()), 1: len(second.counts())}


def test_an_opt_out_at_one_provider_holds_for_the_others(offer: Shell, sandbox: Start) -> None:
    """What a provider says of a person moves nobody, and is learned."""
    offer.write("people.csv", "name,phone\nAda,+12025550191\nBo,+12025550101\n")
    first, second = sandbox(), sandbox()
    code, said = send(offer, **env_of(first, second))
    assert code == 1, said
    assert second.counts() == {}
    assert offer.results().filter(to="+12025550191")["reason"].item() == "opted_out"


def test_a_test_message_goes_by_the_first_route(offer: Shell, sandbox: Start, tmp_path: Path) -> None:
    first, second = sandbox(), sandbox()
    code, said = send(offer, "--test-to", "+12025550177", **env_of(first, second))
    assert code == 0, said
    assert (first.counts(), second.counts()) == ({"+12025550177": 1}, {})


def test_a_retry_has_the_routes_of_its_run(offer: Shell, sandbox: Start) -> None:
    offer.write("people.csv", "name,phone\nAda,+12025550194\nBo,+12025550101\n")
    first, second = sandbox(), sandbox()
    env = env_of(first, second)
    offer("send", "offer.yaml", "--yes", "--wait", "3s", **env)
    done = offer("retry", "offer", "--yes", "--wait", "0", **env)
    assert done.code in (0, 1), done
    with StateDir(offer.folder / ".sender", create=False) as state:
        retried = state.ledger.runs()[-1]
        assert retried.retry_of is not None
        assert [route.provider for route in state.ledger.routes(retried.run_id)] == ["twilio", "signalwire"]
