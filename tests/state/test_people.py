"""How a person is found in texts, whatever is around the digits, and nobody else is."""

from __future__ import annotations

import errno
import secrets
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from sender.core.errors import StateError
from sender.state.files.people import PeopleKeyFile
from sender.state.people import Person, hash_number


@pytest.fixture
def ada() -> Person:
    return Person.of("+12025550101")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("+12025550101", True),
        ("+1 (202) 555-0101", True),
        ("(202) 555-0101", True),
        ("202.555.0101", True),
        ("02025550101", True),
        ("call +1 202 555 0101 now", True),
        ("call 202 555 0101 now", True),
        ("tel:+1-202-555-0101;ext=7", True),
        ("order 7 of 202 555 0101", False),
        ("2025550102", False),
        ("12025550102", False),
        ("Ada", False),
        ("", False),
        (None, False),
    ],
)
def test_a_number_in_a_cell(ada: Person, text: str | None, found: bool) -> None:
    frame = pl.DataFrame({"cell": [text]}, schema={"cell": pl.String})
    assert frame.select(ada.is_in(pl.col("cell"))).item() is found
    if text is not None:
        assert ada.is_in_text(text) is found


@pytest.mark.parametrize(
    ("text", "found"), [("202 555 0101 ext 7", True), ("order 7 of 202 555 0101", True), ("202 555 010", False)]
)
def test_a_number_that_was_not_read_may_have_digits_around_it(ada: Person, text: str, found: bool) -> None:
    assert pl.DataFrame({"cell": [text]}).select(ada.may_be_in(pl.col("cell"))).item() is found


@pytest.mark.parametrize(
    ("number", "text", "found"),
    [
        pytest.param("+12025550", "202 5550", True, id="seven digits are the person's"),
        pytest.param("+1202555", "202 555", False, id="six may be anything"),
        pytest.param("+1202555", "+1 202 555", True, id="with the country code they are not"),
    ],
)
def test_few_digits_alone_are_nobody_s(number: str, text: str, found: bool) -> None:
    person = Person.of(number)
    assert person.is_in_text(text) is found
    assert pl.DataFrame({"cell": [text]}).select(person.may_be_in(pl.col("cell"))).item() is found


@pytest.mark.parametrize(("text", "found"), [("12345", True), (" 12345 ", True), ("+12345", False), ("112345", False)])
def test_a_short_code_is_found_only_by_itself(text: str, found: bool) -> None:
    person = Person.of("12345")
    for expression in (person.is_in(pl.col("cell")), person.may_be_in(pl.col("cell"))):
        assert pl.DataFrame({"cell": [text]}).select(expression).item() is found


def test_without_the_key_nobody_finds_out_whose_hash_it_is() -> None:
    keys = [bytes([n]) * 32 for n in range(4)]
    hashes = {hash_number(key, "+12025550101") for key in keys}
    assert len(hashes) == len(keys)
    assert {hash_number(key, "+12025550101") for key in keys} == hashes
    assert hash_number(keys[0], "+12025550102") not in hashes
    assert all(0 <= each < 1 << 64 for each in hashes)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    key = PeopleKeyFile(tmp_path)
    assert key.hash("+12025550101") is None
    with pytest.raises(StateError, match="cannot be read: No such file or directory") as told:
        key.hash_all(["+12025550101"])
    assert told.value.where == str(tmp_path / "people.key")
    key.create()
    key.create()
    first = key.hash("+12025550101")
    assert first is not None
    assert (tmp_path / "people.key").stat().st_mode & 0o777 == 0o600
    other = PeopleKeyFile(tmp_path)
    assert other.hash_all(["+12025550101", "+12025550102"]).to_list() == [first, other.hash("+12025550102")]


def test_of_two_processes_that_make_the_key_the_second_has_the_first_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = PeopleKeyFile(tmp_path), PeopleKeyFile(tmp_path)
    token_hex = secrets.token_hex

    def make_it_meanwhile(size: int) -> str:
        monkeypatch.undo()
        first.create()
        return token_hex(size)

    monkeypatch.setattr("sender.state.files.people.secrets.token_hex", make_it_meanwhile)
    second.create()
    assert second.secret() == first.secret()
    assert second.secret() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_kill_while_the_key_is_made_leaves_none(tmp_path: Path) -> None:
    """Half a key would be taken for a damaged one, and the state would be refused for ever."""
    script = (
        "import os, pathlib, sys\n"
        "from sender.state.files.people import PeopleKeyFile\n"
        "def kill(*_): os.kill(os.getpid(), 9)\n"
        "os.link = pathlib.Path.replace = kill\n"
        "PeopleKeyFile(pathlib.Path(sys.argv[1])).create()"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -9
    key = PeopleKeyFile(tmp_path)
    assert key.hash("+12025550101") is None
    key.create()
    assert key.hash("+12025550101") is not None


def test_a_key_is_made_where_files_have_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("sender.core.output_files.os.link", refuse)
    key = PeopleKeyFile(tmp_path)
    key.create()
    assert PeopleKeyFile(tmp_path).secret() == key.secret()
    assert [file.name for file in tmp_path.iterdir()] == ["people.key"]


@pytest.mark.parametrize("content", ["", "abc", "00", "zz" * 32])
def test_a_damaged_key_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "people.key").write_text(content, encoding="ascii")
    with pytest.raises(StateError, match=r"the key .* cannot be read"):
        PeopleKeyFile(tmp_path).hash("+12025550101")
