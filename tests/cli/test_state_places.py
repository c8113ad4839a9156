"""One state, wherever you stand: where a command finds it, who may begin one, and what a folder's `sender.toml` says."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Sandbox, Shell

Start = Callable[..., Sandbox]
LIST = "name,phone\nAda,+12025550101\nGrace,+12025550102\n"
OFFER = ("--body", "Hi {{ name }}", "--from", "+12025550100")
QUICK = ("--yes", "--wait", "0", "--rate", "none")
NEW = "no earlier runs and no opt-outs are known"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A project folder with `letters/people.csv`, below a home of its own, where nothing has been sent yet."""
    project = tmp_path / "home" / "project"
    project.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    shell = Shell(project, begins_states=False)
    shell.write("letters/people.csv", LIST)
    return shell


def at(shell: Shell, folder: str) -> Shell:
    """The same shell in another folder."""
    place = shell.folder / folder
    place.mkdir(parents=True, exist_ok=True)
    return Shell(place.resolve(), begins_states=False)


def simulate(shell: Shell, target: str, *args: str, **env: str) -> Done:
    return shell("send", target, *OFFER, "--provider", "sandbox", *QUICK, *args, **env)


def live(shell: Shell, target: str, provider: Sandbox, *args: str) -> Done:
    return shell("send", target, *OFFER, "--provider", "twilio", *QUICK, *args, **provider.env)


def states(shell: Shell) -> set[str]:
    """Every state below the home folder, by its path from the project."""
    home = shell.folder.parent
    return {os.path.relpath(path.parent, shell.folder) for path in home.rglob("ledger.sqlite3")}


class TestWhereItIs:
    @pytest.mark.parametrize(
        ("stands", "target", "where"),
        [
            pytest.param(".", "letters/people.csv", ".sender", id="above-the-list"),
            pytest.param("letters", "people.csv", "letters/.sender", id="beside-the-list"),
            pytest.param("other", "../letters/people.csv", "letters/.sender", id="elsewhere"),
            pytest.param("letters/deep", "../people.csv", "letters/.sender", id="below-the-list"),
            pytest.param("..", "project/letters/people.csv", "../.sender", id="home"),
        ],
    )
    def test_a_new_one_is_where_both_folders_find_it(self, shell: Shell, stands: str, target: str, where: str) -> None:
        done = simulate(at(shell, stands), target)
        assert done.code == 0, done
        assert states(shell) == {where}

    @pytest.mark.parametrize("stands", [".", "letters", "letters/deep", "other", "..", "../..", "/"])
    def test_a_campaign_is_known_wherever_the_command_is_given(self, shell: Shell, stands: str) -> None:
        assert simulate(shell, "letters/people.csv").code == 0
        again = simulate(at(shell, stands), str(shell.folder / "letters/people.csv"))
        assert (again.code, "has been sent" in again.err) == (3, True), again
        status = at(shell, stands)("status", str(shell.folder / "letters/people.csv"), "--json")
        assert status.code == 0, status
        assert states(shell) == {".sender"}

    @pytest.mark.parametrize("command", ["plan", "preview", "send", "plan diff"])
    def test_two_states_are_both_named_and_refused(self, shell: Shell, command: str) -> None:
        assert simulate(at(shell, "letters"), "people.csv").code == 0
        assert simulate(at(shell, "other"), "../letters/people.csv", "--state", ".sender").code == 0
        target = ("../letters/people.csv",) * (2 if command == "plan diff" else 1)
        words = (*command.split(), *target, *OFFER, "--provider", "sandbox")
        refused = at(shell, "other")(*words)
        assert refused.code == 2, refused
        assert str(shell.folder / "letters/.sender") in refused.err
        assert str(shell.folder / "other/.sender") in refused.err
        assert "--state" in refused.err
        asked = ("--dry-run",) if command == "send" else ()
        assert at(shell, "other")(*words, *asked, "--state", "../letters/.sender").code == 0

    def test_a_written_plan_belongs_to_the_state_it_is_in(self, shell: Shell) -> None:
        planned = at(shell, "letters")("plan", "people.csv", *OFFER, "--provider", "sandbox", "--json")
        folder = shell.folder / "letters" / planned.json["directory"]
        assert at(shell, "..")("send", str(folder), *QUICK[:3]).code == 0
        assert states(shell) == {"letters/.sender"}
        again = at(shell, "other")("send", str(folder), *QUICK[:3])
        assert (again.code, "has been sent" in again.err) == (3, True), again

    @pytest.mark.parametrize(
        "words",
        [
            ("status",), ("status", "people"), ("results", "people"), ("report", "people"), ("reconcile", "people"),
            ("retry", "people"), ("history", "+12025550101"), ("suppress", "list"), ("suppress", "add", "+12025550101"),
            ("suppress", "why", "+12025550101"), ("suppress", "export"), ("suppress", "import", "letters/people.csv"),
            ("suppress", "remove", "+12025550101"), ("listen", "--port", "0"),
        ],
        ids=" ".join,
    )  # fmt: skip
    def test_without_one_a_command_says_where_it_looked(self, shell: Shell, words: tuple[str, ...]) -> None:
        done = shell(*words)
        assert (done.code, "there is no state directory in" in done.err) == (2, True), done
        assert str(shell.folder) in done.err
        assert str(shell.folder.parent) in done.err, "home is looked in"
        assert str(shell.folder.parent.parent) + "," not in done.err, "and nothing above it"
        named = shell(*words, "--state", "nowhere")
        assert (named.code, "nowhere" in named.err) == (2, True), named
        assert states(shell) == set()

    def test_suppress_and_listen_say_how_to_make_one(self, shell: Shell) -> None:
        for words in (("suppress", "add", "+12025550101"), ("listen", "--port", "0")):
            assert "sender init --state-only" in shell(*words).err
        assert shell("init", "--state-only").code == 0
        assert shell("suppress", "add", "+12025550101").code == 0

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to another user")
    def test_a_state_of_another_user_is_neither_used_nor_passed_by(self, shell: Shell) -> None:
        assert simulate(shell, "letters/people.csv").code == 0
        os.chown(shell.folder / ".sender", 12345, 12345)
        done = simulate(shell, "letters/people.csv")
        assert (done.code, "belongs to another user" in done.err) == (2, True), done
        assert "has been sent" in simulate(shell, "letters/people.csv", "--state", ".sender").err

    def test_the_search_ends_below_a_folder_that_everybody_may_write_to(self, shell: Shell) -> None:
        assert simulate(shell, "letters/people.csv").code == 0
        shell.folder.chmod(0o777)
        (shell.folder / "letters" / "deep").mkdir()
        assert at(shell, "letters")("status").code == 2
        assert shell("status").code == 0, "the folder one stands in"


class TestTheOptions:
    def test_two_names_for_one_thing(self, shell: Shell) -> None:
        for words, env in (
            (("--state", "a"), {}),
            (("--state-dir", "a"), {}),
            (("--state", "a", "--state-dir", "./a"), {}),
            ((), {"SENDER_STATE": "a"}),
            ((), {"SENDER_STATE_DIR": "a"}),
            ((), {"SENDER_STATE_DIR": "a", "SENDER_STATE": "a"}),
            (("--state", "a"), {"SENDER_STATE": "b", "SENDER_STATE_DIR": "c"}),
            ((), {"SENDER_STATE_DIR": "a", "SENDER_STATE": ""}),
        ):
            done = simulate(shell, "letters/people.csv", "--again", *words, **env)
            assert done.code == 0, done
            assert states(shell) == {"a"}

    @pytest.mark.parametrize(
        ("words", "env", "names"),
        [
            (("--state", "a", "--state-dir", "b"), {}, ("--state and --state-dir", "a, b")),
            ((), {"SENDER_STATE": "a", "SENDER_STATE_DIR": "b"}, ("SENDER_STATE and SENDER_STATE_DIR", "a, b")),
        ],
    )
    def test_two_different_ones_are_refused(
        self, shell: Shell, words: tuple[str, ...], env: dict[str, str], names: tuple[str, ...]
    ) -> None:
        done = simulate(shell, "letters/people.csv", *words, **env)
        assert (done.code, *(name in done.err for name in names)) == (2, True, True), done
        assert states(shell) == set()

    @pytest.mark.parametrize("words", [("status",), ("plan", "letters/people.csv", *OFFER, "--provider", "sandbox")])
    def test_a_url_is_refused_without_its_password(self, shell: Shell, words: tuple[str, ...]) -> None:
        for place in (("--state", "postgres://me:secret@db/x"), ("--state-dir", "postgres://me:secret@db/x")):
            done = shell(*words, *place)
            assert (done.code, "has a password in it" in done.err) == (2, True), done
            assert "secret" not in done.err


class TestWhoBeginsOne:
    def test_a_live_send_does_not_begin_one_by_itself(self, shell: Shell, sandbox: Start) -> None:
        provider = sandbox()
        refused = live(shell, "letters/people.csv", provider)
        assert (refused.code, NEW in refused.err, "--init-state" in refused.err) == (3, True, True), refused
        assert (states(shell), provider.counts()) == (set(), {})
        dry = live(shell, "letters/people.csv", provider, "--dry-run")
        assert (dry.code, NEW in dry.out) == (0, True), dry
        begun = live(shell, "letters/people.csv", provider, "--init-state")
        assert (begun.code, NEW in begun.err) == (0, True), begun
        again = live(shell, "letters/people.csv", provider, "--init-state")
        assert (again.code, NEW in again.err, "has been sent" in again.err) == (3, False, True), again
        assert sum(provider.counts().values()) == 2

    @pytest.mark.parametrize(
        "before",
        [
            pytest.param(("--provider", "sandbox"), id="sandbox"),
            pytest.param(("--provider", "twilio", "--rehearse"), id="rehearsal"),
            pytest.param(("--provider", "sandbox", "--test-to", "+12025550109"), id="test"),
        ],
    )
    def test_what_a_simulation_made_is_still_new(self, shell: Shell, sandbox: Start, before: tuple[str, ...]) -> None:
        provider = sandbox()
        assert shell("send", "letters/people.csv", *OFFER, *QUICK, *before).code == 0
        refused = live(shell, "letters/people.csv", provider)
        assert (refused.code, NEW in refused.err) == (3, True), refused

    def test_a_test_to_one_s_own_phone_needs_no_leave(self, shell: Shell, sandbox: Start) -> None:
        provider = sandbox()
        done = live(shell, "letters/people.csv", provider, "--test-to", "+12025550109")
        assert done.code == 0, done
        assert live(shell, "letters/people.csv", provider).code == 3

    @pytest.mark.parametrize(
        "words",
        [("init", "--state-only"), ("init", "--state-only", "letters"), ("init", "letters"), ("init",)],
        ids=" ".join,
    )
    def test_init_begins_one(self, shell: Shell, sandbox: Start, words: tuple[str, ...]) -> None:
        done = shell(*words)
        assert (done.code, NEW in done.out) == (0, True), done
        assert live(shell, "letters/people.csv", sandbox()).code == 0
        assert len(states(shell)) == 1

    def test_init_below_a_state_makes_no_second_one(self, shell: Shell) -> None:
        assert shell("init", "--state-only").code == 0
        below = shell("init", "letters/summer")
        assert (below.code, "already there" in below.out) == (0, True), below
        assert states(shell) == {".sender"}

    def test_opt_outs_make_a_state_that_is_known(self, shell: Shell, sandbox: Start) -> None:
        assert simulate(shell, "letters/people.csv").code == 0
        assert shell("suppress", "add", "+12025550101").code == 0
        done = live(shell, "letters/people.csv", sandbox())
        assert (done.code, "1 skipped + 1 accepted" in done.out) == (0, True), done

    def test_the_log_has_the_event(self, shell: Shell, sandbox: Start) -> None:
        done = live(shell, "letters/people.csv", sandbox(), "--init-state", "--log-format", "json")
        events = [json.loads(line)["event"] for line in done.err.splitlines()]
        assert events[0] == "new_state"

    def test_a_new_one_offers_the_opt_outs_of_the_others(self, shell: Shell, sandbox: Start) -> None:
        older = at(shell, "older")
        assert older("init", "--state-only").code == 0
        assert older("suppress", "add", "+12025550101", "--note", "asked").code == 0
        other = str(shell.folder / "older" / ".sender")
        letters = at(shell, "letters")
        refused = live(letters, "people.csv", sandbox())
        assert f"sender suppress import {other}" in refused.err, refused
        assert letters("init", "--state-only").code == 0
        done = letters("suppress", "import", other)
        assert done.out == f"{other}: 1 entry, 1 new\n", done
        assert letters("suppress", "import", str(shell.folder / "older")).out.endswith("1 entry, 0 new\n")
        assert "asked" in letters("suppress", "why", "+12025550101").out
        for folder, sentence in ((".", "no state directory here"), (".sender", "the state itself")):
            place = str(shell.folder / "letters") if folder == ".sender" else str(shell.folder / "other")
            Path(place).mkdir(exist_ok=True)
            wrong = letters("suppress", "import", place)
            assert (wrong.code, sentence in wrong.err) == (2, True), wrong

    def test_the_state_of_an_older_program_stays_one(self, shell: Shell, sandbox: Start) -> None:
        older = at(shell, "older")
        assert older("init", "--state-only").code == 0
        assert older("suppress", "add", "+12025550101").code == 0
        file = shell.folder / "older" / ".sender" / "suppression.sqlite3"
        with closing(sqlite3.connect(file)) as db:
            db.executescript("DROP TABLE heard; PRAGMA user_version = 1; PRAGMA wal_checkpoint (TRUNCATE)")
        letters, other = at(shell, "letters"), str(file.parent)
        assert f"{other} has 1 entry" in live(letters, "people.csv", sandbox()).err
        assert letters("init", "--state-only").code == 0
        assert letters("suppress", "import", other).out == f"{other}: 1 entry, 1 new\n"
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (1,)
            assert not db.execute("SELECT * FROM sqlite_schema WHERE name = 'heard'").fetchall()

    def test_a_registry_that_cannot_be_written_fails_nothing(self, shell: Shell) -> None:
        shell.env["XDG_STATE_HOME"] = str(shell.write("file", "no folder"))
        assert shell("init", "--state-only").code == 0
        shell.write("xdg2/campaign-sender/states.json", "{]")
        shell.env["XDG_STATE_HOME"] = str(shell.folder / "xdg2")
        assert shell("init", "letters").code == 0


class TestFolderDefaults:
    TOML = """
provider = "sandbox"
from = "+12025550100"
default_region = "US"
rate = "none"
suppress = "no.csv"
state = "kept/state"

[results]
format = "jsonl"
"""

    @pytest.fixture
    def folder(self, shell: Shell) -> Shell:
        shell.write("sender.toml", self.TOML)
        shell.write("no.csv", "phone\n+12025550102\n")
        shell.write("own.csv", "phone\n+12025550103\n")
        shell.write("letters/people.csv", LIST + "Jean,(202) 555-0103\nMary,202-555-0104\n")
        return shell

    @pytest.mark.parametrize("stands", [".", "letters", "other", "/"])
    def test_it_fills_in_what_nothing_else_says(self, folder: Shell, stands: str) -> None:
        place = at(folder, stands)
        target = str(folder.folder / "letters/people.csv")
        done = place("send", target, "--body", "Hi", "--yes", "--wait", "0")
        assert (done.code, "4 rows = 1 skipped + 3 accepted" in done.out) == (0, True), done
        assert states(folder) == {"kept/state"}

    def test_option_then_campaign_then_file(self, folder: Shell) -> None:
        folder.write(
            "letters/a.yaml", 'recipients: people.csv\nmessage: Hi\nfrom: "+12025550110"\nsuppress: ../own.csv\n'
        )
        plan = folder("plan", "letters/a.yaml", "--json").json
        assert (plan["senders"], plan["provider"], plan["skipped"]) == (["+12025550110"], "sandbox", {"suppressed": 2})
        plan = folder("plan", "letters/a.yaml", "--json", "--from", "+12025550111", "--provider", "twilio").json
        assert (plan["senders"], plan["provider"]) == (["+12025550111"], "twilio")

    def test_results_on_standard_output(self, folder: Shell) -> None:
        assert folder("send", "letters/people.csv", "--body", "Hi", "--yes", "--wait", "0").code == 0
        assert folder("results", "people").out.startswith('{"row_number":')
        assert folder("results", "people", "--format", "csv").out.startswith("row_number,")
        assert folder("results", "people", "--output", "r.csv").code == 0

    def test_the_nearest_one_counts_alone(self, folder: Shell) -> None:
        folder.write("letters/sender.toml", 'provider = "telnyx"\nfrom = "+12025550120"\n')
        plan = folder("plan", "letters/people.csv", "--body", "Hi", "--json").json
        assert (plan["provider"], plan["skipped"].get("suppressed")) == ("telnyx", None)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (
                'provder = "twilio"\n',
                "sender.toml, line 1, key `provder`: unknown key\n  fix: did you mean `provider`?",
            ),
            ("\nname = 'x'\n", "line 2, key `name`: is not a key of a folder's defaults"),
            (
                "[limits]\nmax_costs = 3\n",
                "line 2, key `limits.max_costs`: unknown key\n  fix: did you mean `max_cost`?",
            ),
            ("limits = { queu = 3 }\n", "line 1, key `limits.queu`: unknown key"),
            ("limits = 3\n", "line 1, key `limits`: should be a table"),
            ('provider = "twillio"\n', "line 1, key `provider`"),
            ('\n\nrate = "4 per s"\n', "line 3, key `rate`"),
            ("default_region = 'Atlantis'\n", "line 1"),
            ("[results]\nformat = 'xlsx'\n", "line 2, key `results.format`: is not a format"),
            ("state = 3\n", "line 1, key `state`: should be text"),
            ("provider = twilio\n", "not valid TOML"),
            ("provider = 'a'\nprovider = 'b'\n", "not valid TOML"),
        ],
    )
    def test_a_fault_is_named_with_its_line(self, shell: Shell, text: str, sentence: str) -> None:
        shell.write("sender.toml", text)
        done = shell("plan", "letters/people.csv", *OFFER)
        assert (done.code, sentence in done.err) == (2, True), done
        assert str(shell.folder / "sender.toml") in done.err

    @pytest.mark.parametrize(
        ("text", "arguments", "sentence"),
        [
            ("public_url = 'hooks.example.com'", (), "hooks.example.com"),
            ("public_url = 'https://hooks.example.com'", ("--public-url", "gopher://a"), "public_url: "),
            ("signatures = 'of'", (), "key `listen.signatures`"),
            ("host = '0.0.0.0'", (), "key `listen.host`: unknown key"),
        ],
    )
    def test_listen_takes_it_too(self, folder: Shell, text: str, arguments: tuple[str, ...], sentence: str) -> None:
        assert folder("send", "letters/people.csv", "--body", "Hi", "--yes", "--wait", "0").code == 0
        folder.write("sender.toml", f"{self.TOML}[listen]\n{text}\n")
        done = folder("listen", "--port", "0", *arguments)
        assert (done.code, sentence in done.err) == (2, True), done

    def test_the_line_is_the_files_and_an_option_has_none(self, folder: Shell) -> None:
        folder.write("letters/a.yaml", "recipients: people.csv\nmessage: Hi\nlimits: {queue: 3}\nrate: 4 per s\n")
        done = folder("plan", "letters/a.yaml")
        assert "letters/a.yaml, line 4, key `rate`: " in done.err, done
        for option in (("--rate", "5 per s"), ("--per-person", "x"), ("--set", "validity_period=soon")):
            folder.write("letters/a.yaml", "recipients: people.csv\nmessage: Hi\nlimits: {queue: 3}\nrate: 4/s\n")
            done = folder("plan", "letters/a.yaml", *option)
            assert (done.code, "a.yaml" in done.err, "key `" in done.err) == (2, False, True), done

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to another user")
    def test_a_file_of_another_user_is_refused(self, folder: Shell) -> None:
        os.chown(folder.folder / "sender.toml", 12345, 12345)
        done = folder("plan", "letters/people.csv", "--body", "Hi")
        assert (done.code, "belongs to another user" in done.err) == (2, True), done


class TestFromPython:
    def test_a_new_state_needs_leave(self, tmp_path: Path, sandbox: Start) -> None:
        import sender

        provider = sandbox()
        campaign = sender.load_campaign(
            recipients=[{"phone": "+12025550101"}], message="Hi", provider="twilio", from_="+12025550100", rate="none"
        )
        plan = sender.build_plan(campaign)
        with pytest.raises(sender.InputError, match=NEW):
            sender.send(plan, state_dir=tmp_path / "s", env=provider.env)
        assert sender.send(plan, state_dir=tmp_path / "s", env=provider.env, init_state=True).summary.accepted == 1

    def test_defaults_are_read_where_they_are_named(self, tmp_path: Path) -> None:
        import sender

        (tmp_path / "sender.toml").write_text('provider = "sandbox"\nfrom = "+12025550100"\n', encoding="utf-8")
        people = [{"phone": "+12025550101"}]
        for defaults in (tmp_path, tmp_path / "sender.toml"):
            campaign = sender.load_campaign(recipients=people, message="Hi", defaults=defaults)
            assert campaign.senders == ("+12025550100",)
        with pytest.raises(sender.InputError, match=r"no sender\.toml"):
            sender.load_campaign(recipients=people, message="Hi", defaults=tmp_path / "other.toml")
