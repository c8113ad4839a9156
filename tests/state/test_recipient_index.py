"""The sorted numbers beside a run's plan: they answer as the plan does, or the plan is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.errors import PlanError
from sender.state.contacts import AskedPeople, Edition, find_reached
from sender.state.files.recipient_index import INDEX_FILE, write_index
from sender.state.forget import forget
from sender.state.ledger import Run, RunKind
from sender.state.people import RECIPIENTS_SCHEMA, as_integer
from sender.state.prune import prune
from tests.profiles import examples
from tests.state.run_history import ACCEPTED, ADA, GRACE, JEAN, MARY, RADIA, RunHistory, run_history

SPRING = Edition("spring", RunKind.LIVE)
NUMBERS = (*(f"+1202555{n:04}" for n in range(100, 200)), "+442079460001", "+4915550000001")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path) as runs:
        yield runs


def index_of(history: RunHistory, run: Run) -> Path:
    return history.folder / "runs" / run.run_id / INDEX_FILE


def plan_file(history: RunHistory, run: Run) -> Path:
    return history.folder / "runs" / run.run_id / "plan" / "plan.parquet"


def reached(history: RunHistory, *people: str) -> set[str]:
    return set(find_reached(history.state, SPRING, pl.Series(people, dtype=pl.String))["to"])


@settings(max_examples=examples(60))
@given(planned=st.sets(st.sampled_from(NUMBERS), min_size=1), asked=st.sets(st.sampled_from(NUMBERS)))
def test_the_index_answers_as_the_plan_does(
    tmp_path_factory: pytest.TempPathFactory, planned: set[str], asked: set[str]
) -> None:
    with run_history(tmp_path_factory.mktemp("history")) as history:
        run = history.add(dict.fromkeys(sorted(planned), ACCEPTED))
        people = AskedPeople.of(pl.Series(sorted(asked), dtype=pl.String))
        by_index = people.find_in(history.state, run)
        index_of(history, run).unlink()
        by_plan = people.find_in(history.state, run)
    assert by_index.schema == by_plan.schema
    assert sorted(by_index.rows()) == sorted(by_plan.rows())
    assert set(by_index["to"]) == planned & asked


def test_the_plan_is_not_read_where_the_index_is_whole(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: ACCEPTED, JEAN: ACCEPTED})
    plan_file(history, run).write_bytes(b"")
    assert reached(history, GRACE, MARY) == {GRACE}


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(place: float) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        at = int(place * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return flipped


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(cut, id="cut"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"PAR1", id="torn"),
    ]
    + [pytest.param(flip(n / 40), id=f"one bit at {n / 40:.0%}") for n in range(41)],
)
def test_a_damaged_index_is_passed_over(history: RunHistory, damage: Callable[[bytes], bytes]) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: ACCEPTED, JEAN: ACCEPTED})
    file = index_of(history, run)
    file.write_bytes(damage(file.read_bytes()))
    assert reached(history, GRACE, MARY) == {GRACE}


def test_the_index_of_another_plan_is_passed_over(history: RunHistory) -> None:
    first, second = history.add({ADA: ACCEPTED}), history.add({GRACE: ACCEPTED})
    index_of(history, second).write_bytes(index_of(history, first).read_bytes())
    assert reached(history, ADA, GRACE, JEAN) == {ADA, GRACE}


def test_without_index_and_plan_nobody_knows(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED})
    index_of(history, run).unlink()
    plan_file(history, run).write_bytes(b"")
    with pytest.raises(PlanError, match=r"plan\.parquet is damaged"):
        reached(history, ADA)


def test_a_run_to_short_codes_too_has_none(history: RunHistory) -> None:
    with mock.patch("sender.state.files.recipient_index.as_integer", return_value=pl.lit(None, pl.UInt64)):
        run = history.add({ADA: ACCEPTED})
    assert not index_of(history, run).exists()
    assert reached(history, ADA, GRACE) == {ADA}


def test_a_full_disk_costs_the_index_alone(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED})
    index_of(history, run).unlink()
    with mock.patch("sender.core.output_files.os.fsync", side_effect=OSError(28, "No space left")):
        write_index(history.state.plans.folder(run), history.state.plan(run))
    assert not index_of(history, run).exists()
    assert reached(history, ADA) == {ADA}


def test_an_erased_person_leaves_the_index(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: ACCEPTED, JEAN: ACCEPTED})
    forget(history.state, GRACE)
    frame = history.state.plans.recipients(run)
    assert frame is not None
    assert dict(frame.schema) == RECIPIENTS_SCHEMA
    assert GRACE[1:].encode() not in index_of(history, run).read_bytes()
    assert int(GRACE).to_bytes(8, "little") not in index_of(history, run).read_bytes()
    assert frame.rows() == [(int(ADA), 0), (int(JEAN), 2)]
    assert reached(history, ADA, GRACE, JEAN, MARY) == {ADA, GRACE, JEAN}


def test_an_erased_person_has_left_the_index_before_the_plan(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: ACCEPTED})
    killed = mock.patch("sender.state.files.plans.erase_from_plan", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        forget(history.state, GRACE)
    assert not index_of(history, run).exists()


def test_a_pruned_run_has_none(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: ACCEPTED})
    history.state.ledger.finish_run(run.run_id)
    history.now_ms += 1000
    prune(history.state, older_than_s=0)
    assert not index_of(history, run).exists()
    assert reached(history, ADA, GRACE, RADIA) == {ADA, GRACE}


@pytest.mark.parametrize(
    ("number", "integer"),
    [
        ("+12025550101", 12025550101),
        ("+442079460001", 442079460001),
        ("+999999999999999", 999999999999999),
        ("12345", None),
        ("12025550101", None),
        ("+012345", None),
        ("+", None),
        ("+1 202", None),
        ("", None),
        (None, None),
    ],
)
def test_only_e164_numbers_are_integers(number: str | None, integer: int | None) -> None:
    frame = pl.DataFrame({"to": [number]}, schema={"to": pl.String})
    assert frame.select(as_integer(pl.col("to"))).to_series().to_list() == [integer]
