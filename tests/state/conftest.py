"""The PostgreSQL servers of the tests of states."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests import profiles
from tests.state.postgres_server import BINARIES, Server, StatePool, require, share_server

KINDS = ("postgres-18", "postgres-15")
NEWEST = (next(iter(BINARIES), KINDS[0]),)
# In CI the oldest version meets the ledger, its upgrades, and what depends on the planner; in the long profile everything.
DATABASES = NEWEST if profiles.current().name == "quick" else KINDS
SOME_DATABASES = KINDS if profiles.current().name == "long" else NEWEST


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Starts a server of a version when it is first asked for."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if base.name.startswith("popen-") else base  # a worker's is in the session's
    with contextlib.ExitStack() as stack:
        started: dict[str, Server] = {}

        def start(kind: str) -> Server:
            if kind not in started:
                require(kind)
                started[kind] = stack.enter_context(share_server(kind, folder))
            return started[kind]

        yield start


@pytest.fixture(scope="session")
def state_pools(servers: Callable[[str], Server]) -> Iterator[Callable[[str], StatePool]]:
    pools: dict[str, StatePool] = {}

    def pool(kind: str) -> StatePool:
        if kind not in pools:
            pools[kind] = StatePool(servers(kind))
        return pools[kind]

    yield pool
    for each in pools.values():
        each.close()


@pytest.fixture
def lent() -> Iterator[dict[str, contextlib.ExitStack]]:
    """The states that a test has, by URL."""
    lent: dict[str, contextlib.ExitStack] = {}
    yield lent
    for stack in lent.values():
        stack.close()


@pytest.fixture
def new_database(
    state_pools: Callable[[str], StatePool], lent: dict[str, contextlib.ExitStack]
) -> Callable[[str], str]:
    """Lends an empty state in a database of that version; returns its URL."""

    def lend(kind: str) -> str:
        stack = contextlib.ExitStack()
        url = stack.enter_context(state_pools(kind).lend())
        lent[url] = stack
        return url

    return lend


@pytest.fixture
def give_back(lent: dict[str, contextlib.ExitStack]) -> Callable[[str], None]:
    """Gives a state back before the test is over."""
    return lambda url: lent.pop(url).close()
