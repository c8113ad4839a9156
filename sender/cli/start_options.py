"""The options that say when a campaign begins, and the wait for it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from sender.campaign.start_time import DEFAULT_LATE, Late, StartTime, find_zone, parse_late
from sender.cli import console, terminal
from sender.cli.campaign_options import is_written_plan, read_campaign
from sender.cli.signals import ending_by_signal
from sender.core.durations import describe_duration
from sender.core.errors import InputError, InputsChanged
from sender.plan.plan import Plan
from sender.plan.planned_start import PlannedStart
from sender.planning.brakes import with_limits
from sender.planning.confirmed import count_unconfirmed
from sender.schedule import waiting
from sender.schedule.at_times import parse_at
from sender.schedule.waiting import explain_late, late_by_s, wait_for_start
from sender.sending.choose_run import find_run_kind
from sender.sending.options import SendOptions
from sender.state.open import open_state

log = logging.getLogger("sender.cli")

Command = TypeVar("Command", bound=Callable[..., Any])
At = StartTime | Literal["now"] | None
LINE_EVERY_S = 600.0

_OPTIONS = (
    click.option(
        "--at",
        metavar="TIME",
        help="When to begin: '2026-12-01 09:00', 9am, 'tomorrow 9am', 'in 2h'; `now` ignores the campaign's `start`.",
    ),
    click.option("--zone", metavar="ZONE", help="Zone of --at: America/New_York. Default: the campaign's."),
    click.option("--late", metavar="15m", help="How late it may begin, after --at or `start`. Default: 15m."),
)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """--at, --zone and --late as they were typed."""

    at: str | None
    zone: str | None
    late: str | None


def start_options(command: Command) -> Command:
    """Add --at, --zone and --late, which the command gets as `start`."""

    @wraps(command)
    def with_start(*, at: str | None, zone: str | None, late: str | None, **values: Any) -> Any:
        return command(start=StartRequest(at, zone, late), **values)

    decorated: Any = with_start
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class StartOptions:
    """When a start was asked to begin (None: as the campaign says), and how late it may (None: the same)."""

    at: At
    late: Late | None

    def lay_over(self, plan: Plan) -> Plan:
        """Return a written plan that begins as asked; what it sends stays as it is."""
        start = PlannedStart.from_manifest(plan.manifest.start)
        if isinstance(self.at, StartTime):
            start = PlannedStart.of(self.at, self.late or (Late(start.late_s, "") if start else DEFAULT_LATE))
        elif self.at == "now":
            start = None
        elif start is not None and self.late is not None:
            start = replace(start, late_s=self.late.seconds)
        return plan.with_manifest(replace(plan.manifest, start=None if start is None else start.to_manifest()))


def read_start(
    campaign: Path, keys: Mapping[str, Any], *, state_dir: Path | str, request: StartRequest
) -> StartOptions:
    """Return what was asked for `campaign`, with the options `keys`. Raises InputError."""
    if request.at is None and request.zone is not None:
        raise InputError("--zone is the zone of --at", fix="add --at, or leave out --zone")
    try:
        late = None if request.late is None else parse_late(request.late)
    except ValueError as error:
        raise InputError(f"--late: {error}") from None
    if request.at is None:
        return StartOptions(None, late)
    zone = request.zone
    if zone is not None:
        try:
            find_zone(zone)
        except ValueError as error:
            raise InputError(f"--zone: {error}") from None
    elif not is_written_plan(campaign):
        zone = _own_zone(campaign, keys, state_dir)
    now = datetime.fromtimestamp(waiting.CLOCK.now_ms() / 1000, UTC)
    start = parse_at(request.at, zone=zone, now=now, late_s=(late or DEFAULT_LATE).seconds)
    return StartOptions(start or "now", late)


def _own_zone(campaign: Path, keys: Mapping[str, Any], state_dir: Path | str) -> str | None:
    """The zone that the campaign names for its own times: that of its schedule, of its start, or of its window."""
    values = read_campaign(campaign, keys, state_dir=state_dir)
    if values.schedule is not None:
        return values.schedule.zone
    if values.start is not None:
        return values.start.zone
    return None if values.window.zone == "recipient" else values.window.zone


def agree_to_late_start(start: PlannedStart, *, yes: bool) -> None:
    """Ask whether a start that is too late is to be made all the same. Raises NotStarted where nobody can be asked."""
    now_ms = waiting.CLOCK.now_ms()
    if not late_by_s(start, now_ms):
        return
    if yes or not sys.stdin.isatty():
        raise explain_late(start, now_ms)
    ago = describe_duration((now_ms - start.at_ms) / 1000)
    terminal.ask(f"The start was {ago} ago, on {start}. Begin now?")


def is_ahead(start: PlannedStart) -> bool:
    """Whether the start is still to come."""
    return start.at_ms > waiting.CLOCK.now_ms()


def announce_start(start: PlannedStart) -> None:
    """Print what a change of the clocks makes of the time, if it makes anything of it."""
    if start.note is not None:
        console.out.print(f"[yellow]note:[/] {start.note}", highlight=False)


def announce_dry_start(start: PlannedStart) -> None:
    """Print, for a dry run, how long a start would wait, or that it is too late."""
    announce_start(start)
    now_ms = waiting.CLOCK.now_ms()
    if late_by_s(start, now_ms):
        console.out.print(f"[bold red]would ask first:[/] {explain_late(start, now_ms).what}", highlight=False)
    elif is_ahead(start):
        console.out.print(
            f"a real start would wait for {describe_duration((start.at_ms - now_ms) / 1000)}", highlight=False
        )


def wait_here(start: PlannedStart) -> None:
    """Wait for the start, counted down on a terminal, else with a line of the log now and then.

    Raises click.Abort when the wait is ended by Ctrl-C or SIGTERM, and NotStarted when the machine slept too long.
    """
    try:
        with ending_by_signal():
            log.info(
                "starts on %s, in %s; Ctrl-C ends the wait, and nothing is sent",
                start,
                describe_duration((start.at_ms - waiting.CLOCK.now_ms()) / 1000),
                extra={"event": "start_wait", "start": start.at.isoformat()},
            )
            with _countdown(start) as on_wait:
                wait_for_start(start, waiting.CLOCK, on_wait)
    except KeyboardInterrupt:
        raise click.Abort from None


@contextmanager
def _countdown(start: PlannedStart) -> Iterator[Callable[[float], None]]:
    if not console.err.is_terminal:
        next_s = start.at_ms / 1000 - waiting.CLOCK.now_ms() / 1000 - LINE_EVERY_S

        def log_line(left_s: float) -> None:
            nonlocal next_s
            if left_s <= next_s:
                next_s = left_s - LINE_EVERY_S
                values = {"start": start.at.isoformat(), "left_s": round(left_s)}
                log.info(
                    "starts in %s, on %s", describe_duration(left_s), start, extra={"event": "start_wait", **values}
                )

        yield log_line
        return
    try:
        yield lambda left_s: terminal.write_over(f"starts in {describe_duration(left_s)}, on {start}; Ctrl-C leaves")
    finally:
        terminal.write_over("")


def wait_and_read_again(
    plan: Plan, start: PlannedStart, options: SendOptions, read_again: Callable[[], Plan] | None
) -> Plan:
    """Wait for the start of `plan`, and return the plan as its files make it then: the same messages, or fewer.

    Meanwhile no other process may wait to send the campaign. Raises RunLocked, NotStarted, click.Abort, and
    InputsChanged where a message is not the one that was agreed to.
    """
    kind = find_run_kind(plan.manifest, rehearse=options.rehearse)
    with open_state(options.state_path) as state, state.locks.hold_start(plan.manifest.campaign, kind):
        wait_here(start)
        current = plan if plan.directory is not None or read_again is None else read_again()
    if beyond := count_unconfirmed(plan, current):
        are = "message is" if beyond == 1 else "messages are"
        raise InputsChanged(
            f"the inputs changed while waiting for the start: {beyond:,} {are} not among those that you agreed to",
            fix="look at the plan, and send it again with `--at now`, or with another time; nothing was sent",
        )
    fewer = plan.manifest.messages - current.manifest.messages
    if fewer:
        log.info(
            "%s fewer than you agreed to",
            console.many(fewer, "message"),
            extra={"event": "start_fewer", "messages": current.manifest.messages, "fewer": fewer},
        )
    skips = {name: plan.manifest.limits[name] for name in ("max_skipped",) if name in plan.manifest.limits}
    return with_limits(current, skips)
