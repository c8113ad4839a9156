"""The locks of runs, in one process: who holds one, what a note is worth, and workers whose parent is gone."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import filelock
import psutil
import pytest

from sender.core.errors import RunLocked, StateError
from sender.state.database_url import read_database_url
from sender.state.files import locks as lock_files
from sender.state.files.locks import LockFiles
from sender.state.ledger import RunKind
from sender.state.locks import Holder, RunLocks
from sender.state.postgres.locks import AdvisoryLocks
from tests.state.conftest import SOME_DATABASES

HOST = socket.gethostname()


@pytest.fixture(params=["files", *SOME_DATABASES])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], RunLocks]:
    """Makes one more process's locks."""
    if request.param == "files":
        return lambda: LockFiles(tmp_path)
    if "worker" in request.function.__name__:
        pytest.skip("a state in a database has no workers of one machine")
    url = read_database_url(request.getfixturevalue("new_database")(request.param))
    return lambda: AdvisoryLocks(url)


@pytest.fixture
def locks(another: Callable[[], RunLocks]) -> RunLocks:
    return another()


def test_one_at_a_time_holds_a_campaign_and_is_named(locks: RunLocks, another: Callable[[], RunLocks]) -> None:
    with locks.hold_campaign("offer", RunKind.LIVE):
        holder = another().holder("offer", RunKind.LIVE)
        assert holder is not None
        assert (holder.pid, holder.host) == (os.getpid(), HOST)
        says = rf"offer is being sent by another process \(pid {os.getpid()} on {HOST}, since {holder.since}\)"
        with pytest.raises(RunLocked) as caught, another().hold_campaign("offer", RunKind.LIVE):
            pass
        assert says.replace("\\", "") in str(caught.value)
    assert locks.holder("offer", RunKind.LIVE) is None
    with another().hold_campaign("offer", RunKind.LIVE):
        pass


@pytest.mark.parametrize(
    ("campaign", "kind"), [("offer", RunKind.TEST), ("offer2", RunKind.LIVE), ("Offer", RunKind.LIVE)]
)
def test_another_kind_or_campaign_is_free(
    locks: RunLocks, another: Callable[[], RunLocks], campaign: str, kind: RunKind
) -> None:
    with locks.hold_campaign("offer", RunKind.LIVE), another().hold_campaign(campaign, kind):
        assert another().holder(campaign, kind) is not None


def test_campaigns_whose_names_look_alike_are_sent_at_once(locks: RunLocks, another: Callable[[], RunLocks]) -> None:
    with ExitStack() as stack:
        for campaign in ("朝の便り", "夜の便り", "spring sale", "spring_sale"):
            assert locks.holder(campaign, RunKind.LIVE) is None
            stack.enter_context(another().hold_campaign(campaign, RunKind.LIVE))


def test_a_program_of_an_older_version_that_sends_the_campaign_is_not_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock has another name, which several campaigns shared."""
    monkeypatch.setattr(lock_files, "_HOLDER_WAIT_S", 0.1)
    monkeypatch.setattr(lock_files, "_WORKERS_WAIT_S", 0.1)
    locks, folder = LockFiles(tmp_path), tmp_path / "locks"
    (folder / "live-spring_sale.workers").mkdir(parents=True)
    for name in ("live-spring_sale.lock", "live-spring_sale.workers/1.lock"):
        with (
            filelock.FileLock(folder / name),
            pytest.raises(RunLocked) as caught,
            locks.hold_campaign("spring sale", RunKind.LIVE),
        ):
            pass
        assert ("older version" in str(caught.value)) is ("workers" not in name)
        with locks.hold_campaign("spring sale", RunKind.LIVE):
            pass
    with filelock.FileLock(folder / "live-offer.lock"), locks.hold_campaign("offer 2", RunKind.LIVE):
        pass


def test_a_campaign_is_free_again_after_an_error(locks: RunLocks) -> None:
    with pytest.raises(ZeroDivisionError), locks.hold_campaign("offer", RunKind.LIVE):
        raise ZeroDivisionError
    assert locks.holder("offer", RunKind.LIVE) is None


def test_a_worker_has_a_place_of_its_own(locks: RunLocks, another: Callable[[], RunLocks]) -> None:
    with (
        locks.hold_campaign("offer", RunKind.LIVE),
        locks.hold_worker("offer", RunKind.LIVE, 1),
        another().hold_worker("offer", RunKind.LIVE, 2),
        pytest.raises(RunLocked, match=f"worker 1 of offer is still running .pid {os.getpid()} on"),
        another().hold_worker("offer", RunKind.LIVE, 1),
    ):
        pass


def test_a_worker_whose_parent_is_gone_holds_the_campaign(
    locks: RunLocks, another: Callable[[], RunLocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_files, "_WORKERS_WAIT_S", 0.1)
    with (
        locks.hold_worker("offer", RunKind.LIVE, 1),
        pytest.raises(
            RunLocked, match=r"the process that was sending offer is gone, but one of its workers \(pid"
        ) as caught,
        another().hold_campaign("offer", RunKind.LIVE),
    ):
        pass
    assert "nothing is lost" in str(caught.value.fix)
    with another().hold_campaign("offer", RunKind.LIVE):
        pass


def test_a_worker_that_ends_in_time_is_waited_for(locks: RunLocks, another: Callable[[], RunLocks]) -> None:
    with ExitStack() as worker:
        worker.enter_context(locks.hold_worker("offer", RunKind.LIVE, 1))
        ending = threading.Timer(0.1, worker.close)
        ending.start()
        started_s = time.monotonic()
        with another().hold_campaign("offer", RunKind.LIVE):
            assert 0.09 < time.monotonic() - started_s < 1
        ending.join()


def test_each_worker_is_waited_for(
    locks: RunLocks, another: Callable[[], RunLocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_files, "_WORKERS_WAIT_S", 0.0)
    for number in (1, 2, 3):
        with locks.hold_worker("offer", RunKind.LIVE, number):
            pass
    for number in (1, 2, 3):
        with (
            locks.hold_worker("offer", RunKind.LIVE, number),
            pytest.raises(RunLocked, match="still waits for answers"),
            another().hold_campaign("offer", RunKind.LIVE),
        ):
            pass


# -- lock files --------------------------------------------------------------------------------------------------------


def note(folder: Path, content: Any) -> None:
    (folder / "locks").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "locks" / "live-offer.json").write_text(text, encoding="utf-8")


def test_a_note_is_private_and_goes_with_its_lock(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    file = tmp_path / "locks" / "live-offer.json"
    with LockFiles(tmp_path).hold_campaign("offer", RunKind.LIVE):
        assert set(json.loads(file.read_text())) == {"pid", "host", "since"}
        if os.name == "posix":
            assert file.stat().st_mode & 0o777 == 0o600
    assert not file.exists()


def test_the_names_of_the_files(tmp_path: Path) -> None:
    """They are an interface: another version of the program may hold a run at the same time."""
    locks = LockFiles(tmp_path)
    with locks.hold_campaign("offer", RunKind.LIVE), locks.hold_worker("offer", RunKind.LIVE, 1):
        files = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {
        "locks/live-offer.lock",
        "locks/live-offer.json",
        "locks/live-offer.workers/1.lock",
        "locks/live-offer.workers/1.json",
    }
    assert locks.workers_folder("offer", RunKind.LIVE) == tmp_path / "locks" / "live-offer.workers"


def test_a_note_that_a_worker_left_stays(tmp_path: Path) -> None:
    """Who looks whether a worker still lives writes nothing in its name."""
    locks = LockFiles(tmp_path)
    with locks.hold_worker("offer", RunKind.LIVE, 1):
        file = locks.workers_folder("offer", RunKind.LIVE) / "1.json"
        left = file.read_bytes()
    file.write_bytes(left)
    with LockFiles(tmp_path).hold_campaign("offer", RunKind.LIVE):
        assert file.read_bytes() == left


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"pid": "x", "host": "h", "since": "s"}', "\0"])
def test_what_is_not_a_note_names_nobody(tmp_path: Path, content: str) -> None:
    note(tmp_path, content)
    assert LockFiles(tmp_path).holder("offer", RunKind.LIVE) is None


def test_a_note_of_a_dead_process_names_nobody(tmp_path: Path) -> None:
    dead = max(psutil.pids()) + 100_000
    note(tmp_path, {"pid": dead, "host": HOST, "since": "2026"})
    assert LockFiles(tmp_path).holder("offer", RunKind.LIVE) is None
    note(tmp_path, {"pid": dead, "host": "another", "since": "2026"})  # nobody here can tell
    assert LockFiles(tmp_path).holder("offer", RunKind.LIVE) == Holder(dead, "another", "2026")


def test_a_holder_without_a_note_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_files, "_HOLDER_WAIT_S", 0.05)
    locks = LockFiles(tmp_path)
    with locks.hold_campaign("offer", RunKind.LIVE):
        (tmp_path / "locks" / "live-offer.json").unlink()
        with (
            pytest.raises(RunLocked, match="it left no note of its process id"),
            LockFiles(tmp_path).hold_campaign("offer", RunKind.LIVE),
        ):
            pass


def test_a_note_that_comes_a_moment_after_the_lock_is_waited_for(tmp_path: Path) -> None:
    with LockFiles(tmp_path).hold_campaign("offer", RunKind.LIVE):
        file = tmp_path / "locks" / "live-offer.json"
        content = file.read_text()
        file.unlink()
        writing = threading.Timer(0.1, file.write_text, [content])
        writing.start()
        with (
            pytest.raises(RunLocked, match=f"by another process .pid {os.getpid()} on"),
            LockFiles(tmp_path).hold_campaign("offer", RunKind.LIVE),
        ):
            pass
        writing.join()


def test_a_note_that_cannot_be_written_costs_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lock_files, "write_note", full)
    with LockFiles(tmp_path).hold_campaign("offer", RunKind.LIVE):
        assert LockFiles(tmp_path).holder("offer", RunKind.LIVE) is None


def test_a_lock_that_cannot_be_made_names_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lock_files.filelock.FileLock, "acquire", full)
    with (
        pytest.raises(StateError, match="No space left") as caught,
        LockFiles(tmp_path).hold_campaign("a", RunKind.LIVE),
    ):
        pass
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize("campaign", ["spring sale", "../../etc/passwd", "käse/brot", "a:b"])
def test_a_campaign_of_any_name_has_a_lock_in_the_folder(tmp_path: Path, campaign: str) -> None:
    locks = LockFiles(tmp_path)
    with locks.hold_campaign(campaign, RunKind.LIVE), locks.hold_worker(campaign, RunKind.LIVE, 0):
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert files
        assert all(file.is_relative_to(tmp_path / "locks") for file in files)
