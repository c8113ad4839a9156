"""The command as a person or a cron job runs it, in a folder of its own.

A call runs it in this process, `start` in one of its own, forked from a warm parent where the system can. In a test that
is marked `process` each call and each start is a new Python.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest

from sender.sandbox.credentials import environment
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from tests import local_http, warm
from tests.cli import in_process

ROOT = Path(__file__).parents[2]
SENDER = [sys.executable, "-m", "sender"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


class Shell:
    """A folder, its environment, and `sender` in it.

    A live `send` may begin a state here, unless `begins_states` is False: most tests are about what comes after it.
    """

    def __init__(self, folder: Path, *, in_process: bool = True, begins_states: bool = True) -> None:
        self.folder = folder
        self.in_process = in_process
        self.begins_states = begins_states
        ours = re.compile(r"SIGNALWIRE|TELNYX|TWILIO|SENDER|COLUMNS$|LINES$")  # a shell may export its size
        self.env = {name: value for name, value in os.environ.items() if not ours.match(name)}
        self.env["PYTHONPATH"] = str(ROOT)
        self.env["SENDER_RULES"] = "none"  # or what is live would wait for the morning
        self._started: list[warm.Process] = []

    def __call__(self, *args: str, **env: str) -> Done:
        """What comes of `sender` with `args`, run here and now."""
        args = self._with_leave(args)
        if self.in_process:
            return Done(*in_process.run(args, folder=self.folder, env=self.env | env))
        done = subprocess.run(
            [*SENDER, *args],
            cwd=self.folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str, **env: str) -> warm.Process:
        """`sender` with `args` in a process of its own, at work when this returns."""
        process = warm.start(
            "sender", self._with_leave(args), cwd=self.folder, env=self.env | env, fresh=not self.in_process
        )
        self._started.append(process)
        return process

    def make_state(self, *args: str) -> None:
        """A state that knows nobody yet, as `suppress` and `listen` need it."""
        done = self("init", "--state-only", *args)
        assert done.code == 0, done

    def _with_leave(self, args: tuple[str, ...]) -> tuple[str, ...]:
        return (*args, "--init-state") if self.begins_states and args[:1] == ("send",) else args

    def end(self) -> None:
        """Kills what a test that failed has left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def people(self, n: int, name: str = "people.csv", *, start: int = 0) -> Path:
        """A list of `n` fictional numbers, +1 NPA-555-0100 to 0189, from the one at `start` on."""
        numbers = range(start, start + n)
        rows = (f"Ada {i},+1{area}55501{i % 90:02}" for i, area in ((i, AREAS[i // 90]) for i in numbers))
        return self.write(name, "name,phone\n" + "\n".join(rows) + "\n")

    def results(self) -> pl.DataFrame:
        """The newest run's results file."""
        newest = max((self.folder / ".sender" / "runs").glob("*/results.csv"), key=lambda path: path.stat().st_mtime_ns)
        return pl.read_csv(newest, infer_schema=False)


class Prepared:
    """A folder in which `prepare` has run once, for tests that each want it as it was then.

    Each gets it in the same place: a state holds absolute paths.
    """

    def __init__(self, place: Path, prepare: Callable[[Shell], object]) -> None:
        self._folder, self._copy = place / "folder", place / "copy"
        self._folder.mkdir()
        prepare(Shell(self._folder))
        shutil.copytree(self._folder, self._copy, symlinks=True)

    def restore(self, *, in_process: bool = True) -> Shell:
        """The folder as `prepare` left it. What the last test did to it is gone."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._copy, self._folder, symlinks=True)
        return Shell(self._folder, in_process=in_process)


AREAS = ("202", "212", "213", "214", "215", "216", "217", "218", "219", "224", "225", "228")


@pytest.fixture
def sender(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    # A live run that begins a state looks into all those that this user has.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.with_name(f"{tmp_path.name}-home")))
    shell = Shell(tmp_path, in_process=request.node.get_closest_marker("process") is None)
    yield shell
    shell.end()


@pytest.fixture
def shipped(sender: Shell) -> Shell:
    """A folder with the campaigns and templates of the repository."""
    for name in ("campaigns", "templates"):
        shutil.copytree(ROOT / name, sender.folder / name)
    return sender


class Sandbox:
    """A sandbox that runs, in a thread of this process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> dict[str, int]:
        recipients: dict[str, int] = local_http.get(f"{self.url}/sandbox/counts").json()["recipients"]
        return recipients

    def wait_for(self, n: int) -> None:
        until = time.monotonic() + 120  # on a busy machine a start alone may take half a minute
        while sum(self.counts().values()) < n:
            assert time.monotonic() < until, f"the sandbox got {self.counts()} and no more"
            time.sleep(0.02)

    @property
    def env(self) -> dict[str, str]:
        """Fake credentials of all providers, pointed here."""
        return environment(self.url)


@contextmanager
def running_sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sandbox]]:
    """Yield what starts a sandbox with the command's options; those that were started end with the block."""
    with ExitStack() as stack:

        def start(*args: str) -> Sandbox:
            soon = () if "--latency" in args else ("--latency", "5")  # else each message waits for 40 ms
            served: list[Options] = []
            with patch("sender.sandbox.serve", lambda options, **_: served.append(options)):
                done = Shell(tmp_path_factory.mktemp("sandbox"))("sandbox", *soon, *args)
            assert done.code == 0, done
            return Sandbox(stack.enter_context(embedded(served[0])))

        yield start


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sandbox]]:
    with running_sandboxes(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One for a module whose tests look at what is added to its counts, or at nothing of it."""
    with running_sandboxes(tmp_path_factory) as start:
        yield start()
