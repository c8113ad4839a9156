"""`sender schedule …`: campaigns that are sent again and again, by their own schedules."""

from __future__ import annotations

import getpass
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from sender.cli import console, terminal
from sender.cli.invocation import debug_option
from sender.cli.monitoring import metrics_option, notify_option, read_monitor
from sender.cli.shared_options import Command, env_file_option, environment, state_options
from sender.core.durations import describe_duration
from sender.core.errors import InputError, SenderError, UnknownRun
from sender.core.local_time import format_local
from sender.core.output_files import Protected
from sender.schedule import service_files, waiting
from sender.schedule.child import ChildProcess
from sender.schedule.metrics import CampaignMetrics, count_held, count_messages, read_metrics, write_metrics
from sender.schedule.scheduled_folder import FolderContent, ScheduledCampaign, next_starts, read_folder
from sender.schedule.scheduler import STEP_S, Scheduler
from sender.schedule.waiting import Clock
from sender.state.open import address_of, folder_of, open_state
from sender.state.state import State
from sender.state.ticks import TickRecord

_folder = click.argument("folder", type=click.Path(path_type=Path), default=".")


def _reporting_options(command: Command) -> Command:
    """Add --metrics, --notify, --env-file and those of `state_options`: what `run` takes, and `install` writes down."""
    env_file = env_file_option("File of KEY=value lines with the credentials, for each campaign.")
    return metrics_option(notify_option(env_file(state_options(command))))


def _passed_on(notify: str | None, env_file: Path | None) -> list[str]:
    """The words of a command that takes these two as well."""
    words = [] if notify is None else ["--notify", notify]
    return words if env_file is None else [*words, "--env-file", str(env_file.absolute())]


@click.group()
def schedule() -> None:
    """Send campaigns again and again, at the times of their `schedule`.

    FOLDER contains the campaigns; the default is the current folder.
    """


@schedule.command("run")
@click.argument("campaigns_folder", metavar="[FOLDER]", type=click.Path(path_type=Path), default=".")
@click.option("--once", is_flag=True, help="Start the campaigns that are due now, wait until they end, and end.")
@_reporting_options
def run(
    campaigns_folder: Path,
    once: bool,
    metrics: Path | None,
    notify: str | None,
    env_file: Path | None,
    state_dir: Path | str,
    debug: bool,
) -> int:
    """Start the campaigns of FOLDER when they are due, until SIGTERM or Ctrl-C.

    For a service manager or a container. Writes events as JSON lines to standard output, and the log of the runs to
    standard error.
    """
    console.set_up_logs(debug=debug, log_format="json")
    folder = campaigns_folder.absolute()
    monitor = read_monitor(metrics, notify, environment(env_file), Protected(state_dir=folder_of(state_dir)))
    options = _passed_on(notify, env_file)
    stopped = threading.Event()
    with open_state(state_dir, create=False) as state:
        clock = Clock(sleep=stopped.wait)
        scheduler = Scheduler(folder, state, clock, ChildProcess, _emit, options=options)
        campaigns = sorted(scheduler.content.campaigns)
        _emit("scheduler_started", {"folder": str(folder), "state": str(state_dir), "campaigns": campaigns})
        _stop_by_signal(scheduler, stopped)
        _serve(scheduler, state, clock, stopped, monitor.metrics, once=once)
    code = max(scheduler.exit_codes, default=0) if once or 130 in scheduler.exit_codes else 0
    _emit("scheduler_ended", {"exit_code": code})
    return code


def _serve(
    scheduler: Scheduler, state: State, clock: Clock, stopped: threading.Event, metrics: Path | None, *, once: bool
) -> None:
    """Look at the clock until a signal comes and all that is being sent has ended."""
    written: int | None = None  # the changes that the metrics have
    while True:
        scheduler.step()
        if metrics is not None and scheduler.changes != written:
            written = scheduler.changes
            _write_metrics(metrics, scheduler, state)
        if not scheduler.is_busy and (once or stopped.is_set()):
            return
        if stopped.is_set():  # a wait for it would return at once
            scheduler.stop()
            waiting.CLOCK.sleep(0.2)
        else:
            to_minute_s = 60 - clock.now_ms() / 1000 % 60 + 0.01
            clock.sleep(0.5 if scheduler.is_busy else min(STEP_S, to_minute_s))


def _stop_by_signal(scheduler: Scheduler, stopped: threading.Event) -> None:
    def stop(_number: int, _frame: object) -> None:
        scheduler.stop(at_once=stopped.is_set())
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _emit(event: str, values: Mapping[str, Any]) -> None:
    terminal.write_json({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **values})
    sys.stdout.flush()


def _write_metrics(file: Path, scheduler: Scheduler, state: State) -> None:
    """Write what is known of each campaign; a file or a state that cannot be used now ends nothing."""
    try:
        write_metrics(file, _collect_metrics(scheduler, state, read_metrics(file)))
    except SenderError as error:
        _emit("metrics_failed", {"error": error.sentence()})


def _collect_metrics(
    scheduler: Scheduler, state: State, known: Mapping[str, CampaignMetrics]
) -> tuple[CampaignMetrics, ...]:
    """What is known of each campaign of the folder: by its record, and by the last run that ended here."""
    now = datetime.fromtimestamp(waiting.CLOCK.now_ms() / 1000, UTC)
    found = []
    for campaign in scheduler.content.campaigns.values():
        record = state.ticks.read(campaign.name)
        summary = scheduler.summaries.get(campaign.name)
        before = known.get(campaign.name, CampaignMetrics(campaign.name))
        found.append(
            CampaignMetrics(
                campaign.name,
                last_success_s=_seconds(record.success_ms if record else None),
                last_end_s=_seconds(record.ended_ms if record else None),
                duration_s=_duration_s(record),
                exit_code=record.exit_code if record else None,
                messages=before.messages if summary is None else count_messages(summary),
                next_start_s=campaign.ticks.next(now).timestamp(),
                held=before.held if summary is None else count_held(summary),
                missed=record.missed if record else 0,
            )
        )
    return tuple(found)


def _seconds(epoch_ms: int | None) -> float | None:
    return None if epoch_ms is None else epoch_ms / 1000


def _duration_s(record: TickRecord | None) -> float | None:
    if record is None or record.begun_ms is None or record.ended_ms is None:
        return None
    return (record.ended_ms - record.begun_ms) / 1000


@schedule.command("list")
@_folder
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@state_options
def list_schedules(folder: Path, as_json: bool, state_dir: Path | str, debug: bool) -> int:
    """List the campaigns of FOLDER with a schedule: when each is due, and how the last run ended."""
    console.set_up_logs(debug=debug)
    content = read_folder(folder, state_dir)
    now = _now()
    records = _read_records(content, state_dir)
    if as_json:
        rows = [_to_dict(campaign, records.get(campaign.name), now) for campaign in content.campaigns.values()]
        faults = [{"file": str(file), "error": error.sentence()} for file, error in content.faults.items()]
        console.print_json({"campaigns": rows, "broken": faults})
        return _fault_code(content)
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("campaign", "schedule", "next", "late", "last"):
        table.add_column(name, overflow="fold")
    for campaign in content.campaigns.values():
        following = campaign.ticks.next(now)
        table.add_row(
            escape(campaign.name),
            escape(f"{campaign.ticks.explain()} ({campaign.ticks.text})"),
            escape(format_local(following, campaign.zone) + _dst_note(campaign, following)),
            describe_duration(campaign.late_s),
            escape(_describe_last(campaign, records.get(campaign.name))),
        )
    if content.campaigns:
        console.out.print(table)
    else:
        console.out.print(f"no campaign in {escape(str(folder))} has a `schedule`")
    _print_faults(content)
    return _fault_code(content)


@schedule.command("next")
@click.argument("count", metavar="[N]", type=click.IntRange(1, 1000), default=5)
@_folder
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option()
def print_next(count: int, folder: Path, as_json: bool, debug: bool) -> int:
    """Print the next N starts of the campaigns in FOLDER, in their own zones."""
    console.set_up_logs(debug=debug)
    content = read_folder(folder, folder)
    starts = next_starts(folder, count, now=_now())
    if as_json:
        console.print_json(
            [
                {
                    "campaign": each.name,
                    "at": tick.isoformat(),
                    "zone": each.zone,
                    "note": _dst_note(each, tick).lstrip("; ") or None,
                }
                for each, tick in starts
            ]
        )
        return _fault_code(content)
    for campaign, tick in starts:
        console.out.print(
            escape(f"{format_local(tick, campaign.zone)}  {campaign.name}{_dst_note(campaign, tick)}"), highlight=False
        )
    if not starts:
        console.out.print(f"no campaign in {escape(str(folder))} has a `schedule`")
    _print_faults(content)
    return _fault_code(content)


@schedule.command("install")
@_folder
@click.option("--systemd", "kind", flag_value="systemd", help="A unit file for systemd.")
@click.option("--cron", "kind", flag_value="cron", help="A line for crontab.")
@_reporting_options
def install(
    folder: Path,
    kind: str | None,
    metrics: Path | None,
    notify: str | None,
    env_file: Path | None,
    state_dir: Path | str,
    debug: bool,
) -> int:
    """Print a service or a cron line that starts `sender schedule run FOLDER`. Installs nothing.

    --metrics, --notify and --env-file become part of the printed command.
    """
    console.set_up_logs(debug=debug)
    if kind is None:
        raise InputError("--systemd or --cron is missing", fix="add one of them")
    read_folder(folder, state_dir)
    options = [] if metrics is None else ["--metrics", str(metrics.absolute())]
    options += _passed_on(notify, env_file)
    service = service_files.Service(folder.resolve(), _resolved(state_dir), getpass.getuser(), tuple(options))
    text = service_files.systemd_unit(service) if kind == "systemd" else service_files.cron_line(service)
    terminal.write_line(text.rstrip("\n"))
    return 0


def _resolved(state_dir: Path | str) -> Path | str:
    """The state as any folder's commands name it."""
    where = address_of(state_dir)
    return where.resolve() if isinstance(where, Path) else where


def _now() -> datetime:
    return datetime.fromtimestamp(waiting.CLOCK.now_ms() / 1000, UTC)


def _read_records(content: FolderContent, state_dir: Path | str) -> dict[str, TickRecord]:
    try:
        with open_state(state_dir, read_only=True) as state:
            records = {name: state.ticks.read(name) for name in content.campaigns}
    except UnknownRun:  # nothing has been sent from here
        return {}
    return {name: record for name, record in records.items() if record is not None}


def _to_dict(campaign: ScheduledCampaign, record: TickRecord | None, now: datetime) -> dict[str, Any]:
    following = campaign.ticks.next(now)
    last = None
    if record is not None and record.tick_ms is not None:
        last = {"at": _local(campaign, record.tick_ms).isoformat(), "exit_code": record.exit_code}
    return {
        "campaign": campaign.name,
        "file": str(campaign.file),
        "cron": campaign.ticks.text,
        "zone": campaign.zone,
        "late_s": campaign.late_s,
        "next": following.isoformat(),
        "note": _dst_note(campaign, following).lstrip("; ") or None,
        "last": last,
        "missed": record.missed if record else 0,
    }


def _local(campaign: ScheduledCampaign, epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, campaign.ticks.zone)


def _describe_last(campaign: ScheduledCampaign, record: TickRecord | None) -> str:
    if record is None or record.tick_ms is None:
        return "never"
    at = format_local(_local(campaign, record.tick_ms), None)
    return f"{at}: {'not at its end' if record.ended_ms is None else f'exit {record.exit_code}'}"


def _dst_note(campaign: ScheduledCampaign, tick: datetime) -> str:
    """What a change of the clocks near `tick` means, as `; clocks ...`, or nothing."""
    if tick.replace(fold=1).utcoffset() != tick.utcoffset():
        return "; clocks go back: this time occurs twice, and the first counts"
    minute, day = (
        (tick.astimezone(UTC) - timedelta(**ago)).astimezone(campaign.ticks.zone)
        for ago in ({"minutes": 1}, {"days": 1})
    )
    if minute.utcoffset() != tick.utcoffset():
        return "; clocks go forward right before it"
    if day.utcoffset() != tick.utcoffset():
        return f"; clocks have changed since the day before (UTC{day:%z} to UTC{tick:%z})"
    return ""


def _print_faults(content: FolderContent) -> None:
    for error in content.faults.values():
        console.err.print(f"[bold red]broken:[/] {escape(error.sentence())}", highlight=False)


def _fault_code(content: FolderContent) -> int:
    return InputError.exit_code if content.faults else 0
