"""`python -m benchmarks versus 6dd9dae [MEASURE ...]`: this build and an older one, in turn, on the same machine.

Both are installed into environments of their own with the releases of `.ci/constraints.txt`. Each measure runs them
alternately, and the ratio is the median of the pairs' ratios, so that what else the machine does falls out. The
spread is where half of the pairs lie. `plan-rows --rows 10000000 --pairs 3` is the large plan, and
`results-csv --rows 10000000 --pairs 1` its results. What has a goal of its own, and no older build beside it, comes
after the table, as its own command prints it.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import finished_run, stub
from benchmarks.figures import ROOT
from benchmarks.numbers import BAD, EUROPE_AND_MORE, european
from benchmarks.plan import COMMAND, people

MIB = 1024 if sys.platform == "darwin" else 1


@dataclass(frozen=True)
class Build:
    """An installed build: `name` is `old` or `new`."""

    name: str
    python: Path

    def run(self, arguments: Sequence[str], folder: Path, env: dict[str, str]) -> Cost:
        """What `sender` with `arguments` costs in `folder`. Raises RuntimeError with what it says when it fails."""
        command = [str(self.python), "-m", "sender", *arguments]
        with (folder / "printed").open("wb") as printed:
            began = time.perf_counter()
            child = subprocess.Popen(
                command,
                cwd=folder,
                env={**_environment(), **env},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
            )
            _, status, usage = os.wait4(child.pid, 0)
            wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(arguments)}: {(folder / 'printed').read_text()[-500:]}")
        return Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / MIB / 1024)


@dataclass(frozen=True)
class Cost:
    """Of one command: seconds of processor time (user and system), seconds by the clock, and peak memory in MiB."""

    cpu_s: float
    wall_s: float
    peak_mib: float


@dataclass(frozen=True)
class Measure:
    """A command, what must run before it once, and what each turn makes anew. `before` is what the old build has for
    it, where that is another command."""

    text: str
    command: Callable[[argparse.Namespace], tuple[str, ...]]
    before: tuple[str, ...] = ()
    once: Callable[[Build, Path, argparse.Namespace], None] | None = None
    fresh: tuple[str, ...] = ()
    needs_stub: bool = False
    shares: str = ""  # with other measures of that name: what runs once, and the folder


def _sent(build: Build, folder: Path, _: argparse.Namespace) -> None:
    """A small state: 47 rows, sent to the sandbox."""
    for name in ("campaigns", "templates"):
        shutil.copytree(ROOT / name, folder / name)
    build.run(("send", "campaigns/welcome.yaml", "--yes", "--wait", "0"), folder, {})


def _with_campaign(_build: Build, folder: Path, _options: argparse.Namespace) -> None:
    for name in ("campaigns", "templates"):
        shutil.copytree(ROOT / name, folder / name)


def _with_people(_build: Build, folder: Path, options: argparse.Namespace) -> None:
    people(folder / "people.csv", options.rows)


def _with_plan(build: Build, folder: Path, options: argparse.Namespace) -> None:
    people(folder / "people.csv", options.messages)
    build.run(("plan", "people.csv", *COMMAND, "--rate", "none", "--out", "plan"), folder, {})


def _with_hard_list(_build: Build, folder: Path, options: argparse.Namespace) -> None:
    """40 columns, six regions, a fifth of the numbers unreadable, and a text with a condition."""
    rng = random.Random(1)
    with (folder / "people.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["Phone", "Country", "First Name", *(f"Field {n}" for n in range(37))])
        for at in range(options.rows):
            region = rng.choice(EUROPE_AND_MORE)
            phone = rng.choice(BAD) if rng.random() < 0.2 else european(rng, region)
            rows.writerow([phone, region, f"Name{at}", *(f"{at % (n + 2)} of {n}" for n in range(37))])


def _with_run(build: Build, folder: Path, rows: int) -> None:
    """A finished run of that many rows, of which only the first messages were really sent."""
    people(folder / "people.csv", rows)
    build.run(("plan", "people.csv", *COMMAND, "--rate", "none", "--out", "plan"), folder, {})
    with stub.running(0) as (url, _):
        few = ("send", "plan", "--yes", "--wait", "0", "--limit", str(finished_run.FIRST))
        build.run(few, folder, {"SENDER_SANDBOX_URL": url})
    finished_run.settle_rest(folder / ".sender" / "ledger.sqlite3")


_HARD_TEXT = "{% if first_name %}Hi {{ first_name }}, {% endif %}your field is {{ field_3 }}."
_HARD = ("--provider", "sandbox", "--from", "+12025550100", "--default-region", "US", "--body", _HARD_TEXT)


def _results(form: str, *, part: int = 1) -> Measure:
    """The results of a run, or of one that is `part` times as short."""
    return Measure(
        f"results of {{rows:,}} rows as {form.upper()}" + (f", divided by {part}" if part > 1 else ""),
        lambda _: ("results", "people", "--output", f"results.{form}"),
        once=lambda build, folder, options: _with_run(build, folder, options.rows // part),
        fresh=(f"results.{form}",),
        shares="run" if part == 1 else "",
    )


def _of_run(build: Build, folder: Path, options: argparse.Namespace) -> None:
    _with_run(build, folder, options.rows)


MEASURES = {
    "status": Measure("`sender status` on a small state", lambda _: ("status",), once=_sent),
    "status-run": Measure("`sender status welcome` of 47 rows", lambda _: ("status", "welcome"), once=_sent),
    "results": Measure("`sender results` of 47 rows", lambda _: ("results", "welcome"), once=_sent),
    "why": Measure("`sender suppress why`", lambda _: ("suppress", "why", "+12025550147"), once=_sent),
    "history": Measure(
        "`sender history`, and before there was one `sender results`",
        lambda _: ("history", "+12025550147"),
        before=("results", "welcome"),
        once=_sent,
    ),
    "plan": Measure("`sender plan` of 47 rows", lambda _: ("plan", "campaigns/welcome.yaml"), once=_with_campaign),
    "welcome": Measure(
        "`sender send welcome`, sandbox included, without a pace",
        lambda _: ("send", "campaigns/welcome.yaml", "--yes", "--wait", "0", "--rate", "none"),
        once=_with_campaign,
        fresh=(".sender",),
    ),
    "plan-rows": Measure(
        "plan of {rows:,} rows of 8 columns, CSV to written plan",
        lambda _: ("plan", "people.csv", *COMMAND, "--out", "plan"),
        once=_with_people,
        fresh=("plan",),
    ),
    "plan-hard": Measure(
        "plan of {rows:,} rows of 40 columns, six regions, 20 % unreadable, a condition",
        lambda _: ("plan", "people.csv", *_HARD, "--out", "plan"),
        once=_with_hard_list,
        fresh=("plan",),
    ),
    "send": Measure(
        "{messages:,} messages, durable, to a stub without latency",
        lambda _: ("send", "plan", "--yes", "--wait", "0"),
        once=_with_plan,
        fresh=(".sender",),
        needs_stub=True,
    ),
    "workers": Measure(
        "the same by two workers",
        lambda _: ("send", "plan", "--yes", "--wait", "0", "--workers", "2"),
        once=_with_plan,
        fresh=(".sender",),
        needs_stub=True,
    ),
    "status-rows": Measure(
        "`sender status` of a run of {rows:,}", lambda _: ("status", "people"), once=_of_run, shares="run"
    ),
    "report-rows": Measure(
        "`sender report --html` of it",
        lambda _: ("report", "people", "--html", "report.html"),
        once=_of_run,
        fresh=("report.html",),
        shares="run",
    ),
    "report": Measure(
        "`sender report` of it, in the terminal", lambda _: ("report", "people"), once=_of_run, shares="run"
    ),
    "results-csv": _results("csv"),
    "results-parquet": _results("parquet"),
    "results-xlsx": _results("xlsx", part=50),
}
# What has a goal, and nothing to be compared with: its own command, and what that prints.
ALONE = {
    "two-workers": (
        "a second worker's cost, and waiting for the ledger",
        ("benchmarks.workers", "--messages", "{part}"),
    ),
    "reports": ("delivery reports taken beside a run", ("benchmarks.receiver",)),
    "pace": ("pace at the receiver", ("benchmarks", "send", "--messages", "1000", "--latencies", "")),
}


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, and return 0."""
    texts = {name: measure.text for name, measure in MEASURES.items()} | {
        name: text for name, (text, _) in ALONE.items()
    }
    listed = "\n".join(f"  {name:12} {text}" for name, text in texts.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks versus",
        description=f"{__doc__}\nmeasures:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("commit", help="the older build, which must be in this repository's history")
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help="default: all")
    parser.add_argument("--pairs", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of plan and results (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=100_000, help="that are sent (default: %(default)s)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.measures if name not in texts]:
        parser.error(f"no measure {', '.join(unknown)}: choose of {', '.join(texts)}")
    chosen = options.measures or texts
    rows = []
    with tempfile.TemporaryDirectory(prefix="versus-") as name:
        builds = [_install("old", options.commit, Path(name)), _install("new", "HEAD", Path(name))]
        for measure in [name for name in MEASURES if name in chosen]:
            folder = Path(name) / (MEASURES[measure].shares or measure)
            rows.append(_measure(MEASURES[measure], builds, folder, options))
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    commits = [_git("rev-parse", "--short", commit) for commit in (options.commit, "HEAD")]
    print(
        f"{commits[0]} and {commits[1]} in turn, {options.pairs} pairs, {time.strftime('%Y-%m-%d')},"
        f" {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}:\n"
    )
    head = ("what", "old CPU", "new CPU", "CPU ratio (half of the pairs)", "wall ratio", "peak memory, old and new")
    for row in (head, ("---",) * len(head), *rows):
        print(f"| {' | '.join(row)} |")
    for name in [name for name in ALONE if name in chosen]:
        what, command = ALONE[name]
        print(f"\n{what}:", flush=True)
        filled = [word.format(part=options.messages // 10) for word in command]
        subprocess.run([sys.executable, "-m", *filled], cwd=ROOT, check=True)
    return 0


def _install(name: str, commit: str, folder: Path) -> Build:
    """Install the build of `commit` from the repository's history."""
    tree, environment = folder / f"{name}-tree", folder / f"{name}-env"
    tree.mkdir()
    archive = subprocess.Popen(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(tree)], stdin=archive.stdout, check=True)
    if archive.wait():
        raise SystemExit(f"git archive {commit} failed")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = {"PIP_CONSTRAINT": str(ROOT / ".ci" / "constraints.txt"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    install = [str(python), "-m", "pip", "install", "--quiet", f"{tree}[report]"]
    done = subprocess.run(install, env={**_environment(), **constraints}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Build(name, python)


def _measure(measure: Measure, builds: list[Build], folder: Path, options: argparse.Namespace) -> tuple[str, ...]:
    """Run both builds in turn, and return the measure's row of the table."""
    costs: dict[str, list[Cost]] = {build.name: [] for build in builds}
    with ExitStack() as stack:
        env = {"SENDER_SANDBOX_URL": stack.enter_context(stub.running(0))[0]} if measure.needs_stub else {}
        for build in builds if not folder.exists() else ():
            (folder / build.name).mkdir(parents=True)
            if measure.once is not None:
                measure.once(build, folder / build.name, options)
        for _ in range(options.pairs):
            for build in builds:
                place = folder / build.name
                for name in measure.fresh:
                    _remove(place / name)
                before = measure.before if build.name == "old" else ()
                costs[build.name].append(build.run(before or measure.command(options), place, env))
    if not measure.shares:
        shutil.rmtree(folder)
    old, new = costs["old"], costs["new"]
    cpu = [after.cpu_s / before.cpu_s for before, after in zip(old, new, strict=True)]
    wall = [after.wall_s / before.wall_s for before, after in zip(old, new, strict=True)]
    return (
        measure.text.format(rows=options.rows, messages=options.messages),
        f"{statistics.median(cost.cpu_s for cost in old):.2f} s",
        f"{statistics.median(cost.cpu_s for cost in new):.2f} s",
        _ratio(cpu),
        _ratio(wall),
        f"{max(cost.peak_mib for cost in old):,.0f} and {max(cost.peak_mib for cost in new):,.0f} MiB",
    )


def _ratio(ratios: list[float]) -> str:
    """The median, and between what half of the pairs lie."""
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}"
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """The environment without a proxy, and without what would point a build elsewhere."""
    unwanted = ("PYTHONPATH", "SENDER_", "TWILIO_", "TELNYX_", "SIGNALWIRE_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted) and not name.lower().endswith("_proxy")
    }
    return kept | {"SENDER_RULES": "none"}  # the same at any hour of the day


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()
