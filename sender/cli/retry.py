"""`sender retry`: sends again what did not arrive, the way `sender send` sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from sender.campaign.model import ListenSpec
from sender.cli import console
from sender.cli.limit_options import limit_options, parse_limits
from sender.cli.send import send_plan
from sender.cli.send_options import SendRequest, send_options
from sender.cli.shared_options import RUN_HELP, Command
from sender.planning.brakes import with_limits
from sender.planning.retry import BY_DEFAULT, REASONS, STATUSES, TEMPORARY, retry_plan
from sender.state.ledger import RunKind
from sender.state.open import open_state

_WARNINGS = {
    "include_unknown": "--include-unknown: the provider may have accepted these messages;"
    " people who got the first one get a second",
    "include_delivered": "--include-delivered: people who have the message get it again",
    "include_opted_out": "--include-opted-out: only for people who have opted in again since;"
    " remove them from the list with `sender suppress remove` first",
}


def _without_effect(command: Command) -> Command:
    """Accept the options by which `send` chooses a run: a retry has always ignored them."""
    for name in ("--again", "--new-run", "--resume"):
        command = click.option(name, is_flag=True, hidden=True, expose_value=False)(command)
    return command


@click.command(
    help="Send messages of a finished run again that did not arrive.\n\n"
    f"{RUN_HELP}\n\n"
    f"By default: messages that are {', '.join(BY_DEFAULT)} for a reason that may have passed"
    f" ({', '.join(TEMPORARY)}), or that failed after acceptance without a reason. Only the newest status of a row"
    " counts, so the same command again sends only what has still not arrived. Texts stay as they were."
)
@click.argument("run")
@click.option("--status", "statuses", help=f"Comma-separated, of: {', '.join(STATUSES)}.")
@click.option("--reason", "reasons", help=f"Comma-separated, of: {', '.join(REASONS)}.")
@click.option("--include-unknown", is_flag=True, help="Also those that may have been accepted.")
@click.option("--include-delivered", is_flag=True, help="Also those that arrived.")
@click.option("--include-opted-out", is_flag=True, help="Also those that opted out.")
@limit_options
@_without_effect
@send_options
def retry(
    run: str,
    *,
    statuses: str | None,
    reasons: str | None,
    request: SendRequest,
    **others: Any,
) -> int:
    options = request.options
    limits = parse_limits(others)
    included = {name: others[name] for name in _WARNINGS}
    with open_state(options.state_path, read_only=True) as state:
        named = state.find(run)
        plan = retry_plan(
            state, named, statuses=_items(statuses), reasons=_items(reasons), rehearse=options.rehearse, **included
        )
        root = state.ledger.run(plan.manifest.retry_of or named.run_id)
    for name in (name for name, is_included in included.items() if is_included):
        console.err.print(f"[yellow]warning:[/] {_WARNINGS[name]}")
    console.err.print(f"retry {plan.manifest.retry} of run {root.run_id}")
    options = replace(options, rehearse=options.rehearse or root.kind is RunKind.REHEARSAL, source=root.source)
    return send_plan(with_limits(plan, limits), replace(request, options=options), ListenSpec())


def _items(text: str | None) -> list[str]:
    return [item.strip().lower() for item in (text or "").split(",") if item.strip()]
