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
    from sender.api import asend as asend
    from sender.api import send as send
    from sender.campaign import Campaign as Campaign
    from sender.campaign import load_campaign as load_campaign
    from sender.errors import GuardStop as GuardStop
    from sender.errors import InputError as InputError
    from sender.errors import SenderError as SenderError
    from sender.plan import Plan as Plan
    from sender.planning.diff import diff_plans as diff_plans
    from sender.planning.explain import explain_row as explain_row
    from sender.planning.planner import build_plan as build_plan
    from sender.sending.progress import Progress as Progress
    from sender.sending.run_result import RunResult as RunResult
    from sender.workspace import Workspace as Workspace

_HOME = {
    "Campaign": "campaign",
    "GuardStop": "errors",
    "InputError": "errors",
    "Plan": "plan",
    "Progress": "sending.progress",
    "RunResult": "sending.run_result",
    "SenderError": "errors",
    "Workspace": "workspace",
    "asend": "api",
    "build_plan": "planning.planner",
    "diff_plans": "planning.diff",
    "explain_row": "planning.explain",
    "load_campaign": "campaign",
    "send": "api",
}

__all__ = [  # noqa: PLE0604 (the names of _HOME, checked by a test)
    *_HOME
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"sender.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
