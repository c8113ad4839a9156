"""Erases a person from a state: plans, results, ledger, suppression list. What stays is that the person was reached.

A keyed hash of the number takes its place, so that nobody is texted twice, or after opting out, because a person was
erased. Every step can be repeated: after a kill, the same call completes what was begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from sender.core.errors import PlanError, RunLocked
from sender.core.lazy_modules import pl
from sender.core.outcomes import CancelReason, SkipReason, SubmissionState
from sender.phone.typed import read_number
from sender.state.files.failures import writing_explained
from sender.state.ledger import Run, RunKind
from sender.state.people import Person
from sender.state.state import State


@dataclass(frozen=True, slots=True)
class ErasedFromRun:
    """What was erased from one run: its plan's `rows` about the person, of which `messages` were messages.

    `canceled` messages were pending and are not sent any more; `unknown` ones may have been sent, and stay unknown.
    """

    run_id: str
    campaign: str
    rows: int
    messages: int
    canceled: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` did about `number`.

    `runs` are those that it was erased from, `plans` counts written plans, `entries` those of the suppression list that
    hold on for its hash, `replies` those of the person, which are blank now. `texts` counts messages to others that
    mention it, which are left as they are. `outside` are files outside the state that may hold it; `unread` are runs
    whose plan is gone or damaged. `compacted` is False where another run is being sent, so that free space of the
    ledger may still hold what was erased. `facts` counts what lookups and answers had said of the number.
    """

    number: str
    runs: tuple[ErasedFromRun, ...]
    plans: int
    entries: int
    replies: int
    texts: int
    outside: tuple[Path, ...]
    unread: tuple[str, ...]
    compacted: bool
    facts: int = 0


@dataclass(frozen=True, slots=True)
class _Trace:
    """What a run has of the person: rows still in its plan, and rows erased before."""

    run: Run
    rows: pl.DataFrame
    texts: int
    concern: bool


def find_runs(state: State, number: str, *, region: str | None = None) -> list[Run]:
    """The runs that hold the number, or have held it. Raises InputError when the number cannot be read."""
    traces, _ = _find_traces(state, Person.of(read_number(number, region)))
    return [trace.run for trace in traces]


def forget(state: State, number: str, *, region: str | None = None) -> Forgotten:
    """Erase the person with `number`, in any form that a person types, and return what was done.

    `region` (two letters) is the country of a number without its country code. Raises RunLocked, before anything is
    changed, while another process sends a run that holds the number; InputError when the number cannot be read, and
    StateError when the state cannot be written.
    """
    person = Person.of(number := read_number(number, region))
    with writing_explained(state.folder), ExitStack() as stack:
        held: set[tuple[str, RunKind]] = set()
        for run in filter(state.plans.is_torn, state.ledger.runs()):
            _hold(state, stack, held, [run])
            state.plans.recover(run)
        traces, _ = _find_traces(state, person)
        _hold(state, stack, held, (trace.run for trace in traces))
        traces, unread = _find_traces(state, person)  # as they are now that nobody sends them
        _hold(state, stack, held, (trace.run for trace in traces))
        for trace in traces:
            _refuse_while_others_send(state, trace.run)
        state.people.create()
        key = state.people.hash(number)
        runs = [_erase_from_run(state, trace, person, key) for trace in traces]
        plans = state.plans.erase_written(person)
        _opt_out_undecided(state, number)
        entries = state.suppressions.erase(number)
        replies = _erase_replies(state, number)
        facts = _erase_facts(state, number)
        sentences = state.ledger.erase_mentions(person.digits)
        entries_before = len(state.suppressions.history(number))
        compacted = _compact(state, stack, held) if runs or plans or entries_before or sentences else True
    return Forgotten(
        number,
        tuple(run for run in runs if run.rows),
        plans,
        entries,
        replies,
        sum(trace.texts for trace in traces),
        tuple(_outside(state, [trace.run for trace in traces])),
        tuple(unread),
        compacted,
        facts,
    )


def _erase_replies(state: State, number: str) -> int:
    with closing(state.open_replies()) as replies:
        erased = replies.erase(number)
        replies.compact()
    return erased


def _erase_facts(state: State, number: str) -> int:
    """Drop what is known of the number, where anything is; return how many facts there were."""
    with closing(state.open_numbers(create=False)) as known:
        facts = known.erase([number])
        known.compact()
    return facts


def _opt_out_undecided(state: State, number: str) -> None:
    """Count a reply of the person that nobody has decided about as an opt-out: its text is about to be erased."""
    held = [
        row for row, counts in state.suppressions.history(number) if counts and row.reason == SkipReason.UNDER_REVIEW
    ]
    state.suppressions.add(row._replace(reason=SkipReason.OPTED_OUT.value, note=None) for row in held)


def _find_traces(state: State, person: Person) -> tuple[list[_Trace], list[str]]:
    """What each run has of the person, and the ids of runs that cannot be read."""
    key = state.people.hash(person.number)
    traces: list[_Trace] = []
    unread: list[str] = []
    for run in state.ledger.runs():
        erased = state.plans.erased(run).filter(pl.col("key") == key) if key is not None else None
        known = pl.DataFrame(schema={"row_number": pl.UInt32(), "seq": pl.UInt32()})
        if erased is not None:
            known = erased.select("row_number", "seq")
        try:
            found = None if state.plans.pruned_at(run) else state.plans.find(run, person)
        except PlanError:
            unread.append(run.run_id)
            continue
        rows = known if found is None else pl.concat([known, found.rows]).unique("row_number", maintain_order=True)
        concern = found is not None and found.concern
        texts = 0 if found is None else found.texts
        if rows.height or concern or texts:
            traces.append(_Trace(run, rows, texts, concern))
    return traces, unread


def _hold(state: State, stack: ExitStack, held: set[tuple[str, RunKind]], runs: Iterable[Run]) -> None:
    """Keep other processes from sending the campaigns of these runs, until the stack is left. Raises RunLocked."""
    for run in runs:
        if (run.campaign, run.kind) not in held:
            stack.enter_context(state.locks.hold_campaign(run.campaign, run.kind))
            held.add((run.campaign, run.kind))


def _refuse_while_others_send(state: State, run: Run) -> None:
    """Raise RunLocked while other machines send the run, which go on when whoever held it has left or died."""
    if state.sharing is None or not state.sharing.is_shared(run):
        return
    state.ledger.orphans_to_unknown(run.run_id)
    if state.sharing.shifts(run.run_id) or state.ledger.counts(run.run_id).intent:
        raise _is_sent_by_others(run)


def _is_sent_by_others(run: Run) -> RunLocked:
    return RunLocked(
        f"{run.campaign} is being sent by other machines",
        fix=f"`sender pause {run.run_id}`, then repeat the command once `sender workers` shows no sender of the run",
    )


def _erase_from_run(state: State, trace: _Trace, person: Person, key: int | None) -> ErasedFromRun:
    run, rows = trace.run, trace.rows
    seqs = rows["seq"].drop_nulls().to_list()
    state.plans.note_erased(run, rows.with_columns(key=pl.lit(key, pl.UInt64())))
    state.ledger.orphans_to_unknown(run.run_id)
    canceled = state.ledger.cancel(run.run_id, seqs, CancelReason.FORGOTTEN)
    if state.ledger.journal(run.run_id, states=[SubmissionState.INTENT], seqs=seqs).height:
        raise _is_sent_by_others(run)  # one of them began this moment; its answer may make the message pending again
    unknown = state.ledger.journal(run.run_id, states=[SubmissionState.UNKNOWN], seqs=seqs).height
    changed = state.plans.erase(run, person, rows["row_number"].to_list())
    if state.sharing is not None:  # now that no plan has the number any more, which it may hold back
        state.sharing.erase(run, person.number)
    state.ledger.erase_sentences(run.run_id, seqs=seqs)
    touched = rows.height if trace.concern or changed or canceled else 0
    return ErasedFromRun(run.run_id, run.campaign, touched, len(seqs), canceled, unknown)


def _compact(state: State, stack: ExitStack, held: set[tuple[str, RunKind]]) -> bool:
    """Compact the files unless a run is being sent, which must not wait for it; return whether it was done."""
    try:
        _hold(state, stack, held, state.ledger.runs())
    except RunLocked:
        return False
    state.suppressions.compact()
    state.ledger.compact()
    return True


def _outside(state: State, runs: Iterable[Run]) -> Iterator[Path]:
    """Files outside the state that these runs were made from or have written, and that exist."""
    seen: set[Path] = set()
    for run in runs:
        manifest = state.plans.manifest(run)
        named = [] if manifest is None else list(manifest.input_paths(run.source))
        source = [] if run.source is None else [Path(run.source)]
        for file in (*source, *named, *state.plans.outputs(run)):
            resolved = file.resolve()
            if resolved not in seen and resolved.is_file():
                seen.add(resolved)
                yield resolved
