"""The approvals of a plan, in lines for a person."""

from __future__ import annotations

from collections.abc import Iterator

from sender.core.errors import SenderError
from sender.plan.plan import Plan
from sender.sending.approval import CountedApprovals, needs_approval
from sender.sending.approve_plan import read_approvals
from sender.sending.options import SendOptions
from sender.state.approvals import RunApproval


def approval_lines(plan: Plan, options: SendOptions) -> Iterator[str]:
    """Yield what a start of a written plan still needs; nothing where it needs no approval."""
    terms = needs_approval(plan, options)
    if terms is None:
        if plan.manifest.approval is not None:
            yield "approval: not needed here, since no message reaches anybody"
        return
    try:
        counted = read_approvals(plan, terms, options.state_path)
    except SenderError as error:
        yield f"approval: {error.sentence()}"
        return
    yield f"approval: {describe_counted(counted, terms.needed)}"
    yield from counted.problems
    if len(counted.people) < terms.needed:
        yield f"`sender approve {plan.directory} --as NAME` approves it"


def describe_counted(counted: CountedApprovals, needed: int) -> str:
    """Return `1 of 2 (anna)`."""
    names = ", ".join(name for name, _ in counted.people)
    return f"{len(counted.people)} of {needed}" + (f" ({names})" if names else "")


def describe_run_approval(approval: RunApproval) -> str:
    """Return `approved by anna and bob, as the plan in FOLDER`."""
    names = " and ".join(each.name for each in approval.approved.approvals)
    return f"approved by {names}, as the plan in {approval.approved.plan}"
