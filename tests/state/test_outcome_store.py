"""What every store of outcomes does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import polars as pl
import pytest

import sender
from sender.core.errors import StateError
from sender.state.files import outcome_files
from sender.state.files.outcome_files import OUTCOMES_FILE, OutcomeFiles
from sender.state.ledger import Run, RunKind
from sender.state.open import open_state
from sender.state.recorded_outcomes import OUTCOMES_SCHEMA
from sender.state.state import State
from tests.state.conftest import SOME_DATABASES

Open = Callable[[str], State]


@pytest.fixture(scope="module")
def plan() -> sender.Plan:
    person = [{"phone": "+12025550101"}]
    return sender.build_plan(sender.load_campaign(provider="sandbox", from_="+12025550100", message="Hi", recipients=person))  # fmt: skip


@pytest.fixture
def run(plan: sender.Plan) -> Run:
    return Run("run-1", "spring", RunKind.SANDBOX, "sandbox", plan.hash, None, 1, 1, 0, 0)


@pytest.fixture(params=["folder", *SOME_DATABASES])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens the state on a machine of that name: over a database each has a folder of its own."""
    kind = request.param
    where = tmp_path / "state" if kind == "folder" else request.getfixturevalue("new_database")(kind)
    opened: list[State] = []

    def on(name: str) -> State:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))
        opened.append(open_state(where))
        return opened[-1]

    yield on
    for state in opened:
        state.close()


def outcomes(*rows: tuple[int, str, int | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=OUTCOMES_SCHEMA, orient="row")


BOUGHT, CLICKED, TWICE = (2, "purchase", 1000, 9.5), (2, "click", None, None), (3, "click", 5, None)


def test_each_is_kept_once_and_known_on_every_machine(machine: Open, plan: sender.Plan, run: Run) -> None:
    one, two = machine("one"), machine("two")
    one.plans.save(run, plan)
    assert one.outcomes.read(run).is_empty()
    assert one.outcomes.add(run, outcomes(BOUGHT, CLICKED)) == 2
    assert two.outcomes.add(run, outcomes(CLICKED, TWICE, TWICE)) == 1
    assert one.outcomes.add(run, outcomes(BOUGHT, TWICE)) == 0
    for state in (one, two, machine("three")):
        assert state.outcomes.read(run).rows() == [BOUGHT, CLICKED, TWICE]
        assert state.outcomes.read(run).schema == outcomes().schema
        assert state.plan(run).hash == plan.hash, "the plan is still there"


def test_what_is_pruned_on_one_machine_is_gone_on_all(machine: Open, plan: sender.Plan, run: Run) -> None:
    one, two = machine("one"), machine("two")
    one.plans.save(run, plan)
    one.outcomes.add(run, outcomes(BOUGHT))
    assert two.outcomes.read(run).height == 1
    one.plans.prune(run)
    for state in (one, two, machine("three")):
        assert state.outcomes.read(run).is_empty()


# -- the files ---------------------------------------------------------------------------------------------------------


def test_a_file_is_written_only_for_what_is_new(tmp_path: Path, run: Run) -> None:
    store = OutcomeFiles(tmp_path)
    assert store.add(run, outcomes(BOUGHT, BOUGHT)) == 1
    folder = tmp_path / run.run_id
    before = (folder / OUTCOMES_FILE).stat()
    assert store.add(run, outcomes(BOUGHT)) == 0
    after = (folder / OUTCOMES_FILE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [file.name for file in folder.iterdir() if file.stat().st_mode & 0o077] == []


def test_another_import_is_waited_for_and_then_named(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_files, "_LOCK_S", 0.2)
    store = OutcomeFiles(tmp_path)
    store.add(run, outcomes(BOUGHT))
    file = tmp_path / run.run_id / OUTCOMES_FILE
    with filelock.FileLock(file.with_name("outcomes.lock")), pytest.raises(StateError, match="another process") as told:
        store.add(run, outcomes(CLICKED))
    assert told.value.where == str(file)
    assert store.read(run).height == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, run: Run) -> None:
    file = tmp_path / run.run_id / OUTCOMES_FILE
    file.parent.mkdir()
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(StateError, match="the outcomes cannot be read") as told:
        OutcomeFiles(tmp_path).read(run)
    assert told.value.where == str(file)
