"""Several machines, and what may happen to them: nobody gets a message twice, and nobody is left out.

The sizes are those of CI; `python -m tests.cluster.rig SCENARIO --messages N --times N` runs others.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import profiles
from tests.cluster.namespaces import require_namespaces
from tests.cluster.rig import play
from tests.state.conftest import DATABASES
from tests.state.postgres_server import require

TIMES = {"kill": 4, "freeze": 1, "restart": 2, "engine": 2, "cut": 3}
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
