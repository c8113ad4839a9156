"""`sender schema`: the campaign file's JSON Schema, or its reference table."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sender.campaign.json_schema import COMMENT, json_schema, reference
from sender.cli import terminal
from sender.cli.invocation import debug_option
from sender.cli.outputs import force_option
from sender.core.output_files import PUBLIC, OutputKind, check_output, write_text_beside


@click.command(help="Print the campaign file's JSON Schema. With it, editors complete and check campaign files.")
@click.option(
    "--format", "form", type=click.Choice(["json", "markdown"]), default="json", help="markdown: the reference table."
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: standard output."
)
@force_option
@debug_option(hidden=True)
def schema(form: str, output: Path | None, force: bool, debug: bool) -> int:
    text = schema_text() if form == "json" else reference()
    if output is None:
        terminal.write_line(text.removesuffix("\n"))
        return 0
    write_text_beside(check_output(output, _SCHEMA, force=force), text, where=str(output), mode=PUBLIC)
    return 0


def schema_text() -> str:
    """Return the JSON Schema as the file that `sender schema` and `sender init` write."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _is_schema(file: Path) -> bool:
    if file.stat().st_size > _LARGEST_SCHEMA:
        return False
    text = file.read_text(encoding="utf-8")
    if text.startswith("{"):
        return bool(json.loads(text).get("$comment") == COMMENT)
    return text.splitlines()[:3] == reference().splitlines()[:3]


_LARGEST_SCHEMA = 1 << 20  # bytes
_SCHEMA = OutputKind("a campaign schema", _is_schema)
