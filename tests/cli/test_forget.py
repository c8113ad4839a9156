"""`sender forget`: a person is erased everywhere, and still recognised as reached and as opted out."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import sender as library
from sender.core.errors import RunLocked
from sender.state.files import plans as plan_files
from sender.state.ledger import RunKind
from sender.state.state_dir import StateDir
from tests.cli.conftest import Done, Prepared, Sandbox, Shell

SAMPLE = Path(__file__).parents[1] / "samples" / "state-6dd9dae"
Start = Callable[..., Sandbox]
ADA, GRACE, UNREACHABLE = "+12025550101", "+12025550102", "+12025550194"
TRACES = ("2025550101", "202-555-0101", "(202) 555-0101", "Lovelace", "Dear Ada")
OPTIONS = ("--provider", "twilio", "--from", "+12025550100", "--default-region", "US", "--rate", "none")
BODY = ("--body", "Dear {{ name }}, the shop is open")


class Job:
    """Two live campaigns that hold Ada Lovelace, in several rows and ways of writing her number."""

    def __init__(self, sender: Shell, provider: Sandbox) -> None:
        self.sender = sender
        self.provider = provider

    def write_lists(self) -> None:
        rows = [
            f"Ada Lovelace,{ADA},",
            f"Grace,{GRACE},call (202) 555-0101",
            "Ada Lovelace,(202) 555-0101,",
            "Ada Lovelace,202-555-0101 ext 7,",
            f"Jean,{UNREACHABLE},",
        ]
        self.sender.write("spring.csv", "name,phone,friend\n" + "\n".join(rows) + "\n")
        self.sender.write("summer.csv", f"name,phone\nGrace,{GRACE}\nAda Lovelace,{ADA}\n")

    def send(self, name: str, *options: str) -> Done:
        return self.sender(
            "send", f"{name}.csv", *BODY, *OPTIONS, "--yes", "--wait", "0", *options, **self.provider.env
        )

    def forget(self, *options: str, number: str = ADA) -> Done:
        return self.sender("forget", number, "--yes", *options)

    def traces(self) -> list[str]:
        """Where in the state's bytes, tables unpacked, something of hers is left."""
        return sorted(
            {
                f"{place}: {trace}"
                for place, text in contents(self.sender.folder / ".sender")
                for trace in TRACES
                if trace in text
            }
        )


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file of the state as bytes, and what its tables hold."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        yield name, file.read_bytes().decode("latin-1")
        if file.suffix == ".parquet":
            yield f"{name} (rows)", json.dumps(pl.read_parquet(file).to_dicts(), ensure_ascii=False, default=str)


@pytest.fixture(scope="module")
def prepared(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    def prepare(shell: Shell) -> None:
        job = Job(shell, shared_sandbox)
        job.write_lists()
        assert job.send("spring", "--with-body").code == 0
        assert job.send("summer", "--limit", "1", "--output", "summer-results.csv").code == 0
        assert job.sender("plan", "spring.csv", *BODY, *OPTIONS).code == 0
        assert job.sender("suppress", "add", ADA, "--note", f"Ada Lovelace phoned from {ADA}").code == 0
        assert job.traces()

    return Prepared(tmp_path_factory.mktemp("prepared"), prepare)


@pytest.fixture
def sent(prepared: Prepared, shared_sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Job]:
    job = Job(prepared.restore(in_process=request.node.get_closest_marker("process") is None), shared_sandbox)
    yield job
    job.sender.end()


def test_nothing_of_hers_is_left_in_the_state(sent: Job) -> None:
    done = sent.forget()
    assert done.code == 0, done
    assert sent.traces() == []
    assert "erased 3 rows of spring, run " in done.out
    assert "1 pending message canceled" in done.out
    assert "erased from 1 written plan" in done.out
    assert "1 entry of the suppression list kept under a hash of the number" in done.out
    outside = [line for line in done.out.splitlines() if line.startswith("not changed: ")]
    assert [
        name for name in ("spring.csv", "summer.csv", "summer-results.csv") if not any(name in line for line in outside)
    ] == []
    assert "Ada Lovelace" in (sent.sender.folder / "spring.csv").read_text(encoding="utf-8"), "listed, not changed"
    again = sent.forget()
    assert (again.code, f"there is nothing to erase of {ADA}" in again.out) == (0, True), again


def test_her_rows_stay_and_the_totals_add_up(sent: Job) -> None:
    before = sent.sender("status", "spring", "--json").json
    sent.forget()
    after = sent.sender("status", "spring", "--json").json
    assert {key: after[key] for key in ("law", "statuses", "skipped")} == {
        key: before[key] for key in ("law", "statuses", "skipped")
    }
    assert sent.sender("results", "spring", "--with-body", "-o", "out.csv").code == 0
    rows = pl.read_csv(sent.sender.folder / "out.csv", infer_schema=False)
    assert rows.height == 5
    assert rows["name"].to_list() == [None, "Grace", None, None, "Jean"]
    assert rows["friend"].null_count() == 5, "a cell of somebody else's that holds the number is blanked"
    assert rows["body"].to_list()[:2] == [None, "Dear Grace, the shop is open"]
    assert rows["status"].to_list()[0] in ("queued", "sent", "delivered")
    own = pl.read_csv(next((sent.sender.folder / ".sender" / "runs").glob("*/results.csv")), infer_schema=False)
    assert own["name"].to_list() == [None, "Grace", None, None, "Jean"]
    assert sent.sender("report", "spring").code == 0
    assert sent.sender("retry", "spring", "--status", "unconfirmed", "--dry-run").code == 2


def test_the_old_and_the_new_hash_are_in_the_run(sent: Job) -> None:
    run = sent.sender("status", "spring", "--json").json["run_id"]
    folder = sent.sender.folder / ".sender" / "runs" / run
    old = json.loads((folder / "plan" / "manifest.json").read_text(encoding="utf-8"))
    sent.forget()
    new = json.loads((folder / "plan" / "manifest.json").read_text(encoding="utf-8"))
    (change,) = json.loads((folder / "erased.json").read_text(encoding="utf-8"))
    assert (change["old_sha256"], change["new_sha256"]) == (old["parquet_sha256"], new["parquet_sha256"])
    assert (old["plan_hash"], old["identity"]) == (new["plan_hash"], new["identity"])
    for name in ("people.parquet", "erased.json", "../../people.key"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_she_is_not_texted_again_nor_after_her_opt_out(sent: Job) -> None:
    sent.forget()
    counts = sent.provider.counts()
    assert sent.send("spring").code == 3, "the same campaign has reached her"
    assert sent.sender("plan", "spring.csv", *BODY, *OPTIONS, "--only-new", "--json").json["skipped"]["suppressed"] == 1
    sent.sender.write("winter.csv", f"name,phone\nAda,{ADA}\n")
    assert sent.sender("plan", "winter.csv", *BODY, *OPTIONS, "--json").json["skipped"] == {"suppressed": 1}
    assert sent.sender("suppress", "remove", ADA).code == 0
    plan = sent.sender("plan", "winter.csv", *BODY, *OPTIONS, "--name", "spring", "--only-new", "--json").json
    assert plan["skipped"] == {"already_sent": 1}
    plan = sent.sender("plan", "winter.csv", *BODY, *OPTIONS, "--per-person", "1/day", "--json").json
    assert plan["skipped"] == {"frequency_cap": 1}
    assert sent.send("summer").code == 3, "it is over: she was the rest of it, and is canceled"
    assert sent.provider.counts() == counts


def test_a_stop_from_before_holds_for_a_plan_written_before(sent: Job) -> None:
    sent.sender.write("winter.csv", f"name,phone\nAda,{ADA}\nGrace,{GRACE}\n")
    assert sent.sender("suppress", "remove", ADA).code == 0
    assert sent.sender("plan", "winter.csv", *BODY, *OPTIONS, "--out", "written").code == 0
    assert sent.sender("suppress", "add", ADA).code == 0
    assert sent.forget().code == 0
    counts = sent.provider.counts()
    done = sent.sender("send", "written", "--yes", "--wait", "0", **sent.provider.env)
    assert "1 canceled" in done.out, done
    assert sent.provider.counts() == counts | {GRACE: counts[GRACE] + 1}


def test_history_still_says_that_she_was_texted(sent: Job) -> None:
    sent.forget()
    found = sent.sender("history", ADA, "--json").json
    assert [(entry["campaign"], entry["text"]) for entry in found["messages"] if entry["at"]] == [("spring", None)]
    assert [entry["reason"] for entry in found["messages"] if entry["campaign"] == "summer"] == ["forgotten"]
    assert [(entry["reason"], entry["active"], entry["note"]) for entry in found["suppressions"]] == [
        ("suppressed", True, None)
    ]
    why = sent.sender("suppress", "why", ADA)
    assert "suppressed" in why.out, why


def test_a_start_lifts_an_opt_out_from_before(sent: Job) -> None:
    sent.forget()
    assert sent.sender("suppress", "why", ADA, "--json").json["listed"] is True
    assert "1 number removed" in sent.sender("suppress", "remove", ADA).out
    assert sent.sender("suppress", "why", ADA, "--json").json["listed"] is False


STEPS = [
    (plan_files.PlanFolders, "note_erased"),
    (plan_files, "erase_from_plan"),
    (plan_files, "erase_from_results"),
    (plan_files.PlanFolders, "erase_written"),
    ("sender.state.sqlite.ledger.SqliteLedger", "cancel"),
    ("sender.state.sqlite.ledger.SqliteLedger", "erase_sentences"),
    ("sender.state.sqlite.ledger.SqliteLedger", "erase_mentions"),
    ("sender.state.sqlite.suppression.SuppressionFile", "erase"),
    ("sender.state.sqlite.suppression.SuppressionFile", "compact"),
    ("sender.state.sqlite.ledger.SqliteLedger", "compact"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
def test_what_a_kill_interrupts_the_same_command_completes(
    sent: Job, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, after: bool
) -> None:
    if isinstance(owner, str):
        module, _, attribute = owner.rpartition(".")
        owner = getattr(__import__(module, fromlist=[attribute]), attribute)
    real = getattr(owner, name)

    def killed(*arguments: object, **keywords: object) -> object:
        if after:
            real(*arguments, **keywords)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, killed)
        assert sent.forget().code == 130
    assert sent.forget().code == 0
    assert sent.traces() == []
    assert sent.sender("history", ADA, "--json").json["messages"][0]["campaign"] == "spring"


@pytest.mark.parametrize("torn", [False, True], ids=["beside", "between-the-renames"])
def test_what_a_kill_leaves_beside_the_files_goes_too(sent: Job, torn: bool) -> None:
    for run in (sent.sender.folder / ".sender" / "runs").iterdir():
        shutil.copytree(run / "plan", run / ".plan.abc.partial")
        if torn:
            (run / "plan").rename(run / ".plan.0123.old")
        else:
            shutil.copytree(run / "plan", run / ".plan.0123.old")
        (run / ".results.csv.0123.partial").write_text("Ada Lovelace\n", encoding="utf-8")
    assert sent.forget().code == 0
    assert sent.traces() == []
    assert sent.sender("results", "spring", "-o", "out.csv").code == 0


@pytest.mark.process
def test_a_killed_process_loses_nothing(sent: Job) -> None:
    for _ in range(3):
        process = sent.sender.start("forget", ADA, "--yes")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert sent.forget().code == 0
    assert sent.traces() == []
    assert sent.sender("status", "spring").code == 0


def test_a_run_that_is_being_sent_is_left_alone(sent: Job) -> None:
    with StateDir(sent.sender.folder / ".sender") as state, state.locks.hold_campaign("summer", RunKind.LIVE):
        before = sent.traces()
        refused = sent.forget()
        assert (refused.code, "summer is being sent by another process" in refused.err) == (3, True), refused
        assert sent.traces() == before, "nothing was changed anywhere"
    assert sent.forget().code == 0


def test_another_run_that_is_being_sent_is_not_held_up(sent: Job) -> None:
    sent.sender.write("other.csv", f"name,phone\nGrace,{GRACE}\n")
    assert sent.send("other", "--body", "Hi").code == 0
    with StateDir(sent.sender.folder / ".sender") as state, state.locks.hold_campaign("other", RunKind.LIVE):
        done = sent.forget()
        assert (done.code, "run the same command again when that run has ended" in done.out) == (3, True), done
    assert sent.forget().code == 0
    assert sent.traces() == []


def test_it_asks(sent: Job) -> None:
    before = sent.traces()
    refused = sent.sender("forget", ADA)
    assert (refused.code, "add --yes" in refused.err) == (2, True), refused
    assert sent.traces() == before
    unread = sent.forget(number="hello")
    assert (unread.code, "cannot be read as a number" in unread.err) == (2, True), unread
    nobody = sent.forget(number="+12025550199")
    assert (nobody.code, "there is nothing to erase" in nobody.out) == (0, True), nobody
    nowhere = sent.sender("forget", ADA, "--yes", "--state-dir", "elsewhere")
    assert (nowhere.code, (sent.sender.folder / "elsewhere").exists()) == (2, False), nowhere


def test_an_unknown_message_stays_unknown_and_is_never_sent(sender: Shell, sandbox: Start) -> None:
    job = Job(sender, sandbox("--faults", "reset-after=1"))
    job.write_lists()
    assert job.send("summer", "--on-unknown", "hold").code == 4
    done = job.forget()
    assert (done.code, "1 message still unknown" in done.out) == (0, True), done
    counts = job.provider.counts()
    after = job.send("summer", "--resume", "--resend-unknown", "--on-unknown", "hold")
    assert job.provider.counts().get(ADA) == counts.get(ADA), after
    assert job.traces() == []


def test_a_simulated_run_forgets_her_too(sender: Shell) -> None:
    sender.write("people.csv", f"name,phone\nAda Lovelace,{ADA}\nGrace,{GRACE}\n")
    options = ("--provider", "sandbox", "--from", "+12025550100")
    assert sender("send", "people.csv", *BODY, *options, "--yes").code == 0
    assert sender("forget", ADA, "--yes").code == 0
    text = "".join(text for _, text in contents(sender.folder / ".sender"))
    assert [trace for trace in TRACES if trace in text] == []


@pytest.mark.parametrize("name", ["finished", "rehearsed", "live", "unfinished", "half"])
def test_a_state_of_an_older_version(sender: Shell, name: str) -> None:
    shutil.copytree(SAMPLE / "campaigns", sender.folder, dirs_exist_ok=True)
    shutil.copytree(SAMPLE / "state", sender.folder / ".sender")
    with library.open_state(sender.folder / ".sender", read_only=True) as state:
        run = state.find(name)
        number, identity = state.plan(run).messages["to"][0], state.plan(run).identity
    before = sender("status", run.run_id, "--json").json["law"]
    done = sender("forget", number, "--yes", "--json")
    assert done.code == 0, done
    assert run.run_id in [erased["run_id"] for erased in done.json["runs"]]
    text = "".join(text for _, text in contents(sender.folder / ".sender"))
    assert number[1:] not in text
    with library.open_state(sender.folder / ".sender", read_only=True) as state:
        assert (state.plan(run).identity, state.plan(run).hash) == (identity, run.plan_hash)
    after = sender("status", run.run_id, "--json").json["law"]
    if name not in ("unfinished", "half"):  # whose pending messages are canceled
        assert after == before
    assert sender("history", number, "--json").json["messages"]


def test_from_python(sent: Job) -> None:
    with library.open_state(sent.sender.folder / ".sender") as state:
        with state.locks.hold_campaign("spring", RunKind.LIVE), pytest.raises(RunLocked):
            library.forget(library.open_state(sent.sender.folder / ".sender"), ADA)
        done = library.forget(state, "(202) 555-0101", region="US")
    assert (done.number, done.plans, done.entries, done.compacted) == (ADA, 1, 1, True)
    assert {run.campaign: (run.rows, run.messages, run.canceled) for run in done.runs} == {
        "spring": (3, 1, 0),
        "summer": (1, 1, 1),
    }
    assert sent.traces() == []
