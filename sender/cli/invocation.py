"""How one call of `sender` reports errors: set by --debug and --log-format, read after the command has failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """The object of click's context. It outlives the context, which is gone when an error is reported."""

    debug: bool = False
    log_format: str = "text"


def debug_option(*, hidden: bool = False) -> Callable[[Command], Command]:
    """Return a decorator that adds --debug."""
    return click.option(
        "--debug", is_flag=True, hidden=hidden, callback=_remember, help="Show tracebacks and debug logs."
    )


def log_format_option(command: Command) -> Command:
    """Add --log-format."""
    option = click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        callback=_remember,
        help="Log lines on standard error.",
    )
    return option(command)


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    invocation = ctx.find_object(Invocation)
    if invocation is not None and param.name is not None:
        setattr(invocation, param.name, value)
    return value
