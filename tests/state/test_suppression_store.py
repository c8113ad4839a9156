"""What every store of suppression entries does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from sender.core.errors import InputError, StateError
from sender.state.database_url import read_database_url
from sender.state.postgres import suppression as postgres_suppression
from sender.state.postgres.suppression import SuppressionTable
from sender.state.sqlite import suppression as sqlite_suppression
from sender.state.sqlite.suppression import SuppressionFile
from sender.state.suppression import EmptySuppressions, LiftRow, SuppressionRow, SuppressionStore
from tests.state.conftest import SOME_DATABASES

ADA, BOB, EVE = "+12025550101", "+12025550102", "+12025550103"
OURS, OTHER = "+12025550150", "+12025550151"
Open = Callable[[], SuppressionStore]


@pytest.fixture(params=["sqlite", *SOME_DATABASES])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one more handle."""
    handles: list[SuppressionStore] = []
    kind = request.param
    url = None if kind == "sqlite" else read_database_url(request.getfixturevalue("new_database")(kind))

    def one_more() -> SuppressionStore:
        handles.append(SuppressionFile.open(tmp_path / "suppression.sqlite3") if url is None else SuppressionTable(url))
        return handles[-1]

    yield one_more
    for handle in handles:
        handle.close()


@pytest.fixture
def store(opened: Open) -> SuppressionStore:
    return opened()


def entry(number: str = ADA, *, source: str = "reply", reason: str = "opted_out", scope: str = "all", via: str = OURS, at: int = 100) -> SuppressionRow:  # fmt: skip
    return SuppressionRow(number, scope, reason, source, via, at, "note")


def lift(number: str = ADA, *, by: str = "start", scope: str = "", via: str = OURS, at: int = 101) -> LiftRow:
    return LiftRow(number, by, scope, via, at)


def active(store: SuppressionStore) -> set[str]:
    listed = {row[0] for row in store.active()}
    assert listed == {row[0] for row in store.look_up([ADA, BOB, EVE])}
    assert listed == {row.number for number in (ADA, BOB, EVE) for row, counts in store.history(number) if counts}
    return listed


@pytest.mark.parametrize(("at", "still"), [(99, True), (100, True), (101, False)])
def test_at_the_same_millisecond_the_entry_wins(store: SuppressionStore, at: int, still: bool) -> None:
    store.add([entry(at=100)])
    store.lift([lift(at=at)])
    assert (ADA in active(store)) is still


@pytest.mark.parametrize(
    ("row", "lifted"),
    [
        pytest.param(entry(), True, id="a STOP to this number"),
        pytest.param(entry(via=OTHER), False, id="a STOP to another number"),
        pytest.param(entry(via=""), True, id="a STOP to a number that is not known"),
        pytest.param(entry(source="provider_error"), True, id="the provider's error"),
        pytest.param(entry(source="provider_list"), True, id="the provider's list"),
        pytest.param(entry(source="provider_error", reason="landline"), False, id="an error of another kind"),
        pytest.param(entry(source="person"), False, id="a person's entry"),
        pytest.param(entry(source="file"), False, id="a file's entry"),
    ],
)
def test_what_a_start_takes_back(store: SuppressionStore, row: SuppressionRow, lifted: bool) -> None:
    store.add([row])
    store.lift([lift()])
    assert (ADA not in active(store)) is lifted


@pytest.mark.parametrize(("scope", "lifted"), [("", True), ("campaign:a", True), ("campaign:b", False), ("all", False)])
@pytest.mark.parametrize("source", ["person", "file", "reply", "provider_error", "provider_list"])
def test_a_person_takes_back_anything_in_one_scope_or_in_all(
    store: SuppressionStore, source: str, scope: str, lifted: bool
) -> None:
    store.add([entry(source=source, scope="campaign:a")])
    store.lift([lift(by="person", via="", scope=scope)])
    assert (ADA not in active(store)) is lifted


def test_a_lift_is_of_one_number(store: SuppressionStore) -> None:
    store.add([entry(ADA), entry(BOB)])
    store.lift([lift(BOB)])
    assert active(store) == {ADA}


@pytest.mark.parametrize("source", ["reply", "provider_error", "provider_list"])
def test_what_is_learned_again_keeps_the_latest_time(store: SuppressionStore, source: str) -> None:
    assert store.add([entry(source=source, at=100)]) == 1
    assert [store.add([entry(source=source, at=at)]) for at in (99, 100, 101)] == [0, 0, 1]
    assert [row.at for row, _ in store.history(ADA)] == [101]


@pytest.mark.parametrize("source", ["person", "file"])
def test_what_people_say_again_keeps_the_first_time_unless_it_was_lifted(store: SuppressionStore, source: str) -> None:
    store.add([entry(source=source, at=100)])
    assert store.add([entry(source=source, at=200)]) == 0
    store.lift([lift(by="person", via="", at=300)])
    assert store.add([entry(source=source, at=100)]) == 0, "no later than it was"
    assert store.add([entry(source=source, at=299)]) == 1
    assert [(row.at, counts) for row, counts in store.history(ADA)] == [(299, False)], "before the lift"
    assert store.add([entry(source=source, at=300)]) == 1
    assert active(store) == {ADA}


def test_a_lift_keeps_the_latest_time(store: SuppressionStore) -> None:
    store.add([entry(at=100)])
    assert [store.lift([lift(at=at)]) for at in (50, 50, 40, 101, 60)] == [1, 0, 0, 1, 0]
    assert active(store) == set()


def test_an_entry_comes_back_as_it_was(store: SuppressionStore) -> None:
    rows = [entry(), entry(BOB)._replace(note=None), entry(EVE, source="file", scope="campaign:a", via="old.csv")]
    store.add(rows)
    assert sorted(SuppressionRow(*row) for row in store.active()) == sorted(rows)
    assert sorted(SuppressionRow(*row) for row in store.look_up([ADA, BOB, EVE])) == sorted(rows)
    assert [store.history(row.number) for row in rows] == [[(row, True)] for row in rows]
    store.lift([lift()])
    assert store.history(ADA) == [(rows[0], False)]


def test_history_is_in_order_of_time(store: SuppressionStore) -> None:
    store.add([entry(source="file", at=300), entry(at=100), entry(source="person", at=200)])
    assert [row.at for row, _ in store.history(ADA)] == [100, 200, 300]
    assert [row.source for row, _ in store.history(BOB)] == []


@pytest.mark.parametrize(
    ("taken_back", "row", "at"),
    [
        pytest.param(lift(by="person", via="", at=500), entry(at=100), 501, id="by a person"),
        pytest.param(lift(at=500), entry(at=100), 501, id="by a START"),
        pytest.param(lift(at=50), entry(at=100), 100, id="before"),
        pytest.param(lift(at=500), entry(at=100, via=OTHER), 100, id="to another number"),
        pytest.param(lift(at=500), entry(at=100, source="person"), 100, id="not a person's word"),
        pytest.param(lift(by="person", scope="campaign:a", at=500), entry(at=100), 100, id="in another scope"),
        pytest.param(lift(BOB, by="person", via="", at=500), entry(at=100), 100, id="of another number"),
    ],
)
def test_what_is_said_now_is_later_than_what_took_it_back(
    store: SuppressionStore, taken_back: LiftRow, row: SuppressionRow, at: int
) -> None:
    store.lift([taken_back])
    assert store.add([row], said_now=True) == 1
    assert store.history(ADA) == [(row._replace(at=at), True)]
    store.lift([lift(by="person", via="", at=at + 1)])
    assert store.add([row]) == 0, "as it was said"
    assert active(store) == set()
    assert store.add([row], said_now=True) == 1
    assert active(store) == {ADA}


def test_a_message_that_is_heard_first_is_later_than_what_was_taken_back_before(store: SuppressionStore) -> None:
    store.lift([lift(at=500), lift(by="person", via="", at=400), lift(BOB, at=900)])
    assert [store.first_heard(ADA, name, 100) for name in ("a", "b")] == [501, 501]
    store.lift([lift(at=1000)])
    assert [store.first_heard(ADA, "a", at) for at in (200, 2000)] == [501, 501], "it was heard before"
    assert [store.first_heard(ADA, "c", at) for at in (2000, 100)] == [2000, 2000]
    assert store.first_heard(EVE, "a", 100) == 100


def test_who_is_erased_is_in_no_row_and_their_old_messages_are_known(store: SuppressionStore) -> None:
    """A START of theirs that a provider delivers once more lifts no STOP that was heard after it."""
    store.add([entry(at=100)])
    assert store.first_heard(ADA, "a", 100) == 100
    store.lift([lift(at=200)])
    assert store.first_heard(ADA, "b", 200) == 201
    store.erase(ADA)
    assert [store.first_heard(ADA, name, 900) for name in ("a", "b", "c")] == [100, 201, 900]
    store.erase(ADA)
    assert [store.first_heard(ADA, name, 999) for name in ("a", "b", "c")] == [100, 201, 900]
    assert store.first_heard(BOB, "a", 7) == 7


# -- changes -----------------------------------------------------------------------------------------------------------


def test_a_change_is_a_transaction_that_changed_something(store: SuppressionStore) -> None:
    changes = [store.change()]
    for call in (
        lambda: store.add([entry(ADA), entry(BOB)]),
        lambda: store.add([entry(ADA)]),  # nothing new
        lambda: store.lift([lift()]),
        lambda: store.lift([]),
        lambda: store.add([entry(EVE)]),
    ):
        call()
        changes.append(store.change())
    assert changes == [0, 1, 1, 2, 2, 3]
    assert store.size() == 3


def test_what_changed_since(store: SuppressionStore) -> None:
    store.add([entry(BOB)])
    store.add([entry(ADA)])
    store.lift([lift(BOB)])
    everything = [sorted(store.changed_since(change, 9) or []) for change in range(4)]
    assert everything == [[ADA, BOB], [ADA, BOB], [BOB], []]


@pytest.mark.parametrize(("most", "listed"), [(1, None), (2, [ADA, BOB]), (3, [ADA, BOB])])
def test_too_many_changes_are_not_listed(store: SuppressionStore, most: int, listed: list[str] | None) -> None:
    store.add([entry(ADA), entry(BOB), entry(BOB, source="person")])
    numbers = store.changed_since(0, most)
    assert (None if numbers is None else sorted(numbers)) == listed


def test_a_version_differs_after_each_change_by_whomever(opened: Open) -> None:
    """Within a second, where a change is another's."""
    ours, theirs = opened(), opened()
    versions = [ours.version()]
    for store, number in ((ours, ADA), (theirs, BOB), (ours, EVE)):
        store.add([entry(number)])
        versions.append(version_after(ours, versions))
    assert len(set(versions)) == 4
    ours.add([entry(EVE)])  # nothing new
    assert ours.version() == versions[-1]
    theirs.lift([lift(EVE)])
    assert version_after(ours, versions) not in versions
    assert ours.is_current()


def version_after(store: SuppressionStore, before: list[int]) -> int:
    """The version that is not among those `before`, or after a second the last one."""
    give_up = time.monotonic() + 1.0
    while (version := store.version()) in before and time.monotonic() < give_up:
        time.sleep(0.02)
    return version


def test_each_list_has_a_name_for_ever(opened: Open, tmp_path: Path) -> None:
    assert opened().list_id == opened().list_id
    other = SuppressionFile.open(tmp_path / "other" / "suppression.sqlite3")
    assert other.list_id != opened().list_id
    other.close()


@pytest.mark.parametrize("at_once", [1, 2, 3, 4])
def test_numbers_are_looked_up_some_at_a_time(
    store: SuppressionStore, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sqlite_suppression, postgres_suppression):
        monkeypatch.setattr(module, "_LOOKED_UP", at_once)
    store.add([entry(ADA), entry(BOB), entry(EVE)])
    assert [row[0] for row in store.look_up([ADA, BOB, EVE])] == [ADA, BOB, EVE]
    assert list(store.look_up([])) == []
    assert list(store.look_up([OURS])) == []


def test_a_batch_that_fails_changes_nothing(store: SuppressionStore) -> None:
    def rows() -> Iterator[SuppressionRow]:
        yield entry(ADA)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.add(rows())
    assert (store.size(), store.change()) == (0, 0)
    assert store.add([entry(ADA)]) == 1


# -- replies that are held for a person --------------------------------------------------------------------------------


def held(number: str = ADA, *, via: str = OURS, at: int = 100, scope: str = "all", note: str = "leave me alone") -> SuppressionRow:  # fmt: skip
    return SuppressionRow(number, scope, "under_review", "reply", via, at, note)


@pytest.mark.parametrize(
    ("by", "via", "at", "still"),
    [
        ("review", OURS, 101, False),
        ("review", OURS, 100, True),
        ("review", OTHER, 101, True),
        ("start", OURS, 101, False),
        ("start", OURS, 100, True),
        ("start", OTHER, 101, True),
        ("person", "", 101, False),
    ],
)
def test_what_ends_a_review(store: SuppressionStore, by: str, via: str, at: int, still: bool) -> None:
    store.add([held(), held(BOB)])
    store.lift([lift(by=by, via=via, at=at)])
    assert [row.number for row in store.in_review()] == ([ADA, BOB] if still else [BOB])
    assert active(store) == ({ADA, BOB} if still else {BOB})


@pytest.mark.parametrize("source", ["reply", "provider_error", "provider_list", "person", "file"])
@pytest.mark.parametrize("reason", ["opted_out", "suppressed"])
def test_a_review_takes_back_nothing_else(store: SuppressionStore, source: str, reason: str) -> None:
    store.add([entry(source=source, reason=reason)])
    store.lift([lift(by="review")])
    assert active(store) == {ADA}


def test_reviews_are_listed_oldest_first(store: SuppressionStore) -> None:
    store.add([held(BOB, at=3), held(ADA, at=2), held(EVE, at=1, scope="sandbox"), entry(EVE)])
    assert [(row.number, row.at, row.note) for row in store.in_review()] == [
        (EVE, 1, "leave me alone"),
        (ADA, 2, "leave me alone"),
        (BOB, 3, "leave me alone"),
    ]


def test_only_the_words_of_decided_reviews_are_cut(store: SuppressionStore) -> None:
    store.add([held(ADA), held(ADA, via=OTHER), held(BOB), entry(ADA)])
    store.lift([lift(by="review")])
    assert store.shorten_notes(ADA, 5) == 1
    assert store.shorten_notes(ADA, 5) == 0
    assert sorted((row.via, row.reason, row.note) for row, _ in store.history(ADA)) == [
        (OURS, "opted_out", "note"),
        (OURS, "under_review", "leave"),
        (OTHER, "under_review", "leave me alone"),
    ]


# -- the SQLite file ---------------------------------------------------------------------------------------------------


def test_a_file_of_another_version_or_program_is_refused(tmp_path: Path) -> None:
    """Files of version 1 exist, and are brought up to date."""
    path = tmp_path / "suppression.sqlite3"
    SuppressionFile.open(path).close()
    db = apsw.Connection(str(path))
    assert db.pragma("user_version") == 3
    assert db.pragma("application_id") == int.from_bytes(b"cmpo")
    for pragma, value, as_it_was in (("user_version", 4, 3), ("application_id", 1, int.from_bytes(b"cmpo"))):
        db.pragma(pragma, value)
        for opened in (SuppressionFile.open, SuppressionFile.open_to_read):
            with pytest.raises(StateError, match="not a suppression list, or a newer campaign-sender wrote it") as told:
                opened(path)
            assert told.value.where == str(path)
        db.pragma(pragma, as_it_was)
    db.execute("DROP TABLE heard; DROP INDEX entry_review")
    db.pragma("user_version", 1)
    db.close()
    file = SuppressionFile.open(path)
    assert [file.first_heard(ADA, "a", at) for at in (5, 3, 7)] == [5, 5, 5]
    assert [file.first_heard(*key, 9) for key in ((ADA, "b"), ("+12025550102", "a"))] == [9, 9]
    file.close()


def test_what_is_not_a_database_is_called_no_suppression_list(tmp_path: Path) -> None:
    path = tmp_path / "suppression.sqlite3"
    path.write_bytes(b"x" * 4096)
    with pytest.raises(StateError, match="the suppression list cannot be used: it is not a suppression list") as caught:
        SuppressionFile.open(path)
    assert caught.value.where == str(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StateError, match="the suppression list cannot be opened"):
        SuppressionFile.open(tmp_path / "folder")


# -- a state without a list --------------------------------------------------------------------------------------------


def test_an_empty_list_knows_nobody() -> None:
    empty = EmptySuppressions()
    assert (empty.list_id, empty.is_current(), empty.change(), empty.size()) == ("", True, 0, 0)
    assert [*empty.active(), *empty.look_up([ADA]), *empty.look_up_erased([ADA])] == []
    assert (empty.in_review(), empty.history(ADA), empty.name_of(ADA)) == ([], [], None)
    assert (empty.has_erased(), empty.shorten_notes(ADA, 3), empty.erase(ADA)) == (False, 0, 0)
    empty.compact()
    empty.close()


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda store: store.version(), id="version"),
        pytest.param(lambda store: store.changed_since(0, 1), id="changed_since"),
        pytest.param(lambda store: store.add([entry()]), id="add"),
        pytest.param(lambda store: store.add([entry()], said_now=True), id="add what is said now"),
        pytest.param(lambda store: store.lift([lift()]), id="lift"),
        pytest.param(lambda store: store.first_heard(ADA, "SM1", 1), id="first_heard"),
    ],
)
def test_an_empty_list_cannot_be_written(write: Callable[[SuppressionStore], object]) -> None:
    with pytest.raises(InputError, match="was opened for reading") as told:
        write(EmptySuppressions())
    assert told.value.fix == "open it with create=True"
