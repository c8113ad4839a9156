"""A state that knows nobody: it is noticed before a live run begins it, and a person says once that it is to begin."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from sender.core.errors import InputError, StateError
from sender.state import new_state
from sender.state.files.failures import explain_unwritable
from sender.state.known_states import register_state
from sender.state.ledger import RunKind
from sender.state.new_state import STATE_FILE, NewStateNotice, begin_state, find_new_state, init_state
from sender.state.open import open_state, open_suppressions
from sender.state.state_dir import SUPPRESSIONS_FILE
from sender.state.suppression import SuppressionRow
from tests.state.ledger.steps import RUN


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "registry"))
    monkeypatch.setattr(new_state, "in_container", lambda: False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def suppress(where: Path, *scopes: str) -> None:
    store = open_suppressions(where)
    store.add(
        [SuppressionRow(f"+120255501{n:02}", scope, "opted_out", "person", "", 1, "") for n, scope in enumerate(scopes)]
    )
    store.close()


def run_of(where: Path, kind: RunKind) -> None:
    with open_state(where) as opened:
        opened.ledger.create_run(replace(RUN, kind=kind))


@pytest.mark.parametrize("kind", [None, RunKind.SANDBOX, RunKind.REHEARSAL, RunKind.TEST])
def test_what_reached_nobody_has_not_begun_it(state: Path, kind: RunKind | None) -> None:
    if kind is not None:
        run_of(state, kind)
    assert find_new_state(state) == NewStateNotice(state)
    suppress(state, "sandbox")
    assert find_new_state(state) == NewStateNotice(state)


def test_a_live_run_has_begun_it(state: Path) -> None:
    run_of(state, RunKind.LIVE)
    assert find_new_state(state) is None


@pytest.mark.parametrize("scopes", [("all",), ("sandbox", "+12025550150")])
def test_so_has_an_opt_out_that_is_not_the_sandboxs(state: Path, scopes: tuple[str, ...]) -> None:
    suppress(state, *scopes)
    assert find_new_state(state) is None


def test_and_so_has_a_person(state: Path) -> None:
    for _ in range(2):
        init_state(state)
        assert (state / STATE_FILE).is_file()
        assert find_new_state(state) is None
    written = (state / STATE_FILE).read_text()
    init_state(state)
    assert (state / STATE_FILE).read_text() == written, "the first time counts"


def test_other_states_of_this_user_that_have_opt_outs_are_named(tmp_path: Path, state: Path) -> None:
    for name, scopes in {"one": ("all",), "many": ("all",) * 60, "none": (), "spoilt": ("all",)}.items():
        init_state(tmp_path / name)
        suppress(tmp_path / name, *scopes)
    (tmp_path / "spoilt" / "suppression.sqlite3").write_bytes(b"x" * 4096)
    register_state(state)  # itself
    notice = find_new_state(state)
    assert notice is not None
    assert sorted(notice.others) == [(tmp_path / "many", 60), (tmp_path / "one", 1)]
    assert sorted(notice.hints) == [
        f"{tmp_path / 'many'} has 60 entries on its suppression list: `sender suppress import {tmp_path / 'many'}` copies them",
        f"{tmp_path / 'one'} has 1 entry on its suppression list: `sender suppress import {tmp_path / 'one'}` copies them",
    ]


def test_looking_for_what_began_it_writes_nothing(tmp_path: Path, state: Path) -> None:
    """Neither into a state that has only a ledger, nor into another one that has lost its list."""
    run_of(state, RunKind.SANDBOX)
    (state / "locks").rmdir()
    init_state(tmp_path / "other")
    (tmp_path / "other" / SUPPRESSIONS_FILE).unlink()

    def files() -> set[Path]:
        return {file for file in tmp_path.rglob("*") if not file.name.endswith(("-wal", "-shm"))}

    before = files()
    assert find_new_state(state) == NewStateNotice(state)
    assert files() == before


def test_a_container_is_told_to_mount_it(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_state, "in_container", lambda: True)
    notice = find_new_state(state)
    assert notice is not None
    assert notice.sentence == f"new state directory {state}: no earlier runs and no opt-outs are known"
    assert ["container: mount" in hint for hint in notice.hints] == [True]


@pytest.mark.parametrize("kind", RunKind)
def test_only_a_live_run_needs_leave(state: Path, kind: RunKind) -> None:
    if kind is not RunKind.LIVE:
        begin_state(state, kind, init=False)
        begin_state(state, kind, init=True)
        assert not state.exists()
        return
    with pytest.raises(InputError, match="new state directory") as told:
        begin_state(state, kind, init=False)
    assert told.value.fix == "init_state=True creates it, once; state_dir= names another one"
    assert not state.exists()
    begin_state(state, kind, init=True)
    begin_state(state, kind, init=False)
    assert (state / STATE_FILE).is_file()


def test_a_database_was_made_by_a_person() -> None:
    assert find_new_state("postgresql://sender@127.0.0.1:9/sender") is None


@pytest.mark.parametrize(
    ("error", "kind", "fix"),
    [
        (NotADirectoryError(errno.ENOTDIR, "Not a directory"), InputError, "a file is in its way"),
        (FileExistsError(errno.EEXIST, "File exists"), InputError, "a file is in its way"),
        (PermissionError(errno.EACCES, "Permission denied"), StateError, "correct its permissions"),
        (OSError(errno.ENOSPC, "No space left on device"), StateError, "free some space"),
        (OSError("something else"), StateError, "free some space"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, error: OSError, kind: type[Exception], fix: str
) -> None:
    told = explain_unwritable(tmp_path, error)
    assert type(told) is kind
    assert (told.where, fix in str(told.fix)) == (str(tmp_path), True)
    assert f"the state directory cannot be written: {error.strerror or error}" in str(told)
