"""`python -m benchmarks [PART ...]`: the figures of the README, measured anew, and a table of them at the end.

Ours and the plain way take turns in one run, since the machine is shared: ratios count. A part is a module beside this
one with `figures(options)`, which yields each figure as it is measured. Some have more to show when they are run alone:
`python -m benchmarks.numbers`, `.segments`, `.templates`; `.profile` tells where a message's processor time goes;
`.crash` and `.sequences` measure nothing;
`python -m benchmarks versus COMMIT` compares this build with an older one.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module

from benchmarks.figures import Figure, table

Part = Callable[[argparse.Namespace], Iterator[Figure]]
PARTS = {  # module: what it measures, in the order in which they run
    "start": "`sender --help` against an empty Python",
    # While this process is small: Linux counts its memory as its child's.
    "plan": "rows a second from CSV to written plan, and the peak memory",
    "numbers": "a column of numbers against phonenumbers row by row",
    "segments": "segments of a column of texts against a Python loop",
    "templates": "a column of texts against a jinja2 render a row",
    "send": "messages a second, durable, beside SDKs and plain clients; memory, resume, pace",
    "workers": "messages a second, durable, by two processes against one",
    "watching": "what 50 viewers of the live page cost",
    "windows": "what a window costs: planning, sending by due time, waiting",
    "contacts": "what a plan costs that asks whom earlier runs have reached",
    "cluster": "a state in PostgreSQL: one sender and two beside SQLite, plans, faults",
}


def main() -> None:
    if sys.argv[1:2] == ["versus"]:  # two builds in turn, instead of ours and the plain way
        from benchmarks import versus

        sys.exit(versus.main(sys.argv[2:]))
    listed = "\n".join(f"  {name:10} {what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\nparts:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all ({', '.join(PARTS)})")
    parser.add_argument("--rows", type=int, default=200_000, help="rows, numbers and texts (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=50_000, help="messages to send (default: %(default)s)")
    parser.add_argument(
        "--latencies", type=_numbers, default="0,100,300", help="of the stub, ms (default: %(default)s)"
    )
    parser.add_argument("--contenders", type=lambda text: text.split(","), help="beside ours (default: all; httpx,wrk)")
    parser.add_argument("--paces", type=_numbers, default="1,10,100,1000,4000", help="a second (default: %(default)s)")
    parser.add_argument("--pace-seconds", type=float, default=10, help="of each pace (default: %(default)s)")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}: choose of {', '.join(PARTS)}")
    found: list[Figure] = []
    try:
        for name in [name for name in PARTS if name in (options.parts or PARTS)]:
            measured: Part = import_module(f"benchmarks.{name}").figures
            for figure in measured(options):
                found.append(figure)
                print(f"{figure.part}: {figure.what} {figure.way}".rstrip(), file=sys.stderr, flush=True)
    finally:  # what was measured before a part failed is not lost
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        print(f"{machine}, {time.strftime('%Y-%m-%d')}, --rows {options.rows} --messages {options.messages}")
        print(table(found))


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",") if one]


if __name__ == "__main__":
    main()
