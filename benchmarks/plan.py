"""A plan from a CSV of 8 columns, read, rendered and written, in a process of its own: speed and peak memory."""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import AREAS, ROOT, Figure

CODE = """
import sys, time, resource, sender
from pathlib import Path
begun = time.perf_counter()
campaign = sender.load_campaign(recipients={'file': sys.argv[1], 'default_region': 'US'}, provider='sandbox',
    from_='+12025550100', message='Hi {{ first_name }}, see you on {{ day }} in {{ city }}.')
plan = sender.build_plan(campaign).write(Path(sys.argv[1]).with_suffix('.plan'))
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """`options.rows` rows."""
    with tempfile.TemporaryDirectory() as folder:
        source = people(Path(folder) / "plan.csv", options.rows)
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(source)], cwd=ROOT, capture_output=True, text=True, check=True
        )
    took, peak_mib = map(float, done.stdout.split())
    note = f"{options.rows:,} rows in {took:.1f} s, peak {peak_mib:,.0f} MiB"
    yield Figure("plan", "8 columns, CSV to written plan", options.rows / took, "/s", note=note)


def people(path: Path, rows: int) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["Phone", "First Name", "Last Name", "City", "Plan", "Day", "Store", "Note"])
        for i in range(rows):  # beyond the fictional numbers there are duplicates, as in life
            area = AREAS[i // 90 % len(AREAS)]
            out.writerow(
                [f"({area}) 555-01{i % 90:02}", f"Name{i}", "Doe", "Springfield", "Gold", "Friday", i % 50, ""]
            )
    return path
