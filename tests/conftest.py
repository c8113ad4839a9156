"""Settings of the whole suite."""

from __future__ import annotations

import gc
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from tests import costs, profiles

# Lists of tests are short: waking polars' threads for each of a hundred small operations takes a fifth of a plan's time.
# The long profile runs with as many as there are processors, as people do.
if profiles.current().name != "long":
    os.environ.setdefault("POLARS_MAX_THREADS", "1")

# A busy machine is slow now and then; that is no failure of a law. In `ci` the examples are the same every time, so that
# a change is refused for what it does; the other profiles look for new ones.
settings.register_profile(
    "suite", deadline=None, max_examples=profiles.examples(), derandomize=profiles.current().name == "ci"
)
# How small an example is that kills a mutant is of no interest, and finding it takes minutes.
settings.register_profile("mutants", settings.get_profile("suite"), phases=set(Phase) - {Phase.shrink, Phase.explain})
settings.load_profile("mutants" if "MUTANT_UNDER_TEST" in os.environ else "suite")

# The files that take longest: their tests begin first where several processes share the tests, and last where one has all.
SLOWEST = (
    "crash/test_crash.py",
    "docs/test_readme_lines.py",
    "cli/test_machines.py",
    "sequences/test_sequences.py",
    "cluster/test_faults.py",
    "cli/test_sending.py",
    "cli/test_guarantee.py",
    "ledger/test_conformance.py",
    "cli/test_caps.py",
    "cli/test_canary.py",
    "delivery/test_runs.py",
    "cli/test_workers.py",
    "cli/test_whole_campaign.py",
    "cli/test_optouts.py",
    "web/test_browser.py",
    "cli/test_answers.py",
    "cli/test_ending_runs.py",
    "sandbox/test_sdks.py",
    "cli/test_database_state.py",
)
SIZES = {
    "kills": ("SENDER_KILLS", int, "kills of the sender by the crash harness"),
    "numbers_rows": (
        "SENDER_NUMBERS_ROWS",
        int,
        "rows of the differential test of numbers; its edges are sampled alike",
    ),
    "ledger_lives": ("SENDER_LEDGER_LIVES", str, "lives and steps of the ledger's state machines, as 200x50"),
    "delivery_messages": (
        "SENDER_DELIVERY_MESSAGES",
        int,
        "messages of each run that is followed to its end, by callbacks and by polling",
    ),
    "sequences": ("SENDER_SEQUENCES", int, "random sequences of commands"),
    "fault_free": ("SENDER_FAULT_FREE", int, "messages of the run in which nothing goes wrong"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    profile = profiles.current()
    for name, (variable, kind, text) in SIZES.items():
        default = kind(os.environ.get(variable) or getattr(profile, name))
        parser.addoption(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text}; here {default}")
    parser.addoption("--write-costs", action="store_true", help="measure what each test costs: tests/costs.txt")


def pytest_configure(config: pytest.Config) -> None:
    """Keep out of this user's home what a registry of states would get, and live runs out of the shipped rules."""
    if config.option.write_costs:
        config.pluginmanager.register(costs.CostMeter())
    os.environ.setdefault("SENDER_RULES", "none")  # or what is live would wait for the morning
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="sender-tests-")


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)


def pytest_report_header() -> str:
    return f"profile: {profiles.current().name} ({profiles.VARIABLE})"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the profile does, if all tests are asked for; put the slowest files first or last."""
    if left := leave_out(items, wants_all(config)):
        config.hook.pytest_deselected(items=list(left))
        items[:] = [item for item in items if item not in left]
    shared = hasattr(config, "workerinput")  # else they come last: a plain test that fails says more
    ranks = {name: place - len(SLOWEST) if shared else len(SLOWEST) - place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: ranks.get("/".join(item.path.parts[-2:]), 0))


def leave_out(items: list[pytest.Item], all_wanted: bool) -> set[pytest.Item]:
    """Which tests are not run: `long` is for the long profile, what costs too much for the larger ones."""
    profile = profiles.current().name
    functions = Counter(costs.function_of(item.nodeid) for item in items)
    dear: set[str] = set()
    if "MUTANT_UNDER_TEST" in os.environ:
        dear = {function for function, cost in costs.read().items() if cost > costs.MUTANTS_S}
    elif all_wanted and profile == "quick":
        dear = costs.too_dear(functions, costs.read())
    long = all_wanted and profile != "long"
    return {
        item
        for item in items
        if costs.function_of(item.nodeid) in dear or (long and item.get_closest_marker("long") is not None)
    }


def wants_all(config: pytest.Config) -> bool:
    """Whether the tests were asked for without naming any."""
    if hasattr(config, "workerinput"):  # a worker is given the folder as if somebody had named it
        return bool(config.workerinput["wants_all"])
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return not (named or config.option.markexpr or config.option.keyword)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n logical`: three processes for each processor, because many tests wait for a process, a pause or a log."""
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or 3 * (os.cpu_count() or 1))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker process what its own command line does not."""
    node.workerinput["wants_all"] = wants_all(node.config)


def pytest_collection() -> None:
    """What the collection makes stays to the end, so the garbage collector need not look through it."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    if "MUTANT_UNDER_TEST" in os.environ and _polars_has_threads():
        pytest.exit("a module of these tests computes with polars while it is imported", returncode=3)
    if os.environ.get("MUTANT_UNDER_TEST") == "stats":  # mutmut counts in this process and folder, and knows without it
        del os.environ["MUTANT_UNDER_TEST"]


def _polars_has_threads() -> bool:
    """Whether a fork of this process would wait for ever in polars: a mutant that hangs is counted as killed."""
    threads = Path("/proc/self/task")
    names = [(thread / "comm").read_text().strip() for thread in threads.iterdir()] if threads.is_dir() else []
    return any(re.fullmatch(r"polars-\d+", name) for name in names)


@pytest.fixture
def numbers_rows(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--numbers-rows")


@pytest.fixture
def ledger_lives(request: pytest.FixtureRequest) -> tuple[int, int]:
    lives, steps = request.config.getoption("--ledger-lives").split("x")
    return int(lives), int(steps)


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine is in a zone that is neither UTC nor one of those in the tests."""
    if not hasattr(time, "tzset"):  # Windows
        yield
        return
    with monkeypatch.context() as context:
        context.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()
