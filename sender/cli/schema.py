"""`sender schema`: the campaign file's JSON Schema, or its reference table."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sender.campaign.json_schema import json_schema, reference
from sender.cli.invocation import debug_option
from sender.core.errors import InputError


@click.command(help="Print the campaign file's JSON Schema, with which editors complete and check campaign files.")
@click.option(
    "--format", "form", type=click.Choice(["json", "markdown"]), default="json", help="markdown: the reference table."
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: standard output."
)
@debug_option(hidden=True)
def schema(form: str, output: Path | None, debug: bool) -> int:
    text = schema_text() if form == "json" else reference()
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(output)) from None
    return 0


def schema_text() -> str:
    """Return the JSON Schema as the file that `sender schema` and `sender init` write."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
