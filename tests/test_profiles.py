"""The sizes of the tests, what they cost, and which of them a profile leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import conftest, costs, profiles

pytest_plugins = ["pytester"]
SUITE = """
import pytest

@pytest.mark.long
def test_long(pytestconfig): pass

def test_dear(pytestconfig): pass

def test_known_to_be_cheaper(pytestconfig): pass

def test_fast(pytestconfig): print("kills", pytestconfig.getoption("--kills"))
"""
COSTING = r"""
import pytest, subprocess, sys, time

SPIN = "import time\nwhile time.process_time() < 0.4: pass"

@pytest.mark.parametrize("long", [True, False])
def test_here(long):
    began = time.process_time()
    while long and time.process_time() < began + 0.4: pass

def test_in_a_process(): subprocess.run([sys.executable, "-c", SPIN], check=True)

def test_that_waits(): time.sleep(0.8)

@pytest.fixture(scope="module")
def fleet(): test_here(True)

def test_of_a_fleet(fleet): pass

def test_of_the_same_fleet(fleet): pass

def test_cheap(): pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeini("[pytest]\ntestpaths = inner\naddopts = -p tests.conftest -p no:cacheprovider\nmarkers = long")
    monkeypatch.setenv("SENDER_TEST_COSTS", str(pytester.path / "costs.txt"))
    (pytester.path / "costs.txt").write_text(
        "2.50 inner/test_it.py::test_dear\n0.90 inner/test_it.py::test_known_to_be_cheaper\n"
    )
    folder = pytester.mkdir("inner")
    (folder / "test_it.py").write_text(SUITE)
    return pytester


@pytest.mark.parametrize(
    ("profile", "arguments", "passed", "kills"),
    [
        pytest.param("", [], 1, 25, id="quick is the default, and leaves out what is dear"),
        pytest.param("quick", ["inner/test_it.py"], 4, 25, id="what is named runs"),
        pytest.param("quick", ["-n", "1"], 1, None, id="a worker leaves it out too"),
        pytest.param("ci", ["--kills", "7"], 3, 7, id="ci runs what is dear; an option overrides its size"),
        pytest.param("long", ["-n", "1"], 4, None, id="long runs everything"),
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


@pytest.mark.parametrize(
    ("functions", "known", "left_out"),
    [
        pytest.param({"a.py::x", "a.py::y"}, {"a.py::x": 0.2}, {"a.py::x"}, id="what is dear"),
        pytest.param({"a.py::new"}, {"a.py::gone": 3.0}, set(), id="not what was never measured"),
        pytest.param({"a.py::x", "a.py::y"}, {"a.py::x": 0.2, "a.py::y": 0.3}, {"a.py::y"}, id="not all of a file"),
        pytest.param({"a.py::x", "b.py::x"}, {"a.py::x": 0.2, "b.py::x": 0.1}, set(), id="files have one each"),
        pytest.param({"a.py::x"}, {"a.py::x": 1.1}, {"a.py::x"}, id="all of a file that has nothing cheap"),
        pytest.param({"a.py::x": 6}, {"a.py::x": 0.2}, {"a.py::x"}, id="nothing cheap, with all its tests"),
        pytest.param({"a.py::x": 4, "a.py::y": 1}, {"a.py::x": 0.1, "a.py::y": 0.2}, {"a.py::x"}, id="by all tests"),
    ],
)
def test_the_quick_profile_leaves_out(
    functions: set[str] | dict[str, int], known: dict[str, float], left_out: set[str]
) -> None:
    tests = functions if isinstance(functions, dict) else dict.fromkeys(functions, 1)
    assert costs.too_dear(tests, known) == left_out


@pytest.mark.parametrize("arguments", [(), ("-n", "2", "--dist=loadfile")], ids=["one process", "several"])
def test_costs_are_measured_and_written(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv(profiles.VARIABLE, "quick")
    (suite.path / "inner" / "test_costs.py").write_text(COSTING)
    suite.runpytest_subprocess("--write-costs", *arguments).assert_outcomes(passed=8)
    written = [line.split(" ") for line in (suite.path / "costs.txt").read_text().splitlines()]
    assert [name for _, name in written] == [
        f"inner/test_costs.py::test_{name}"
        for name in ("here", "in_a_process", "of_a_fleet", "of_the_same_fleet", "that_waits")
    ]
    here, in_a_process, first, second, that_waits = (float(cost) for cost, _ in written)
    assert 0.2 <= first < 0.3, "half of what they share"
    assert second == pytest.approx(first, abs=0.02)
    assert 0.2 <= here < 0.4, "the mean of its tests"
    assert in_a_process >= 0.3
    assert that_waits >= 0.1


def test_what_costs_too_much_is_there() -> None:
    root = Path(__file__).parents[1]
    for function in costs.read():
        path, *_, name = function.split("::")
        assert f"def {name}(" in (root / path).read_text(encoding="utf-8"), f"{function}: pytest --write-costs"


def test_the_readme_has_the_sizes() -> None:
    table = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    sizes = {row[1].strip("`"): row[2:] for row in rows if len(row) == 5}
    for name in conftest.SIZES:
        shown = [size.replace(",", "") for size in sizes[f"--{name.replace('_', '-')}"]]
        assert shown == [str(getattr(profile, name)) for profile in profiles.PROFILES.values()]
    assert sizes[""] == [f"{profile.examples:g}" for profile in profiles.PROFILES.values()]
