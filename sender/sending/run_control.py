"""Ends or holds a run from anywhere: another terminal, another program, while a process sends it or after that."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sender.core.errors import RunComplete, RunLocked
from sender.core.outcomes import CancelReason, SubmissionState
from sender.delivery.scheduled import TakenBack, take_back_scheduled
from sender.sending.choose_run import refuse_held
from sender.state.find_state import find_state
from sender.state.ledger import Counts, Run
from sender.state.open import open_state
from sender.state.state import State

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class ClosedRun:
    """A run that is closed. `is_new` says that it was open until now, and `canceled` what became canceled by that.

    `counts` are its messages by state. Those under way (`counts.intent`) are settled by the process that sends them.
    `retryable` is how many canceled messages a retry by status would send. `scheduled` says what became of messages
    that the provider holds until their time.
    """

    run: Run
    is_new: bool
    canceled: int
    counts: Counts
    retryable: int
    scheduled: TakenBack = field(default_factory=TakenBack)


@dataclass(frozen=True, slots=True)
class PausedRun:
    """A run that is paused. `is_new` says that it was not until now.

    `under_way` is how many answers are still awaited, by a process that sends it.
    """

    run: Run
    is_new: bool
    counts: Counts
    under_way: int


def close(
    run: str | Path,
    *,
    state_dir: str | Path | None = None,
    by: str | None = None,
    env: Mapping[str, str] | None = None,
) -> ClosedRun:
    """Close a run for good: what is pending becomes canceled. A process that sends it ends by itself.

    Messages that the provider holds until their time (`send_at`) are taken back there, with the credentials in `env`
    (default: the process's environment). `run` is what `State.find` takes, `by` says who closes it (default: this user
    and host), `state_dir` is found upwards from a file that names the run, else from the current folder. Closing it
    again changes nothing, but tries those again. Raises UnknownRun, PlanError and StateError.
    """
    with open_state(place_of(run, state_dir), create=False) as state:
        named = state.find(run)
        is_new = named.closed_at_ms is None
        canceled = state.ledger.close_run(named.run_id, by=by or name_person())
        _settle_orphans(state, named)
        scheduled = _take_back(state, named, os.environ if env is None else env)
        journal = state.ledger.journal(named.run_id, states=[SubmissionState.CANCELED])
        held_back = [CancelReason.OPTED_OUT.value, CancelReason.UNDER_REVIEW.value]
        opted_out = int(journal["reason"].is_in(held_back).sum())
        return ClosedRun(
            run=state.ledger.run(named.run_id),
            is_new=is_new,
            canceled=canceled,
            counts=state.ledger.counts(named.run_id),
            retryable=journal.height - opted_out,
            scheduled=scheduled,
        )


def pause(
    run: str | Path, *, state_dir: str | Path | None = None, by: str | None = None, wait_s: float = 60.0
) -> PausedRun:
    """Pause a run, and wait up to `wait_s` seconds for the answers to what is under way.

    A process that sends it ends by itself; no start sends it until it is resumed. `run` and `by` are as in `close`.
    Raises RunComplete when nothing is left to send, UnknownRun and StateError.
    """
    with open_state(place_of(run, state_dir), create=False) as state:
        named = state.find(run)
        counts = state.ledger.counts(named.run_id)
        if named.closed_at_ms is not None:
            refuse_held(named)
        if not counts.pending + counts.intent:
            raise RunComplete(
                f"run {named.run_id} has nothing left to send, so there is nothing to pause",
                fix=f"`sender status {named.run_id}` shows the result",
            )
        is_new = state.ledger.pause_run(named.run_id, by=by or name_person())
        under_way = _wait_for_answers(state, named, wait_s)
        return PausedRun(
            run=state.ledger.run(named.run_id),
            is_new=is_new,
            counts=state.ledger.counts(named.run_id),
            under_way=under_way,
        )


def lift_pause(run: str | Path, *, state_dir: str | Path | None = None) -> bool:
    """Let a paused run be sent again, without sending it here; return whether it was paused."""
    with open_state(place_of(run, state_dir), create=False) as state:
        return state.ledger.resume_run(state.find(run).run_id)


def place_of(run: str | Path, state_dir: str | Path | None) -> str | Path:
    """The state that is meant: the one given, or the one of the file that names the run, or of the current folder."""
    if state_dir is not None:
        return state_dir
    return find_state(run if Path(run).is_file() else None).path


def name_person() -> str:
    """Who does this: `anna on mail1`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no entry in the user database, as in some containers
        user = f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
    return f"{user} on {socket.gethostname()}"


def _take_back(state: State, run: Run, env: Mapping[str, str]) -> TakenBack:
    """Take scheduled messages back, in a thread of its own: the caller's may have an event loop that is running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, take_back_scheduled(state, run, env)).result()


def _settle_orphans(state: State, run: Run) -> None:
    """Make unknown what a dead process left, and finish the run; a live process does both itself."""
    try:
        with state.locks.hold_campaign(run.campaign, run.kind):
            state.ledger.orphans_to_unknown(run.run_id)
            state.ledger.finish_run(run.run_id)
    except RunLocked:
        return


def _wait_for_answers(state: State, run: Run, wait_s: float) -> int:
    """The number of messages still under way after `wait_s` seconds at most; 0 where no process sends the run."""
    give_up_s = time.monotonic() + wait_s
    while state.locks.holder(run.campaign, run.kind) is not None:
        under_way = state.ledger.counts(run.run_id).intent
        if not under_way or time.monotonic() >= give_up_s:
            return under_way
        time.sleep(_LOOK_EVERY_S)
    return 0
