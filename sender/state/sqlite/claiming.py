"""The SQL of claims, and of messages that wait for their time or have missed it: within the caller's transaction.

Rows are dense: what is claimed out of order lets the messages before it wait as pending rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import apsw

from sender.core.outcomes import CancelReason
from sender.state.ledger import WHOLE_RUN, Claim
from sender.state.ledger_values import RouteClaims
from sender.state.sqlite import closing, tallies
from sender.state.sqlite import statements as sql
from sender.state.tallies import TallyChanges, pending_key


def claim(
    db: apsw.Connection,
    key: int,
    now_ms: int,
    *,
    limit: int,
    lease_ms: int,
    bound: int,
    request_format: int | None,
    routed: RouteClaims | None,
) -> list[Claim]:
    """Claim up to `limit` messages below `bound`: those that are due first, then the next in order."""
    if closing.is_held(db, key):
        return []
    deadline = now_ms + lease_ms
    named = {"run": key, "now": now_ms, "deadline": deadline, "format": request_format, "bound": bound, "limit": limit}
    if routed is None:
        waiting: list[tuple[Any, ...]] = db.execute(sql.CLAIM_WAITING, named).fetchall()
    else:
        waiting = _claim_routed(db, named, _due(db, named, routed), routed)
    start = frontier(db, key)
    stop = min(bound, start + limit - len(waiting))
    if start < stop and (routed is None or routed.begins):
        route = 0 if routed is None else routed.route
        db.execute(sql.CLAIM_NEXT, named | {"start": start, "stop": stop, "route": route})
    else:
        stop = start
    again = _claims(db, key, waiting, deadline, now_ms, also=stop - start)
    return again + [Claim(seq, 1, deadline, 1) for seq in range(start, stop)]


def _due(
    db: apsw.Connection,
    named: dict[str, Any],
    routed: RouteClaims | None,
    partition: tuple[int, int] = WHOLE_RUN,
    exclude: Collection[int] = (),
) -> list[int]:
    """The `seq` of messages that wait and are due, those that are due first first."""
    asked = named | {"exclude": json.dumps(sorted(exclude)), "partition": partition[0], "of": partition[1]}
    statement = sql.DUE if routed is None else sql.DUE_ROUTED
    return [seq for (seq,) in db.execute(statement, asked | route_names(routed))]


def _claim_routed(
    db: apsw.Connection, named: dict[str, Any], seqs: Collection[int], routed: RouteClaims
) -> list[tuple[Any, ...]]:
    """Claim those of `seqs` that the route may have; what became of the last attempt on another one is kept."""
    named = named | route_names(routed) | {"seqs": json.dumps(sorted(seqs))}
    if routed.also:
        db.execute(sql.LEAVE_ROUTE, named)
    return db.execute(sql.CLAIM_ROUTED, named).fetchall()


def route_names(routed: RouteClaims | None) -> dict[str, Any]:
    """The parameters of a statement that claims, or looks, for a route; none without."""
    return {} if routed is None else {"route": routed.route, "also": json.dumps(routed.also)}


def prefetch(
    db: apsw.Connection,
    key: int,
    now_ms: int,
    *,
    limit: int,
    exclude: Collection[int],
    bound: int,
    partition: tuple[int, int],
    routed: RouteClaims | None,
) -> list[int]:
    """The `seq` of up to `limit` messages below `bound` that may be claimed now, in the order of `claim`."""
    if closing.is_held(db, key):
        return []
    named = {"run": key, "now": now_ms, "bound": bound, "limit": limit}
    due = _due(db, named, routed, partition, exclude)
    if routed is not None and not routed.begins:
        return due
    start = frontier(db, key)
    stop = min(bound, start + partition[1] * (limit - len(due)))  # the other parts find theirs waiting
    if start < stop:
        db.execute(sql.PREFETCH, named | {"start": start, "stop": stop})
    return [*due, *(seq for seq in range(start, stop) if seq % partition[1] == partition[0])]


def claim_prefetched(
    db: apsw.Connection,
    key: int,
    now_ms: int,
    seqs: Collection[int],
    *,
    lease_ms: int,
    request_format: int | None,
    routed: RouteClaims | None,
) -> list[Claim]:
    """Claim those of `seqs` that wait and are due."""
    if closing.is_held(db, key):
        return []
    deadline = now_ms + lease_ms
    named = {
        "run": key,
        "now": now_ms,
        "deadline": deadline,
        "format": request_format,
        "seqs": json.dumps(sorted(seqs)),
    }
    if routed is None:
        claimed: list[tuple[Any, ...]] = db.execute(sql.CLAIM_PREFETCHED, named).fetchall()
    else:
        claimed = _claim_routed(db, named, seqs, routed)
    return _claims(db, key, claimed, deadline, now_ms)


def _claims(
    db: apsw.Connection, key: int, claimed: Collection[tuple[Any, ...]], deadline: int, now_ms: int, also: int = 0
) -> list[Claim]:
    """The claims of messages that waited, which are counted now, as are `also` that had no row."""
    changes = TallyChanges()
    changes.claim(len(claimed) + also, now_ms)
    claims = []
    for seq, attempt, fence, reason, error_code, *others in claimed:
        changes.add(pending_key(reason, error_code), -1)
        claims.append(Claim(seq, attempt, deadline, fence, *others))
    tallies.write(db, key, changes)
    return sorted(claims)


def frontier(db: apsw.Connection, key: int) -> int:
    """The first `seq` that has no row."""
    start: int = db.execute(sql.NEXT_SEQ, (key,)).get
    return start


def hold(db: apsw.Connection, key: int, now_ms: int, seqs: tuple[int, int], *, until_ms: int) -> int:
    """Let nothing pending of the range be due before `until_ms`; return the frontier, moved past the range if in it."""
    start = _reach(db, key, now_ms, seqs)
    db.execute(sql.HOLD, {"run": key, "start": seqs[0], "stop": seqs[1], "until": until_ms})
    return start


def lift(db: apsw.Connection, key: int, now_ms: int, seqs: tuple[int, int]) -> int:
    """Let what is held of the range be due; return how many messages that changed."""
    db.execute(sql.LIFT, {"run": key, "start": seqs[0], "stop": seqs[1], "now": now_ms})
    return db.changes()


def expire(db: apsw.Connection, key: int, now_ms: int, seqs: tuple[int, int], *, reason: CancelReason) -> int:
    """Cancel what is pending of the range; return the frontier, moved past the range if it was in it."""
    start = _reach(db, key, now_ms, seqs)
    named = {"run": key, "start": seqs[0], "stop": seqs[1], "reason": reason.value, "now": now_ms}
    with tallies.counted(db, key, span=seqs):
        db.execute(sql.DOUBT_RANGE, named)
        db.execute(sql.EXPIRE, named)
    return start


def _reach(db: apsw.Connection, key: int, now_ms: int, seqs: tuple[int, int]) -> int:
    """Enter the messages of the range as waiting ones, where all before it have been entered; return the frontier."""
    start = frontier(db, key)
    if seqs[0] <= start < seqs[1] and not closing.is_closed(db, key):
        db.execute(sql.PREFETCH, {"run": key, "start": start, "stop": seqs[1], "now": now_ms})
        return seqs[1]
    return start
