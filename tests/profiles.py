"""How much the tests do: `SENDER_TEST_PROFILE` is quick (the default), ci or long.

The same tests run in each, at other sizes; quick leaves out what is marked `slow` when all tests are asked for. An option
or a variable of its own overrides one size: `pytest --kills 400`, `SENDER_LEDGER_LIVES=40x20 pytest`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

VARIABLE = "SENDER_TEST_PROFILE"


@dataclass(frozen=True)
class Profile:
    """The sizes of the tests that have one."""

    name: str
    kills: int  # of the sender by the crash harness
    numbers_rows: int  # of the differential test of numbers; its edges are sampled alike
    ledger_lives: str  # lives and steps of the ledger's state machines
    delivery_messages: int  # of each run that is followed to its end, by callbacks and by polling
    sequences: int  # of commands, at random
    fault_free: int  # messages of the run in which nothing goes wrong
    examples: float  # of property tests: how many times those that hypothesis makes by default, or a test asks for


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quick", 25, 5_000, "10x20", 270, 3, 300, 0.25),
        Profile("ci", 25, 5_000, "20x40", 300, 8, 1_000, 0.25),
        Profile("long", 1_000, 1_000_000, "2000x50", 10_000, 300, 10_000, 10),
    )
}


def current() -> Profile:
    """The profile that the environment names. Raises ValueError for one that does not exist."""
    name = os.environ.get(VARIABLE) or "quick"
    if name not in PROFILES:
        raise ValueError(f"{VARIABLE}={name}: choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def examples(count: int = 100) -> int:
    """For `@settings(max_examples=examples(200))`: `count` examples, times what the current profile has."""
    return max(10, round(count * current().examples))


def pairs(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """For `@pytest.mark.parametrize(("a", "b"), pairs(...))`: in `long` each with each; else each of `first` with one.

    Those of `second` take turns, so each of them comes as often as the others.
    """

    def name(value: Any) -> str:
        return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return [
        pytest.param(
            one, other, marks=pytest.mark.long if (i - j) % len(second) else (), id=f"{name(one)}-{name(other)}"
        )
        for j, other in enumerate(second)
        for i, one in enumerate(first)
    ]


def draw_seed() -> int:
    """A seed for a harness: the same one each time in `ci`, where a change is judged; a new one in the other profiles."""
    return 1 if current().name == "ci" else random.SystemRandom().randrange(1 << 30)
