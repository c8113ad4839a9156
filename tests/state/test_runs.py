"""Finding runs by what people call them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sender.core.errors import UnknownRun
from sender.state.ledger import Run, RunKind
from sender.state.open import open_state
from sender.state.runs import find_run, resolve_path

FILE = resolve_path("spring.yaml")
BASE = Run("", "spring", RunKind.LIVE, "twilio", "hash", None, 1, 1, 0, 0)
RUNS = [
    replace(BASE, run_id="20261120-1", source=FILE),
    replace(BASE, run_id="20261121-1"),
    replace(BASE, run_id="20261121-2", retry_of="20261121-1"),
    replace(BASE, run_id="20261122-1", kind=RunKind.TEST),
    replace(BASE, run_id="20261122-2", kind=RunKind.REHEARSAL),
    replace(BASE, run_id="20261123-1", campaign="tests", kind=RunKind.TEST),
    replace(BASE, run_id="20261123-10", campaign="tests", kind=RunKind.TEST),
    replace(BASE, run_id="20261124-1", campaign="box", kind=RunKind.SANDBOX),
]


@pytest.mark.parametrize(
    ("target", "run_id"),
    [
        pytest.param("20261121-2", "20261121-2", id="an id"),
        pytest.param("20261120", "20261120-1", id="its beginning"),
        pytest.param("20261123-1", "20261123-1", id="an id that is the beginning of a later one"),
        pytest.param("20261123-10", "20261123-10", id="the later one"),
        pytest.param("20261121", None, id="the beginning of two"),
        pytest.param("spring.yaml", "20261120-1", id="a file"),
        pytest.param(Path("spring.yaml"), "20261120-1", id="a path"),
        pytest.param(f"x{os.sep}..{os.sep}spring.yaml", "20261120-1", id="the same file"),
        pytest.param("spring", "20261121-1", id="a campaign: neither a retry, a test nor a rehearsal"),
        pytest.param("tests", "20261123-10", id="a campaign of tests alone: the newest"),
        pytest.param("box", "20261124-1", id="a sandbox run"),
        pytest.param("", None, id="nothing"),
        pytest.param("summer", None, id="no run"),
    ],
)
def test_what_a_name_means(target: str | Path, run_id: str | None) -> None:
    if run_id is None:
        with pytest.raises(UnknownRun) as caught:
            find_run(RUNS, target, where="here")
        assert caught.value.where == "here"
        assert "20261124-1" in str(caught.value.fix)
        assert "20261120-1" not in str(caught.value.fix), "only the newest five"
        assert "20261122-1" in str(caught.value.fix)
        several = isinstance(target, str) and target.startswith("2026")
        assert str(caught.value.what) == (
            f"several runs begin with {target!r}" if several else f"no run is called {target!r}"
        )
    else:
        assert find_run(RUNS, target, where="here").run_id == run_id


def test_without_runs_it_says_so() -> None:
    with pytest.raises(UnknownRun) as caught:
        find_run([], "x", where="here")
    assert str(caught.value.fix).startswith("newest runs here: none")


def test_runs_of_a_campaign_and_retries_of_a_run(tmp_path: Path) -> None:
    with open_state(tmp_path) as state:
        for created_at_ms, run in enumerate(RUNS):
            state.ledger.create_run(replace(run, created_at_ms=created_at_ms))
        ids = [run.run_id for run in state.runs_of("spring", RunKind.LIVE)]
        assert ids == ["20261120-1", "20261121-1", "20261121-2"]
        assert [run.run_id for run in state.runs_of("spring", RunKind.TEST)] == ["20261122-1"]
        assert [run.run_id for run in state.retries(state.find("20261121-1"))] == ["20261121-2"]
        assert state.retries(state.find("20261121-2")) == []


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_run_is_found_by_its_id_though_others_begin_with_it(place: int) -> None:
    ids = [f"20261125-1{n}" for n in range(3)]
    runs = [replace(BASE, run_id=run_id) for run_id in [*ids[:place], "20261125-1", *ids[place:]]]
    assert find_run(runs, "20261125-1", where="here").run_id == "20261125-1"
