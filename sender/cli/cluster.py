"""`sender cluster …`: a state in a PostgreSQL database, for more than one machine."""

from __future__ import annotations

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.invocation import debug_option
from sender.state.open import make_database_state


@click.group()
def cluster() -> None:
    """Manage a state in a PostgreSQL database, which several machines can use, one at a time for each campaign."""


@cluster.command(
    "init",
    help="Make the state in the database at URL, or bring it to this version.\n\n"
    "URL is postgresql://USER@HOST:PORT/DATABASE, without a password: that comes from PGPASSWORD or ~/.pgpass.",
)
@click.argument("url")
@debug_option()
def init_cluster(url: str, debug: bool) -> int:
    console.set_up_logs(debug=debug)
    server, is_new = make_database_state(url)
    if is_new:
        console.out.print(f"state: {escape(url)} (new, PostgreSQL {escape(server)}): no opt-outs are known")
        console.out.print("  use it with --state, or SENDER_STATE; another state's opt-outs: `sender suppress export`")
    else:
        console.out.print(f"state: {escape(url)} (there already, PostgreSQL {escape(server)})")
    return 0
