"""What was erased is gone from a file of the state, also from its log; if another process keeps it there, that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from sender.core.errors import StateError
from sender.state.sqlite.ledger import SqliteLedger
from tests.state.ledger.steps import RUN
from tests.state.test_suppression_store import ADA
from tests.state.test_unusable_files import STORES

# The ledger has its own ways to erase: what it must not keep is tested with `forget`.
LEDGER = (lambda ledger: ledger.create_run(RUN), {"erase": lambda ledger: None})


@pytest.mark.parametrize("kind", [*STORES, SqliteLedger], ids=lambda kind: kind.__name__)
def test_a_reader_keeps_what_was_erased_in_the_log(tmp_path: Path, kind: type[Any]) -> None:
    fill, calls = STORES.get(kind, LEDGER)
    file = tmp_path / "store.sqlite3"
    store = kind.open(file)
    fill(store)
    reader = apsw.Connection(str(file))
    with reader:
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        calls["erase"](store)
        store._db.set_busy_timeout(50)
        with pytest.raises(StateError, match="may still be in the file's log: another process is reading it") as told:
            store.compact()
        assert told.value.where == str(file)
    store.compact()
    assert file.with_name("store.sqlite3-wal").stat().st_size == 0
    if kind is not SqliteLedger:
        assert [part.name for part in tmp_path.iterdir() if ADA.encode() in part.read_bytes()] == []
    reader.close()
    store.close()
