"""What stops a run, and what does not: each kind of trouble with its bound, one step before it and at it."""

from __future__ import annotations

import pytest

from sender.core.errors import ProviderRefused, ProviderUnreachable
from sender.core.outcomes import Deferred, Reason
from sender.sending.circuit_breaker import IN_PROBE, ON_ONE_OF_SEVERAL, WITH_OTHERS, CircuitBreaker

# The bounds that docs/guarantee.md states.
TRIES = 3  # to connect, before the first answer
OUTAGE_S = 120.0
THROTTLE_S = 900.0
DOUBTS = 20

NO_ROUTE = OSError("no route to host")
THROTTLED = Deferred(Reason.RATE_LIMITED, "429", "too many requests", slow_down=True)


@pytest.fixture
def breaker() -> CircuitBreaker:
    return CircuitBreaker(title="Example", base_url="https://api.example.com")


def test_before_the_first_answer_the_third_failure_to_connect_stops_the_run(breaker: CircuitBreaker) -> None:
    results = [breaker.record_connection_failure(NO_ROUTE, 0.0) for _ in range(TRIES)]
    assert [tries for tries, _ in results] == list(range(1, TRIES + 1))
    assert [stop is None for _, stop in results] == [True] * (TRIES - 1) + [False]
    stop = results[-1][1]
    assert isinstance(stop, ProviderUnreachable)
    assert stop.what == "no connection to https://api.example.com: no route to host"


def test_after_an_answer_only_a_long_outage_stops_the_run(breaker: CircuitBreaker) -> None:
    breaker.record_answer()
    for now_s in (10.0, 11.0, 12.0, 10.0 + OUTAGE_S - 0.001):
        assert breaker.record_connection_failure(NO_ROUTE, now_s)[1] is None
    assert isinstance(breaker.record_connection_failure(NO_ROUTE, 10.0 + OUTAGE_S)[1], ProviderUnreachable)


def test_an_answer_ends_an_outage(breaker: CircuitBreaker) -> None:
    breaker.record_answer()
    breaker.record_connection_failure(NO_ROUTE, 0.0)
    breaker.record_answer()
    assert breaker.record_connection_failure(NO_ROUTE, OUTAGE_S) == (1, None)


def test_an_outage_begins_after_the_last_answer(breaker: CircuitBreaker) -> None:
    """What failed before the first answer belongs to no outage, and neither do failures before the latest one."""
    breaker.record_connection_failure(NO_ROUTE, 0.0)
    breaker.record_answer()
    assert breaker.record_connection_failure(NO_ROUTE, 500.0) == (1, None)
    assert breaker.record_connection_failure(NO_ROUTE, 500.0 + OUTAGE_S - 0.001)[1] is None
    assert breaker.record_connection_failure(NO_ROUTE, 500.0 + OUTAGE_S)[1] is not None


def test_a_machine_that_joins_others_and_reaches_nobody_is_no_wrong_address() -> None:
    """It stops all of them, so not after a second or two."""
    breaker = CircuitBreaker(title="Example", base_url="https://api.example.com", patience=ON_ONE_OF_SEVERAL)
    for now_s in (0.0, 1.0, 2.0, 4.0, OUTAGE_S - 0.001):
        assert breaker.record_connection_failure(NO_ROUTE, now_s)[1] is None
    assert breaker.record_connection_failure(NO_ROUTE, OUTAGE_S)[1] is not None


def test_refusals_of_the_rate_alone_stop_the_run_after_a_while(breaker: CircuitBreaker) -> None:
    assert breaker.record_throttling(THROTTLED, 5.0) is None
    assert breaker.record_throttling(THROTTLED, 5.0 + THROTTLE_S - 0.001) is None
    stop = breaker.record_throttling(THROTTLED, 5.0 + THROTTLE_S)
    assert isinstance(stop, ProviderRefused)
    assert "15 minutes: too many requests" in stop.what


def test_an_accepted_message_shows_that_the_rate_is_not_refused(breaker: CircuitBreaker) -> None:
    breaker.record_throttling(THROTTLED, 0.0)
    breaker.record_acceptance()
    assert breaker.record_throttling(THROTTLED, THROTTLE_S) is None


def test_so_does_a_message_that_is_refused_for_another_reason(breaker: CircuitBreaker) -> None:
    breaker.record_throttling(THROTTLED, 0.0)
    breaker.record_rejection()
    assert breaker.record_throttling(THROTTLED, THROTTLE_S) is None


def test_a_night_without_sending_is_neither_an_outage_nor_a_refused_rate(breaker: CircuitBreaker) -> None:
    """Trouble in the evening, a closed window, and one failure in the morning are not twelve hours of trouble."""
    evening_s, morning_s = 0.0, 12 * 3600.0
    breaker.record_answer()
    breaker.record_connection_failure(NO_ROUTE, evening_s)
    breaker.record_throttling(THROTTLED, evening_s)
    breaker.record_rest()
    for now_s in (morning_s, morning_s + OUTAGE_S - 0.001):
        assert breaker.record_connection_failure(NO_ROUTE, now_s)[1] is None
        assert breaker.record_throttling(THROTTLED, now_s) is None
    assert breaker.record_connection_failure(NO_ROUTE, morning_s + OUTAGE_S)[1] is not None
    assert breaker.record_throttling(THROTTLED, morning_s + THROTTLE_S) is not None


def test_a_probe_that_succeeds_is_a_route_like_the_others() -> None:
    breaker = CircuitBreaker(title="Example", base_url="https://api.example.com", patience=IN_PROBE)
    breaker.record_answer()
    breaker.record_acceptance()
    assert breaker.record_throttling(THROTTLED, 5.0) is None
    assert breaker.record_connection_failure(NO_ROUTE, 5.0)[1] is None
    assert [breaker.record_doubt("timed out") is None for _ in range(WITH_OTHERS.doubts)] == [True] * 4 + [False]


@pytest.mark.parametrize("probe", ["429", "no connection", "a doubt"])
def test_a_probe_ends_with_its_first_trouble(probe: str) -> None:
    breaker = CircuitBreaker(title="Example", base_url="https://api.example.com", patience=IN_PROBE)
    match probe:
        case "429":
            stop = breaker.record_throttling(THROTTLED, 5.0)
            assert stop is not None
            assert stop.what == "the provider has refused the rate: too many requests"
        case "no connection":
            assert breaker.record_connection_failure(NO_ROUTE, 5.0)[1] is not None
        case _:
            assert breaker.record_doubt("timed out") is not None


def test_inconclusive_answers_in_a_row_stop_the_run(breaker: CircuitBreaker) -> None:
    stops = [breaker.record_doubt(f"reset {place}") for place in range(DOUBTS)]
    assert [stop is None for stop in stops] == [True] * (DOUBTS - 1) + [False]
    assert isinstance(stops[-1], ProviderUnreachable)
    assert f"reset {DOUBTS - 1}" in stops[-1].what


def test_any_proof_in_between_counts_doubts_from_the_start(breaker: CircuitBreaker) -> None:
    for _ in range(DOUBTS - 1):
        assert breaker.record_doubt("reset") is None
    breaker.record_proof()
    for _ in range(DOUBTS - 1):
        assert breaker.record_doubt("reset") is None


@pytest.mark.parametrize(
    ("outcome", "what", "fix"),
    [
        (
            Deferred(Reason.INSUFFICIENT_FUNDS, "402", "no funds", halt=True),
            "Example refuses: no funds (402)",
            "add funds to the account",
        ),
        (Deferred(Reason.UNAUTHORIZED, None, "", halt=True), "Example refuses: unauthorized", "check the credentials"),
        (Deferred(Reason.OTHER, None, "closed", halt=True), "Example refuses: closed", ""),
    ],
)
def test_a_refusal_of_the_account_says_what_to_do(
    breaker: CircuitBreaker, outcome: Deferred, what: str, fix: str
) -> None:
    stop = breaker.refusal(outcome)
    assert stop.what == what
    assert (stop.fix or "").startswith(fix)
    assert (stop.fix or "").endswith("then run the same command again: nothing is lost")


@pytest.mark.parametrize(
    ("outcome", "setting"),
    [
        pytest.param(Deferred(Reason.SENDER_NOT_ALLOWED, "21606", "not yours", halt=True), "`from`", id="from"),
        pytest.param(
            Deferred(Reason.SENDER_NOT_ALLOWED, None, "not yours", halt=True), "messaging service", id="service"
        ),
        pytest.param(Deferred(Reason.OTHER, "35114", "too soon", halt=True), "`send_at`", id="send_at"),
        pytest.param(Deferred(Reason.OTHER, "21609", "no URL", halt=True), "a callback URL", id="status_callback"),
    ],
)
def test_what_only_the_campaign_can_change_is_sent_to_the_rest_by_only_new(
    breaker: CircuitBreaker, outcome: Deferred, setting: str
) -> None:
    fix = breaker.refusal(outcome).fix or ""
    assert fix.startswith("change ")
    assert setting in fix
    assert "in the campaign, and send it with --only-new, which ends this run" in fix


def test_an_answer_of_somebody_else_stops_the_run_until_the_provider_has_answered(breaker: CircuitBreaker) -> None:
    assert breaker.proved is False
    stop = breaker.record_undocumented("https://proxy.example.com/send", "HTTP 404: not found")
    assert isinstance(stop, ProviderUnreachable)
    assert stop.what == "https://proxy.example.com/send does not answer as Example does: HTTP 404: not found"
    breaker.proved = True
    assert breaker.record_undocumented("https://proxy.example.com/send", "HTTP 404: not found") is None
