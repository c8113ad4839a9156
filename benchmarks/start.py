"""`sender --help` against an empty Python: what every command waits for."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.figures import ROOT, Figure, median_seconds


def figures(_options: argparse.Namespace) -> Iterator[Figure]:
    def took_ms(*command: str) -> float:
        def run() -> None:
            subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)

        return median_seconds(run, turns=9) * 1000

    ours, empty = took_ms("-m", "sender", "--help"), took_ms("-c", "pass")
    yield Figure("start", "sender --help", ours, " ms", empty, "an empty Python; at most 250 ms are wanted")
