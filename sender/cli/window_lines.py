"""When the messages of a plan would leave, in lines for a person."""

from __future__ import annotations

from collections.abc import Iterator

from sender.planning.forecast import Forecast
from sender.reports.labels import describe_held

_MOST_GROUPS = 6  # lines of held messages


def describe_forecast(forecast: Forecast) -> Iterator[str]:
    """Yield what a person should know of when the messages leave, a line each, the most important first."""
    rules = f" under {', '.join(forecast.rules)}" if forecast.rules else ""
    if not forecast.held and not forecast.missed:
        yield f"all {forecast.leave_now:,} may leave now{rules}"
        yield from _describe_unknown(forecast)
        return
    held = f", {forecast.held_messages:,} are held" if forecast.held else ""
    yield f"{forecast.leave_now:,} may leave now{held}{rules}"
    for group in forecast.held[:_MOST_GROUPS]:
        yield f"  {describe_held(group)}"
    if len(forecast.held) > _MOST_GROUPS:
        rest = forecast.held[_MOST_GROUPS:]
        yield f"  {sum(group.messages for group in rest):,} until later times, in {len(rest)} groups"
    yield from _describe_unknown(forecast)
    if forecast.never:
        yield f"{forecast.never:,} will not be sent: no window is left for them"
    if forecast.late:
        pace = "at the provider's documented rate" if forecast.by_provider else "at this rate"
        yield f"{forecast.late:,} will not be sent: {pace} their window closes before their turn"


def _describe_unknown(forecast: Forecast) -> Iterator[str]:
    """Yield how many recipients are nowhere in particular."""
    if forecast.unknown_zone:
        who = "1 recipient" if forecast.unknown_zone == 1 else f"{forecast.unknown_zone:,} recipients"
        yield f"{who} may be anywhere in the country: a window counts only while it is open in all zones"
