"""What others learn from the process that sends: how long it takes, and that the provider has slowed it down."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

import sender
from sender.reports.status import RunStatus, StatusMonitor
from sender.state.files.heartbeats import HEARTBEAT_FILE, HeartbeatFiles
from sender.state.heartbeat import Heartbeat, Progress
from sender.state.ledger import Run, RunKind
from sender.state.state_dir import StateDir

NOW = Progress(
    total=10, accepted=1, rejected=0, canceled=0, unknown=0, pending=9, in_flight=0, elapsed_s=2.0, rate_per_s=0.5, eta_s=18.0,
    slowed_to_per_s=0.25,
)  # fmt: skip
RUN = Run("r", "c", RunKind.LIVE, "twilio", "h", None, 1, 1, 0, 0)


def heartbeats(folder: Path) -> HeartbeatFiles:
    return HeartbeatFiles(lambda _: folder)


def test_a_heartbeat_is_read_as_of_now_and_goes_with_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Progress] = []
    assert heartbeats(tmp_path).read(RUN) is None
    with heartbeats(tmp_path).publish(RUN, heard.append) as publish:
        publish(NOW)
        publish(dataclasses.replace(NOW, eta_s=1.0))  # within the same second
        at_s = time.time()
        monkeypatch.setattr(time, "time", lambda: at_s + 2)
        beat = heartbeats(tmp_path).read(RUN)
        assert beat == Heartbeat(pytest.approx(16, abs=0.5), 0.25)
        monkeypatch.setattr(time, "time", lambda: at_s + 60)
        assert heartbeats(tmp_path).read(RUN) is None, "of a process that stands still"
    assert len(heard) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"at": "x", "eta_s": 1, "slowed_to_per_s": 1}', "\0"])
def test_what_is_not_a_heartbeat_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / HEARTBEAT_FILE).write_text(content)
    assert heartbeats(tmp_path).read(RUN) is None


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    with heartbeats(tmp_path / "gone").publish(RUN) as publish:
        publish(NOW)


def test_the_status_of_a_run_says_how_it_is_slowed_and_when_it_is_over(tmp_path: Path) -> None:
    """The sandbox answers 429 above 5/s, and the campaign wants 40/s."""
    rows = [{"phone": f"+1212555{n:04}"} for n in range(120, 150)]
    campaign: dict[str, Any] = {"provider": "sandbox", "sandbox": {"dialect": "twilio", "rate": "5/s"}, "rate": "40/s"}
    plan = sender.build_plan(
        sender.load_campaign(**campaign, from_="+12025550100", message="Hi", name="slow", recipients={"rows": rows})
    )
    seen: list[tuple[Progress, RunStatus]] = []

    def look(now: Progress) -> None:
        if now.slowed_to_per_s is not None and now.eta_s is not None and not seen:
            with StateDir(tmp_path, read_only=True) as state:
                seen.append((now, StatusMonitor(state, state.ledger.runs()[-1]).read()))

    result = sender.send(plan, state_dir=tmp_path, on_progress=look)
    assert result.summary.accepted == 30
    ((now, standing),) = seen
    assert standing.slowed_to_per_s is not None
    assert 0 < (now.slowed_to_per_s or 0) < 40
    assert standing.eta_s is not None
    with StateDir(tmp_path, read_only=True) as state:
        over = StatusMonitor(state, result.run).read()
    assert (over.slowed_to_per_s, over.eta_s) == (None, None)
    assert not list(tmp_path.rglob(HEARTBEAT_FILE))
