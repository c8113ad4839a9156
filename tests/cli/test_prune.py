"""`sender prune`: old plans, texts and results go; who was reached is known for ever, and so are the totals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import sender as library
from sender.core.errors import PlanError
from sender.state.files import plans as plan_files
from sender.state.ledger import RunKind
from sender.state.state_dir import StateDir
from tests.cli.conftest import Done, Sandbox, Shell
from tests.cli.test_forget import contents

SAMPLE = Path(__file__).parents[1] / "samples" / "state-6dd9dae"
Start = Callable[..., Sandbox]
ADA, GRACE, JEAN = "+12025550101", "+12025550102", "+12025550103"
OPTIONS = ("--provider", "twilio", "--from", "+12025550100", "--rate", "none", "--body", "Dear {{ name }}")
NOW = ("--older-than", "0s", "--yes")


class Job:
    """A live campaign `offer` and its list."""

    def __init__(self, sender: Shell, provider: Sandbox) -> None:
        self.sender = sender
        self.provider = provider

    def __call__(self, *options: str, people: tuple[str, ...] = (ADA, GRACE), name: str = "offer") -> Done:
        rows = "".join(f"N{row},{number}\n" for row, number in enumerate(people))
        self.sender.write(f"{name}.csv", "name,phone\n" + rows)
        return self.sender("send", f"{name}.csv", *OPTIONS, "--yes", "--wait", "0", *options, **self.provider.env)

    def text(self) -> str:
        return "".join(text for _, text in contents(self.sender.folder / ".sender"))


@pytest.fixture
def job(sender: Shell, sandbox: Start) -> Job:
    return Job(sender, sandbox())


@pytest.fixture
def pruned(job: Job) -> Job:
    assert job("--with-body").code == 0
    assert job.sender("plan", "offer.csv", *OPTIONS).code == 0
    done = job.sender("prune", *NOW)
    assert done.code == 0, done
    assert "hashes of 2 people stay" in done.out
    assert "removed the written plan " in done.out
    return job


def test_json_without_a_terminal_to_ask_on_prints_nothing(job: Job) -> None:
    assert job().code == 0
    done = job.sender("prune", "--older-than", "0s", "--json")
    assert (done.code, done.out, "add --yes" in done.err) == (2, "", True), done


def test_numbers_and_texts_are_gone(pruned: Job) -> None:
    for trace in ("2025550101", "2025550102", "Dear N0"):
        assert trace not in pruned.text()
    again = pruned.sender("prune", *NOW)
    assert (again.code, "there is nothing to remove" in again.out) == (0, True), again


def test_a_campaign_still_reaches_nobody_twice(pruned: Job) -> None:
    assert "has been sent: run " in pruned().err
    refused = pruned(people=(ADA, GRACE, JEAN))
    assert (refused.code, "2 of 3 people have had offer" in refused.err) == (3, True), refused
    done = pruned("--only-new", people=(ADA, GRACE, JEAN))
    assert done.code == 0, done
    assert "3 rows = 2 skipped + 1 accepted" in done.out
    assert pruned.provider.counts() == {ADA: 1, GRACE: 1, JEAN: 1}
    assert "gets it again" in pruned("--again", people=(ADA,)).out


def test_caps_count_what_was_pruned(pruned: Job) -> None:
    pruned.sender.write("other.csv", f"name,phone\nAda,{ADA}\nJean,{JEAN}\n")
    plan = pruned.sender("plan", "other.csv", *OPTIONS, "--per-person", "1/day", "--json").json
    assert plan["skipped"] == {"frequency_cap": 1}


def test_status_report_and_results_say_that_it_was_pruned(pruned: Job) -> None:
    status = pruned.sender("status", "offer")
    assert status.code == 0, status
    assert "pruned on " in status.out
    assert "2 rows = 0 skipped + 2 accepted" in status.out
    shown = pruned.sender("status", "offer", "--json").json
    assert (shown["accepted"], shown["pruned_at"][:2]) == (2, "20")
    assert pruned.sender("status").code == 0
    for command in (("report",), ("results",), ("results", "--with-retries"), ("retry", "--yes")):
        refused = pruned.sender(command[0], "offer", *command[1:])
        assert (refused.code, " was pruned on " in refused.err) == (2, True), refused
    history = pruned.sender("history", ADA, "--json").json
    assert [(entry["campaign"], entry["text"]) for entry in history["messages"]] == [("offer", None)]
    assert history["unread_runs"] == []


def test_forget_and_prune_get_along(pruned: Job) -> None:
    done = pruned.sender("forget", ADA, "--yes")
    assert done.code == 0, done
    assert pruned("--only-new", people=(ADA, GRACE, JEAN)).code == 0
    assert pruned.sender("forget", JEAN, "--yes").code == 0
    assert pruned.sender("prune", *NOW).code == 0
    assert pruned("--only-new", people=(ADA, GRACE, JEAN)).code == 0
    assert pruned.provider.counts() == {ADA: 1, GRACE: 1, JEAN: 1}


def test_dry_run_and_asking_change_nothing(job: Job) -> None:
    assert job().code == 0
    before = job.text()
    shown = job.sender("prune", "--older-than", "0s", "--dry-run")
    assert (shown.code, "would remove plan and results of offer" in shown.out) == (0, True), shown
    refused = job.sender("prune", "--older-than", "0s")
    assert (refused.code, "add --yes" in refused.err) == (2, True), refused
    assert job.text() == before


@pytest.mark.parametrize("typed", ["90", "", "soon", "-1d", "3 months"])
def test_a_time_without_a_unit_is_refused(job: Job, typed: str) -> None:
    assert job().code == 0
    assert job.sender("prune", "--older-than", typed, "--yes").code == 2
    assert job.sender("results", "offer").code == 0


@pytest.mark.parametrize("typed", ["90d", "12w", "48h", "1h"])
def test_what_is_younger_stays(job: Job, typed: str) -> None:
    assert job().code == 0
    done = job.sender("prune", "--older-than", typed, "--yes", "--json")
    assert (done.json["runs"], done.json["plans"]) == ([], [])
    assert job.sender("results", "offer").code == 0


def test_unfinished_and_unknown_runs_stay_and_are_named(sender: Shell, sandbox: Start) -> None:
    job = Job(sender, sandbox())
    assert job("--limit", "1").code == 0
    unknown = Job(sender, sandbox("--faults", "reset-after=1"))
    assert unknown("--on-unknown", "hold", name="doubt").code == 4
    done = sender("prune", *NOW)
    assert done.code == 0, done
    assert "kept: offer, run " in done.out
    assert "unfinished: 1 pending" in done.out
    assert "2 unknown: `sender reconcile " in done.out
    assert "there is nothing to remove" in done.out
    assert job().code == 0


def test_a_run_that_is_being_sent_stays(job: Job) -> None:
    assert job().code == 0
    with StateDir(job.sender.folder / ".sender") as state, state.locks.hold_campaign("offer", RunKind.LIVE):
        done = job.sender("prune", *NOW)
        assert (done.code, "offer is being sent by another process" in done.out) == (0, True), done
    assert job.sender("results", "offer").code == 0


@pytest.mark.parametrize("name", ["note_erased", "_note_change", "drop_rows"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_a_kill_interrupts_the_same_command_completes(
    job: Job, monkeypatch: pytest.MonkeyPatch, name: str, after: bool
) -> None:
    assert job().code == 0
    owner = plan_files if name == "drop_rows" else plan_files.PlanFolders
    real = getattr(owner, name)

    def killed(*arguments: object, **keywords: object) -> object:
        if after:
            real(*arguments, **keywords)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, killed)
        assert job.sender("prune", *NOW).code == 130
    assert job(people=(ADA, GRACE, JEAN)).code == 3, "whatever was done, nobody is texted twice"
    assert job.sender("prune", *NOW).code == 0
    assert "2025550101" not in job.text()
    assert job("--only-new", people=(ADA, GRACE, JEAN)).code == 0
    assert job.provider.counts() == {ADA: 1, GRACE: 1, JEAN: 1}


def test_a_state_of_an_older_version(sender: Shell) -> None:
    shutil.copytree(SAMPLE / "campaigns", sender.folder, dirs_exist_ok=True)
    shutil.copytree(SAMPLE / "state", sender.folder / ".sender")
    before = {run["campaign"]: run for run in sender("status", "--json").json}
    done = sender("prune", *NOW, "--json").json
    assert {run["campaign"] for run in done["runs"]} == {"finished", "rehearsed", "live"}
    assert {run["campaign"]: run["why"][:10] for run in done["kept"]} == {
        "unfinished": "unfinished",
        "half": "unfinished",
    }
    after = {run["campaign"]: run for run in sender("status", "--json").json}
    assert {name: run["accepted"] for name, run in after.items()} == {
        name: run["accepted"] for name, run in before.items()
    }
    refused = sender("send", "finished.yaml", "--yes")
    assert (refused.code, "has been sent: run " in refused.err) == (3, True), refused


def test_from_python(job: Job) -> None:
    assert job().code == 0
    with library.open_state(job.sender.folder / ".sender") as state:
        run = state.find("offer")
        would = library.prune(state, older_than_s=0, dry_run=True)
        assert ([entry.people for entry in would.runs], would.dry_run) == ([2], True)
        assert state.plan(run).messages.height == 2
        done = library.prune(state, older_than_s=0)
        assert [(entry.run_id, entry.people) for entry in done.runs] == [(run.run_id, 2)]
        assert done.freed > 0
        with pytest.raises(PlanError, match="was pruned on"):
            state.plan(run)
        with pytest.raises(library.InputError):
            library.prune(state, older_than_s=-1)
    note = json.loads((job.sender.folder / ".sender" / "runs" / run.run_id / "erased.json").read_text(encoding="utf-8"))
    assert [change["why"] for change in note] == ["pruned"]
