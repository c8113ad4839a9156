"""What every store of replies does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from sender.core.errors import InputError, StateError
from sender.state import replies as protocol
from sender.state.database_url import read_database_url
from sender.state.postgres import replies as postgres_replies
from sender.state.postgres.replies import ReplyTable
from sender.state.replies import EmptyReplies, ReplyRow, ReplyStore, WaitingReply
from sender.state.sqlite import replies as sqlite_replies
from sender.state.sqlite.replies import ReplyFile
from tests.state.conftest import DATABASES, SOME_DATABASES

ADA, BOB, OURS = "+12025550101", "+12025550102", "+12025550150"
Open = Callable[[], ReplyStore]


@pytest.fixture(params=["sqlite", *SOME_DATABASES])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one more handle."""
    kind = request.param
    url = None if kind == "sqlite" else read_database_url(request.getfixturevalue("new_database")(kind))
    handles: list[ReplyStore] = []

    def one_more() -> ReplyStore:
        handles.append(ReplyFile.open(tmp_path / "replies.sqlite3") if url is None else ReplyTable(url))
        return handles[-1]

    yield one_more
    for handle in handles:
        handle.close()


@pytest.fixture
def store(opened: Open) -> ReplyStore:
    return opened()


def reply(message_id: str = "SM1", number: str | None = ADA, text: str | None = "Yes", at: int = 100, dialect: str = "twilio", meaning: str | None = None) -> ReplyRow:  # fmt: skip
    return ReplyRow(
        dialect, message_id, number, OURS, text, ("https://example.com/a.jpg",), meaning, 90, at, simulated=False
    )


def texts(store: ReplyStore, **options: object) -> list[str | None]:
    return [stored.reply.text for stored in store.kept(**options)]  # type: ignore[arg-type]


def test_a_kept_reply_comes_back_whole(store: ReplyStore) -> None:
    row = reply(text='=cmd()\x1b[2J\n"🎉"\0', meaning="review")
    assert store.add(row, keep=True, forward=False)
    assert [(stored.reply, stored.forwarded) for stored in store.kept()] == [(row, None)]


def test_one_of_a_simulation_says_so(store: ReplyStore) -> None:
    store.add(reply()._replace(simulated=True), keep=True, forward=False)
    assert [stored.reply.simulated for stored in store.kept()] == [True]
    assert isinstance(store.kept()[0].reply.simulated, bool)


def test_the_same_message_is_one_reply(opened: Open) -> None:
    first, second = opened(), opened()
    assert first.add(reply(), keep=True, forward=True)
    assert not second.add(reply(text="again", at=200), keep=True, forward=True)
    assert second.add(reply(dialect="telnyx", text="another provider's"), keep=True, forward=False)
    assert texts(first) == ["Yes", "another provider's"]
    assert first.forward_counts() == {"waiting": 1}


def test_of_two_that_store_it_at_once_one_is_new(opened: Open) -> None:
    new: list[bool] = []
    handles = [opened(), opened()]
    threads = [threading.Thread(target=lambda one=one: new.extend(one.add(reply(f"SM{n}"), keep=True, forward=True) for n in range(40))) for one in handles]  # type: ignore[misc]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (new.count(True), new.count(False)) == (40, 40)


def test_replies_by_number_and_time(store: ReplyStore) -> None:
    for n, (number, at) in enumerate([(ADA, 300), (BOB, 100), (ADA, 200)]):
        store.add(reply(f"SM{n}", number, f"text {n}", at), keep=True, forward=False)
    assert texts(store) == ["text 1", "text 2", "text 0"]
    assert texts(store, number=ADA) == ["text 2", "text 0"]
    assert texts(store, since_ms=200) == ["text 2", "text 0"]
    assert texts(store, number=BOB, since_ms=200) == []


# -- the outbox --------------------------------------------------------------------------------------------------------


def claim(store: ReplyStore, now: int = 1000, lease: int = 60) -> WaitingReply | None:
    return store.claim_waiting(now, lease_ms=lease)


def test_a_claimed_reply_is_nobody_elses_until_the_lease_is_over(opened: Open) -> None:
    first, second = opened(), opened()
    first.add(reply(), keep=False, forward=True)
    claimed = claim(first)
    assert claimed is not None
    assert (claimed.reply, claimed.tries) == (reply(), 1)
    assert claim(second, 1059) is None
    taken_over = claim(second, 1060)
    assert taken_over is not None, "its process died"
    assert (taken_over.key, taken_over.tries) == (claimed.key, 2)


def test_what_failed_waits_for_its_time(store: ReplyStore) -> None:
    store.add(reply("SM1"), keep=True, forward=True)
    store.add(reply("SM2"), keep=True, forward=True)
    first = claim(store)
    assert first is not None
    store.settle(first.key, retry_at_ms=5000)
    second = claim(store)
    assert second is not None
    assert second.reply.message_id == "SM2"
    store.settle(second.key)
    assert claim(store, 4999) is None
    assert claim(store, 5000) is not None
    assert store.forward_counts() == {"waiting": 1, "done": 1}


@pytest.mark.parametrize(("failed", "state"), [(False, "done"), (True, "failed")])
@pytest.mark.parametrize("keep", [True, False])
def test_what_was_not_to_be_kept_is_blank_at_the_end(store: ReplyStore, failed: bool, state: str, keep: bool) -> None:
    store.add(reply(text="secret words"), keep=keep, forward=True)
    claimed = claim(store)
    assert claimed is not None
    store.settle(claimed.key, failed=failed)
    assert store.forward_counts() == {state: 1}
    assert [(stored.reply.text, stored.forwarded) for stored in store.kept()] == (
        [("secret words", state)] if keep else []
    )
    assert not store.add(reply(text="secret words"), keep=keep, forward=True), "the same webhook once more"
    assert claim(store) is None


def test_a_settled_reply_is_not_settled_again(store: ReplyStore) -> None:
    """By a process whose lease was over, and that comes back late."""
    store.add(reply(), keep=True, forward=True)
    claimed = claim(store)
    assert claimed is not None
    store.settle(claimed.key)
    store.settle(claimed.key, retry_at_ms=5000)
    assert store.forward_counts() == {"done": 1}


@pytest.mark.parametrize("keep", [True, False])
def test_a_full_outbox_takes_no_more(store: ReplyStore, monkeypatch: pytest.MonkeyPatch, keep: bool) -> None:
    for module in (sqlite_replies, postgres_replies):
        monkeypatch.setattr(module, "MOST_WAITING", 3)
    for n in range(5):
        assert store.add(reply(f"SM{n}"), keep=keep, forward=True)
    assert store.forward_counts() == {"waiting": 3, "failed": 2}
    assert len(store.kept()) == (5 if keep else 0)


@pytest.mark.parametrize("kind", DATABASES)
def test_over_a_connection_that_broke_the_next_question_is_answered(
    kind: str, new_database: Callable[[str], str]
) -> None:
    """Nobody waits for it: who forwards may have to stop."""
    url = new_database(kind)
    with closing(ReplyTable(read_database_url(url))) as store, psycopg.connect(url, autocommit=True) as db:
        store.add(reply(), keep=False, forward=True)
        db.execute("SELECT pg_terminate_backend(%s)", (store._db._db.info.backend_pid,))
        begun = time.monotonic()
        with pytest.raises(StateError, match="cannot be reached"):
            claim(store)
        assert claim(store) is not None
        assert time.monotonic() - begun < 10


# -- erasing -----------------------------------------------------------------------------------------------------------


def test_an_erased_persons_replies_are_blank_and_stay_known(store: ReplyStore, tmp_path: Path) -> None:
    store.add(reply("SM1", text="my name is Ada"), keep=True, forward=True)
    store.add(reply("SM2", text="my name is Ada, too"), keep=False, forward=True)
    store.add(reply("SM3", BOB, "kept"), keep=True, forward=False)
    assert store.erase(ADA) == 2
    store.compact()
    assert not any(b"my name is" in file.read_bytes() for file in tmp_path.iterdir())
    assert claim(store) is None
    assert [(stored.reply.number, stored.reply.text) for stored in store.kept()] == [(None, None), (BOB, "kept")]
    assert not store.add(reply("SM1", text="my name is Ada"), keep=True, forward=True)
    assert store.erase(ADA) == 0


def test_old_replies_are_removed(store: ReplyStore) -> None:
    for n, (keep, at) in enumerate([(True, 100), (False, 100), (True, 200)]):
        store.add(reply(f"SM{n}", at=at), keep=keep, forward=not keep)
    assert store.prune(200, dry_run=True) == 1
    assert len(store.kept()) == 2
    assert store.prune(200) == 1
    assert [stored.reply.heard_at for stored in store.kept()] == [200]
    assert store.forward_counts() == {}


def test_ids_of_what_is_blank_are_forgotten_in_time(store: ReplyStore) -> None:
    store.add(reply("SM1"), keep=False, forward=True)
    store.add(reply("SM2"), keep=False, forward=True)
    claimed = claim(store)
    assert claimed is not None
    store.settle(claimed.key)
    store.drop_blank(101)
    assert store.forward_counts() == {"waiting": 1}
    assert store.add(reply("SM1"), keep=True, forward=False)


def test_a_state_without_replies_has_an_empty_store() -> None:
    empty = EmptyReplies()
    assert (empty.kept(), empty.claim_waiting(0, lease_ms=1), empty.forward_counts()) == ([], None, {})
    assert (empty.erase(ADA), empty.prune(1)) == (0, 0)
    empty.settle(1)
    empty.drop_blank(1)
    empty.compact()
    empty.close()
    with pytest.raises(InputError):
        empty.add(reply(), keep=True, forward=False)


# -- the SQLite file ---------------------------------------------------------------------------------------------------


def test_a_file_of_another_version_or_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite3"
    ReplyFile.open(path).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", 2)
    db.close()
    for opens in (ReplyFile.open, ReplyFile.open_to_read):
        with pytest.raises(StateError, match="not a file of replies, or a newer campaign-sender wrote it"):
            opens(path)
    path.write_bytes(b"x" * 4096)
    with pytest.raises(StateError, match="the file of replies cannot be used"):
        ReplyFile.open(path)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    ReplyFile.open(tmp_path / "replies.sqlite3").close()
    assert (tmp_path / "replies.sqlite3").stat().st_mode & 0o077 == 0


def test_the_bound_is_the_protocols() -> None:
    assert sqlite_replies.MOST_WAITING == postgres_replies.MOST_WAITING == protocol.MOST_WAITING == 100_000


def test_a_lease_is_by_a_clock_that_all_share(opened: Open) -> None:
    """By the database's, where machines may disagree."""
    before = time.time() * 1000
    assert before - 1 <= opened().now_ms() <= time.time() * 1000 + 1


def test_two_that_ask_at_once_get_different_replies(opened: Open) -> None:
    handles = [opened(), opened(), opened()]
    for n in range(30):
        handles[0].add(reply(f"SM{n}"), keep=True, forward=True)
    got: list[int] = []

    def take(store: ReplyStore) -> None:
        while len(got) < 30:
            if (waiting := claim(store)) is not None:
                got.append(waiting.key)

    threads = [threading.Thread(target=take, args=(one,)) for one in handles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert (len(got), len(set(got))) == (30, 30)
