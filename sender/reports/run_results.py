"""The results of one run, from its plan and its journal in the state, and what writing them must leave alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sender.core.errors import PlanError
from sender.core.lazy_modules import pl
from sender.core.output_files import Protected
from sender.core.read_ahead import read_ahead
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.reports.results import JOURNAL_COLUMNS, PLAN_COLUMNS, merge_retries, results_frame, results_of_rows
from sender.state.ledger import Run
from sender.state.message_status import read_journal
from sender.state.plans import RESULTS_FILE
from sender.state.state import State

BLOCK_ROWS = 32_768  # of results at a time: some 200 MiB, with those that are read meanwhile


def run_results(state: State, run: Run, *, with_body: bool = False) -> pl.DataFrame:
    """Every input row of the run with its outcome: the columns of `sender.reports.results.results_frame`.

    With `with_body` the text of each message is in one more column, the last.
    """
    plan = state.plan(run)
    moves = moves_of(state, run, plan)
    return results_frame(plan, read_journal(state, run), run.run_id, moves=moves, with_body=with_body)


def moves_of(state: State, run: Run, plan: Plan) -> pl.DataFrame | None:
    """The moves of a run with several routes; None where there is one."""
    return state.ledger.moves(run.run_id) if plan.manifest.routes else None


def read_results(state: State, run: Run, *, with_body: bool = False) -> Iterator[pl.DataFrame]:
    """Yield `run_results` in blocks of rows, so that memory does not grow with the run.

    What is being sent is one block, as is a plan in the order of the claims: its rows are of one moment, or have to be
    sorted.
    """
    plan = state.plan(run)
    is_sent_now = state.locks.holder(run.campaign, run.kind) is not None
    if is_sent_now or not _is_read_in_blocks(plan):
        yield run_results(state, run, with_body=with_body)
        return
    yield from _join_blocks(state, run, plan, with_body=with_body)


def final_results(state: State, run: Run, *, with_body: bool = False) -> Iterator[pl.DataFrame]:
    """Yield the results of a run that this process has sent and no longer sends, in blocks as `read_results` does.

    A message that is under way still has no outcome that anybody will record: it is unknown.
    """
    plan = state.plan(run)
    if _is_read_in_blocks(plan):
        yield from _join_blocks(state, run, plan, with_body=with_body)
        return
    journal, moves = state.ledger.journal(run.run_id, columns=JOURNAL_COLUMNS), moves_of(state, run, plan)
    yield results_frame(plan, journal, run.run_id, moves=moves, with_body=with_body)


def _is_read_in_blocks(plan: Plan) -> bool:
    return not plan.manifest.in_claim_order and plan.manifest.rows > BLOCK_ROWS


def _join_blocks(state: State, run: Run, plan: Plan, *, with_body: bool) -> Iterator[pl.DataFrame]:
    """Yield the results in blocks; nobody sends the run."""
    moves = moves_of(state, run, plan)
    for rows, journal in read_ahead(_read_blocks(state, run, plan)):
        yield results_of_rows(rows, plan.manifest, journal, run.run_id, moves=moves, with_body=with_body)


def _read_blocks(state: State, run: Run, plan: Plan) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield rows of a plan in file order, each block with the journal of its messages."""
    for rows in plan.blocks(BLOCK_ROWS, PLAN_COLUMNS):
        seqs = rows["seq"].drop_nulls()  # one after the other
        read = range(0) if seqs.is_empty() else range(seqs[0], seqs[-1] + 1)
        yield rows, state.ledger.journal(run.run_id, seqs=read, columns=JOURNAL_COLUMNS)


def latest_results(state: State, run: Run, *, with_body: bool = False) -> pl.DataFrame:
    """`run_results`, with each row from the newest retry that sent it."""
    return merge_retries([run_results(state, sent, with_body=with_body) for sent in (run, *state.retries(run))])


def own_results_path(state: State, run: Run) -> Path:
    """Where the run's results are written if no other file is named."""
    return state.plans.folder(run) / RESULTS_FILE


def protected_files(state: State, run: Run, manifest: Manifest | None = None) -> Protected:
    """What no file about the run may replace: its inputs, and the state except its own results.

    `manifest` is that of its plan; by default the one in the state, where there is one.
    """
    inputs: list[Path] = []
    for planned_run in (run, state.ledger.run(run.retry_of)) if run.retry_of else (run,):
        known = manifest if planned_run is run else None
        if known is None:
            with contextlib.suppress(PlanError):
                known = state.plans.manifest(planned_run)
        if known is not None:
            inputs += known.input_paths(planned_run.source)
        if planned_run.source is not None:
            inputs.append(Path(planned_run.source))
    return Protected(tuple(inputs), state.folder, own=(own_results_path(state, run),))
