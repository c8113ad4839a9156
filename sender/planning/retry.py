"""A new plan out of the messages of a finished run that did not arrive. Sends nothing by itself.

A row counts as what became of it last: retries of a run are looked through before a row is chosen, so that running
`retry` again sends only what still has not arrived. Texts and row numbers stay as they were.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import polars as pl

from sender.core.errors import ApprovalMissing, InputError, RunUnfinished
from sender.core.outcomes import CancelReason, Reason, Status, SubmissionState
from sender.plan.hashes import ContentHash
from sender.plan.manifest import FORMAT
from sender.plan.plan import Plan
from sender.planning.audience import skip_already_sent
from sender.planning.stored_messages import hold_back, number_messages, read_rows, recount
from sender.state.contacts import find_reached_later
from sender.state.ledger import Run, RunKind
from sender.state.message_status import what_became
from sender.state.state import State

# What may be chosen by its status. The others are not over yet, or never were messages.
STATUSES = (Status.FAILED, Status.UNDELIVERED, Status.REJECTED, Status.CANCELED, Status.UNCONFIRMED)
BY_DEFAULT = (Status.FAILED, Status.UNDELIVERED, Status.REJECTED)
# What may have changed since: the handset is on again, the day is a new one, the night is over, the account has funds,
# the sender is registered. The rest fails again (no such number, a landline) or makes things worse (blocked, filtered).
TEMPORARY = (
    Reason.UNREACHABLE,
    Reason.EXPIRED,
    Reason.RATE_LIMITED,
    Reason.DAILY_CAP,
    Reason.QUIET_HOURS,
    Reason.INSUFFICIENT_FUNDS,
    Reason.UNAUTHORIZED,
    Reason.UNREGISTERED,
    Reason.SENDER_NOT_ALLOWED,
)
NO_REASON = "none"  # a message that failed without one
REASONS = (*dict.fromkeys([*map(str, Reason), *map(str, CancelReason)]), NO_REASON)
# What a person has to be sure of first: such a message is never sent again by its status alone.
_NEVER = (CancelReason.OPTED_OUT, CancelReason.UNDER_REVIEW, CancelReason.FORGOTTEN)


def retry_plan(
    state: State,
    run: Run,
    *,
    statuses: Collection[str] = (),
    reasons: Collection[str] = (),
    include_unknown: bool = False,
    include_delivered: bool = False,
    include_opted_out: bool = False,
    rehearse: bool = False,
) -> Plan:
    """The plan that sends messages of `run` again; where a retry of the run is unfinished, that retry's plan.

    `statuses` are of STATUSES (default BY_DEFAULT); `reasons` are Reason values or `none` (default: TEMPORARY, and what
    failed after acceptance for another or no reason). Messages that may have arrived (unknown, delivered) and people
    who have opted out are left out unless they are included; numbers on the suppression list are skipped in any case.
    With `rehearse` the retry of a live run will be a rehearsal; rehearsed retries and live ones do not count for each
    other.
    Raises RunUnfinished when the run itself is not finished, ApprovalMissing where an approved run would reach somebody
    twice, InputError when nothing is left to send.
    """
    _check_choice(statuses, reasons, include_opted_out=include_opted_out)
    root = state.ledger.run(run.retry_of) if run.retry_of else run
    if include_unknown or include_delivered or include_opted_out:
        _refuse_approved(state, root)
    kind = RunKind.REHEARSAL if rehearse and root.kind is RunKind.LIVE else root.kind
    retries = [retry for retry in state.retries(root) if retry.kind is kind]
    for run_or_retry in (root, *retries):
        counts = state.ledger.counts(run_or_retry.run_id)
        if counts.pending or counts.intent:
            if run_or_retry is not root:
                return state.plan(run_or_retry)
            raise RunUnfinished(
                f"run {root.run_id} is unfinished: {counts.pending + counts.intent:,} messages are pending",
                fix="send the campaign again to finish it, then retry what failed",
            )
    chosen = _is_chosen(statuses, reasons, include_opted_out=include_opted_out)
    if include_unknown:
        chosen |= pl.col("status") == Status.UNKNOWN
    if include_delivered:
        chosen |= pl.col("status") == Status.DELIVERED
    messages = _newest_statuses(state, (root, *retries))
    rows = messages.filter(chosen)["row_number"]
    if rows.is_empty():
        raise InputError(
            f"run {root.run_id} has no message to send again: {_status_counts(messages)}",
            fix="name another run, or choose with --status and --reason; `sender results` shows each status",
        )
    return _plan(state, (root, *retries), rows, kind)


def find_taken_over(state: State, plan: Plan, kind: RunKind) -> dict[str, list[int]]:
    """The unknown messages that a retry's plan sends again: their `seq`, by the id of the run they are in."""
    root = state.ledger.run(plan.manifest.retry_of or "")
    sent = plan.scan().filter(pl.col("seq").is_not_null()).select("row_number").collect()["row_number"]
    taken_over: dict[str, list[int]] = {}
    for run in (root, *(retry for retry in state.retries(root) if retry.kind is kind)):
        unknown = state.ledger.journal(run.run_id, states=[SubmissionState.UNKNOWN])["seq"]
        if kind is root.kind and not unknown.is_empty():
            rows = state.plan(run).scan().filter(pl.col("seq").is_in(unknown.implode()))
            seqs = rows.filter(pl.col("row_number").is_in(sent.implode())).select("seq").collect()["seq"]
            taken_over[run.run_id] = seqs.to_list()
    return taken_over


def _refuse_approved(state: State, root: Run) -> None:
    """Raise ApprovalMissing for a run whose approval was for one message to each person."""
    if state.approvals.of_run(root) is not None:
        raise ApprovalMissing(
            f"run {root.run_id} was approved to reach each person once, and these may have had its message",
            fix="leave out --include-unknown, --include-delivered and --include-opted-out",
        )


def _check_choice(statuses: Collection[str], reasons: Collection[str], *, include_opted_out: bool) -> None:
    for status in statuses:
        if status not in STATUSES:
            why = {
                Status.UNKNOWN: "it may have arrived; --include-unknown sends it anyway",
                Status.DELIVERED: "it has arrived; --include-delivered sends it anyway",
            }.get(Status(status) if status in set(Status) else Status.SKIPPED, f"choose one of {', '.join(STATUSES)}")
            raise InputError(f"cannot retry by status `{status}`", fix=why)
    for reason in reasons:
        if reason not in REASONS:
            raise InputError(f"there is no reason `{reason}`", fix=f"choose one of {', '.join(REASONS)}")
        if reason == Reason.OPTED_OUT and not include_opted_out:
            raise InputError(
                "these people have opted out", fix="use --include-opted-out if they have opted in again since"
            )


def _is_chosen(statuses: Collection[str], reasons: Collection[str], *, include_opted_out: bool) -> pl.Expr:
    """Whether a message's `status` and `reason` are among those to send again."""
    status, reason = pl.col("status"), pl.col("reason")
    # Which only `--status canceled` takes: what was decided here after planning was decided for a reason.
    ours = status.eq(Status.CANCELED.value) & reason.is_in(list(CancelReason)).fill_null(value=False)
    after_acceptance = status.is_in([Status.FAILED, Status.UNDELIVERED, Status.CANCELED, Status.UNCONFIRMED])
    by_status = status.is_in(list(statuses or BY_DEFAULT))
    if reasons:
        by_reason = reason.fill_null(NO_REASON).is_in(list(reasons))
    else:
        by_reason = (
            reason.is_in(TEMPORARY) | (after_acceptance & reason.fill_null(Reason.OTHER).eq(Reason.OTHER)) | ours
        )
    opted_out = reason.eq_missing(pl.lit(Reason.OPTED_OUT.value))
    chosen = by_status & by_reason & ~opted_out & ~(ours & reason.is_in(list(_NEVER)).fill_null(value=False))
    if include_opted_out:
        chosen |= opted_out & status.is_in([Status.REJECTED, Status.CANCELED, Status.FAILED, Status.UNDELIVERED])
    return chosen


def _newest_statuses(state: State, runs: tuple[Run, ...]) -> pl.DataFrame:
    """`row_number, status, reason` of every message, from the newest run that did not cancel it."""
    root, *retries = runs
    statuses = [what_became(state.plan(root), state.ledger.journal(root.run_id))]
    for retry in retries:
        plan, journal = state.plan(retry), state.ledger.journal(retry.run_id)
        canceled = journal.filter(pl.col("state") == SubmissionState.CANCELED)["seq"]  # the retry did not send these
        rows = plan.scan().filter(pl.col("seq").is_in(canceled.implode())).select("row_number").collect()["row_number"]
        statuses.append(what_became(plan, journal).filter(~pl.col("row_number").is_in(rows.implode())))
    return pl.concat(statuses).unique("row_number", keep="last", maintain_order=True).sort("row_number")


def _status_counts(messages: pl.DataFrame) -> str:
    counts = messages["status"].value_counts(name="n").sort("n", descending=True)
    return ", ".join(f"{n:,} {status}" for status, n in counts.iter_rows()) or "there are no messages"


def _plan(state: State, runs: tuple[Run, ...], rows: pl.Series, kind: RunKind) -> Plan:
    """The plan of the next retry, of these rows. `runs` are the root and its retries."""
    root, number = runs[0], len(runs)
    source = state.plan(root)
    before = source.manifest
    chosen = read_rows(source, pl.col("row_number").is_in(rows.implode()))
    held, mark = hold_back(state, root, source, chosen)
    later = find_reached_later(state, root, before, kind, held["to"])
    frame = number_messages(skip_already_sent(held, later))
    settings = {"retry_of": root.run_id, "retry": number, "plan": before.plan_hash}
    digest = ContentHash(settings, before.fields)
    digest.update(chosen.with_columns(seq=pl.int_range(pl.len(), dtype=pl.UInt32)))
    manifest = replace(
        recount(before, frame, mark),
        canary=None,  # its people are those who did not get it: they say nothing about others
        retry_of=root.run_id,
        retry=number,
        plan_hash=digest.hexdigest(),
        identity=digest.identity,
        format=FORMAT,
    )
    return Plan(manifest, frame)
