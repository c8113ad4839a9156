"""The options of the limits on a start, which bind a written plan and a retry as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from sender.core.errors import InputError

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


def limit_options(command: Command) -> Command:
    """Add the options of the limits."""
    for option in reversed(LIMIT_OPTIONS):
        command = option(command)
    return command


def limits_given(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the limits among the options that were given, as they were written."""
    return {name: options[name] for name in _TEXTS if options.get(name) is not None}


def parse_limits(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits that were given, as a plan's manifest has them; None lifts one. Raises InputError."""
    from pydantic import ValidationError

    from sender.campaign.model import LimitsSpec
    from sender.campaign.validation import describe_error

    parsed: dict[str, Any] = {}
    for name, text in limits_given(options).items():
        try:
            spec = LimitsSpec.model_validate({name: text})
        except ValidationError as error:
            option = f"--{name.replace('_', '-')}"
            raise InputError(describe_error(error), where=f"{option} {text}", fix="write a limit, or none") from None
        cost = None if spec.max_cost is None else f"{spec.max_cost:f}"
        parsed[name] = cost if name == "max_cost" else spec.to_manifest().get(name)
    return parsed
