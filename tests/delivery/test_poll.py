"""One sweep of a provider's log: whose log is walked, what is recorded of an entry, and an end when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.outcomes import Accepted, Reason, Status
from sender.delivery.poll import UNCONFIRMED_AFTER_S, LogSweep, PollSchedule, RefreshResult, merge_refreshed
from sender.delivery.provider_log import SKEW
from sender.delivery.provider_session import ProviderSession
from sender.providers.base import LogEntry, LogFacts, LogPage, LogQuery, Request, Response
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.sqlite.ledger import SqliteLedger

PEOPLE = ("+12025550101", "+12025550102", "+12025550103")
OURS = ("+12025550150", "+12025550151", "+12025550152")
SENT_AT = datetime(2026, 11, 21, 11, 59, tzinfo=UTC)
FACTS = LogFacts(filters_by_recipient=True, carries_ref=False, carries_body=True, settle_s=60, source="test")
ONE_WAY = PollSchedule(page_pause_s=0, lookup_after_s=600)


def entry(seq: int, **more: Any) -> LogEntry:
    return replace(LogEntry(f"m{seq}", PEOPLE[seq], OURS[seq], "Hi", None, Status.DELIVERED, "delivered", None), **more)


@dataclass
class Provider:
    """Adapter and transport in one. The log of a sender has its entries, one to a page."""

    logs: dict[str | None, list[LogEntry]]
    on_page: Callable[[], object] = lambda: None
    asked: list[str | None] = field(default_factory=list)  # whose log, of each page
    looked_up: list[str] = field(default_factory=list)
    by_id: list[LogEntry] = field(default_factory=list)  # what a lookup finds, whatever the pages show
    queries: list[LogQuery] = field(default_factory=list)
    capabilities: Any = field(default_factory=lambda: SimpleNamespace(mms_receipts=True))

    def log_request(self, query: LogQuery) -> Request:
        self.queries.append(query)
        return self._page_of(query.from_number, 0)

    def _page_of(self, sender: str | None, number: int) -> Request:
        return Request("GET", f"/log/{sender or ''}/{number}", ())

    def log_page(self, response: Response, request: Request) -> LogPage:
        sender, number = self._read(request)
        entries = self.logs.get(sender, [])
        following = self._page_of(sender, number + 1) if number + 1 < len(entries) else None
        return LogPage(tuple(entries[number : number + 1]), following)

    def _read(self, request: Request) -> tuple[str | None, int]:
        _, _, sender, number = request.url.split("/")
        return sender or None, int(number)

    def lookup(self, message_id: str) -> Request:
        return Request("GET", f"/messages/{message_id}", ())

    def lookup_result(self, response: Response) -> LogEntry | None:
        return next((one for one in self.by_id if one.message_id == response.content.decode()), None)

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        if request.url.startswith("/messages/"):
            self.looked_up.append(request.url.removeprefix("/messages/"))
            return Response(200, {}, self.looked_up[-1].encode())
        self.asked.append(self._read(request)[0])
        self.on_page()
        return Response(200, {}, b"")

    async def aclose(self) -> None: ...


@dataclass
class Sent:
    """A run of three messages, each from a number of its own, accepted as m0 to m2."""

    ledger: SqliteLedger
    run: Run
    plan: sender.Plan
    now: list[datetime]

    def refresh(
        self, provider: Provider, *, cancel: asyncio.Event | None = None, facts: LogFacts = FACTS, after_s: float = 0
    ) -> RefreshResult:
        """Sweep once, that long after the messages were sent."""
        self.now[0] = SENT_AT + timedelta(seconds=after_s)
        session = ProviderSession(provider, provider, facts)  # type: ignore[arg-type]
        sweep = LogSweep(
            ledger=self.ledger, run=self.run, plan=self.plan, provider=session, schedule=ONE_WAY, cancel=cancel
        )
        return asyncio.run(sweep.refresh())

    def journal(self) -> list[dict[str, Any]]:
        return list(self.ledger.journal("run-1").sort("seq").iter_rows(named=True))


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[Sent]:
    people = pl.DataFrame({"phone": PEOPLE, "ours": OURS})
    campaign = sender.load_campaign(
        recipients=people, provider="twilio", from_="{{ ours }}", message="Hi", rate="none", name="offer"
    )
    plan = sender.build_plan(campaign).write(tmp_path / "plan")
    now = [SENT_AT]
    ledger = SqliteLedger.open(tmp_path / "ledger.sqlite3", clock=lambda: round(now[0].timestamp() * 1000))
    run = Run("run-1", "offer", RunKind.LIVE, "twilio", plan.hash, None, 3, 3, 0, ledger.now_ms())
    ledger.create_run(run)
    claims = ledger.claim("run-1", limit=3, lease_ms=60_000)
    ledger.record("run-1", [Settlement(claim, Accepted(f"m{claim.seq}")) for claim in claims])
    yield Sent(ledger, run, plan, now)
    ledger.close()


def test_each_sender_has_its_log_walked_once(sent: Sent) -> None:
    provider = Provider({ours: [entry(seq)] for seq, ours in enumerate(OURS)})
    result = sent.refresh(provider)
    assert provider.asked == list(OURS)
    assert (result.pages, result.updated, result.delivering, result.failure) == (3, 3, 0, None)
    assert [row["status"] for row in sent.journal()] == ["delivered"] * 3


def test_a_walk_ends_with_the_last_message_that_it_looks_for(sent: Sent) -> None:
    provider = Provider({OURS[0]: [entry(seq) for seq in (0, 1, 2, 0, 0)]})
    assert sent.refresh(provider).pages == 3
    assert provider.asked == [OURS[0]] * 3


def test_a_sweep_that_is_canceled_asks_for_no_other_page(sent: Sent) -> None:
    cancel = asyncio.Event()
    provider = Provider({OURS[0]: [entry(0), entry(1), entry(2)]}, on_page=cancel.set)
    result = sent.refresh(provider, cancel=cancel)
    assert provider.asked == [OURS[0]]
    assert (result.updated, result.delivering) == (1, 2), "what was read counts"


@pytest.mark.parametrize(("after_s", "looked_up"), [(599.999, []), (600, ["m0", "m2"])])
def test_a_message_that_no_page_shows_is_looked_up_once_it_is_old_enough(
    sent: Sent, after_s: float, looked_up: list[str]
) -> None:
    provider = Provider({OURS[1]: [entry(1)]}, by_id=[entry(2)])
    result = sent.refresh(provider, after_s=after_s)
    assert (provider.looked_up, result.lookups) == (looked_up, len(looked_up))
    assert (result.updated, result.delivering) == ((2, 1) if looked_up else (1, 2))
    assert sent.journal()[2]["status"] == ("delivered" if looked_up else "queued")


def test_one_that_lacks_its_price_alone_is_looked_for_in_pages_only(sent: Sent) -> None:
    sent.refresh(Provider({ours: [entry(seq)] for seq, ours in enumerate(OURS)}))
    provider = Provider({OURS[0]: [entry(0, price="0.0079", currency="USD")]})
    assert sent.refresh(provider, after_s=900).updated == 1
    assert (provider.asked, provider.looked_up) == ([*OURS], [])
    provider = Provider({})
    sent.refresh(provider, after_s=900)
    assert provider.asked == [*OURS[1:]], "the first has all there is to know"


@pytest.mark.parametrize(("filters", "until_s"), [(True, 300), (False, 0)])
def test_the_window_that_is_asked_for_has_every_message_and_no_more_than_clocks_differ(
    sent: Sent, filters: bool, until_s: float
) -> None:
    """Without a filter it ends with the last message: other people's would follow."""
    provider = Provider({})
    sent.refresh(provider, facts=replace(FACTS, filters_by_recipient=filters), after_s=300)
    assert {(query.since, query.until) for query in provider.queries} == {
        (SENT_AT - SKEW, SENT_AT + timedelta(seconds=until_s) + SKEW)
    }
    assert [query.from_number for query in provider.queries] == ([*OURS] if filters else [None])
    assert all(query.sent_only for query in provider.queries)


@pytest.mark.parametrize(
    ("after_s", "given_up"), [(UNCONFIRMED_AFTER_S - 0.001, 0), (UNCONFIRMED_AFTER_S, 2)], ids=["not yet", "now"]
)
def test_a_message_that_gets_no_receipt_in_two_days_is_given_up(sent: Sent, after_s: float, given_up: int) -> None:
    result = sent.refresh(Provider({OURS[0]: [entry(0)]}), after_s=after_s)
    assert (result.unconfirmed, result.delivering) == (given_up, 2 - given_up)
    assert [row["status"] for row in sent.journal()] == ["delivered", *["unconfirmed" if given_up else "queued"] * 2]


def test_sweeps_of_several_routes_are_one_result() -> None:
    first = RefreshResult(updated=1, unconfirmed=2, delivering=7, pages=3, lookups=4)
    second = RefreshResult(updated=10, unconfirmed=20, delivering=5, pages=30, lookups=40, failure="no answer")
    third = RefreshResult(delivering=6, failure="another")
    assert merge_refreshed([first, second, third]) == RefreshResult(11, 22, 5, 33, 44, "no answer")
    assert merge_refreshed([first]) == first


AT = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("logged", "recorded"),
    [
        pytest.param(
            {"status": Status.FAILED, "provider_status": "failed", "reason": Reason.UNREACHABLE, "error_code": "30003",
             "error_message": "Unreachable handset"},
            {"status": "failed", "provider_status": "failed", "reason": "unreachable", "error_code": "30003",
             "error_message": "Unreachable handset"},
            id="why it failed",
        ),
        pytest.param(
            {"segments": 2, "price": "0.0158", "currency": "USD"},
            {"segments": 2, "price": "0.0158", "currency": "USD"},
            id="what it cost",
        ),
        pytest.param(
            {"line_type": "mobile", "carrier": "Example Wireless", "smart_encoded": True},
            {"line_type": "mobile", "carrier": "Example Wireless", "smart_encoded": True},
            id="what is known of the number and the text",
        ),
        pytest.param({"sent_at": AT, "updated_at": AT}, {"sent_at": AT, "final_at": AT}, id="when it was sent"),
        pytest.param(
            {"status": None, "provider_status": None, "sent_at": AT}, {"status": "sent", "sent_at": AT}, id="sent so far"
        ),
    ],
)  # fmt: skip
def test_what_an_entry_says_is_recorded(sent: Sent, logged: dict[str, Any], recorded: dict[str, Any]) -> None:
    sent.refresh(Provider({OURS[1]: [entry(1, **logged)]}))
    row = sent.journal()[1]
    assert {name: row[name] for name in recorded} == recorded
