"""The plans of runs: kept, opened, and refused where they are another run's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import sender
from sender.core.errors import PlanError
from sender.state.files.plans import IDENTITY_FILE
from sender.state.ledger import Run, RunKind
from sender.state.open import open_state
from sender.state.plans import PlanStore
from tests.state.conftest import SOME_DATABASES

SAMPLE = Path(__file__).parents[1] / "samples" / "state-6dd9dae" / "state"


@pytest.fixture(scope="module")
def plan() -> sender.Plan:
    return sender.build_plan(
        sender.load_campaign(
            name="spring",
            provider="sandbox",
            from_="+12025550100",
            message="Hi",
            recipients=[{"phone": "+12025550101"}],
        )
    )


@pytest.fixture(params=["folder", *SOME_DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PlanStore]:
    kind = request.param
    with open_state(tmp_path if kind == "folder" else request.getfixturevalue("new_database")(kind)) as state:
        yield state.plans


def run_of(plan: sender.Plan, run_id: str = "run-1") -> Run:
    return Run(run_id, "spring", RunKind.SANDBOX, "sandbox", plan.hash, None, 1, 1, 0, 0)


def test_a_plan_is_kept_with_its_run(store: PlanStore, plan: sender.Plan) -> None:
    run = run_of(plan)
    assert not store.folder(run).exists()
    assert store.save(run, plan).hash == plan.hash
    assert store.open(run).hash == plan.hash
    manifest = store.manifest(run)
    assert manifest is not None
    assert manifest.identity == plan.identity
    assert store.folder(run).is_dir()


def test_a_run_without_a_plan_has_none(store: PlanStore, plan: sender.Plan) -> None:
    run = run_of(plan)
    assert store.manifest(run) is None
    with pytest.raises(PlanError):
        store.open(run)


def test_another_runs_plan_is_refused(store: PlanStore, plan: sender.Plan) -> None:
    run = run_of(plan)
    store.save(run, plan)
    other = Run(run.run_id, "spring", RunKind.SANDBOX, "sandbox", "another", None, 1, 1, 0, 0)
    for use in (store.open, store.manifest):
        with pytest.raises(PlanError, match="this is not the plan of run run-1") as caught:
            use(other)
        assert str(caught.value.where) == str(store.folder(run) / "plan")


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(None, id="none yet"),
        pytest.param("", id="damaged"),
        pytest.param('{"plan_hash": "another", "identity": "x"}', id="another plan's"),
        pytest.param('{"plan_hash": "another"}', id="half of it"),
        pytest.param("[]", id="something else"),
    ],
)
def test_the_identity_of_an_old_plan_is_computed_once(tmp_path: Path, note: str | None) -> None:
    """A plan of format 3 has none in its manifest."""
    shutil.copytree(SAMPLE, tmp_path / "state")
    with open_state(tmp_path / "state") as state:
        run = next(run for run in state.ledger.runs() if run.retry_of is None)
        store, plan = state.plans, state.plan(run)
    assert plan.manifest.identity is None
    if note is not None:
        (store.folder(run) / IDENTITY_FILE).write_text(note, encoding="utf-8")
    read = store.manifest(run)
    assert read is not None
    assert read.identity == plan.identity
    cached = json.loads((store.folder(run) / IDENTITY_FILE).read_text(encoding="utf-8"))
    assert cached == {"plan_hash": plan.hash, "identity": plan.identity}
    (store.folder(run) / IDENTITY_FILE).write_text(json.dumps({**cached, "identity": "cached"}), encoding="utf-8")
    again = store.manifest(run)
    assert again is not None
    assert again.identity == "cached", "it is not computed again"


def test_where_results_were_written_is_not_forgotten_when_the_next_note_fails(
    tmp_path: Path, plan: sender.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`forget` names these files; half a note would name none of them."""
    run = run_of(plan)
    with open_state(tmp_path) as state:
        state.plans.save(run, plan)
        state.plans.note_output(run, tmp_path / "a.csv")

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr("sender.core.output_files.os.fsync", fail)
            with pytest.raises(OSError, match="No space left"):
                state.plans.note_output(run, tmp_path / "b.csv")
        assert [file.name for file in state.plans.outputs(run)] == ["a.csv"]
