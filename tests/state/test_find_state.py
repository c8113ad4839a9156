"""Where the state of a campaign is looked for, and where a new one would be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from sender.core.errors import InputError
from sender.state.find_state import find_state
from sender.state.state_dir import DEFAULT_STATE_DIR, LEDGER_FILE, SUPPRESSIONS_FILE

URL = "postgresql://sender@db.example/sms"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, above which nothing is looked for, with `shop/letters` and `desk`."""
    home = tmp_path.resolve() / "home"
    (home / "shop" / "letters").mkdir(parents=True)
    (home / "desk").mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def begin(folder: Path, file: str = LEDGER_FILE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file).touch()
    return folder


@pytest.mark.parametrize(
    ("state", "stands", "source", "path"),
    [
        pytest.param("shop/.sender", "shop", None, ".sender", id="in the current folder"),
        pytest.param("shop/.sender", "shop/letters", None, "{home}/shop/.sender", id="above the current folder"),
        pytest.param("shop/.sender", "shop", "letters/people.csv", ".sender", id="above the source"),
        pytest.param("shop/.sender", "desk", "../shop/letters", "{home}/shop/.sender", id="the source's, elsewhere"),
        pytest.param("desk/.sender", "desk", "../shop/people.csv", ".sender", id="the current folder's alone"),
        pytest.param("shop", "shop/letters", None, "{home}/shop", id="a folder that is a state itself"),
        pytest.param("shop/.sender", "desk", "~/shop/people.csv", "{home}/shop/.sender", id="the source at home"),
        pytest.param("shop/.sender", "desk", "../shop/.sender/plans/p", "{home}/shop/.sender", id="a plan in it"),
    ],
)
@pytest.mark.parametrize("file", [LEDGER_FILE, SUPPRESSIONS_FILE])
def test_a_state_is_found_upwards(
    home: Path, monkeypatch: pytest.MonkeyPatch, state: str, stands: str, source: str | None, path: str, file: str
) -> None:
    begin(home / state, file)
    monkeypatch.chdir(home / stands)
    found = find_state(source)
    assert (found.path, found.exists) == (Path(path.format(home=home)), True)


@pytest.mark.parametrize(
    ("stands", "source", "path"),
    [
        pytest.param("shop", None, ".sender", id="without a source"),
        pytest.param("shop", "letters/people.csv", ".sender", id="in the current folder, below which the source is"),
        pytest.param("desk", "../shop/people.csv", "{home}/shop/.sender", id="beside a source elsewhere"),
        pytest.param("desk", "../shop/letters", "{home}/shop/letters/.sender", id="in a source that is a folder"),
    ],
)
def test_where_there_is_none_the_place_for_one_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, stands: str, source: str | None, path: str
) -> None:
    monkeypatch.chdir(home / stands)
    found = find_state(source)
    assert (found.path, found.exists) == (Path(path.format(home=home)), False)
    assert not list(home.rglob(DEFAULT_STATE_DIR.name)), "it only looks"


@pytest.mark.parametrize("begun", [True, False])
def test_each_folder_that_was_looked_in_is_named_once_the_source_s_first(
    home: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    if begun:
        begin(home / "shop" / ".sender")
    monkeypatch.chdir(home / "desk")
    searched = find_state("../shop/letters/people.csv").searched
    assert searched == (home / "shop" / "letters", home / "shop", home, home / "desk")


def test_a_folder_s_defaults_name_a_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "shop" / "sender.toml").write_text(f'state = "{URL}"\n', encoding="utf-8")
    begin(home / "shop" / ".sender")
    monkeypatch.chdir(home / "shop" / "letters")
    found = find_state()
    assert (found.path, found.exists, found.searched[:2]) == (URL, True, (home / "shop" / "letters", home / "shop"))


@pytest.mark.parametrize("named", [True, False], ids=["a database", "a folder"])
def test_two_states_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """Whom the campaign has reached would depend on the folder that the command is given in."""
    begin(home / "shop" / ".sender")
    if named:
        (home / "desk" / "sender.toml").write_text(f'state = "{URL}"\n', encoding="utf-8")
    else:
        begin(home / "desk" / ".sender")
    monkeypatch.chdir(home / "desk")
    with pytest.raises(InputError, match="there are two states") as told:
        find_state("../shop/people.csv")
    assert str(home / "shop" / ".sender") in str(told.value)


def test_one_state_that_both_folders_lead_to_is_not_two(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(home / "shop" / ".sender")
    (home / "desk" / ".sender").symlink_to(home / "shop" / ".sender")
    monkeypatch.chdir(home / "desk")
    assert find_state("../shop/people.csv").exists


def test_a_state_of_another_user_is_refused_and_not_passed_by(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passing it by would text its people again."""
    theirs = begin(home / "shop" / "letters" / ".sender")
    begin(home / "shop" / ".sender")
    monkeypatch.setattr("sender.state.find_state.is_foreign", lambda path: path == theirs)
    monkeypatch.chdir(home / "shop" / "letters")
    with pytest.raises(InputError, match="belongs to another user") as told:
        find_state()
    assert told.value.where == str(theirs)
