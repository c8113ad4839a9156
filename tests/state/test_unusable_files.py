"""A file of the state that cannot be used is named in the error, whatever was asked of it: it is the one to restore."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from sender.core.errors import InputError, StateError
from sender.core.outcomes import SubmissionState
from sender.state.files.people import PeopleKeyFile
from sender.state.files.tick_files import TickFiles
from sender.state.ledger import Run, RunKind
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.sqlite.number_facts import NumberFactsFile
from sender.state.sqlite.replies import ReplyFile
from sender.state.sqlite.suppression import SuppressionFile
from sender.state.ticks import TickRecord
from tests.state.test_number_store import fact
from tests.state.test_reply_store import reply
from tests.state.test_suppression_store import ADA, entry, lift

STORES: dict[type[Any], tuple[Callable[[Any], object], dict[str, Callable[[Any], object]]]] = {
    SuppressionFile: (
        lambda store: store.add([entry()]),
        {
            "changed_since": lambda store: store.changed_since(0, 5),
            "add": lambda store: store.add([entry(at=200)]),
            "lift": lambda store: store.lift([lift()]),
            "first_heard": lambda store: store.first_heard(ADA, "SM1", 1),
            "size": lambda store: store.size(),
            "active": lambda store: [*store.active()],
            "in_review": lambda store: store.in_review(),
            "shorten_notes": lambda store: store.shorten_notes(ADA, 3),
            "look_up": lambda store: [*store.look_up([ADA])],
            "history": lambda store: store.history(ADA),
            "has_erased": lambda store: store.has_erased(),
            "look_up_erased": lambda store: [*store.look_up_erased([ADA])],
            "erase": lambda store: store.erase(ADA),
            "compact": lambda store: store.compact(),
        },
    ),
    ReplyFile: (
        lambda store: store.add(reply("SM1"), keep=True, forward=True),
        {
            "add": lambda store: store.add(reply("SM2"), keep=True, forward=True),
            "kept": lambda store: store.kept(),
            "kept of a number": lambda store: store.kept(number=ADA),
            "claim_waiting": lambda store: store.claim_waiting(0, lease_ms=1),
            "settle": lambda store: store.settle(1),
            "forward_counts": lambda store: store.forward_counts(),
            "erase": lambda store: store.erase(ADA),
            "prune": lambda store: store.prune(1),
            "drop_blank": lambda store: store.drop_blank(1),
            "compact": lambda store: store.compact(),
        },
    ),
    NumberFactsFile: (
        lambda store: store.put([fact()]),
        {
            "put": lambda store: store.put([fact(at=200)]),
            "look_up": lambda store: [*store.look_up([ADA], simulated=False)],
            "everything": lambda store: [*store.everything()],
            "erase": lambda store: store.erase([ADA]),
            "drop_before": lambda store: store.drop_before(1),
            "compact": lambda store: store.compact(),
        },
    ),
}
RUN = Run("run-1", "spring", RunKind.LIVE, "twilio", "hash", None, 1, 1, 0, 0)
SUBJECTS = {
    SuppressionFile: "suppression list",
    ReplyFile: "file of replies",
    NumberFactsFile: "list of what is known of numbers",
}
ALL_OF = {SuppressionFile: "active", ReplyFile: "kept", NumberFactsFile: "everything"}
CALLS = [
    pytest.param(kind, call, id=f"{kind.__name__}-{call}") for kind, (_, calls) in STORES.items() for call in calls
]


@pytest.mark.parametrize(("kind", "call"), CALLS)
def test_one_that_is_damaged_while_it_is_open(tmp_path: Path, kind: type[Any], call: str) -> None:
    fill, calls = STORES[kind]
    file = tmp_path / "store.sqlite3"
    store = kind.open(file)
    fill(store)
    store.close()
    store = kind.open(file)
    content = bytearray(file.read_bytes())
    content[27] ^= 0xFF  # the counter of changes: what this process has read is out of date
    content[100:] = b"\xff" * (len(content) - 100)
    file.write_bytes(content)
    with pytest.raises(StateError, match="cannot be used: it is damaged") as told:
        calls[call](store)
    assert told.value.where == str(file)
    store.close()


@pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("opened", ["open", "open_to_read"])
@pytest.mark.parametrize(
    "content", [b"x" * 4096, b"SQLite format 3\x00" + b"\xff" * 4080], ids=["a text", "half a file"]
)
def test_one_that_is_another_file(tmp_path: Path, kind: type[Any], opened: str, content: bytes) -> None:
    file = tmp_path / "store.sqlite3"
    file.write_bytes(content)
    with pytest.raises(StateError, match=f"the {SUBJECTS[kind]} cannot be used") as told:
        getattr(kind, opened)(file)
    assert told.value.where == str(file)


READERS: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], Any]]] = {
    **{kind.__name__: (SUBJECTS[kind], kind.open, kind.open_to_read) for kind in STORES},
    "SqliteLedger": ("ledger", SqliteLedger.open, lambda file: SqliteLedger.open(file, read_only=True)),
}


@pytest.fixture
def no_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder that this user may not write: SQLite reads a file with a log only as one that nobody changes."""
    connect = apsw.Connection

    def connect_there(name: str, **options: Any) -> apsw.Connection:
        if "mode=ro" in name and "immutable=1" not in name:
            raise apsw.CantOpenError("unable to open database file")
        return connect(name, **options)

    monkeypatch.setattr(apsw, "Connection", connect_there)


@pytest.mark.usefixtures("no_shared_memory")
class TestOneInAFolderThatMayOnlyBeRead:
    @pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.__name__)
    def test_what_was_closed_is_read_as_it_is(self, tmp_path: Path, kind: type[Any]) -> None:
        fill, _ = STORES[kind]
        file = tmp_path / "a store?.sqlite3"
        with closing(kind.open(file)) as store:
            fill(store)
        content = file.read_bytes()
        with closing(kind.open_to_read(file)) as store:
            assert len([*getattr(store, ALL_OF[kind])()]) == 1
            with pytest.raises(StateError, match="it cannot be written"):
                fill(store)
        assert file.read_bytes() == content

    def test_a_ledger_that_was_closed_is_read_as_it_is(self, tmp_path: Path) -> None:
        file = tmp_path / "ledger.sqlite3"
        with closing(SqliteLedger.open(file)) as ledger:
            ledger.create_run(RUN)
        with closing(SqliteLedger.open(file, read_only=True)) as ledger:
            assert ledger.runs() == [RUN]

    @pytest.mark.parametrize("name", READERS)
    def test_another_program_s_is_refused(self, tmp_path: Path, name: str) -> None:
        _, _, opens = READERS[name]
        file = tmp_path / "store.sqlite3"
        db = apsw.Connection(str(file))
        db.execute("CREATE TABLE theirs (x)")
        db.close()
        with pytest.raises(StateError, match=r"this (database )?is not a") as told:
            opens(file)
        assert told.value.where == str(file)

    @pytest.mark.parametrize("name", READERS)
    def test_one_whose_log_has_more_is_not_read_without_it(self, tmp_path: Path, name: str) -> None:
        """What a process wrote that was killed then; an empty log has nothing."""
        subject, opens_to_write, opens = READERS[name]
        file = tmp_path / "store.sqlite3"
        opens_to_write(file).close()
        log = file.with_name("store.sqlite3-wal")
        log.touch()
        opens(file).close()
        log.write_bytes(b"what a crash left")
        with pytest.raises(StateError, match=f"the {subject} cannot be used: it cannot be opened") as told:
            opens(file)
        assert told.value.where == str(file)

    @pytest.mark.parametrize("name", READERS)
    def test_one_that_is_not_there_is_not_made(self, tmp_path: Path, name: str) -> None:
        subject, _, opens = READERS[name]
        with pytest.raises(StateError, match=f"the {subject} cannot be used: it cannot be opened"):
            opens(tmp_path / "store.sqlite3")
        assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name"),
        ('{"campaign": "spring"}', "required positional arguments"),
        ("[1]", "must be a mapping"),
        (None, "Is a directory"),
    ],
)
def test_the_record_of_a_schedule(tmp_path: Path, content: str | None, why: str) -> None:
    ticks = TickFiles(tmp_path)
    ticks.write(TickRecord("spring", "0 9 * * * UTC", 7))
    (file,) = (tmp_path / "schedule").glob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    if content is None:
        file.unlink()
        file.mkdir()
    else:
        file.write_text(content)
    with pytest.raises(StateError, match=f"the record of the schedule of spring cannot be read: .*{why}") as told:
        ticks.read("spring")
    assert told.value.where == str(file)


def test_a_file_in_the_way_of_the_records_of_schedules(tmp_path: Path) -> None:
    (tmp_path / "schedule").touch()
    ticks = TickFiles(tmp_path)
    with pytest.raises(InputError, match="the state directory cannot be written") as told:
        ticks.write(TickRecord("spring", "0 9 * * * UTC", 7))
    assert told.value.where == str(tmp_path)
    with pytest.raises(InputError, match="the state directory cannot be written") as told, ticks.hold("spring"):
        pass
    assert told.value.where == str(tmp_path)


LEDGER_READS: dict[str, Callable[[SqliteLedger], object]] = {
    "counts": lambda ledger: ledger.counts(RUN.run_id),
    "totals": lambda ledger: ledger.totals(RUN.run_id),
    "pace": lambda ledger: ledger.pace(RUN.run_id),
    "without_segments": lambda ledger: ledger.without_segments(RUN.run_id),
    "find_drift": lambda ledger: ledger.find_drift(RUN.run_id),
    "repeatable": lambda ledger: ledger.repeatable(RUN.run_id, SubmissionState.UNKNOWN, since_ms=0),
    "journal": lambda ledger: ledger.journal(RUN.run_id),
    "reached": lambda ledger: ledger.reached(RUN.run_id),
    "delivering": lambda ledger: ledger.delivering(RUN.run_id),
    "next_due_ms": lambda ledger: ledger.next_due_ms(RUN.run_id),
    "sent": lambda ledger: ledger.sent(RUN.run_id, since_ms=0),
    "typed_numbers": lambda ledger: ledger.typed_numbers(RUN.run_id),
    "outcomes": lambda ledger: ledger.outcomes(RUN.run_id, from_seq=0, below_seq=1),
    "last_receipt": lambda ledger: ledger.last_receipt(RUN.run_id),
    "refusals": lambda ledger: ledger.refusals(RUN.run_id, from_seq=0, below_seq=1),
    "erase_mentions": lambda ledger: ledger.erase_mentions("12025550101"),
}


@pytest.mark.parametrize("call", LEDGER_READS)
def test_a_ledger_that_is_damaged_while_it_is_open(tmp_path: Path, call: str) -> None:
    file = tmp_path / "ledger.sqlite3"
    with closing(SqliteLedger.open(file)) as ledger:
        ledger.create_run(RUN)
    ledger = SqliteLedger.open(file)
    ledger.run(RUN.run_id)  # which run it is, is known then
    content = bytearray(file.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    file.write_bytes(content)
    with pytest.raises(StateError, match="the ledger cannot be used: it is damaged") as told:
        LEDGER_READS[call](ledger)
    assert told.value.where == str(file)


@pytest.mark.parametrize(
    ("content", "why"), [("zz" * 32, "non-hexadecimal number"), ("00", "1 bytes"), (None, "Is a directory")]
)
def test_the_key_of_erased_people(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "people.key"
    if content is None:
        file.mkdir()
    else:
        file.write_text(content)
    with pytest.raises(StateError, match=f"erased people are recognised cannot be read: .*{why}") as told:
        PeopleKeyFile(tmp_path).hash(ADA)
    assert told.value.where == str(file)
