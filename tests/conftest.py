"""Settings of the whole suite."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

from tests import profiles

# A busy machine is slow now and then; that is no failure of a law.
settings.register_profile("suite", deadline=None, max_examples=profiles.examples())
settings.load_profile("suite")

# Of the files, by their names, the ones that take longest: their tests begin first where several processes share them.
SLOWEST = (
    "test_crash",
    "test_guarantee",
    "test_sending",
    "test_delivery_runs",
    "test_phone_differential",
    "test_workers",
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
    "fault_free": ("SENDER_FAULT_FREE", int, "messages of the run in which nothing goes wrong"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    profile = profiles.current()
    for name, (variable, kind, text) in SIZES.items():
        default = kind(os.environ.get(variable) or getattr(profile, name))
        parser.addoption(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text}; here {default}")


def pytest_report_header() -> str:
    return f"profile: {profiles.current().name} ({profiles.VARIABLE})"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow, if the profile is quick and all tests are asked for; put the slowest files first or last."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS and not config.option.markexpr
    if whole and profiles.current().name == "quick":
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    shared = hasattr(config, "workerinput")  # else they come last: a plain test that fails says more
    ranks = {name: place - len(SLOWEST) if shared else len(SLOWEST) - place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, 0))


def pytest_collection_finish() -> None:
    """What the collection has made stays to the end, so the garbage collector need not look through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def numbers_rows(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--numbers-rows")


@pytest.fixture
def ledger_lives(request: pytest.FixtureRequest) -> tuple[int, int]:
    lives, steps = request.config.getoption("--ledger-lives").split("x")
    return int(lives), int(steps)
