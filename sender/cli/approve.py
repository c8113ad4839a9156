"""`sender approve`: signs a written plan, so that it may be sent."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console, plan_lines, terminal
from sender.cli.approval_lines import describe_counted
from sender.cli.campaign_options import is_written_plan
from sender.cli.shared_options import state_options
from sender.core.errors import InputError
from sender.plan.approval_text import NAMESPACE
from sender.plan.plan import Plan
from sender.sending.approve_plan import ApprovedPlan, read_terms, text_to_approve
from sender.sending.approve_plan import approve as approve_plan


@click.command(
    help="Approve the written plan in the folder PLAN, for a campaign with `approval: required`.\n\n"
    "The signature covers every message, and the rate, window, limits and start. A plan that differs needs its own"
    " approval. NAME and the key must be in the allowed-signers file that the campaign or its folder names."
)
@click.argument("campaign", metavar="PLAN", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="Your name in the allowed-signers file.")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="SSH key. Default: the first of ~/.ssh.")
@click.option(
    "--signature",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"Signature that `ssh-keygen -Y sign -n {NAMESPACE}` made of the output of --show, on another machine.",
)
@click.option("--show", is_flag=True, help="Print what would be signed, and sign nothing.")
@click.option("--again", is_flag=True, help="Approve that everybody gets the campaign again (`send --again`).")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the approvals as JSON.")
@state_options
def approve(
    campaign: Path,
    name: str | None,
    key: Path | None,
    signature: Path | None,
    show: bool,
    again: bool,
    yes: bool,
    as_json: bool,
    debug: bool,
    state_dir: Path | str,
) -> int:
    console.set_up_logs(debug=debug)
    if not is_written_plan(campaign):
        raise InputError(
            f"{campaign} is not a written plan",
            fix=f"`sender plan {campaign}` writes one: approve the folder that it prints",
        )
    plan = Plan.open(campaign)
    read_terms(plan, state_dir)
    if show:
        terminal.write_line(text_to_approve(plan, state_dir, again=again).rstrip("\n"))
        return 0
    if name is None:
        raise InputError("the approver's name is missing", fix="add --as NAME, your name in the allowed-signers file")
    if not as_json:
        plan_lines.plan_summary(plan, simulated=False, where=str(plan.directory))
    if not yes and signature is None:
        if not sys.stdin.isatty():
            raise InputError("there is no terminal to ask on", fix="add --yes")
        terminal.ask(f"Approve this plan of {plan.manifest.campaign} as {name}?")
    made = None if signature is None else _read(signature)
    done = approve_plan(campaign, name, key=key, signature=made, again=again, state_dir=state_dir)
    _print(done, name, as_json=as_json)
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from None


def _print(done: ApprovedPlan, name: str, *, as_json: bool) -> None:
    manifest = done.plan.manifest
    if as_json:
        people = [{"name": person, "key": key} for person, key in done.counted.people]
        console.print_json(
            {
                "campaign": manifest.campaign,
                "plan_hash": manifest.plan_hash,
                "approvals": people,
                "needed": done.needed,
                "complete": done.is_complete,
            }
        )
        return
    console.out.print(f"approved as {escape(name)}: {escape(describe_counted(done.counted, done.needed))}")
    for problem in done.counted.problems:
        console.out.print(f"[yellow]note:[/] {escape(problem)}")
    if done.is_complete:
        console.out.print(f"`sender send` of the campaign, or of {escape(str(done.plan.directory))}, sends it")
