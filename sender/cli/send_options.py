"""The options that `send`, `retry` and `resume` share, collected into one `SendRequest`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from sender.cli import console
from sender.cli.delivery_options import ListenOptions, delivery_options
from sender.cli.duration import parse_duration_s
from sender.cli.invocation import log_format_option
from sender.cli.monitoring import Monitor, metrics_option, notify_option, read_monitor
from sender.cli.shared_options import environment, state_options, with_body_option
from sender.core.errors import SenderError
from sender.core.output_files import Protected
from sender.sending.options import SendOptions
from sender.state.open import folder_of

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SendRequest:
    """What the user asked for: how to send, and what the command does around it.

    `inputs` are the files that the results must not replace.
    `detach` leaves the run to other machines.
    `yes` sends without asking, `dry_run` sends nothing, `as_json` prints the summary as JSON, and `show_bar` draws a
    progress bar.
    """

    options: SendOptions
    listen: ListenOptions
    yes: bool
    dry_run: bool
    as_json: bool
    show_bar: bool
    inputs: tuple[Path, ...] = ()
    detach: bool = False
    monitor: Monitor = field(default_factory=Monitor)


_OPTIONS = (
    click.option("--yes", "-y", is_flag=True, help="Do not ask."),
    click.option("--dry-run", is_flag=True, help="Show what would be done, and send nothing."),
    click.option(
        "--limit",
        type=click.IntRange(1),
        help="Send only the first N messages of the plan; run again without it for the rest.",
    ),
    click.option(
        "--no-hold",
        is_flag=True,
        help="Send what may leave now, and do not wait for windows; run again for the rest.",
    ),
    click.option(
        "--allow-missed", is_flag=True, help="Start although some messages would miss their window and not be sent."
    ),
    click.option(
        "--rehearse",
        is_flag=True,
        help="Send to the sandbox in the form of the provider's own API: nothing leaves this machine.",
    ),
    click.option(
        "--on-unknown",
        type=click.Choice(["reconcile", "hold"]),
        default="reconcile",
        show_default=True,
        help="Unknown messages: look them up, or leave them.",
    ),
    click.option(
        "--settle",
        is_flag=True,
        help="Wait until the provider's log can decide unknown messages, ten minutes after them; Ctrl-C stops waiting.",
    ),
    delivery_options,
    click.option(
        "--workers",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="Send with N processes, if one cannot reach the rate; the limits hold for all of them together.",
    ),
    click.option(
        "--shifts",
        type=click.IntRange(0),
        metavar="N",
        help="Over a database: send with N processes of `sender worker`. Default: all of them; 0: only here.",
    ),
    click.option(
        "--resend-unknown",
        is_flag=True,
        help="Send unknown messages again if the log does not settle them: some people may get them twice.",
    ),
    click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Results file (.csv, .jsonl, .parquet, .xlsx).",
    ),
    with_body_option,
    metrics_option,
    notify_option,
    click.option(
        "--env-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File of KEY=value lines with the credentials.",
    ),
    log_format_option,
    click.option("--json", "as_json", is_flag=True, help="The summary as JSON on standard output."),
    state_options,
)


def send_options(command: Command) -> Command:
    """Add the options of sending, those of every command among them; `command` gets them as `request`."""

    @wraps(command)
    def with_request(**values: Any) -> Any:
        request = _request(**{name: values.pop(name) for name in _NAMES})
        monitor = request.monitor
        monitor.campaign = Path(values.get("campaign") or values.get("run") or "").stem
        try:
            code = command(request=request, **values)
        except SenderError as error:
            monitor.finish(error.exit_code, error)
            raise
        if not request.dry_run:
            monitor.finish(code)
        return code

    decorated: Any = with_request
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _names() -> tuple[str, ...]:
    """The parameters that the options set, as click names them."""

    def nothing() -> None: ...

    for option in _OPTIONS:
        option(nothing)
    return tuple(parameter.name for parameter in nothing.__click_params__)  # type: ignore[attr-defined]


_NAMES = _names()


def _request(**values: Any) -> SendRequest:
    show_bar = sys.stderr.isatty() and values["log_format"] == "text"
    console.set_up_logs(debug=values["debug"], log_format=values["log_format"], quiet=show_bar)
    options = SendOptions(
        state_dir=values["state_dir"],
        workers=values["workers"],
        shifts=values["shifts"],
        env=environment(values["env_file"]),
        rehearse=values["rehearse"],
        limit=values["limit"],
        hold=not values["no_hold"],
        allow_missed=values["allow_missed"],
        settle_unknowns=values["on_unknown"] == "reconcile",
        settle=values["settle"],
        resend_unknown=values["resend_unknown"],
        public_url=values["public_url"],
        wait_s=None if values["wait"] is None else parse_duration_s(values["wait"], "--wait"),
        results_path=values["output"],
        with_body=values["with_body"],
    )
    env_files = () if values["env_file"] is None else (values["env_file"],)
    protected = Protected(env_files, folder_of(options.state_path))
    return SendRequest(
        options,
        ListenOptions(values["listen"], values["listen_port"], values["signatures"]),
        yes=values["yes"],
        dry_run=values["dry_run"],
        as_json=values["as_json"],
        show_bar=show_bar,
        inputs=env_files,
        monitor=read_monitor(values["metrics"], values["notify"], options.environment, protected),
    )
