"""`sender init`: a campaign, a template and a list to begin with. A test runs them."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.campaign_options import is_campaign
from sender.cli.list_campaign import is_list, name_campaign, write_list_campaign
from sender.cli.row_lines import print_skipped
from sender.cli.schema import schema_text
from sender.cli.shared_options import state_options
from sender.core.errors import InputError
from sender.core.folder_defaults import find_folder_defaults
from sender.core.output_files import PUBLIC, OutputKind, check_output, not_writable, write_text_beside
from sender.state.new_state import find_new_state, init_state

_CAMPAIGN = """\
# yaml-language-server: $schema=campaign.schema.json
name: hello
provider: sandbox          # a simulator; then signalwire, signalwire-compat, telnyx or twilio
from: "+12025550100"       # a number, a short code, an alphanumeric id; or a list of numbers

recipients:
  file: recipients.csv     # CSV, TSV, XLSX, Parquet, JSONL or YAML
  default_region: US       # of numbers without a country code

message:
  template: message.j2     # or  body: "Hi {{ first_name }}"
  max_segments: 2          # longer ones are skipped and reported

dedupe: first              # the first row of a repeated number is kept
rate: 10/s                 # or 240/min, auto (the provider's documented limit), none
"""

_MESSAGE = """\
Hi {{ first_name | default("there") }}, your table at Luna is booked for {{ day }}. Reply STOP to opt out.
"""

_RECIPIENTS = """\
First Name,Phone,Day
Ada,(202) 555-0101,Friday
Grace,+1 202-555-0102,Saturday
,202.555.0103,Sunday
Ada again,+12025550101,Friday
Bob,555-01,Monday
"""

_FILES = {"campaign.yaml": _CAMPAIGN, "message.j2": _MESSAGE, "recipients.csv": _RECIPIENTS}
_NEW_FILE = OutputKind("a new file", lambda _: False)
_SCHEMA_FILE = "campaign.schema.json"


@click.command(
    help="Write a campaign, a template, a list and the campaign schema into FOLDER, ready to run; or, for a LIST of"
    " recipients in any format, a campaign next to it. Also create the state directory, which keeps runs and opt-outs."
    "\n\nIf there is a state in FOLDER (or the list's folder) or above it, that one is used; else a new .sender there."
)
@click.argument("folder", type=click.Path(path_type=Path), default=Path(), metavar="[FOLDER|LIST]")
@click.option("--state-only", is_flag=True, help="Create the state directory, and write nothing else.")
@click.option("--default-region", metavar="US", help="For a LIST: country of numbers without a country code.")
@click.option("--phone-column", metavar="HEADER", help="For a LIST: column with the number.")
@click.option("--sheet", metavar="NAME", help="For a LIST: worksheet of a workbook.")
@state_options
def init(folder: Path, state_only: bool, debug: bool, state_dir: Path | str, **given: str | None) -> int:
    if is_list(folder):
        if state_only:
            raise InputError(
                "--state-only creates a state directory, and this is a list", where=str(folder), fix="name a folder"
            )
        campaign = _write_for_list(folder, {name: value for name, value in given.items() if value is not None})
        _make_state(state_dir)
        _say_next(campaign)
        return 0
    if any(value is not None for value in given.values()):
        raise InputError("--default-region, --phone-column and --sheet are about a list", fix="name the list's file")
    if not state_only:
        _write_files(folder)
    _make_state(state_dir)
    if not state_only:
        _say_next(folder / "campaign.yaml")
    return 0


def _make_state(state_dir: Path | str) -> None:
    notice = find_new_state(state_dir)
    init_state(state_dir)
    if notice is None:
        console.out.print(f"  state: {escape(str(state_dir))} (already there)")
    else:
        console.out.print(f"  state: {escape(str(state_dir))} (new: no earlier runs and no opt-outs are known)")
        for hint in notice.hints:
            console.out.print(f"  {escape(hint)}")


def _say_next(campaign: Path) -> None:
    console.out.print(f"  look:  sender preview {escape(shlex.quote(str(campaign)))}")
    console.out.print(f"  send:  sender send {escape(shlex.quote(str(campaign)))}")


def _write_for_list(people: Path, given: Mapping[str, str]) -> Path:
    """Write the campaign of a list next to it, and return its path. Raises InputError where it exists."""
    if is_campaign(people):
        raise InputError("this is a campaign, not a list", where=str(people), fix=f"`sender preview {people}` shows it")
    target = name_campaign(people)
    if os.path.lexists(target):
        raise InputError(
            f"{target.name} already exists",
            where=str(target.parent),
            fix="move it away: `sender init` never overwrites a file",
        )
    defaults = find_folder_defaults((Path.cwd() / people).parent.resolve(), Path.cwd())
    found = write_list_campaign(people, given, defaults)
    write_text_beside(check_output(target, _NEW_FILE), found.text, mode=PUBLIC, replace=False)
    manifest = found.plan.manifest
    console.out.print(
        f"wrote {escape(str(target))}: {console.many(manifest.rows, 'row')},"
        f" {console.many(manifest.messages, 'message')}, {manifest.rows - manifest.messages:,} skipped"
    )
    print_skipped(found.plan, most=5)
    if found.region_missing:
        console.out.print("  numbers without a country code need `default_region`: add it to the file")
    return target


def _write_files(folder: Path) -> None:
    """Write all files, or none. Raises InputError where one of them exists."""
    files = {**_FILES, _SCHEMA_FILE: schema_text()}
    existing = [name for name in files if os.path.lexists(folder / name)]
    if existing:
        raise InputError(
            f"{', '.join(existing)} already {'exists' if len(existing) == 1 else 'exist'}",
            where=str(folder),
            fix="choose another folder, or move the files away: `sender init` never overwrites a file;"
            " `--state-only` creates only the state directory",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(str(folder), error) from None
    with contextlib.ExitStack() as undo:
        for name, text in files.items():
            target = check_output(folder / name, _NEW_FILE)
            write_text_beside(target, text, mode=PUBLIC, replace=False)
            undo.callback(target.unlink, missing_ok=True)
        undo.pop_all()  # all are there
    console.out.print(f"wrote {', '.join(files)} in {escape(str(folder))}")
