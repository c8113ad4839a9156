"""`sender evidence verify`: checks an archive of evidence without the state."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.invocation import debug_option
from sender.core.errors import InputError
from sender.reports.evidence_check import EvidenceCheck, verify_evidence


@click.command(
    help="Check the archive FILE that `sender evidence` wrote, without a state or a network: every byte, the totals,"
    " whether the plan is the approved one, and who approved it. Exit code 1: something is wrong."
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--signers",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The allowed signers to trust. Default: the lines in the archive.",
)
@click.option(
    "--revoked", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Keys that do not count."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@debug_option()
def evidence_verify(file: Path, signers: Path | None, revoked: Path | None, as_json: bool, debug: bool) -> int:
    console.set_up_logs(debug=debug)
    if revoked is not None and signers is None:
        raise InputError("--revoked goes with --signers", fix="name both files")
    check = verify_evidence(file, signers=signers, revoked=revoked)
    if as_json:
        console.print_json({**asdict(check), "sound": check.is_sound})
    else:
        _print(check, believed=signers is not None)
    return 0 if check.is_sound else 1


def _print(check: EvidenceCheck, *, believed: bool) -> None:
    out = console.out
    out.print(f"{escape(check.campaign)}, run {check.run_id}: {console.many(check.members, 'file')}", highlight=False)
    for run in check.runs:
        out.print(f"  run {run.run_id}: {escape(run.totals)}", highlight=False)
        if run.approved_by:
            where = "" if believed else ", by the allowed signers in the archive"
            out.print(f"  approved by {escape(' and '.join(run.approved_by))}{where}", highlight=False)
        for note in run.notes:
            out.print(f"  note: {escape(note)}", highlight=False)
    if check.signed_by is not None:
        out.print(f"  signed by {escape(check.signed_by[0])}, {check.signed_by[1]}", highlight=False)
    else:
        out.print(f"  not signed: compare this hash with one kept elsewhere: {check.manifest_sha256}", highlight=False)
    for problem in check.problems:
        out.print(f"[bold red]wrong:[/] {escape(problem)}", highlight=False)
    if check.is_sound:
        out.print("[bold green]sound[/]")
