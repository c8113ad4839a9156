"""The SQL of `sender.state.postgres.ledger`: runs, and what happens to a message between claim and outcome."""

from __future__ import annotations

from collections.abc import Iterable

from sender.state.ledger import DOUBTS_SCHEMA, REPEATABLE_SCHEMA
from sender.state.rows import SettledFields

# In the order of the fields of `Run`.
_RUN_COLUMNS = """
run_id, campaign, kind, provider, plan_hash, source, rows, messages, skipped, created_at, finished_at, simulated,
account, retry_of, base_url, closed_at, closed_by, close_reason, paused_at, paused_by, canary
"""
INSERT_RUN = f"INSERT INTO run ({_RUN_COLUMNS}) VALUES (%s{', %s' * _RUN_COLUMNS.count(',')}) RETURNING key"  # noqa: S608
SELECT_RUNS = f"SELECT {_RUN_COLUMNS} FROM run "  # noqa: S608 (our names)
LOCK_RUNS = "SELECT run FROM run_cursor WHERE run = ANY(%s::bigint[]) ORDER BY run FOR UPDATE"
ADVANCE = "UPDATE run_cursor SET next_seq = %(next)s, commits = commits + %(claims)s WHERE run = %(run)s"
IS_HELD = "SELECT closed_at IS NOT NULL OR paused_at IS NOT NULL FROM run WHERE key = %s"
# Locked, so that nobody takes the campaign over before this transaction has ended; after the cursors, as whoever does.
HOLDER = "SELECT token FROM holder WHERE name = %s FOR SHARE"
CLOSE_REASON = "SELECT close_reason FROM run WHERE key = %s"
# A pause is over with it.
CLOSE_RUN = """
UPDATE run SET closed_at = %(now)s, closed_by = %(by)s, close_reason = %(reason)s, paused_at = NULL, paused_by = NULL
WHERE key = %(run)s AND closed_at IS NULL
"""
# A person had these sent again, though they may have been accepted: canceled would say that nobody has them.
_TO_UNKNOWN = """
UPDATE message
SET state = 'unknown', not_before = NULL, reason = NULL, error_code = NULL,
    error_message = 'not sent again: the first time is still in doubt', updated_at = %(now)s
WHERE run = %(run)s AND not_before IS NOT NULL AND resent > 0
"""
# Each of these goes before the statement that cancels the same messages.
DOUBT_PENDING = _TO_UNKNOWN
DOUBT_SOME = _TO_UNKNOWN + "AND seq = ANY(%(seqs)s::bigint[])"
DOUBT_RANGE = _TO_UNKNOWN + "AND seq >= %(start)s AND seq < %(stop)s"
CANCEL_PENDING = """
UPDATE message SET state = 'canceled', not_before = NULL, reason = %(reason)s, updated_at = %(now)s
WHERE run = %(run)s AND not_before IS NOT NULL
"""
CANCEL_NEXT = """
INSERT INTO message (run, seq, state, attempts, fence, intent_at, reason, updated_at)
SELECT %(run)s, seq, 'canceled', 0, 0, %(now)s, %(reason)s, %(now)s
FROM generate_series(%(start)s::bigint, %(stop)s::bigint - 1) AS seq
"""
FINISH = """
UPDATE run SET finished_at = coalesce(finished_at, %(now)s)
WHERE key = %(run)s AND NOT EXISTS (SELECT 1 FROM every_message WHERE run = %(run)s AND state = 'intent')
"""
FINISHED = "UPDATE run SET finished_at = coalesce(finished_at, %s) WHERE key = %s"
PAUSE_RUN = """
UPDATE run SET paused_at = %s, paused_by = %s WHERE key = %s AND paused_at IS NULL AND closed_at IS NULL
"""
RESUME_RUN = "UPDATE run SET paused_at = NULL, paused_by = NULL WHERE key = %s AND paused_at IS NOT NULL"
_CLAIMED = """
UPDATE message
SET state = 'intent', attempts = attempts + 1, fence = fence + 1, intent_at = %(now)s, deadline = %(deadline)s,
    not_before = NULL, sender = NULL, request_format = %(format)s::bigint, updated_at = %(now)s
"""
CLAIM_WAITING = f"""
{_CLAIMED} WHERE run = %(run)s AND not_before IS NOT NULL AND seq = ANY(ARRAY(
    SELECT seq FROM message WHERE run = %(run)s AND not_before <= %(now)s AND seq < %(bound)s
    ORDER BY not_before, seq LIMIT %(limit)s
))
RETURNING seq, attempts, fence, reason, error_code
"""  # noqa: S608 (our names)
CLAIM_PREFETCHED = f"""
{_CLAIMED} WHERE run = %(run)s AND not_before <= %(now)s AND seq = ANY(%(seqs)s::bigint[])
RETURNING seq, attempts, fence, reason, error_code
"""
CLAIM_RANGE = """
SELECT claim_range(%(run)s, %(start)s, %(stop)s, %(now)s, %(deadline)s, %(format)s::bigint, %(handle)s, %(number)s,
    %(others)s::bigint[])
"""
ENTER_INTENTS = "SELECT enter_intents(%(run)s, %(seqs)s::bigint[], %(before)s::bigint)"
NOTED_CLAIM = "SELECT number, claims, start, stop, deadline FROM claim_note WHERE handle = %s"
DROP_NOTE = "DELETE FROM claim_note WHERE handle = %s"
DUE = """
SELECT seq FROM message
WHERE run = %(run)s AND not_before <= %(now)s AND seq < %(bound)s AND seq <> ALL(%(exclude)s::bigint[])
    AND seq %% %(of)s = %(partition)s
ORDER BY not_before, seq LIMIT %(limit)s
"""
# A row that waits for nothing: it was never claimed, and is there only so that those behind it can be.
PREFETCH = """
INSERT INTO message (run, seq, state, attempts, fence, intent_at, not_before, updated_at)
SELECT %(run)s, seq, 'pending', 0, 0, %(now)s, 0, %(now)s
FROM generate_series(%(start)s::bigint, %(stop)s::bigint - 1) AS seq
"""
LAST_CHANGED = """
SELECT seq, updated_at FROM every_message WHERE run = %s AND attempts > 0 ORDER BY updated_at DESC, seq DESC LIMIT %s
"""
WAITING = "SELECT seq FROM message WHERE run = %s AND not_before IS NOT NULL"
NEXT_SEQ = "SELECT next_seq FROM run_cursor WHERE run = %s"
NOTE_FORMAT = """
INSERT INTO request_format (run, callback, serialiser, credentials) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
FIND_FORMAT = """
SELECT key FROM request_format
WHERE run = %s AND callback IS NOT DISTINCT FROM %s AND serialiser = %s AND credentials = %s
"""
FORMATS = "SELECT key, callback, serialiser, credentials FROM request_format WHERE run = %s"
# A retry sends what it took over as messages of its own.
REPEATABLE = f"""
SELECT {", ".join(REPEATABLE_SCHEMA)} FROM every_message
WHERE run = %(run)s AND state = %(state)s AND request_format IS NOT NULL AND NOT taken_over
    AND intent_at >= %(since)s AND (%(format)s::bigint IS NULL OR request_format = %(format)s::bigint)
ORDER BY seq DESC LIMIT %(limit)s
"""  # noqa: S608 (our names)
_OF_CLAIM = "WHERE run = %s AND seq = %s AND state = 'intent' AND attempts = %s AND fence = %s"
RELEASE = f"""
UPDATE message SET state = 'pending', attempts = attempts - 1, deadline = NULL, sender = NULL, not_before = %s,
    updated_at = %s
{_OF_CLAIM}
"""  # noqa: S608 (our names)
RELEASE_CANCELED = f"""
UPDATE message SET state = CASE WHEN resent > 0 THEN 'unknown' ELSE 'canceled' END,
    reason = CASE WHEN resent > 0 THEN NULL ELSE %s END,
    attempts = attempts - 1, deadline = NULL, sender = NULL, updated_at = %s
{_OF_CLAIM}
"""  # noqa: S608 (our names)
USE_SENDER = f"UPDATE message SET sender = %s {_OF_CLAIM}"  # noqa: S608 (our names)
RECORD = """
SELECT * FROM settle_messages(
    %(run)s, %(seqs)s::bigint[], %(attempts)s::integer[], %(fences)s::integer[], %(message_id)s::text[],
    %(segments)s::bigint[], %(created_at)s::bigint[], %(line_type)s::text[], %(carrier)s::text[], %(state)s,
    %(not_before)s, %(status)s, %(provider_status)s, %(reason)s, %(error_code)s, %(error_message)s, %(price)s,
    %(currency)s, %(sent_at)s, %(final_at)s, %(smart_encoded)s, %(now)s, %(uncounted)s, %(counted)s
)
"""
RECONCILE = f"""
UPDATE message SET {", ".join(f"{name} = %s" for name in SettledFields._fields)}, deadline = NULL, updated_at = %s
WHERE run = %s AND seq = %s AND state = 'unknown' AND attempts = coalesce(%s, attempts)
"""  # noqa: S608 (our names)
ORPHANS = """
UPDATE message
SET state = 'unknown', deadline = NULL, reason = NULL, error_code = NULL, error_message = %(why)s, updated_at = %(now)s
WHERE run = %(run)s AND state = 'intent' AND (%(before)s::bigint IS NULL OR deadline < %(before)s)
"""
LONGEST_TOGETHER = """
SELECT coalesce(longest_request_s, 600) FROM holder JOIN run ON holder.name = run.kind || '-' || run.campaign
WHERE run.key = %s AND together
"""
RESEND = """
UPDATE message
SET state = 'pending', not_before = %(now)s, resent = resent + 1, reason = NULL, error_code = NULL,
    error_message = NULL, updated_at = %(now)s
WHERE run = %(run)s AND state = 'unknown' AND NOT taken_over
"""
NOTE_RESENT = """
UPDATE run SET resent = (SELECT count(*) FROM message WHERE run = run.key AND resent > 0) WHERE key = %s
"""
TAKE_OVER = (
    "UPDATE message SET taken_over = true WHERE run = %(run)s AND state = 'unknown' AND seq = ANY(%(seqs)s::bigint[])"
)
TAKEN_OVER = "SELECT seq FROM message WHERE run = %(run)s AND taken_over AND seq = ANY(%(seqs)s::bigint[])"
CANCEL_SOME = """
UPDATE message
SET state = 'canceled', reason = %(reason)s, not_before = NULL, error_code = NULL, error_message = NULL,
    updated_at = %(now)s
WHERE run = %(run)s AND not_before IS NOT NULL AND seq = ANY(%(seqs)s::bigint[])
"""
# Pending messages of a range wait for the window of their recipients to open; one that waits for another reason
# (a Deferred) waits for the later of the two.
HOLD = """
UPDATE message SET not_before = %(until)s
WHERE run = %(run)s AND seq >= %(start)s AND seq < %(stop)s AND not_before IS NOT NULL
    AND (not_before < %(until)s OR (not_before > %(until)s AND reason IS NULL))
"""
LIFT = """
UPDATE message SET not_before = %(now)s
WHERE run = %(run)s AND seq >= %(start)s AND seq < %(stop)s AND not_before > %(now)s AND reason IS NULL
"""
EXPIRE = """
UPDATE message SET state = 'canceled', not_before = NULL, reason = %(reason)s, updated_at = %(now)s
WHERE run = %(run)s AND seq >= %(start)s AND seq < %(stop)s AND not_before IS NOT NULL
"""
# Rows are dense from 0, so the count, the highest and the sum of `seq` follow from one another and from the cursor.
# The CHECK constraints are evaluated again, because a damaged page never met them.
CHECK = """
SELECT count(*), greatest((SELECT next_seq FROM run_cursor WHERE run = %(run)s), coalesce(max(seq) + 1, 0)),
    coalesce(sum(seq), 0)::bigint, count(*) FILTER (WHERE
    state IN ('pending', 'intent', 'accepted', 'rejected', 'canceled', 'unknown')
    AND (state = 'intent') = (deadline IS NOT NULL) AND (state = 'pending') = (not_before IS NOT NULL)
    AND (state = 'accepted') = (message_id IS NOT NULL)
    AND attempts BETWEEN CASE WHEN state IN ('pending', 'canceled') THEN 0 ELSE 1 END AND fence
    AND (state NOT IN ('rejected', 'canceled') OR reason IS NOT NULL))
FROM every_message WHERE run = %(run)s
"""
NEXT_DUE = """
SELECT not_before FROM message WHERE run = %s AND not_before IS NOT NULL AND seq < %s ORDER BY not_before LIMIT 1
"""
REOPEN = """
UPDATE run SET finished_at = NULL
WHERE key = %(run)s AND finished_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM message WHERE run = %(run)s AND not_before IS NOT NULL)
"""
ONLY = "AND seq = ANY(%(seqs)s::bigint[])"  # by the primary key
_IS_REACHED = "(state IN ('accepted', 'unknown', 'intent') OR resent > 0)"
REACHED = f"SELECT seq FROM every_message WHERE run = %(run)s AND {_IS_REACHED} {{only}} ORDER BY seq"  # noqa: S608
SENT = f"""
SELECT seq, intent_at, status FROM every_message
WHERE run = %(run)s AND {_IS_REACHED} AND intent_at >= %(since)s {{only}} ORDER BY seq
"""  # noqa: S608 (our names)
COUNT = "SELECT state, count(*) FROM every_message WHERE run = %s AND state <> 'pending' GROUP BY state"
TYPED = """
SELECT seq, line_type, carrier, intent_at FROM message
WHERE run = %s AND line_type IS NOT NULL AND line_type <> 'mobile' ORDER BY seq
"""
_COMPUTED = {"smart_encoded": "smart_encoded::integer", "route": "0"}  # a run has one route in a database
_JOURNAL = """
FROM every_message
WHERE run = %(run)s AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s::text[]))
    AND (%(reasons)s::text[] IS NULL OR reason = ANY(%(reasons)s::text[])) {only}
ORDER BY seq
"""


def select_journal(columns: Iterable[str]) -> str:
    """The statement that reads these columns of a run's rows."""
    return f"SELECT {', '.join(_COMPUTED.get(name, name) for name in columns)} {_JOURNAL}"


REFUSALS = """
SELECT reason, error_code, count(*) FROM message
WHERE run = %s AND seq >= %s AND seq < %s AND reason IS NOT NULL
    AND (state = 'rejected' OR status IN ('undelivered', 'failed'))
GROUP BY reason, error_code
"""
OUTCOMES = """
SELECT state, status, reason, count(*) FROM message
WHERE run = %s AND seq >= %s AND seq < %s AND state IN ('accepted', 'rejected', 'unknown')
GROUP BY state, status, reason
"""
LAST_RECEIPT = """
SELECT seq FROM message
WHERE run = %s AND seq >= %s AND seq < %s AND status IN ('delivered', 'undelivered', 'failed')
ORDER BY seq DESC LIMIT 1
"""
RECENT_IDS = "SELECT message_id FROM message WHERE run = %s AND message_id IS NOT NULL ORDER BY seq DESC LIMIT %s"
# These two read all rows: an index over states or ids would be written by every message that is sent, and doubts are
# looked up only after something went wrong.
_DOUBTED = {"run_id": "run.run_id", "route": "0"}
DOUBTS = f"""
SELECT {", ".join(_DOUBTED.get(name, f"one.{name}") for name in DOUBTS_SCHEMA)}
FROM every_message AS one JOIN run ON run.key = one.run
WHERE state IN ('unknown', 'intent') ORDER BY one.run, seq
"""  # noqa: S608 (our names)
HOLDERS = """
SELECT message.message_id, run.run_id, message.seq FROM message JOIN run ON run.key = message.run
WHERE message.message_id = ANY(%s::text[]) ORDER BY message.run, message.seq
"""
# What a provider said about a message may repeat the number and the text; what it knows of the number is a person's.
ERASE_SENTENCES = """
UPDATE {table} SET error_message = NULL, line_type = NULL, carrier = NULL
WHERE run = %(run)s AND coalesce(error_message, line_type, carrier) IS NOT NULL
    AND (%(seqs)s::bigint[] IS NULL OR seq = ANY(%(seqs)s::bigint[]))
"""
ERASE_MENTIONS = "UPDATE {table} SET error_message = NULL WHERE strpos(error_message, %s) > 0"
