"""What the reports of runs teach the suppression list, and which runs are asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import sender
from sender.core.errors import UnknownRun
from sender.core.outcomes import HELD_BACK, Accepted, DeliveryReport, Reason, Rejected, Status
from sender.state.ledger import ReceivedReport, Run, RunKind, Settlement
from sender.state.number_facts import ANSWER, NumberFacts
from sender.state.open import open_state
from sender.suppression import learn
from sender.suppression.learn import learn_from_runs, learn_refusals
from sender.suppression.suppression_list import SuppressionList

OURS, OTHER = "+12025550100", "+12025550199"
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def plan() -> sender.Plan:
    people = [{"phone": f"+120255501{n:02}"} for n in range(1, 7)]
    return sender.build_plan(
        sender.load_campaign(name="spring", provider="sandbox", from_=OURS, message="Hi", recipients=people)
    )


@pytest.fixture
def begin(tmp_path: Path, plan: sender.Plan) -> Callable[..., Run]:
    """Begins a run that is so many milliseconds old, with these outcomes."""

    def new_run(run_id: str, *outcomes: Accepted | Rejected, age_ms: int = 0, simulated: bool = False) -> Run:
        with open_state(tmp_path) as state:
            run = Run(
                *(run_id, "spring", RunKind.LIVE, "twilio", plan.hash, None, 6, 6, 0),
                created_at_ms=state.ledger.now_ms() - age_ms,
                simulated=simulated,
            )
            state.ledger.create_run(run)
            state.plans.save(run, plan)
            claims = state.ledger.claim(run_id, limit=6, lease_ms=1000)
            state.ledger.use_senders(run_id, [(claims[1], OTHER)])
            state.ledger.record(run_id, [Settlement(*pair) for pair in zip(claims, outcomes, strict=False)])
        return run

    return new_run


def listed(folder: Path) -> dict[str, tuple[str, str, str]]:
    with SuppressionList.open(folder) as suppressions:
        return {entry.number[-2:]: (entry.reason.value, entry.via, entry.scope) for entry in suppressions.entries()}


STOPPED = Rejected(Reason.OPTED_OUT, "21610", "unsubscribed")


def test_a_landline_is_learned_from_an_answer_that_accepts(tmp_path: Path, begin: Callable[..., Run]) -> None:
    types = ("fixed_line", "mobile", "voip", None)
    run = begin("run-1", *(Accepted(f"m{n}", line_type=kind, carrier="ACME") for n, kind in enumerate(types)))
    with open_state(tmp_path) as state:
        assert learn_refusals(state, run) == 1
        assert learn_refusals(state, run) == 0
    with SuppressionList.open(tmp_path) as suppressions:
        (entry,) = suppressions.entries()
    assert (entry.number, entry.reason, entry.scope) == ("+12025550101", "landline", "all")
    assert entry.sentence().startswith("a landline, as twilio says (ACME) on 20")


def test_what_a_provider_says_of_numbers_is_kept(tmp_path: Path, begin: Callable[..., Run]) -> None:
    types = (("fixed_line", "ACME"), ("mobile", "ACME"), ("voip", None))
    run = begin("run-1", *(Accepted(f"m{n}", line_type=kind, carrier=who) for n, (kind, who) in enumerate(types)))
    with open_state(tmp_path) as state:
        learn_refusals(state, run)
        times = state.ledger.typed_numbers(run.run_id)["at_ms"].to_list()
        with closing(state.open_numbers()) as known:
            facts = sorted(known.everything(), key=lambda each: each.number)
    assert facts == [
        NumberFacts("+12025550101", False, ANSWER, "twilio", times[0], "fixed_line", "ACME"),
        NumberFacts("+12025550103", False, ANSWER, "twilio", times[1], "voip", None),
    ]


def test_a_landline_of_a_simulation_is_the_sandboxes(tmp_path: Path, begin: Callable[..., Run]) -> None:
    run = begin("run-1", Accepted("m1", line_type="fixed_line"), simulated=True)
    with open_state(tmp_path) as state:
        learn_refusals(state, run)
    assert listed(tmp_path)["01"] == ("landline", "twilio", "sandbox")


def test_what_a_run_teaches(tmp_path: Path, begin: Callable[..., Run]) -> None:
    run = begin(
        "run-1",
        STOPPED,
        Accepted("SM1", status=Status.UNDELIVERED, reason=Reason.LANDLINE, error_code="30006"),
        Rejected(Reason.INVALID_NUMBER, "21211"),
        Rejected(Reason.OPTED_OUT, HELD_BACK, "not sent"),  # what we held back teaches nothing
        Accepted("SM2", status=Status.UNDELIVERED, reason=Reason.UNREACHABLE),
        Accepted("SM3"),
    )
    with open_state(tmp_path) as state:
        assert learn_refusals(state, run) == 3
        assert learn_refusals(state, run) == 0
    assert listed(tmp_path) == {
        "01": ("opted_out", OURS, "all"),
        "02": ("landline", OTHER, "all"),  # the number it was really sent from
        "03": ("invalid_number", OURS, "all"),
    }


def test_an_entry_says_what_the_provider_said_and_when(tmp_path: Path, begin: Callable[..., Run]) -> None:
    failed = Accepted(
        "SM1", status=Status.UNDELIVERED, reason=Reason.LANDLINE, error_code="30006", error_message="landline"
    )
    run = begin("run-1", failed, STOPPED)
    with open_state(tmp_path) as state:
        before = state.ledger.journal(run.run_id)
        time.sleep(0.005)
        price = ReceivedReport(DeliveryReport("SM1", None, price="0.01"), "run-1", 0)
        state.ledger.record_reports([price])
        assert state.ledger.journal(run.run_id)["updated_at"][0] > before["updated_at"][0]
        learn_refusals(state, run)
    with SuppressionList.open(tmp_path) as suppressions:
        entries = [(entry.number[-2:], entry.note, entry.at) for entry in suppressions.entries()]
    assert sorted(entries) == [
        ("01", "twilio 30006 landline", before["final_at"][0]),
        ("02", "twilio 21610 unsubscribed", before["updated_at"][1]),
    ]


def test_a_simulated_run_teaches_the_sandbox(tmp_path: Path, begin: Callable[..., Run]) -> None:
    run = begin("run-1", STOPPED, simulated=True)
    with open_state(tmp_path) as state:
        assert learn_refusals(state, run) == 1
    assert listed(tmp_path) == {"01": ("opted_out", OURS, "sandbox")}


def test_a_run_without_refusals_needs_no_plan(tmp_path: Path, begin: Callable[..., Run]) -> None:
    run = begin("run-1", Accepted("SM1"))
    with open_state(tmp_path) as state:
        assert learn_refusals(state, replace(run, plan_hash="another")) == 0
        assert not (tmp_path / "suppression.sqlite3").exists()


@pytest.mark.parametrize(
    ("ids", "taught"),
    [
        pytest.param(["old"], {"01"}, id="a run that is named, however old"),
        pytest.param(["new"], {"02"}, id="no other"),
        pytest.param([None], {"02", "03"}, id="all that may still be reported on"),
        pytest.param([None, "old"], {"01", "02", "03"}, id="both"),
        pytest.param([], set(), id="none"),
        pytest.param(["elsewhere"], set(), id="a run that is not here"),
    ],
)
def test_which_runs_are_asked(
    tmp_path: Path, begin: Callable[..., Run], ids: list[str | None], taught: set[str]
) -> None:
    accepted = Accepted("SM")
    begin("old", STOPPED, age_ms=8 * DAY_MS + 60_000)
    begin("new", accepted, STOPPED, age_ms=8 * DAY_MS - 60_000)
    begin("today", accepted, accepted, STOPPED)
    learn_from_runs(tmp_path, ids)
    assert set(listed(tmp_path)) == taught
    assert learn._REPORTED_S == 8 * 86_400


def test_where_nothing_was_sent_nothing_is_learned(tmp_path: Path) -> None:
    with pytest.raises(UnknownRun):
        learn_from_runs(tmp_path, [None])
    assert list(tmp_path.iterdir()) == []
