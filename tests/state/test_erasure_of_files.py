"""What is taken out of results and written plans when a person is erased, and what others keep."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

import sender
from sender.core.outcomes import Reason, Rejected, Unknown
from sender.state.files.erasure import erase_from_results
from sender.state.forget import forget
from sender.state.people import Person
from tests.state.run_history import ACCEPTED, ADA, GRACE, PENDING, RunHistory, plan_for, run_history

NOTE = "call (202) 555-0101"


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path / "state") as runs:
        yield runs


def erased(folder: Path, header: str, *rows: str, own: frozenset[int] = frozenset()) -> tuple[int, list[list[str]]]:
    """How many rows changed of a results file with this header, and its rows afterwards."""
    file = folder / "results.csv"
    file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    changed = erase_from_results(file, own, Person.of(ADA))
    with file.open(encoding="utf-8", newline="") as opened:
        return changed, list(csv.reader(opened))[1:]


@pytest.mark.parametrize(
    ("header", "row", "left"),
    [
        pytest.param(
            "row,name,to,status,segments,error_message,body",
            f"2,Ada,{ADA},delivered,1,late,Dear Ada",
            ["2", "", "", "delivered", "1", "", ""],
            id="columns of ours",
        ),
        pytest.param(
            "row,to,body,sender_to,from,status",
            f"2,Ada,hers,{ADA},{GRACE},delivered",
            ["2", "", "", "", GRACE, "delivered"],
            id="original columns with the names of ours",
        ),
        pytest.param(
            "row,name,status",
            "2,Ada,hers",
            ["2", "", ""],
            id="original columns alone",
        ),
    ],
)
def test_of_her_own_row_what_identifies_her_is_blanked(tmp_path: Path, header: str, row: str, left: list[str]) -> None:
    other = row.replace("2,", "3,", 1).replace(ADA, "+12025550177")
    assert erased(tmp_path, header, row, other, own=frozenset({2})) == (1, [left, other.split(",")])


@pytest.mark.parametrize(
    ("row", "left"),
    [
        pytest.param(f"3,{NOTE},{GRACE},accepted,fine", ["3", "", GRACE, "accepted", "fine"], id="an original cell"),
        pytest.param(f"3,Grace,{GRACE},accepted,{NOTE}", ["3", "Grace", GRACE, "accepted", ""], id="a sentence"),
        pytest.param(f"3,Grace,{GRACE},{ADA},fine", ["3", "Grace", GRACE, ADA, "fine"], id="a status is nobody's"),
    ],
)
def test_of_somebody_else_s_row_only_cells_with_her_number_are_blanked(
    tmp_path: Path, row: str, left: list[str]
) -> None:
    changed, rows = erased(tmp_path, "row,note,to,status,error_message", row, own=frozenset({2}))
    assert rows == [left]
    assert changed == ("" in left)


def test_results_that_are_not_there_or_do_not_name_her_stay(tmp_path: Path) -> None:
    assert erase_from_results(tmp_path / "none.csv", {2}, Person.of(ADA)) == 0
    assert erased(tmp_path, "row,name,to", f"3,Grace,{GRACE}") == (0, [["3", "Grace", GRACE]])


def test_she_is_erased_from_written_plans_that_hold_her_and_from_no_other(history: RunHistory) -> None:
    folder = history.folder / "plans"
    hers, other = (plan_for(*people).write(folder / name) for name, people in (("a", (ADA, GRACE)), ("b", (GRACE,))))
    assert forget(history.state, ADA).plans == 1
    left = sender.Plan.open(folder / "a")
    assert left.recipients().drop_nulls().to_list() == [GRACE]
    assert left.manifest.identity == hers.identity, "it is still the same plan"
    assert sender.Plan.open(folder / "b").manifest.parquet_sha256 == other.manifest.parquet_sha256
    assert forget(history.state, ADA).plans == 0


def test_a_plan_that_a_kill_has_left_aside_is_put_back_and_erased_from(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: ACCEPTED})
    plans = history.state.plans
    plan = plans.folder(run) / "plan"
    assert not plans.is_torn(run)
    plans.recover(run)
    plan.rename(plan.with_name(".plan.1.old"))
    assert plans.is_torn(run)
    assert [each.run_id for each in forget(history.state, ADA).runs] == [run.run_id]
    assert not plans.is_torn(run)
    assert plans.open(run).recipients().drop_nulls().to_list() == [GRACE]
    assert not list(plans.folder(run).glob(".plan.*"))


def test_what_was_done_is_told_of_each_run(history: RunHistory) -> None:
    first = history.add({ADA: Unknown("timeout"), GRACE: Unknown("timeout")})
    second = history.add({GRACE: ACCEPTED, ADA: PENDING}, campaign="summer")
    history.add({GRACE: ACCEPTED}, campaign="fall")
    told = [
        (each.run_id, each.campaign, each.rows, each.messages, each.canceled, each.unknown)
        for each in forget(history.state, ADA).runs
    ]
    assert told == [(first.run_id, "spring", 1, 1, 0, 1), (second.run_id, "summer", 1, 1, 1, 0)]


def test_what_a_provider_said_of_others_and_that_names_her_is_gone(history: RunHistory) -> None:
    about_her = Rejected(Reason.BLOCKED, "30007", f"{ADA} has blocked you")
    about_another = Rejected(Reason.BLOCKED, "30007", f"{GRACE} has blocked you")
    run = history.add({GRACE: about_her, "+12025550177": about_another})
    forget(history.state, ADA)
    assert history.state.ledger.journal(run.run_id)["error_message"].to_list() == [None, about_another.error_message]
