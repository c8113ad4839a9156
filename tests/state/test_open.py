"""One door to a state: `open_state` and `open_suppressions`."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

import sender
from sender.core.errors import InputError, StateError, UnknownRun
from sender.state.ledger import Run, RunKind
from sender.state.new_state import find_new_state
from sender.state.number_facts import LOOKUP, NumberFacts
from sender.state.open import dev_server, open_numbers, open_state, open_suppressions, read_people_key
from sender.state.replies import EmptyReplies
from sender.state.state_dir import LEDGER_FILE, REPLIES_FILE, SUPPRESSIONS_FILE
from sender.state.suppression import SuppressionRow
from tests.state.conftest import SOME_DATABASES
from tests.state.postgres_server import require

RUN = Run("run-1", "spring", RunKind.LIVE, "twilio", "hash", None, 1, 1, 0, 0)
ROW = SuppressionRow("+12025550101", "all", "suppressed", "person", "", 0)


@pytest.mark.parametrize(
    "where",
    [
        "sqlite:///state",
        "s3://bucket/s3cret",
        Path("postgresql://user:s3cret@db/sender"),
    ],
)
def test_a_url_is_refused_in_a_sentence_without_its_password(
    where: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for opener in (open_state, open_suppressions):
        with pytest.raises(InputError, match=r"a state at (postgresql|sqlite|s3):// cannot be used here") as caught:
            opener(where)
        assert "s3cret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_colon_in_its_name_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:").mkdir()
    (tmp_path / "odd:" / "state").mkdir()
    with open_state("odd:/state") as state:
        assert state.ledger.runs() == []


def test_it_is_made_or_must_be_there(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    for options in ({"create": False}, {"read_only": True}, {"create": True, "read_only": True}):
        with pytest.raises(UnknownRun, match="nothing has been sent"):
            open_state(folder, **options)
        assert not folder.exists()
    with open_state(folder) as state:
        state.ledger.create_run(RUN)
        assert {path.name for path in folder.iterdir()} >= {LEDGER_FILE, "runs", "locks"}
        assert not (folder / SUPPRESSIONS_FILE).exists(), "made when it is first written"
    for options in ({"create": False}, {"read_only": True}):
        with open_state(folder, **options) as state:
            assert state.ledger.runs() == [RUN]


def test_a_file_that_another_process_makes_this_moment_is_not_there_yet(tmp_path: Path) -> None:
    for name in (LEDGER_FILE, SUPPRESSIONS_FILE):
        (tmp_path / name).touch(mode=0o600)
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(UnknownRun, match="nothing has been sent"):
            open_state(tmp_path, **options)
    assert open_suppressions(tmp_path, read_only=True).size() == 0
    assert find_new_state(tmp_path) is not None


def test_a_ledger_that_has_lost_its_content_is_not_a_new_one(tmp_path: Path) -> None:
    with open_state(tmp_path) as state:
        state.ledger.create_run(RUN)
    os.truncate(tmp_path / LEDGER_FILE, 0)
    for options in ({"create": False}, {"read_only": True}, {}):
        with pytest.raises(StateError):
            open_state(tmp_path, **options)


def test_its_address_opens_it_again(tmp_path: Path) -> None:
    with open_state(tmp_path / "state") as state:
        state.ledger.create_run(RUN)
        with open_state(state.where, create=False) as again:
            assert again.ledger.run("run-1") == RUN


def test_handles_of_their_own_see_one_another_and_outlive_the_state(tmp_path: Path) -> None:
    with open_state(tmp_path) as state:
        ledger, suppressions = state.open_ledger(), state.open_suppressions()
        state.ledger.create_run(RUN)
        assert ledger.runs() == [RUN]
        state.suppressions.add([ROW])
        assert suppressions.size() == 1
    assert ledger.runs() == [RUN]
    assert suppressions.size() == 1
    ledger.close()
    suppressions.close()


def test_reading_makes_no_suppression_list(tmp_path: Path) -> None:
    open_state(tmp_path).close()
    with open_state(tmp_path, read_only=True) as state:
        assert state.suppressions.size() == 0
        with pytest.raises(InputError, match="opened for reading"):
            state.suppressions.add([ROW])
    assert not (tmp_path / SUPPRESSIONS_FILE).exists()


def test_suppressions_need_no_ledger(tmp_path: Path) -> None:
    store = open_suppressions(tmp_path / "state")
    assert store.add([ROW]) == 1
    store.close()
    assert not (tmp_path / "state" / LEDGER_FILE).exists()
    store = open_suppressions(tmp_path / "state", create=False)
    assert [row[0] for row in store.active()] == [ROW.number]
    store.close()


def test_what_is_known_of_numbers_needs_no_ledger(tmp_path: Path) -> None:
    where, known = tmp_path / "state", NumberFacts("+12025550101", False, LOOKUP, "twilio", 10, "voip")
    with closing(open_numbers(where, create=False)) as store:
        assert list(store.everything()) == []
    assert not where.exists()
    with closing(open_numbers(where)) as store:
        assert store.put([known]) == 1
    assert not (where / LEDGER_FILE).exists()
    with closing(open_numbers(where, create=False)) as store:
        assert list(store.everything()) == [known]
        with pytest.raises(StateError, match="cannot be written"):
            store.put([known._replace(at=20)])
    with closing(open_numbers(where)) as store:
        assert list(store.everything()) == [known], "with create=False nothing is written"
        assert store.put([known._replace(at=20)]) == 1


@pytest.mark.parametrize(
    ("provider", "rehearse", "kind"),
    [
        ("twilio", False, RunKind.LIVE),
        ("twilio", True, RunKind.REHEARSAL),
        ("sandbox", False, RunKind.SANDBOX),
        ("sandbox", True, RunKind.SANDBOX),
    ],
)
def test_the_kind_of_a_run(provider: str, rehearse: bool, kind: RunKind) -> None:
    """It is compared with runs of its kind only: a rehearsal that counted as live would have reached everybody."""
    assert RunKind.of(provider, rehearse=rehearse) is kind


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="PostgreSQL's own server runs on a Unix here")
def test_a_port_that_is_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("postgres-18")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=str(port)), dev_server(tmp_path / "server", port):
            pass


def test_replies_are_there_once_one_was_heard(tmp_path: Path) -> None:
    with open_state(tmp_path) as state:
        for create, has_file in ((False, False), (True, True), (False, True)):
            with closing(state.open_replies(create=create)) as replies:
                assert (tmp_path / REPLIES_FILE).exists() is has_file
                assert isinstance(replies, EmptyReplies) is not has_file


def test_a_run_that_is_not_there_is_missed_in_this_state(tmp_path: Path) -> None:
    with open_state(tmp_path) as state, pytest.raises(UnknownRun) as told:
        state.find("spring")
    assert str(tmp_path) in f"{told.value} {told.value.fix}"


def test_a_file_in_its_way_is_bad_input_and_a_full_disk_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        open_state(tmp_path / "file" / "state")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(StateError, match="No space left on device"):
        open_state(tmp_path / "state")


def test_the_library_s_class_is_a_state(tmp_path: Path) -> None:
    with sender.StateDir(tmp_path) as state:
        assert (state.path, state.where) == (tmp_path, str(tmp_path))
    with sender.open_state(str(tmp_path)) as state:
        assert isinstance(state, sender.StateDir)


@pytest.mark.parametrize("kind", ["folder", *SOME_DATABASES])
def test_the_key_of_people_is_made_where_it_is_asked_for(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """And read again, by whoever asks later; a preview makes none."""
    where = tmp_path if kind == "folder" else request.getfixturevalue("new_database")(kind)
    assert read_people_key(where, create=False) is None
    secret = read_people_key(where, create=True)
    assert secret is not None
    assert read_people_key(where, create=True) == read_people_key(where, create=False) == secret
    with open_state(where) as state:
        assert state.people.secret() == secret
