"""Begins, resumes or refuses a run, and holds it meanwhile. `choose_run` says which run a start means.

Shared by the command line and the library; never prints, asks or exits.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sender.core.errors import ApprovalMissing, InputError, RunComplete, StateError
from sender.plan.plan import Plan
from sender.planning import brakes
from sender.planning.scheduled_at import refuse_past_times
from sender.sending.approval import check_approval, find_approved_plan, needs_approval
from sender.sending.choose_run import RunChoice, choose_run, find_run_kind, has_same_messages, refuse_held
from sender.sending.missed_windows import find_missed
from sender.sending.namesakes import refuse_namesake
from sender.sending.options import SendOptions
from sender.sending.repeats import count_overtaken, count_repeated, explain_overtaken
from sender.sending.routes_allowed import check_routes
from sender.sending.run import RunSession
from sender.sending.shifts.order import Order
from sender.sending.winner_evidence import with_evidence
from sender.state.ledger import Run, RunKind
from sender.state.new_state import begin_state
from sender.state.open import open_state
from sender.state.runs import resolve_path
from sender.state.state import State
from sender.suppression.number_files import NumberFile, files_of


@contextlib.contextmanager
def open_run(plan: Plan, options: SendOptions) -> Iterator[RunSession]:
    """Yield the session for `plan`: of its unfinished run, or of a new one.

    Raises RunLocked, RunComplete, RunPaused, InputsChanged, LimitReached, OtherCampaign, StateError, and InputError for
    a plan without messages and for a new state that nobody has begun.
    """
    manifest = plan.manifest
    kind = find_run_kind(manifest, rehearse=options.rehearse)
    if not manifest.messages:
        raise InputError(
            "there is nobody to send to: every row is skipped", fix="`sender plan` shows the reason for each row"
        )
    begin_state(options.state_path, kind, init=options.init_state)
    with open_state(options.state_path) as state, state.locks.hold_campaign(manifest.campaign, kind):
        plan = find_approved_plan(plan, options)
        manifest = plan.manifest
        choice = choose_run(state, plan, kind, options)
        choice = replace(choice, approval=check_approval(state, plan, options, choice))
        run = choice.run
        run_plan = plan if run is None else state.plan(run)
        check_routes(state, plan, run_plan, options)
        approved = choice.approval is not None  # then a run goes on as it was approved
        is_same = run is None or (not approved and has_same_messages(state, run, plan))  # then today's pace applies
        measured = plan if is_same else run_plan if approved else brakes.measure_stored(run_plan, manifest)
        brakes.check_start(state, measured, run, kind, limit=options.limit)
        files = files_of(plan, options.source)
        if run is None and not options.same_campaign:
            refuse_namesake(state, plan, kind, options.source)
        if run is not None:
            _check_kind(run, kind)
            files = _join_files(files, files_of(run_plan, run.source))
            pace = manifest.pace if is_same else None
            if is_same and manifest.canary is not None:  # then today's limits count
                canary = {**(run_plan.manifest.canary or {}), **manifest.canary}
                run_plan = run_plan.with_manifest(replace(run_plan.manifest, canary=canary))
            yield RunSession(state, run_plan, run, resumed=True, pace=pace, files=files)
            return
        refuse_past_times(plan, state.ledger.now_ms())
        if (missed := find_missed(plan, options)) is not None:
            raise missed
        run = _new_run(state.ledger.now_ms(), plan, kind, options)
        repeated = 0 if run.retry_of else count_repeated(state, plan, kind)
        plan = with_evidence(state, plan, kind)
        yield RunSession(state, plan, run, resumed=False, repeated=repeated, replaces=choice, files=files)


def _join_files(now: Iterable[NumberFile], before: Iterable[NumberFile]) -> tuple[NumberFile, ...]:
    """The suppression files of today's start, and those that the run began with and this start does not name."""
    files = {file.path.absolute(): file for file in (*before, *now)}
    return tuple(files.values())


@contextlib.contextmanager
def open_run_again(
    target: str | Path, options: SendOptions, limits: Mapping[str, Any] | None = None
) -> Iterator[RunSession]:
    """Yield the session for the unfinished run that `target` names, with its own plan and kind, paused or not.

    `limits` replace those of its plan. Raises RunLocked while another process sends it, RunComplete when nothing is
    left to send or it is closed, LimitReached, StateError and UnknownRun.
    """
    with open_state(options.state_path, create=False) as state:
        run = state.find(target)
        with state.locks.hold_campaign(run.campaign, run.kind):
            run = state.ledger.run(run.run_id)
            if run.closed_at_ms is not None:
                refuse_held(run)
            counts = state.ledger.counts(run.run_id)
            if not counts.pending + counts.intent + counts.unknown:
                raise RunComplete(
                    f"run {run.run_id} has nothing left to send",
                    fix=f"`sender results {run.run_id}` shows the result",
                )
            if overtaken := count_overtaken(state, run):
                raise explain_overtaken(run, overtaken)
            plan = state.plan(run)
            check_routes(state, plan, plan, options)
            if needs_approval(plan, replace(options, rehearse=run.kind is RunKind.REHEARSAL)) is not None:
                _check_approved_again(state, run, plan, options, limits)
            _check_kind(run, find_run_kind(plan.manifest, rehearse=run.kind is RunKind.REHEARSAL))
            brakes.check_start(state, brakes.with_limits(plan, limits or {}), run, run.kind, limit=options.limit)
            yield RunSession(state, plan, run, resumed=True, files=files_of(plan, run.source), knowingly=True)


def _check_approved_again(
    state: State, run: Run, plan: Plan, options: SendOptions, limits: Mapping[str, Any] | None
) -> None:
    check_approval(state, plan, options, RunChoice(run))
    if limits:
        raise ApprovalMissing(
            f"the limits of run {run.run_id} were approved with it: {', '.join(limits)} cannot be changed",
            fix="leave out the options that change them",
        )


@contextlib.contextmanager
def open_shared_run(
    address: str, run_id: str, environment: Mapping[str, str]
) -> Iterator[tuple[RunSession, SendOptions] | None]:
    """Yield the session of a run that several machines send, for whoever sees it to its end; None where that is done.

    It is sent as it was ordered, with the credentials in `environment`. Raises RunLocked while another process does.
    """
    with open_state(address, create=False) as state:
        run = state.ledger.run(run_id)
        with state.locks.hold_campaign(run.campaign, run.kind):
            run = state.ledger.run(run_id)
            given = None if state.sharing is None else state.sharing.order(run_id)
            if given is None or given.is_ended or given.halted or run.is_held:
                if state.sharing is not None and given is not None:
                    state.sharing.end(run, is_over=False)
                yield None
                return
            order = Order.from_json(given.text)
            session = RunSession(state, state.plan(run), run, resumed=True)
            session.follow(order)
            yield session, order.options(address, environment)


def _new_run(now_ms: int, plan: Plan, kind: RunKind, options: SendOptions) -> Run:
    manifest = plan.manifest
    return Run(
        run_id=_new_run_id(now_ms),
        campaign=manifest.campaign,
        kind=kind,
        provider=manifest.provider,
        plan_hash=plan.hash,
        source=resolve_path(options.source) if options.source is not None else None,
        rows=manifest.rows,
        messages=manifest.messages,
        skipped=manifest.rows - manifest.messages,
        created_at_ms=now_ms,
        simulated=options.rehearse or manifest.provider == "sandbox",
        retry_of=manifest.retry_of,
    )


def _check_kind(run: Run, kind: RunKind) -> None:
    """Raise StateError when a run that is simulated would be resumed for real, or the other way round."""
    if run.kind is not kind or run.simulated is not (kind in (RunKind.SANDBOX, RunKind.REHEARSAL)):
        if kind is RunKind.TEST and run.kind is kind:
            return  # a test of either
        raise StateError(f"run {run.run_id} is recorded as {run.kind.value}, and this start is {kind.value}")


def _new_run_id(now_ms: int) -> str:
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
