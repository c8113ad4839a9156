"""The registry of this user's states: a help, which never stands in the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sender.state.known_states import read_known_states, register_state, registry_path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg"


def test_states_are_kept_once_each_with_the_newest_last(tmp_path: Path, home: Path) -> None:
    assert read_known_states() == ()
    one, two, three = (tmp_path / name for name in ("one", "two", "Größe"))
    for path in (one, two, three, one):
        register_state(path)
    assert read_known_states() == (two, three, one)
    file = home / "campaign-sender" / "states.json"
    assert registry_path() == file
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "Größe" in file.read_text(encoding="utf-8"), "a person reads it"
    assert file.read_text(encoding="utf-8").endswith("]\n}\n")


def test_a_relative_path_is_kept_as_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    register_state(Path("state"))
    register_state(tmp_path / "state")
    assert read_known_states() == (tmp_path / "state",)


def test_the_oldest_of_many_are_forgotten(tmp_path: Path) -> None:
    registry_path().parent.mkdir(parents=True)
    registry_path().write_text(json.dumps({"states": [f"/old/{n}" for n in range(200)]}))
    register_state(tmp_path)
    known = read_known_states()
    assert (len(known), known[0], known[-1]) == (200, Path("/old/1"), tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"states": 1}', '{"states": null}', "\xff"])
def test_one_that_cannot_be_read_is_begun_anew(tmp_path: Path, content: str) -> None:
    registry_path().parent.mkdir(parents=True)
    registry_path().write_bytes(content.encode("latin-1"))
    assert read_known_states() == ()
    register_state(tmp_path)
    assert read_known_states() == (tmp_path,)


def test_what_is_no_path_in_it_is_passed_by(tmp_path: Path) -> None:
    registry_path().parent.mkdir(parents=True)
    registry_path().write_text(json.dumps({"states": [1, str(tmp_path), None]}))
    assert read_known_states() == (tmp_path,)


@pytest.mark.parametrize("home", [None, "", "relative/state"])
def test_without_an_absolute_state_home_it_is_below_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    if home is None:
        monkeypatch.delenv("XDG_STATE_HOME")
    else:
        monkeypatch.setenv("XDG_STATE_HOME", home)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    register_state(tmp_path / "state")
    assert registry_path() == tmp_path / ".local" / "state" / "campaign-sender" / "states.json"
    assert registry_path().exists()
    assert read_known_states() == (tmp_path / "state",)


def test_a_user_without_a_home_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    register_state(tmp_path)
    assert read_known_states() == ()


def test_where_it_cannot_be_written_nothing_fails(tmp_path: Path, home: Path) -> None:
    home.write_text("a file in its way")
    register_state(tmp_path)
    assert read_known_states() == ()
