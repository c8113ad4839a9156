"""The options of `limits`: those on a start, which bind a written plan and a retry as well, and those of a campaign."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sender.core.errors import InputError

if TYPE_CHECKING:
    from sender.campaign.model import LimitsSpec

Command = TypeVar("Command", bound=Callable[..., Any])

_TEXTS = {
    "max_messages": ("N", "Send nothing if the whole plan has more messages."),
    "max_skipped": ("N|N%", "Send nothing if more rows are invalid, incomplete or fail to render."),
    "max_segments_per_message": ("N", "Send nothing if any message takes more segments."),
    "max_cost": ("AMOUNT", "Send nothing if the whole plan costs more; needs --prices."),
    "max_cost_per_day": ("AMOUNT", "Send nothing if live runs would cost more in 24 hours; needs --prices."),
    "max_messages_per_day": ("N", "Send nothing if live runs would send more in 24 hours."),
}
LIMIT_OPTIONS = tuple(
    click.option(f"--{name.replace('_', '-')}", metavar=metavar, help=f"{text} `none`: no limit.")
    for name, (metavar, text) in _TEXTS.items()
)
# What stops a run that is under way; a part of the plan.
_GUARDS = {
    "max_rejected_in_a_row": ("N", "Stop after N rejections in a row for one reason that messages share. Default: 20."),
    "max_failed": ("N%", "Stop when this share of the first 200 was refused or filtered. Default: 25%."),
}
GUARD_OPTIONS = tuple(
    click.option(f"--{name.replace('_', '-')}", metavar=metavar, help=f"{text} `none`: never.")
    for name, (metavar, text) in _GUARDS.items()
)


def limit_options(command: Command) -> Command:
    """Add the options of the limits."""
    for option in reversed(LIMIT_OPTIONS):
        command = option(command)
    return command


def limits_given(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the limits among the options that were given, as they were written."""
    return {name: options[name] for name in _TEXTS if options.get(name) is not None}


def campaign_limits(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of `limits` among a campaign's options, as they were written. Raises InputError for no limit."""
    guards = {name: options[name] for name in _GUARDS if options.get(name) is not None}
    for name, text in guards.items():
        _read_limit(name, text)
    parse_limits(options)
    return {**limits_given(options), **guards}


def parse_limits(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits that were given, as a plan's manifest has them; None lifts one. Raises InputError."""
    parsed: dict[str, Any] = {}
    for name, text in limits_given(options).items():
        spec = _read_limit(name, text)
        cost = None if spec.max_cost is None else f"{spec.max_cost:f}"
        parsed[name] = cost if name == "max_cost" else spec.to_manifest().get(name)
    return parsed


def _read_limit(name: str, text: str) -> LimitsSpec:
    from pydantic import ValidationError

    from sender.campaign.model import LimitsSpec
    from sender.campaign.validation import describe_error

    try:
        return LimitsSpec.model_validate({name: text})
    except ValidationError as error:
        option = f"--{name.replace('_', '-')}"
        raise InputError(
            describe_error(error), where=f"{option} {text}, key `limits.{name}`", fix="write a limit, or none"
        ) from None
