"""What the output of a command must leave alone, and --force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:  # commands that take no campaign import this module, too
    from sender.campaign.model import Campaign
    from sender.plan.plan import Plan

Command = TypeVar("Command", bound=Callable[..., Any])


def force_option(command: Command) -> Command:
    """Add --force."""
    option = click.option("--force", is_flag=True, help="Replace FILE even if it is a file of another kind.")
    return option(command)


def protected_inputs(target: Path, plan: Plan, campaign: Campaign | None) -> tuple[Path, ...]:
    """Return the files that no output may replace: the command's `target`, and every file its plan was made from.

    `campaign` is None where the target is a written plan, whose folder is among them with everything in it.
    """
    own = () if campaign is None else campaign_files(campaign)
    return (target, *plan.manifest.input_paths(str(target)), *own)


def campaign_files(campaign: Campaign) -> tuple[Path, ...]:
    """Return the campaign's own file, if it has one, and every file that it names."""
    lists = (entry.file for entry in campaign.suppress)
    named = (campaign.recipients.file, campaign.message.template, campaign.prices, *lists)
    source = () if campaign.source is None else (campaign.source,)
    return (*source, *(campaign.path(file) for file in named if file is not None))
