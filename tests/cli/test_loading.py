"""What a command loads: whoever asks for a status is not kept waiting for what plans and sends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Shell

NEVER = {
    "pydantic",
    "jinja2",
    "uvicorn",
    "starlette",
    "httpx",
    "cryptography",
    "fastexcel",
    "xlsxwriter",
    "asyncio",
    "yaml",
    "babel",
}
READS_NO_NUMBER = {"phonenumbers"}
READS_NO_PLAN = {"polars"}
COMMANDS = {
    "status": (READS_NO_NUMBER | READS_NO_PLAN, 400),
    "suppress why +12025550147": (READS_NO_PLAN, 430),
    "suppress list": (READS_NO_NUMBER | READS_NO_PLAN, 400),
    "results welcome": (READS_NO_NUMBER, 620),
    "history +12025550147": (set(), 680),
}  # with polars, which are 200 of its own, and Python's


WEB_SERVER = {"uvicorn", "starlette", "sender.sandbox.app", "sender.delivery.webhooks.app"}
PLANNING = {"jinja2", "sender.campaign.model", "sender.planning.build"}
PROCESSES = {
    "sender.cli.send": (WEB_SERVER, 1110),
    "sender.sending.workers.worker": (WEB_SERVER | PLANNING, 800),
    "sender.sending.shifts.shift": (WEB_SERVER | PLANNING, 820),
    "sender.sending.shifts.steward": (WEB_SERVER, 980),
}  # of which polars and pydantic are 300

LIST_MODULES = """
import sys
from sender.cli.entry import run_command
code = run_command()
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""
USE_LATE = """
import sys
from importlib import import_module
from sender.core.lazy_modules import {name} as lazy

assert lazy.__name__ not in sys.modules
assert not hasattr(lazy, "__wrapped__") and repr(lazy)  # as tools ask
assert lazy.__name__ not in sys.modules
assert not hasattr(lazy, "no_such_name")  # which only the package itself can tell
package = import_module(lazy.__name__)
for name in vars(package):
    assert name.startswith("__") or getattr(lazy, name) is getattr(package, name), name
"""


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with a run of one message."""
    shell = Shell(tmp_path_factory.mktemp("sent"))
    shell.write("people.csv", "phone\n+12025550147\n")
    options = ("--body", "Hi", "--from", "+12025550100", "--provider", "sandbox", "--name", "welcome")
    assert shell("send", "people.csv", *options, "--yes", "--wait", "0").code == 0
    return shell


@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_loads_what_it_uses(sent: Shell, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *command.split()],
        cwd=sent.folder,
        env=sent.env,
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(done.stderr.split())
    unused, most = COMMANDS[command]
    assert not (NEVER | unused) & names
    assert len(names) <= most


@pytest.mark.process
@pytest.mark.parametrize("module", PROCESSES)
def test_what_sends_loads_what_it_uses(sender: Shell, module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=sender.env, capture_output=True, text=True, check=True)
    unused, most = PROCESSES[module]
    names = set(done.stdout.split())
    assert not unused & names
    assert len(names) <= most


@pytest.mark.process
@pytest.mark.parametrize(
    "name", ["pl", "phonenumbers", "babel", "babel_languages", "fastexcel", "filelock", "httpx", "psutil", "xlsxwriter"]
)
def test_a_late_package_is_the_package(sender: Shell, name: str) -> None:
    subprocess.run([sys.executable, "-c", USE_LATE.format(name=name)], env=sender.env, check=True)
