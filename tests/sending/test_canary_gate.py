"""The gate between a canary and the other messages of its run: what it waits for, decides, keeps and overrides."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from sender.core.canary import Canary, CanaryState, CanaryTerms
from sender.core.clock import time_of_day_ms
from sender.core.errors import CanaryStop
from sender.core.outcomes import Accepted, DeliveryReport, Outcome, Reason, Rejected, Status, Unknown
from sender.plan.waves import Wave
from sender.sending import canary_gate
from sender.sending.canary_gate import CanaryGate, open_canary, override
from sender.state.heartbeat import Progress
from sender.state.ledger import LogFinding, ReceivedReport, Run
from sender.state.suppression import SuppressionRow
from tests.state.run_history import MINUTE_MS, PENDING, RunHistory

SIZE = 40
TERMS = CanaryTerms(SIZE, wait_s=900.0)
PEOPLE = [f"+12025550{n}" for n in range(100, 190)]
ARRIVED = Accepted("SM", Status.DELIVERED)
WAITING = Accepted("SM", Status.SENT)
FAILED = Accepted("SM", Status.UNDELIVERED, reason=Reason.UNREACHABLE)
FILTERED = Accepted("SM", Status.UNDELIVERED, reason=Reason.FILTERED)
OPTED_OUT = Rejected(Reason.OPTED_OUT, "21610", "STOP")
UNKNOWN = Unknown("timeout")


def begin(history: RunHistory, *outcomes: tuple[Outcome, int], canary: Canary | None = None) -> Run:
    """A run to 90 people of whom the first have these outcomes, and the others are pending."""
    fates: dict[str, Outcome | str] = dict.fromkeys(PEOPLE, PENDING)
    people = iter(PEOPLE)
    for outcome, messages in outcomes:
        for _ in range(messages):
            person = next(people)
            fates[person] = replace_id(outcome, person)
    run = history.add(fates)
    history.state.ledger.note_canary(run.run_id, canary or Canary(SIZE))
    return history.state.ledger.run(run.run_id)


def replace_id(outcome: Outcome, person: str) -> Outcome:
    return outcome._replace(message_id=f"SM{person}") if isinstance(outcome, Accepted) else outcome


def gate_of(history: RunHistory, run: Run, terms: CanaryTerms = TERMS) -> CanaryGate:
    return CanaryGate(history.state, run, history.state.plan(run), terms)


class Sweep:
    """A wait for receipts that finds what it is given; the ledger's clock goes on meanwhile."""

    def __init__(self, history: RunHistory, *, took_s: float = 0.0, is_canceled: bool = False) -> None:
        self.listening: list[bool] = []
        self.history = history
        self.took_s = took_s
        self.is_canceled = is_canceled
        self.asked_s: list[float] = []

    async def follow(self, wait_s: float, *, listening: bool = False) -> None:
        self.asked_s.append(wait_s)
        self.listening.append(listening)
        await asyncio.sleep(0)
        self.history.now_ms += round(1000 * self.took_s)


def wait(gate: CanaryGate, sweep: Sweep) -> list[Progress]:
    """What is shown while the gate waits for the receipts that `sweep` finds."""
    shown: list[Progress] = []
    asyncio.run(gate.pass_others(sweep, shown.append, listening=False))  # type: ignore[arg-type]
    return shown


@pytest.mark.parametrize(
    ("outcomes", "broken"),
    [
        pytest.param([(ARRIVED, 40)], (), id="all arrived"),
        pytest.param([(ARRIVED, 34), (FAILED, 6)], (), id="six of forty may be chance"),
        pytest.param([(ARRIVED, 30), (FAILED, 10)], ("failed",), id="failed"),
        pytest.param([(ARRIVED, 37), (FILTERED, 3)], ("filtered",), id="filtered"),
        pytest.param([(ARRIVED, 35), (OPTED_OUT, 5)], ("opted_out",), id="opted out at the provider"),
        pytest.param([(ARRIVED, 35), (UNKNOWN, 5)], ("unknown",), id="unknown"),
        pytest.param([(ARRIVED, 20), (WAITING, 20)], (), id="receipts for half"),
        pytest.param([(ARRIVED, 19), (WAITING, 21)], ("receipts",), id="receipts for fewer"),
        pytest.param([(WAITING, 40)], ("receipts",), id="no receipts"),
        pytest.param([(ARRIVED, 40), (FAILED, 40)], (), id="the others do not count"),
    ],
)
def test_what_the_canary_decides(history: RunHistory, outcomes: list[tuple[Outcome, int]], broken: tuple[str]) -> None:
    run = begin(history, *outcomes)
    gate = gate_of(history, run)
    if broken:
        with pytest.raises(CanaryStop, match=run.run_id) as stop:
            wait(gate, Sweep(history))
        assert f"sender resume {run.run_id}" in str(stop.value.fix)
    else:
        wait(gate, Sweep(history))
    kept = history.state.ledger.run(run.run_id).canary
    assert kept == gate.canary
    assert kept.evidence is not None
    assert (kept.broken, kept.evidence.at_ms) == (broken, history.now_ms)
    assert kept.state is (CanaryState.STOPPED if broken else CanaryState.PASSED)
    assert kept.passed_at_ms == (None if broken else history.now_ms)


def test_people_who_write_stop_count_from_their_message_on(history: RunHistory) -> None:
    run = begin(history, (ARRIVED, 36), (WAITING, 4))
    before, after = history.now_ms - 1, history.now_ms + 1
    stops = [
        *((person, "reply", "all", after) for person in PEOPLE[:4]),
        (PEOPLE[39], "provider_list", "sender:+12025550199", after),  # without a receipt, but it arrived
        (PEOPLE[5], "reply", "all", before),
        (PEOPLE[6], "person", "all", after),
        (PEOPLE[7], "reply", "sandbox", after),
        (PEOPLE[60], "reply", "all", after),  # not of the canary
    ]
    history.state.suppressions.add(
        SuppressionRow(number, scope, "opted_out", source, "+12025550199", at) for number, source, scope, at in stops
    )
    gate = gate_of(history, run)
    with pytest.raises(CanaryStop, match="5 of 37 opted out"):
        wait(gate, Sweep(history))
    assert gate.canary.broken == ("opted_out",)


def test_a_wait_that_was_cut_off_is_not_begun_anew(history: RunHistory) -> None:
    run = begin(history, (ARRIVED, 30), (WAITING, 10))
    canceled = Sweep(history, took_s=600, is_canceled=True)
    wait(gate_of(history, run), canceled)
    run = history.state.ledger.run(run.run_id)
    assert run.canary is not None
    assert (run.canary.state, run.canary.evidence) == (CanaryState.WAITING, None)
    again = Sweep(history, took_s=300)
    wait(gate_of(history, run), again)
    assert (canceled.asked_s, again.asked_s) == ([900.0], [300.0])
    late = Sweep(history)
    history.now_ms += 7 * 24 * 3_600_000
    waiting = replace(run, canary=run.canary)
    wait(gate_of(history, waiting), late)
    assert late.asked_s == [0.0], "one look, and then a decision"


def test_after_a_stop_the_receipts_are_awaited_once_more(history: RunHistory) -> None:
    run = begin(history, (WAITING, 40))
    with pytest.raises(CanaryStop, match="0 of the 40 messages sent have a receipt"):
        wait(gate_of(history, run), Sweep(history, took_s=900))
    sweep = Sweep(history)
    with pytest.raises(CanaryStop):
        wait(gate_of(history, history.state.ledger.run(run.run_id)), sweep)
    assert sweep.asked_s == [900.0]


def test_what_is_unknown_is_looked_up_before_the_decision(history: RunHistory) -> None:
    run = begin(history, (ARRIVED, 35), (UNKNOWN, 5))
    gate = gate_of(history, run)

    async def look_up() -> None:
        history.state.ledger.reconcile(run.run_id, [LogFinding(seq, ARRIVED) for seq in range(35, 40)])

    asyncio.run(gate.pass_others(Sweep(history), lambda _: None, listening=False, look_up=look_up))  # type: ignore[arg-type]
    assert gate.canary.evidence is not None
    assert (gate.canary.state, gate.canary.evidence.delivered) == (CanaryState.PASSED, 40)


def test_how_many_receipts_are_to_come_is_shown(history: RunHistory) -> None:
    shown = wait(gate_of(history, begin(history, (ARRIVED, 30), (WAITING, 10))), Sweep(history))
    assert [(now.awaited, now.total, now.pending, now.accepted, now.in_flight) for now in shown] == [
        (10, 90, 50, 40, 0)
    ]
    assert shown[0].waiting_s == pytest.approx(900, abs=5)
    assert shown[0].elapsed_s == pytest.approx(0, abs=5)


def test_the_display_of_the_wait_is_over_before_the_others_leave(history: RunHistory) -> None:
    gate = gate_of(history, begin(history, (ARRIVED, 40)))

    async def pass_others() -> None:
        await gate.pass_others(Sweep(history), lambda _: None, listening=False)  # type: ignore[arg-type]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(pass_others())


@pytest.mark.parametrize(
    ("limit", "bound", "is_last"), [(None, 40, False), (10, 10, True), (40, 40, True), (60, 40, False)]
)
def test_a_limit_bounds_the_canary_too(history: RunHistory, limit: int | None, bound: int, is_last: bool) -> None:
    gate = gate_of(history, begin(history, (ARRIVED, 40)))
    assert (gate.bound(limit), gate.is_last(limit)) == (bound, is_last)


def test_nothing_is_awaited_where_nothing_else_is_pending(history: RunHistory) -> None:
    run = begin(history, (ARRIVED, 40))
    history.state.ledger.close_run(run.run_id, by="anna")
    assert gate_of(history, run).is_last(None)


@pytest.mark.parametrize(("sent", "is_sent"), [(0, False), (39, False), (40, True), (60, True)])
def test_a_canary_of_which_some_wait_is_not_sent_yet(history: RunHistory, sent: int, is_sent: bool) -> None:
    run = begin(history, (ARRIVED, sent))
    gate = gate_of(history, run)
    assert gate.is_sent() is is_sent
    history.state.ledger.hold(run.run_id, from_seq=sent, below_seq=90, until_ms=history.now_ms + MINUTE_MS)
    assert gate.is_sent() is is_sent, "as rows that wait"


PASSED = Canary(SIZE, CanaryState.PASSED, passed_at_ms=1)


def look(gate: CanaryGate) -> bool:
    """Whether the others may be sent for a moment."""

    async def send() -> bool:
        stop = asyncio.Event()
        async with gate.watch(stop, print):
            await asyncio.sleep(0.05)
        return not stop.is_set()

    return asyncio.run(send())


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        pytest.param([], None, id="nothing yet"),
        pytest.param([(ARRIVED, 60)], None, id="all arrived"),
        pytest.param([(ARRIVED, 40), (FAILED, 40)], "40 of 80 failed", id="the others fail"),
        pytest.param([(ARRIVED, 40), (Rejected(Reason.CONTENT), 40)], None, id="refused behind the last receipt"),
        pytest.param([(Rejected(Reason.CONTENT), 40), (ARRIVED, 40)], "40 of 80 failed", id="refused before it"),
        pytest.param([(FAILED, 20), (WAITING, 50), (ARRIVED, 1)], None, id="receipts for fewer than half"),
    ],
)
def test_the_same_conditions_hold_for_the_others(
    history: RunHistory, outcomes: list[tuple[Outcome, int]], sentence: str | None
) -> None:
    run = begin(history, *outcomes, canary=PASSED)
    gate = gate_of(history, run)
    if sentence is None:
        assert look(gate)
        assert history.state.ledger.run(run.run_id).canary == PASSED
        return
    with pytest.raises(CanaryStop, match=sentence):
        look(gate)
    kept = history.state.ledger.run(run.run_id).canary
    assert kept is not None
    assert (kept.state, kept.passed_at_ms, kept.holds_others) == (CanaryState.STOPPED, 1, False)


def test_what_happens_while_the_others_are_sent_stops_them(
    history: RunHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary_gate, "LOOK_EVERY_S", 0.01)
    run = begin(history, (ARRIVED, 40), (WAITING, 40), canary=PASSED)
    gate = gate_of(history, run)

    told: list[CanaryStop] = []

    async def send() -> None:
        stop = asyncio.Event()
        async with gate.watch(stop, told.append):
            await asyncio.sleep(0.05)
            assert not stop.is_set()
            report(history, run, PEOPLE[40:80])
            await asyncio.wait_for(stop.wait(), 30)
            assert len(told) == 1, "at once, though what is under way here may take long"

    with pytest.raises(CanaryStop, match="40 of 80 failed"):
        asyncio.run(send())


@pytest.mark.parametrize(
    ("first_opens", "stops"), [pytest.param(-1, True, id="open now"), pytest.param(1, False, id="not open yet")]
)
def test_a_wave_that_opens_after_those_behind_it_is_looked_at(
    history: RunHistory, monkeypatch: pytest.MonkeyPatch, first_opens: int, stops: bool
) -> None:
    """What leaves now is then not the last in the order of the claims."""
    monkeypatch.setattr(canary_gate, "NEWEST", 20)
    run = begin(history, (FAILED, 40), (ARRIVED, 50), canary=PASSED)
    plan, now_ms = history.state.plan(run), time_of_day_ms()
    first = Wave(0, 40, ((now_ms + first_opens * MINUTE_MS, now_ms + 9 * MINUTE_MS),))
    waves = [first, Wave(40, 90, ((0, now_ms + 10 * MINUTE_MS),))]
    manifest = replace(plan.manifest, waves=tuple(wave.to_manifest() for wave in waves))
    gate = CanaryGate(history.state, run, plan.with_manifest(manifest), TERMS)
    if stops:
        with pytest.raises(CanaryStop, match="20 of 20 failed"):
            look(gate)
    else:
        assert look(gate)


def test_who_sends_elsewhere_is_told_before_anything_is_sent_here(history: RunHistory) -> None:
    told: list[CanaryStop] = []
    gate = gate_of(history, begin(history, (ARRIVED, 40), (FAILED, 40), canary=PASSED))

    async def send() -> None:
        async with gate.watch(asyncio.Event(), told.append):
            raise AssertionError("nothing may be sent")

    with pytest.raises(CanaryStop) as stopped:
        asyncio.run(send())
    assert told == [stopped.value]


def report(history: RunHistory, run: Run, people: list[str]) -> None:
    """The provider says of these people that they have not got it."""
    history.state.ledger.record_reports(
        [
            ReceivedReport(DeliveryReport(f"SM{person}", Status.UNDELIVERED), run.run_id, PEOPLE.index(person))
            for person in people
        ]
    )


def test_late_receipts_put_a_stop_right(history: RunHistory) -> None:
    run = begin(history, (ARRIVED, 80), canary=replace(PASSED, state=CanaryState.STOPPED))
    gate = gate_of(history, run)
    assert gate.is_stopped
    assert look(gate)
    assert gate.canary.state is CanaryState.PASSED


def test_a_person_overrides_what_stopped_the_run_and_nothing_else(history: RunHistory) -> None:
    run = begin(history, (ARRIVED, 30), (FAILED, 10))
    assert override(run, by="anna", now_ms=5) is None, "nothing has been stopped"
    with pytest.raises(CanaryStop):
        wait(gate_of(history, run), Sweep(history))
    history.now_ms += MINUTE_MS
    stopped = history.state.ledger.run(run.run_id)
    overridden = override(stopped, by="anna", now_ms=history.now_ms)
    assert overridden is not None
    assert (overridden.state, overridden.overridden, overridden.overridden_by) == (
        CanaryState.PASSED,
        ("failed",),
        "anna",
    )
    assert overridden.overridden_at_ms == overridden.passed_at_ms == history.now_ms
    assert look(gate_of(history, replace(run, canary=overridden)))
    doubtful = begin(history, (ARRIVED, 50), (FAILED, 10), (UNKNOWN, 10), (ARRIVED, 1), canary=overridden)
    with pytest.raises(CanaryStop, match="10 of 71 are unknown") as stop:
        look(gate_of(history, doubtful))
    assert "failed" not in stop.value.what


def test_without_limits_only_missing_receipts_stop(history: RunHistory) -> None:
    run = begin(history, (FAILED, 40))
    gate = gate_of(history, run, replace(TERMS, stop_if={}))
    wait(gate, Sweep(history))
    assert gate.canary.state is CanaryState.PASSED


def test_only_a_run_with_a_canary_has_a_gate(history: RunHistory) -> None:
    run = begin(history, (ARRIVED, 40))
    plan = history.state.plan(run)
    assert open_canary(history.state, replace(run, canary=None), plan, TERMS) is None
    assert open_canary(history.state, run, plan, None) is None


def test_the_gate_of_a_run_decides_by_its_plan_and_the_terms_of_today(history: RunHistory) -> None:
    """Who has written STOP is known by number, and the plan says which message that was."""
    run = begin(history, (ARRIVED, 40))
    history.state.suppressions.add(
        SuppressionRow(number, "all", "opted_out", "reply", "+12025550199", history.now_ms + 1) for number in PEOPLE[:8]
    )
    gate = open_canary(history.state, run, history.state.plan(run), TERMS)
    assert gate is not None
    with pytest.raises(CanaryStop, match="8 of 40 opted out"):
        wait(gate, Sweep(history))
    terms = replace(TERMS, wait_s=60.0, stop_if={})
    gate, sweep = open_canary(history.state, run, history.state.plan(run), terms), Sweep(history)
    assert gate is not None
    wait(gate, sweep)
    assert (gate.canary.state, sweep.asked_s) == (CanaryState.PASSED, [60.0])


@pytest.mark.parametrize("listening", [True, False])
def test_the_wait_for_receipts_knows_whether_a_receiver_runs(history: RunHistory, listening: bool) -> None:
    gate, sweep = gate_of(history, begin(history, (ARRIVED, 40))), Sweep(history)
    asyncio.run(gate.pass_others(sweep, lambda _: None, listening=listening))  # type: ignore[arg-type]
    assert sweep.listening == [listening]


def test_a_wait_that_was_canceled_looks_nothing_up(history: RunHistory) -> None:
    gate = gate_of(history, begin(history, (ARRIVED, 35), (UNKNOWN, 5)))

    async def look_up() -> None:
        raise AssertionError("the caller has no time for it")

    sweep = Sweep(history, is_canceled=True)
    asyncio.run(gate.pass_others(sweep, lambda _: None, listening=False, look_up=look_up))  # type: ignore[arg-type]
    assert (gate.canary.state, gate.canary.evidence) == (CanaryState.WAITING, None)


@pytest.mark.parametrize(
    ("outcomes", "decision", "says"),
    [
        pytest.param([(ARRIVED, 40)], "canary_passed", "40 delivered", id="passed"),
        pytest.param([(ARRIVED, 30), (FAILED, 10)], "canary_stopped", "10 of 40 failed", id="stopped"),
    ],
)
def test_the_log_has_the_wait_and_the_decision_with_its_evidence(
    history: RunHistory,
    caplog: pytest.LogCaptureFixture,
    outcomes: list[tuple[Outcome, int]],
    decision: str,
    says: str,
) -> None:
    caplog.set_level("INFO", "sender")
    run = begin(history, *outcomes)
    with contextlib.suppress(CanaryStop):
        wait(gate_of(history, run), Sweep(history))
    waiting, decided = (vars(one) for one in caplog.records if one.name == "sender.sending.canary_gate")
    assert (waiting["event"], waiting["messages"], waiting["left_s"]) == ("canary_waiting", 40, 900.0)
    assert waiting["message"] == (
        "canary: the first 40 messages are sent; waiting for their receipts, for 900 s at most"
    )
    kept = history.state.ledger.run(run.run_id).canary
    assert kept is not None
    assert (decided["event"], decided["canary"]) == (decision, kept.to_dict())
    assert says in decided["message"]


def test_what_a_person_has_overridden_stays_so_when_another_limit_is_overridden(history: RunHistory) -> None:
    run = begin(history, (ARRIVED, 30), (FAILED, 10))
    with pytest.raises(CanaryStop):
        wait(gate_of(history, run), Sweep(history))
    stopped = history.state.ledger.run(run.run_id)
    assert stopped.canary is not None
    before = replace(stopped.canary, overridden=("unknown",), passed_at_ms=7)
    overridden = override(replace(run, canary=before), by="bob", now_ms=9)
    assert overridden is not None
    assert overridden.overridden == ("unknown", "failed")
    assert (overridden.passed_at_ms, overridden.overridden_at_ms) == (7, 9), "it had been passed before"
