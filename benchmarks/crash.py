"""`python -m benchmarks.crash`: kills the real command again and again, and prints what came of it as Markdown.

The same harness as `tests/crash`, for longer runs: campaigns of 300 messages against the sandbox with all its faults,
each killed a dozen times (at named points and from outside, at any moment), resumed to its end, and compared with
what the provider says it accepted. A campaign that is not clean leaves its folder, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import two_columns
from tests.crash import two_routes
from tests.crash.harness import PATIENT_S, RANDOM, Tally, campaign, many_kills
from tests.crash.launcher import POINTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="default: a fresh one, which is printed")
    parser.add_argument("--messages", type=int, default=300, help="messages of a campaign")
    parser.add_argument("--jobs", type=int, default=2, help="campaigns at one time")
    parser.add_argument("--routes", action="store_true", help="campaigns with two routes, which fail in turn")
    parser.add_argument("--fault-free", type=int, metavar="N", help="instead: one run of N messages without a fault")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    begun = time.monotonic()
    if options.fault_free:
        with campaign(
            folder / "smooth", messages=options.fault_free, dialect="twilio", rate="none", timeout_s=PATIENT_S
        ) as target:
            target.finish()
            tally = target.judge()
    else:
        seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)
        print(f"seed {seed}", file=sys.stderr)
        tally = (two_routes.many_kills if options.routes else many_kills)(
            folder, kills=options.kills, seed=seed, messages=options.messages, jobs=options.jobs, tell=_progress
        )
        if options.seed is None:
            sys.argv += ["--seed", str(seed)]
    print(table(tally, time.monotonic() - begun))
    if tally.clean:
        shutil.rmtree(folder)
        return 0
    print(f"not clean: {folder} is kept\n{tally}", file=sys.stderr)
    return 1


def _progress(tally: Tally) -> None:
    print(time.strftime("%H:%M:%S"), str(tally).strip().replace("\n", "\n  "), file=sys.stderr, flush=True)


def table(tally: Tally, seconds: float) -> str:
    """The run as Markdown: the sum first, then kills by point and faults by kind."""
    settled = tally.unknown_found + tally.unknown_absent
    rows = [
        ("kills of the sender", f"{tally.kills.total():,}"),
        ("kills of the provider", f"{tally.provider_kills:,}"),
        ("campaigns, starts", f"{tally.campaigns:,}, {tally.starts:,}"),
        ("messages planned", f"{tally.messages:,}"),
        ("accepted, by the provider's own count", f"{tally.accepted:,}"),
        ("faults injected", f"{tally.faults.total():,}"),
        ("**duplicates**", f"**{tally.duplicates:,}**"),
        ("**lost**", f"**{tally.losses:,}**"),
        ("sent, but reported as not sent", f"{tally.misreported:,}"),
        ("rows not accounted for in the results", f"{tally.unaccounted:,}"),
        (
            "unknown, settled from the log",
            f"{settled:,} ({tally.unknown_found:,} found, {tally.unknown_absent:,} absent)",
        ),
        ("unknown, remaining", f"{tally.unknown_left:,}"),
        *([("moved to another route", f"{tally.moved:,}")] if tally.by_second else []),
        *([("sent by the second route", f"{tally.by_second:,}")] if tally.by_second else []),
        ("rejected", f"{tally.rejected:,}"),
    ]
    command = shlex.join(["python", "-m", "benchmarks.crash", *sys.argv[1:]])
    lines = [
        (
            f"`{command}`, {time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores,"
            f" Python {platform.python_version()}, {seconds / 60:.1f} min:"
        ),
        "",
        *two_columns(("", ""), rows),
    ]
    if tally.kills:
        points = [(f"`{point}`", f"{tally.kills[point]:,}") for point in POINTS if tally.kills[point]]
        lines += ["", *two_columns(("killed", "times"), [(RANDOM, f"{tally.kills[RANDOM]:,}"), *points])]
    if tally.faults:
        kinds = [(f"`{kind}`", f"{times:,}") for kind, times in sorted(tally.faults.items())]
        lines += ["", *two_columns(("fault", "times"), kinds)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
