"""What a start would be refused for, without starting: reads the state, changes and holds nothing."""

from __future__ import annotations

from sender.core.errors import GuardStop, InputError, UnknownRun
from sender.plan.plan import Plan
from sender.planning import brakes
from sender.sending.approval import check_approval, find_approval, find_approved_plan, needs_approval
from sender.sending.choose_run import choose_run, find_run_kind, has_same_messages
from sender.sending.options import SendOptions
from sender.state.open import open_approvals, open_state


def find_refusal(plan: Plan, options: SendOptions) -> GuardStop | InputError | None:
    """Why a start of `plan` would be refused; None where it would not. Changes nothing, and holds nothing."""
    try:
        plan = find_approved_plan(plan, options)
        with open_state(options.state_path, read_only=True) as state:
            choice = choose_run(state, plan, find_run_kind(plan.manifest, rehearse=options.rehearse), options)
            check_approval(state, plan, options, choice)
    except UnknownRun:  # nothing has been sent from here
        return _find_unapproved(plan, options)
    except (GuardStop, InputError) as refusal:
        return refusal
    return None


def _find_unapproved(plan: Plan, options: SendOptions) -> GuardStop | InputError | None:
    """Why a first start lacks an approval; None where it does not."""
    try:
        if (terms := needs_approval(plan, options)) is not None:
            find_approval(open_approvals(options.state_path), plan, terms, again_after=None)
    except (GuardStop, InputError) as refusal:
        return refusal
    return None


def foresee_stops(plan: Plan, options: SendOptions) -> tuple[brakes.Stop, ...]:
    """Return the limits that a start of `plan` would pass. Changes nothing, and holds nothing."""
    kind = find_run_kind(plan.manifest, rehearse=options.rehearse)
    try:
        with open_state(options.state_path, read_only=True) as state:
            try:
                run = choose_run(state, plan, kind, options).run
            except (GuardStop, InputError):  # `find_refusal` says why
                run = None
            measured = plan
            if run is not None and not has_same_messages(state, run, plan):
                measured = brakes.measure_stored(state.plan(run), plan.manifest)
            return brakes.find_stops(brakes.read_start(state, measured, run, kind, limit=options.limit))
    except UnknownRun:  # nothing has been sent from here
        return brakes.find_stops(brakes.Start(plan.manifest))
