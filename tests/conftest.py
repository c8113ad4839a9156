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


@pytest.fixture
def numbers_rows(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--numbers-rows")
