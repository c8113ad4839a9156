"""When the first messages of a run stop the others: only where a rate is significantly above its limit."""

from __future__ import annotations

import json
import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.canary import (
    RECEIPTS,
    STOP_IF,
    Canary,
    CanaryState,
    CanaryTerms,
    Condition,
    OutcomeCount,
    lower_bound,
    weigh,
)
from sender.core.outcomes import CancelReason, Reason, Status, SubmissionState
from tests.profiles import examples

ACCEPTED, REJECTED = SubmissionState.ACCEPTED, SubmissionState.REJECTED
UNKNOWN, CANCELED = SubmissionState.UNKNOWN, SubmissionState.CANCELED


def delivered(messages: int) -> OutcomeCount:
    return OutcomeCount(ACCEPTED, Status.DELIVERED, None, messages)


def undelivered(messages: int, reason: Reason = Reason.UNREACHABLE) -> OutcomeCount:
    return OutcomeCount(ACCEPTED, Status.UNDELIVERED, reason.value, messages)


def rejected(messages: int, reason: Reason = Reason.INVALID_NUMBER) -> OutcomeCount:
    return OutcomeCount(REJECTED, None, reason.value, messages)


def pending(messages: int, status: Status = Status.SENT) -> OutcomeCount:
    return OutcomeCount(ACCEPTED, status, None, messages)


def unknown(messages: int) -> OutcomeCount:
    return OutcomeCount(UNKNOWN, None, None, messages)


def canceled(messages: int) -> OutcomeCount:
    return OutcomeCount(CANCELED, None, CancelReason.OPTED_OUT.value, messages)


def broken(*outcomes: OutcomeCount, replies: tuple[OutcomeCount, ...] = ()) -> tuple[str, ...]:
    """The limits that these outcomes pass."""
    return weigh(outcomes, STOP_IF, messages=1000, at_ms=0, replies=replies).broken


@pytest.mark.parametrize(
    ("outcomes", "passed"),
    [
        pytest.param([delivered(200)], (), id="all arrived"),
        pytest.param([delivered(174), undelivered(26)], (), id="13 percent of 200 may be chance"),
        pytest.param([delivered(173), undelivered(27)], ("failed",), id="13.5 percent of 200 is not"),
        pytest.param([delivered(9), undelivered(1)], (), id="one of ten is chance"),
        pytest.param([undelivered(1)], (), id="a single message stops nothing"),
        pytest.param([undelivered(2)], ("failed",), id="two of two are not chance"),
        pytest.param([delivered(173), rejected(27)], ("failed",), id="refusals fail as well"),
        pytest.param([delivered(173), rejected(10), undelivered(17)], ("failed",), id="refusals and receipts add up"),
        pytest.param([delivered(193), undelivered(7, Reason.FILTERED)], (), id="3.5 percent filtered may be chance"),
        pytest.param([delivered(192), undelivered(8, Reason.FILTERED)], ("filtered",), id="4 percent filtered is not"),
        pytest.param([delivered(192), undelivered(8, Reason.BLOCKED)], ("filtered",), id="blocked by a carrier"),
        pytest.param([delivered(184), rejected(16, Reason.OPTED_OUT)], ("opted_out",), id="the provider's opt-outs"),
        pytest.param([delivered(184), unknown(16)], ("unknown",), id="unknown"),
        pytest.param([delivered(100), pending(100)], (), id="receipts for half"),
        pytest.param([delivered(99), pending(101)], (RECEIPTS,), id="receipts for fewer than half"),
        pytest.param([pending(200, Status.QUEUED)], (RECEIPTS,), id="no receipts"),
        pytest.param([pending(200, Status.UNCONFIRMED)], (RECEIPTS,), id="receipts that will never come"),
        pytest.param([], (RECEIPTS,), id="nothing was sent"),
        pytest.param([delivered(60), pending(140), rejected(30)], ("failed", RECEIPTS), id="two reasons"),
        pytest.param([delivered(50), canceled(500)], (), id="what we canceled counts nowhere"),
        pytest.param([delivered(50), OutcomeCount(ACCEPTED, Status.CANCELED, None, 500)], (), id="taken back there"),
    ],
)
def test_what_stops(outcomes: list[OutcomeCount], passed: tuple[str, ...]) -> None:
    assert broken(*outcomes) == passed


def test_a_stop_in_reply_counts_once_and_proves_that_the_message_arrived() -> None:
    stops = (OutcomeCount(ACCEPTED, Status.DELIVERED, None),) * 10 + (OutcomeCount(ACCEPTED, Status.SENT, None),) * 6
    refused = (OutcomeCount(REJECTED, None, Reason.OPTED_OUT.value),) * 3
    evidence = weigh(
        [delivered(180), pending(17), rejected(3, Reason.OPTED_OUT)],
        STOP_IF,
        messages=200,
        at_ms=5,
        replies=(*stops, *refused),
    )
    rate = next(rate for rate in evidence.rates if rate.condition is Condition.OPTED_OUT)
    assert (rate.events, rate.messages) == (19, 189)
    assert evidence.broken == ("opted_out",)
    assert evidence.sentence() == (
        "200 sent: 180 delivered, 3 failed, 0 unknown, 17 without a receipt; 19 opted out, 0 filtered"
    )


def test_the_numbers_of_messages_that_stop() -> None:
    """The table of docs/when.md."""
    table = {
        size: [next(n for n in range(2, size) if lower_bound(n, size) > limit) for limit in (0.1, 0.05, 0.02)]
        for size in (50, 100, 200, 500, 1000)
    }
    assert table == {50: [9, 6, 3], 100: [15, 9, 5], 200: [27, 16, 8], 500: [62, 34, 16], 1000: [116, 62, 28]}


def test_a_limit_of_zero_is_broken_by_one_message_and_one_without_a_limit_never() -> None:
    outcomes = [delivered(100), undelivered(1, Reason.FILTERED)]
    assert weigh(outcomes, {Condition.FILTERED: 0.0}, messages=101, at_ms=0).broken == ("filtered",)
    assert weigh([undelivered(100)], {}, messages=101, at_ms=0).broken == ()


def test_a_rate_says_its_bound_and_its_limit() -> None:
    evidence = weigh([delivered(166), undelivered(34)], STOP_IF, messages=200, at_ms=0)
    assert evidence.sentences(["failed"]) == [
        "34 of 200 failed (17.0 %, with 95 % confidence over 13.1 %; the limit is 10 %)"
    ]
    assert evidence.sentences(["unknown"]) == ["0 of 200 are unknown (the limit is 5 %)"]
    few = weigh([delivered(10), pending(50)], STOP_IF, messages=200, at_ms=0)
    assert few.sentences([RECEIPTS]) == ["10 of the 60 messages sent have a receipt, too few to decide"]


rates = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=examples(200))
@given(rates)
def test_the_bound_is_the_root_of_wilsons_equation(rate: tuple[int, int]) -> None:
    """It is the share for which the normal distribution gives what was seen, or more, one chance in twenty."""
    events, messages = rate
    low = lower_bound(events, messages)
    assert 0 <= low <= events / messages
    if not events:
        assert low == 0
        return
    z = (events / messages - low) / math.sqrt(low * (1 - low) / messages)
    assert 1 - NormalDist().cdf(z) == pytest.approx(0.05, abs=1e-6)


@settings(max_examples=examples(100))
@given(rates)
def test_the_bound_grows_with_the_events_and_with_the_evidence(rate: tuple[int, int]) -> None:
    events, messages = rate
    low = lower_bound(events, messages)
    if events < messages:
        assert lower_bound(events + 1, messages) > low
    assert lower_bound(events, messages + 1) <= low
    assert lower_bound(10 * events, 10 * messages) >= low


counts = st.integers(0, 300)


@settings(max_examples=examples(100))
@given(counts, counts, counts)
def test_without_events_nothing_but_missing_receipts_stops(arrived: int, waiting: int, ours: int) -> None:
    assert set(broken(delivered(arrived), pending(waiting), canceled(ours))) <= {RECEIPTS}


@settings(max_examples=examples(100))
@given(st.lists(st.sampled_from([delivered, undelivered, rejected, pending, unknown, canceled]), max_size=40))
def test_what_was_sent_adds_up(makers: list[object]) -> None:
    outcomes = [make(1) for make in makers]  # type: ignore[operator]
    evidence = weigh(outcomes, STOP_IF, messages=len(outcomes), at_ms=0)
    assert evidence.sent == evidence.delivered + evidence.failed + evidence.unknown + evidence.pending
    assert evidence.sent == sum(entry.state is not CANCELED for entry in outcomes)


def test_a_canary_reads_back_as_it_was_written() -> None:
    evidence = weigh([delivered(10), undelivered(5)], STOP_IF, messages=20, at_ms=7)
    canary = Canary(20, CanaryState.STOPPED, 3, None, evidence, ("failed",), "anna on mail1", 9)
    for each in (Canary(1), canary):
        assert Canary.of(json.loads(json.dumps(each.to_dict()))) == each
    terms = CanaryTerms(200, 900.0, {Condition.FAILED: 0.1})
    assert CanaryTerms.of(json.loads(json.dumps(terms.to_manifest()))) == terms


def test_what_a_person_overrides_no_longer_counts() -> None:
    evidence = weigh([pending(50), rejected(10)], STOP_IF, messages=60, at_ms=0)
    assert evidence.broken == ("failed", RECEIPTS)
    assert Canary(60, evidence=evidence).broken == ("failed", RECEIPTS)
    assert Canary(60, evidence=evidence, overridden=("failed",)).broken == (RECEIPTS,)


@pytest.mark.parametrize(("size", "messages", "begun"), [(1, 1, None), (200, 200, None), (200, 201, 200), (0, 9, None)])
def test_a_list_no_longer_than_its_canary_has_none(size: int, messages: int, begun: int | None) -> None:
    canary = Canary.begin({**CanaryTerms(200).to_manifest(), "size": size}, messages=messages)
    assert (canary and canary.size) == begun
    assert Canary.begin(None, messages=messages) is None
