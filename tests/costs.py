"""What the tests cost, as measured, and which of them cost too much for a tier: `pytest --write-costs` writes costs.txt.

The cost of a function is the processor time of one of its tests, in seconds, with what its processes use, or an eighth of
the time that it takes where that is more: two processors serve six processes, and who waits holds up one of them. What a
file's functions share (a fixture of a module or a class) is divided among those that use it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

FILE = Path(os.environ.get("SENDER_TEST_COSTS") or Path(__file__).with_name("costs.txt"))
QUICK_S = 0.05  # the dearest function of the quick tier, unless its file had none otherwise
MUTANTS_S = 2.0  # the dearest one that looks for mutants
ONLY_ONE_S = 1.0  # the dearest one, with all its tests, that is run so that its file has one


def function_of(nodeid: str) -> str:
    """The function of a test: its name without the values that it is called with."""
    return nodeid.partition("[")[0]


def read() -> dict[str, float]:
    """The functions that cost more than `QUICK_S` each, with what they cost; new ones are not among them yet."""
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.is_file() else []
    return {function: float(cost) for cost, _, function in (line.partition(" ") for line in lines)}


def write(costs: Mapping[str, float]) -> None:
    """Write the costs that `read` returns, by name."""
    lines = [f"{cost:.2f} {function}\n" for function, cost in sorted(costs.items()) if round(cost, 2) > QUICK_S]
    FILE.write_text("".join(lines), encoding="utf-8")


def too_dear(functions: Mapping[str, int], costs: Mapping[str, float]) -> set[str]:
    """Which functions the quick tier leaves out: those that cost too much, but of no file all that it has.

    `functions` have a number of tests each.
    """
    dear = functions.keys() & costs.keys()
    totals = {function: costs[function] * functions[function] for function in dear}
    of_files: dict[str, list[str]] = defaultdict(list)
    for function in functions:
        of_files[function.partition("::")[0]].append(function)
    cheapest = {min(those, key=lambda one: (totals[one], one)) for those in of_files.values() if dear.issuperset(those)}
    return dear - {function for function in cheapest if totals[function] <= ONLY_ONE_S}


class CostMeter:
    """A plugin that measures each test, adds up those of all processes, and writes the costs when they end."""

    def __init__(self) -> None:
        self._spent: dict[str, tuple[int, float]] = {}  # by function: its tests, and what they cost
        self._shared: dict[tuple[str, str], float] = defaultdict(float)  # by file and fixture
        self._users: dict[tuple[str, str], set[str]] = defaultdict(set)  # functions
        self._not_own = 0.0  # of what the current test has cost

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Function) -> Iterator[None]:
        before, self._not_own = os.times(), 0.0
        try:
            return (yield)
        finally:
            function = function_of(item.nodeid)
            self._add(function, 1, max(0.0, _cost_since(before) - self._not_own))
            for name in item.fixturenames:
                self._users[function.partition("::")[0], name].add(function)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[Any]:
        before = os.times()
        try:
            return (yield)
        finally:
            if fixturedef.scope in ("class", "module"):
                cost = _cost_since(before)
                self._shared[request.node.nodeid.partition("::")[0], fixturedef.argname] += cost
                self._not_own += cost

    def _add(self, function: str, count: int, cost: float) -> None:
        earlier = self._spent.get(function, (0, 0.0))
        self._spent[function] = (earlier[0] + count, earlier[1] + cost)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for place, cost in self._shared.items():
            for function in self._users[place]:
                self._add(function, 0, cost / len(self._users[place]) * self._spent[function][0])
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["costs"] = self._spent

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for function, (count, cost) in getattr(node, "workeroutput", {}).get("costs", {}).items():
            self._add(function, count, cost)

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        if not hasattr(config, "workerinput"):
            write({function: cost / count for function, (count, cost) in self._spent.items()})


def _cost_since(before: os.times_result) -> float:
    took = [after - earlier for after, earlier in zip(os.times(), before, strict=True)]
    return max(sum(took[:4]), took[4] / 8)
