"""What the documents name exists in the program, and what the program offers is in the documents."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import jsonschema
import polars as pl
import pytest
import yaml

import sender
from sender import sandbox
from sender.campaign.json_schema import json_schema
from sender.campaign.model import Campaign
from sender.cli.entry import ALIASES, cli
from sender.core.errors import SenderError
from sender.core.outcomes import SkipReason
from sender.state.approvals import ApprovedText, RunApproval
from sender.state.ledger import RunKind
from sender.state.recorded_outcomes import OUTCOMES_SCHEMA
from sender.state.ticks import TickRecord
from sender.suppression.suppression_list import SuppressionList
from tests.cli.conftest import Shell
from tests.docs import command_reference
from tests.docs.pages import DOCS, PAGES, ROOT, blocks, read, without_code
from tests.syntax_trees import TREES, nodes_of

GUIDES = [
    page for page in PAGES if page != command_reference.PAGE and page.name not in {"CONTRIBUTING.md", "SECURITY.md"}
]
COMMANDS = dict(command_reference.commands())
PROSE = "\n".join(read(page) for page in GUIDES)

# Options in the documents that are another program's.
FOREIGN_OPTIONS = {"--delivery-messages", "--numbers-rows"}


def section(page: Path, title: str) -> str:
    """A page's text from the heading `title` to the next heading of its level."""
    text = read(page)
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"{page.name} has no heading {title}"
    return match[2]


def first_cells(table: str) -> list[str]:
    """The first cell of each row of the first table in a text, without its head."""
    rows = re.findall(r"^\|(.*)\|$", table, re.MULTILINE)
    return [re.split(r"(?<!\\)\|", row)[0].strip() for row in rows[2:]]


def codes(text: str) -> list[str]:
    """The code spans of a text."""
    return re.findall(r"`([^`\n]+)`", text)


class TestCommands:
    def test_the_reference_is_the_commands(self) -> None:
        assert read(command_reference.PAGE) == command_reference.reference(), (
            f"write it anew: {command_reference.WRITE}"
        )

    def test_a_guide_mentions_every_command(self) -> None:
        missing = [name for name in COMMANDS if not re.search(rf"\b{name}\b", PROSE)]
        assert missing == []
        assert all(re.search(rf"sender {alias}\b", read(command_reference.PAGE)) for alias in ALIASES)

    @pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
    def test_its_commands_and_their_options_exist(self, page: Path) -> None:
        for line in command_lines(read(page)):
            command, rest = resolve(line)
            offered = names_of(command)
            if command.context_settings.get("ignore_unknown_options"):  # `retry` takes those of `send`
                offered |= names_of(COMMANDS["send"])
            used = re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)
            assert [name for name in used if name not in offered] == [], line

    @pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
    def test_its_options_are_some_commands(self, page: Path) -> None:
        everywhere = {"--help", "--version"}.union(*(names_of(command) for command in COMMANDS.values()))
        benchmarks = "\n".join(read(path) for path in (ROOT / "benchmarks").glob("*.py"))
        for span in codes(without_code(read(page))):
            if span.startswith("-"):
                name = span.partition(" ")[0].partition("=")[0]
                known = name in everywhere | FOREIGN_OPTIONS or f'"{name}"' in benchmarks
                assert known or not re.fullmatch(r"--[a-z-]+", name), span

    def test_every_option_is_in_a_guide_or_in_the_reference(self) -> None:
        text = read(command_reference.PAGE)
        missing = {name for command in COMMANDS.values() for name in names_of(command) if f"`{name}" not in text}
        assert missing <= {"--help", "-h"}

    def test_the_exit_codes(self) -> None:
        table = {int(code) for code in first_cells(section(DOCS / "operations.md", "Exit codes"))}
        errors = {error.exit_code for error in subclasses(SenderError)}
        shown = {int(code) for code in re.findall(r"\b(\d+) [a-z]", str(cli.help).partition("Exit codes:")[2])}
        fault = {70}  # of the program itself: no reason for it can be planned for
        assert errors < table
        assert table == shown | fault


def command_lines(text: str) -> Iterator[str]:
    """What is written as a call of the command, in code spans, shell blocks and transcripts."""
    for span in re.findall(r"`(sender [a-z][^`]*)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        yield " ".join(span.split())
    yield from re.findall(r"^(?:    |\$ |.*&& )(?:python3 -m )?(sender [a-z].*)$", text, re.MULTILINE)


def resolve(line: str) -> tuple[click.Command, str]:
    """The command of `sender NAME ...`, and the rest of the line."""
    words = line.split()[1:]
    words[0] = ALIASES.get(words[0], words[0])
    if len(words) > 1 and " ".join(words[:2]) in COMMANDS:
        return COMMANDS[" ".join(words[:2])], " ".join(words[2:])
    assert words[0] in COMMANDS, line
    return COMMANDS[words[0]], " ".join(words[1:]).partition("  ")[0]


def names_of(command: click.Command) -> set[str]:
    found = {name for option in command_reference.options(command) for name in option.opts + option.secondary_opts}
    return found | {"--help", "-h"}


def subclasses(cls: type[SenderError]) -> set[type[SenderError]]:
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


class TestCampaignKeys:
    schema = json_schema()

    def test_every_key_of_the_campaign_is_in_a_guide(self) -> None:
        """Beside the generated reference, which has them all; a provider's own fields are in it only."""
        guide = read(DOCS / "campaign.md").partition("<!-- below")[0] + "".join(
            read(page) for page in GUIDES if page.name != "campaign.md"
        )
        own = {info.alias or name for name, info in Campaign.model_fields.items()} - carried_fields()
        assert [key for key in sorted(own) if not re.search(rf"`{key}\b|^{key}:|\b{key}:", guide, re.MULTILINE)] == []

    @pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
    def test_dotted_keys_exist(self, page: Path) -> None:
        sections = {
            key: definition(self.schema, value)
            for key, value in self.schema["properties"].items()
            if definition(self.schema, value)
        }
        pattern = rf"`({'|'.join(sections)})\.([a-z_]+)"
        for key, name in re.findall(pattern, read(page)):
            assert name in sections[key] or f"{key}.{name}" in MANIFEST_KEYS, f"{key}.{name}"

    def test_the_examples_in_yaml_are_valid(self, tmp_path: Path) -> None:
        partial = {**self.schema, "required": []}
        seen = 0
        for page in PAGES:
            for block in blocks(read(page), "yaml"):
                data = yaml.load(block, yaml.BaseLoader)
                if "prices" in data or any(str(key) in sandbox.FAULTS for key in data):
                    continue  # a price table, a list of faults
                jsonschema.Draft202012Validator(partial).validate(yaml.safe_load(block))
                seen += 1
        assert seen >= 4

    def test_the_example_of_faults_is_valid(self, tmp_path: Path) -> None:
        [block] = [block for block in blocks(read(DOCS / "sandbox.md"), "yaml") if "500-after" in block]
        (tmp_path / "faults.yaml").write_text(block, encoding="utf-8")
        sandbox.parse_faults(str(tmp_path / "faults.yaml"), seed=1)

    def test_every_fault_is_explained(self) -> None:
        cells = first_cells(section(DOCS / "sandbox.md", "Faults"))
        assert {name for cell in cells for name in codes(cell)} == {*sandbox.FAULTS, *sandbox.LOG_FAULTS}

    def test_the_reasons_of_skipped_rows(self) -> None:
        """Those that the program gives; the others are reserved."""
        given = {
            node.attr
            for path in TREES
            if path.name != "outcomes.py"
            for node in nodes_of(path)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "SkipReason"
        }
        cells = first_cells(section(DOCS / "campaign.md", "What is skipped"))
        assert {cell.strip("`") for cell in cells} == {SkipReason[name].value for name in given}


MANIFEST_KEYS = {"numbers.repairs", "pace.source"}


def carried_fields() -> set[str]:
    from sender.campaign.values import ProviderFields

    return set(ProviderFields.model_fields)


def definition(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """The properties of a key that takes a mapping of its own model; else nothing."""
    references = [form["$ref"] for form in [value, *value.get("anyOf", [])] if "$ref" in form]
    return {
        name: info
        for reference in references
        for name, info in schema["$defs"][reference.rpartition("/")[2]].get("properties", {}).items()
    }


class TestEnvironment:
    PATTERN = re.compile(r"(?:SENDER|SIGNALWIRE|TELNYX|TWILIO)(?:_[A-Z]+)+")

    def test_variables(self) -> None:
        used = {
            node.value
            for path in TREES
            for node in nodes_of(path)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and self.PATTERN.fullmatch(node.value)
        }
        named = set(self.PATTERN.findall("\n".join(read(page) for page in DOCS.glob("*.md"))))
        assert named == used


class TestLogEvents:
    def test_the_events_of_json_logs(self) -> None:
        cells = first_cells(section(DOCS / "operations.md", "A scheduled job"))
        named = {name for cell in cells for name in codes(cell)}
        for_debugging = {"ready"}  # of a sandbox of its own
        assert named == events() - for_debugging


def events() -> set[str]:
    """The `event` of every log record; a frame's schema may have a column of that name."""
    found = set()
    for path in TREES:
        calls = (node for node in nodes_of(path) if isinstance(node, ast.Call))
        schemas = [call.args for call in calls if isinstance(call.func, ast.Name) and call.func.id == "FrameSchema"]
        for node in nodes_of(path):
            if isinstance(node, ast.Dict) and not any(node in arguments for arguments in schemas):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "event":
                        parts = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
                        found |= {part.value for part in parts if isinstance(part, ast.Constant)}
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("state")
    state = folder / ".sender"
    seen: set[str] = set()

    def look(_: object = None) -> None:
        if state.exists():
            seen.update(path.relative_to(state).as_posix() for path in state.rglob("*") if path.is_file())

    campaign = sender.load_campaign(ROOT / "campaigns" / "welcome.yaml", rate="none")
    plan = sender.build_plan(campaign)
    plan.write(state / "plans" / f"{plan.manifest.campaign}-{plan.hash[:8]}")
    sender.init_state(state)
    look()
    sender.send(plan, state_dir=state, limit=20, on_progress=look)
    sender.send(
        plan,
        state_dir=state,
        workers=2,
        on_progress=look,
        env=dict(without_provider_variables()),
        results_path=folder / "out.csv",
    )
    look()
    with sender.open_state(state) as opened, opened.locks.hold_start(plan.manifest.campaign, RunKind.LIVE):
        opened.ticks.write(TickRecord(plan.manifest.campaign, "0 9 * * mon UTC", 0))
        with opened.ticks.hold(plan.manifest.campaign):
            look()
    older = folder / "older"
    shutil.copytree(ROOT / "tests" / "samples" / "state-6dd9dae" / "state", older)
    with sender.StateDir(older) as opened:
        for run in opened.ledger.runs():
            opened.plans.manifest(run)
        opened.open_replies(create=True).close()
        with contextlib.closing(opened.open_numbers()) as numbers, numbers.hold_lookups():
            pass
        opened.outcomes.add(run, pl.DataFrame([(2, "purchase", None, None)], schema=OUTCOMES_SCHEMA, orient="row"))
        approved = ApprovedText("text", "plan")
        opened.approvals.add(approved)
        opened.approvals.note_run(run, RunApproval(approved, None))
        sender.forget(opened, opened.plan(opened.find("live")).messages["to"][0])
        seen.update(path.relative_to(older).as_posix() for path in older.rglob("*") if path.is_file())
    return seen


class TestStateDirectory:
    """A small run in the sandbox, watched while it goes: its files are those of the table, and the table's are its."""

    def test_every_file_is_in_the_table(self, written: set[str]) -> None:
        patterns = self.patterns()
        passing = ("*.partial", ".*")  # a file on its way to its place
        unknown = {
            file
            for file in written
            if not any(fnmatch(file, pattern) for pattern in patterns)
            and not any(fnmatch(part, skipped) for part in file.split("/") for skipped in passing)
        }
        assert unknown == set()

    def test_every_file_of_the_table_is_written(self, written: set[str]) -> None:
        assert {pattern for pattern in self.patterns() if not any(fnmatch(file, pattern) for file in written)} == set()

    @staticmethod
    def patterns() -> list[str]:
        """The table's files with `*` for what differs; a folder stands for what is in it."""
        cells = first_cells(section(DOCS / "operations.md", "The state directory"))
        names = [name for cell in cells for name in codes(cell)]
        return [re.sub(r"[A-Z]{2,}", "*", name) + ("*" if name.endswith("/") else "") for name in names]


def without_provider_variables() -> Iterator[tuple[str, str]]:
    import os

    return ((name, value) for name, value in os.environ.items() if not TestEnvironment.PATTERN.fullmatch(name))


class TestTranscripts:
    def test_the_suppression_list(self, tmp_path: Path) -> None:
        """The commands of docs/suppression.md print what it shows, but for the time."""
        shell = Shell(tmp_path)
        shell.make_state()
        (tmp_path / "do-not-text.csv").write_text("phone\n+12025550148\n+12025550149\n", encoding="utf-8")
        check_transcript(shell, "$ sender suppress")

    def test_replies_for_a_person(self, tmp_path: Path) -> None:
        shell = Shell(tmp_path)
        shell.make_state()
        with SuppressionList.open(tmp_path / ".sender") as suppressions:
            for last, text in ((47, "please leave me alone"), (48, "wrong number")):
                when = datetime(2026, 11, 21, 14, last, tzinfo=UTC)
                suppressions.learn_inbound(f"+120255501{last}", text, "+12025550100", "twilio", when)
        check_transcript(shell, "$ sender replies")


def check_transcript(shell: Shell, begins: str) -> None:
    """The transcript of docs/suppression.md that begins with that command is what its commands print."""
    [transcript] = [block for block in blocks(read(DOCS / "suppression.md"), "text") if block.startswith(begins)]
    for entry in re.split(r"^\$ sender ", transcript, flags=re.MULTILINE)[1:]:
        command, _, output = entry.partition("\n")
        done = shell(*shlex.split(command))
        assert timeless(done.out) == timeless(output), command


def timeless(text: str) -> list[str]:
    return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)? UTC", "TIME", line).rstrip() for line in text.splitlines()]


def test_paths_in_the_repository_exist() -> None:
    """Files of the repository that a document names, and modules that it runs."""
    for page in GUIDES:
        text = read(page)
        for path in re.findall(r"`((?:tests|benchmarks|docs|campaigns|templates|sender|\.ci)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for module in re.findall(r"python3? -m (benchmarks(?:\.\w+)?|sender|tests[\w.]*)\b", text):
            path = ROOT.joinpath(*module.split("."))
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{page.name}: {module}"
