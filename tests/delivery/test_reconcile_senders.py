"""A message in doubt is looked for by the number that sent it: the plan's, or the one that was chosen as it left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest

import sender
from sender.core.outcomes import Unknown
from sender.delivery.provider_session import ProviderSession
from sender.delivery.reconcile import ReconcileResult, reconcile
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.ledger_values import RouteClaims, RunRoute
from sender.state.sqlite.ledger import SqliteLedger
from tests import virtual_time
from tests.delivery.test_reconcile import DOUBTED, FULL, INTENT, SETTLED, Provider, entry

ADA = "+12025550101"
PLANNED, SECOND, CHOSEN, ANOTHER = (f"+1202555015{n}" for n in range(4))
FIRST_ROUTE, SECOND_ROUTE = 0, 1


@dataclass
class Doubted:
    """A run with two routes whose message to ADA is in doubt."""

    ledger: SqliteLedger
    run: Run
    plan: sender.Plan
    now_ms: list[int]

    def send(self, run: Run, route: int, chosen: str | None) -> None:
        """Send the message by the route, from the number `chosen`, and lose its answer."""
        self.now_ms[0] = round(INTENT.timestamp() * 1000)
        self.ledger.create_run(run, routes=[RunRoute("twilio", None, None), RunRoute("telnyx", None, None)])
        claims = self.ledger.claim(run.run_id, limit=1, lease_ms=60_000, routed=RouteClaims(route, also=(FIRST_ROUTE,)))
        assert self.ledger.use_senders(run.run_id, [(one, chosen) for one in claims if chosen]) == (chosen is not None)
        self.now_ms[0] = round(DOUBTED.timestamp() * 1000)
        assert self.ledger.record(run.run_id, [Settlement(one, Unknown("no answer")) for one in claims]) == 1
        self.now_ms[0] = round(SETTLED.timestamp() * 1000)

    def reconcile(self, logged_from: str, route: int) -> ReconcileResult:
        """Settle the message by a log that has one to ADA from this number."""
        provider = Provider([entry("m", ADA, sender=logged_from)])
        session = ProviderSession(provider, provider, FULL)  # type: ignore[arg-type]
        result: ReconcileResult = virtual_time.run(
            reconcile(
                ledger=self.ledger,
                run=self.run,
                plan=self.plan,
                provider=session,
                cancel=asyncio.Event(),
                plan_of=lambda _: self.plan,
                route=route,
            )
        )
        return result


@pytest.fixture(scope="module")
def plan() -> sender.Plan:
    routes = [{"provider": "twilio", "from": PLANNED}, {"provider": "telnyx", "from": SECOND}]
    people = pl.DataFrame({"phone": [ADA]})
    return sender.build_plan(sender.load_campaign(recipients=people, routes=routes, message="Hi", name="offer"))


@pytest.fixture
def doubted(plan: sender.Plan, tmp_path: Path) -> Iterator[Doubted]:
    now_ms = [0]
    ledger = SqliteLedger.open(tmp_path / "ledger.sqlite3", clock=lambda: now_ms[0])
    yield Doubted(ledger, Run("run-1", "offer", RunKind.LIVE, "twilio", plan.hash, None, 1, 1, 0, 0), plan, now_ms)
    ledger.close()


SENT = [
    pytest.param(FIRST_ROUTE, None, PLANNED, True, id="the plan's number"),
    pytest.param(FIRST_ROUTE, None, ANOTHER, False, id="another than the plan's"),
    pytest.param(FIRST_ROUTE, CHOSEN, CHOSEN, True, id="the one chosen when it was sent"),
    pytest.param(FIRST_ROUTE, CHOSEN, PLANNED, False, id="the plan's, but another was chosen"),
    pytest.param(SECOND_ROUTE, None, SECOND, True, id="any number of the second route"),
    pytest.param(SECOND_ROUTE, CHOSEN, CHOSEN, True, id="the one chosen on the second route"),
    pytest.param(SECOND_ROUTE, CHOSEN, SECOND, False, id="another number of the second route"),
]


@pytest.mark.parametrize(("route", "chosen", "logged_from", "is_ours"), SENT)
def test_an_entry_from_another_number_is_not_the_message(
    doubted: Doubted, route: int, chosen: str | None, logged_from: str, is_ours: bool
) -> None:
    doubted.send(doubted.run, route, chosen)
    assert doubted.reconcile(logged_from, route).found == is_ours


def test_another_run_s_message_from_another_number_leaves_no_doubt(doubted: Doubted) -> None:
    """Both are to the same person with the same text, and the log has one."""
    doubted.send(replace(doubted.run, run_id="run-2"), FIRST_ROUTE, CHOSEN)
    doubted.send(doubted.run, FIRST_ROUTE, None)
    result = doubted.reconcile(PLANNED, FIRST_ROUTE)
    assert (result.found, result.contested) == (1, 0)
