"""A state directory that an earlier version left behind: today's version reads it, finishes it, and texts nobody twice.

`tests/samples/state-6dd9dae` says what is in it and how it was made.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sender.reports.run_results import run_results
from sender.state.ledger import Run, RunKind
from sender.state.state_dir import StateDir
from tests import local_http
from tests.cli.conftest import Sandbox, Shell

SAMPLE = Path(__file__).parents[1] / "samples" / "state-6dd9dae"
SETTLE = {"SENDER_SANDBOX_SETTLE_S": "0"}

TEXTS = {"unfinished": "your books are due", "half": "the water is off"}

Start = Callable[..., Sandbox]


@pytest.fixture
def old(sender: Shell) -> Shell:
    """The folder as it was, but for where it is."""
    shutil.copytree(SAMPLE / "campaigns", sender.folder, dirs_exist_ok=True)
    shutil.copytree(SAMPLE / "state", sender.folder / ".sender")
    shutil.copy(SAMPLE / "truth.sqlite3", sender.folder)
    return sender


@pytest.fixture
def provider(old: Shell, sandbox: Start) -> Sandbox:
    """The sandbox that stood in for every provider, with all it ever accepted."""
    server = sandbox("--state", str(old.folder / "truth.sqlite3"), "--latency", "0")
    old.env |= server.env | {"SENDER_SANDBOX_URL": server.url}
    return server


def runs(shell: Shell) -> dict[str, Run]:
    """By campaign; `retry` is the one of `live`."""
    with StateDir(shell.folder / ".sender", read_only=True) as state:
        return {"retry" if run.retry_of else run.campaign: run for run in state.ledger.runs()}


def texts(provider: Sandbox, run: Run) -> dict[str, int]:
    """How many messages of that run the provider has accepted, by recipient."""
    accepted = local_http.get(f"{provider.url}/sandbox/messages").json()["messages"]
    return Counter(message["to"] for message in accepted if TEXTS[run.campaign] in message["body"])


def totals(out: str) -> dict[str, int]:
    line = next(line for line in out.splitlines() if re.match(r"\d+ rows? = ", line))
    return {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", line.partition("=")[2])}


def test_the_sample_is_what_its_readme_says(old: Shell) -> None:
    assert {name: (run.kind, run.plan_hash[:8]) for name, run in runs(old).items()} == {
        "finished": (RunKind.SANDBOX, "68eb0703"),
        "rehearsed": (RunKind.REHEARSAL, "e5a44f4a"),
        "live": (RunKind.LIVE, "4bcb859b"),
        "retry": (RunKind.LIVE, "60d6850e"),
        "unfinished": (RunKind.SANDBOX, "39ddc67c"),
        "half": (RunKind.LIVE, "78c506a6"),
    }
    for manifest in (SAMPLE / "state").glob("runs/*/plan/manifest.json"):
        assert json.loads(manifest.read_text(encoding="utf-8"))["format"] == 3


def test_status_lists_and_shows_every_run(old: Shell) -> None:
    listed = old("status")
    assert listed.code == 0, listed
    for name, run in runs(old).items():
        assert run.run_id in listed.out
        shown = old("status", run.run_id, "--json")
        assert shown.code == 0, shown
        assert shown.json["run_id"] == run.run_id, name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("finished", {"delivered": 3, "undelivered": 2, "rejected": 2, "skipped": 6}),
        ("rehearsed", {"accepted": 3, "skipped": 4}),
        ("live", {"delivered": 4, "undelivered": 1, "skipped": 2}),
        ("unfinished", {"accepted": 8, "unknown": 8, "pending": 25, "skipped": 5}),
        ("half", {"accepted": 8, "unknown": 4, "pending": 9, "skipped": 2}),
    ],
)
def test_results_and_report(old: Shell, name: str, expected: dict[str, int]) -> None:
    run = runs(old)[name]
    done = old("results", run.run_id, "--output", "out.csv")
    assert done.code == 0, done
    rows = pl.read_csv(old.folder / "out.csv", infer_schema=False)
    people = pl.read_csv(old.folder / f"{name}.csv", infer_schema=False)
    assert rows["name"].to_list() == people["name"].to_list()
    counts = dict(rows["status"].replace({"queued": "accepted", "sent": "accepted"}).value_counts().iter_rows())
    assert counts == expected
    assert rows.filter(pl.col("status") == "skipped")["error_message"].null_count() == 0
    report = old("report", run.run_id)
    assert report.code == 0, report
    assert run.run_id in report.out


@pytest.mark.parametrize(
    ("name", "options"), [("finished", ()), ("rehearsed", ("--rehearse",)), ("live", ())], ids=["sandbox", "rehearsal", "live"]
)  # fmt: skip
def test_what_it_had_sent_is_not_sent_again(old: Shell, provider: Sandbox, name: str, options: tuple[str, ...]) -> None:
    """Nor with the sentences of today, a corrected name in a skipped row, or one more on the suppression list."""
    before = provider.counts()
    people = old.folder / f"{name}.csv"
    people.write_text(people.read_text(encoding="utf-8").replace("Bad,12", "Badly,123"), encoding="utf-8")
    assert old("suppress", "add", "+12025550102", "+12125550102", "+12135550102").code == 0
    refused = old("send", f"{name}.yaml", "--yes", *options)
    assert refused.code == 3, refused
    assert f"has been sent: run {runs(old)[name].run_id}" in refused.err
    assert provider.counts() == before


def test_a_plan_it_had_written_is_not_sent_again(old: Shell, provider: Sandbox) -> None:
    before = provider.counts()
    for name in ("finished", "live"):
        refused = old("send", f".sender/runs/{runs(old)[name].run_id}/plan", "--yes")
        assert refused.code == 3, refused
        assert "has been sent" in refused.err
    (retried,) = (old.folder / ".sender" / "plans").glob("retry-*")
    refused = old("send", str(retried), "--yes")
    assert refused.code == 3, refused
    assert provider.counts() == before


@pytest.mark.parametrize(("name", "messages"), [("unfinished", 41), ("half", 21)], ids=["sandbox", "live"])
def test_what_it_had_begun_is_finished_and_reaches_everybody_once(
    old: Shell, provider: Sandbox, name: str, messages: int
) -> None:
    run = runs(old)[name]
    people = old.folder / f"{name}.csv"
    people.write_text(people.read_text(encoding="utf-8").replace("Bad,12\n", "Badly,123\n"), encoding="utf-8")
    done = old("send", f"{name}.yaml", "--yes", "--wait", "0", **SETTLE)
    counts = totals(done.out)
    # What a live provider's log does not show yet stays unknown, and is not sent again.
    assert done.code == (4 if counts["unknown"] else 0), done
    assert f"resuming run {run.run_id}" in done.out
    assert (counts["accepted"] + counts["unknown"], counts["pending"]) == (messages, 0)
    assert counts["unknown"] == 0 or run.kind is RunKind.LIVE
    with StateDir(old.folder / ".sender", read_only=True) as state:
        sent = run_results(state, run).filter(pl.col("status").is_in(["accepted", "queued", "sent", "delivered"]))["to"]
    texted = texts(provider, run)
    assert set(texted.values()) == {1}
    assert set(sent) <= set(texted)
    again = old("send", f"{name}.yaml", "--yes", "--wait", "0")
    assert again.code == (4 if counts["unknown"] else 3), again
    assert set(texts(provider, run).values()) == {1}


def test_inputs_that_changed_are_still_refused(old: Shell, provider: Sandbox) -> None:
    before = provider.counts()
    refused = old("send", "half.yaml", "--yes", "--body", "Hi {{ name }}, the water is back.")
    assert refused.code == 3, refused
    assert "the inputs changed since it began" in refused.err
    assert provider.counts() == before


def test_what_had_not_arrived_can_be_retried(old: Shell, provider: Sandbox) -> None:
    before = provider.counts()
    dry = old("retry", "finished", "--dry-run")
    assert dry.code == 0, dry
    done = old("retry", "finished", "--reason", "unreachable", "--yes", "--wait", "0")
    assert done.code == 0, done
    assert totals(done.out)["accepted"] == 1
    after = provider.counts()
    assert {number: n - before.get(number, 0) for number, n in after.items() if n != before.get(number, 0)} == {
        "+12025550194": 1
    }


def test_its_suppression_list_holds(old: Shell, provider: Sandbox) -> None:
    old.write("more.csv", "name,phone\nStopped,+12025550160\nRemoved,+12025550161\n")
    made = old("plan", "more.csv", "--body", "Hi", "--provider", "sandbox", "--from", "+12025550100", "--json")
    assert made.code == 0, made
    assert made.json["skipped"] == {"suppressed": 1}, "the other one is out for one campaign only"


@pytest.mark.parametrize(
    ("name", "canceled", "unknown"),
    [("finished", 0, 0), ("rehearsed", 0, 0), ("live", 0, 0), ("retry", 0, 0), ("unfinished", 25, 8), ("half", 9, 4)],
)
def test_every_run_can_be_closed(old: Shell, provider: Sandbox, name: str, canceled: int, unknown: int) -> None:
    """What is unknown, or was under way when the process died, stays unknown; nobody is texted."""
    before = provider.counts()
    run = runs(old)[name]
    closed = old("close", run.run_id, "--json")
    assert closed.code == 0, closed
    assert (closed.json["canceled"], closed.json["unknown"], closed.json["pending"]) == (canceled, unknown, 0)
    shown = old("status", run.run_id, "--json").json
    assert (shown["state"], shown["intent"]) == ("closed", 0)
    assert old("results", run.run_id, "--output", "out.csv").code == 0
    assert old("send", f"{run.campaign}.yaml", "--yes", "--wait", "0", "--resume").code in (2, 3)
    assert provider.counts() == before
