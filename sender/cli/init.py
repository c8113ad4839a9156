"""`sender init`: a campaign, a template and a list to begin with. A test runs them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.schema import schema_text
from sender.cli.shared_options import state_options
from sender.core.errors import InputError
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
    help="Write a campaign, a template, a list and the campaign schema into FOLDER, ready to run, and make the state"
    " directory that its runs and opt-outs are kept in.\n\nThe state is the one found upwards from FOLDER, if there is"
    " one, else FOLDER/.sender."
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--state-only", is_flag=True, help="Make the state directory, and write nothing else.")
@state_options
def init(folder: Path, state_only: bool, debug: bool, state_dir: Path) -> int:
    if not state_only:
        _write_files(folder)
    notice = find_new_state(state_dir)
    init_state(state_dir)
    if notice is None:
        console.out.print(f"  state: {escape(str(state_dir))} (there already)")
    else:
        console.out.print(f"  state: {escape(str(state_dir))} (new: no earlier runs and no opt-outs are known)")
        for hint in notice.hints:
            console.out.print(f"  {escape(hint)}")
    if not state_only:
        campaign = escape(str(folder / "campaign.yaml"))
        console.out.print(f"  look:  sender preview {campaign}")
        console.out.print(f"  send:  sender send {campaign}   (to the sandbox)")
    return 0


def _write_files(folder: Path) -> None:
    """Write all files, or none. Raises InputError where one of them exists."""
    files = {**_FILES, _SCHEMA_FILE: schema_text()}
    existing = [name for name in files if os.path.lexists(folder / name)]
    if existing:
        raise InputError(
            f"{', '.join(existing)} already {'exists' if len(existing) == 1 else 'exist'}",
            where=str(folder),
            fix="choose another folder, or move what is there away: `sender init` never overwrites a file;"
            " `--state-only` makes only the state directory",
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
