"""The sizes of the tests, and which of them the quick profile leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import conftest, profiles

pytest_plugins = ["pytester"]
SUITE = """
import pytest

@pytest.mark.long
def test_long(pytestconfig): pass

@pytest.mark.slow
def test_slow(pytestconfig): pass

def test_fast(pytestconfig): print("kills", pytestconfig.getoption("--kills"))
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(
        "[pytest]\ntestpaths = inner\naddopts = -p tests.conftest -p no:cacheprovider\nmarkers = slow\n long"
    )
    folder = pytester.mkdir("inner")
    (folder / "test_it.py").write_text(SUITE)
    return pytester


@pytest.mark.parametrize(
    ("profile", "arguments", "passed", "kills"),
    [
        pytest.param("", [], 1, 25, id="quick is the default, and leaves out what is slow"),
        pytest.param("quick", ["inner/test_it.py"], 3, 25, id="what is named runs"),
        pytest.param("quick", ["-n", "1"], 1, None, id="a worker leaves it out too"),
        pytest.param("ci", ["--kills", "7"], 2, 7, id="ci runs what is slow; an option overrides its size"),
        pytest.param("long", ["-n", "1"], 3, None, id="long runs everything"),
    ],
)
def test_a_profile_says_what_runs_and_how_much_of_it(
    suite: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
    arguments: list[str],
    passed: int,
    kills: int | None,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv(profiles.VARIABLE, profile)
    monkeypatch.delenv("SENDER_KILLS", raising=False)
    done = suite.runpytest_subprocess(*arguments, "-s")
    done.assert_outcomes(passed=passed, deselected=None)
    if kills is not None:
        assert f"kills {kills}" in done.stdout.str()


def test_a_variable_overrides_its_size(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("SENDER_KILLS", "9")
    assert "kills 9" in suite.runpytest_subprocess("-s").stdout.str()


def test_a_profile_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(profiles.VARIABLE, "fast")
    with pytest.raises(ValueError, match="choose one of quick, ci, long"):
        profiles.current()


@pytest.mark.parametrize(("profile", "count"), [("quick", 25), ("ci", 25), ("long", 1_000)])
def test_property_tests_make_as_many_examples_as_the_profile_says(
    monkeypatch: pytest.MonkeyPatch, profile: str, count: int
) -> None:
    monkeypatch.setenv(profiles.VARIABLE, profile)
    assert profiles.examples() == count
    assert profiles.examples(20) == max(10, count // 5)


def test_the_slowest_files_are_there() -> None:
    there = {"/".join(path.parts[-2:]) for path in Path(__file__).parent.rglob("test_*.py")}
    assert set(conftest.SLOWEST) <= there
