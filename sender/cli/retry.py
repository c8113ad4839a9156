"""`sender retry`: sends again what did not arrive, the way `sender send` sends."""

from __future__ import annotations

from pathlib import Path

import click

from sender.cli import console
from sender.cli.options import RUN_HELP, state_options
from sender.cli.send import send
from sender.core.outcomes import Reason
from sender.planning.retry import BY_DEFAULT, NO_REASON, STATUSES, TEMPORARY, retry_plan
from sender.state.ledger import RunKind
from sender.state.open import open_state

_WARNINGS = {
    "unknown": "--include-unknown: the provider may have accepted them; who got the first one gets a second",
    "delivered": "--include-delivered: they have got it, and get it again",
    "opted_out": "--include-opted-out: only if they have asked for it since; take them off with"
    " `sender suppress remove` first",
}


@click.command(
    help="Send messages of a finished run again that did not arrive.\n\n"
    f"{RUN_HELP} Other options are those of `sender send`: --yes, --dry-run, --limit, --json, ...\n\n"
    f"Unless told otherwise: what is {', '.join(BY_DEFAULT)} for a reason that may have passed"
    f" ({', '.join(TEMPORARY)}), or that failed after acceptance without a reason. A row counts as what became of it"
    " last, so the same command again sends only what has still not arrived. Texts stay as they were.",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("run")
@click.option("--status", "statuses", help=f"Comma-separated, of: {', '.join(STATUSES)}.")
@click.option("--reason", "reasons", help=f"Comma-separated, of: {', '.join(Reason)}, {NO_REASON}.")
@click.option("--include-unknown", "unknown", is_flag=True, help="Also those that may have been accepted.")
@click.option("--include-delivered", "delivered", is_flag=True, help="Also those that arrived.")
@click.option("--include-opted-out", "opted_out", is_flag=True, help="Also those that opted out.")
@state_options
@click.pass_context
def retry(
    ctx: click.Context,
    run: str,
    statuses: str | None,
    reasons: str | None,
    unknown: bool,
    delivered: bool,
    opted_out: bool,
    debug: bool,
    state_dir: Path,
) -> int:
    console.set_up_logs(debug=debug)
    asked = {"unknown": unknown, "delivered": delivered, "opted_out": opted_out}
    with open_state(state_dir, read_only=True) as state:
        found = state.find(run)
        plan = retry_plan(state, found, statuses=_listed(statuses), reasons=_listed(reasons), **asked)
        root = state.ledger.run(plan.manifest.retry_of or found.run_id)
    for name in (name for name, wanted in asked.items() if wanted):
        console.err.print(f"[yellow]warning:[/] {_WARNINGS[name]}")
    console.err.print(f"retry {plan.manifest.retry} of run {root.run_id}")
    if plan.directory is None:
        plan = plan.write(state_dir / "plans" / f"retry-{root.run_id}-{plan.manifest.retry}")
    rehearse = ["--rehearse"] if root.kind is RunKind.REHEARSAL else []
    common = ["--state-dir", str(state_dir), *(["--debug"] if debug else [])]
    code: int = send.main(
        [str(plan.directory), *rehearse, *common, *ctx.args], "sender retry", standalone_mode=False, obj=ctx.obj
    )
    return code


def _listed(text: str | None) -> list[str]:
    return [one.strip().lower() for one in (text or "").split(",") if one.strip()]
