"""`python -m tests.mutation.score`: how many of mutmut's mutants the tests have killed, by package, and which survived.

Run it after `mutmut run`, in the same folder. A mutant that cannot be told from the original is listed in equivalent.toml
with the reason, and counts for nothing; so does one whose SQL is the same in other letters, and one of a protocol, which
nobody runs. One that no test ran counts as a survivor, one that never ended as killed. The exit code is 1 when a package
has fewer killed than `--at-least` percent.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
KILLED = {"killed", "timeout", "caught by type check"}
SURVIVED = {"survived", "no tests", "suspicious", "segfault"}
_SQL = re.compile(r'"(SELECT|INSERT|UPDATE|DELETE|WITH|PRAGMA) ')
_WITH_CASE = re.compile(r"'|[:@$]\w")
_NAME = re.compile(r"(?P<module>[\w.]+)\.x(?:ǁ(?P<of>\w+)ǁ|_)(?P<function>\w+)__mutmut_\d+")


@dataclass(frozen=True)
class Mutant:
    name: str
    status: str

    @property
    def module(self) -> str:
        return self._parts["module"]

    @property
    def where(self) -> str:
        """The function that was changed: `sender.plan.sender_pool.SenderPool.order`."""
        parts = self._parts
        return ".".join(part for part in (parts["module"], parts["of"], parts["function"]) if part)

    @property
    def _parts(self) -> re.Match[str]:
        match = _NAME.fullmatch(self.name)
        assert match, self.name
        return match


@dataclass(frozen=True)
class Change:
    """What a mutant changes: the lines that go and the lines that come, without their indentation."""

    where: str
    was: str
    now: str


def mutants() -> list[Mutant]:
    lines = _mutmut("results", "--all", "true").splitlines()
    found = (line.strip().rsplit(": ", 1) for line in lines if "__mutmut_" in line)
    return [mutant for mutant in (Mutant(name, status) for name, status in found) if not _is_declared(mutant)]


def _is_declared(mutant: Mutant) -> bool:
    """Whether it changes a method of a protocol, which nobody runs: only its default values are code."""
    owner = mutant.where.removeprefix(f"{mutant.module}.").rpartition(".")[0]
    return bool(owner) and getattr(getattr(import_module(mutant.module), owner), "_is_protocol", False)


def change_of(mutant: Mutant) -> Change:
    lines = [line for line in _mutmut("show", mutant.name).splitlines() if not line.startswith(("---", "+++"))]
    sides = ("\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return Change(mutant.where, *sides)


def equivalents() -> set[Change]:
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    return {Change(entry["where"], entry["was"].strip(), entry["now"].strip()) for entry in entries}


def is_same_sql(change: Change) -> bool:
    """Whether only the letters of a statement are others: SQL has no case, but texts and names of parameters have."""
    is_sql = _SQL.search(change.was) and not _WITH_CASE.search(change.was)
    return bool(is_sql) and change.was.lower() == change.now.lower()


def _mutmut(*arguments: str) -> str:
    """What the command prints. It runs in this process: a process of its own for each survivor takes seconds."""
    from mutmut.__main__ import cli  # it reads the folder's pyproject.toml

    output = io.StringIO()
    with redirect_stdout(output):
        cli.main(list(arguments), standalone_mode=False)
    return output.getvalue()


def report(found: Iterable[Mutant], at_least: float) -> int:
    """Print each survivor, and a line for each module and each package; return the exit code."""
    listed, seen = equivalents(), set[Change]()
    killed: Counter[str] = Counter()
    survivors: dict[str, list[Change]] = defaultdict(list)
    for mutant in found:
        if mutant.status in KILLED:
            killed[mutant.module] += 1
        elif mutant.status in SURVIVED:
            change = change_of(mutant)
            if change in listed or is_same_sql(change):
                seen.add(change)
            else:
                survivors[mutant.module].append(change)
    modules = sorted({*killed, *survivors})
    for module in modules:
        for change in survivors[module]:
            print(f"\n{change.where}\n  - {change.was}\n  + {change.now}".replace("\n\n", "\n"))
    print()
    totals = Counter({module: killed[module] + len(survivors[module]) for module in modules})
    by_package, total_by_package = _by_package(killed), _by_package(totals)
    for module in modules:
        print(_line(killed[module], totals[module], module))
    print()
    for package, total in total_by_package.items():
        print(_line(by_package[package], total, package))
    print(_line(killed.total(), totals.total(), "in all"))
    print(f"{len(seen)} more: equivalent to the original (tests/mutation/equivalent.toml)")
    low = [name for name, total in total_by_package.items() if 100 * by_package[name] < at_least * total]
    for package in low:
        print(f"fewer than {at_least:g} % killed: {package}")
    return 1 if low else 0


def _by_package(counts: Counter[str]) -> Counter[str]:
    """The counts of modules summed by package: `sender.sending`, not the packages within it."""
    packages: Counter[str] = Counter()
    for module, count in counts.items():
        packages[".".join(module.split(".")[:2])] += count
    return packages


def _line(killed: int, total: int, name: str) -> str:
    return f"{100 * killed / total:6.1f} %  {killed:5} of {total:5}  {name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-least", type=float, default=90.0, metavar="PERCENT", help="of each package's mutants")
    parser.add_argument("modules", nargs="*", help="only these, as sender.sending.circuit_breaker")
    options = parser.parse_args()
    chosen = [mutant for mutant in mutants() if not options.modules or mutant.module in options.modules]
    checked = [mutant for mutant in chosen if mutant.status in KILLED | SURVIVED]
    if not checked:
        print("nothing has been checked: `mutmut run` comes first", file=sys.stderr)
        return 2
    if len(checked) < len(chosen):
        print(f"{len(chosen) - len(checked)} of {len(chosen)} are not checked yet", file=sys.stderr)
    return report(checked, options.at_least)


if __name__ == "__main__":
    sys.exit(main())
