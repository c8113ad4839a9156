"""Messages that a provider holds until their time are taken back where its API can, and counted where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import sender
from sender import sandbox
from sender.core.outcomes import Accepted
from sender.delivery.scheduled import TakenBack, take_back_scheduled
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.state_dir import StateDir
from tests import local_http

PEOPLE = ("+12025550101", "+12025550102", "+12025550103")
SERVICE = "MG" + "a" * 32
NOWHERE = "http://127.0.0.1:1"


def plan_of(send_at: datetime | str, provider: str = "twilio", **columns: list[str]) -> sender.Plan:
    return sender.build_plan(
        sender.load_campaign(
            recipients=pl.DataFrame({"phone": PEOPLE, **columns}),
            provider=provider,
            from_=SERVICE if provider == "twilio" else "+12025550199",
            message="Hi",
            rate="none",
            name="offer",
            send_at=send_at if isinstance(send_at, str) else send_at.isoformat(timespec="seconds"),
        )
    )


def in_minutes(minutes: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=minutes)


@dataclass
class Held:
    """A run whose messages are accepted, and held by a sandbox."""

    state: StateDir
    run: Run
    url: str

    def take_back(self) -> TakenBack:
        return asyncio.run(take_back_scheduled(self.state, self.run, {"SENDER_SANDBOX_URL": self.url}))

    def at_provider(self) -> list[str]:
        return [message["status"] for message in local_http.get(f"{self.url}/sandbox/messages").json()["messages"]]


@pytest.fixture
def url() -> Iterator[str]:
    with sandbox.embedded() as running:
        yield running


def held(plan: sender.Plan, state: StateDir, url: str) -> Held:
    options = SendOptions(
        state_dir=state.path, rehearse=True, env={"SENDER_SANDBOX_URL": url}, settle_unknowns=False, wait_s=0
    )

    async def go() -> Run:
        with open_run(plan, options) as session:
            return (await session.send(options)).run

    return Held(state, asyncio.run(go()), url)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDir]:
    with StateDir(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("provider", ["twilio", "telnyx"])
def test_all_are_taken_back_once(state: StateDir, url: str, provider: str) -> None:
    run = held(plan_of(in_minutes(60), provider), state, url)
    assert run.take_back() == TakenBack(canceled=3)
    assert run.at_provider() == ["canceled"] * 3
    journal = state.ledger.journal(run.run.run_id)
    assert journal["status"].to_list() == ["canceled"] * 3
    assert run.take_back() == TakenBack()


def test_each_row_may_have_its_own_time(state: StateDir, url: str) -> None:
    times = [in_minutes(minutes).isoformat() for minutes in (60, 90, 120)]
    run = held(plan_of("{{ at }}", at=times), state, url)
    assert run.take_back() == TakenBack(canceled=3)


def test_they_are_canceled_when_the_provider_says(state: StateDir, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when its answer came: the clocks may differ, and here ours is half an hour ahead."""
    run = held(plan_of(in_minutes(60)), state, url)
    now = state.ledger.now_ms()
    monkeypatch.setattr(state.ledger, "_clock", lambda: now + 1_800_000)
    assert run.take_back() == TakenBack(canceled=3)
    for final_at in state.ledger.journal(run.run.run_id)["final_at"]:
        assert abs(final_at.timestamp() * 1000 - now) < 60_000


# A run with messages that its provider does not know, or cannot be asked about


def unknown_to_it(state: StateDir, plan: sender.Plan, provider: str = "twilio") -> Run:
    now_ms = state.ledger.now_ms()
    run = Run("run-1", "offer", RunKind.REHEARSAL, provider, plan.hash, None, 3, 3, 0, now_ms, simulated=True)
    state.plans.save(run, plan)
    state.ledger.create_run(run)
    claims = state.ledger.claim("run-1", limit=3, lease_ms=60_000)
    state.ledger.record("run-1", [Settlement(claim, Accepted(f"SM{claim.seq}")) for claim in claims])
    return run


def take_back(state: StateDir, run: Run, url: str, **env: str) -> TakenBack:
    return asyncio.run(take_back_scheduled(state, run, {"SENDER_SANDBOX_URL": url, **env}))


@pytest.mark.parametrize(("left_ms", "ahead"), [(1, 3), (0, 0), (-1, 0)])
def test_what_has_reached_its_time_is_left_alone(
    state: StateDir, monkeypatch: pytest.MonkeyPatch, left_ms: int, ahead: int
) -> None:
    at = in_minutes(60)
    run = unknown_to_it(state, plan_of(at))
    monkeypatch.setattr(state.ledger, "now_ms", lambda: round(at.timestamp() * 1000) - left_ms)
    assert take_back(state, run, NOWHERE).sent == ahead


@pytest.mark.parametrize(
    ("is_reached", "env", "said"),
    [
        pytest.param(False, {}, "connect", id="no connection"),
        pytest.param(True, {}, "HTTP 404", id="a message that it does not have"),
        pytest.param(
            True, {"SENDER_SANDBOX_SETTLE_S": "soon"}, "'soon' is not a number of seconds", id="a bad setting"
        ),
    ],
)
def test_what_cannot_be_taken_back_is_sent_and_the_reason_is_said(
    state: StateDir, url: str, is_reached: bool, env: dict[str, str], said: str
) -> None:
    run = unknown_to_it(state, plan_of(in_minutes(60)))
    taken = take_back(state, run, url if is_reached else NOWHERE, **env)
    assert (taken.canceled, taken.sent) == (0, 3)
    assert said.lower() in (taken.failure or "").lower()
    assert state.ledger.journal("run-1")["status"].to_list() == ["queued"] * 3


def test_a_run_without_times_has_nothing_to_take_back(state: StateDir) -> None:
    campaign = sender.load_campaign(
        recipients=pl.DataFrame({"phone": PEOPLE}), provider="twilio", from_=SERVICE, message="Hi", name="offer"
    )
    assert take_back(state, unknown_to_it(state, sender.build_plan(campaign)), NOWHERE) == TakenBack()
