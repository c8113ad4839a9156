"""`python -m benchmarks.cluster_faults`: disturbs runs over several workers, and prints what came of them as Markdown.

The same harness as `tests/cluster`, for longer runs: workers in processes of their own, in some scenarios in network
namespaces of their own (as root, with iproute2), a PostgreSQL with `fsync=on`, and a provider that counts.
`all` is the campaign of 100,000 messages, with the product's own lease and grace. A run that is not clean keeps its
folder, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import two_columns
from tests.cluster.faults import SCENARIOS, play
from tests.cluster.rig import Outcome

# The lease and the grace of the product, where the harness has 3 s and 1 s; and a provider that may be slow.
SHIPPED = {"times_ms": (30_000, 10_000), "timeout_s": 10, "starts": 20}


@dataclass(frozen=True)
class Size:
    messages: int
    rate: str
    times: int


SIZES = {
    "kill": Size(3_000, "40/s", 100),
    "steward": Size(1_000, "20/s", 6),
    "freeze": Size(1_500, "5/s", 20),
    "cut": Size(1_500, "30/s", 12),
    "restart": Size(1_500, "40/s", 10),
    "engine": Size(1_000, "40/s", 10),
    "failover": Size(1_000, "40/s", 1),
    "all": Size(100_000, "200/s", 6),
}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default: each of {', '.join(SIZES)}")
    parser.add_argument("--messages", type=int)
    parser.add_argument("--rate", help="such as 40/s")
    parser.add_argument("--times", type=int, help="how often it happens")
    parser.add_argument("--workers", type=int, default=3)
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}: choose of {', '.join(SIZES)}")
    outcomes: dict[str, Outcome] = {}
    kept = []
    for name in options.scenarios or SIZES:
        folder = Path(tempfile.mkdtemp(prefix=f"cluster-{name}-"))
        size = SIZES[name]
        outcomes[name] = play(
            folder,
            name,
            messages=options.messages or size.messages,
            rate=options.rate or size.rate,
            times=options.times or size.times,
            workers=options.workers,
            most_s=3_600.0,
            **(SHIPPED if name == "all" else {}),
        )
        print(time.strftime("%H:%M:%S"), name, outcomes[name], file=sys.stderr, flush=True)
        if outcomes[name].is_clean:
            shutil.rmtree(folder)
        else:
            kept.append(f"not clean: {name}, {folder} is kept")
    print(table(outcomes, options.workers))
    print("\n".join(kept), file=sys.stderr)
    return 1 if kept else 0


def table(outcomes: dict[str, Outcome], workers: int) -> str:
    """The runs as Markdown: one at length, several with a line each."""
    command = shlex.join(["python", "-m", "benchmarks.cluster_faults", *sys.argv[1:]])
    system = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [f"`{command}`, {time.strftime('%Y-%m-%d')}, {system}, {workers} workers:", ""]
    if len(outcomes) == 1:
        ((name, one),) = outcomes.items()
        rows = [
            (f"disturbances (`{name}`)", f"{one.disturbances:,}"),
            ("starts by hand", f"{one.starts:,}"),
            ("messages planned", f"{one.planned:,}"),
            ("accepted, by the provider's own count", f"{sum(n * times for times, n in one.sent.items()):,}"),
            ("accepted, by the ledger", f"{one.accepted:,}"),
            ("rows of the results with the provider's own id", f"{one.agreed:,}"),
            ("**duplicates**", f"**{one.duplicates:,}**"),
            ("**lost**", f"**{one.lost:,}**"),
            ("most in any second, at the provider", f"{one.most_a_second:,}"),
            ("took", f"{one.took_s / 60:.1f} min"),
        ]
        return "\n".join([*lines, *two_columns(("", ""), rows)])
    lines += [
        "| scenario | disturbances | planned | at the provider | results agree | duplicates | lost | starts | min |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in outcomes.items():
        cells = [
            one.disturbances,
            one.planned,
            sum(one.sent.values()),
            one.agreed,
            one.duplicates,
            one.lost,
            one.starts,
        ]
        lines.append(f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} | {one.took_s / 60:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
