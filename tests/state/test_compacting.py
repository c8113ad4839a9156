"""What was erased is gone from a file of the state, also from its log; if another process keeps it there, that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from sender.core.errors import StateError
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.sqlite.number_facts import NumberFactsFile
from sender.state.sqlite.replies import ReplyFile
from sender.state.sqlite.suppression import SuppressionFile
from tests.state.ledger.steps import RUN
from tests.state.test_number_store import fact
from tests.state.test_reply_store import reply
from tests.state.test_suppression_store import ADA, entry

STORES: dict[type[Any], tuple[str, Callable[[Any], object], Callable[[Any], object]]] = {
    SuppressionFile: ("entry", lambda store: store.add([entry()]), lambda store: store.erase(ADA)),
    ReplyFile: (
        "reply",
        lambda store: store.add(reply(), keep=True, forward=False),
        lambda store: store.erase(ADA),
    ),
    NumberFactsFile: ("fact", lambda store: store.put([fact()]), lambda store: store.erase([ADA])),
    SqliteLedger: ("run", lambda store: store.create_run(RUN), lambda store: None),
}


@pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.__name__)
def test_a_reader_keeps_what_was_erased_in_the_log(tmp_path: Path, kind: type[Any]) -> None:
    table, fill, erase = STORES[kind]
    file = tmp_path / "store.sqlite3"
    store = kind.open(file)
    fill(store)
    reader = apsw.Connection(str(file))
    with reader:
        reader.execute(f"SELECT count(*) FROM {table}").fetchall()
        erase(store)
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
