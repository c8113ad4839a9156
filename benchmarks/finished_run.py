"""A run of any size whose messages are settled, in the state of any build: what reading it costs is then measured.

The build itself plans, and sends the first messages to a stub. What the others would have become is written into its
ledger by SQL, which takes seconds where sending ten million would take a quarter of an hour.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from sender.state.sqlite import tallies

FIRST = 100  # messages that are really sent
# 1,000 messages a second; of a hundred, one is rejected, four are not delivered, and two have no final status yet.
_FATE = "(seq % 100)"
_MESSAGES = f"""
WITH RECURSIVE number (seq) AS (SELECT :first UNION ALL SELECT seq + 1 FROM number WHERE seq + 1 < :messages)
INSERT INTO message (run, seq, state, attempts, fence, intent_at, updated_at, message_id, status, provider_status,
    reason, error_code, error_message, segments, price, currency, created_at, sent_at, final_at)
SELECT run, seq, state, 1, 1, :began + seq, :began + seq + 9000,
    iif(rejected, NULL, printf('SM%032x', seq * 2654435761)),
    CASE WHEN rejected THEN NULL WHEN failed THEN 'undelivered' WHEN waits THEN 'sent' ELSE 'delivered' END,
    CASE WHEN rejected THEN NULL WHEN failed THEN 'undelivered' WHEN waits THEN 'sent' ELSE 'delivered' END,
    CASE WHEN rejected THEN 'invalid_number' WHEN failed THEN 'unreachable' END,
    CASE WHEN rejected THEN '21211' WHEN failed THEN '30003' END,
    CASE WHEN rejected THEN 'Invalid ''To'' number' WHEN failed THEN 'Unreachable destination handset' END,
    iif(rejected, NULL, 1), iif(rejected OR waits, NULL, '-0.00790'), iif(rejected OR waits, NULL, 'USD'),
    iif(rejected, NULL, :began + seq + 150), iif(rejected, NULL, :began + seq + 700),
    iif(rejected OR waits, NULL, :began + seq + 1500 + seq % 7919)
FROM (
    SELECT :run AS run, seq, iif({_FATE} = 99, 'rejected', 'accepted') AS state, {_FATE} = 99 AS rejected,
        {_FATE} BETWEEN 95 AND 98 AS failed, {_FATE} BETWEEN 93 AND 94 AS waits FROM number
)
"""


_SECONDS = """
DELETE FROM pace;
INSERT INTO pace (run, at, claimed, delivered, failed) SELECT run, intent_at / 1000, count(*), 0, 0 FROM message
WHERE true GROUP BY 1, 2;
INSERT INTO pace (run, at, claimed, delivered, failed)
SELECT run, final_at / 1000, 0, sum(status = 'delivered'), sum(status <> 'delivered') FROM message
WHERE final_at IS NOT NULL GROUP BY 1, 2
ON CONFLICT DO UPDATE SET delivered = delivered + excluded.delivered, failed = failed + excluded.failed;
"""


def settle_rest(ledger: Path) -> None:
    """Give every message without a row one, in the ledger of a single run, as if it had been sent."""
    with closing(apsw.Connection(str(ledger))) as db, db:
        ((key, messages),) = db.execute("SELECT key, messages FROM run").fetchall()
        ((first, began),) = db.execute("SELECT count(*), min(intent_at) FROM message").fetchall()
        db.execute(_MESSAGES, {"run": key, "first": first, "messages": messages, "began": began})
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'tally'").fetchall():  # older builds keep no totals
            tallies.recount(db, key)
            db.execute(_SECONDS)
        db.execute("UPDATE run SET finished_at = ?", (began + messages + 60_000,))
    # The file alone, as a process leaves it that was the last to have it open.
    with closing(apsw.Connection(str(ledger))) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
