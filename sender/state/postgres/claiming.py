"""The SQL of claims, and of messages that wait for their time or have missed it: within the caller's transaction.

Messages that are claimed for the first time are one row together, of their range (`intent_range`). All others have rows
of their own: what is claimed out of order lets the messages before it wait as pending rows. The caller holds the lock
of the run's cursor.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sender.core.outcomes import CancelReason
from sender.state.ledger import Claim
from sender.state.postgres import closing, tallies
from sender.state.postgres import statements as sql
from sender.state.postgres.database import Transaction
from sender.state.tallies import TallyChanges, pending_key


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run whose cursor this transaction has locked: its key, its frontier, and the time after that (ms UTC).

    `commits` is how often something of it was claimed. It is held while it is paused or closed, for `close_reason`. It
    is odd where an outcome may meet a message that is not simply under way. `has_reports` says that delivery reports
    wait for its messages, `first_due` when the first pending message with a row is due. `holder` is the token of
    whoever holds its campaign.
    """

    key: int
    next_seq: int
    now_ms: int
    commits: int
    is_held: bool
    close_reason: CancelReason | None
    is_odd: bool
    has_reports: bool
    first_due: int | None
    holder: UUID | None


class ClaimNote(NamedTuple):
    """Whose claim it is, by which it is found again: the handle's id, and the number of its claim."""

    handle: UUID
    number: int


def claim(
    db: Transaction,
    run: OpenedRun,
    note: ClaimNote,
    *,
    limit: int,
    lease_ms: int,
    bound: int,
    request_format: int | None,
) -> list[Claim]:
    """Claim up to `limit` messages below `bound`: those that are due first, then the next in order."""
    if run.is_held:
        return []
    deadline, start = run.now_ms + lease_ms, run.next_seq
    named = {"run": run.key, "now": run.now_ms, "deadline": deadline, "format": request_format}
    again: list[Claim] = []
    if run.first_due is not None and run.first_due <= run.now_ms:
        again = _claims(db, run, db.rows(sql.CLAIM_WAITING, named | {"bound": bound, "limit": limit}), deadline)
    stop = max(start, min(bound, start + limit - len(again)))
    if again or start < stop:
        _note(db, note, again, named | {"start": start, "stop": stop})
    return again + first_claims(start, stop, deadline)


def prefetch(
    db: Transaction, run: OpenedRun, *, limit: int, exclude: Collection[int], bound: int, partition: tuple[int, int]
) -> list[int]:
    """The `seq` of up to `limit` messages below `bound` that may be claimed now, in the order of `claim`."""
    if run.is_held:
        return []
    named = {"run": run.key, "now": run.now_ms, "bound": bound, "limit": limit, "exclude": sorted(exclude)}
    due = [seq for (seq,) in db.rows(sql.DUE, named | {"partition": partition[0], "of": partition[1]})]
    start = run.next_seq
    stop = min(bound, start + partition[1] * (limit - len(due)))  # the other parts find theirs waiting
    closing.enter_waiting(db, run.key, run.now_ms, stop)
    return [*due, *(seq for seq in range(start, stop) if seq % partition[1] == partition[0])]


def claim_prefetched(
    db: Transaction,
    run: OpenedRun,
    note: ClaimNote,
    seqs: Collection[int],
    *,
    lease_ms: int,
    request_format: int | None,
) -> list[Claim]:
    """Claim those of `seqs` that wait and are due."""
    if run.is_held:
        return []
    deadline = run.now_ms + lease_ms
    named = {"run": run.key, "now": run.now_ms, "deadline": deadline, "format": request_format}
    claims = _claims(db, run, db.rows(sql.CLAIM_PREFETCHED, named | {"seqs": sorted(seqs)}), deadline)
    if claims:
        _note(db, note, claims, named | {"start": run.next_seq, "stop": run.next_seq})
    return claims


def first_claims(start: int, stop: int, deadline: int) -> list[Claim]:
    """The claims of a range of messages that had never been claimed."""
    return [Claim(seq, 1, deadline, 1) for seq in range(start, stop)]


def noted_claims(db: Transaction, note: ClaimNote) -> list[Claim]:
    """The claims that were noted so; none where they were not made."""
    number, flat, *fresh = db.row(sql.NOTED_CLAIM, (note.handle,)) or (None, [])
    if number != note.number:
        return []
    size = len(Claim._fields)
    return [Claim(*flat[at : at + size]) for at in range(0, len(flat), size)] + first_claims(*fresh)


def _note(db: Transaction, note: ClaimNote, others: Collection[Claim], named: dict[str, Any]) -> None:
    """Claim the range, which may be empty, and note it with `others`, which have been claimed."""
    flat = [number for one in others for number in one]
    db.execute(sql.CLAIM_RANGE, named | {"handle": note.handle, "number": note.number, "others": flat})


def _claims(db: Transaction, run: OpenedRun, claimed: Collection[tuple[Any, ...]], deadline: int) -> list[Claim]:
    """The claims of messages that waited, which are counted now."""
    changes = TallyChanges()
    changes.claim(len(claimed), run.now_ms)
    claims = []
    for seq, attempt, fence, reason, error_code in claimed:
        changes.add(pending_key(reason, error_code), -1)
        claims.append(Claim(seq, attempt, deadline, fence))
    tallies.write(db, run.key, changes)
    return sorted(claims)


def hold(db: Transaction, run: OpenedRun, seqs: tuple[int, int], *, until_ms: int) -> int:
    """Let nothing pending of the range be due before `until_ms`; return the frontier, moved past the range if in it."""
    start = _reach(db, run, seqs)
    db.execute(sql.HOLD, {"run": run.key, "start": seqs[0], "stop": seqs[1], "until": until_ms})
    return start


def lift(db: Transaction, run: OpenedRun, seqs: tuple[int, int]) -> int:
    """Let what is held of the range be due; return how many messages that changed."""
    return db.execute(sql.LIFT, {"run": run.key, "start": seqs[0], "stop": seqs[1], "now": run.now_ms})


def expire(db: Transaction, run: OpenedRun, seqs: tuple[int, int], *, reason: CancelReason) -> int:
    """Cancel what is pending of the range; return the frontier, moved past the range if it was in it."""
    start = _reach(db, run, seqs)
    named = {"run": run.key, "start": seqs[0], "stop": seqs[1], "reason": reason.value, "now": run.now_ms}
    with tallies.counted(db, run.key, span=seqs):
        db.execute(sql.DOUBT_RANGE, named)
        db.execute(sql.EXPIRE, named)
    return start


def _reach(db: Transaction, run: OpenedRun, seqs: tuple[int, int]) -> int:
    """Enter the messages of the range as waiting ones, where all before it have been entered; return the frontier."""
    if seqs[0] <= run.next_seq < seqs[1] and run.close_reason is None:
        closing.enter_waiting(db, run.key, run.now_ms, seqs[1])
        return seqs[1]
    return run.next_seq
