"""Refuses a start of which some messages would miss their window, unless somebody has agreed."""

from __future__ import annotations

from sender.core.errors import MissedWindows
from sender.plan.plan import Plan
from sender.planning.forecast import foresee
from sender.sending.options import SendOptions


def find_missed(plan: Plan, options: SendOptions) -> MissedWindows | None:
    """Why a new run of the plan would be refused now; None where it would not.

    Only where the campaign says that messages are dropped: `outside: skip` or `expire`, or a deadline. A message that
    is held and then misses its window is announced, not asked about.
    """
    window = plan.manifest.window
    drops = window.get("outside", "hold") != "hold" or window.get("deadline_ms") is not None
    if not drops or options.allow_missed or options.rehearse:
        return None
    forecast = foresee(plan)
    if forecast is None or not forecast.missed:
        return None
    would = "message would" if forecast.missed == 1 else "messages would"
    return MissedWindows(
        f"{forecast.missed:,} {would} not be sent: no window or not enough time is left for"
        f" {'it' if forecast.missed == 1 else 'them'}",
        fix="start earlier, raise the rate, or start anyway with --allow-missed",
    )
