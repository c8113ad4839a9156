"""What besides runs and opt-outs is kept in a state in a database: replies, and what commands make of it."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable

import pytest

from sender import sandbox as simulator
from sender.sandbox.webhooks import SimulatedReply, WebhookSender
from tests.cli.conftest import Shell
from tests.state.conftest import DATABASES, give_back, lent, new_database, servers, state_pools

__all__ = ["give_back", "lent", "new_database", "servers", "state_pools"]  # fixtures
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
