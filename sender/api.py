"""Sending from Python: a plan in, a result out, blocking or not; and what monitoring gets to know of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Unpack

from sender.campaign.model import Campaign
from sender.core.errors import InputError
from sender.core.output_files import Protected
from sender.core.standard_webhooks import read_target
from sender.delivery.list_lookups import LookedUp, LookupOptions, alookup
from sender.delivery.reconcile import ReconcileResult
from sender.delivery.refresh import reconcile_run
from sender.delivery.settle import OnWait
from sender.plan.plan import Plan
from sender.plan.planned_start import PlannedStart
from sender.schedule import waiting
from sender.schedule.metrics import (
    CampaignMetrics,
    after_end,
    check_metrics_file,
    hide_numbers,
    read_metrics,
    write_metrics,
)
from sender.schedule.notify import notify, run_event
from sender.schedule.waiting import await_start
from sender.sending import event_loop
from sender.sending.open_run import open_run, open_run_again
from sender.sending.options import SendKeywords, SendOptions
from sender.sending.run_control import place_of
from sender.sending.run_result import RunResult
from sender.state.heartbeat import Progress
from sender.state.open import folder_of, open_state


async def asend(
    plan: Plan,
    options: SendOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_wait: OnWait | None = None,
    cancel: asyncio.Event | None = None,
    **keywords: Unpack[SendKeywords],
) -> RunResult:
    """Send `plan`, or resume it where an earlier call stopped, and return the result.

    `options` say how; their fields may be given as keyword arguments instead. `on_progress` is called about ten times a
    second, `on_wait` each second while `settle` waits for the provider's log. Once `cancel` is set, nothing new is
    claimed and the answers in flight are awaited; the same call resumes.

    A plan with a `start` is checked now and begins then; a rehearsal, a test and a run that has begun do not wait.
    Raises InputError, RunLocked, RunComplete or InputsChanged before anything is sent, and NotStarted for a start that
    is too late, or when `cancel` is set before it; a guard that stops the run later is in `RunResult.stopped`.
    """
    options = _options(options, keywords)
    await _await_start(plan, options, cancel)
    with open_run(plan, options) as session:
        return await session.send(options, on_progress=on_progress, on_wait=on_wait, cancel=cancel)


def send(
    plan: Plan,
    options: SendOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_wait: OnWait | None = None,
    **keywords: Unpack[SendKeywords],
) -> RunResult:
    """Send `plan` as `asend` does, and block until the result is there.

    Raises InputError where an event loop is running: await `asend` there.
    """
    _refuse_running_loop("asend")
    return event_loop.run(asend(plan, _options(options, keywords), on_progress=on_progress, on_wait=on_wait))


async def aresume(
    run: str | Path,
    options: SendOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_wait: OnWait | None = None,
    cancel: asyncio.Event | None = None,
    **keywords: Unpack[SendKeywords],
) -> RunResult:
    """Lift the pause of an unfinished run, or the stop of its canary, send the rest, and return the result.

    `run` is what `State.find` takes: a run id, a file, or a campaign's name. It keeps its own plan. All else is as in
    `asend`; an unfinished run that is not paused is finished too. Raises RunLocked while another process sends it, and
    RunComplete when nothing is left to send or it is closed.
    """
    options = _options(options, keywords)
    with open_run_again(run, options) as session:
        session.check_credentials(options)
        session.lift_holds()
        return await session.send(options, on_progress=on_progress, on_wait=on_wait, cancel=cancel)


def resume(
    run: str | Path,
    options: SendOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_wait: OnWait | None = None,
    **keywords: Unpack[SendKeywords],
) -> RunResult:
    """Resume a run as `aresume` does, and block until the result is there.

    Raises InputError where an event loop is running: await `aresume` there.
    """
    _refuse_running_loop("aresume")
    return event_loop.run(aresume(run, _options(options, keywords), on_progress=on_progress, on_wait=on_wait))


async def areconcile(
    run: str | Path,
    *,
    state_dir: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    settle: bool = False,
    on_wait: OnWait | None = None,
    cancel: asyncio.Event | None = None,
) -> ReconcileResult:
    """Look up a run's unknown messages in the provider's log, record what it proves, and return that. Sends nothing.

    `run` is as in `aresume`, `env` holds the credentials (None: the process's environment). With `settle` it stays
    until the log can decide all that time decides, calls `on_wait` each second, and leaves once `cancel` is set. Raises
    UnknownRun, RunLocked while another process sends the run, CredentialsError and StateError.
    """
    with open_state(place_of(run, state_dir), create=False) as state:
        given = os.environ if env is None else env
        return await reconcile_run(state, state.find(run), given, wait=settle, on_wait=on_wait, cancel=cancel)


def reconcile(
    run: str | Path,
    *,
    state_dir: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    settle: bool = False,
    on_wait: OnWait | None = None,
) -> ReconcileResult:
    """Look up a run's unknown messages as `areconcile` does, and block until that is done.

    Raises InputError where an event loop is running: await `areconcile` there.
    """
    _refuse_running_loop("areconcile")
    return event_loop.run(areconcile(run, state_dir=state_dir, env=env, settle=settle, on_wait=on_wait))


def lookup(campaign: Campaign, options: LookupOptions | None = None, *, dry_run: bool = False) -> LookedUp:
    """Look up the numbers of `campaign` as `alookup` does, and block until that is done.

    Raises InputError where an event loop is running: await `alookup` there.
    """
    _refuse_running_loop("alookup")
    return event_loop.run(alookup(campaign, options, dry_run=dry_run))


async def _await_start(plan: Plan, options: SendOptions, cancel: asyncio.Event | None) -> None:
    """Check a start of `plan` that is to come, and wait for it. Holds the campaign only while it checks."""
    start = PlannedStart.from_manifest(plan.manifest.start)
    if start is None or options.rehearse or plan.manifest.test_to is not None:
        return
    with open_run(plan, options) as session:
        if session.resumed:
            return
        session.check_credentials(options)
    await await_start(start, waiting.CLOCK, cancel)


def notify_run(result: RunResult, url: str, *, env: Mapping[str, str] | None = None) -> str | None:
    """Post what became of a run, signed with SENDER_WEBHOOK_SECRET in `env` (default: the process's environment).

    Returns why it could not be delivered, or None; takes a minute at most. Raises InputError for a URL that is not
    https (or http to this machine), and CredentialsError without a usable secret.
    """
    target = read_target(url, os.environ if env is None else env)
    return notify(target, run_event(result.to_dict(), result.stopped, datetime.now(UTC)))


def write_run_metrics(result: RunResult, path: str | Path) -> None:
    """Write what became of a run to an OpenMetrics text file, next to what the file says of other campaigns.

    Raises InputError where it cannot be written, or is a file of another kind.
    """
    file = check_metrics_file(Path(path), Protected(state_dir=folder_of(result.state_dir)))
    known = read_metrics(file)
    name = hide_numbers(result.run.campaign)
    known[name] = after_end(
        known.get(name, CampaignMetrics(name)),
        exit_code=result.exit_code,
        now_s=time.time(),
        begun_s=result.run.created_at_ms / 1000,
        summary=result.to_dict(),
    )
    write_metrics(file, known.values())


def _refuse_running_loop(instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise InputError("an event loop is running here", fix=f"use `await sender.{instead}(...)`")


def _options(options: SendOptions | None, keywords: SendKeywords) -> SendOptions:
    if options is None:
        return SendOptions(**keywords)
    if keywords:
        raise InputError(
            f"both options and keyword arguments are given: {', '.join(keywords)}",
            fix="use `dataclasses.replace(options, ...)` to change single options",
        )
    return options
