"""`sender send --detach`: leaves a run to the machines with `sender worker`."""

from __future__ import annotations

from rich.markup import escape

from sender.cli import console
from sender.cli.send_options import SendRequest
from sender.core.errors import InputError
from sender.plan.plan import Plan
from sender.sending.options import SendOptions
from sender.sending.run import RunSession
from sender.state.open import folder_of


def refuse_detached(request: SendRequest, plan: Plan) -> None:
    """Raise InputError for what nobody would do after this command has left."""
    options = request.options
    if folder_of(options.state_path) is not None:
        raise InputError("--detach needs a state in a database", fix="name one with --state URL")
    here = {
        "--output": options.results_path is not None,
        "--listen": request.listen.listen,
        "--test-to": plan.manifest.test_to is not None,
        "--resend-unknown": options.resend_unknown,
        "--shifts 0": options.shifts == 0,
    }
    for name in (name for name, is_given in here.items() if is_given):
        raise InputError(f"{name} and --detach contradict each other", fix="leave out one of the two")


def leave_to_workers(session: RunSession, options: SendOptions, *, as_json: bool) -> int:
    """Hand the run over, say how to follow and to stop it, and return the exit code."""
    session.lift_holds()
    session.hand_over(options)
    run_id, sharing = session.run.run_id, session.state.sharing
    workers = [] if sharing is None else sharing.workers()
    if as_json:
        about = {"run_id": run_id, "campaign": session.run.campaign}
        console.print_json({**about, "detached": True, "workers": len(workers)})
        return 0
    where = console.many(len(workers), "machine") if workers else "the first machine that starts `sender worker`"
    console.out.print(f"run {run_id} of {escape(session.run.campaign)} is sent by {where}")
    console.out.print(f"  `sender status {run_id}` shows its progress, `sender pause {run_id}` pauses it")
    return 0
