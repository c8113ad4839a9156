"""Which entry of a provider's log is which of our unknown messages, and what the log proves about the rest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import PlanError
from sender.core.outcomes import Accepted, Reason, Status, Unknown
from sender.delivery import provider_log
from sender.delivery.log_evidence import DoubtfulMessage, Evidence, LoggedMessage, weigh
from sender.delivery.provider_session import ProviderSession
from sender.delivery.reconcile import (
    SKEW,
    ReconcileResult,
    _accepted,
    _decide_absence,
    check_clock,
    clocks_apart_s,
    reconcile,
)
from sender.providers.base import LogEntry, LogFacts, LogPage, LogQuery, Request, Response
from sender.state.files.erasure import erase_from_plan
from sender.state.ledger import LogFinding, Run, RunKind, Settlement
from sender.state.people import Person
from sender.state.sqlite.ledger import SqliteLedger
from sender.transport.base import MaybeSent
from tests import virtual_time

T0 = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FULL = LogFacts(filters_by_recipient=True, carries_ref=False, carries_body=True, settle_s=60, source="test")
BARE = LogFacts(filters_by_recipient=False, carries_ref=False, carries_body=False, settle_s=60, source="test")
NAMED = LogFacts(filters_by_recipient=True, carries_ref=True, carries_body=True, settle_s=60, source="test")


def doubt(
    seq: int, to: str = "+12025550101", body: str | None = "Hi", sender: str | None = "+12025550100"
) -> DoubtfulMessage:
    return DoubtfulMessage("run", seq, f"run.{seq}", to, sender, body, T0, T0 + timedelta(seconds=30), 1)


def entry(
    name: str,
    to: str = "+12025550101",
    body: str | None = "Hi",
    sender: str | None = "+12025550100",
    after_s: float | None = 1,
    ref: str | None = None,
) -> LogEntry:
    at = None if after_s is None else T0 + timedelta(seconds=after_s)
    return LogEntry(name, to, sender, body, at, Status.QUEUED, "queued", ref)


SKEW_S = SKEW.total_seconds()


@pytest.mark.parametrize(
    ("doubts", "entries", "facts", "found"),
    [
        pytest.param([doubt(0)], [entry("a")], FULL, {0: "a"}, id="to-from-body-time"),
        pytest.param([doubt(0)], [entry("a", to="+12025550102")], FULL, {}, id="another-recipient"),
        pytest.param([doubt(0)], [entry("a", sender="+12025550109")], FULL, {}, id="another-sender"),
        pytest.param([doubt(0)], [entry("a", body="Bye")], FULL, {}, id="another-body"),
        pytest.param([doubt(0)], [entry("a", body="Bye")], BARE, {0: "a"}, id="a-body-that-proves-nothing"),
        pytest.param([doubt(0)], [entry("a", body=None)], BARE, {0: "a"}, id="no-body-in-the-log"),
        pytest.param([doubt(0, body=None)], [entry("a", body="")], FULL, {0: "a"}, id="media-only"),
        pytest.param([doubt(0, body=None)], [entry("a", body="Hi")], FULL, {}, id="media-only-is-no-text"),
        pytest.param(
            [doubt(0)], [entry("a", body="Sent from a trial account - Hi")], FULL, {0: "a"}, id="trial-prefix"
        ),
        pytest.param([doubt(0)], [entry("a", after_s=30 + SKEW_S + 1)], FULL, {}, id="after-nothing-was-under-way"),
        pytest.param([doubt(0)], [entry("a", after_s=30 + SKEW_S - 1)], FULL, {0: "a"}, id="just-before"),
        pytest.param([doubt(0)], [entry("a", after_s=30 + SKEW_S)], FULL, {0: "a"}, id="at-the-windows-end"),
        pytest.param([doubt(0)], [entry("a", after_s=-SKEW_S)], FULL, {0: "a"}, id="at-the-windows-start"),
        pytest.param([doubt(0)], [entry("a", after_s=-SKEW_S - 1)], FULL, {}, id="before-our-intent"),
        pytest.param([doubt(0)], [entry("a", after_s=-SKEW_S + 1)], FULL, {0: "a"}, id="within-the-clocks-skew"),
        pytest.param([doubt(0)], [entry("a", after_s=None), entry("b")], FULL, {0: "b"}, id="a-time-beats-no-time"),
        pytest.param([doubt(0)], [entry("a", sender=None)], FULL, {0: "a"}, id="no-sender-in-the-log"),
        pytest.param([doubt(0)], [entry("a", body=None)], FULL, {0: "a"}, id="a-body-is-missing-from-the-log"),
        pytest.param([doubt(0), doubt(1)], [entry("a", ref="run.1")], FULL, {1: "a"}, id="by-ref-where-refs-are-rare"),
        pytest.param([doubt(0)], [entry("a", after_s=None)], FULL, {}, id="no-time-in-the-log"),
        pytest.param([doubt(0, sender=None)], [entry("a")], FULL, {0: "a"}, id="a-service-chose-the-sender"),
        pytest.param([doubt(0)], [entry("a", ref="run.0")], NAMED, {0: "a"}, id="by-ref"),
        pytest.param([doubt(0)], [entry("a", ref="run.0", body="x")], NAMED, {0: "a"}, id="ref-beats-body"),
        pytest.param([doubt(0)], [entry("a", ref="other.0")], NAMED, {}, id="another-runs-ref"),
        pytest.param([doubt(0)], [entry("a", ref="other.0")], FULL, {}, id="another-runs-ref-where-refs-are-rare"),
        pytest.param([doubt(0)], [entry("a")], NAMED, {}, id="no-ref-where-all-of-ours-have-one"),
        pytest.param([doubt(0), doubt(1)], [entry("a")], FULL, {0: "a"}, id="one-entry-settles-one"),
        pytest.param([doubt(0)], [entry("b", after_s=2), entry("a")], FULL, {0: "a"}, id="the-earliest-first"),
        pytest.param(
            [doubt(0), doubt(1)], [entry("b", after_s=2), entry("a")], FULL, {0: "a", 1: "b"}, id="two-and-two"
        ),
        pytest.param(
            [doubt(0), doubt(1)], [entry("a"), entry("b")], FULL, {0: "a", 1: "b"}, id="two-of-the-same-moment"
        ),
        pytest.param([doubt(0)], [entry("a", ref="run.0"), entry("b", ref="run.0")], NAMED, {0: "a"}, id="a-ref-twice"),
    ],
)
def test_matching(
    doubts: list[DoubtfulMessage], entries: list[LogEntry], facts: LogFacts, found: dict[int, str]
) -> None:
    evidence = weigh(doubts, [], [LoggedMessage(one) for one in entries], {}, facts)
    assert {seq: match.message_id for seq, match in evidence.entries.items()} == found


@pytest.mark.parametrize(
    ("date", "apart"),
    [
        pytest.param("Sat, 21 Nov 2026 12:00:00 GMT", None, id="the-same"),
        pytest.param("Sat, 21 Nov 2026 12:01:59 GMT", None, id="within-the-skew"),
        pytest.param("Sat, 21 Nov 2026 12:02:00 GMT", None, id="at-the-skew"),
        pytest.param("Sat, 21 Nov 2026 11:58:00 GMT", None, id="at-the-skew-ahead"),
        pytest.param("Sat, 21 Nov 2026 12:02:01 GMT", "121 s apart", id="beyond-the-skew"),
        pytest.param("Sat, 21 Nov 2026 12:05:00 GMT", "300 s apart", id="ours-behind"),
        pytest.param("Sat, 21 Nov 2026 11:55:00 GMT", "300 s apart", id="ours-ahead"),
        pytest.param("yesterday", None, id="no-date"),
        pytest.param(None, None, id="none"),
    ],
)
def test_a_log_of_another_clock_proves_nothing(date: str | None, apart: str | None) -> None:
    response = Response(200, {} if date is None else {"date": date}, b"")
    if apart is None:
        check_clock(response, round(T0.timestamp() * 1000))
    else:
        with pytest.raises(ValueError, match=apart):
            check_clock(response, round(T0.timestamp() * 1000))


# What a walk of the log settles: a run of a few messages, all unknown, and a log that is read by script

INTENT = T0  # each message was intended then, and nothing of it was in flight from DOUBTED on
DOUBTED = T0 + timedelta(seconds=30)
SETTLED = DOUBTED + timedelta(seconds=60)  # from then on, the log of FULL proves absence
PEOPLE = ("+12025550101", "+12025550102", "+12025550103")


@dataclass
class Provider:
    """Adapter and transport in one: answers each query with the log's entries to its recipient."""

    entries: list[LogEntry] = field(default_factory=list)
    failing: str | None = None  # the recipient whose part of the log cannot be read
    failure: str = "no answer"
    meanwhile: Callable[[], object] = lambda: None  # what others do while the log is read
    clock: Callable[[], datetime] = lambda: SETTLED
    queries: list[LogQuery] = field(default_factory=list)
    asked_s: list[float] = field(default_factory=list)

    def log_request(self, query: LogQuery) -> Request:
        self.queries.append(query)
        return Request("GET", str(query.to), ())

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        self.asked_s.append(asyncio.get_running_loop().time())
        if request.url == self.failing:
            raise MaybeSent(self.failure)
        self.meanwhile()
        return Response(200, {"date": format_datetime(self.clock(), usegmt=True)}, request.url.encode())

    def log_page(self, response: Response, request: Request) -> LogPage:
        to = response.content.decode()
        assert to == request.url, "the page of this request"
        return LogPage(tuple(entry for entry in self.entries if to in (entry.to, "None")), None)

    async def aclose(self) -> None: ...


@dataclass
class Unsettled:
    """A run whose messages to PEOPLE are unknown since DOUBTED."""

    ledger: SqliteLedger
    run: Run
    plan: sender.Plan
    now: list[datetime]

    def reconcile(
        self,
        provider: Provider,
        facts: LogFacts = FULL,
        *,
        now: datetime = SETTLED,
        cancelled: bool = False,
        plan_of: Callable[[Run], sender.Plan] | None = None,
        shares_sandbox: bool = False,
        unreadable: str | None = None,
    ) -> ReconcileResult:
        self.now[0] = now
        provider.clock = lambda: self.now[0]

        async def go() -> ReconcileResult:
            cancel = asyncio.Event()
            if cancelled:
                cancel.set()
            return await reconcile(
                ledger=self.ledger,
                run=self.run,
                plan=self.plan,
                provider=ProviderSession(provider, provider, facts, shares_sandbox=shares_sandbox),  # type: ignore[arg-type]
                cancel=cancel,
                plan_of=plan_of,
                unreadable=unreadable,
            )

        return virtual_time.run(go())

    @property
    def states(self) -> list[str]:
        """By seq; a message that was proved absent is pending."""
        journal = self.ledger.journal("run-1")
        known = dict(zip(journal["seq"], journal["state"], strict=True))
        return [known.get(seq, "pending") for seq in range(len(PEOPLE))]


def plan_with(message: str) -> sender.Plan:
    return sender.build_plan(
        sender.load_campaign(
            recipients=pl.DataFrame({"phone": PEOPLE}),
            provider="telnyx",
            from_="+12025550100",
            message=message,
            rate="none",
            name="unsettled",
        )
    )


@pytest.fixture
def unsettled(tmp_path: Path) -> Any:
    plan = plan_with("Hi").write(tmp_path / "plan")
    now = [INTENT]
    ledger = SqliteLedger.open(tmp_path / "ledger.sqlite3", clock=lambda: round(now[0].timestamp() * 1000))
    messages = len(PEOPLE)
    run = Run("run-1", "unsettled", RunKind.LIVE, "telnyx", plan.hash, None, messages, messages, 0, 0)
    ledger.create_run(run)
    claims = ledger.claim("run-1", limit=messages, lease_ms=600_000)
    now[0] = DOUBTED
    ledger.record("run-1", [Settlement(claim, Unknown("no answer")) for claim in claims])
    yield Unsettled(ledger, run, plan, now)
    ledger.close()


@pytest.mark.parametrize(
    ("logged", "recorded"), [(Status.DELIVERED, "delivered"), (Status.QUEUED, "queued"), (None, "queued")]
)
def test_the_status_is_the_logs_or_queued(unsettled: Unsettled, logged: Status | None, recorded: str) -> None:
    unsettled.reconcile(Provider([replace(entry("m0", PEOPLE[0]), status=logged)]), now=DOUBTED)
    assert unsettled.ledger.journal("run-1").filter(pl.col("seq") == 0)["status"].item() == recorded


def test_a_message_in_the_log_is_accepted_with_what_the_log_says(unsettled: Unsettled) -> None:
    result = unsettled.reconcile(Provider([entry("m1", PEOPLE[1])]), now=DOUBTED)
    assert (result.found, result.absent, result.doubtful, result.failure) == (1, 0, 2, None)
    assert unsettled.states == ["unknown", "accepted", "unknown"]
    [accepted] = unsettled.ledger.journal("run-1").filter(pl.col("seq") == 1).rows(named=True)
    assert (accepted["message_id"], accepted["status"], accepted["provider_status"]) == ("m1", "queued", "queued")


@pytest.mark.parametrize(
    ("early_s", "absent"),
    [pytest.param(0.001, 0, id="one-millisecond-too-early"), pytest.param(0, 3, id="as-soon-as-the-log-has-settled")],
)
def test_absence_counts_once_the_log_can_no_longer_lag(unsettled: Unsettled, early_s: float, absent: int) -> None:
    result = unsettled.reconcile(Provider(), now=SETTLED - timedelta(seconds=early_s))
    assert (result.found, result.absent, result.doubtful) == (0, absent, 3 - absent)
    assert result.decidable_at == (None if absent else SETTLED)
    assert unsettled.states == ["pending" if absent else "unknown"] * 3


def test_a_log_that_never_proves_absence_leaves_everything_else_unknown(unsettled: Unsettled) -> None:
    never = LogFacts(True, carries_ref=False, carries_body=True, settle_s=None, source="test")
    result = unsettled.reconcile(Provider([entry("m0", PEOPLE[0])]), never, now=SETTLED + timedelta(days=30))
    assert (result.found, result.absent, result.doubtful, result.decidable_at) == (1, 0, 2, None)
    assert unsettled.states == ["accepted", "unknown", "unknown"]


def test_what_was_found_before_the_log_failed_is_settled_and_absence_is_not_proved(unsettled: Unsettled) -> None:
    provider = Provider([entry("m0", PEOPLE[0]), entry("m2", PEOPLE[2])], failing=PEOPLE[1])
    result = unsettled.reconcile(provider)
    assert (result.found, result.absent, result.doubtful, result.failure) == (1, 0, 2, "no answer")
    assert result.decidable_at == SETTLED
    assert len(provider.asked_s) == 1 + provider_log.PAGE_TRIES
    assert unsettled.states == ["accepted", "unknown", "unknown"]


def test_a_log_that_could_not_be_read_is_not_asked_and_decides_nothing(unsettled: Unsettled) -> None:
    provider = Provider([entry("m0", PEOPLE[0])])
    result = unsettled.reconcile(provider, now=SETTLED + timedelta(days=1), unreadable="no answer")
    assert (result.found, result.absent, result.doubtful, result.failure) == (0, 0, 3, "no answer")
    assert (result.decidable_at, provider.asked_s) == (SETTLED, [])
    assert unsettled.states == ["unknown"] * 3


def test_a_failure_without_words_is_named_by_its_kind(unsettled: Unsettled) -> None:
    assert unsettled.reconcile(Provider(failing=PEOPLE[0], failure="")).failure == "MaybeSent"


def test_what_was_sent_again_meanwhile_is_not_settled_by_what_was_seen_before(unsettled: Unsettled) -> None:
    """Another process settles them, and sends and doubts them once more, while this one reads the log."""

    def send_again() -> None:
        if ledger.journal("run-1")["attempts"].max() == 1:
            ledger.reconcile("run-1", [LogFinding(seq, None) for seq in range(len(PEOPLE))])
            claims = ledger.claim("run-1", limit=len(PEOPLE), lease_ms=600_000)
            ledger.record("run-1", [Settlement(claim, Unknown("no answer")) for claim in claims])

    ledger = unsettled.ledger
    unsettled.reconcile(Provider([entry("m0", PEOPLE[0])], meanwhile=send_again))
    assert unsettled.states == ["unknown"] * 3
    assert ledger.journal("run-1")["attempts"].to_list() == [2, 2, 2]


@pytest.mark.parametrize(("sent", "others"), [(True, "pending"), (False, "canceled")])
def test_a_message_that_was_sent_again_is_looked_for_from_the_first_time_on(
    unsettled: Unsettled, sent: bool, others: str
) -> None:
    """A person had it sent again an hour later; it left, or its run was closed before it did."""
    ledger, again = unsettled.ledger, DOUBTED + timedelta(hours=1)
    unsettled.now[0] = again
    assert ledger.resend_unknown("run-1") == len(PEOPLE)
    claims = ledger.claim("run-1", limit=len(PEOPLE), lease_ms=600_000)
    if sent:
        ledger.record("run-1", [Settlement(claim, Unknown("no answer")) for claim in claims])
    else:
        ledger.release("run-1", claims)
        ledger.close_run("run-1", by="anna")
    assert unsettled.states == ["unknown"] * len(PEOPLE)
    provider = Provider([entry("m0", PEOPLE[0])])
    result = unsettled.reconcile(provider, now=again + timedelta(minutes=2))
    assert (result.found, result.absent) == (1, 2)
    assert unsettled.states == ["accepted", others, others]
    assert min(query.since for query in provider.queries) <= INTENT


def test_another_run_s_message_that_was_sent_again_may_be_the_entry(unsettled: Unsettled) -> None:
    """One that looks alike: the entry is from before it was sent again, and proves nothing for either."""
    ledger, run = unsettled.ledger, unsettled.run
    unsettled.now[0] = INTENT
    ledger.create_run(replace(run, run_id="run-2"))
    [first] = ledger.claim("run-2", limit=1, lease_ms=600_000)
    ledger.record("run-2", [Settlement(first, Unknown("no answer"))])
    unsettled.now[0] = DOUBTED + timedelta(hours=1)
    ledger.resend_unknown("run-2")
    [again] = ledger.claim("run-2", limit=1, lease_ms=600_000)
    ledger.record("run-2", [Settlement(again, Unknown("no answer"))])
    result = unsettled.reconcile(Provider([entry("m0", PEOPLE[0])]), now=DOUBTED + timedelta(hours=2))
    assert (result.found, result.absent, result.contested) == (0, 2, 1)


def test_a_cancelled_walk_proves_nothing(unsettled: Unsettled) -> None:
    provider = Provider()
    result = unsettled.reconcile(provider, cancelled=True)
    assert (result.found, result.absent, result.doubtful, result.failure) == (0, 0, 3, "interrupted")
    assert provider.asked_s == []


def test_a_clock_that_differs_proves_nothing(unsettled: Unsettled) -> None:
    provider = Provider()
    unsettled.now[0] = SETTLED
    provider_clock = SETTLED + SKEW + timedelta(seconds=1)

    async def go() -> ReconcileResult:
        provider.clock = lambda: provider_clock
        return await reconcile(
            ledger=unsettled.ledger,
            run=unsettled.run,
            plan=unsettled.plan,
            provider=ProviderSession(provider, provider, FULL),  # type: ignore[arg-type]
            cancel=asyncio.Event(),
        )

    result = virtual_time.run(go())
    assert (result.absent, result.doubtful) == (0, 3)
    assert "121 s apart" in (result.failure or "")


@pytest.mark.parametrize(
    ("rival", "absent"),
    [
        pytest.param(entry("x", PEOPLE[0], body="Bye"), False, id="another-body-to-the-same-number"),
        pytest.param(entry("x", PEOPLE[0], body="Bye", after_s=None), False, id="without-a-time"),
        pytest.param(entry("x", PEOPLE[0], body="Bye", after_s=-SKEW_S), False, id="as-early-as-the-clocks-allow"),
        pytest.param(entry("x", PEOPLE[0], body="Bye", after_s=-SKEW_S - 1), True, id="before-our-intent"),
        pytest.param(entry("x", PEOPLE[0], body="Bye", after_s=30 + SKEW_S + 1), False, id="later-than-ours-could-be"),
        pytest.param(entry("x", PEOPLE[0], ref="other.0"), True, id="another-runs-ref"),
        pytest.param(entry("x", "+12025550109"), True, id="another-number"),
    ],
)
def test_an_entry_that_may_be_the_message_speaks_against_its_absence(
    unsettled: Unsettled, rival: LogEntry, absent: bool
) -> None:
    result = unsettled.reconcile(Provider([rival]))
    assert (result.found, result.absent) == (0, 3 if absent else 2)
    assert unsettled.states == ["pending" if absent else "unknown", "pending", "pending"]


def test_a_message_of_another_run_is_not_ours(unsettled: Unsettled) -> None:
    other = Run("run-2", "other", RunKind.LIVE, "telnyx", unsettled.plan.hash, None, 1, 1, 0, 0)
    unsettled.ledger.create_run(other)
    claims = unsettled.ledger.claim("run-2", limit=1, lease_ms=600_000)
    unsettled.ledger.record("run-2", [Settlement(claims[0], Accepted("theirs"))])
    result = unsettled.reconcile(Provider([entry("theirs", PEOPLE[0])]))
    assert (result.found, result.absent) == (0, 3)


def test_a_message_of_another_run_is_not_ours_after_one_of_ours_was_found_either(unsettled: Unsettled) -> None:
    other = Run("run-2", "other", RunKind.LIVE, "telnyx", unsettled.plan.hash, None, 1, 1, 0, 0)
    unsettled.ledger.create_run(other)
    claims = unsettled.ledger.claim("run-2", limit=1, lease_ms=600_000)
    unsettled.ledger.record("run-2", [Settlement(claims[0], Accepted("theirs"))])
    result = unsettled.reconcile(Provider([entry("m0", PEOPLE[0]), entry("theirs", PEOPLE[1])]))
    assert (result.found, result.absent) == (1, 2)
    assert unsettled.states == ["accepted", "pending", "pending"]


@pytest.mark.parametrize(
    ("logged", "accepted"),
    [
        pytest.param(
            LogEntry(
                "m", PEOPLE[0], None, "Hi", T0, Status.UNDELIVERED, "failed", None, 2, "0.02", "USD",
                T0 + timedelta(seconds=3), T0 + timedelta(seconds=5), Reason.UNREACHABLE, "30003", "Unreachable handset",
            ),
            Accepted(
                "m", Status.UNDELIVERED, "failed", 2, "0.02", "USD", "2026-11-21T12:00:00+00:00",
                "2026-11-21T12:00:03+00:00", Reason.UNREACHABLE, "30003", "Unreachable handset",
            ),
            id="everything",
        ),
        pytest.param(
            LogEntry("m", PEOPLE[0], None, None, None, None, None), Accepted("m", Status.QUEUED), id="nothing but its id"
        ),
    ],
)  # fmt: skip
def test_what_the_log_says_of_a_message_is_kept(logged: LogEntry, accepted: Accepted) -> None:
    assert _accepted(logged) == accepted


@pytest.mark.parametrize(("facts", "recipients"), [(FULL, list(PEOPLE)), (BARE, [None])])
def test_the_log_is_asked_for_the_whole_window(
    unsettled: Unsettled, facts: LogFacts, recipients: list[str | None]
) -> None:
    provider = Provider()
    unsettled.reconcile(provider, facts)
    assert [query.to for query in provider.queries] == recipients
    assert {(query.since, query.until) for query in provider.queries} == {(INTENT - SKEW, SETTLED + SKEW)}
    gaps_s = [later - earlier for earlier, later in zip(provider.asked_s, provider.asked_s[1:], strict=False)]
    assert [round(gap_s, 3) for gap_s in gaps_s] == [1 / facts.requests_per_s] * (len(recipients) - 1)


def test_one_entry_is_not_used_for_two_messages_to_the_same_number(unsettled: Unsettled) -> None:
    result = unsettled.reconcile(Provider([entry("m", PEOPLE[0]), entry("m", PEOPLE[0])]), BARE)
    assert (result.found, result.absent) == (1, 2)


def test_a_run_without_unknown_messages_asks_nothing(unsettled: Unsettled) -> None:
    unsettled.reconcile(Provider())
    provider = Provider()
    assert unsettled.reconcile(provider) == ReconcileResult()
    assert provider.asked_s == []


def test_seconds_between_two_clocks_are_given_only_when_they_matter() -> None:
    now_ms = round(T0.timestamp() * 1000)
    assert clocks_apart_s(Response(200, {"date": "Sat, 21 Nov 2026 11:50:00 GMT"}, b""), now_ms) == 600
    assert clocks_apart_s(Response(200, {"date": "Sat, 21 Nov 2026 12:00:00 GMT"}, b""), now_ms) is None


def test_all_are_decidable_once_the_last_one_is() -> None:
    messages = [doubt(0), replace(doubt(1), doubted_at=DOUBTED + timedelta(minutes=5)), doubt(2)]
    absent, decidable_at = _decide_absence(messages, Evidence(entries={2: entry("m2")}), FULL, INTENT, complete=True)
    assert absent == []
    assert decidable_at == SETTLED + timedelta(minutes=5)
    absent, decidable_at = _decide_absence(messages, Evidence(rivalled={2}), FULL, SETTLED, complete=True)
    assert absent == messages[:1]
    assert decidable_at == SETTLED + timedelta(minutes=5)


# -- several runs, and walks that do not end -------------------------------------------------------------------------


def second_run(unsettled: Unsettled, *, state: str = "unknown") -> Run:
    """Another campaign with the same texts to the same people, all in doubt."""
    other = replace(unsettled.run, run_id="run-2", campaign="other")
    unsettled.ledger.create_run(other)
    unsettled.now[0] = INTENT
    claims = unsettled.ledger.claim("run-2", limit=len(PEOPLE), lease_ms=600_000)
    unsettled.now[0] = DOUBTED
    if state == "unknown":
        unsettled.ledger.record("run-2", [Settlement(claim, Unknown("no answer")) for claim in claims])
    return other


@pytest.mark.parametrize("state", ["unknown", "intent"])
def test_a_campaign_does_not_take_anothers_entry(unsettled: Unsettled, state: str) -> None:
    """One of the two was accepted, and nobody can say which: neither is settled, and neither is sent again."""
    other = second_run(unsettled, state=state)
    provider = Provider([entry("m", PEOPLE[0])])
    result = unsettled.reconcile(provider)
    assert (result.found, result.absent, result.contested) == (0, 2, 1)
    assert unsettled.states == ["unknown", "pending", "pending"]
    again = replace(unsettled, run=other)
    assert again.reconcile(provider).found == 0
    assert unsettled.ledger.holders_of({"m"}) == []


@pytest.mark.parametrize(
    ("holder", "found", "states"),
    [
        (1, 1, ["accepted", "pending", "pending"]),  # to somebody else, so the id is not its own
        (0, 0, ["pending", "pending", "pending"]),
    ],
)
def test_an_id_that_was_given_to_another_message_is_told_by_its_recipient(
    unsettled: Unsettled, holder: int, found: int, states: list[str]
) -> None:
    unsettled.ledger.create_run(replace(unsettled.run, run_id="run-2", campaign="other"))
    unsettled.now[0] = INTENT
    claims = unsettled.ledger.claim("run-2", limit=len(PEOPLE), lease_ms=600_000)
    ids = ["m" if claim.seq == holder else f"of-{claim.seq}" for claim in claims]
    settled = [Settlement(claim, Accepted(name)) for claim, name in zip(claims, ids, strict=True)]
    unsettled.ledger.record("run-2", settled)
    result = unsettled.reconcile(Provider([entry("m", PEOPLE[0])]), plan_of=lambda _: unsettled.plan)
    assert (result.found, unsettled.states) == (found, states)


def test_runs_with_another_log_are_not_compared(unsettled: Unsettled) -> None:
    unsettled.run = replace(unsettled.run, account="AC1", base_url="https://api.example.com")
    for run_id, changed in (
        ("twilio", {"provider": "twilio"}),
        ("sandbox", {"simulated": True}),
        ("account", {"account": "AC2"}),
        ("region", {"base_url": "https://api.eu.example.com"}),
    ):
        unsettled.ledger.create_run(replace(unsettled.run, run_id=run_id, **changed))  # type: ignore[arg-type]
        claims = unsettled.ledger.claim(run_id, limit=len(PEOPLE), lease_ms=600_000)
        unsettled.ledger.record(run_id, [Settlement(claim, Unknown("no answer")) for claim in claims])
    assert unsettled.reconcile(Provider([entry("m", PEOPLE[0])])).found == 1


@pytest.mark.parametrize(
    ("message", "found"),
    [
        pytest.param("Bye", 1, id="with another text"),
        pytest.param("Hi", 0, id="with the same text"),
        pytest.param(None, 0, id="of a plan that cannot be read"),
    ],
)
def test_another_run_s_messages_are_compared_by_its_plan(unsettled: Unsettled, message: str | None, found: int) -> None:
    other = second_run(unsettled)

    def plan_of(run: Run) -> sender.Plan:
        assert run.run_id == other.run_id
        if message is None:
            raise PlanError("no plan")
        return plan_with(message)

    result = unsettled.reconcile(Provider([entry("m", PEOPLE[0])]), plan_of=plan_of)
    assert (result.found, result.contested) == (found, 1 - found)


@pytest.mark.parametrize("message", [None, "Hi"], ids=["without its plan", "by its plan"])
@pytest.mark.parametrize(("state", "found"), [("unknown", 1), ("intent", 0)])
def test_a_request_of_another_run_that_is_in_flight_may_be_any_later_entry(
    unsettled: Unsettled, state: str, found: int, message: str | None
) -> None:
    """The entry is younger than the end of the other run's request, if that has ended."""
    unsettled.ledger.create_run(replace(unsettled.run, run_id="run-2"))
    unsettled.now[0] = INTENT
    claims = unsettled.ledger.claim("run-2", limit=len(PEOPLE), lease_ms=600_000)
    if state == "unknown":
        unsettled.ledger.record("run-2", [Settlement(claim, Unknown("no answer")) for claim in claims])
    late = entry("m", PEOPLE[0], after_s=SKEW_S + 15)
    plan_of = None if message is None else lambda _: plan_with(message)
    assert unsettled.reconcile(Provider([late]), plan_of=plan_of).found == found


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        pytest.param({"account": None}, 0, id="of an account that is not known"),
        pytest.param({"base_url": None}, 0, id="through an address that is not known"),
        pytest.param({"provider": "signalwire-compat"}, 0, id="through the other API of the provider"),
        pytest.param({"provider": "signalwire-compat", "account": "AC2"}, 1, id="of another account there"),
    ],
)
def test_runs_that_may_have_the_same_log_are_compared(
    unsettled: Unsettled, changed: dict[str, Any], found: int
) -> None:
    unsettled.run = replace(unsettled.run, provider="signalwire", account="AC1", base_url="https://api.example.com")
    unsettled.ledger.create_run(replace(unsettled.run, run_id="run-2", **changed))
    claims = unsettled.ledger.claim("run-2", limit=len(PEOPLE), lease_ms=600_000)
    unsettled.ledger.record("run-2", [Settlement(claim, Unknown("no answer")) for claim in claims])
    assert unsettled.reconcile(Provider([entry("m", PEOPLE[0])])).found == found


@pytest.mark.parametrize(("shares", "found"), [(True, 0), (False, 1)])
def test_simulated_runs_are_compared_where_they_share_a_sandbox(unsettled: Unsettled, shares: bool, found: int) -> None:
    """Whatever provider it plays."""
    unsettled.run = replace(unsettled.run, simulated=True)
    unsettled.ledger.create_run(replace(unsettled.run, run_id="run-2", provider="twilio"))
    claims = unsettled.ledger.claim("run-2", limit=len(PEOPLE), lease_ms=600_000)
    unsettled.ledger.record("run-2", [Settlement(claim, Unknown("no answer")) for claim in claims])
    assert unsettled.reconcile(Provider([entry("m", PEOPLE[0])]), shares_sandbox=shares).found == found


def test_a_person_who_was_erased_is_not_looked_for(unsettled: Unsettled, tmp_path: Path) -> None:
    """Her message stays in doubt: nobody knows whose it was."""
    erase_from_plan(tmp_path / "plan", Person.of(PEOPLE[0]), unsettled.plan.identity)
    unsettled.plan = sender.Plan.open(tmp_path / "plan")
    provider = Provider([entry("m0", PEOPLE[0]), entry("m1", PEOPLE[1])])
    result = unsettled.reconcile(provider)
    assert [query.to for query in provider.queries] == list(PEOPLE[1:])
    assert (result.found, result.absent, result.doubtful) == (1, 1, 0)
    assert unsettled.states == ["unknown", "accepted", "pending"]


def test_a_number_that_the_log_masks_may_be_anybody_s_whom_it_fits(unsettled: Unsettled) -> None:
    """It is read with everything else of the account."""
    result = unsettled.reconcile(Provider([entry("m", "+120255501**"), entry("n", "+1303*******")]), BARE)
    assert (result.found, result.absent, result.contested) == (0, 0, 3)


@dataclass
class Paged(Provider):
    """A log with an entry to a page; of a page that is `broken` nothing comes."""

    broken: int | None = None

    def _page_of(self, url: str) -> int:
        return int(url.partition("/")[2] or 0)

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        if self._page_of(request.url) == self.broken:
            raise MaybeSent(self.failure)
        return await super().send(request, timeout_s=timeout_s, send_by_s=send_by_s)

    def log_page(self, response: Response, request: Request) -> LogPage:
        page = self._page_of(request.url)
        following = Request("GET", f"None/{page + 1}", ()) if page + 1 < len(self.entries) else None
        return LogPage((self.entries[page],), following)


def test_what_pages_showed_before_one_that_did_not_come_is_settled(unsettled: Unsettled) -> None:
    provider = Paged([entry("m0", PEOPLE[0]), entry("m1", PEOPLE[1]), entry("m2", PEOPLE[2])], broken=2)
    result = unsettled.reconcile(provider, BARE)
    assert (result.found, result.absent, result.failure) == (2, 0, "no answer")
    assert unsettled.states == ["accepted", "accepted", "unknown"]


def test_an_entry_that_two_pages_show_settles_nothing(unsettled: Unsettled) -> None:
    """The pages have moved while they were read, and one may have skipped what would fit as well."""
    again = entry("m0", PEOPLE[0], after_s=60)
    result = unsettled.reconcile(Paged([entry("m0", PEOPLE[0]), entry("m1", PEOPLE[1]), again]), BARE)
    assert (result.found, result.absent, result.contested) == (1, 1, 1)
    assert unsettled.states == ["unknown", "accepted", "pending"]


@dataclass
class Endless(Provider):
    """A log whose pages never end."""

    page_s: float = 0.0

    def log_page(self, response: Response, request: Request) -> LogPage:
        number = int(request.url.rpartition("/")[2]) if "/" in request.url else 1
        return LogPage((), Request("GET", f"{request.url.partition('/')[0]}/{number + 1}", ()))

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        await asyncio.sleep(self.page_s)
        return await super().send(request, timeout_s=timeout_s, send_by_s=send_by_s)


@pytest.mark.parametrize(
    ("facts", "page_s", "pages", "failure"),
    [
        pytest.param(FULL, 0.0, 200, "200 pages about one number", id="about-one-number"),
        pytest.param(BARE, 0.0, 2001, "2,001 pages", id="of-the-whole-account"),
        pytest.param(FULL, 29.0, 62, "30 minutes", id="for-too-long"),
    ],
)
def test_a_walk_is_bounded_and_says_so(
    unsettled: Unsettled, facts: LogFacts, page_s: float, pages: int, failure: str
) -> None:
    provider = Endless(page_s=page_s)
    result = unsettled.reconcile(provider, facts)
    assert (result.found, result.absent, result.doubtful) == (0, 0, 3)
    assert f"the walk ended after {failure}" in (result.failure or "")
    assert len(provider.asked_s) == pytest.approx(pages, abs=1)


@pytest.mark.parametrize(("facts", "absent"), [(FULL, 2), (BARE, 0)], ids=["by-number", "by-time"])
def test_pages_without_a_date_prove_nothing_about_what_they_show(
    unsettled: Unsettled, facts: LogFacts, absent: int
) -> None:
    class Undated(Provider):
        async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
            return (await super().send(request, timeout_s=timeout_s))._replace(headers={})

    result = unsettled.reconcile(Undated([entry("m", PEOPLE[0])]), facts)
    assert (result.found, result.absent) == (0, absent)
