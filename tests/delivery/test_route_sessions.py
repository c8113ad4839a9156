"""The routes of a run: each is asked about its own messages, at the account and address that the run has kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.outcomes import Accepted, Unknown
from sender.delivery import provider_log
from sender.delivery.provider_session import ProviderSession
from sender.delivery.reconcile import ReconcileResult
from sender.delivery.route_sessions import RouteSession, RouteSweeps, UnreadLogs, reconcile_routes, runs_by_route
from sender.providers.base import LogEntry, LogFacts, LogPage, LogQuery, Request, Response
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.ledger_values import RouteClaims, RunRoute
from sender.state.sqlite.ledger import SqliteLedger
from sender.transport.base import NotSent
from tests import virtual_time

LookUp = Callable[[UnreadLogs | None], Awaitable[ReconcileResult]]

PEOPLE = ("+12025550101", "+12025550102", "+12025550103")
FROM = ("+12025550150", "+12025550151")
KEPT = (RunRoute("twilio", "AC1", "https://a.example.com"), RunRoute("signalwire", "project", "https://b.example.com"))
FACTS = LogFacts(filters_by_recipient=True, carries_ref=False, carries_body=True, settle_s=60, source="test")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> sender.Plan:
    routes = [{"provider": "twilio", "from": FROM[0]}, {"provider": "signalwire", "from": FROM[1]}]
    people = pl.DataFrame({"phone": PEOPLE})
    campaign = sender.load_campaign(recipients=people, routes=routes, message="Hi", rate="none", name="offer")
    return sender.build_plan(campaign).write(tmp_path_factory.mktemp("offer") / "plan")


def run_of(plan: sender.Plan, created_at_ms: int = 0) -> Run:
    return Run("run-1", "offer", RunKind.LIVE, "twilio", plan.hash, None, 3, 3, 0, created_at_ms)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        pytest.param(
            KEPT,
            [
                (0, "twilio", "AC1", "https://a.example.com", FROM[0]),
                (1, "signalwire", "project", "https://b.example.com", FROM[1]),
            ],
            id="a run that has begun",
        ),
        pytest.param(
            (), [(0, "twilio", None, None, FROM[0]), (1, "signalwire", None, None, FROM[1])], id="one that has not"
        ),
    ],
)
def test_each_route_is_a_run_with_its_own_provider_account_and_address(
    plan: sender.Plan, kept: tuple[RunRoute, ...], expected: list[tuple[object, ...]]
) -> None:
    ways = runs_by_route(run_of(plan), plan, kept)
    assert [
        (place, run.provider, run.account, run.base_url, its_plan.manifest.senders[0]) for place, run, its_plan in ways
    ] == expected
    assert [its_plan.manifest.provider for _, _, its_plan in ways] == ["twilio", "signalwire"]
    assert {run.run_id for _, run, _ in ways} == {"run-1"}


def test_a_run_with_one_way_to_send_is_its_only_route() -> None:
    people = pl.DataFrame({"phone": PEOPLE})
    alone = sender.build_plan(
        sender.load_campaign(recipients=people, provider="twilio", from_=FROM[0], message="Hi", name="alone")
    )
    run = run_of(alone)
    assert runs_by_route(run, alone, ()) == [(None, run, alone)]


@dataclass
class Provider:
    """Adapter and transport in one: a log with one page, which has nothing, and messages that are looked up by id."""

    is_down: bool = False
    pages: int = 0
    asked_s: list[float] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    capabilities: Any = field(default_factory=lambda: SimpleNamespace(mms_receipts=True))

    def log_request(self, query: LogQuery) -> Request:
        return Request("GET", "/log", ())

    def log_page(self, response: Response, request: Request) -> LogPage:
        return LogPage((), None)

    def lookup(self, message_id: str) -> Request:
        return Request("GET", message_id, ())

    def lookup_result(self, response: Response) -> LogEntry | None:
        return None

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.asked_s.append(asyncio.get_running_loop().time())
        if self.is_down:
            raise NotSent("no connection")
        if request.url == "/log":
            self.pages += 1
        else:
            self.looked_up.append(request.url)
        return Response(200, {}, b"")

    async def aclose(self) -> None: ...


@dataclass
class Sent:
    """A run whose first message went by the first route and the others by the second, twenty minutes ago."""

    ledger: SqliteLedger
    ways: list[RouteSession]

    def sweeps(self, cancel: asyncio.Event) -> RouteSweeps:
        return RouteSweeps(SimpleNamespace(ledger=self.ledger), self.ways, cancel=cancel)  # type: ignore[arg-type]


@pytest.fixture
def providers() -> tuple[Provider, Provider]:
    return Provider(), Provider()


@pytest.fixture
def sent(plan: sender.Plan, providers: tuple[Provider, Provider], tmp_path: Path) -> Iterator[Sent]:
    now_ms = [1_767_268_800_000]
    ledger = SqliteLedger.open(tmp_path / "ledger.sqlite3", clock=lambda: now_ms[0])
    ledger.create_run(run_of(plan, now_ms[0]), routes=KEPT)
    for routed, limit in ((RouteClaims(0), 1), (RouteClaims(1), 2)):
        claims = ledger.claim("run-1", limit=limit, lease_ms=60_000, routed=routed)
        ledger.record("run-1", [Settlement(claim, Accepted(f"m{claim.seq}")) for claim in claims])
    now_ms[0] += 1_200_000
    ways = [
        RouteSession(run, its_plan, ProviderSession(provider, provider, FACTS), place)  # type: ignore[arg-type]
        for (place, run, its_plan), provider in zip(runs_by_route(run_of(plan), plan, KEPT), providers, strict=True)
    ]
    yield Sent(ledger, ways)
    ledger.close()


def test_a_provider_is_asked_about_the_messages_that_it_has_and_no_others(
    sent: Sent, providers: tuple[Provider, Provider]
) -> None:
    result = asyncio.run(sent.sweeps(asyncio.Event()).refresh())
    assert [provider.looked_up for provider in providers] == [["m0"], ["m1", "m2"]]
    assert (result.pages, result.lookups, result.delivering) == (2, 3, 3)


def test_sweeps_that_are_canceled_ask_no_provider(sent: Sent, providers: tuple[Provider, Provider]) -> None:
    async def follow() -> tuple[bool, bool, int]:
        cancel = asyncio.Event()
        sweeps = sent.sweeps(cancel)
        before = sweeps.is_canceled
        cancel.set()
        return before, sweeps.is_canceled, (await sweeps.follow(0)).delivering

    assert asyncio.run(follow()) == (False, True, 3)
    assert [provider.pages for provider in providers] == [0, 0]


@pytest.fixture
def doubtful(plan: sender.Plan, providers: tuple[Provider, Provider], tmp_path: Path) -> Iterator[LookUp]:
    """Looks up a run whose first message is in doubt at one provider, and the others at the other."""
    ledger = SqliteLedger.open(tmp_path / "ledger.sqlite3", clock=lambda: 1_767_268_800_000)
    ledger.create_run(run_of(plan, 1_767_268_800_000), routes=KEPT)
    for routed, limit in ((RouteClaims(0), 1), (RouteClaims(1), 2)):
        claims = ledger.claim("run-1", limit=limit, lease_ms=60_000, routed=routed)
        ledger.record("run-1", [Settlement(claim, Unknown("no answer")) for claim in claims])
    ways = [
        RouteSession(run, its_plan, ProviderSession(provider, provider, FACTS), place)  # type: ignore[arg-type]
        for (place, run, its_plan), provider in zip(runs_by_route(run_of(plan), plan, KEPT), providers, strict=True)
    ]
    state: Any = SimpleNamespace(ledger=ledger, plan=lambda run: plan)
    yield lambda unread: reconcile_routes(state, ways, asyncio.Event(), unread)
    ledger.close()


def test_the_log_of_a_provider_that_is_down_is_left_alone_for_as_long_as_the_try_took(
    doubtful: LookUp, providers: tuple[Provider, Provider]
) -> None:
    """What is in doubt at the other one is looked up meanwhile."""
    down, well = providers
    down.is_down = True

    async def look(unread: UnreadLogs | None, *pauses_s: float) -> list[tuple[int, int]]:
        seen = []
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            before = len(down.asked_s), len(well.asked_s)
            assert (await doubtful(unread)).failure == "no connection"
            seen.append((len(down.asked_s) - before[0], len(well.asked_s) - before[1]))
        return seen

    tries = provider_log.PAGE_TRIES
    assert virtual_time.run(look(UnreadLogs(), 0, 0, 29, 3)) == [(tries, 2), (0, 2), (0, 2), (tries, 2)]
    assert virtual_time.run(look(None, 0, 0)) == [(tries, 2)] * 2


def test_a_log_that_is_read_again_is_asked_each_time(doubtful: LookUp, providers: tuple[Provider, Provider]) -> None:
    down, _ = providers
    unread = UnreadLogs()

    async def look() -> list[str | None]:
        failures = []
        for is_down in (True, False, False):
            down.is_down = is_down
            failures.append((await doubtful(unread)).failure)
            await asyncio.sleep(40 * is_down)
        return failures

    assert virtual_time.run(look()) == ["no connection", None, None]
    assert down.pages == 2
