"""The `sender` command: the only place that prints, asks or exits. A thin skin over the library, one file a command."""

from __future__ import annotations

from sender.cli.entry import ALIASES, COMMANDS, cli, main, run_command

__all__ = ["ALIASES", "COMMANDS", "cli", "main", "run_command"]
