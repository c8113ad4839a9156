"""The disk of the database fills up while a run is sent: it is said in a sentence, and nothing is lost or sent twice."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sender.core.errors import StateError
from sender.state.database_url import read_database_url
from sender.state.ledger import RunKind, Settlement
from sender.state.open import open_state
from sender.state.postgres import database
from sender.state.postgres.install import install
from tests.small_disk import fill, mounted
from tests.state.conftest import DATABASES
from tests.state.ledger.steps import ACCEPTED, RUN
from tests.state.postgres_server import BINARIES, Server, require

pytestmark = pytest.mark.timeout(120)
LARGE = replace(RUN, rows=1_000_000, messages=1_000_000, skipped=0)


@pytest.fixture
def place() -> Iterator[Path]:
    """A small disk where the server's user gets to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with mounted(Path(folder) / "disk", mib=200) as place:
            yield place


def test_a_full_disk_is_said_and_nothing_is_lost(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require(DATABASES[0])
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    server = Server.start(BINARIES[DATABASES[0]], max_wal_size="32MB")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(database, "RETRY_S", 1.0)
    try:
        install(read_database_url(server.url))
        with open_state(server.url) as state, state.locks.hold_campaign(RUN.campaign, RunKind.LIVE):
            state.ledger.create_run(LARGE)
            sent = 0

            def send() -> None:
                nonlocal sent
                while True:
                    claims = state.ledger.claim(RUN.run_id, limit=500, lease_ms=60_000)
                    state.ledger.record(RUN.run_id, [Settlement(one, ACCEPTED) for one in claims])
                    sent += len(claims)

            ballast = fill(place, leave_kib=256)
            with pytest.raises(StateError) as caught:
                send()
            assert caught.value.exit_code == 5
            # A table that cannot grow is told as what it is. A log that cannot ends the server.
            assert re.search("the disk of the database is full .*No space left|cannot be reached", caught.value.what)
        ballast.unlink()
        if not (Path(server.data) / "postmaster.pid").exists():
            server.resume()
        with open_state(server.url) as state:
            state.ledger.check(RUN.run_id)
            counts = state.ledger.counts(RUN.run_id)
            assert counts.accepted >= sent
            assert counts.accepted + counts.intent + counts.pending == LARGE.messages
    finally:
        server.remove()
