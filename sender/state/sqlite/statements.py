"""The SQL of `sender.state.sqlite.ledger`: runs, and what happens to a message between claim and outcome."""

from __future__ import annotations

from sender.state.ledger import REPEATABLE_SCHEMA
from sender.state.ledger_values import MOVES_SCHEMA
from sender.state.outcome_rows import COMMON, VARYING
from sender.state.rows import SettledFields

# In the order of the fields of `Run`.
_RUN_COLUMNS = """
run_id, campaign, kind, provider, plan_hash, source, rows, messages, skipped, created_at, finished_at, simulated,
account, retry_of, base_url, closed_at, closed_by, close_reason, paused_at, paused_by, canary
"""
INSERT_RUN = f"INSERT INTO run ({_RUN_COLUMNS}) VALUES (?{', ?' * _RUN_COLUMNS.count(',')})"  # noqa: S608 (our names)
SELECT_RUNS = f"SELECT {_RUN_COLUMNS} FROM run "  # noqa: S608 (our names)
IS_HELD = "SELECT closed_at IS NOT NULL OR paused_at IS NOT NULL FROM run WHERE key = ?"
CLOSE_REASON = "SELECT close_reason FROM run WHERE key = ?"
# Why the run is closed, and whether an outcome may meet a message that is not simply under way.
ANSWERED_RUN = """
SELECT close_reason, resent > 0 OR EXISTS(
    SELECT 1 FROM tally WHERE run = :run AND state = 'unknown' AND messages > 0
) FROM run WHERE key = :run
"""
# A pause is over with it.
CLOSE_RUN = """
UPDATE run SET closed_at = :now, closed_by = :by, close_reason = :reason, paused_at = NULL, paused_by = NULL
WHERE key = :run AND closed_at IS NULL
"""
# A person had these sent again, though they may have been accepted: canceled would say that nobody has them.
_MAY_HAVE_LEFT = "resent > 0"
_TO_UNKNOWN = f"""
UPDATE message
SET state = 'unknown', not_before = NULL, reason = NULL, error_code = NULL,
    error_message = 'not sent again: the first time is still in doubt', updated_at = :now
WHERE run = :run AND state = 'pending' AND {_MAY_HAVE_LEFT}
"""  # noqa: S608 (our names)
# Each of these goes before the statement that cancels the same messages.
DOUBT_PENDING = _TO_UNKNOWN
DOUBT_SOME = _TO_UNKNOWN + "AND seq IN (SELECT value FROM json_each(:seqs))"  # noqa: S608 (our names)
DOUBT_RANGE = _TO_UNKNOWN + "AND seq >= :start AND seq < :stop"
CANCEL_PENDING = """
UPDATE message
SET state = 'canceled', not_before = NULL, reason = :reason, updated_at = :now
WHERE run = :run AND state = 'pending'
"""
CANCEL_NEXT = """
WITH RECURSIVE next (seq) AS (VALUES (:start) UNION ALL SELECT seq + 1 FROM next WHERE seq + 1 < :stop)
INSERT INTO message (run, seq, state, attempts, fence, intent_at, reason, updated_at)
SELECT :run, seq, 'canceled', 0, 0, :now, :reason, :now FROM next
"""
FINISH = """
UPDATE run SET finished_at = coalesce(finished_at, :now)
WHERE key = :run AND NOT EXISTS (SELECT 1 FROM message WHERE run = :run AND state = 'intent')
"""
PAUSE_RUN = """
UPDATE run SET paused_at = ?, paused_by = ? WHERE key = ? AND paused_at IS NULL AND closed_at IS NULL
"""
RESUME_RUN = "UPDATE run SET paused_at = NULL, paused_by = NULL WHERE key = ? AND paused_at IS NOT NULL"
CLAIM_WAITING = """
UPDATE message
SET state = 'intent', attempts = attempts + 1, fence = fence + 1, intent_at = :now, deadline = :deadline,
    not_before = NULL, sender = NULL, request_format = :format, updated_at = :now
WHERE run = :run AND state = 'pending' AND seq IN (
    SELECT seq FROM message
    WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq < :bound
    ORDER BY not_before, seq LIMIT :limit
)
RETURNING seq, attempts, fence, reason, error_code
"""
CLAIM_PREFETCHED = """
UPDATE message
SET state = 'intent', attempts = attempts + 1, fence = fence + 1, intent_at = :now, deadline = :deadline,
    not_before = NULL, sender = NULL, request_format = :format, updated_at = :now
WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq IN (SELECT value FROM json_each(:seqs))
RETURNING seq, attempts, fence, reason, error_code
"""
DUE = """
SELECT seq FROM message
WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq < :bound
    AND seq NOT IN (SELECT value FROM json_each(:exclude)) AND seq % :of = :partition
ORDER BY not_before, seq LIMIT :limit
"""
# What may be claimed for a route: `:also` are the routes whose messages it takes over.
_ROUTED = """
    AND (route = :route OR (resent = 0 AND route IN (SELECT value FROM json_each(:also))))
    AND NOT (refused_by >> :route) & 1
"""
DUE_ROUTED = DUE.replace("ORDER BY", f"{_ROUTED}ORDER BY")
# Before the message changes its route: what became of its last attempt there, if there was one.
LEAVE_ROUTE = f"""
INSERT INTO move (run, seq, attempt, route, sender, outcome, reason, error_code, error_message, at)
SELECT run, seq, attempts, route, sender, 'deferred', reason, error_code, error_message, updated_at FROM message
WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq IN (SELECT value FROM json_each(:seqs))
    AND route <> :route AND attempts > earlier {_ROUTED}
ON CONFLICT DO NOTHING
"""  # noqa: S608 (our names)
CLAIM_ROUTED = f"""
UPDATE message
SET state = 'intent', attempts = attempts + 1, fence = fence + 1, intent_at = :now, deadline = :deadline,
    not_before = NULL, sender = NULL, request_format = :format, updated_at = :now,
    earlier = iif(route = :route, earlier, attempts), route = :route
WHERE run = :run AND state = 'pending' AND not_before <= :now AND seq IN (SELECT value FROM json_each(:seqs))
    {_ROUTED}
RETURNING seq, attempts, fence, reason, error_code, earlier, refused_by
"""  # noqa: S608 (our names)
# The message's place is the route's that it moves to; what the one before said is kept with its attempt.
_MOVING = "run = :run AND seq = :seq AND state = 'intent' AND attempts = :attempt AND fence = :fence AND resent = 0"
NOTE_REFUSAL = f"""
INSERT INTO move (run, seq, attempt, route, sender, outcome, reason, error_code, error_message, at)
SELECT run, seq, attempts, route, sender, 'rejected', :reason, :error_code, :error_message, :now FROM message
WHERE {_MOVING} ON CONFLICT DO NOTHING
"""  # noqa: S608 (our names)
MOVE = f"""
UPDATE message
SET state = 'pending', not_before = :now, deadline = NULL, sender = NULL, refused_by = refused_by | (1 << route),
    earlier = attempts, route = :to, reason = NULL, error_code = NULL, error_message = NULL, updated_at = :now
WHERE {_MOVING}
"""  # noqa: S608 (our names)
ADD_ROUTE = "INSERT INTO route (run, route, provider, account, base_url) VALUES (?, ?, ?, ?, ?)"
ROUTES = "SELECT provider, account, base_url FROM route WHERE run = ? ORDER BY route"
ACCEPTED_BY_ROUTE = "SELECT route, count(*) FROM message WHERE run = ? AND state = 'accepted' GROUP BY route"
MOVES = f"SELECT {', '.join(MOVES_SCHEMA)} FROM move WHERE run = ? ORDER BY seq, attempt"  # noqa: S608 (our names)
# A row that waits for nothing: it was never claimed, and is there only so that those behind it can be.
PREFETCH = """
WITH RECURSIVE next (seq) AS (VALUES (:start) UNION ALL SELECT seq + 1 FROM next WHERE seq + 1 < :stop)
INSERT INTO message (run, seq, state, attempts, fence, intent_at, not_before, updated_at)
SELECT :run, seq, 'pending', 0, 0, :now, 0, :now FROM next
"""
LAST_CHANGED = """
SELECT seq, updated_at FROM message WHERE run = ? AND attempts > 0 ORDER BY updated_at DESC, seq DESC LIMIT ?
"""
WAITING = "SELECT seq FROM message WHERE run = ? AND state = 'pending'"
NEXT_SEQ = "SELECT coalesce(max(seq) + 1, 0) FROM message WHERE run = ?"
CLAIM_NEXT = """
WITH RECURSIVE next (seq) AS (VALUES (:start) UNION ALL SELECT seq + 1 FROM next WHERE seq + 1 < :stop)
INSERT INTO message (run, seq, state, attempts, fence, intent_at, deadline, request_format, route, updated_at)
SELECT :run, seq, 'intent', 1, 1, :now, :deadline, :format, :route, :now FROM next
"""
NOTE_FORMAT = """
INSERT INTO request_format (run, callback, serialiser, credentials) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
FIND_FORMAT = """
SELECT key FROM request_format WHERE run = ? AND callback IS ? AND serialiser = ? AND credentials = ?
"""
FORMATS = "SELECT key, callback, serialiser, credentials FROM request_format WHERE run = ?"
# A retry sends what it took over as messages of its own.
REPEATABLE = f"""
SELECT {", ".join(REPEATABLE_SCHEMA)} FROM message
WHERE run = :run AND state = :state AND request_format IS NOT NULL AND NOT taken_over AND intent_at >= :since
    AND (:format IS NULL OR request_format = :format)
ORDER BY seq DESC LIMIT :limit
"""  # noqa: S608 (our names)
RELEASE = """
UPDATE message SET state = 'pending', attempts = attempts - 1, deadline = NULL, sender = NULL, not_before = ?,
    updated_at = ?
WHERE run = ? AND seq = ? AND state = 'intent' AND attempts = ? AND fence = ?
"""
RELEASE_CANCELED = f"""
UPDATE message SET state = iif({_MAY_HAVE_LEFT}, 'unknown', 'canceled'), reason = iif({_MAY_HAVE_LEFT}, NULL, ?),
    attempts = attempts - 1, deadline = NULL, sender = NULL, updated_at = ?
WHERE run = ? AND seq = ? AND state = 'intent' AND attempts = ? AND fence = ?
"""  # noqa: S608 (our names)
USE_SENDER = """
UPDATE message SET sender = ? WHERE run = ? AND seq = ? AND state = 'intent' AND attempts = ? AND fence = ?
"""
SETTLE = f"""
UPDATE message
SET {", ".join(f"{name} = ?" for name in SettledFields._fields)}, deadline = NULL, updated_at = ?
"""  # noqa: S608 (our names)
RECONCILE = SETTLE + "WHERE run = ? AND seq = ? AND state = 'unknown' AND attempts = coalesce(?, attempts)"
# Python lets other threads run around each step of SQLite, and getting its turn back costs more than the step. So the
# outcomes of a group are written by few statements: one for all outcomes that differ in the VARYING columns alone.
_IS_DOUBTED = f":state = 'canceled' AND {_MAY_HAVE_LEFT}"
_RECORDED = {
    "state": f"iif({_IS_DOUBTED}, 'unknown', :state)",
    "reason": f"iif({_IS_DOUBTED}, NULL, :reason)",
    "error_message": f"iif({_IS_DOUBTED}, 'still in doubt; this time: ' || :error_message, :error_message)",
}
RECORD = f"""
WITH settled AS MATERIALIZED (
    SELECT value ->> 0 AS seq, value ->> 1 AS attempt, value ->> 2 AS fence, value ->> 3 AS message_id,
        value ->> 4 AS segments, value ->> 5 AS created_at, value ->> 6 AS line_type, value ->> 7 AS carrier
    FROM json_each(:settlements)
)
UPDATE message
SET {", ".join(f"{name} = {_RECORDED.get(name, ':' + name)}" for name in COMMON)},
    {", ".join(f"{name} = settled.{name}" for name in VARYING)},
    deadline = NULL, updated_at = :now, attempts = attempts - :uncounted
FROM settled
WHERE message.run = :run AND message.seq = settled.seq
    AND (message.state = 'intent' OR (message.state = 'unknown' AND :state IN ('accepted', 'rejected')))
    AND message.attempts = settled.attempt AND message.fence = settled.fence
"""  # noqa: S608 (our names)
ORPHANS = """
UPDATE message
SET state = 'unknown', deadline = NULL, reason = NULL, error_code = NULL, error_message = ?, updated_at = ?
WHERE run = ? AND state = 'intent' AND (? IS NULL OR deadline < ?)
"""
RESEND = """
UPDATE message
SET state = 'pending', not_before = ?, resent = resent + 1, reason = NULL, error_code = NULL, error_message = NULL,
    updated_at = ?
WHERE run = ? AND state = 'unknown' AND NOT taken_over
"""
NOTE_RESENT = """
UPDATE run SET resent = (SELECT count(*) FROM message WHERE run = run.key AND resent > 0) WHERE key = ?
"""
TAKE_OVER = """
UPDATE message SET taken_over = 1
WHERE run = :run AND state = 'unknown' AND seq IN (SELECT value FROM json_each(:seqs))
"""
TAKEN_OVER = """
SELECT seq FROM message WHERE run = :run AND taken_over AND seq IN (SELECT value FROM json_each(:seqs))
"""
CANCEL_SOME = """
UPDATE message
SET state = 'canceled', reason = :reason, not_before = NULL, error_code = NULL, error_message = NULL, updated_at = :now
WHERE run = :run AND state = 'pending' AND seq IN (SELECT value FROM json_each(:seqs))
"""
# Pending messages of a range wait for the window of their recipients to open; one that waits for another reason
# (a Deferred) waits for the later of the two.
HOLD = """
UPDATE message SET not_before = :until
WHERE run = :run AND seq >= :start AND seq < :stop AND state = 'pending'
    AND (not_before < :until OR (not_before > :until AND reason IS NULL))
"""
LIFT = """
UPDATE message SET not_before = :now
WHERE run = :run AND seq >= :start AND seq < :stop AND state = 'pending' AND not_before > :now AND reason IS NULL
"""
EXPIRE = """
UPDATE message
SET state = 'canceled', not_before = NULL, reason = :reason, updated_at = :now
WHERE run = :run AND seq >= :start AND seq < :stop AND state = 'pending'
"""
# Rows are dense from 0, so the count, the highest and the sum of `seq` follow from one another; no single change to a
# key leaves all three as they were. CHECK constraints are evaluated again, because a damaged page never met them.
CHECK = """
SELECT count(*), coalesce(max(seq) + 1, 0), coalesce(sum(seq), 0), coalesce(sum(
    state IN ('pending', 'intent', 'accepted', 'rejected', 'canceled', 'unknown')
    AND (state = 'intent') = (deadline IS NOT NULL) AND (state = 'pending') = (not_before IS NOT NULL)
    AND (state = 'accepted') = (message_id IS NOT NULL)
    AND attempts BETWEEN (state NOT IN ('pending', 'canceled')) AND fence
    AND (state NOT IN ('rejected', 'canceled') OR reason IS NOT NULL)
), 0)
FROM message WHERE run = ?
"""
NEXT_DUE = """
SELECT not_before FROM message WHERE run = :run AND state = 'pending' AND seq < :bound ORDER BY not_before LIMIT 1
"""
NEXT_DUE_ROUTED = NEXT_DUE.replace("ORDER BY", f"{_ROUTED}ORDER BY")
REOPEN = """
UPDATE run SET finished_at = NULL
WHERE key = ?1 AND finished_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM message WHERE run = ?1 AND state = 'pending')
"""
_ONLY = "WHERE run = :run AND seq IN (SELECT value FROM json_each(:seqs))"  # by the primary key: microseconds each
_IS_REACHED = f"(state IN ('accepted', 'unknown', 'intent') OR {_MAY_HAVE_LEFT})"
REACHED = f"SELECT seq FROM message WHERE run = :run AND {_IS_REACHED} ORDER BY seq"  # noqa: S608 (our names)
REACHED_OF = REACHED.replace("WHERE run = :run", _ONLY)
SENT = f"""
SELECT seq, intent_at, status FROM message
WHERE run = :run AND {_IS_REACHED} AND intent_at >= :since ORDER BY seq
"""  # noqa: S608 (our names)
SENT_OF = SENT.replace("WHERE run = :run", _ONLY)
TYPED = """
SELECT seq, line_type, carrier, intent_at FROM message
WHERE run = ? AND line_type IS NOT NULL AND line_type <> 'mobile' ORDER BY seq
"""
COUNT = "SELECT state, count(*) FROM message WHERE run = ? AND state <> 'pending' GROUP BY state"
JOURNAL = """
SELECT {columns} FROM message
WHERE run = :run AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
    AND (:reasons IS NULL OR reason IN (SELECT value FROM json_each(:reasons)))
ORDER BY seq
"""
JOURNAL_OF = JOURNAL.replace("WHERE run = :run", _ONLY)
JOURNAL_BETWEEN = JOURNAL.replace("WHERE run = :run", "WHERE run = :run AND seq >= :start AND seq < :stop")
