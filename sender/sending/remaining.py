"""What a start would send of an unfinished run: the rest of it, with the plan it began with. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from sender.core.errors import InputError, UnknownRun
from sender.plan.plan import Plan
from sender.planning.stored_messages import remaining_plan
from sender.sending.choose_run import choose_run, describe_changes, find_run_kind, has_same_messages
from sender.sending.options import SendOptions
from sender.state.ledger import Counts, Run
from sender.state.open import open_state


@dataclass(frozen=True, slots=True)
class Remaining:
    """The unfinished run, what is settled of it, and `plan`, the messages still to be sent.

    `changes` are phrases on what differs between the run's own plan, which `began_with` is, and today's campaign.
    """

    run: Run
    counts: Counts
    began_with: Plan
    plan: Plan
    changes: tuple[str, ...]


def find_remaining(plan: Plan, options: SendOptions) -> Remaining | None:
    """Return what a start of `plan`, which today's campaign makes, would send of an unfinished run; None for a new run.

    Raises as a start does that is refused: with `resume` InputError where no run is unfinished.
    """
    kind = find_run_kind(plan.manifest, rehearse=options.rehearse)
    try:
        with open_state(options.state_path, read_only=True) as state:
            run = choose_run(state, plan, kind, options).run
            if run is None:
                return None
            began_with = state.plan(run)
            same = has_same_messages(state, run, plan)
            changes = () if same else tuple(describe_changes(began_with.manifest, plan.manifest))
            return Remaining(run, state.ledger.counts(run.run_id), began_with, remaining_plan(state, run), changes)
    except UnknownRun:  # there is no state
        if options.resume:
            raise InputError(f"no run of {plan.manifest.campaign} is unfinished", fix="leave out --resume") from None
        return None
