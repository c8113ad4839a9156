"""Starts programs of ours as processes of their own; on Linux by forking a parent that has imported them already.

A fresh Python needs more than a second to import the product, and the tests start hundreds. The parent imports it once,
builds the models of a campaign, and forks. What comes of it is a process like any other: its own pid, pipes, signals,
working directory, environment and exit code, a module run as `__main__`, and an end that waits for threads and calls
what was registered for it.

A fork keeps only the thread that forks, so the parent runs no event loop and no thread of ours, and does nothing with
polars but import it: polars starts its pools with its first operation. What runs beside it then are jemalloc's threads,
which the fork knows about, and polars' cleaner of spilled files, of which we have none. A thousand forks, each of which
wrote a Parquet file and grouped its rows, all came to their end. The parent refuses to fork when it sees a pool.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

from sender.campaign.load import load_campaign
from sender.cli.entry import COMMANDS
from sender.phone.ranges import _after_plus

ROOT = Path(__file__).parents[1]
LONGEST_WAIT_S = 24 * 3600  # poll takes no more than a C int of milliseconds
POOLS = re.compile(r"polars-\d|tokio|asyncio")
IMPORTS = (
    *sorted({f"sender.cli.{module}" for module, _ in COMMANDS.values()}),
    *("sender.sandbox.app", "sender.sandbox.server", "sender.transport.httpx_transport"),
    *("sender.delivery.webhooks", "sender.sending.workers.worker", "sender.state.postgres.state"),
    *("sender.state.postgres.suppression", "sender.state.postgres.shift_queue"),
    *(
        "uvicorn.protocols.http.httptools_impl",
        "uvicorn.lifespan.off",
        "anyio._backends._asyncio",
        "filelock",
        "psutil",
        "phonenumbers.data.region_US",
    ),
)


class Forked:
    """A process that the parent has forked, with what the tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, ending: int, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._ending = ending  # where the parent writes the exit code

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not _readable([self._ending], timeout):
                raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0)
            self.returncode = int(os.read(self._ending, 16))
            os.close(self._ending)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it prints from here on, once it has ended."""
        until = time.monotonic() + (timeout if timeout is not None else threading.TIMEOUT_MAX / 2)
        printed = ["", ""]

        def read(n: int, pipe: IO[str]) -> None:
            printed[n] = pipe.read()
            pipe.close()

        readers = [
            threading.Thread(target=read, args=(n, pipe), daemon=True)
            for n, pipe in enumerate((self.stdout, self.stderr))
            if pipe is not None and not pipe.closed
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(max(0.0, until - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0)
        self.wait(max(0.0, until - time.monotonic()))
        return printed[0], printed[1]


Process = subprocess.Popen[str] | Forked


def _readable(files: Sequence[int], timeout: float | None) -> list[int]:
    """Those of the open files that can be read within `timeout` seconds; `select.select` knows only numbers below 1,024."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return [file for file, _ in poll.poll(None if timeout is None else 1000 * min(timeout, LONGEST_WAIT_S))]


def start(
    module: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdout: int | IO[Any] = subprocess.PIPE,
    stderr: int | IO[Any] = subprocess.PIPE,
    fresh: bool = False,
    terminal: bool = False,
) -> Process:
    """`python -m module arguments...`, nothing on its standard input; `fresh` starts a new Python for it.

    `stdout` and `stderr` are as for `subprocess.Popen`. With `terminal`, `stderr` is one: the command reads from it, and
    is the one that a Ctrl-C there is for.
    """
    if fresh or sys.platform != "linux" or "COVERAGE_PROCESS_CONFIG" in env:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=cwd,
            env=env,
            stdin=stderr if terminal else subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            start_new_session=terminal,
            preexec_fn=_take_terminal if terminal else None,  # noqa: PLW1509 (for Ctrl-C)
        )
    return _parent().fork(Job(module, tuple(arguments), str(cwd), dict(env), terminal), stdout, stderr)


def _take_terminal() -> None:
    """Make the terminal on the standard input the one of this session."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


# ── In the tests' process ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Job:
    module: str
    arguments: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    terminal: bool


class Parent:
    """The process that forks, and the socket by which it is asked to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("SENDER", "CRASH", "COV"))}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                cwd=ROOT,
                env=env | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, job: Job, stdout: int | IO[Any], stderr: int | IO[Any]) -> Forked:
        ours: list[IO[str] | None] = []
        theirs = []
        for target in (stdout, stderr):
            if target == subprocess.PIPE:
                reads, writes = os.pipe()
                ours.append(os.fdopen(reads, encoding="utf-8"))
                theirs.append(writes)
            else:
                ours.append(None)
                theirs.append(
                    os.open(os.devnull, os.O_WRONLY)
                    if target == subprocess.DEVNULL
                    else os.dup(target if isinstance(target, int) else target.fileno())
                )
        ending, writes = os.pipe()
        theirs.append(writes)
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(vars(job)).encode()], theirs)
            answer = self._socket.recv(1 << 16).decode()
        for file in theirs:
            os.close(file)
        if not answer.isdigit():
            raise RuntimeError(answer or "the parent of the forked processes has died")
        return Forked(int(answer), ending, *ours)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


_parents: list[Parent] = []
_starting = threading.Lock()


def _parent() -> Parent:
    """The one of this process."""
    with _starting:
        if not _parents:
            _parents.append(Parent())
            atexit.register(_parents[0].close)
        return _parents[0]


# ── In the parent ───────────────────────────────────────────────────────────────────────────────────────────────


def serve(control: socket.socket) -> tuple[Job, list[int]]:
    """Fork for each request until the tests have ended; return in the child, with its job and its files."""
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    os.set_blocking(writes, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the tests: they end what they have started
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writes)
    endings: dict[int, int] = {}
    while True:
        ready = _readable([control.fileno(), reads], None)
        if reads in ready:
            os.read(reads, 4096)
            _reap(endings)
        if control.fileno() not in ready:
            continue
        request, files, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not request:
            os._exit(0)
        pools = [name for name in threads() if POOLS.match(name)]
        pid = 0 if pools else os.fork()
        if pools:
            control.send(f"a fork would lose threads: {', '.join(pools)}".encode())
        elif pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            control.close()
            for file in (reads, writes, files.pop(), *endings.values()):
                os.close(file)
            job = json.loads(request)
            return Job(**job), files
        else:
            endings[pid] = files.pop()
            control.send(str(pid).encode())
        for file in files:
            os.close(file)


def _reap(endings: dict[int, int]) -> None:
    while endings:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        ending = endings.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(ending, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(ending)


def threads() -> list[str]:
    """The names of this process's threads, as the system has them."""
    return [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]


def become(job: Job, files: list[int]) -> None:
    """Make this child what a new Python would be that runs the job."""
    os.chdir(job.cwd)
    os.environ.clear()
    os.environ.update(job.env)
    source = os.dup(files[1]) if job.terminal else os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((source, *files)):
        os.dup2(file, number)
        os.close(file)
    if job.terminal:
        os.setsid()
        _take_terminal()
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(
        os.fdopen(1, "wb", closefd=False), "utf-8", line_buffering=os.isatty(1)
    )
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(
        os.fdopen(2, "wb", closefd=False), "utf-8", "backslashreplace", line_buffering=True
    )
    sys.path[0] = job.cwd
    sys.argv[:] = [job.module, *job.arguments]


def main() -> None:
    import apsw

    with socket.socket(fileno=int(sys.argv[1])) as control:
        for name in IMPORTS:
            import_module(name)
        load_campaign(provider="sandbox", message="Hi", recipients=[{"phone": "+12025550101"}])  # its models are built
        _after_plus("1")  # and so are the ranges of the lists' numbers
        gc.freeze()  # what is here stays: no child need look through it, or copy it for that
        job, files = serve(control)
    become(job, files)
    apsw.randomness(0)  # SQLite's own random numbers are not to be the same in all of them
    code: object = None
    try:
        runpy.run_module(job.module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    end_process(code)


def end_process(code: object) -> NoReturn:
    """End as `sys.exit(code)` does, but leave the modules to the system: taking them down costs 0.25 s of processor time."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python's own end does
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    main()
