"""What a run with several routes cannot do: said before anything is sent."""

from __future__ import annotations

from sender.core.errors import InputError, InputsChanged
from sender.plan.plan import Plan
from sender.sending.options import SendOptions
from sender.state.open import folder_of
from sender.state.state import State


def check_routes(state: State, plan: Plan, run_plan: Plan, options: SendOptions) -> None:
    """Raise InputError, or InputsChanged where `plan` names other routes than `run_plan`, which the run began with."""
    if not (plan.manifest.routes or run_plan.manifest.routes):
        return
    if options.workers > 1:
        raise InputError(
            "a campaign with several routes is sent by one process", fix="leave out --workers, or name one provider"
        )
    if folder_of(state.where) is None:
        raise InputError(
            "a campaign with several routes needs a state in a folder, but this one is in a database",
            fix="name a folder with --state, or one provider in the campaign",
        )
    before, now = _providers(run_plan), _providers(plan)
    if before != now and plan is not run_plan and not options.resume:
        raise InputsChanged(
            f"the run began with {_listed(before)}, but the campaign now names {_listed(now)}",
            fix="--resume finishes it with its own routes; --only-new ends it and sends to the people who have not had"
            " the message",
        )


def _providers(plan: Plan) -> list[str]:
    routes = plan.manifest.routes
    return [route["provider"] for route in routes] or [plan.manifest.provider]


def _listed(names: list[str]) -> str:
    return f"the routes {', '.join(names)}" if len(names) > 1 else f"{names[0]} alone"
