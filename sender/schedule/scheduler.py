"""Starts the campaigns of a folder when they are due, each once, whatever happens to the processes that do so.

A time is written into the state before its campaign is started, under a lock that all schedulers of the state share. So
a second scheduler, or the same one after a crash, neither repeats it nor forgets it: what was started and has not ended
is resumed by the same command, whose run is recognised by its edition. Prints nothing; events go to `emit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sender.core.errors import RunLocked, SenderError
from sender.planning.edition import edition_at
from sender.schedule.child import Child, Launch, send_arguments
from sender.schedule.scheduled_folder import FolderContent, ScheduledCampaign, mark_folder, read_folder, read_scheduled
from sender.schedule.tick_runs import find_tick_run
from sender.schedule.waiting import Clock
from sender.state.ledger import RunKind
from sender.state.open import address_of
from sender.state.state import State
from sender.state.ticks import TickRecord

STEP_S = 5.0  # between two looks at the files and the clock
MOST_FAILURES = 3
_RETRY_AFTER_MS = 60_000
_MOST_COUNTED = 10_000  # missed times
_FAULT, _INTERRUPTED = 70, 130
SENT = (0, 1)  # exit codes of a run that was sent to its end

_SHOWN = ("run_id", "recovered", "gave_up", "accepted", "rejected", "canceled", "unknown", "pending", "statuses")

Emit = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class _Running:
    campaign: ScheduledCampaign
    record: TickRecord
    child: Child
    locks: ExitStack


class Scheduler:
    """The schedules of one folder and one state."""

    def __init__(
        self, folder: Path, state: State, clock: Clock, launch: Launch, emit: Emit, *, options: Sequence[str] = ()
    ) -> None:
        """`options` are given to each `sender send`. Raises InputError where there is no such folder."""
        self._folder = folder
        self._state = state
        self._clock = clock
        self._launch = launch
        self._report_event = emit
        self._options = options
        self._running: dict[str, _Running] = {}
        self._faults: dict[Path, str] = {}
        self._errors: dict[str, str] = {}
        self._mark: object = None
        self._next: dict[str, tuple[tuple[str, int], int]] = {}  # when each is due, as of its record
        self.changes = 0  # counted up with each event
        self._stopping = False
        self._asked: set[str] = set()  # to end
        self.exit_codes: list[int] = []
        self.summaries: dict[str, Mapping[str, Any]] = {}  # of the last end of each campaign in this process
        self.content = read_folder(folder, state.where)

    @property
    def is_busy(self) -> bool:
        """Whether a campaign is being sent."""
        return bool(self._running)

    def step(self) -> None:
        """Look once: at what has ended, at the files, and at the clock; start what is due."""
        self._reap()
        if self._stopping:
            return
        self.content = self._scan()
        for campaign in self.content.campaigns.values():
            if campaign.name in self._running:
                continue
            try:
                self._consider(campaign)
            except SenderError as error:
                self._report(campaign, error)
            else:
                self._errors.pop(campaign.name, None)

    def _report(self, campaign: ScheduledCampaign, error: SenderError) -> None:
        """Report an error once while it lasts: a full disk, say, without which nothing can be started."""
        if self._errors.get(campaign.name) != error.sentence():
            self._errors[campaign.name] = error.sentence()
            self._emit("schedule_error", {**_about(campaign), "error": error.sentence()})

    def stop(self, *, at_once: bool = False) -> None:
        """Start nothing more, and ask what is being sent to end, once; it can be resumed.

        With `at_once` it is asked again, and ends without waiting for answers.
        """
        self._stopping = True
        for name, running in list(self._running.items()):
            if at_once or name not in self._asked:
                self._asked.add(name)
                running.child.terminate()

    def _emit(self, event: str, values: Mapping[str, Any]) -> None:
        self.changes += 1
        self._report_event(event, values)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)

    def _scan(self) -> FolderContent:
        """Read the folder, if any of its files has changed, and report each fault once."""
        mark = mark_folder(self._folder)
        if mark is not None and mark == self._mark:
            return self.content
        self._mark = mark
        try:
            content = read_folder(self._folder, self._state.where)
        except SenderError as error:  # the folder is gone for now
            content = FolderContent(faults={self._folder: error})
        faults = {file: error.sentence() for file, error in content.faults.items()}
        for file, text in faults.items():
            if self._faults.get(file) != text:
                self._emit("campaign_broken", {"file": str(file), "error": text})
        for file in self._faults.keys() - faults.keys():
            self._emit("campaign_repaired", {"file": str(file)})
        self._faults = faults
        return content

    def _consider(self, campaign: ScheduledCampaign) -> None:
        """Start the campaign if it is due, or resume what was cut off."""
        record = self._state.ticks.read(campaign.name)
        if record is not None and record.schedule == campaign.schedule and not self._is_due(campaign, record):
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(self._state.ticks.hold(campaign.name))
            except RunLocked:  # another scheduler is at it
                return
            record = self._state.ticks.read(campaign.name)
            if record is not None and record.is_unfinished:
                started = self._resume(campaign, record)
            elif record is None or record.schedule != campaign.schedule:
                self._begin_schedule(campaign, record)
                return
            else:
                started = self._start(campaign, record)
            if started is not None:
                try:
                    child = self._launch(self._arguments(campaign, started))
                except OSError as error:
                    self._crash(campaign, started, {"error": str(error)})
                    return
                self._running[campaign.name] = _Running(campaign, started, child, stack.pop_all())

    def _is_due(self, campaign: ScheduledCampaign, record: TickRecord) -> bool:
        if record.is_unfinished:
            return True
        asked = (campaign.schedule, record.settled_ms)
        if campaign.name not in self._next or self._next[campaign.name][0] != asked:
            self._next[campaign.name] = (asked, _ms(campaign.ticks.next(_moment(record.settled_ms))))
        return self._next[campaign.name][1] <= self._clock.now_ms()

    def _begin_schedule(self, campaign: ScheduledCampaign, before: TickRecord | None) -> None:
        """Record a schedule that is new, or has been changed: its times count from now on."""
        now = self._now()
        new = TickRecord(campaign.name, campaign.schedule, self._clock.now_ms())
        if before is not None:
            new = replace(before, schedule=campaign.schedule, settled_ms=new.settled_ms)
        self._state.ticks.write(new)
        event = "schedule_begun" if before is None else "schedule_changed"
        following = campaign.ticks.next(now).isoformat()
        self._emit(event, {**_about(campaign), "schedule": campaign.schedule, "next": following})

    def _start(self, campaign: ScheduledCampaign, record: TickRecord) -> TickRecord | None:
        """Record what was missed, and the newest time that may still begin; None if there is none."""
        now = self._now()
        earliest = now - timedelta(seconds=campaign.late_s)
        due: datetime | None = None
        missed: list[datetime] = []
        for tick in islice(campaign.ticks.between(_moment(record.settled_ms), now), _MOST_COUNTED):
            if due is not None:
                missed.append(due)
            due = tick
        if due is not None and due.astimezone(UTC) < earliest:
            missed.append(due)
            due = None
        if missed:
            record = replace(record, settled_ms=_ms(missed[-1]), missed=record.missed + len(missed))
            self._state.ticks.write(record)
            first, last = missed[0].isoformat(), missed[-1].isoformat()
            self._emit("ticks_missed", {**_about(campaign), "count": len(missed), "first": first, "last": last})
        if due is None:
            return None
        try:
            current = read_scheduled(campaign.file, self._state.where)
        except SenderError:
            current = None
        if current is None or current.schedule != campaign.schedule:
            return None  # changed since: the next look says how, and the time may still count
        started = replace(
            record,
            settled_ms=_ms(due),
            tick_ms=_ms(due),
            edition=edition_at(current.edition, due),
            begun_ms=self._clock.now_ms(),
            failures=0,
            ended_ms=None,
            exit_code=None,
        )
        self._state.ticks.write(started)
        late_s = round((now - due).total_seconds())
        self._emit("tick_started", {**_about(campaign), "tick": due.isoformat(), "late_s": late_s})
        return started

    def _resume(self, campaign: ScheduledCampaign, record: TickRecord) -> TickRecord | None:
        """Return what was cut off, to be started again; None where there is nothing to do, or not yet."""
        run, code = find_tick_run(self._state, campaign.name, record.edition or "", campaign.kind)
        if code is not None:
            self._end(campaign, record, code, {"run_id": run, "recovered": True})
            return None
        if any(self._state.locks.holder(campaign.name, kind) for kind in RunKind):
            return None  # whoever was cut off from its scheduler still sends it
        if record.failures >= MOST_FAILURES:
            self._end(campaign, record, record.exit_code or _FAULT, {"gave_up": True})
            return None
        if record.failures and self._clock.now_ms() < (record.begun_ms or 0) + _RETRY_AFTER_MS:
            return None
        again = replace(record, begun_ms=self._clock.now_ms())
        self._state.ticks.write(again)
        self._emit("tick_resumed", {**_about(campaign), "tick": _tick(campaign, record), "failures": record.failures})
        return again

    def _arguments(self, campaign: ScheduledCampaign, record: TickRecord) -> tuple[str, ...]:
        tick = _moment(record.tick_ms or 0).astimezone(campaign.ticks.zone)
        where = address_of(self._state.where)
        where = where.absolute() if isinstance(where, Path) else where
        return send_arguments(campaign, tick, edition=record.edition or "", state=where, options=self._options)

    def _reap(self) -> None:
        """Record what has ended."""
        for name, running in list(self._running.items()):
            code = running.child.poll()
            if code is None:
                continue
            del self._running[name]
            with running.locks:
                try:
                    self._conclude(running, code)
                except SenderError as error:  # the run itself is recorded: the next look finds its end
                    self._report(running.campaign, error)

    def _conclude(self, running: _Running, code: int) -> None:
        campaign, record = running.campaign, running.record
        summary = running.child.summary()
        about = {**_about(campaign), "tick": _tick(campaign, record), "run_id": summary.get("run_id")}
        if self._stopping and (code == _INTERRUPTED or code < 0):
            self.exit_codes.append(_INTERRUPTED)
            self._emit("tick_interrupted", {**about, "exit_code": code})
            return
        if code < 0 or code == _FAULT:
            self._crash(campaign, record, {"exit_code": code})
            return
        own_run, _ = find_tick_run(self._state, campaign.name, record.edition or "", campaign.kind)
        if code in SENT and summary.get("run_id") is not None and own_run is None:
            self._emit("earlier_run_resumed", about)  # by `on_unfinished: resume`; the next look starts this one
            return
        self.summaries[campaign.name] = summary
        self._end(campaign, record, code, summary)

    def _crash(self, campaign: ScheduledCampaign, record: TickRecord, details: Mapping[str, Any]) -> None:
        """Record that the process failed, or could not be started; it is started again after a while."""
        self._state.ticks.write(replace(record, exit_code=_FAULT, failures=record.failures + 1))
        self._emit("tick_crashed", {**_about(campaign), "tick": _tick(campaign, record), **details})

    def _end(self, campaign: ScheduledCampaign, record: TickRecord, code: int, summary: Mapping[str, Any]) -> None:
        now_ms = self._clock.now_ms()
        success_ms = now_ms if code in SENT else record.success_ms
        self._state.ticks.write(replace(record, ended_ms=now_ms, exit_code=code, success_ms=success_ms))
        self.exit_codes.append(code)
        self._emit(
            "tick_ended",
            {
                **_about(campaign),
                "tick": _tick(campaign, record),
                "exit_code": code,
                **{name: summary[name] for name in _SHOWN if name in summary},
                "next": campaign.ticks.next(self._now()).isoformat(),
            },
        )


def _about(campaign: ScheduledCampaign) -> dict[str, Any]:
    return {"campaign": campaign.name, "file": str(campaign.file)}


def _tick(campaign: ScheduledCampaign, record: TickRecord) -> str:
    return _moment(record.tick_ms or 0).astimezone(campaign.ticks.zone).isoformat()


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
