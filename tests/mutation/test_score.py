"""What of mutmut's results counts as killed, and when there are too few."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import tomllib
from typing import Any

import pytest

import sender
from tests.mutation import score
from tests.mutation.score import Change, Mutant, is_same_sql, report

KILLER, SURVIVOR = "killed", "survived"
ENTRIES = tomllib.loads(score.EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]


def mutants(module: str, *statuses: str) -> list[Mutant]:
    return [Mutant(f"{module}.x_read__mutmut_{number}", status) for number, status in enumerate(statuses, 1)]


@pytest.fixture(autouse=True)
def changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mutant changes a line of its own; that of the module `equal` is one that nobody can tell."""
    known = Change("sender.state.equal.read", "a", "b")
    monkeypatch.setattr(score, "equivalents", lambda: {known})
    monkeypatch.setattr(
        score, "change_of", lambda one: known if one.module == known.where[:-5] else Change(one.where, "x", one.name)
    )


def test_a_package_needs_so_many_and_a_module_may_have_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    found = mutants("sender.state.prune", SURVIVOR, KILLER) + mutants("sender.state.files.plans", *[KILLER] * 8)
    assert report(found, 90) == 0
    shown = capsys.readouterr().out
    assert "50.0 %      1 of     2  sender.state.prune\n" in shown
    assert "90.0 %      9 of    10  sender.state\n" in shown
    assert report([*found, *mutants("sender.state.rows", "no tests")], 90) == 1
    assert "fewer than 90 % killed: sender.state\n" in capsys.readouterr().out


def test_packages_are_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    found = mutants("sender.state.prune", *[KILLER] * 98) + mutants("sender.sending.run", SURVIVOR, "timeout")
    assert report(found, 90) == 1
    assert capsys.readouterr().out.endswith("fewer than 90 % killed: sender.sending\n")


def test_what_nobody_can_tell_counts_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(mutants("sender.state.equal", SURVIVOR, KILLER), 100) == 0
    assert "1 more: equivalent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("was", "now", "is_same"),
    [
        ('db.execute("SELECT a FROM b")', 'db.execute("select a from b")', True),
        ('db.execute("SELECT a FROM b")', 'db.execute("SELECT a FROM XXb")', False),
        ("""db.execute("SELECT a FROM b WHERE c = 'D'")""", """db.execute("select a from b where c = 'd'")""", False),
        ('db.execute("SELECT a FROM b WHERE c = :d")', 'db.execute("SELECT A FROM B WHERE C = :D")', False),
        ('print("Select a run")', 'print("select a run")', False),
    ],
)
def test_sql_in_other_letters_is_the_same(was: str, now: str, is_same: bool) -> None:
    assert is_same_sql(Change("f", was, now)) is is_same


def source_of(where: str) -> str:
    """The function that an entry names, or the statement; blanks stand for any others."""
    owner: Any = sender
    for name in where.split(".")[1:]:
        if hasattr(owner, "__path__") and importlib.util.find_spec(f"{owner.__name__}.{name}"):
            owner = importlib.import_module(f"{owner.__name__}.{name}")
        else:
            owner = inspect.getattr_static(owner, name)
    if isinstance(owner, str):
        return owner
    return inspect.getsource(getattr(owner, "fget", None) or getattr(owner, "func", None) or inspect.unwrap(owner))


def test_what_is_listed_is_still_in_the_source() -> None:
    gone = []
    for entry in ENTRIES:
        source = "".join(source_of(entry["where"]).split())
        gone += [(entry["where"], line) for line in entry["was"].splitlines() if "".join(line.split()) not in source]
        assert entry["was"] != entry["now"]
        assert entry["reason"].endswith(".")
    assert gone == [], "lines that have changed: adapt the entries, or drop them"
