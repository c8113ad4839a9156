"""A real standby: what is refused because of it, as a user without any role of the server's, and what it can do itself."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from sender.core.errors import StateError
from sender.state.database_url import read_database_url
from sender.state.open import open_state
from sender.state.postgres.install import install
from tests.state.conftest import DATABASES
from tests.state.postgres_server import BINARIES, Server, free_port, require

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=DATABASES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    require(request.param)
    server = Server.start(BINARIES[request.param])
    yield server
    server.remove()


def test_a_standby_that_may_lag_behind_is_refused_and_one_that_does_not_takes_over(server: Server) -> None:
    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute("CREATE ROLE plain LOGIN")
        db.execute("CREATE DATABASE offers OWNER plain")
    url = f"postgresql://plain@127.0.0.1:{server.port}/offers"
    install(read_database_url(url))
    copy = server.copy(free_port())
    try:
        copy.resume()
        with psycopg.connect(server.url, autocommit=True) as db:
            until = time.monotonic() + 30
            while db.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'").fetchone() is None:
                assert time.monotonic() < until
                time.sleep(0.1)
            for begin in (lambda: open_state(url), lambda: install(read_database_url(url))):
                with pytest.raises(StateError, match="a standby that may lag behind"):
                    begin()
            open_state(url, read_only=True).close()
            db.execute("ALTER SYSTEM SET synchronous_standby_names = 'copy'")
            db.execute("SELECT pg_reload_conf()")
        open_state(url).close()  # now the state knows that its standby has everything

        there = url.replace(str(server.port), str(copy.port))
        for begin in (lambda: open_state(there), lambda: install(read_database_url(there))):
            with pytest.raises(StateError, match="this server can only be read: it is a standby"):
                begin()
        with open_state(there, read_only=True) as state:
            assert state.ledger.runs() == []

        server.halt("immediate")
        copy.promote()
        with open_state(there) as state:
            assert state.ledger.runs() == []
        with psycopg.connect(there) as db:
            assert db.execute("SELECT timeline, synchronous FROM state").fetchone() == (2, False)
    finally:
        copy.remove()
