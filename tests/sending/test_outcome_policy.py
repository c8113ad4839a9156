"""What each outcome means for its message, the rate, the pool and the run: in made-up time, without a ledger or a wire."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sender.core.errors import ProviderRefused, ProviderUnreachable
from sender.core.outcomes import Accepted, Canceled, CancelReason, Deferred, Outcome, Reason, Rejected, Unknown
from sender.plan.pace import Pace, Queue
from sender.plan.sender_pool import SenderPool
from sender.sending.circuit_breaker import CircuitBreaker
from sender.sending.concurrency import Concurrency
from sender.sending.outcome_policy import OutcomePolicy
from sender.sending.rate_limit import RateLimit, RateLimiter
from sender.sending.rejection_guard import RejectionGuard
from sender.sending.throttle import Throttle
from sender.state.ledger import Claim, Settlement
from sender.transport.base import NotSent
from tests.virtual_time import run

NOW_MS = 1_000_000
OURS, OTHER = "+12025550100", "+12025550199"
THROTTLED = Deferred(Reason.RATE_LIMITED, "429", "too many requests", slow_down=True)
BUSY = Deferred(Reason.OTHER, "503", "busy")
REFUSED = Deferred(Reason.SENDER_NOT_ALLOWED, "21606", "not your number", halt=True)
NO_FUNDS = Deferred(Reason.INSUFFICIENT_FUNDS, "402", "no funds", halt=True)


class Subject:
    """An `OutcomePolicy` with all that it acts on."""

    def __init__(
        self,
        *,
        per_s: float | None = 100.0,
        queue: Queue | None = None,
        retries: int = 5,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.limiter = RateLimiter(None if per_s is None else RateLimit(per_s))
        self.concurrency = Concurrency(None, per_s, maximum=100)
        self.pool = SenderPool(weights) if weights else None
        self.halts: list[Exception] = []
        pace = Pace("auto", per_s, "messages", None, retries, 30.0, queue=queue)
        self.policy = OutcomePolicy(
            throttle=Throttle(pace, self.limiter, self.concurrency),
            breaker=CircuitBreaker(title="Example", base_url="https://api.example.com"),
            guard=RejectionGuard(in_a_row=20, share=0.25),
            pool=self.pool,
            halt=self.halts.append,
            now_ms=lambda: NOW_MS,
        )

    def decide(self, outcome: Outcome, attempt: int = 1, sender: str | None = OURS) -> Settlement:
        return self.policy.decide(Claim(7, attempt, 0), outcome, sender)


@pytest.fixture(autouse=True)
def longest_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


def in_time(scenario: Callable[[], Any]) -> Any:
    """What `scenario` returns, called where the time is made up."""

    async def call() -> Any:
        return scenario()

    return run(call())


# -- messages that are tried again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["shortest", "longest"])
@pytest.mark.parametrize(
    ("attempt", "longest_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (20, 60)], ids=str
)
def test_each_try_waits_twice_as_long_up_to_a_minute(
    monkeypatch: pytest.MonkeyPatch, attempt: int, longest_s: float, end: str
) -> None:
    if end == "shortest":
        monkeypatch.setattr(random, "uniform", lambda low, high: low)
    settlement = in_time(lambda: Subject(retries=50).decide(BUSY, attempt))
    assert settlement == Settlement(
        Claim(7, attempt, 0), BUSY, NOW_MS + longest_s * (500 if end == "shortest" else 1000)
    )


@pytest.mark.parametrize(("asked_s", "waits_s"), [(None, 4.0), (0.0, 4.0), (3.9, 4.0), (4.25, 4.25), (120.0, 120.0)])
def test_the_wait_that_the_provider_asks_for_is_kept(asked_s: float | None, waits_s: float) -> None:
    settlement = in_time(lambda: Subject().decide(BUSY._replace(retry_after_s=asked_s), 3))
    assert settlement.not_before_ms == NOW_MS + waits_s * 1000


@pytest.mark.parametrize(
    ("outcome", "retries", "last_attempt"),
    [
        pytest.param(BUSY, 2, 2, id="as often as the campaign says"),
        pytest.param(BUSY, 0, 0, id="never"),
        pytest.param(THROTTLED, 2, 50, id="a refusal of the rate is no fault of the message"),
    ],
)
def test_a_message_whose_tries_are_used_up_is_rejected(outcome: Deferred, retries: int, last_attempt: int) -> None:
    def scenario() -> tuple[Settlement, Settlement]:
        subject = Subject(retries=retries)
        return subject.decide(outcome, last_attempt), subject.decide(outcome, last_attempt + 1)

    last, too_many = in_time(scenario)
    assert last_attempt == 0 or last.outcome is outcome
    tries = f"given up after {last_attempt + 1} tries: {outcome.error_message}"
    assert too_many == Settlement(too_many.claim, Rejected(outcome.reason, outcome.error_code, tries))


def test_what_stops_the_run_costs_the_message_nothing() -> None:
    """It stays pending however often it was tried, and may leave as soon as the run is resumed."""

    def scenario() -> tuple[Settlement, Subject]:
        subject = Subject(retries=2)
        return subject.decide(NO_FUNDS, 9), subject

    settlement, subject = in_time(scenario)
    assert settlement == Settlement(Claim(7, 9, 0), NO_FUNDS, NOW_MS)
    assert [type(error) for error in subject.halts] == [ProviderRefused]
    assert subject.halts[0].what == "Example refuses: no funds (402)"  # type: ignore[attr-defined]


# -- the rate ----------------------------------------------------------------------------------------------------------


def test_a_refusal_of_the_rate_pauses_and_halves_it() -> None:
    def scenario() -> Subject:
        subject = Subject()
        assert subject.decide(THROTTLED, 3).not_before_ms == NOW_MS + 4000
        return subject

    async def measured() -> tuple[float, float | None, list[Exception]]:
        subject = scenario()
        return subject.limiter.paused_s, subject.limiter.slowed_to_per_s, subject.halts

    paused_s, slowed_to, halts = run(measured())
    assert (round(paused_s, 3), slowed_to, halts) == (4.0, 50.0, [])


def test_refusals_of_the_rate_alone_stop_the_run_after_a_quarter_of_an_hour() -> None:
    async def scenario() -> list[list[type[Exception]]]:
        subject, halts = Subject(), []
        for wait_s in (0, 899, 1.1):
            await asyncio.sleep(wait_s)
            subject.decide(THROTTLED)
            halts.append([type(error) for error in subject.halts])
        return halts

    assert run(scenario()) == [[], [], [ProviderRefused]]


@pytest.mark.parametrize("between", [Accepted("SM1"), Rejected(Reason.BLOCKED), Unknown("timeout")])
def test_only_an_accepted_message_shows_that_the_rate_is_not_refused(between: Outcome) -> None:
    async def scenario() -> int:
        subject = Subject()
        subject.decide(THROTTLED)
        subject.decide(between)
        await asyncio.sleep(901)
        subject.decide(THROTTLED)
        return len(subject.halts)

    assert run(scenario()) == (0 if isinstance(between, Accepted) else 1)


@pytest.mark.parametrize(("pause_s", "paused_s"), [(None, 0.0), (0.0, 0.0), (1.5, 1.5)])
def test_an_answer_that_uses_up_the_rate_pauses(pause_s: float | None, paused_s: float) -> None:
    def scenario() -> tuple[float, bool, Settlement]:
        subject = Subject()
        settlement = subject.decide(Accepted("SM1", pause_s=pause_s))
        return subject.limiter.paused_s, subject.limiter.slowed, settlement

    assert in_time(scenario) == (
        pytest.approx(paused_s), False, Settlement(Claim(7, 1, 0), Accepted("SM1", pause_s=pause_s), None)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("queue", "wait_s", "slowed"),
    [
        pytest.param(None, None, False, id="no wait"),
        pytest.param(None, 5.0, False, id="a short one"),
        pytest.param(None, 5.1, True, id="longer than five seconds"),
        pytest.param(Queue(10, 1), 10.0, False, id="as long as the campaign's queue"),
        pytest.param(Queue(10, 1), 10.1, True, id="longer than the campaign's queue"),
        pytest.param(Queue(10, 2), 5.1, True, id="a queue of five seconds"),
        pytest.param(Queue(1, 1), 5.0, False, id="a queue of a second: five are allowed"),
        pytest.param(Queue(1, 1), 5.1, True, id="and not more"),
    ],
)
def test_a_long_wait_in_the_providers_queue_halves_the_rate(
    queue: Queue | None, wait_s: float | None, slowed: bool
) -> None:
    def scenario() -> tuple[float | None, float]:
        subject = Subject(queue=queue)
        subject.decide(Accepted("SM1", wait_s=wait_s))
        return subject.limiter.slowed_to_per_s, subject.limiter.paused_s

    assert in_time(scenario) == (50.0 if slowed else None, 0.0)


@pytest.mark.parametrize(("wait_s", "again_after_s"), [(20.0, 20.0), (600.0, 60.0)])
def test_until_the_queue_has_drained_its_waits_count_once(wait_s: float, again_after_s: float) -> None:
    async def scenario() -> list[float]:
        subject, shares = Subject(), []
        for later_s in (0.0, again_after_s - 0.1, 0.2):
            await asyncio.sleep(later_s)
            recovered = (subject.limiter.per_s or 0.0) / 100
            subject.decide(Accepted("SM1", wait_s=wait_s))
            shares.append((subject.limiter.per_s or 0.0) / 100 / recovered)
        return shares

    assert run(scenario()) == pytest.approx([0.5, 1.0, 0.5])


# -- doubts and connections --------------------------------------------------------------------------------------------


def test_the_twentieth_doubt_in_a_row_stops_the_run() -> None:
    def scenario() -> Subject:
        subject = Subject()
        for doubts in (19, 20):
            assert subject.halts == []
            for place in range(doubts):
                outcome = Unknown(f"reset {place}")
                assert subject.decide(outcome) == Settlement(Claim(7, 1, 0), outcome, None)
            if doubts == 19:
                subject.decide(Rejected(Reason.BLOCKED))
        return subject

    subject = in_time(scenario)
    assert [type(error) for error in subject.halts] == [ProviderUnreachable]
    assert "reset 19" in subject.halts[0].what


@pytest.mark.parametrize(
    "proof", [Accepted("SM1"), Rejected(Reason.BLOCKED), BUSY, THROTTLED], ids=lambda o: type(o).__name__
)
def test_every_other_outcome_proves_something(proof: Outcome) -> None:
    def scenario() -> list[Exception]:
        subject = Subject()
        for outcome in (*[Unknown("reset")] * 19, proof, *[Unknown("reset")] * 19):
            subject.decide(outcome)
        return subject.halts

    assert in_time(scenario) == []


def test_the_pause_after_each_failure_to_connect_doubles_up_to_half_a_minute() -> None:
    async def scenario() -> tuple[list[float], int]:
        subject, pauses = Subject(), []
        subject.policy.record_answer(0.1)
        for _ in range(10):
            subject.policy.record_connection_failure(NotSent("no route"))
            pauses.append(subject.limiter.paused_s)
            subject.policy.record_connection_failure(NotSent("no route"))  # of a request that left with the first
            await subject.limiter.wait_until_resumed()
        return pauses, len(subject.halts)

    pauses, halts = run(scenario())
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30])
    assert halts == 1, "once the outage is two minutes long"


def test_a_provider_that_never_answered_stops_the_run_at_the_third_failure() -> None:
    async def scenario() -> list[int]:
        subject, halts = Subject(), []
        for _ in range(3):
            subject.policy.record_connection_failure(NotSent("no route"))
            halts.append(len(subject.halts))
            await subject.limiter.wait_until_resumed()
        assert "https://api.example.com: no route" in subject.halts[0].what  # type: ignore[attr-defined]
        return halts

    assert run(scenario()) == [0, 0, 1]


def test_an_answer_says_how_fast_the_provider_is() -> None:
    subject = Subject()
    subject.concurrency.update(0.0)
    subject.policy.record_answer(0.5)
    subject.policy.record_answer(1.5)
    subject.concurrency.update(1.0)
    assert (subject.concurrency.per_s, subject.concurrency.latency_s) == (2.0, 1.0)


# -- the first answer --------------------------------------------------------------------------------------------------

URL = "https://proxy.example.com/send"
SOMEBODY_ELSE_S = Unknown("HTTP 404: not found", "404", undocumented=True)


@pytest.mark.parametrize(
    ("outcome", "url", "room"),
    [
        pytest.param(Accepted("SM1"), URL, 10, id="accepted"),
        pytest.param(Rejected(Reason.BLOCKED), URL, 10, id="rejected"),
        pytest.param(BUSY, URL, 10, id="deferred"),
        pytest.param(BUSY._replace(error_code=None), URL, 10, id="deferred without a code"),
        pytest.param(THROTTLED, URL, 10, id="a 429 of the provider's own"),
        pytest.param(THROTTLED._replace(error_code=None), URL, 1, id="a 429 that anybody may have written"),
        pytest.param(Unknown("reset"), URL, 1, id="a doubt"),
        pytest.param(SOMEBODY_ELSE_S, URL, 1, id="an answer of somebody else"),
        pytest.param(Rejected(Reason.CONTENT), None, 1, id="nothing was asked"),
    ],
)
def test_one_request_is_in_flight_until_the_provider_has_answered(outcome: Outcome, url: str | None, room: int) -> None:
    def scenario() -> tuple[int, int, list[Exception]]:
        subject = Subject()
        before = subject.policy.room(10)
        subject.policy.decide(Claim(7, 1, 0), outcome, OURS, url)
        return before, subject.policy.room(10), subject.halts

    before, after, halts = in_time(scenario)
    assert (before, after) == (1, room)
    assert [type(error) for error in halts] == ([ProviderUnreachable] if outcome is SOMEBODY_ELSE_S else [])
    assert all(f"{URL} does not answer as Example does: HTTP 404" in str(error) for error in halts)


def test_an_answer_of_somebody_else_stops_nothing_once_the_provider_has_answered() -> None:
    def scenario() -> list[Exception]:
        subject = Subject()
        for outcome in (Rejected(Reason.BLOCKED), SOMEBODY_ELSE_S):
            subject.policy.decide(Claim(7, 1, 0), outcome, OURS, URL)
        return subject.halts

    assert in_time(scenario) == []


@pytest.mark.parametrize(
    ("url", "stops"), [(URL, [ProviderRefused]), (None, [])], ids=["answered", "nothing was asked"]
)
def test_the_twentieth_equal_rejection_stops_the_run(url: str | None, stops: list[type[Exception]]) -> None:
    def scenario() -> list[int]:
        subject, halts = Subject(), []
        for outcome in (*[Rejected(Reason.CONTENT)] * 19, Accepted("SM1"), *[Rejected(Reason.CONTENT)] * 20):
            halts.append(len(subject.halts))
            subject.policy.decide(Claim(7, 1, 0), outcome, OURS, url)
        assert [type(error) for error in subject.halts] == stops
        return halts

    assert set(in_time(scenario)) == {0}, "not before the last"


def test_what_we_decide_ourselves_says_nothing_about_the_provider() -> None:
    canceled = Canceled(CancelReason.OPTED_OUT, "replied STOP")

    def scenario() -> list[Exception]:
        subject = Subject()
        for outcome in (*[Unknown("reset")] * 19, canceled, Unknown("reset")):
            settlement = subject.policy.decide(Claim(7, 1, 0), outcome, OURS)
            assert settlement == Settlement(Claim(7, 1, 0), outcome)
        return subject.halts

    assert len(in_time(scenario)) == 1, "twenty doubts in a row all the same"


# -- the pool ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "sender", "outcome", "disabled"),
    [
        pytest.param({OURS: 1.0, OTHER: 1.0}, OURS, REFUSED, {OURS: "not your number"}, id="the others send for it"),
        pytest.param(
            {OURS: 1.0, OTHER: 1.0}, OURS, REFUSED._replace(error_message=None), {OURS: "sender_not_allowed"},
            id="without a message, by its reason",
        ),
        pytest.param({OURS: 1.0, OTHER: 1.0}, OURS, NO_FUNDS, None, id="a refusal of the account"),
        pytest.param({OURS: 1.0, OTHER: 1.0}, None, REFUSED, None, id="no number"),
        pytest.param({OURS: 1.0, OTHER: 1.0}, "+12025550150", REFUSED, None, id="a number that is not in the pool"),
        pytest.param({OURS: 1.0}, OURS, REFUSED, None, id="the last number"),
        pytest.param(None, OURS, REFUSED, None, id="no pool"),
    ],
)  # fmt: skip
def test_what_a_refusal_of_the_sender_stops(
    weights: Mapping[str, float] | None, sender: str | None, outcome: Deferred, disabled: dict[str, str] | None
) -> None:
    def scenario() -> tuple[Subject, Settlement]:
        subject = Subject(weights=weights, retries=2)
        return subject, subject.decide(outcome, 9, sender)

    subject, settlement = in_time(scenario)
    assert settlement == Settlement(Claim(7, 9, 0), outcome, NOW_MS)
    assert len(subject.halts) == (0 if disabled else 1)
    assert subject.pool is None or subject.pool.disabled == (disabled or {})


def test_a_number_is_taken_out_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def scenario() -> int:
        subject = Subject(weights={OURS: 1.0, OTHER: 1.0})
        for why in ("first", "second"):
            subject.decide(REFUSED._replace(error_message=why))
        return len(subject.halts)

    assert in_time(scenario) == 0
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "sender_out"]
    assert (record.reason, record.code) == ("sender_not_allowed", "21606")  # type: ignore[attr-defined]
    assert record.getMessage() == f"{OURS} is taken out of the pool, and the other numbers send its messages: first"


@pytest.mark.parametrize(
    ("per_s", "outcome", "wait_s", "message"),
    [
        pytest.param(100.0, THROTTLED, 1.0, "asks to slow down to 50/s: too many requests", id="refused"),
        pytest.param(
            100.0, THROTTLED._replace(error_message=None), 1.0, "asks to slow down to 50/s: rate_limited",
            id="refused without a message",
        ),
        pytest.param(100.0, Accepted("SM1", wait_s=7.4), 0.0, "to 50/s: a message waits 7 s in its queue", id="queue"),
    ],
)  # fmt: skip
def test_that_the_rate_was_lowered_is_logged(
    caplog: pytest.LogCaptureFixture, per_s: float, outcome: Outcome, wait_s: float, message: str
) -> None:
    def scenario() -> None:
        subject = Subject(per_s=per_s)
        subject.decide(outcome)
        subject.decide(outcome)  # at the same moment: about what left before

    in_time(scenario)
    (record,) = caplog.records
    assert (record.event, record.wait_s, record.slowed_to_per_s) == ("slow_down", wait_s, 50.0)  # type: ignore[attr-defined]
    assert record.getMessage().endswith(message)
