"""Several machines, and what may happen to them: nobody gets a message twice, and nobody is left out.

The sizes are those of CI; `python -m tests.cluster.rig SCENARIO --messages N --times N` runs others.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import profiles
from tests.cluster.namespaces import require_namespaces
from tests.cluster.rig import Outcome, play
from tests.state.conftest import DATABASES
from tests.state.postgres_server import require

TIMES = {"kill": 4, "steward": 2, "restart": 2, "engine": 2, "cut": 3}
QUICK = {"kill"}  # in the quick profile one is enough


@pytest.fixture(autouse=True)
def server() -> None:
    require(DATABASES[0])


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "scenario", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in TIMES]
)
def test_nobody_gets_it_twice_and_nobody_is_left_out(tmp_path: Path, scenario: str) -> None:
    if scenario == "cut":
        require_namespaces()
    messages = 150 if profiles.current().name == "quick" else 300
    outcome = play(tmp_path, scenario, messages=messages, rate="30/s", times=TIMES[scenario])
    outcome.check()
    assert outcome.disturbances > 0


def freeze(folder: Path, mutant: str) -> Outcome:
    return play(
        folder, "freeze", messages=100, rate="15/s", times=1, mutant=mutant, workers=2, delay_s=2.0, most_s=90.0
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_sender_that_wakes_up_sends_nothing_late(tmp_path: Path) -> None:
    """What it had claimed was looked up meanwhile, and sent by another."""
    freeze(tmp_path, "").check()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_deadlines_a_sender_that_wakes_up_sends_late(tmp_path: Path) -> None:
    """A sender that wakes up has two reasons to send nothing, so it takes some tries until the lack of one shows."""
    if profiles.current().name != "long":
        pytest.skip("takes minutes: SENDER_TEST_PROFILE=long")
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        if freeze(folder, "no deadline").duplicates:
            return
    pytest.fail("nobody got anything twice in six tries")
