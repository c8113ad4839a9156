"""Whole runs against the sandbox: every message comes to its final status, whichever way the word comes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

import sender
from sender import phone, providers, sandbox
from sender.core import clock
from sender.core.outcomes import Accepted, DeliveryReport, Status
from sender.delivery import webhooks
from sender.delivery.poll import LIVE, LogSweep, PollSchedule, RefreshResult
from sender.delivery.provider_session import ProviderSession
from sender.delivery.refresh import refresh_run
from sender.plan.message_reader import MessageReader
from sender.providers.base import Request, Response
from sender.sandbox.simulator import Options
from sender.sandbox.webhooks import WebhookFaults
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.state.ledger import ReceivedReport, Run, RunKind, Settlement
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.state_dir import StateDir
from sender.suppression.learn import learn_from_runs, learn_refusals
from sender.suppression.suppression_list import SuppressionList
from sender.transport.base import NotSent
from tests import local_http

DIALECTS = providers.DIALECTS
KEYS = webhooks.Keys.of(sandbox.environment(""))
FAST = Options(sent_after_s=0.3, delivered_after_s=0.6)


@cache
def areas() -> list[str]:
    """The area codes that there are."""
    fictional = pl.Series([f"+1{area}5550100" for area in range(201, 990)])
    return [one[2:5] for one in phone.normalize(fictional, default_region="US")["to"].drop_nulls()]


def numbers(n: int) -> list[str]:
    """Fictional and ordinary ones, ninety of each area code."""
    return [f"+1{areas()[i // 90]}55501{i % 90:02}" for i in range(n)]


def plan_of(dialect: str, people: list[str], **keys: Any) -> sender.Plan:
    if dialect == "telnyx":
        keys.setdefault("from_", "+12025550100")
    return sender.build_plan(
        sender.load_campaign(
            **{
                "recipients": pl.DataFrame({"phone": people}),
                "provider": dialect,
                "from_": "+12025550100",
                "message": "Hi",
                "rate": "none",
                "concurrency": 40,
                "name": f"to-{dialect}",
                **keys,
            }
        )
    )


@contextmanager
def receiving(state: Path, **options: Any) -> Iterator[webhooks.Listener]:
    state.mkdir(exist_ok=True)
    with StateDir(state) as opened, webhooks.listen(opened, public_url=None, keys=KEYS, **options) as listener:
        yield listener


def send(
    plan: sender.Plan, state: Path, url: str, public_url: str | None = None, *, on_progress: Any = None, **keywords: Any
) -> sender.RunResult:
    options = SendOptions(
        state_dir=state,
        rehearse=True,
        env={"SENDER_SANDBOX_URL": url},
        settle_unknowns=False,
        public_url=public_url,
        **keywords,
    )

    async def go() -> sender.RunResult:
        with open_run(plan, options) as session:
            return await session.send(options, on_progress=on_progress)

    return asyncio.run(go())


def wait_until_final(state: Path, run_id: str, timeout_s: float = 60) -> pl.DataFrame:
    ledger = SqliteLedger.open(state / "ledger.sqlite3")
    try:
        until = time.monotonic() + timeout_s
        while ledger.delivering(run_id):
            assert time.monotonic() < until, f"{ledger.delivering(run_id)} messages have no final status"
            time.sleep(0.05)
        return ledger.journal(run_id)
    finally:
        ledger.close()


def truth(url: str) -> dict[str, str]:
    """Message id -> final status, as the sandbox knows it."""
    told = local_http.get(f"{url}/sandbox/messages", timeout=60).json()
    return {one["message_id"]: one["status"] for one in told["messages"]}


def callbacks(url: str) -> dict[str, Any]:
    told: dict[str, Any] = local_http.get(f"{url}/sandbox/callbacks").json()
    return told


def statuses(journal: pl.DataFrame) -> dict[str, str]:
    return dict(zip(journal["message_id"], journal["status"], strict=True))


# A run through each dialect; `--delivery-messages 10000` makes it a long one


@pytest.fixture
def many(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--delivery-messages")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_callbacks_alone_bring_every_message_to_its_end(dialect: str, tmp_path: Path, many: int) -> None:
    people = [*numbers(many - 1), "+12025550194"]  # the last one is never reached
    with sandbox.embedded(FAST) as url, receiving(tmp_path) as listener:
        result = send(plan_of(dialect, people), tmp_path, url, listener.public_url)
        assert result.summary.accepted == many
        journal = wait_until_final(tmp_path, result.run.run_id, 60 + many / 50)
        assert statuses(journal) == truth(url)
        assert callbacks(url)["answers"].keys() <= {"200", "none"}, "none: too slow, and told again"
    assert journal["status"].value_counts().sort("status").rows() == [("delivered", many - 1), ("undelivered", 1)]
    (failed,) = journal.filter(pl.col("status") == "undelivered").rows(named=True)
    assert failed["reason"] == "unreachable"
    assert failed["error_code"]
    times = journal.select("intent_at", "sent_at", "final_at")
    if dialect in ("signalwire", "telnyx"):  # the others' callbacks carry no time
        assert times["sent_at"].null_count() == 0
    assert times["final_at"].null_count() == 0
    if dialect == "telnyx":
        assert journal["price"].null_count() == 0, "its events tell the price"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_polling_alone_brings_every_message_to_its_end(dialect: str, tmp_path: Path, many: int) -> None:
    people = [*numbers(many - 1), "+12025550194"]
    with sandbox.embedded(FAST) as url:
        result = send(plan_of(dialect, people), tmp_path, url, wait_s=60 + many / 50)
        journal = wait_until_final(tmp_path, result.run.run_id)
        assert statuses(journal) == truth(url)
        assert callbacks(url)["sent"] == 0
    assert result.refreshed is not None
    assert (result.refreshed.delivering, result.refreshed.failure) == (0, None)
    assert result.refreshed.lookups == 0, "pages of the log, not one request a message"
    a_page = 50 if dialect == "telnyx" else 500
    assert result.refreshed.pages <= many / a_page + 2
    assert journal["price"].null_count() == 0
    assert journal["segments"].null_count() == 0
    assert journal.filter(pl.col("status") == "undelivered")["reason"].to_list() == ["unreachable"]
    assert result.summary.statuses == {"delivered": many - 1, "undelivered": 1}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_doubled_reordered_early_and_forged_callbacks_leave_the_right_statuses(
    dialect: str, tmp_path: Path, many: int
) -> None:
    mischief = WebhookFaults(double=0.5, reorder=0.5, early=0.5, forge=0.7, seed=7)
    lost = [f"+1{area}5550194" for area in areas()[: many // 50]]
    people = [*numbers(3 * many // 10 - len(lost)), *lost]  # some four reports for each message
    with sandbox.embedded(replace(FAST, webhook_faults=mischief)) as url, receiving(tmp_path) as listener:
        result = send(plan_of(dialect, people), tmp_path, url, listener.public_url)
        until = time.monotonic() + 30 + many / 50
        while callbacks(url)["under_way"]:
            assert time.monotonic() < until
            time.sleep(0.05)
        journal = wait_until_final(tmp_path, result.run.run_id)
        assert statuses(journal) == truth(url)
        told = callbacks(url)
        assert told["forged"] > len(people) / 2
        assert told["sent"] + told["forged"] >= many
        unanswered = told["answers"].pop("none", 0) + told["answers"].pop("forged: none", 0)  # too slow
        assert told["answers"].keys() == {"200", "forged: 403"}
        assert sum(told["answers"].values()) + unanswered == told["sent"] + told["forged"]
        assert listener.refused.keys() == {403}
        assert listener.counts.kept > len(people) / 5, "early ones waited for the outcome"
    assert journal.filter(pl.col("status") == "undelivered").height == len(lost)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_callback_settles_what_is_unknown(dialect: str, tmp_path: Path) -> None:
    """The answer was a 500, or none came: the callback proves that the provider has the message."""
    options = replace(FAST, hang_s=0.3)
    with sandbox.embedded(options) as url, receiving(tmp_path) as listener:
        people = ["+12025550101", "+12025550197", "+12025550198", "+12025550196"]
        result = send(plan_of(dialect, people), tmp_path, url, listener.public_url)
        until = time.monotonic() + 20
        ledger = SqliteLedger.open(tmp_path / "ledger.sqlite3")
        while ledger.counts(result.run.run_id).accepted < 3:
            assert time.monotonic() < until
            time.sleep(0.05)
        journal = wait_until_final(tmp_path, result.run.run_id)
        ledger.close()
    assert journal["state"].to_list() == ["accepted", "accepted", "accepted", "unknown"]
    assert journal["status"].to_list() == ["delivered", "delivered", "delivered", None]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stop_mid_run_holds_within_a_second(dialect: str, tmp_path: Path) -> None:
    """Written back while the run is under way, and carried by the provider's signed webhook."""
    people = numbers(120)
    replies = {40: "STOP", 80: " stop. ", 100: "Unsubscribe!", 118: "Stop all", 119: "“Quit”"}
    told: list[float] = []

    def reply() -> None:
        for at, text in replies.items():
            inbound = {"dialect": dialect, "url": f"{listener.public_url}/inbound/{dialect}", "text": text}
            inbound |= {"sender": people[at], "to": "+12025550100"}
            answer = local_http.post(f"{url}/sandbox/inbound", json=inbound, timeout=30)
            assert answer.json() == {"answer": 200}
        told.append(time.time())

    def on_progress(now: sender.Progress) -> None:
        if now.accepted and not writer.ident:
            writer.start()

    writer = threading.Thread(target=reply)
    with sandbox.embedded(FAST) as url, receiving(tmp_path) as listener:
        result = send(
            plan_of(dialect, people, rate="40/s"), tmp_path, url, listener.public_url, on_progress=on_progress
        )
        writer.join()
    became = result.results()
    assert (
        became.filter(~pl.col("to").is_in([people[at] for at in replies]))["status"]
        .is_in(["rejected", "canceled"])
        .sum()
        == 0
    )
    stopped = [row for row in became.rows(named=True) if row["to"] in {people[at] for at in replies}]
    held = [row["to"] for row in stopped if (row["status"], row["reason"]) == ("canceled", "opted_out")]
    left = {row["to"]: row["created_at"].timestamp() for row in stopped if row["to"] not in held}
    assert max(left.values(), default=0) <= told[0] + 2  # created_at is told in whole seconds
    assert set(held) >= {people[118], people[119]}
    with SuppressionList.open(tmp_path) as listed:
        assert {entry.number for entry in listed.entries()} == {people[at] for at in replies}


# Twilio's services refuse later; Telnyx says of each number what it is, and the sandbox of this one that it is a landline.
REFUSED_LATER = {
    ("+12025550191", "opted_out"),
    ("+12025550192", "invalid_number"),
    ("+12025550192", "landline"),
}


def listed_in(state: Path) -> set[tuple[str, str]]:
    with SuppressionList.open(state) as listed:
        return {(entry.number, entry.reason.value) for entry in listed.entries()}


def test_the_receiver_learns_of_numbers_that_are_refused_later(tmp_path: Path) -> None:
    plans = (
        plan_of("twilio", ["+12025550101", "+12025550191"], from_="MG" + "0" * 32),
        plan_of("telnyx", ["+12025550102", "+12025550192"]),
    )
    learn = partial(learn_from_runs, tmp_path)
    with sandbox.embedded(FAST) as url, receiving(tmp_path, on_refused=learn) as listener:
        for plan in plans:
            send(plan, tmp_path, url, listener.public_url)
        until = time.monotonic() + 30
        while listed_in(tmp_path) != REFUSED_LATER:
            assert time.monotonic() < until, listed_in(tmp_path)
            time.sleep(0.1)
    with SuppressionList.open(tmp_path) as listed:
        listed.remove({number for number, _ in REFUSED_LATER})
        with StateDir(tmp_path) as state:
            ledger = state.ledger
            for run in ledger.runs():
                (refused,) = ledger.journal(run.run_id).filter(pl.col("reason").is_not_null()).rows(named=True)
                price = DeliveryReport(refused["message_id"], None, price="0.01", currency="USD")
                assert ledger.record_reports([ReceivedReport(price, run.run_id, refused["seq"])]).applied == 1
                assert learn_refusals(state, run) == 0, "a price that comes later is no news about the number"
    assert listed_in(tmp_path) == set()


def test_a_refresh_learns_of_numbers_that_are_refused_later(tmp_path: Path) -> None:
    plan = plan_of("twilio", ["+12025550101", "+12025550191"], from_="MG" + "0" * 32)
    with sandbox.embedded(FAST) as url:
        result = send(plan, tmp_path, url, wait_s=0)
        assert listed_in(tmp_path) == set()
        with StateDir(tmp_path) as state:
            told = asyncio.run(refresh_run(state, result.run, {"SENDER_SANDBOX_URL": url}, wait_s=20))
    assert told.delivering == 0
    assert listed_in(tmp_path) == {("+12025550191", "opted_out")}


@pytest.mark.parametrize("dialect", ["signalwire", "signalwire-compat"])
def test_an_mms_without_a_receipt_is_unconfirmed(dialect: str, tmp_path: Path) -> None:
    message = {"body": "Hi", "media": ["https://cdn.example.com/a.png"]}
    with sandbox.embedded(FAST) as url:
        result = send(plan_of(dialect, numbers(3), message=message), tmp_path, url, wait_s=30)
        journal = wait_until_final(tmp_path, result.run.run_id)
    assert journal["status"].to_list() == ["unconfirmed"] * 3
    assert journal["provider_status"].to_list() == ["sent"] * 3, "the provider's own word stays"
    assert journal["price"].null_count() == 0


def test_lost_callbacks_are_made_up_for_by_the_log(tmp_path: Path) -> None:
    with (
        sandbox.embedded(replace(FAST, webhook_faults=WebhookFaults(drop=0.5, seed=3))) as url,
        receiving(tmp_path) as listener,
    ):
        result = send(plan_of("twilio", numbers(40)), tmp_path, url, listener.public_url, listening=True, wait_s=6)
        assert callbacks(url)["lost"] > 10
    assert result.refreshed is not None
    assert result.summary.statuses == {"delivered": 40}
    assert result.results()["price"].null_count() == 0, "one sweep comes in any case, for the prices"


def test_the_wait_is_bounded_and_says_how_to_go_on(tmp_path: Path) -> None:
    with sandbox.embedded(replace(FAST, delivered_after_s=3600)) as url:
        result = send(plan_of("signalwire", numbers(3)), tmp_path, url, wait_s=0.7)
    assert result.refreshed is not None
    assert result.refreshed.delivering == 3
    assert result.summary.statuses == {"sent": 3}


def test_a_campaigns_own_callback_stays(tmp_path: Path) -> None:
    plan = plan_of("twilio", numbers(2), status_callback="https://hooks.example.com/mine").write(tmp_path / "plan")
    reader = MessageReader(plan, "run-1", callback="https://hooks.example.com/ours")
    assert [message.fields["status_callback"] for message, _ in reader.read([0, 1])] == [
        "https://hooks.example.com/mine"
    ] * 2


# The sweep, against answers made up


class Script:
    """A transport that answers by a function of the request."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None: ...


def twilio_page(*messages: dict[str, Any], next_page: str | None = None) -> Response:
    return Response(200, {}, httpx.Response(200, json={"messages": messages, "next_page_uri": next_page}).content)


def resource(sid: str, status: str, **more: Any) -> dict[str, Any]:
    return {"sid": sid, "status": status, "direction": "outbound-api", "to": "+12025550101", **more}


@pytest.fixture
def swept(tmp_path: Path) -> Iterator[tuple[SqliteLedger, Run, sender.Plan, Any]]:
    """A run of three messages through Twilio, accepted a day ago as SM0 to SM2."""
    now_ms = [1_767_268_800_000]
    plan = plan_of("twilio", numbers(3)).write(tmp_path / "plan")
    ledger = SqliteLedger.open(tmp_path / "ledger.sqlite3", clock=lambda: now_ms[0])
    run = Run("run-1", "to-twilio", RunKind.LIVE, "twilio", plan.hash, None, 3, 3, 0, now_ms[0])
    ledger.create_run(run)
    claims = ledger.claim("run-1", limit=3, lease_ms=60_000)
    ledger.record("run-1", [Settlement(one, Accepted(f"SM{one.seq}", provider_status="queued")) for one in claims])
    now_ms[0] += 86_400_000
    yield ledger, run, plan, now_ms
    ledger.close()


def refresh(swept: Any, script: Script, **options: Any) -> RefreshResult:
    ledger, run, plan, _ = swept
    adapter = providers.sandbox_adapter("twilio", "http://127.0.0.1:1")
    options = {"schedule": PollSchedule(page_pause_s=0, lookup_after_s=600), **options}
    provider = ProviderSession(adapter, script, adapter.log_facts)
    sweep = LogSweep(ledger=ledger, run=run, plan=plan, provider=provider, **options)
    return asyncio.run(sweep.refresh())


def test_what_no_page_shows_is_asked_for_by_id(swept: Any) -> None:
    def answer(request: Request) -> Response:
        if "/Messages/" in request.url:
            name = request.url.rpartition("/")[2].removesuffix(".json")
            if name == "SM2":
                return Response(404, {}, b'{"code": 20404}')
            return Response(200, {}, httpx.Response(200, json=resource(name, "failed", error_code=30008)).content)
        return twilio_page(resource("SM0", "delivered", price="-0.0075", price_unit="USD", num_segments="2"))

    script = Script(answer)
    told = refresh(swept, script)
    assert (told.pages, told.lookups, told.updated, told.delivering) == (1, 2, 2, 1)
    ledger = swept[0]
    journal = ledger.journal("run-1")
    assert journal["status"].to_list() == ["delivered", "failed", "queued"]
    assert journal["price"].to_list() == ["-0.0075", None, None]
    url = script.requests[0].url
    assert "From=%2B12025550100" in url
    assert "DateSent%3E=2025-12-31" in url or "DateSent%3E=2026-01-01" in url
    assert "PageSize=500" in url
    # Another sweep has nothing to ask about SM0 and SM1: one is final with its price, the other never cost anything.
    assert refresh(swept, script).lookups == 1


def test_young_messages_are_not_asked_for_one_by_one(swept: Any) -> None:
    swept[3][0] -= 86_400_000 - 60_000  # a minute after they were accepted
    script = Script(lambda _: twilio_page())
    told = refresh(swept, script)
    assert (told.pages, told.lookups, told.delivering) == (1, 0, 3)


def test_an_old_message_without_a_receipt_is_given_up_and_a_late_receipt_still_counts(swept: Any) -> None:
    ledger, _, _, now_ms = swept
    script = Script(lambda request: Response(404, {}, b"{}") if "/Messages/" in request.url else twilio_page())
    assert refresh(swept, script).unconfirmed == 0
    now_ms[0] += 86_400_000  # two days
    told = refresh(swept, script)
    assert (told.unconfirmed, told.delivering) == (3, 0)
    journal = ledger.journal("run-1")
    assert journal["status"].to_list() == ["unconfirmed"] * 3
    assert journal["provider_status"].to_list() == ["queued"] * 3
    ledger.record_reports([ReceivedReport(DeliveryReport("SM1", Status.DELIVERED, "delivered"), "run-1", 1)])
    assert ledger.journal("run-1")["status"].to_list() == ["unconfirmed", "delivered", "unconfirmed"]


def test_a_scheduled_message_is_as_old_as_its_time(tmp_path: Path, swept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, run, _, now_ms = swept
    monkeypatch.setattr(clock, "time_of_day_ms", lambda: now_ms[0])
    send_at = datetime.fromtimestamp(now_ms[0] / 1000, UTC) + timedelta(days=3)
    service = {"from_": "MG" + "0" * 32, "send_at": send_at.isoformat()}
    plan = plan_of("twilio", numbers(3), **service).write(tmp_path / "scheduled")
    script = Script(lambda request: Response(404, {}, b"{}") if "/Messages/" in request.url else twilio_page())
    for days, given_up in ((0, 0), (3, 0), (2, 3)):
        now_ms[0] += days * 86_400_000
        assert refresh((ledger, run, plan, now_ms), script).unconfirmed == given_up


def test_a_page_that_was_cut_is_asked_for_again_shorter(swept: Any) -> None:
    def answer(request: Request) -> Response:
        if "PageSize=500" in request.url:
            return Response(200, {}, b'{"messages": [', truncated=True)
        return twilio_page(*(resource(f"SM{i}", "delivered", price="-0.01", price_unit="USD") for i in range(3)))

    told = refresh(swept, Script(answer))
    assert (told.pages, told.delivering, told.failure) == (2, 0, None)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Response(429, {}, b'{"code": 20429, "message": "Too many requests"}'), "HTTP 429: Too many requests"),
        (Response(200, {}, b"<html>"), "is not JSON"),
        (Response(200, {}, b"", truncated=True), "too large"),
        (NotSent("no connection"), "no connection"),
        (twilio_page(next_page="/2010-04-01/x.json"), "circle"),
    ],
)
def test_a_log_that_cannot_be_read_is_told_and_changes_nothing(swept: Any, answer: Any, failure: str) -> None:
    told = refresh(swept, Script(lambda _: answer))
    assert failure in (told.failure or "")
    assert told.delivering == 3
    assert swept[0].journal("run-1")["status"].to_list() == ["queued"] * 3


def test_a_live_sweep_is_paced() -> None:
    assert LIVE.page_pause_s >= 0.1
    assert LIVE.first_s >= 1


def test_a_wait_that_is_interrupted_while_listening_ends_at_once(swept: Any) -> None:
    ledger, run, plan, _ = swept
    script = Script(lambda _: twilio_page())

    async def go() -> RefreshResult:
        cancel = asyncio.Event()
        cancel.set()
        adapter = providers.sandbox_adapter("twilio", "http://127.0.0.1:1")
        provider = ProviderSession(adapter, script, adapter.log_facts)
        sweep = LogSweep(ledger=ledger, run=run, plan=plan, provider=provider, cancel=cancel)
        return await sweep.follow(20, listening=True)

    began = time.monotonic()
    assert asyncio.run(go()).delivering == 3
    assert time.monotonic() - began < 10
    assert script.requests == []
