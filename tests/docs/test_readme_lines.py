"""The README's two lines, pasted into a shell of a machine as it comes.

That machine has an empty home and a Python which refuses packages (PEP 668) and has pytest plugins of its own. The lines
run twice, with the newest releases that the registry serves; `.ci/run` uses the pinned ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN_LINE, TEST_LINE = (
    block.rstrip("\n") for block in re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[:2]
)

PLUGINS = ("pytest-benchmark", "pytest-asyncio", "pytest-randomly")
LEFT_BEHIND = (".git", ".venv", ".sender", "__pycache__", ".*_cache", ".coverage*", ".hypothesis", "*.egg-info", "dist")
# How this machine reaches its package registry; nothing else of the environment is passed on.
REGISTRY = re.compile(
    r"PIP_(?!CONSTRAINT$)\w+|(?i:https?|no|all)_(?i:proxy)|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
)


@dataclass(frozen=True)
class Machine:
    """An empty home, a Python on the PATH that refuses packages, and a checkout."""

    home: Path
    prefix: Path
    checkout: Path

    @property
    def python(self) -> Path:
        return self.prefix / "bin" / "python3"

    def paste(self, line: str, **extra: str) -> str:
        """Run a line in the checkout as a shell does and return its standard output; fail unless it exits with 0."""
        result = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.checkout,
            env=self.environment() | extra,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=600,
            check=False,
        )
        assert result.returncode == 0, f"{line}\nexit {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def environment(self) -> dict[str, str]:
        passed = {name: value for name, value in os.environ.items() if REGISTRY.fullmatch(name)}
        settings = [Path.home() / ".config" / "pip" / "pip.conf", Path.home() / ".pip" / "pip.conf"]
        for file in settings:
            if file.is_file():
                passed.setdefault("PIP_CONFIG_FILE", str(file))
        system = "/usr/local/bin:/usr/bin:/bin"
        passed["PIP_COMPILE"] = "0"  # Python does it for what is imported
        return passed | {"HOME": str(self.home), "PATH": f"{self.python.parent}:{system}", "LANG": "C.UTF-8"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "home", tmp_path / "python", tmp_path / "checkout")
    machine.home.mkdir()
    shutil.copytree(ROOT, machine.checkout, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    _copy_python(machine.prefix)
    _install(["pip", *PLUGINS], machine)
    Path(_path_of("stdlib", machine), "EXTERNALLY-MANAGED").write_text(
        "[externally-managed]\nError=this Python takes no packages\n", encoding="utf-8"
    )
    return machine


def test_each_line_is_one_line_and_makes_an_environment_of_its_own() -> None:
    for line in (RUN_LINE, TEST_LINE):
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/python -m pip install ")
    assert " && .venv/bin/python -m sender send campaigns/welcome.yaml --yes" in RUN_LINE
    assert " && .venv/bin/python -m pytest" in TEST_LINE


@pytest.mark.skipif(sys.platform != "linux", reason="copies a Python as Linux lays it out")
@pytest.mark.skipif(
    os.environ.get("SENDER_TEST_PROFILE", "quick") == "quick", reason="takes minutes: SENDER_TEST_PROFILE=ci"
)
@pytest.mark.timeout(1200)
def test_both_lines_end_well_twice_on_a_machine_as_it_comes(machine: Machine) -> None:
    refused = subprocess.run(
        [machine.python, "-m", "pip", "install", "."],
        cwd=machine.checkout,
        env=machine.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "this Python takes no packages" in refused.stderr
    machine.paste("python3 -c 'import pytest_asyncio, pytest_benchmark, pytest_randomly'")
    for _ in range(2):
        output = machine.paste(RUN_LINE)
        assert "47 rows = 8 skipped + 39 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending" in output
    assert len(list(machine.checkout.glob(".sender/runs/*/results.csv"))) == 2
    quick = "tests/docs/test_readme_lines.py::test_each_line_is_one_line_and_makes_an_environment_of_its_own"
    for _ in range(2):
        assert "1 passed" in machine.paste(TEST_LINE, PYTEST_ADDOPTS=quick, PYTEST_XDIST_AUTO_NUM_WORKERS="1")
    assert list(machine.home.glob("*")) == [], "the lines left something in the home folder"


def _copy_python(prefix: Path) -> None:
    """A Python of this version below `prefix`, with the standard library of the one that runs the tests and no packages."""
    library = Path(sysconfig.get_path("stdlib"))
    copied = prefix / "lib" / library.name
    copied.mkdir(parents=True)
    (prefix / "bin").mkdir()
    for entry in library.iterdir():
        if entry.name not in {"site-packages", "dist-packages", "EXTERNALLY-MANAGED", "__pycache__"}:
            (copied / entry.name).symlink_to(entry)
    base = Path(sys._base_executable if hasattr(sys, "_base_executable") else sys.executable).resolve()
    shutil.copy2(base, prefix / "bin" / "python3")


def _path_of(scheme_path: str, machine: Machine) -> str:
    code = f"import sysconfig; print(sysconfig.get_path({scheme_path!r}))"
    command = [machine.python, "-c", code]
    return subprocess.run(command, env=machine.environment(), capture_output=True, text=True, check=True).stdout.strip()


def _install(packages: list[str], machine: Machine) -> None:
    """Install packages for the copied Python; without a registry skip the test, or fail it in CI."""
    target = _path_of("purelib", machine)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", target, *packages]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
    if result.returncode:
        reason = f"no package registry: {result.stderr.strip()[-400:]}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
