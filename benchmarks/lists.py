"""`python -m benchmarks.lists`: a list of 8 columns to a written plan, in each format, and with a suppression list.

Each plan is made by a process of its own; its peak is the most memory it ever held (what `/usr/bin/time -v` calls
maximum resident set size). `--rows 10000000 --only csv` is the large one. Every row gets a message: numbers for tests
(NPA-555-01xx) repeat beyond 40,000, so nothing is deduplicated, but in the line that says so.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADERS = ["Phone", "First Name", "Last Name", "City", "Plan", "Day", "Store", "Note"]
KINDS = ("csv", "gzip", "zstd", "parquet", "dedupe", "suppress", "wide")
WIDE_COLUMNS, WIDE_ROWS = 10_000, 2_000

_CODE = """
import sys, time, resource
begun, cpu = time.perf_counter(), time.process_time()
import sender
from pathlib import Path
list_, dedupe, *suppress = sys.argv[1:]
campaign = sender.load_campaign(
    name="benchmark", recipients={"file": list_, "default_region": "US"}, provider="sandbox", from_="+12025550100",
    message="Hi {{ first_name }}, see you on {{ day }} in {{ city }}.", dedupe=dedupe, suppress=suppress,
)
manifest = sender.build_plan(campaign).write(Path(list_).with_suffix(".plan")).manifest
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)
print(time.perf_counter() - begun, time.process_time() - cpu, peak, manifest.messages)
"""


@dataclass(frozen=True)
class Made:
    """A plan that was made: `seconds` from the start of the program on, `cpu_s` of all threads, `peak_mib`."""

    rows: int
    seconds: float
    cpu_s: float
    peak_mib: float
    messages: int

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows in {self.seconds:.1f} s ({self.cpu_s:.1f} s CPU): "
            f"{self.rows / self.seconds:,.0f} rows/s, peak {self.peak_mib:,.0f} MiB, {self.messages:,} messages"
        )


def areas() -> list[int]:
    """Area codes in use: with 555-01xx they make numbers that are valid and nobody's."""
    import phonenumbers

    return [
        area
        for area in range(201, 990)
        if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{area}5550100")) and area % 100 != 11
    ]


def people(path: Path, rows: int) -> Path:
    """A CSV of so many rows."""
    known = areas()
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(_people(known, rows))
    return path


def wide(path: Path) -> Path:
    """A CSV of WIDE_COLUMNS columns and WIDE_ROWS rows, as long as 150,000 rows of eight columns."""
    known = areas()
    more = range(WIDE_COLUMNS - len(HEADERS))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for row, cells in enumerate(_people(known, WIDE_ROWS)):
            writer.writerow([*cells, *(f"field {place}" if row == 0 else f"v{row * place % 97}" for place in more)])
    return path


def _people(known: list[int], rows: int) -> Iterator[list[object]]:
    yield list(HEADERS)
    for i in range(rows):
        number = f"({known[i // 90 % len(known)]}) 555-01{i % 90:02}"
        yield [number, f"Name{i}", "Doe", "Springfield", "Gold", "Friday", i % 50, ""]


def plan(source: Path, rows: int, *, dedupe: str = "none", suppress: Path | None = None) -> Made:
    """The plan of `source`, made by a process of its own."""
    command = [sys.executable, "-c", _CODE, str(source), dedupe, *([str(suppress)] if suppress else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, cpu_s, peak_mib, messages = map(float, done.stdout.split())
    return Made(rows, seconds, cpu_s, peak_mib, int(messages))


def packed(source: Path, kind: str) -> Path:
    """The CSV in another form."""
    import polars as pl
    from backports import zstd

    if kind == "parquet":
        target = source.with_suffix(".parquet")
        pl.scan_csv(source, infer_schema=False).sink_parquet(target)
        return target
    target = source.with_suffix(".csv.gz" if kind == "gzip" else ".csv.zst")
    with source.open("rb") as file, gzip.open(target, "wb", 5) if kind == "gzip" else zstd.open(target, "wb") as out:
        shutil.copyfileobj(file, out, 2**22)
    return target


def stop_list(path: Path, numbers: int) -> Path:
    """So many different numbers, some of the list's among them. They are only compared, never written to."""
    chosen = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        file.write("phone\n")
        for area in areas()[:20]:
            file.write(f"+1{area}5550150\n")
        for start in range(0, numbers - 20, 1_000_000):
            ends = chosen.sample(range(2_000_000, 10_000_000), min(1_000_000, numbers - 20 - start))
            file.writelines(f"+1{305 + start // 1_000_000}{end}\n" for end in ends)
    return path


def plain_set(path: Path) -> float:
    """Seconds to read a suppression list the plain way, without a look at its numbers: a set of Python's strings."""
    begun = time.perf_counter()
    with path.open(newline="", encoding="utf-8") as file:
        numbers = {row["phone"] for row in csv.DictReader(file)}
    assert numbers
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--suppress", type=int, default=5_000_000, help="numbers in the suppression list")
    parser.add_argument("--only", choices=KINDS, action="append", help="may be repeated")
    options = parser.parse_args()
    kinds = options.only or KINDS
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    with tempfile.TemporaryDirectory() as name:
        source = people(Path(name) / "people.csv", options.rows)
        base = plan(source, options.rows) if {"csv", "dedupe", "suppress"} & {*kinds} else None
        if "csv" in kinds:
            print(f"csv       {base}")
        for kind in ("gzip", "zstd", "parquet"):
            if kind in kinds:
                target = packed(source, kind)
                print(f"{kind:9} {plan(target, options.rows)}")
                target.unlink()
        if "dedupe" in kinds:
            print(f"dedupe    {plan(source, options.rows, dedupe='first')}")
        if "wide" in kinds:
            print(f"wide      {plan(wide(Path(name) / 'wide.csv'), WIDE_ROWS)}, {WIDE_COLUMNS:,} columns")
        if "suppress" in kinds:
            stop = stop_list(Path(name) / "stop.csv", options.suppress)
            made = plan(source, options.rows, suppress=stop)
            more = made.seconds - (base.seconds if base else 0)
            print(
                f"suppress  {made}\n          {options.suppress:,} suppressed numbers, read, checked and joined:"
                f" {more:.1f} s; Python's csv and a set of texts, unchecked: {plain_set(stop):.1f} s"
            )


if __name__ == "__main__":
    main()
