"""No command destroys what it was not asked to: every output path of every command against every file it must not touch."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import polars as pl
import pytest

from sender.reports import table_files
from tests.cli.conftest import Prepared, Shell

CAMPAIGN = """\
name: offer
provider: sandbox
rate: none
from: "+12025550150"
recipients: {file: people.csv, default_region: US}
message: {template: offer.j2}
suppress: [stop.csv]
prices: prices.yaml
"""
PRICES = "currency: USD\nprices:\n  - {to: US, sms: 0.01}\n"

posix = pytest.mark.skipif(os.name != "posix", reason="links need a privilege there, and modes mean little")


def fill(sender: Shell) -> Shell:
    """A folder with a campaign that has been sent, a written plan, and files that have nothing to do with either."""
    sender.people(3)
    for name, text in {
        "offer.yaml": CAMPAIGN,
        "offer.j2": "Hi {{ name }}",
        "stop.csv": "phone\n+12025550199\n",
        "prices.yaml": PRICES,
        "secrets.env": "TWILIO_AUTH_TOKEN=x\n",
        "letter.txt": "dear Ada\n",
        "letter.csv": "to,text\nAda,dear\n",
        "letter.html": "<!doctype html><title>Letters: report</title>",
        "letter.json": '{"$schema": "https://json-schema.org/draft/2020-12/schema"}',
        "documents/letter.txt": "dear Ada\n",
    }.items():
        sender.write(name, text)
    pl.DataFrame({"ledger": [1]}).write_parquet(sender.folder / "letter.parquet")
    pl.DataFrame({"ledger": [1]}).write_excel(sender.folder / "letter.xlsx")
    assert sender("plan", "offer.yaml", "--out", "plan").code == 0
    sender.make_state()
    assert sender("suppress", "add", "+12025550198").code == 0
    done = sender("send", "offer.yaml", "--yes", "--wait", "0")
    assert done.code == 0, done
    return sender


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("filled"), fill)


@pytest.fixture
def sent(filled: Prepared) -> Shell:
    return filled.restore()


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """One for all tests in which everything is refused; each of them looks that nothing has changed."""
    return fill(Shell(tmp_path_factory.mktemp("untouched")))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in the folder, but for what SQLite keeps beside an open database."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm")) and "locks" not in path.parts
    }


# Each command with the place of its output.
RUN = {
    "results": ("results", "offer", "--format", "csv", "--output", "{}"),
    "report": ("report", "offer", "--html", "{}"),
}
PLANNED = {
    "preview": ("preview", "offer.yaml", "--html", "{}"),
    "send": ("send", "offer.yaml", "--again", "--yes", "--wait", "0", "--output", "{}"),
}
OTHER = {
    "export": ("suppress", "export", "{}"),
    "schema": ("schema", "--output", "{}"),
}
COMMANDS = {**RUN, **PLANNED, **OTHER}
FORCED = [name for name in COMMANDS if name != "send"]
INPUTS = ["offer.yaml", "people.csv", "offer.j2", "stop.csv", "prices.yaml"]
STATE = [".sender/ledger.sqlite3", ".sender/suppression.sqlite3", ".sender/new.csv", ".sender/runs/new.csv"]
LETTERS = ["letter.txt", "letter.csv", "letter.html", "letter.json", "letter.parquet", "letter.xlsx"]


def call(shell: Shell, command: str, path: str, *more: str) -> tuple[int, str]:
    done = shell(*(part.format(path) for part in COMMANDS[command]), *more)
    return done.code, done.err


def refuses(shell: Shell, command: str, path: str, *more: str, says: str) -> None:
    before = contents(shell.folder)
    code, err = call(shell, command, path, *more)
    assert code == 2, err
    assert says in err
    assert "fix:" in err
    assert err.count("error:") == 1
    assert contents(shell.folder) == before


class TestInputs:
    @pytest.mark.parametrize("path", INPUTS)
    @pytest.mark.parametrize("command", [*RUN, *PLANNED])
    def test_are_never_outputs(self, untouched: Shell, command: str, path: str) -> None:
        for more in ((), ("--force",)) if command in FORCED else ((),):
            refuses(untouched, command, path, *more, says="this file is an input of the campaign")

    @pytest.mark.parametrize("command", [*RUN, *PLANNED])
    @pytest.mark.parametrize("spelling", ["./people.csv", "documents/../people.csv", "{folder}/people.csv"])
    def test_however_they_are_spelled(self, untouched: Shell, command: str, spelling: str) -> None:
        refuses(
            untouched, command, spelling.format(folder=untouched.folder), says="this file is an input of the campaign"
        )

    @posix
    @pytest.mark.parametrize("command", [*RUN, *PLANNED])
    @pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
    def test_links_to_them_neither(self, sent: Shell, command: str, link: object) -> None:
        link(sent.folder / "people.csv", sent.folder / "out.csv")  # type: ignore[operator]
        refuses(sent, command, "out.csv", says="this file is an input of the campaign")

    def test_from_another_folder(self, sent: Shell) -> None:
        (sent.folder / "elsewhere").mkdir()
        before = contents(sent.folder)
        elsewhere = Shell(sent.folder / "elsewhere")
        state = ("--state-dir", "../.sender")
        for arguments in (
            ("results", "../offer.yaml", "--output", "../people.csv", *state),
            ("report", "../offer.yaml", "--html", "../offer.j2", *state),
            ("preview", "../offer.yaml", "--html", "../stop.csv", *state),
            ("send", "../offer.yaml", "--again", "--yes", "--output", "../people.csv", *state),
        ):
            done = elsewhere(*arguments)
            assert (done.code, "an input of the campaign" in done.err) == (2, True), done
        assert contents(sent.folder) == before

    def test_nor_the_list_of_a_bare_command(self, untouched: Shell) -> None:
        before = contents(untouched.folder)
        options = ("--body", "Hi", "--from", "+12025550150", "--provider", "sandbox", "--rate", "none")
        for arguments in (
            ("send", "people.csv", *options, "--yes", "--output", "people.csv"),
            ("preview", "people.csv", *options, "--html", "people.csv"),
            ("send", "people.csv", *options, "--suppress", "stop.csv", "--yes", "--output", "stop.csv"),
        ):
            assert sender_refuses(untouched, arguments)
        assert contents(untouched.folder) == before

    def test_nor_the_credentials(self, untouched: Shell) -> None:
        refuses(
            untouched, "send", "secrets.env", "--env-file", "secrets.env", says="this file is an input of the campaign"
        )

    @pytest.mark.parametrize("name", ["plan/manifest.json", "plan/plan.parquet", "plan/new.csv"])
    def test_nor_anything_in_a_written_plan(self, untouched: Shell, name: str) -> None:
        before = contents(untouched.folder)
        for arguments in (
            ("preview", "plan", "--html", name, "--force"),
            ("send", "plan", "--yes", "--again", "--output", name),
        ):
            assert sender_refuses(untouched, arguments)
        assert contents(untouched.folder) == before

    def test_nor_what_a_retried_run_was_made_from(self, sent: Shell) -> None:
        assert sent("send", "offer.yaml", "--again", "--yes").code == 0  # and waits until they are delivered
        retried = sent("retry", "offer", "--include-delivered", "--yes")
        assert retried.code == 0, retried
        run = next(run for run in sent("status", "--json").json if run["retry_of"])["run_id"]
        before = contents(sent.folder)
        for path in ("people.csv", "offer.yaml", "stop.csv"):
            assert sender_refuses(sent, ("results", run, "--format", "csv", "--output", path, "--force"))
            assert sender_refuses(sent, ("retry", "offer", "--include-delivered", "--yes", "--output", path))
        assert contents(sent.folder) == before


def sender_refuses(shell: Shell, arguments: tuple[str, ...]) -> bool:
    done = shell(*arguments)
    assert done.code == 2, done
    assert "this file is an input of the campaign" in done.err
    return True


class TestState:
    @pytest.mark.parametrize("path", STATE)
    @pytest.mark.parametrize("command", COMMANDS)
    def test_is_never_written_into(self, untouched: Shell, command: str, path: str) -> None:
        for more in ((), ("--force",)) if command in FORCED else ((),):
            refuses(untouched, command, path, *more, says="this is in the state directory")

    @pytest.mark.parametrize("command", [*OTHER, "results"])
    def test_whichever_state_it_is(self, sent: Shell, command: str) -> None:
        shutil.copytree(sent.folder / ".sender", sent.folder / "backup")
        refuses(sent, command, "backup/ledger.sqlite3", says="this is in the state directory")
        refuses(sent, command, "backup/locks/new.csv", says="this is in the state directory")

    def test_but_for_the_results_in_their_own_place(self, sent: Shell) -> None:
        [own] = (sent.folder / ".sender" / "runs").glob("*/results.csv")
        own.unlink()
        path = own.relative_to(sent.folder).as_posix()
        assert sent("results", "offer", "--output", path).code == 0
        assert sent("results", "offer", "--output", path).code == 0
        assert pl.read_csv(own).height == 3
        refuses(sent, "report", path, says="this file exists and is not a report page")
        refuses(sent, "preview", path, says="this is in the state directory")

    @posix
    @pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
    @pytest.mark.parametrize("command", ["results", "report", "preview", "send", "export"])
    def test_nor_through_a_link(self, sent: Shell, command: str, link: object) -> None:
        link(sent.folder / ".sender" / "ledger.sqlite3", sent.folder / "out.csv")  # type: ignore[operator]
        refuses(sent, command, "out.csv", says="this is in the state directory")


class TestOtherFiles:
    @pytest.mark.parametrize("path", LETTERS)
    @pytest.mark.parametrize("command", COMMANDS)
    def test_are_never_replaced_without_force(self, untouched: Shell, command: str, path: str) -> None:
        refuses(untouched, command, path, says="this file exists and is not a")

    @pytest.mark.parametrize("command", FORCED)
    def test_are_replaced_with_force(self, sent: Shell, command: str) -> None:
        for more in (("--force",), ()):  # the second time it is one of ours
            code, err = call(sent, command, "letter.csv", *more)
            assert code == 0, err
        assert "dear" not in (sent.folder / "letter.csv").read_text(encoding="utf-8")

    @pytest.mark.parametrize("other", COMMANDS)
    def test_one_command_does_not_replace_what_another_wrote(self, sent: Shell, other: str) -> None:
        code, err = call(sent, other, "out.csv")
        assert code == 0, err
        alike = {"results", "send"} if other in ("results", "send") else {other}
        for command in COMMANDS.keys() - alike:
            refuses(sent, command, "out.csv", says="this file exists and is not a")
        for command in alike:
            assert call(sent, command, "out.csv")[0] == 0

    @pytest.mark.parametrize("form", table_files.FORMATS)
    def test_results_of_every_format_are_results(self, sent: Shell, form: str) -> None:
        name = f"out.{form}"
        for _ in range(2):
            assert sent("results", "offer", "--output", name).code == 0
        assert sent("results", "offer", "--output", name, "--format", "csv").code == 0, "in another format"

    @pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
    def test_exports_of_every_format_are_exports(self, sent: Shell, form: str) -> None:
        for _ in range(2):
            assert sent("suppress", "export", f"out.{form}").code == 0

    @pytest.mark.parametrize("form", ["json", "markdown"])
    def test_schemas_of_both_formats_are_schemas(self, sent: Shell, form: str) -> None:
        for _ in range(2):
            assert sent("schema", "--format", form, "--output", "out").code == 0

    @pytest.mark.parametrize("command", COMMANDS)
    def test_an_empty_file_has_nothing_to_lose(self, sent: Shell, command: str) -> None:
        (sent.folder / "out.csv").touch()
        assert call(sent, command, "out.csv")[0] == 0
        assert (sent.folder / "out.csv").stat().st_size

    def test_results_with_awkward_headers_are_results(self, sent: Shell) -> None:
        sent.write("list.csv", 'name,"status\nand more",status,phone,row_number\nAda,x,y,+12025550110,1\n')
        options = ("--body", "Hi", "--from", "+12025550150", "--provider", "sandbox", "--rate", "none")
        assert sent("send", "list.csv", *options, "--yes", "--output", "out.csv").code == 0
        for form in table_files.FORMATS:
            for _ in range(2):
                assert sent("results", "list", "--output", f"out.{form}").code == 0


class TestWriting:
    @posix
    @pytest.mark.parametrize("command", COMMANDS)
    def test_what_has_numbers_or_texts_in_it_is_private(self, sent: Shell, command: str) -> None:
        before = os.umask(0o022)
        try:
            assert call(sent, command, "out.csv")[0] == 0
        finally:
            os.umask(before)
        mode = stat.S_IMODE((sent.folder / "out.csv").stat().st_mode)
        assert mode == (0o644 if command == "schema" else 0o600)

    @posix
    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_link_in_an_own_folder_stays_a_link(self, sent: Shell, command: str) -> None:
        (sent.folder / "out.csv").symlink_to("documents/out.csv")
        assert call(sent, command, "out.csv")[0] == 0
        assert (sent.folder / "out.csv").is_symlink()
        assert (sent.folder / "documents" / "out.csv").stat().st_size

    @posix
    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_link_in_a_folder_of_all_is_not_followed(self, sent: Shell, command: str) -> None:
        shared = sent.folder / "shared"
        shared.mkdir()
        (shared / "out.csv").symlink_to(sent.folder / "documents" / "out.csv")
        shared.chmod(0o1777)
        refuses(sent, command, "shared/out.csv", says="symbolic link in a folder that others may write to")

    @pytest.mark.parametrize("command", COMMANDS)
    @pytest.mark.parametrize(
        ("path", "says"), [("nowhere/out.csv", "there is no folder"), ("people.csv/out.csv", "there is no folder")]
    )
    def test_a_folder_that_is_not_there(self, untouched: Shell, command: str, path: str, says: str) -> None:
        refuses(untouched, command, path, says=says)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_an_error_leaves_the_old_file_and_nothing_else(
        self, sent: Shell, command: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert call(sent, command, "out.csv")[0] == 0
        old = (sent.folder / "out.csv").read_bytes()
        replace = Path.replace

        def fail(self: Path, target: Path) -> Path:
            if target.name == "out.csv":
                raise OSError(28, "No space left on device")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", fail)
        code, err = call(sent, command, "out.csv")
        assert code == (5 if command == "send" else 2)
        assert "cannot be written: No space left on device" in err
        assert (sent.folder / "out.csv").read_bytes() == old
        assert not list(sent.folder.glob(".*.partial"))

    def test_a_file_that_appears_while_sending_is_not_replaced(
        self, sent: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sender.sending.run import RunSession

        begin = RunSession._begin

        def meanwhile(self: RunSession, *args: object) -> object:
            sent.write("out.csv", "dear Ada")
            return begin(self, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(RunSession, "_begin", meanwhile)
        done = sent("send", "offer.yaml", "--again", "--yes", "--output", "out.csv")
        assert done.code == 5
        assert "the results were not written: this file exists and is not a results file" in done.err
        assert "sender results" in done.err
        assert (sent.folder / "out.csv").read_text() == "dear Ada"
        assert "3 accepted" in done.out


class TestPlanOut:
    @pytest.mark.parametrize("path", [".sender", ".", "documents", "..", ".sender/runs", ".sender/locks", "backup"])
    def test_never_removes_a_folder_that_is_not_a_plan(self, sent: Shell, path: str) -> None:
        shutil.copytree(sent.folder / ".sender", sent.folder / "backup")
        self.refuses(sent, path, ("would be lost", "in the state directory"))

    def test_nor_a_plan_with_something_else_in_it(self, sent: Shell) -> None:
        sent.write("plan/notes.txt", "looked at by Ada")
        self.refuses(sent, "plan", ("this folder is not a written plan: manifest.json, notes.txt, plan.parquet would",))

    def test_nor_half_a_plan(self, sent: Shell) -> None:
        (sent.folder / "plan" / "manifest.json").write_text("{}")
        self.refuses(sent, "plan", ("this folder is not a written plan",))

    @pytest.mark.parametrize("path", INPUTS)
    def test_nor_an_input(self, untouched: Shell, path: str) -> None:
        self.refuses(untouched, path, ("an input of the campaign",))

    def test_nor_a_file(self, untouched: Shell) -> None:
        self.refuses(untouched, "letter.txt", ("this is a file",))

    def test_nor_the_plan_of_a_run(self, untouched: Shell) -> None:
        [run] = (untouched.folder / ".sender" / "runs").glob("*/plan")
        self.refuses(untouched, run.relative_to(untouched.folder).as_posix(), ("in the state directory",))

    def test_nor_a_new_folder_in_the_state(self, untouched: Shell) -> None:
        self.refuses(untouched, ".sender/runs/new", ("in the state directory",))
        self.refuses(untouched, ".sender/new", ("in the state directory",))

    @posix
    def test_nor_what_a_link_leads_to(self, sent: Shell) -> None:
        (sent.folder / "link").symlink_to(".sender", target_is_directory=True)
        self.refuses(sent, "link", ("in the state directory",))
        (sent.folder / "letters").symlink_to("documents", target_is_directory=True)
        self.refuses(sent, "letters", ("would be lost",))

    @pytest.mark.parametrize("path", ["new", "deep/new", "empty", "plan", ".sender/plans/mine"])
    def test_a_new_an_empty_and_a_plan_are_written(self, sent: Shell, path: str) -> None:
        (sent.folder / "empty").mkdir()
        for _ in range(2):
            assert sent("plan", "offer.yaml", "--out", path, "--limit", "1").code == 0
        assert {file.name for file in (sent.folder / path).iterdir()} == {"manifest.json", "plan.parquet"}
        assert sent("preview", path).code == 0
        assert not list((sent.folder / path).parent.glob(".*.partial"))

    def test_the_default_place_is_guarded_too(self, sent: Shell) -> None:
        place = Path(sent("plan", "offer.yaml", "--json").json["directory"])
        sent.write(f"{place.as_posix()}/notes.txt", "mine")
        done = sent("plan", "offer.yaml")
        assert (done.code, "notes.txt" in done.err) == (2, True), done
        assert (sent.folder / place / "notes.txt").exists()

    def test_the_old_plan_survives_a_failure(self, sent: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        before = contents(sent.folder)
        monkeypatch.setattr(pl.DataFrame, "write_parquet", fail_to_write)
        done = sent("plan", "offer.yaml", "--out", "plan", "--limit", "1")
        assert done.code == 5, done
        assert contents(sent.folder) == before

    @staticmethod
    def refuses(sent: Shell, path: str, says: tuple[str, ...]) -> None:
        before = contents(sent.folder)
        done = sent("plan", "offer.yaml", "--out", path)
        assert done.code == 2, done
        assert any(sentence in done.err for sentence in says), done
        assert "fix: " in done.err
        assert contents(sent.folder) == before


def fail_to_write(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


class TestInit:
    @pytest.mark.parametrize("name", ["campaign.yaml", "message.j2", "recipients.csv", "campaign.schema.json"])
    def test_overwrites_nothing(self, sender: Shell, name: str) -> None:
        sender.write(f"mine/{name}", "mine")
        done = sender("init", "mine")
        assert done.code == 2, done
        assert f"{name} already exists" in done.err
        assert contents(sender.folder) == {f"mine/{name}": b"mine"}

    def test_has_no_force(self, sender: Shell) -> None:
        sender.write("mine/campaign.yaml", "mine")
        assert sender("init", "mine", "--force").code == 2
        assert contents(sender.folder) == {"mine/campaign.yaml": b"mine"}

    @posix
    def test_nor_a_link_that_leads_nowhere(self, sender: Shell) -> None:
        (sender.folder / "campaign.yaml").symlink_to("elsewhere.yaml")
        assert sender("init").code == 2
        assert not (sender.folder / "elsewhere.yaml").exists()

    def test_not_in_the_state(self, untouched: Shell) -> None:
        before = contents(untouched.folder)
        for place in (".sender", ".sender/new"):
            done = untouched("init", place)
            assert (done.code, "in the state directory" in done.err) == (2, True), done
        assert contents(untouched.folder) == before

    @pytest.mark.parametrize("step", range(1, 5))
    def test_all_files_or_none(self, sender: Shell, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        calls, replace = 0, Path.replace

        def no_links(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        def fail(self: Path, target: Path) -> Path:
            nonlocal calls
            calls += "mine" in target.parts  # not the state's own notes
            if calls == step:
                raise OSError(28, "No space left on device")
            return replace(self, target)

        monkeypatch.setattr(os, "link", no_links)
        monkeypatch.setattr(Path, "replace", fail)
        done = sender("init", "mine")
        assert (done.code, "No space left on device" in done.err) == (2, True), done
        assert contents(sender.folder) == {}


@pytest.mark.parametrize("path", [".sender/new.sqlite3", ".sender/ledger.sqlite3", "nowhere/new", "people.csv"])
def test_the_sandbox_keeps_its_messages_elsewhere(untouched: Shell, path: str) -> None:
    before = contents(untouched.folder)
    done = untouched("sandbox", "--port", "0", "--state", path)
    assert (done.code, done.out) in ((2, ""), (5, "")), done
    assert contents(untouched.folder) == before


@pytest.mark.skipif(sys.platform != "linux", reason="asks /dev")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_is_never_replaced(untouched: Shell, command: str) -> None:
    refuses(untouched, command, "/dev/null", says="not a file")
    assert Path("/dev/null").is_char_device()
