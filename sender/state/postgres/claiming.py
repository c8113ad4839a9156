"""The SQL of claims, and of messages that wait for their time or have missed it: within the caller's transaction.

Rows are dense: what is claimed out of order lets the messages before it wait as pending rows. The caller holds the lock
of the run's cursor.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sender.core.outcomes import CancelReason
from sender.state.ledger import Claim
from sender.state.postgres import closing, tallies
from sender.state.postgres import statements as sql
from sender.state.postgres.database import Transaction
from sender.state.tallies import TallyChanges, pending_key


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run whose cursor this transaction has locked: its key, its frontier, and the time after that (ms UTC).

    `commits` is how often something of it was claimed.
    """

    key: int
    next_seq: int
    now_ms: int
    commits: int = 0


def claim(
    db: Transaction, run: OpenedRun, *, limit: int, lease_ms: int, bound: int, request_format: int | None
) -> list[Claim]:
    """Claim up to `limit` messages below `bound`: those that are due first, then the next in order."""
    if closing.is_held(db, run.key):
        return []
    deadline, start = run.now_ms + lease_ms, run.next_seq
    named = {"run": run.key, "now": run.now_ms, "deadline": deadline, "format": request_format}
    waiting = db.rows(sql.CLAIM_WAITING, named | {"bound": bound, "limit": limit})
    stop = min(bound, start + limit - len(waiting))
    if start < stop:
        db.execute(sql.CLAIM_NEXT, named | {"start": start, "stop": stop})
    if waiting or start < stop:
        db.execute(sql.ADVANCE, {"run": run.key, "next": max(start, stop), "claims": 1})
    again = _claims(db, run, waiting, deadline, also=max(0, stop - start))
    return again + [Claim(seq, 1, deadline, 1) for seq in range(start, stop)]


def prefetch(
    db: Transaction, run: OpenedRun, *, limit: int, exclude: Collection[int], bound: int, partition: tuple[int, int]
) -> list[int]:
    """The `seq` of up to `limit` messages below `bound` that may be claimed now, in the order of `claim`."""
    if closing.is_held(db, run.key):
        return []
    named = {"run": run.key, "now": run.now_ms, "bound": bound, "limit": limit, "exclude": sorted(exclude)}
    due = [seq for (seq,) in db.rows(sql.DUE, named | {"partition": partition[0], "of": partition[1]})]
    start = run.next_seq
    stop = min(bound, start + partition[1] * (limit - len(due)))  # the other parts find theirs waiting
    closing.enter_waiting(db, run.key, run.now_ms, stop)
    return [*due, *(seq for seq in range(start, stop) if seq % partition[1] == partition[0])]


def claim_prefetched(
    db: Transaction, run: OpenedRun, seqs: Collection[int], *, lease_ms: int, request_format: int | None
) -> list[Claim]:
    """Claim those of `seqs` that wait and are due."""
    if closing.is_held(db, run.key):
        return []
    deadline = run.now_ms + lease_ms
    named = {"run": run.key, "now": run.now_ms, "deadline": deadline, "format": request_format, "seqs": sorted(seqs)}
    claimed = db.rows(sql.CLAIM_PREFETCHED, named)
    if claimed:
        db.execute(sql.ADVANCE, {"run": run.key, "next": run.next_seq, "claims": 1})
    return _claims(db, run, claimed, deadline)


def _claims(
    db: Transaction, run: OpenedRun, claimed: Collection[tuple[Any, ...]], deadline: int, also: int = 0
) -> list[Claim]:
    """The claims of messages that waited, which are counted now, as are `also` that had no row."""
    changes = TallyChanges()
    changes.claim(len(claimed) + also, run.now_ms)
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
    if seqs[0] <= run.next_seq < seqs[1] and closing.close_reason(db, run.key) is None:
        closing.enter_waiting(db, run.key, run.now_ms, seqs[1])
        return seqs[1]
    return run.next_seq
