"""Runs one client's cases against the sandbox at argv[1] and prints what became of each, as JSON.

Imported by the scripts next to it, each of which runs in a process of its own with its client's packages.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

FROM, TO = "+12025550100", "+12025550123"
MEDIA = ["https://example.com/a.png", "https://example.com/b.pdf"]
PROFILE = "1b2c3d4e-0000-4000-8000-00000000abcd"
GROUP = "2b2c3d4e-0000-4000-8000-00000000abcd"
SERVICE = "MG" + "7" * 32
PROJECT = "5a5a5a5a-0000-4000-8000-5a5a5a5a5a5a"
ACCOUNT = "AC" + "5a" * 16


class Cases:
    """The cases of one client, by name, in order."""

    def __init__(self) -> None:
        self._cases: dict[str, Callable[[], object]] = {}

    def __call__(self, case: Callable[[], object]) -> Callable[[], object]:
        self._cases[case.__name__.replace("_", " ")] = case
        return case

    def run(self, *packages: str) -> None:
        """Run every case, and print `{"version": ..., "cases": {name: "passed" or a traceback}}`."""
        results = {}
        for name, case in self._cases.items():
            try:
                case()
                results[name] = "passed"
            except Exception:  # noqa: BLE001 (whatever it is, it is this case's)
                results[name] = traceback.format_exc()
        print(json.dumps({"version": " ".join(version(package) for package in packages), "cases": results}))  # noqa: T201


def url() -> str:
    """The sandbox's address."""
    return sys.argv[1]


def refused(call: Callable[[], Any], error: type[Exception]) -> Any:
    """The error that `call` raises."""
    try:
        call()
    except error as caught:
        return caught
    raise AssertionError("nothing was raised")
