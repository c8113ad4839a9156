"""Several machines, and what may happen to them: nobody gets a message twice, and nobody is left out.

The sizes are those of CI; `python -m benchmarks.cluster_faults SCENARIO --messages N --times N` runs others.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests import profiles
from tests.cluster.faults import play
from tests.cluster.namespaces import require_namespaces
from tests.cluster.rig import Outcome, rig, wait
from tests.state.conftest import DATABASES
from tests.state.postgres_server import require

TIMES = {"kill": 3, "steward": 1, "restart": 1, "engine": 1, "cut": 3, "failover": 1}
LONG = ("steward", "restart", "engine")  # CI has those that differ most


@pytest.fixture(autouse=True)
def server() -> None:
    require(DATABASES[0])


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "scenario", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in TIMES]
)
def test_nobody_gets_it_twice_and_nobody_is_left_out(tmp_path: Path, scenario: str) -> None:
    if scenario == "cut":
        require_namespaces()
    messages = 300 if profiles.current().name == "long" else 150
    rate = "10/s" if scenario == "cut" else "30/s"  # cuts take long, and must meet a run that goes on
    outcome = play(tmp_path, scenario, messages=messages, rate=rate, times=TIMES[scenario])
    outcome.check()
    assert outcome.disturbances > 0


@pytest.mark.timeout(300)
def test_a_copy_that_lacks_commits_takes_over_and_nothing_is_sent_until_a_person_decides(tmp_path: Path) -> None:
    with rig(tmp_path, standby="later") as it:
        it.begin_workers(2)
        it.begin_run(150, "15/s")
        wait(lambda: len(it.counts()) >= 20)
        it.copy = it.server.copy(it.copy_port)
        copied = len(it.counts())
        wait(lambda: len(it.counts()) >= copied + 20)
        it.server.halt("immediate")
        it.copy.resume()
        it.copy.promote()
        time.sleep(it.over_s)  # what was on its way has come
        sent = it.counts()
        assert it.begin_again("--detach") == 5, "on a machine that has sent nothing, too"
        time.sleep(12.0)  # as long as a worker rests after a process that could not send
        assert it.counts() == sent
        assert "or it was restored from a backup: it may lack confirmed commits" in it.logs()
        assert it.command("cluster", "init", it.url) == 5
        assert it.command("cluster", "init", "--accept-server", it.url) == 0
        wait(lambda: it.keep_going() or it.is_over())
        assert len(it.counts()) == 150
        assert 0 < it.outcome(150, 0.0, 1).duplicates <= len(sent), "which that person was told"


def freeze(folder: Path, mutant: str) -> Outcome:
    return play(
        folder, "freeze", messages=100, rate="15/s", times=1, mutant=mutant, workers=2, delay_s=2.0, most_s=90.0
    )


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_sender_that_wakes_up_sends_nothing_late(tmp_path: Path) -> None:
    """What it had claimed was looked up meanwhile, and sent by another."""
    freeze(tmp_path, "").check()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_without_deadlines_a_sender_that_wakes_up_sends_late(tmp_path: Path) -> None:
    """A sender that wakes up has two reasons to send nothing, so it takes some tries until the lack of one shows."""
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        if freeze(folder, "no deadline").duplicates:
            return
    pytest.fail("nobody got anything twice in six tries")
