"""What answers do to a run: the first is awaited alone, one to another request counts for nothing, equal ones stop it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sender.core.errors import ProviderRefused, ProviderUnreachable, Unsupported
from sender.core.outcomes import Accepted, Deferred, DeliveryReport, Outcome, Reason, Rejected, Status, Unknown
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.sending.answer_check import RecentIds
from sender.sending.rejection_guard import FEWEST, FIRST, PER_PERSON, SHARED, RejectionGuard
from sender.state.ledger import ReceivedReport, Refusals
from sender.state.sqlite.ledger import SqliteLedger
from tests.sending.test_dispatcher import N, Script, Wire, counts, ledger, plan, send, short_waits

__all__ = ["ledger", "plan", "short_waits"]  # fixtures

UNDOCUMENTED = Unknown("HTTP 403: <html>Blocked by policy</html>", undocumented=True)
FOREIGN = Unknown("HTTP 201, but the answer names another recipient than the request", foreign=True)
ANYBODYS_429 = Deferred(Reason.RATE_LIMITED, None, "Too Many Requests", slow_down=True)
PACE = Pace("none", None, "messages", concurrency=4, retries=2, timeout_s=5)


# -- the first answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "alone"),
    [
        pytest.param([], 1, id="accepted"),
        pytest.param([Rejected(Reason.INVALID_NUMBER, "21211", "no")], 1, id="rejected"),
        pytest.param([Deferred(Reason.RATE_LIMITED, "20429", "slow", slow_down=True)], 1, id="throttled by itself"),
        pytest.param([Unknown("HTTP 500: oh")], 2, id="a 500"),
        pytest.param([FOREIGN], 2, id="an answer to another request"),
        pytest.param([ANYBODYS_429], 2, id="a 429 that anybody may have written"),
    ],
)
def test_until_the_first_proved_answer_one_request_is_in_flight(
    ledger: SqliteLedger, plan: Plan, first: list[Script], alone: int
) -> None:
    in_flight: list[int] = []
    wire = Wire({0: first}, latency_s=0.03)
    wire.before_send = lambda _seq: in_flight.append(wire.in_flight)
    is_slowed = any(isinstance(each, Deferred) for each in first)
    send(ledger, plan, wire, below_seq=3 if is_slowed else None)
    assert in_flight[: alone + 1] == [*[0] * alone, 0], "one, and the next only after its answer"
    if not is_slowed:
        assert wire.most_in_flight == 4


@pytest.mark.parametrize(
    "before", [[], [Unknown("HTTP 500: oh")], [ANYBODYS_429]], ids=["first", "after 500", "after 429"]
)
def test_an_undocumented_refusal_before_any_proof_is_a_wrong_address(
    ledger: SqliteLedger, plan: Plan, before: list[Outcome]
) -> None:
    scripts: dict[int, list[Script]] = {seq: [UNDOCUMENTED] * 3 for seq in range(N)}
    scripts[0] = [*before, UNDOCUMENTED]
    wire = Wire(scripts)
    with pytest.raises(ProviderUnreachable) as caught:
        send(ledger, plan, wire, pace=PACE)
    assert wire.base_url in str(caught.value)
    assert "does not answer as Test does: HTTP 403: <html>Blocked by policy</html>" in str(caught.value)
    assert "TELNYX_API_BASE" in (caught.value.fix or "")
    assert ledger.counts("r").unknown == len(before) + 1 - (ANYBODYS_429 in before)
    assert ledger.counts("r").pending == N - ledger.counts("r").unknown


def test_after_a_proof_an_undocumented_refusal_is_a_doubt_like_others(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({seq: [UNDOCUMENTED] for seq in (3, 5, 7)})
    assert send(ledger, plan, wire) == counts(accepted=N - 3, unknown=3)


# -- answers to another request ----------------------------------------------------------------------------------------


def test_a_foreign_answer_makes_its_message_unknown_and_its_connection_distrusted(
    ledger: SqliteLedger, plan: Plan
) -> None:
    wire = Wire({5: [FOREIGN]})
    assert send(ledger, plan, wire) == counts(accepted=N - 1, unknown=1)
    assert len(wire.distrusted) == 1


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_id_that_came_before_proves_nothing(ledger: SqliteLedger, plan: Plan, concurrency: int) -> None:
    wire = Wire({5: [Accepted("id-0")], 7: [Accepted("id-0")]})
    pace = Pace("none", None, "messages", concurrency=concurrency, retries=2, timeout_s=5)
    assert send(ledger, plan, wire, pace=pace) == counts(accepted=N - 2, unknown=2)
    assert len(wire.distrusted) == 2
    assert ledger.journal("r")["message_id"].drop_nulls().n_unique() == N - 2


def test_an_id_of_an_earlier_session_proves_nothing(ledger: SqliteLedger, plan: Plan) -> None:
    assert send(ledger, plan, Wire(), below_seq=5) == counts(accepted=5, pending=N - 5)
    assert send(ledger, plan, Wire({8: [Accepted("id-3")]})) == counts(accepted=N - 1, unknown=1)


def test_only_the_last_ids_are_kept() -> None:
    ids = RecentIds(["a"], size=3)
    assert [ids.add(one) for one in "abcbdab"] == [False, True, True, False, True, True, True]


# -- equal rejections ----------------------------------------------------------------------------------------------


def rejected(reason: Reason = Reason.CONTENT, code: str | None = "40302") -> Rejected:
    return Rejected(reason, code, "the text is too long")


@pytest.mark.parametrize("reason", sorted(set(Reason) - PER_PERSON))
def test_the_twentieth_equal_rejection_stops(reason: Reason) -> None:
    guard = RejectionGuard(in_a_row=20, share=None)
    stops = [guard.record_rejection(rejected(reason)) for _ in range(20)]
    assert stops[:19] == [None] * 19
    assert isinstance(stops[19], ProviderRefused)
    assert f"20 messages in a row were refused as {reason.value} (40302)" in stops[19].what
    assert "limits.max_rejected_in_a_row" in (stops[19].fix or "")


@pytest.mark.parametrize("reason", sorted(PER_PERSON))
def test_what_is_wrong_with_single_numbers_never_stops(reason: Reason) -> None:
    guard = RejectionGuard(in_a_row=20, share=0.01)
    assert {guard.record_rejection(rejected(reason)) for _ in range(5000)} == {None}
    assert guard.judge_first([Refusals(reason, "1", FIRST)], 10_000) is None


@pytest.mark.parametrize(
    ("outcomes", "stops"),
    [
        pytest.param("r" * 20, True, id="in a row"),
        pytest.param("r" * 19 + "a" + "r" * 19, False, id="an acceptance in between"),
        pytest.param("r" * 10 + "p" * 50 + "r" * 10, True, id="wrong numbers in between"),
        pytest.param("ro" * 19, False, id="two reasons, nineteen each"),
        pytest.param("ro" * 20, True, id="two reasons, twenty each"),
        pytest.param("p" * 500, False, id="wrong numbers"),
    ],
)
def test_in_a_row(outcomes: str, stops: bool) -> None:
    guard = RejectionGuard(in_a_row=20, share=None)
    kinds = {"r": Reason.CONTENT, "o": Reason.OTHER, "p": Reason.INVALID_NUMBER}
    stopped = []
    for each in outcomes:
        if each == "a":
            guard.record_acceptance()
        else:
            stopped.append(guard.record_rejection(rejected(kinds[each])))
    assert any(stopped) is stops


@pytest.mark.parametrize(
    ("share", "failed", "messages", "stops"),
    [
        (0.25, 49, 10_000, False),
        (0.25, 50, 10_000, True),
        (0.25, 19, 40, False),  # a share of a small run says little
        (0.25, FEWEST, 40, True),
        (0.5, 99, 10_000, False),
        (0.5, 100, 10_000, True),
        (1.0, 199, 10_000, False),
        (1.0, 200, 10_000, True),
        (None, 200, 10_000, False),
    ],
)
@pytest.mark.parametrize("reason", sorted(SHARED))
def test_the_share_of_the_first(share: float | None, failed: int, messages: int, stops: bool, reason: Reason) -> None:
    guard = RejectionGuard(in_a_row=None, share=share)
    refusals = [Refusals(reason, "30007", failed - 1), Refusals(reason, None, 1), Refusals(Reason.LANDLINE, "1", 90)]
    stop = guard.judge_first(refusals, messages)
    assert (stop is not None) is stops
    if stop is not None:
        assert f"{failed} of the first {min(messages, FIRST)} messages" in stop.what
        assert "30007" in stop.what
        assert "limits.max_failed" in (stop.fix or "")


def test_a_run_of_equal_rejections_stops_with_the_rest_pending(ledger: SqliteLedger, plan: Plan) -> None:
    wire = Wire({seq: [rejected(Reason.UNREGISTERED, "30034")] for seq in range(N)})
    pace = Pace("none", None, "messages", concurrency=1, retries=2, timeout_s=5, max_rejected_in_a_row=4)
    with pytest.raises(ProviderRefused, match="4 messages in a row were refused as unregistered"):
        send(ledger, plan, wire, pace=pace)
    assert ledger.counts("r") == counts(rejected=4, pending=N - 4)


def test_ones_own_refusals_are_not_counted(ledger: SqliteLedger, plan: Plan) -> None:
    """A message that cannot be carried was refused by us."""
    wire = Wire({seq: [Unsupported("no")] for seq in range(N)})
    pace = Pace("none", None, "messages", concurrency=1, retries=2, timeout_s=5, max_rejected_in_a_row=4)
    assert send(ledger, plan, wire, pace=pace) == counts(rejected=N)


def test_a_message_that_cannot_be_carried_is_recorded_with_the_reason(ledger: SqliteLedger, plan: Plan) -> None:
    """The row of the results is the only place where a person can read what is wrong with it."""
    why = "SignalWire sends no subject"
    send(ledger, plan, Wire({3: [Unsupported(why, fix="leave it out")]}))
    row = ledger.journal("r").filter(pl.col("seq") == 3).row(0, named=True)
    assert (row["reason"], row["error_code"], row["error_message"]) == ("content", "unsupported", why)


def test_delivery_reports_stop_a_run(ledger: SqliteLedger, plan: Plan, tmp_path: Path) -> None:
    """Carriers filter what the provider has accepted; the reports come in while the run goes on."""
    other = SqliteLedger.open(tmp_path / "ledger.sqlite3")
    wire = Wire(latency_s=0.01)

    def report(seq: int) -> None:
        for earlier in range(seq):
            filtered = DeliveryReport(f"id-{earlier}", Status.UNDELIVERED, reason=Reason.FILTERED, error_code="30007")
            other.record_reports([ReceivedReport(filtered, "r", earlier)])

    wire.before_send = report
    pace = Pace("20/s", 20.0, "messages", concurrency=1, retries=2, timeout_s=5, max_failed=0.01)
    from sender.sending import rejection_guard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rejection_guard, "LOOK_EVERY_S", 0.0)
        patch.setattr(rejection_guard, "FEWEST", 3)
        with pytest.raises(
            ProviderRefused, match=r"of the first 12 messages were refused or did not arrive: \d filtered"
        ):
            send(ledger, plan, wire, pace=pace)
    assert 0 < ledger.counts("r").pending < N
    other.close()
