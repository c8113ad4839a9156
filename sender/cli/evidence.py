"""`sender evidence`: one archive of what a run was and did."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.outputs import force_option
from sender.cli.shared_options import RUN_HELP, state_options
from sender.core.errors import InputError
from sender.reports.run_evidence import write_evidence
from sender.state.open import open_state


@click.command(
    help="Write the evidence of a run and its retries to one archive: plan, approvals, every message's outcome with"
    f" the provider's id, totals and report, each with its hash.\n\n{RUN_HELP}\n\n"
    "`sender evidence verify FILE` checks the archive without the state. For a run called `verify`, give its id."
)
@click.argument("run")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Default: CAMPAIGN-RUN-evidence.tar in the current folder.",
)
@click.option("--as", "name", metavar="NAME", help="Sign the archive as NAME, your name in the allowed-signers file.")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="SSH key. Default: the first of ~/.ssh.")
@force_option
@state_options
def evidence(
    run: str,
    output: Path | None,
    name: str | None,
    key: Path | None,
    force: bool,
    debug: bool,
    state_dir: Path | str,
) -> int:
    console.set_up_logs(debug=debug)
    if key is not None and name is None:
        raise InputError("--key signs the evidence, but the signer's name is missing", fix="add --as NAME")
    with open_state(state_dir, read_only=True) as state:
        file = write_evidence(state, state.find(run), output, signed_as=name, key=key, force=force)
    console.err.print(f"wrote {escape(str(file))}")
    return 0
