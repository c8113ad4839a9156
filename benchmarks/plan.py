"""A plan from a CSV of 8 columns, read, rendered and written by `sender plan`: speed, processor time, peak memory.

`python -m benchmarks.plan --write people.csv --rows 10000000` writes only the list, for `/usr/bin/time -v`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import ROOT, Figure, seconds
from benchmarks.numbers import AREAS

# Exchanges of North America that belong to nobody: directory services, carrier access, tests. The list is planned and
# goes nowhere; of the numbers for fiction there are too few to be all different.
NOBODYS = (555, 950, 958, 959)
WAYS = ("{}{}{:04}", "({}) {}-{:04}", "{}-{}-{:04}", "+1{}{}{:04}", "{}.{}.{:04}")
TEXT = "Hi {{ first_name }}, see you on {{ day }} in {{ city }}."
MANY, GOAL_PER_S, GOAL_MIB = 1_000_000, 200_000, 1536
COMMAND = ("--provider", "sandbox", "--from", "+12025550100", "--default-region", "US", "--body", TEXT)


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """`options.rows` rows, of which 98 in a hundred become messages; and a list against five times as many numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = people(folder / "people.csv", options.rows)
        took, used_s, peak_mib = plan(source, folder / "plan")
        note = f"{options.rows:,} rows in {took:.1f} s ({used_s:.1f} s of processor)"
        many = options.rows >= MANY  # below that, starting the command is most of it
        per_s = GOAL_PER_S if many else None
        yield Figure("plan", "8 columns, CSV to written plan", options.rows / took, "/s", goal=per_s, note=note)
        yield Figure("plan", "peak memory of it", peak_mib, " MiB", goal=GOAL_MIB if options.rows <= MANY else None)
        many = stop_list(folder / "stop.csv", 5 * options.rows)
        few = people(folder / "few.csv", min(1_000, options.rows))
        took, used_s, peak_mib = plan(few, folder / "held", "--suppress", str(many))
        note = f"{5 * options.rows:,} numbers in {took:.1f} s ({used_s:.1f} s of processor), peak {peak_mib:,.0f} MiB"
        yield Figure("plan", "a suppression file", 5 * options.rows / took, "/s", note=note)


def plan(source: Path, out: Path, *more: str) -> tuple[float, float, float]:
    """Seconds, seconds of processor (user and system), and the peak memory in MiB of `sender plan`."""
    arguments = [sys.executable, "-m", "sender", "plan", str(source), *COMMAND, *more]
    arguments += ["--out", str(out), "--state-dir", str(out.parent / "state"), "--json"]
    usage = None

    def run() -> None:
        nonlocal usage
        quiet = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        child = os.posix_spawn(sys.executable, arguments, {**os.environ, "PYTHONPATH": str(ROOT)}, file_actions=[quiet])
        _, status, usage = os.wait4(child, 0)
        if status:
            raise RuntimeError(f"sender plan ended with {os.waitstatus_to_exitcode(status)}")

    took = seconds(run)
    kib = 1024 if sys.platform == "darwin" else 1
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / kib / 1024


def people(path: Path, rows: int) -> Path:
    """A list of different numbers in five ways of writing; one cell in a hundred is no number, one stands twice."""
    cities = ("Springfield", "New York", "Salt Lake City", "São Paulo")
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write("Phone,First Name,Last Name,City,Plan,Day,Store,Note\r\n")
        for i in range(rows):
            phone = number(i - 1 if i % 100 == 50 else i, WAYS[i % 5])
            if i % 100 == 99:
                phone = "n/a"
            file.write(f"{phone},Name{i},Doe,{cities[i % 4]},Gold,Friday,{i % 50},\r\n")
    return path


def stop_list(path: Path, rows: int) -> Path:
    """A plain list of different numbers: every third one of those that people have."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(f"{number(i * 3, WAYS[3])}\n" for i in range(rows))
    return path


def number(at: int, way: str) -> str:
    """One of 18 million."""
    return way.format(AREAS[at // 40_000 % len(AREAS)], NOBODYS[at % 4], at // 4 % 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--write", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    people(options.write, options.rows)
    print("sender plan", options.write, *(f"'{one}'" if " " in one else one for one in COMMAND))


if __name__ == "__main__":
    main()
