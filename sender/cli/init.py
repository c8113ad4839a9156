"""`sender init`: a campaign, a template and a list to begin with. A test runs them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.invocation import debug_option
from sender.cli.schema import schema_text
from sender.core.errors import InputError
from sender.core.output_files import PUBLIC, OutputKind, check_output, not_writable, write_text_beside

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


@click.command(help="Write a campaign, a template, a list and the campaign schema into FOLDER, ready to run.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@debug_option(hidden=True)
def init(folder: Path, debug: bool) -> int:
    files = {**_FILES, _SCHEMA_FILE: schema_text()}
    existing = [name for name in files if os.path.lexists(folder / name)]
    if existing:
        raise InputError(
            f"{', '.join(existing)} already {'exists' if len(existing) == 1 else 'exist'}",
            where=str(folder),
            fix="choose another folder, or move what is there away: `sender init` never overwrites a file",
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
    campaign = folder / "campaign.yaml"
    console.out.print(f"wrote {', '.join(files)} in {escape(str(folder))}")
    console.out.print(f"  look:  sender preview {escape(str(campaign))}")
    console.out.print(f"  send:  sender send {escape(str(campaign))}   (to the sandbox)")
    return 0
