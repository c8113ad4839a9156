"""`python -m benchmarks.sequences`: random sequences of commands against a provider that counts, as Markdown.

The same harness as `tests/sequences`, for longer runs: two campaigns in one state; send, kill, edit, opt out, retry,
rehearse, close, pause, and every way on that a refusal names. After each command the provider's record is compared with
a model of who may be texted. A sequence that is not clean leaves its folder, and the exit code is 1.
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
from tests.sequences.harness import many_sequences
from tests.sequences.world import Tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--steps", type=int, default=12, help="steps of a sequence")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the first sequence; default: a fresh one, which is printed"
    )
    parser.add_argument("--jobs", type=int, default=3, help="sequences at one time")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sequences-"))
    begun = time.monotonic()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 30)
        sys.argv += ["--seed", str(options.seed)]
    print(f"seed {options.seed}", file=sys.stderr)
    tally = many_sequences(
        folder,
        sequences=options.sequences,
        seed=options.seed,
        steps=options.steps,
        jobs=options.jobs,
        on_progress=_show_progress,
    )
    print(_table(tally, time.monotonic() - begun))
    if tally.clean:
        shutil.rmtree(folder)
        return 0
    print(f"not clean: {folder} is kept\n{tally}", file=sys.stderr)
    return 1


def _show_progress(tally: Tally) -> None:
    print(time.strftime("%H:%M:%S"), str(tally).splitlines()[0], file=sys.stderr, flush=True)


def _table(tally: Tally, seconds: float) -> str:
    """The run as Markdown: the sum first, then the steps by kind."""
    rows = [
        ("sequences, steps", f"{tally.sequences:,}, {tally.steps.total():,}"),
        ("commands, kills", f"{tally.commands:,}, {tally.kills:,}"),
        ("texts, by the provider's own count", f"{tally.texts:,}"),
        ("**texts to somebody who had it**", f"**{tally.repeats:,}**"),
        ("**texts after an opt-out**", f"**{tally.after_opt_out:,}**"),
        ("texts to somebody who was never on the list", f"{tally.strangers:,}"),
        ("people who may be texted and were missed", f"{tally.missed:,}"),
        ("misreports", f"{tally.misreports:,}"),
    ]
    command = shlex.join(["python", "-m", "benchmarks.sequences", *sys.argv[1:]])
    steps = [(f"`{kind}`", f"{times:,}") for kind, times in sorted(tally.steps.items())]
    return "\n".join(
        [
            (
                f"`{command}`, {time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores,"
                f" Python {platform.python_version()}, {seconds / 60:.1f} min:"
            ),
            "",
            *two_columns(("", ""), rows),
            "",
            *two_columns(("step", "times"), steps),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
