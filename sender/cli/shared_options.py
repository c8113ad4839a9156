"""Options that commands share, whatever they are about. Those of a campaign are in `sender.cli.campaign_options`."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sender.cli.invocation import debug_option
from sender.cli.state_place import StatePlaceType, locate_state
from sender.core.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])

RUN_HELP = (
    "RUN is a run id (or its beginning), a campaign file, a recipients file or a campaign's name;"
    " if several runs fit, the newest is used."
)

region_option = click.option(
    "--region", "--default-region", "region", metavar="US", help="Country of a number without its country code."
)

with_body_option = click.option("--with-body", is_flag=True, help="Add each message's text to the results, as `body`.")


def state_options(command: Command) -> Command:
    """Add --state (--state-dir), which the command gets as `state_dir`, and --debug."""
    return add_options(
        command,
        click.option(
            "--state",
            "--state-dir",
            "state_dir",
            type=StatePlaceType(),
            multiple=True,
            callback=locate_state,
            metavar="FOLDER",
            help="State directory, or URL of a database. Default: SENDER_STATE, or the state in the folder of the"
            " campaign (or the current folder) or above it.",
        ),
        debug_option(),
    )


def env_file_option(text: str = "File of KEY=value lines with the credentials.") -> Callable[[Command], Command]:
    """Return a decorator that adds --env-file, with `text` as its help."""
    return click.option("--env-file", type=click.Path(path_type=Path), metavar="FILE", help=text)


def add_options(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Add `options` in the order in which --help shows them."""
    for option in reversed(options):
        command = option(command)
    return command


def environment(env_file: Path | None) -> dict[str, str]:
    """Return the process's environment, and what `env_file` adds to it. Raises InputError."""
    if env_file is None:
        return dict(os.environ)
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    if not env_file.is_file():
        raise InputError("there is no such file", where=str(env_file), fix="--env-file names a file of KEY=value lines")
    try:
        lines = env_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InputError(
            "cannot be read as UTF-8", where=str(env_file), fix="check that you may read it, and save it as UTF-8"
        ) from None
    for binding in parse_stream(io.StringIO(lines)):
        if binding.error:  # its text may be a secret, so it is not shown
            raise InputError(
                "is not KEY=value",
                where=f"{env_file}, line {_line_of(binding.original.string, binding.original.line)}",
                fix="write one variable a line; put a value with blanks, quotes or `#` in single quotes",
            )
    values = dotenv_values(stream=io.StringIO(lines))
    return {**{key: value or "" for key, value in values.items()}, **os.environ}


def _line_of(text: str, first: int) -> int:
    """Return the line on which `text` has its first character; an entry of dotenv may begin with blank lines."""
    return first + text[: len(text) - len(text.lstrip())].count("\n")
