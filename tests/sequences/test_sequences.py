"""Nobody twice, nobody after an opt-out, then everybody else: random sequences of commands, and rules taken away.

The result of a long run, `python -m benchmarks.sequences --sequences 300`, is in docs/guarantee.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.profiles import draw_seed
from tests.sequences.harness import many_sequences, run_steps
from tests.sequences.mutants import MUTANTS
from tests.sequences.scenarios import SCENARIOS, Scenario
from tests.sequences.world import Tally

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX"),
    pytest.mark.timeout(1800),
]
JOBS = 3  # most of a sequence is waiting


def test_random_sequences_text_nobody_twice_nobody_who_opted_out_and_everybody_else(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seed, sequences = draw_seed(), pytestconfig.getoption("--sequences")
    tally = many_sequences(tmp_path, sequences=sequences, seed=seed, jobs=JOBS)
    assert tally.clean, str(tally)
    assert tally.sequences == sequences


def run_scenario(folder: Path, name: str, mutant: str | None = None) -> Tally:
    scenario: Scenario = SCENARIOS[name]
    return run_steps(folder, scenario.steps, dialect=scenario.dialect, faults=scenario.faults, mutant=mutant)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_shortest_sequence_that_needs_a_rule_ends_clean(tmp_path: Path, name: str) -> None:
    tally = run_scenario(tmp_path / "kept", name)
    assert tally.clean, tally


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_rule_that_is_taken_away_is_noticed(tmp_path: Path, name: str) -> None:
    tally = run_scenario(tmp_path / "broken", name, mutant=name)
    assert getattr(tally, SCENARIOS[name].shows), f"{name} was not noticed: {tally}"


def test_every_mutant_has_a_scenario() -> None:
    assert SCENARIOS.keys() == MUTANTS.keys()


def test_the_document_lists_every_mutant() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guarantee.md").read_text(encoding="utf-8")
    assert [name for name in MUTANTS if f"| `{name}` |" not in page] == []
