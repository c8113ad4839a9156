"""A run that is held for this process: what it lifts, and where it may write the results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sender.core.canary import Canary, CanaryState
from sender.core.errors import InputError
from sender.sending.options import SendOptions
from sender.sending.run import RunSession
from sender.sending.run_control import name_person
from tests.state.run_history import ACCEPTED, ADA, GRACE, PENDING, RunHistory, run_history


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path / "state") as runs:
        yield runs


def session_of(history: RunHistory, canary: Canary | None = None, *, knowingly: bool = False) -> RunSession:
    run = history.add({ADA: ACCEPTED, GRACE: PENDING})
    if canary is not None:
        history.state.ledger.note_canary(run.run_id, canary)
    run = history.state.ledger.run(run.run_id)
    return RunSession(history.state, history.state.plan(run), run, resumed=True, knowingly=knowingly)


STOPPED = Canary(1, CanaryState.STOPPED)


@pytest.mark.parametrize(
    ("canary", "knowingly", "state"),
    [
        pytest.param(STOPPED, True, CanaryState.PASSED, id="a person goes on in spite of it"),
        pytest.param(STOPPED, False, CanaryState.STOPPED, id="a stop that nobody has seen"),
        pytest.param(Canary(1), True, CanaryState.SENDING, id="nothing was stopped"),
        pytest.param(None, True, None, id="without a canary"),
    ],
)
def test_only_a_person_overrides_the_stop_of_a_canary(
    history: RunHistory, canary: Canary | None, knowingly: bool, state: CanaryState | None
) -> None:
    session = session_of(history, canary, knowingly=knowingly)
    session.lift_holds()
    kept = history.state.ledger.run(session.run.run_id).canary
    assert kept == session.run.canary
    assert (None if kept is None else kept.state) == state
    if kept is not None:
        assert kept.overridden_by == (name_person() if state is CanaryState.PASSED else None)


def test_files_that_the_run_is_made_of_are_not_replaced_by_results(history: RunHistory, tmp_path: Path) -> None:
    session = session_of(history)
    own, free = tmp_path / "template.csv", tmp_path / "results.csv"
    own.touch()  # as a file of results: an empty one may be replaced

    def check(path: Path | None, *inputs: Path) -> None:
        session.check_results_path(SendOptions(state_dir=history.folder, results_path=path), inputs)

    check(None, own)
    check(free, own)
    with pytest.raises(InputError):
        check(own, own)
    with pytest.raises(InputError):
        check(tmp_path / "no such folder" / "results.csv")
