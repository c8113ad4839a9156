"""`python -m tests.mutation.sql`: mutants of the SQL in `sender.state.sqlite`, which no other tool takes apart.

In each statement each comparison, bound, state and clause is changed or left out once, and the tests of the state have to
notice. A mutant is a fork of a process that has collected these tests and run none, with one constant of one module
replaced. Survivors are printed; those in equivalent.toml count for nothing. The exit code is 1 when fewer than `--at-least`
percent were killed.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from tests import warm
from tests.mutation.score import Change, equivalents

MODULES = tuple(f"sender.state.sqlite.{name}" for name in ("statements", "reports", "suppression"))
TESTS = ["tests/state"]
OPTIONS = ("-m", "not slow and not process", "-x", "-q", "-p", "no:cacheprovider", "--no-header")
TIMEOUT_S = 300
_STATEMENT = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b")
STATES = ("pending", "intent", "accepted", "rejected", "unknown")
SWAPS = (
    (r"<=", "<"),
    (r"(?<![<>])<(?![=>])", "<="),
    (r">=", ">"),
    (r"(?<![-<>])>(?![=>])", ">="),
    (r"<>", "="),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bAND\b", "OR"),
    (r"\bOR\b", "AND"),
    (r"\bNOT IN\b", "IN"),
    (r"\bNOT EXISTS\b", "EXISTS"),
    (r"\+ 1\b", "+ 2"),
    (r"- 1\b", "- 2"),
    (r" DESC\b", ""),
    (r"\bmax\(", "min("),
    (r"\bmin\(", "max("),
    (r"\b0\b", "1"),
    (r"(?<![?\d])(?<!SELECT )1\b", "2"),
    (r" LIMIT \S+", ""),
    (r"ORDER BY .*?(?= LIMIT|\n|$)", ""),
    (r"\bMATERIALIZED\b", ""),
    *((f"'{state}'", f"'{STATES[place - 1]}'") for place, state in enumerate(STATES)),
)
_END_OF_CLAUSE = re.compile(r"\b(AND|OR|ORDER|LIMIT|RETURNING|GROUP|WHERE|FROM|ON|DO)\b")


@dataclass(frozen=True)
class SqlMutant:
    module: str
    name: str
    text: str
    change: Change


def statements() -> Iterator[tuple[str, str, str]]:
    """Module, name and text of each statement that is a constant, and not only a part of others."""
    found = [
        (module, name, text)
        for module in MODULES
        for name, text in vars(import_module(module)).items()
        if isinstance(text, str) and name.isupper() and _STATEMENT.search(text)
    ]
    for module, name, text in found:
        if not any(text in other and text != other for _, _, other in found):
            yield module, name, text


def mutants_of(module: str, name: str, text: str) -> Iterator[SqlMutant]:
    edits = [(m.start(), m.end(), new) for old, new in SWAPS for m in re.finditer(old, text)]
    edits += [(start, end, "") for start, end in (*_clauses(text), *_assignments(text))]
    seen = {text}
    for start, end, new in sorted(edits):
        mutated = text[:start] + new + text[end:]
        if mutated not in seen:
            seen.add(mutated)
            was, now = _lines(text, start, end), _lines(mutated, start, start + len(new))
            yield SqlMutant(module, name, mutated, Change(f"{module}.{name}", was, now))


def _clauses(text: str) -> Iterator[tuple[int, int]]:
    """Where each `AND condition` begins and ends, and each first condition with its `AND`."""
    for match in re.finditer(r"\bAND\b", text):
        yield match.start(), _end_of_clause(text, match.end())
    for match in re.finditer(r"\bWHERE\b", text):
        end = _end_of_clause(text, match.end())
        if text[end:].startswith("AND"):
            yield match.end(), end + len("AND")


def _end_of_clause(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth < 0 or (depth == 0 and _END_OF_CLAUSE.match(text, place) and not text[place - 1].isalnum()):
            return place
    return len(text)


def _assignments(text: str) -> Iterator[tuple[int, int]]:
    """Where each `name = value, ` of a SET that is followed by another begins and ends."""
    for match in re.finditer(r"\bSET\b", text):
        start, depth = match.end(), 0
        for place in range(match.end(), len(text)):
            depth += {"(": 1, ")": -1}.get(text[place], 0)
            if depth < 0 or (depth == 0 and re.match(r"\b(WHERE|FROM)\b", text[place:])):
                break
            if depth == 0 and text[place] == ",":
                yield start, place + 1
                start = place + 1


def _lines(text: str, start: int, end: int) -> str:
    """The whole lines from `start` to `end`, each without its indentation."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    return "\n".join(line.strip() for line in text[first : last if last >= 0 else len(text)].splitlines())


def killed(mutant: SqlMutant | None, tests: list[str]) -> int:
    """Fork, and return the pid of the child that runs the tests; its exit code is 0 when they pass."""
    pid = os.fork()
    if pid:
        return pid
    if mutant is not None:
        setattr(import_module(mutant.module), mutant.name, mutant.text)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        code = pytest.main([*tests, *OPTIONS])
    os._exit(int(code))


def run(mutants: list[SqlMutant], jobs: int, tests: list[str]) -> dict[int, bool]:
    """For each mutant, by its place, whether it was killed; one that does not end is."""
    results: dict[int, bool] = {}
    waiting = list(enumerate(mutants))[::-1]
    running: dict[int, tuple[int, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            place, mutant = waiting.pop()
            running[killed(mutant, tests)] = place, time.monotonic()
        for pid, (place, began_s) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() - began_s > TIMEOUT_S:
                os.kill(pid, signal.SIGKILL)
                ended, status = os.waitpid(pid, 0)
            if ended:
                del running[pid]
                results[place] = status != 0
                print(".x"[status == 0], end="", flush=True)
        time.sleep(0.01)
    print()
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-least", type=float, default=90.0, metavar="PERCENT", help="of all mutants")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", action="append", metavar="PATH", help="instead of all in tests/state")
    parser.add_argument("names", nargs="*", help="only these statements, as RECORD")
    options = parser.parse_args()
    tests = options.tests or TESTS
    os.chdir(Path(__file__).parents[2])
    listed = equivalents()
    mutants = [
        mutant
        for statement in statements()
        if not options.names or statement[1] in options.names
        for mutant in mutants_of(*statement)
    ]
    equivalent = [mutant for mutant in mutants if mutant.change in listed]
    mutants = [mutant for mutant in mutants if mutant.change not in listed]
    with redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", *tests, *OPTIONS])
    lost = [name for name in warm.threads() if warm.POOLS.match(name)]
    if lost:
        print(f"a fork would lose threads: {', '.join(lost)}", file=sys.stderr)
        return 2
    if os.waitpid(killed(None, tests), 0)[1]:
        print(f"the tests fail without a mutant: `pytest {' '.join(tests)}`", file=sys.stderr)
        return 2
    results = run(mutants, options.jobs, tests)
    for place, mutant in enumerate(mutants):
        if not results[place]:
            print(f"\n{mutant.change.where}\n  - {mutant.change.was}\n  + {mutant.change.now}")
    count = sum(results.values())
    percent = 100 * count / max(len(mutants), 1)
    print(f"\n{percent:.1f} %  {count} of {len(mutants)} killed; {len(equivalent)} more are equivalent")
    return 0 if percent >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
