"""Begins, resumes or refuses a run: unfinished runs are resumed, sent plans refused, changed inputs explained.

Shared by the command line and the library; never prints, asks or exits.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

from sender.core.errors import InputError, InputsChanged, RunComplete, StateError
from sender.core.outcomes import SkipReason
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.planning import costs
from sender.sending.options import SendOptions
from sender.sending.repeats import count_overtaken, count_repeated, explain_overtaken, refuse_repeated
from sender.sending.run import RunSession
from sender.state.ledger import Counts, Run, RunKind
from sender.state.open import open_state
from sender.state.runs import resolve_path
from sender.state.state import State


@contextlib.contextmanager
def open_run(plan: Plan, options: SendOptions) -> Iterator[RunSession]:
    """Yield the session for `plan`: of its unfinished run, or of a new one.

    Raises RunLocked, RunComplete, InputsChanged, CostLimit, StateError, and InputError for a plan without messages.
    """
    manifest = plan.manifest
    kind = _run_kind(manifest, rehearse=options.rehearse)
    simulated = options.rehearse or manifest.provider == "sandbox"
    if not manifest.messages:
        raise InputError(
            "there is nobody to send to: every row is skipped", fix="`sender plan` shows the reason for each row"
        )
    with open_state(options.state_dir) as state, state.locks.hold_campaign(manifest.campaign, kind):
        run = _choose_run(state, plan, kind, options)
        run_plan = plan if run is None else state.plan(run)
        is_same = run is None or _has_same_messages(state, run, plan)  # then today's prices and pace apply
        costs.check_limit(manifest.cost if is_same else run_plan.manifest.cost, manifest.cost)
        if run is not None:
            _check_kind(run, kind)
            yield RunSession(state, run_plan, run, resumed=True, pace=manifest.pace if is_same else None)
            return
        now_ms = state.ledger.now_ms()
        run = Run(
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
            simulated=simulated,
            retry_of=manifest.retry_of,
        )
        repeated = 0 if run.retry_of else count_repeated(state, plan, kind)
        yield RunSession(state, plan, run, resumed=False, repeated=repeated)


def _choose_run(state: State, plan: Plan, kind: RunKind, options: SendOptions) -> Run | None:
    """The run to resume or to settle; None to begin a new one. Raises InputError, InputsChanged and RunComplete."""
    again, new_run, resume = options.again, options.new_run, options.resume
    if again + new_run + resume > 1:
        raise InputError("only one of `again`, `new_run` and `resume` can be used", fix="choose one of them")
    if plan.manifest.retry_of is not None:
        return _find_unfinished_retry(state, plan, kind)
    runs = [run for run in state.runs_of(plan.manifest.campaign, kind) if run.retry_of is None]
    if new_run or kind is RunKind.TEST:
        return None
    counts = {run.run_id: state.ledger.counts(run.run_id) for run in runs}
    unfinished = [run for run in runs if counts[run.run_id].pending + counts[run.run_id].intent]
    overtaken = {run.run_id: count_overtaken(state, run) for run in unfinished}
    waiting = [run for run in unfinished if not overtaken[run.run_id]]
    same = [run for run in waiting if _has_same_messages(state, run, plan)]
    if resume and not unfinished:
        raise InputError(f"no run of {plan.manifest.campaign} is unfinished", fix="leave out --resume to begin one")
    if resume and not waiting:
        raise explain_overtaken(unfinished[-1], overtaken[unfinished[-1].run_id])
    if again and waiting:
        pending = counts[waiting[-1].run_id].pending
        raise InputsChanged(
            f"run {waiting[-1].run_id} of {waiting[-1].campaign} is unfinished:"
            f" {pending:,} {'message is' if pending == 1 else 'messages are'} pending",
            fix="--resume finishes it; --new-run leaves it and starts over with everybody",
        )
    if same or resume:
        return (same or waiting)[-1]
    if runs and not overtaken.get(runs[-1].run_id):
        _refuse_changed(state, runs[-1], counts[runs[-1].run_id], plan)
    if again:
        return None
    candidates = [run for run in runs if not overtaken.get(run.run_id)]
    sent = next((run for run in reversed(candidates) if _has_sent(state, run, counts[run.run_id], plan)), None)
    only_new = SkipReason.ALREADY_SENT in plan.manifest.skipped  # its people are fewer than its identity covers
    if sent is None or (only_new and not count_repeated(state, plan, kind)):
        refuse_repeated(state, plan, kind)
        return None
    if counts[sent.run_id].unknown and _has_same_messages(state, sent, plan) and not count_overtaken(state, sent):
        return sent  # nothing to send, but something to settle, which may become something to send
    raise _already_sent(sent, not_reached=plan.manifest.messages - count_repeated(state, plan, kind))


def _already_sent(run: Run, *, not_reached: int) -> RunComplete:
    """The error for a plan that the run has sent; `not_reached` of its people have not had it all the same."""
    people = "1 person who has" if not_reached == 1 else f"{not_reached:,} people who have"
    only_new = f" --only-new sends to the {people} not had it;" if not_reached else ""
    return RunComplete(
        f"this plan of {run.campaign} has been sent: run {run.run_id} of {_utc(run.created_at_ms)}",
        fix=f"`sender results {run.run_id}` shows what became of it;{only_new} --again sends it to everybody once more",
    )


def _has_same_messages(state: State, run: Run, plan: Plan) -> bool:
    """Whether the run sends the messages of `plan` through the same provider.

    People whom the suppression list or `--only-new` leaves out of one of the two make no difference.
    """
    if run.plan_hash == plan.hash:
        return True
    stored, manifest = state.plans.manifest(run), plan.manifest
    return (
        stored is not None
        and (stored.provider, stored.dialect) == (manifest.provider, manifest.dialect)
        and stored.identity == plan.identity
    )


def _has_sent(state: State, run: Run, counts: Counts, plan: Plan) -> bool:
    """Whether the run, with these counts, has sent the messages of `plan`.

    Another provider makes no difference once somebody has been reached, but it does for a simulation, which reaches
    nobody.
    """
    stored = state.plans.manifest(run)
    if (stored.edition if stored is not None else "") != plan.manifest.edition:
        return False
    reached = counts.accepted + counts.unknown > 0 and not counts.pending + counts.intent
    if run.simulated or not reached or run.plan_hash == plan.hash:
        return _has_same_messages(state, run, plan)
    return stored is not None and stored.identity == plan.identity


def _check_kind(run: Run, kind: RunKind) -> None:
    """Raise StateError when a run that is simulated would be resumed for real, or the other way round."""
    if run.kind is not kind or run.simulated is not (kind in (RunKind.SANDBOX, RunKind.REHEARSAL)):
        if kind is RunKind.TEST and run.kind is kind:
            return  # a test of either
        raise StateError(f"run {run.run_id} is recorded as {run.kind.value}, and this start is {kind.value}")


def _find_unfinished_retry(state: State, plan: Plan, kind: RunKind) -> Run | None:
    """The unfinished run of a retry's plan; None to begin one. A rehearsed retry is none of a live run's."""
    manifest = plan.manifest
    retries = [run for run in state.ledger.runs() if run.retry_of == manifest.retry_of and run.kind is kind]
    for number, run in enumerate(retries, 1):
        counts = state.ledger.counts(run.run_id)
        if counts.pending + counts.intent and number == manifest.retry and _has_same_messages(state, run, plan):
            return run
    if len(retries) != manifest.retry - 1:  # or the same people would get it twice
        raise RunComplete(
            f"run {manifest.retry_of} has been retried since this plan was made: run {retries[-1].run_id}",
            fix=f"`sender retry {manifest.retry_of}` makes a plan of what has still not arrived",
        )
    return None


def _refuse_changed(state: State, last: Run, counts: Counts, plan: Plan) -> None:
    """Raise InputsChanged when the newest run is unfinished, began with other inputs, and has reached somebody."""
    if not counts.pending + counts.intent or not counts.accepted + counts.unknown + counts.intent:
        return
    changes = "; ".join(_changes(state.plan(last).manifest, plan.manifest))
    raise InputsChanged(
        f"run {last.run_id} of {last.campaign} is unfinished ({counts.accepted} of {last.messages} accepted),"
        f" and the inputs changed since it began: {changes}",
        fix="--resume finishes it with the plan it began with; --new-run starts over and texts those"
        f" {counts.accepted} again if they are still in the list",
    )


def _changes(before: Manifest, after: Manifest) -> Iterator[str]:
    """Each change of the inputs, as a phrase."""
    old, new = ({(file.role, file.path): file.sha256 for file in manifest.inputs} for manifest in (before, after))
    for role, path in sorted({*old, *new}):
        if (role, path) not in new:
            yield f"{role} {path} is no longer used"
        elif (role, path) not in old:
            yield f"{role} {path} is new"
        elif old[role, path] != new[role, path]:
            yield f"{role} {path} changed"
    for name in ("provider", "dialect"):
        if getattr(before, name) != getattr(after, name):
            yield f"{name}: {getattr(before, name)} became {getattr(after, name)}"
    if before.senders != after.senders:
        yield f"from: {', '.join(before.senders) or 'none'} became {', '.join(after.senders) or 'none'}"
    elif before.pool != after.pool:
        yield "from: the weights or the `match` of the pool changed"
    was, now = ({**manifest.fields, **manifest.templates} for manifest in (before, after))
    for key in sorted({*was, *now}):
        if was.get(key) != now.get(key):
            yield f"{key}: {was.get(key, 'not set')} became {now.get(key, 'not set')}"
    for name, version in before.versions.items():
        if after.versions.get(name) != version:
            yield f"{name} {version} became {after.versions.get(name)}"
    if before.messages != after.messages:
        yield f"{before.messages} messages became {after.messages}"


def _run_kind(manifest: Manifest, *, rehearse: bool) -> RunKind:
    return RunKind.TEST if manifest.test_to is not None else RunKind.of(manifest.provider, rehearse=rehearse)


def _new_run_id(now_ms: int) -> str:
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def _utc(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
