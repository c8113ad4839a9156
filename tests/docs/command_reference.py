"""The text of `docs/commands.md`, the reference of every command and option, made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from sender.cli.entry import ALIASES, COMMANDS, cli
from tests.docs.pages import DOCS

PAGE = DOCS / "commands.md"
WRITE = "python -m tests.docs.generate"

_HEAD = f"""# Commands

Every command and option, as `sender COMMAND --help` shows them. This page is generated:
`{WRITE}` writes it.

`sender --help` lists the commands and the exit codes, `sender --version` shows the version. Every command has `--help`
(`-h`).
"""
_SHARED_HEAD = """## Options that stand for campaign keys

`plan`, `plan diff`, `preview` and `send` have these in common. They override the keys of a campaign file, and make a
campaign out of a bare recipients file.
"""
_SHARED = "and the [options that stand for campaign keys](#options-that-stand-for-campaign-keys)"
_WITH_CAMPAIGN = ("plan", "plan diff", "preview", "send")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, those of groups too: `suppress add`."""
    context = click.Context(cli, info_name="sender")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None, name
        yield name, command
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                subcommand = command.get_command(context, child)
                assert subcommand is not None, child
                yield f"{name} {child}", subcommand


def options(command: click.Command) -> list[click.Option]:
    """The options that `--help` shows."""
    return [param for param in command.params if isinstance(param, click.Option) and not param.hidden]


def reference() -> str:
    """The whole page."""
    by_name = dict(commands())
    common = set.intersection(*({_row(option) for option in options(by_name[name])} for name in _WITH_CAMPAIGN))
    of_every_command = {_row(option) for option in options(by_name["status"])}
    shared = [row for row in map(_row, options(by_name["send"])) if row in common - of_every_command]
    parts = [_HEAD, _SHARED_HEAD + "\n" + _table(shared)]
    for name, command in by_name.items():
        rows = [_row(option) for option in options(command)]
        own = [row for row in rows if row not in shared or name not in _WITH_CAMPAIGN]
        aliases = [alias for alias, target in ALIASES.items() if target == name]
        lines = [f"## `sender {name}`", "", _usage(name, command), ""]
        if aliases:
            lines += [f"Also called {' and '.join(f'`sender {alias}`' for alias in aliases)}.", ""]
        lines += [_prose(command.help or command.short_help or ""), ""]
        if len(own) < len(rows):
            lines += [f"Its own options, {_SHARED}:", ""]
        if own:
            lines += [_table(own)]
        parts.append("\n".join(lines))
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _usage(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"sender {name}")
    return f"    sender {name} {' '.join(command.collect_usage_pieces(context))}"


def _prose(text: str) -> str:
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.replace("\b", "").split("\n\n")]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["| option | meaning |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in rows), ""])


def _row(option: click.Option) -> tuple[str, str]:
    """The option as it is written, and its help with choices and default."""
    context = click.Context(click.Command("sender"))
    names = [name for name in option.opts if name.startswith("--")] + [name for name in option.opts if name[1] != "-"]
    written = ", ".join(f"`{name}`" for name in names + option.secondary_opts)
    metavar = "" if option.is_flag else option.make_metavar(context)
    if metavar and not isinstance(option.type, click.Choice):
        written = re.sub(r"`$", f" {_kind(metavar, option)}`", written)
    parts = [re.sub(r"\s*\[default: (.+)\]$", r" Default: \1.", option.help or "")]
    if isinstance(option.type, click.Choice):
        parts.append(f"One of {', '.join(f'`{choice}`' for choice in option.type.choices)}.")
    if option.show_default and option.default is not None and not option.is_flag:
        parts.append(f"Default: `{option.default}`.")
    text = " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)
    return written, text.replace("|", "\\|")


def _kind(metavar: str, option: click.Option) -> str:
    if option.metavar is None and isinstance(option.type, click.IntRange | click.FloatRange):
        return "N"
    if isinstance(option.type, click.DateTime):
        return "TIME"
    return metavar.replace("|", "\\|")
