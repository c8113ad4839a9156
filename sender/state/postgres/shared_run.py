"""One run that several machines send, as one of its senders sees it: the rate that all keep, and what stops all.

Nothing here is needed for the guarantee, so its commits are not waited for. A crash of the server may forget the last
slots of a rate: `take_slots` waits for them after a restart.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg

from sender.state.database_url import DatabaseUrl
from sender.state.postgres.database import Database, Transaction
from sender.state.sharing import RateState, SharedNews, SlotRequest

HORIZON_S = 5.0  # no slot is further away than this: who holds it may die
CATCH_UP_S = 0.01  # of a round trip: slots may begin this long before they are asked for

_NOW_S = "extract(epoch FROM clock_timestamp())::double precision"
_NOW_MS = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_RATE = "per_s, due, queue_due, paused_until, share, share_at, cut_at, dues"
_BEGIN = f"""
INSERT INTO rate (run_id, per_s, due) VALUES (%(run)s, %(per_s)s, {_NOW_S} + %(wait)s)
ON CONFLICT (run_id) DO UPDATE SET per_s = excluded.per_s, due = greatest(rate.due, excluded.due)
"""  # noqa: S608 (our own text)
_TAKE = f"""
SELECT slots, now_s, {", ".join(f"(state).{name}" for name in _RATE.split(", "))} FROM take_slots(
    %(run)s, %(units)s::double precision[], %(numbers)s::text[], %(costs)s::double precision[],
    %(queue_costs)s::double precision[], %(slack)s, %(margin)s, %(catch_up)s, %(horizon)s
)
"""  # noqa: S608
_SLOW_DOWN = f"""
UPDATE rate SET paused_until = greatest(paused_until, {_NOW_S} + %(retry)s),
    per_s = CASE WHEN is_new AND per_s = 0 THEN %(observed)s ELSE per_s END,
    share = CASE WHEN is_new THEN greatest(0.01, 0.5 * least(1, share + 0.02 * greatest(0, now - share_at)))
        ELSE share END,
    share_at = CASE WHEN is_new THEN greatest(paused_until, now + %(retry)s) ELSE share_at END,
    cut_at = CASE WHEN is_new THEN now ELSE cut_at END
FROM (
    SELECT now, now >= cut_at + %(again)s AS is_new
    FROM (SELECT cut_at, {_NOW_S} AS now FROM rate WHERE run_id = %(run)s FOR UPDATE) AS locked
) AS cut
WHERE run_id = %(run)s RETURNING is_new
"""  # noqa: S608
_QUEUE = f"UPDATE rate SET queue_due = least(queue_due, {_NOW_S} - %(ago)s) WHERE run_id = %(run)s"  # noqa: S608
_LOOK = f"""
SELECT (SELECT halted FROM shift_order WHERE run_id = %(run)s),
    (SELECT coalesce(jsonb_object_agg(number, why), '{{}}') FROM sender_out WHERE run_id = %(run)s),
    {_NOW_S}, {_RATE}
FROM (SELECT 1) AS one LEFT JOIN rate ON rate.run_id = %(run)s
"""  # noqa: S608
_HALT = "UPDATE shift_order SET halted = coalesce(halted, %(error)s) WHERE run_id = %(run)s"
_OUT = "INSERT INTO sender_out (run_id, number, why) VALUES (%(run)s, %(number)s, %(why)s) ON CONFLICT DO NOTHING"
_BEAT = f"""
INSERT INTO shift (id, run_id, host, pid, since, seen_at, sent, in_flight)
VALUES (%(id)s, %(run)s, %(host)s, %(pid)s, {_NOW_MS}, {_NOW_MS}, %(sent)s, %(in_flight)s)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, sent = excluded.sent, in_flight = excluded.in_flight
"""  # noqa: S608
_LEAVE = "DELETE FROM shift WHERE id = %s"


class SharedRunRows:
    """A `SharedRun` in the database."""

    def __init__(self, url: DatabaseUrl, run_id: str) -> None:
        """Raises as `Database`."""
        self._run_id = run_id
        self._id = uuid.uuid4()
        self._db = Database(url)
        self._db.when_reconnected(_let_commits_be_lost)
        self._db.read(lambda db: db.execute("SET synchronous_commit = off"))

    def begin_rate(self, per_s: float, *, wait_s: float) -> None:
        self._execute(_BEGIN, per_s=per_s, wait=wait_s)

    def take_slots(
        self, wanted: Sequence[SlotRequest], *, queue_slack_s: float, margin: float
    ) -> tuple[RateState | None, list[float]]:
        named = {
            "run": self._run_id,
            "units": [one.units for one in wanted],
            "numbers": [one.number or "" for one in wanted],
            "costs": [one.number_cost_s for one in wanted],
            "queue_costs": [one.queue_cost_s for one in wanted],
            "slack": queue_slack_s,
            "margin": margin,
            "catch_up": CATCH_UP_S,
            "horizon": HORIZON_S,
        }
        slots, now_s, *state = self._db.transact(lambda db: db.row(_TAKE, named)) or ([], 0.0, None)
        return _read_rate(now_s, state), list(slots or [])

    def slow_down(self, retry_after_s: float, *, again_after_s: float, observed_per_s: float) -> bool:
        named = {"run": self._run_id, "retry": retry_after_s, "again": again_after_s, "observed": observed_per_s}
        return bool(self._db.transact(lambda db: db.value(_SLOW_DOWN, named)))

    def set_queue_due(self, ago_s: float) -> None:
        self._execute(_QUEUE, ago=ago_s)

    def look(self) -> SharedNews:
        def ask(db: Transaction) -> SharedNews:
            halted, out, now_s, *state = db.row(_LOOK, {"run": self._run_id}) or (None, {}, 0.0, None)
            return SharedNews(halted, out, _read_rate(now_s, state))

        return self._db.read(ask)

    def halt(self, error: str) -> None:
        self._execute(_HALT, error=error)

    def disable_sender(self, number: str, why: str) -> None:
        self._execute(_OUT, number=number, why=why)

    def beat(self, *, sent: int, in_flight: int) -> None:
        self._execute(_BEAT, id=self._id, host=socket.gethostname(), pid=os.getpid(), sent=sent, in_flight=in_flight)

    def close(self) -> None:
        self._db.forget(_LEAVE, (self._id,))
        self._db.close()

    def _execute(self, statement: str, **values: Any) -> None:
        self._db.transact(lambda db: db.execute(statement, {"run": self._run_id, **values}))


def _let_commits_be_lost(db: psycopg.Connection[Any]) -> None:
    db.execute("SET synchronous_commit = off")


def _read_rate(now_s: float, state: Sequence[Any]) -> RateState | None:
    """The state of a row in the order of _RATE; None where the run has no row."""
    return None if state[0] is None else RateState(now_s, *state)
