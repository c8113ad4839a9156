"""The options of a campaign's `window` and `purpose`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

WINDOW_OPTIONS = (
    click.option(
        "--window", metavar="09:00-20:00", help="Hours in which messages may leave, in the recipient's local time."
    ),
    click.option("--window-days", metavar="mon-sat", help="Days on which messages may leave. Default: every day."),
    click.option("--window-zone", metavar="ZONE", help="One zone for all recipients: Europe/London."),
    click.option(
        "--outside",
        type=click.Choice(["hold", "expire", "skip"]),
        help="Messages outside their window: wait for the next window, wait only until the end of the day, or skip.",
    ),
    click.option("--deadline", metavar="TIME", help="Nothing leaves later: 2026-12-01T21:00 Europe/London."),
    click.option("--rules", metavar="SETS", help="Shipped rules that apply: us, strict, none."),
    click.option(
        "--purpose", type=click.Choice(["marketing", "transactional"]), help="Transactional lifts windows and caps."
    ),
)
_KEYS = {
    "window": "hours",
    "window_days": "days",
    "window_zone": "zone",
    "outside": "outside",
    "deadline": "deadline",
    "rules": "rules",
}


def window_keys(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the campaign keys among the options that were given."""
    window = {key: options[name] for name, key in _KEYS.items() if options.get(name) is not None}
    keys: dict[str, Any] = {"window": window} if window else {}
    if options.get("purpose") is not None:
        keys["purpose"] = options["purpose"]
    return keys
