"""Writes the generated documents anew: `python -m tests.docs.generate`, or `just docs`.

These are the reference of the commands, the campaign file's JSON Schema, and its reference table. Tests compare each with
the program.
"""

from __future__ import annotations

import json

from sender.campaign.json_schema import json_schema, reference
from tests.docs import command_reference
from tests.docs.pages import DOCS, read

MARKER = "<!-- below: sender schema --format markdown -->\n\n"


def main() -> None:
    command_reference.PAGE.write_text(command_reference.reference(), encoding="utf-8")
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    (DOCS / "campaign.schema.json").write_text(schema, encoding="utf-8")
    campaign = DOCS / "campaign.md"
    guide, marker, _ = read(campaign).partition(MARKER)
    assert marker, f"{campaign} has no marker"
    campaign.write_text(guide + marker + reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
