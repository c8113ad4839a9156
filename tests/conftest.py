"""Settings of the whole suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A busy machine is slow now and then; that is no failure of a law.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--numbers-rows",
        type=int,
        default=int(os.environ.get("SENDER_NUMBERS_ROWS") or 100_000),
        help="rows of the differential test of numbers; its edges are sampled alike",
    )
    parser.addoption(
        "--ledger-lives",
        default=os.environ.get("SENDER_LEDGER_LIVES") or "40x20",
        help="lives and steps of the ledger's state machines; 200x50 for a long run",
    )
    parser.addoption(
        "--delivery-messages",
        type=int,
        default=int(os.environ.get("SENDER_DELIVERY_MESSAGES") or 2_500),
        help="messages of each run that is followed to its end, by callbacks and by polling; 10000 for a long run",
    )


@pytest.fixture
def numbers_rows(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--numbers-rows")


@pytest.fixture
def ledger_lives(request: pytest.FixtureRequest) -> tuple[int, int]:
    lives, steps = request.config.getoption("--ledger-lives").split("x")
    return int(lives), int(steps)
