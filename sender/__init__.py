"""Bulk SMS and MMS campaigns: planned, paced, resumable, and accounted for row by row.

    import sender

    campaign = sender.load_campaign("campaigns/welcome.yaml")
    plan = sender.build_plan(campaign)
    result = sender.send(plan)
    result.results()

Nothing here prints, asks or exits; everything raises `SenderError` with a sentence, and logs under `sender`.
Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sender.api import areconcile as areconcile
    from sender.api import aresume as aresume
    from sender.api import asend as asend
    from sender.api import lookup as lookup
    from sender.api import notify_run as notify_run
    from sender.api import reconcile as reconcile
    from sender.api import resume as resume
    from sender.api import send as send
    from sender.api import write_run_metrics as write_run_metrics
    from sender.campaign.load import load_campaign as load_campaign
    from sender.campaign.model import Campaign as Campaign
    from sender.core.errors import GuardStop as GuardStop
    from sender.core.errors import InputError as InputError
    from sender.core.errors import SenderError as SenderError
    from sender.core.outcomes import SkipReason as SkipReason
    from sender.core.outcomes import Status as Status
    from sender.delivery.list_lookups import LookedUp as LookedUp
    from sender.delivery.list_lookups import LookupOptions as LookupOptions
    from sender.delivery.list_lookups import alookup as alookup
    from sender.plan.plan import Plan as Plan
    from sender.planning.build import build_plan as build_plan
    from sender.planning.diff import diff_plans as diff_plans
    from sender.planning.explain import explain_row as explain_row
    from sender.planning.forecast import foresee as foresee
    from sender.planning.retry import retry_plan as retry_plan
    from sender.planning.stored_messages import remaining_plan as remaining_plan
    from sender.reports.evidence_check import verify_evidence as verify_evidence
    from sender.reports.history import history as history
    from sender.reports.reply_table import replies as replies
    from sender.reports.run_evidence import write_evidence as write_evidence
    from sender.reports.run_results import run_results as run_results
    from sender.reports.run_summary import run_summary as run_summary
    from sender.rules.rule_sets import list_rules as list_rules
    from sender.schedule.scheduled_folder import next_starts as next_starts
    from sender.sending.approve_plan import approve as approve
    from sender.sending.options import SendOptions as SendOptions
    from sender.sending.run_control import close as close
    from sender.sending.run_control import pause as pause
    from sender.sending.run_result import RunResult as RunResult
    from sender.state.find_state import find_state as find_state
    from sender.state.forget import forget as forget
    from sender.state.heartbeat import Progress as Progress
    from sender.state.new_state import init_state as init_state
    from sender.state.open import open_state as open_state
    from sender.state.prune import prune as prune
    from sender.state.state_dir import StateDir as StateDir
    from sender.suppression.reviews import decide_review as decide_review
    from sender.suppression.reviews import open_reviews as open_reviews

_HOME = {
    "Campaign": "campaign.model",
    "GuardStop": "core.errors",
    "InputError": "core.errors",
    "LookedUp": "delivery.list_lookups",
    "LookupOptions": "delivery.list_lookups",
    "Plan": "plan.plan",
    "Progress": "state.heartbeat",
    "RunResult": "sending.run_result",
    "SendOptions": "sending.options",
    "SenderError": "core.errors",
    "SkipReason": "core.outcomes",
    "StateDir": "state.state_dir",
    "Status": "core.outcomes",
    "alookup": "delivery.list_lookups",
    "approve": "sending.approve_plan",
    "areconcile": "api",
    "aresume": "api",
    "asend": "api",
    "build_plan": "planning.build",
    "close": "sending.run_control",
    "decide_review": "suppression.reviews",
    "diff_plans": "planning.diff",
    "explain_row": "planning.explain",
    "find_state": "state.find_state",
    "foresee": "planning.forecast",
    "forget": "state.forget",
    "history": "reports.history",
    "init_state": "state.new_state",
    "list_rules": "rules.rule_sets",
    "load_campaign": "campaign.load",
    "lookup": "api",
    "next_starts": "schedule.scheduled_folder",
    "notify_run": "api",
    "open_reviews": "suppression.reviews",
    "open_state": "state.open",
    "pause": "sending.run_control",
    "prune": "state.prune",
    "reconcile": "api",
    "remaining_plan": "planning.stored_messages",
    "replies": "reports.reply_table",
    "resume": "api",
    "retry_plan": "planning.retry",
    "run_results": "reports.run_results",
    "run_summary": "reports.run_summary",
    "send": "api",
    "verify_evidence": "reports.evidence_check",
    "write_evidence": "reports.run_evidence",
    "write_run_metrics": "api",
}

__all__ = [  # noqa: PLE0604 (the names of _HOME, checked by a test)
    *_HOME
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"sender.{_HOME[name]}"), name)
    if name == "Workspace":  # the name of `StateDir` before 0.2
        import warnings

        warnings.warn("sender.Workspace is now sender.StateDir", DeprecationWarning, stacklevel=2)
        return import_module("sender.state.state_dir").StateDir
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
