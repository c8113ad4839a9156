"""`sender replies`: what people have replied, and the replies that a person has to decide about."""

from __future__ import annotations

from pathlib import Path

import click

from sender.cli import console
from sender.cli.shared_options import region_option, state_options
from sender.core.errors import InputError
from sender.state.open import open_state


@click.command(
    help="Decide about replies that may be an opt-out in other words (`leave me alone`).\n\n"
    "Until then their numbers get nothing. On a terminal it asks about each."
)
@click.option("--review", is_flag=True, help="List the replies that wait for a decision.")
@click.option("--opt-out", multiple=True, metavar="NUMBER", help="With --review: it has opted out; may be repeated.")
@click.option(
    "--keep", multiple=True, metavar="NUMBER", help="With --review: it meant something else; may be repeated."
)
@region_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@state_options
def replies(
    review: bool,
    opt_out: tuple[str, ...],
    keep: tuple[str, ...],
    region: str | None,
    as_json: bool,
    debug: bool,
    state_dir: Path,
) -> int:
    from sender.cli.review import review_replies

    console.set_up_logs(debug=debug)
    if not review:
        raise InputError("replies are shown for review only", fix="add --review")
    with open_state(state_dir, create=False) as state:
        review_replies(state, opt_out=opt_out, keep=keep, region=region, as_json=as_json)
    return 0
