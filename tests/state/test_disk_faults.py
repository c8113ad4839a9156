"""A disk that fills up or fails at any write: nothing leaves that is not written down, and the rest goes on later."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import polars as pl
import pytest

import sender
from sender import sandbox
from sender.core.errors import RunComplete, StateError
from sender.state.sqlite.ledger import SqliteLedger
from tests import local_http, warm
from tests.cli.conftest import Done
from tests.small_disk import fill, small_disk

__all__ = ["small_disk"]  # a fixture

N = 60
VICTIM = "ledger.sqlite3"


class Disk(apsw.VFS):
    """The system's files, but the ledger's fail from the n-th write or sync on until `healed`."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.error: type[apsw.Error] = apsw.FullError
        self.base = apsw.vfs_names()[0]
        super().__init__("faulty", self.base)

    def heal(self) -> None:
        self.left = None

    def fail_after(self, n: int, error: type[apsw.Error]) -> None:
        self.left, self.error = n, error

    @property
    def failing(self) -> bool:
        return self.left is not None and self.left <= 0

    def step(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.failing:
            raise self.error("injected")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 (SQLite's)
        return File(self, name, flags)


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__(disk.base, name, flags)
        self._disk = disk
        self._watched = VICTIM in (name.filename() if isinstance(name, apsw.URIFilename) else str(name))

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._watched:
            self._disk.step()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._watched:
            self._disk.step()
        super().xSync(flags)


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    disk = Disk()
    apsw.set_default_vfs("faulty")
    yield disk
    apsw.set_default_vfs(disk.base)
    disk.unregister()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("SENDER_SANDBOX_SETTLE_S", "0.2")  # its log does not lag, and nothing is on its way for longer
    with sandbox.embedded(sandbox.Options(latency_ms=5)) as url:
        monkeypatch.setenv("SENDER_SANDBOX_URL", url)
        yield url


def accepted(url: str) -> dict[str, int]:
    counts: dict[str, int] = local_http.get(f"{url}/sandbox/counts").json()["recipients"]
    return counts


def plan(**keys: Any) -> sender.Plan:
    people = pl.DataFrame({"phone": [f"+120255501{i:02}" for i in range(N)], "name": [f"N{i}" for i in range(N)]})
    given = {"provider": "sandbox", "from_": "+12025550150", "message": "Hi {{ name }}", "rate": "none", "name": "lib"}
    return sender.build_plan(sender.load_campaign(recipients=people, concurrency=4, **{**given, **keys}))


@pytest.mark.parametrize("seed", range(8))
def test_nothing_leaves_unwritten_and_the_rest_goes_on(disk: Disk, provider: str, tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    error = random.choice([apsw.FullError, apsw.IOError])
    disk.fail_after(random.randrange(20, 260), error)
    stopped: StateError | None = None
    try:
        result = sender.send(plan(), state_dir=tmp_path)
        assert result.exit_code in (0, 5)
        assert (result.exit_code == 5) is (result.stopped is not None)
    except StateError as raised:  # before the first message, or too late to read the run
        stopped = raised
    failed = disk.failing
    disk.heal()
    told = accepted(provider)
    if told:
        (run_folder,) = (tmp_path / "runs").iterdir()
        ledger = SqliteLedger.open(tmp_path / VICTIM)
        journal = ledger.journal(run_folder.name)
        ledger.close()
        written = {f"+120255501{seq:02}" for seq in journal.filter(pl.col("state") != "pending")["seq"]}
        assert set(told) <= written, "a message left that the ledger knows nothing of"
    if not failed:
        assert len(told) == N
        return
    assert stopped is not None or result.stopped is not None
    with contextlib.suppress(RunComplete):  # the last write of all failed
        done = sender.send(plan(), state_dir=tmp_path)
        assert done.summary.accepted == N, f"seed {seed}: {done.summary.totals_line()}"
    assert accepted(provider) == {f"+120255501{i:02}": 1 for i in range(N)}


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what was synced")
def test_what_a_run_stands_on_is_on_disk_before_its_first_intent(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders too: a power cut that takes a folder takes the ledger in it, and everybody would get it again."""
    synced: set[Path] = set()
    before: list[set[Path]] = []
    fsync, claim = os.fsync, SqliteLedger.claim

    def noting(handle: int) -> None:
        synced.add(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    def first(self: SqliteLedger, *args: Any, **options: Any) -> Any:
        before.append(set(synced))
        return claim(self, *args, **options)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(SqliteLedger, "claim", first)
    state = tmp_path / "new" / "state"
    result = sender.send(plan(), state_dir=state)
    run = state / "runs" / result.run.run_id
    assert {tmp_path, tmp_path / "new", state, state / "runs", run} <= before[0]
    named = {path.name for path in before[0]}
    assert {"plan.parquet", "manifest.json"} <= named, "before they got their place"


def people(n: int) -> str:
    areas = [area for area in range(201, 990) if area % 100 != 11 and (area // 10) % 10 != 9]
    return "name,phone\n" + "".join(f"N{i},+1{areas[i // 90]}55501{i % 90:02}\n" for i in range(n))


def run_sender(arguments: list[str], folder: Path) -> Done:
    """What comes of `sender` in a process of its own, whose state may be on a disk that fills up."""
    process = warm.start("sender", arguments, cwd=folder, env=os.environ | {"PYTHONPATH": str(warm.ROOT)})
    out, err = process.communicate(timeout=60)
    assert process.returncode is not None
    return Done(process.returncode, out, err)


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
def test_a_real_disk_that_fills_up(small_disk: Path, provider: str, tmp_path: Path) -> None:
    """The command: exit 5, a sentence, and the same command goes on when there is room."""
    (tmp_path / "people.csv").write_text(people(60))
    command = [
        *("send", "people.csv", "--body", "Hi {{ name }}", "--from", "+12025550150", "--provider", "sandbox", "--yes"),
        *("--wait", "0", "--state-dir", str(small_disk / "state"), "--default-region", "US"),
    ]

    def send() -> Done:
        return run_sender(command, tmp_path)

    codes = set()
    for room_kib in (8, 180):
        ballast = fill(small_disk, leave_kib=room_kib)
        done = send()
        codes.add(done.code)
        ballast.unlink()
        if done.code == 0:
            break
        assert done.code == 5, done
        assert "fix:" in done.err
        assert "Traceback" not in done.err
    assert 5 in codes
    done = send()
    assert done.code in (0, 3), done  # 3: it was complete, and is not sent twice
    assert set(accepted(provider).values()) == {1}
    assert len(accepted(provider)) == 60


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
@pytest.mark.parametrize("words", [("forget", "+12015550101"), ("prune", "--older-than", "0s")], ids=" ".join)
def test_what_erases_says_that_the_disk_is_full_and_goes_on(
    small_disk: Path, provider: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "people.csv").write_text(people(60))
    state = ("--state-dir", str(small_disk / "state"))
    sending = [
        "send",
        "people.csv",
        "--body",
        "Hi {{ name }}",
        "--from",
        "+12025550150",
        "--provider",
        "sandbox",
        "--yes",
    ]
    done = run_sender([*sending, "--wait", "0", "--default-region", "US", *state], tmp_path)
    assert done.code == 0, done
    codes = []
    for room_kib in range(0, 400, 20):
        ballast = fill(small_disk, leave_kib=room_kib)
        done = run_sender([*words, "--yes", *state], tmp_path)
        ballast.unlink()
        codes.append(done.code)
        if done.code == 0:
            break
        assert (done.code, "fix:" in done.err, "Traceback" in done.err) == (5, True, False), (room_kib, done)
    assert codes[0] == 5
    assert codes[-1] == 0
    assert run_sender(["status", "people", *state], tmp_path).code == 0


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
def test_a_run_that_has_no_room_to_begin_says_so(small_disk: Path, provider: str, tmp_path: Path) -> None:
    """Wherever it is when the room is used up: it is never called a bug, or bad input."""
    (tmp_path / "people.csv").write_text(people(60))
    command = [
        "send",
        "people.csv",
        "--body",
        "Hi {{ name }}",
        "--from",
        "+12025550150",
        "--provider",
        "sandbox",
        "--yes",
    ]
    for room_kib in range(0, 300, 27):
        state = small_disk / f"state{room_kib}"
        ballast = fill(small_disk, leave_kib=room_kib)
        done = run_sender([*command, "--default-region", "US", "--wait", "0", "--state-dir", str(state)], tmp_path)
        ballast.unlink()
        shutil.rmtree(state, ignore_errors=True)
        assert (done.code, "fix:" in done.err, "Traceback" in done.err) == (5, True, False), (room_kib, done)


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
def test_a_state_on_a_disk_that_can_only_be_read_is_read(small_disk: Path, provider: str, tmp_path: Path) -> None:
    """Such as a copy of it, mounted to look something up."""
    (tmp_path / "people.csv").write_text(people(60))
    text = ("people.csv", "--body", "Hi {{ name }}", "--from", "+12025550150", "--provider", "sandbox")
    state = ("--state-dir", str(small_disk / "state"))
    commands = [
        ["send", *text, "--default-region", "US", "--yes", "--wait", "0", *state],
        ["suppress", "add", "+12025550101", *state],
        ["numbers", "import-deactivations", "dead.csv", "--date", "2026-11-28", *state],
    ]
    (tmp_path / "dead.csv").write_text("+12025550188\n")
    for command in commands:
        assert (done := run_sender(command, tmp_path)).code == 0, done
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    told = {
        words: run_sender([*words, *state], tmp_path)
        for words in (
            ("status",),
            ("report", "people"),
            ("history", "+12025550101"),
            ("suppress", "list"),
            ("suppress", "why", "+12025550101"),
            ("suppress", "export"),
            ("numbers", "list"),
            ("plan", *text, "--default-region", "US", "--out", "planned"),
        )
    }
    assert {words: done for words, done in told.items() if done.code} == {}
    assert "1 entry on the suppression list" in told["history", "+12025550101"].out
    assert "1 dead number" in told["numbers", "list"].out
    refused = run_sender(["suppress", "remove", "+12025550101", *state], tmp_path)
    assert (refused.code, "fix:" in refused.err) == (5, True), refused


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
def test_results_that_do_not_fit_lose_nothing(small_disk: Path, provider: str, tmp_path: Path) -> None:
    """What was sent is in the ledger; the results file can be written again at any time."""
    fill(small_disk, leave_kib=4)
    (tmp_path / "people.csv").write_text(people(60))
    command = ["send", "people.csv", "--body", "Hi {{ name }}", "--from", "+12025550150", "--provider", "sandbox"]
    command += ["--yes", "--default-region", "US", "--output", str(small_disk / "results.xlsx")]
    done = run_sender(command, tmp_path)
    assert done.code == 5, done
    assert "60 accepted" in done.out
    assert "sender results" in done.err
    assert not list(small_disk.glob(".results.*")), "half a file is left"
    again = run_sender(["results", "people"], tmp_path)
    assert again.code == 0
    assert again.out.count("queued") + again.out.count("delivered") + again.out.count("sent") >= 60
