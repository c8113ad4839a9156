"""`sender resume`: lifts the pause of a run and sends the rest of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import click
from rich.markup import escape

from sender.campaign.model import ListenSpec
from sender.cli import console
from sender.cli.limit_options import limit_options, parse_limits
from sender.cli.send import send_session
from sender.cli.send_options import SendRequest, send_options
from sender.cli.send_result import conclude
from sender.cli.shared_options import RUN_HELP
from sender.core.errors import InputError, RunLocked
from sender.sending.open_run import open_run_again
from sender.sending.options import SendOptions
from sender.sending.run import RunSession
from sender.sending.run_control import lift_pause

_PATIENCE_S = 5.0  # for a process that was just paused, and waits for its last answers


@click.command(
    help="Lift the pause of a run, and send the rest of it here.\n\n"
    f"{RUN_HELP}\n\n"
    "The run continues with its own plan: a live run is sent live, a rehearsal is rehearsed. If another process is"
    " sending the run, only the pause is lifted. An unfinished run that is not paused is finished, too."
)
@click.argument("run")
@limit_options
@send_options
def resume(run: str, *, request: SendRequest, **limits: Any) -> int:
    options = request.options
    parsed = parse_limits(limits)
    if options.rehearse:
        raise InputError("a live run is resumed live, and a rehearsal as a rehearsal", fix="leave out --rehearse")
    if request.dry_run:
        raise InputError("--dry-run shows what a campaign would send", fix=f"`sender status {run}` shows what is left")
    with ExitStack() as stack:
        session = _open(stack, run, options, parsed)
        if session is None:
            return _say_locked(run, options, as_json=request.as_json)
        options = replace(options, rehearse=session.run.kind == "rehearsal")
        result = send_session(session, replace(request, options=options), ListenSpec())
    request.monitor.result = result
    conclude(result, as_json=request.as_json)
    return result.exit_code


def _open(stack: ExitStack, run: str, options: SendOptions, limits: Mapping[str, Any]) -> RunSession | None:
    """The session, held until the end of `stack`; None where another process keeps holding the run."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return stack.enter_context(open_run_again(run, options, limits))
        except RunLocked:
            if time.monotonic() >= give_up_s:
                return None
            time.sleep(0.2)


def _say_locked(run: str, options: SendOptions, *, as_json: bool) -> int:
    was_paused = lift_pause(run, state_dir=options.state_path)
    if as_json:
        console.print_json({"run": run, "pause_lifted": was_paused, "sent_here": False})
        return 0
    lifted = "the pause is lifted" if was_paused else "it was not paused"
    console.out.print(
        f"{escape(run)}: {lifted}; another process is sending the run. When that process has ended, run this command"
        " again"
    )
    return 0
