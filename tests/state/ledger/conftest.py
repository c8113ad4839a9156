"""Every ledger the conformance suite runs over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sender.state.database_url import read_database_url
from sender.state.ledger import Ledger
from sender.state.postgres.ledger import PostgresLedger
from sender.state.sqlite.ledger import SqliteLedger
from tests.state.conftest import SOME_DATABASES
from tests.state.ledger.steps import RUN

NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00Z


class FakeClock:
    def __init__(self) -> None:
        self.ms = NOON_MS

    def __call__(self) -> int:
        return self.ms


class Store:
    """One ledger and as many handles on it as a test asks for."""

    def __init__(
        self, open_ledger: Callable[[Callable[[], int]], Ledger], give_back: Callable[[], None] = lambda: None
    ) -> None:
        self._give_back = give_back
        self.clock = FakeClock()
        self._open = open_ledger
        self._handles: list[Ledger] = []

    def open(self) -> Ledger:
        ledger = self._open(self.clock)
        self._handles.append(ledger)
        return ledger

    def close(self) -> None:
        """Close the handles, once the totals kept of each run are what its rows say."""
        ledger = self.open()
        drift = {run.run_id: ledger.find_drift(run.run_id) for run in ledger.runs()}
        self._close()
        assert not any(drift.values()), drift

    def _close(self) -> None:
        for ledger in self._handles:
            ledger.close()
        self._give_back()


@pytest.fixture(params=["sqlite", *SOME_DATABASES])
def store_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_store(
    store_kind: str,
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[str], str],
    give_back: Callable[[str], None],
) -> Callable[[], Store]:
    """A maker of stores, for tests that need a fresh one for each example."""
    if store_kind == "sqlite":

        def make() -> Store:
            file = tmp_path_factory.mktemp("store") / "state" / "ledger.sqlite"
            return Store(lambda clock: SqliteLedger.open(file, clock=clock))

    else:

        def make_in_database() -> Store:
            url = read_database_url(new_database(store_kind))
            return Store(lambda clock: PostgresLedger.open(url, clock=clock), lambda: give_back(str(url)))

        return make_in_database

    return make


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Iterator[Store]:
    store = new_store()
    yield store
    store.close()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    """One handle on a ledger that holds RUN."""
    ledger = store.open()
    ledger.create_run(RUN)
    return ledger
