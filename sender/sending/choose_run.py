"""Which run a start means: the unfinished one that it resumes, a new one, or none, with the reason.

Decides from the plan, the options and what the state knows; reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sender import providers
from sender.core.errors import InputError, InputsChanged, RunComplete, RunPaused
from sender.core.local_time import format_utc_and_local
from sender.core.outcomes import CancelReason, SkipReason
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.sending.options import SendOptions
from sender.sending.repeats import count_overtaken, count_repeated, explain_overtaken, refuse_repeated
from sender.state.approvals import RunApproval
from sender.state.contacts import find_reached_later
from sender.state.ledger import Run, RunKind
from sender.state.state import State


@dataclass(frozen=True, slots=True)
class RunChoice:
    """The run to resume or to settle (None: begin a new one), and the runs that end when the new one begins.

    `approval` is by what the new one begins, where it needs an approval.
    """

    run: Run | None
    closes: tuple[str, ...] = ()
    reason: CancelReason = CancelReason.SUPERSEDED
    approval: RunApproval | None = None


def find_run_kind(manifest: Manifest, *, rehearse: bool) -> RunKind:
    """Return the kind of run that a start of this plan is."""
    return RunKind.TEST if manifest.test_to is not None else RunKind.of(manifest.provider, rehearse=rehearse)


def choose_run(state: State, plan: Plan, kind: RunKind, options: SendOptions) -> RunChoice:
    """Return which run a start of `plan` means. Raises InputError, InputsChanged, RunComplete and RunPaused."""
    if options.again + options.new_run + options.resume > 1:
        raise InputError("only one of `again`, `new_run` and `resume` can be used", fix="choose one of them")
    if plan.manifest.retry_of is not None:
        run = _refuse_paused(_find_unfinished_retry(state, plan, kind))
        if run is None:
            _refuse_overtaken_retry(state, plan, kind)
        return RunChoice(run)
    if kind is RunKind.TEST:
        return RunChoice(None)
    return _StartChooser(state, plan, kind, options).choose()


class _StartChooser:
    """The runs of a plan's campaign as one start finds them."""

    def __init__(self, state: State, plan: Plan, kind: RunKind, options: SendOptions) -> None:
        self._state = state
        self._plan = plan
        self._kind = kind
        self._options = options
        every = state.runs_of(plan.manifest.campaign, kind)
        self._counts = {run.run_id: state.ledger.counts(run.run_id) for run in every}
        self._runs = [run for run in every if run.retry_of is None]
        self._open = [run for run in every if self._is_unfinished(run)]  # retries, too
        unfinished = [run for run in self._runs if self._is_unfinished(run)]
        self._overtaken = {run.run_id: count_overtaken(state, run) for run in unfinished}
        self._unfinished = unfinished
        self._waiting = [run for run in unfinished if not self._overtaken[run.run_id]]

    def choose(self) -> RunChoice:
        options = self._options
        if options.new_run:
            return RunChoice(None, tuple(run.run_id for run in self._open), CancelReason.ABANDONED)
        if options.resume:
            return RunChoice(_refuse_paused(self._choose_resumed()))
        if options.again:
            self._refuse_again()
        same = [run for run in self._waiting if self._is_same(run)]
        policy = options.on_unfinished or self._plan.manifest.on_unfinished
        if same:
            return RunChoice(_refuse_paused(same[-1]))
        if self._waiting and policy == "resume" and not self._only_new:
            return RunChoice(_refuse_paused(self._waiting[-1]))
        closes_all = policy == "close"
        if not self._only_new and not closes_all:
            self._refuse_changed()
        if not options.again and (settled := self._refuse_sent()) is not None:
            return RunChoice(settled)
        return RunChoice(None, self._closed_by_a_new_run(closes_all=closes_all))

    @property
    def _only_new(self) -> bool:
        manifest = self._plan.manifest
        return manifest.only_new or SkipReason.ALREADY_SENT in manifest.skipped

    def _is_unfinished(self, run: Run) -> bool:
        counts = self._counts[run.run_id]
        return run.closed_at_ms is None and counts.pending + counts.intent > 0

    def _is_same(self, run: Run) -> bool:
        """Whether resuming the run sends the plan. With `--only-new`, another account ends it instead."""
        stored = self._state.plans.manifest(run)
        if stored is not None and stored.edition != self._plan.manifest.edition:
            return False
        if not has_same_messages(self._state, run, self._plan):
            return False
        return not self._only_new or not self._is_sent_elsewhere(run)

    def _is_sent_elsewhere(self, run: Run) -> bool:
        """Whether the credentials belong to another account than the run's, or lead to another address."""
        if run.simulated:
            return False
        adapter = providers.adapter(self._plan.manifest.provider, self._options.environment)
        return run.account not in (None, adapter.account_id) or run.base_url not in (None, adapter.base_url)

    def _choose_resumed(self) -> Run:
        campaign = self._plan.manifest.campaign
        if not self._unfinished:
            for run in reversed(self._runs):
                refuse_held(run)
            raise InputError(f"no run of {campaign} is unfinished", fix="leave out --resume to begin a new run")
        if not self._waiting:
            last = self._unfinished[-1]
            raise explain_overtaken(last, self._overtaken[last.run_id])
        same = [run for run in self._waiting if has_same_messages(self._state, run, self._plan)]
        return (same or self._waiting)[-1]

    def _refuse_again(self) -> None:
        if not self._waiting:
            return
        run = self._waiting[-1]
        pending = self._counts[run.run_id].pending
        raise InputsChanged(
            f"run {run.run_id} of {run.campaign} is unfinished:"
            f" {pending:,} {'message is' if pending == 1 else 'messages are'} pending",
            fix=f"--resume finishes it; `sender close {run.run_id}` ends it, and then --again sends to everybody;"
            " --new-run does both at once",
        )

    def _refuse_changed(self) -> None:
        """Raise InputsChanged when the newest run is unfinished, began with other inputs, and has reached somebody."""
        last = self._runs[-1] if self._runs else None
        if last is None or last not in self._waiting:
            return
        counts = self._counts[last.run_id]
        if not counts.accepted + counts.unknown + counts.intent:
            return
        changes = "; ".join(describe_changes(self._state.plan(last).manifest, self._plan.manifest))
        raise InputsChanged(
            f"run {last.run_id} of {last.campaign} is unfinished ({counts.accepted} of {last.messages} accepted),"
            f" and the inputs changed since it began: {changes}",
            fix="--resume finishes it with its own plan; --only-new ends it and sends to the people who have not"
            f" had the message; `sender close {last.run_id}` ends it; --new-run starts over, and texts people"
            " who have had the message again if they are still on the list",
        )

    def _refuse_sent(self) -> Run | None:
        """The run to settle, which has sent the plan; None to begin one. Raises RunComplete."""
        state, plan = self._state, self._plan
        candidates = [run for run in self._runs if not self._overtaken.get(run.run_id)]
        sent = next((run for run in reversed(candidates) if self._has_sent(run)), None)
        if sent is None or (self._only_new and not count_repeated(state, plan, self._kind)):
            refuse_repeated(state, plan, self._kind)
            return None
        is_open = sent.closed_at_ms is None and not count_overtaken(state, sent)
        if self._counts[sent.run_id].unknown and is_open and has_same_messages(state, sent, plan):
            return sent  # nothing to send, but something to settle, which may become something to send
        raise _already_sent(sent, not_reached=plan.manifest.messages - count_repeated(state, plan, self._kind))

    def _has_sent(self, run: Run) -> bool:
        """Whether the run has sent the messages of the plan.

        Another provider makes no difference once somebody has been reached, but it does for a simulation, which reaches
        nobody.
        """
        counts, stored = self._counts[run.run_id], self._state.plans.manifest(run)
        if (stored.edition if stored is not None else "") != self._plan.manifest.edition:
            return False
        has_reached = counts.accepted + counts.unknown > 0
        if run.closed_at_ms is not None and not has_reached:
            return False
        is_over = has_reached and not counts.pending + counts.intent
        if run.simulated or not is_over or run.plan_hash == self._plan.hash:
            return has_same_messages(self._state, run, self._plan)
        return stored is not None and stored.identity == self._plan.identity

    def _closed_by_a_new_run(self, *, closes_all: bool) -> tuple[str, ...]:
        """The unfinished runs that end when a new run begins: those of its edition, or all of them."""
        edition = self._plan.manifest.edition

        def ends(run: Run) -> bool:
            stored = self._state.plans.manifest(run)
            return closes_all or stored is None or stored.edition == edition

        return tuple(run.run_id for run in self._open if ends(run))


def has_same_messages(state: State, run: Run, plan: Plan) -> bool:
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


def refuse_held(run: Run) -> None:
    """Raise RunPaused for a paused run, and RunComplete for a closed one."""
    _refuse_paused(run)
    if run.closed_at_ms is not None:
        raise RunComplete(
            f"run {run.run_id} of {run.campaign} was closed on {_moment(run.closed_at_ms)} by {run.closed_by}",
            fix=f"`sender retry {run.run_id} --status canceled` sends what was canceled; --only-new with the campaign"
            " sends to everybody who has not had it",
        )


def format_utc(epoch_ms: int) -> str:
    """The time for a person: `2026-11-28 23:10 UTC`."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _moment(epoch_ms: int) -> str:
    """The time for a sentence, by this machine's clock, too."""
    return format_utc_and_local(datetime.fromtimestamp(epoch_ms / 1000, UTC), seconds=False)


def _refuse_paused(run: Run | None) -> Run | None:
    if run is not None and run.paused_at_ms is not None:
        raise RunPaused(
            f"run {run.run_id} of {run.campaign} was paused on {_moment(run.paused_at_ms)} by {run.paused_by}",
            fix=f"`sender resume {run.run_id}` lifts the pause and sends the rest; `sender close {run.run_id}` ends it",
        )
    return run


def _already_sent(run: Run, *, not_reached: int) -> RunComplete:
    """The error for a plan that the run has sent; `not_reached` of its people have not had it all the same."""
    people = "1 person who has" if not_reached == 1 else f"{not_reached:,} people who have"
    only_new = f" --only-new sends to the {people} not had it;" if not_reached else ""
    closed = "" if run.closed_at_ms is None else f", closed by {run.closed_by}"
    return RunComplete(
        f"this plan of {run.campaign} has been sent: run {run.run_id} of {_moment(run.created_at_ms)}{closed}",
        fix=f"`sender results {run.run_id}` shows the result;{only_new} --again sends it to everybody once more",
    )


def _find_unfinished_retry(state: State, plan: Plan, kind: RunKind) -> Run | None:
    """The unfinished run of a retry's plan; None to begin one. A rehearsed retry is none of a live run's."""
    manifest = plan.manifest
    retries = [run for run in state.ledger.runs() if run.retry_of == manifest.retry_of and run.kind is kind]
    for number, run in enumerate(retries, 1):
        counts = state.ledger.counts(run.run_id)
        is_unfinished = counts.pending + counts.intent and run.closed_at_ms is None
        if is_unfinished and number == manifest.retry and has_same_messages(state, run, plan):
            return run
    _refuse_stale_retry(manifest, retries)
    return None


def _refuse_stale_retry(manifest: Manifest, retries: Sequence[Run]) -> None:
    """Raise RunComplete where the run has been retried since the plan was made: people would get it twice."""
    if len(retries) != manifest.retry - 1:
        newest = f": run {retries[-1].run_id}" if retries else ""
        raise RunComplete(
            f"run {manifest.retry_of} has been retried since this plan was made{newest}",
            fix=f"`sender retry {manifest.retry_of}` makes a plan of what has still not arrived",
        )


def _refuse_overtaken_retry(state: State, plan: Plan, kind: RunKind) -> None:
    """Raise RunComplete where somebody in a retry's plan has had the message from a later run since it was made."""
    root = state.ledger.run(plan.manifest.retry_of or "")
    people = find_reached_later(state, root, plan.manifest, kind, plan.recipients()).height
    if people:
        raise RunComplete(
            f"{people:,} {'person has' if people == 1 else 'people have'} had {root.campaign} since this plan was made",
            fix=f"`sender retry {root.run_id}` makes a plan of what has still not arrived",
        )


def describe_changes(before: Manifest, after: Manifest) -> Iterator[str]:
    """Each change of the inputs, as a phrase."""
    old, new = (  # suppression files are read again at each start: a change of theirs changes nothing that is sent
        {(file.role, file.path): file.sha256 for file in manifest.inputs if file.role != "suppress"}
        for manifest in (before, after)
    )
    for role, path in sorted({*old, *new}):
        if (role, path) not in new:
            yield f"{role} {path} is no longer used"
        elif (role, path) not in old:
            yield f"{role} {path} is new"
        elif old[role, path] != new[role, path]:
            yield f"{role} {path} changed"
    for name in ("edition", "provider", "dialect"):
        if getattr(before, name) != getattr(after, name):
            yield f"{name}: {getattr(before, name) or 'none'} became {getattr(after, name) or 'none'}"
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
        yield f"{before.messages} {'message' if before.messages == 1 else 'messages'} became {after.messages}"
