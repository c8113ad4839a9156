"""Every ledger the conformance suite runs over. A new one adds a factory to `STORES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sender.state.ledger import Ledger
from sender.state.sqlite.ledger import SqliteLedger
from tests.state.ledger.steps import RUN

NOON_MS = 1_767_268_800_000  # 2026-01-01T12:00Z


class FakeClock:
    def __init__(self) -> None:
        self.ms = NOON_MS

    def __call__(self) -> int:
        return self.ms


# From a directory and a clock to one more handle on the store in that directory.
STORES: dict[str, Callable[[Path, Callable[[], int]], Ledger]] = {
    "sqlite": lambda directory, clock: SqliteLedger.open(directory / "state" / "ledger.sqlite", clock=clock),
}


class Store:
    """One ledger and as many handles on it as a test asks for."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.clock = FakeClock()
        self._directory = directory
        self._open = STORES[kind]
        self._handles: list[Ledger] = []

    def open(self) -> Ledger:
        ledger = self._open(self._directory, self.clock)
        self._handles.append(ledger)
        return ledger

    def close(self) -> None:
        for ledger in self._handles:
            ledger.close()


@pytest.fixture(params=STORES)
def store_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path, store_kind: str) -> Iterator[Store]:
    store = Store(tmp_path, store_kind)
    yield store
    store.close()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    """One handle on a ledger that holds RUN."""
    ledger = store.open()
    ledger.create_run(RUN)
    return ledger


@pytest.fixture
def new_store(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Callable[[], Store]:
    """A maker of stores, for tests that need a fresh one for each example."""
    return lambda: Store(tmp_path_factory.mktemp("store"), store_kind)
