"""The replies of a state in a PostgreSQL database: the same rows and rules as in its SQLite file."""

from __future__ import annotations

from sender.state.database_url import DatabaseUrl
from sender.state.postgres.database import Database, Transaction
from sender.state.replies import (
    MOST_WAITING,
    REPLY_COLUMNS,
    ReplyRow,
    StoredReply,
    WaitingReply,
    read_reply,
    reply_columns,
)

_NOW = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_ADD = f"""
INSERT INTO reply ({REPLY_COLUMNS}, kept, forward, tries, next_at)
VALUES ({", ".join("%s" for _ in ReplyRow._fields)}, %s, %s, 0, 0)
ON CONFLICT (dialect, message_id) DO NOTHING RETURNING key
"""  # noqa: S608 (our own text)
_IS_FULL = "SELECT EXISTS (SELECT 1 FROM reply WHERE forward = 'waiting' OFFSET %s)"
_KEPT = f"""
SELECT {REPLY_COLUMNS}, forward FROM reply
WHERE kept AND heard_at >= %(since)s AND (%(number)s::text IS NULL OR number = %(number)s) ORDER BY heard_at, key
"""  # noqa: S608
# Of two machines that ask at once, each gets another one.
_CLAIM = f"""
UPDATE reply SET tries = tries + 1, next_at = %(until)s WHERE key = (
    SELECT key FROM reply WHERE forward = 'waiting' AND next_at <= %(now)s
    ORDER BY next_at, key LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING key, tries, {REPLY_COLUMNS}
"""  # noqa: S608
_IS_DUE = "SELECT EXISTS (SELECT 1 FROM reply WHERE forward = 'waiting' AND next_at <= %s)"
_BLANK = "number = NULL, our_number = NULL, text = NULL, media = '[]'"
_SETTLE = "UPDATE reply SET forward = %s, next_at = %s WHERE key = %s AND forward = 'waiting'"
_BLANK_UNKEPT = f"UPDATE reply SET {_BLANK} WHERE key = %s AND NOT kept AND forward <> 'waiting'"  # noqa: S608
_ERASE = f"""
UPDATE reply SET {_BLANK}, forward = CASE forward WHEN 'waiting' THEN 'failed' ELSE forward END WHERE number = %s
"""  # noqa: S608


class ReplyTable:
    """The replies in one database. A `ReplyStore`.

    `now_ms` is by the database's clock: machines' clocks may differ. Whoever forwards asks for it, and for what is due,
    all the time, and may have to stop at once: neither waits for a database that is away.
    """

    def __init__(self, url: DatabaseUrl, *, read_only: bool = False) -> None:
        """Connect. Raises as `Database`."""
        self._db = Database(url, read_only=read_only)

    def close(self) -> None:
        self._db.close()

    def now_ms(self) -> int:
        return self._db.read_once(lambda db: int(db.value(_NOW)))

    def add(self, reply: ReplyRow, *, keep: bool, forward: bool) -> bool:
        """As the protocol says. One that was stored when the connection broke is taken for one that was there."""

        def add(db: Transaction) -> bool:
            state = None
            if forward:
                state = "failed" if db.value(_IS_FULL, (MOST_WAITING - 1,)) else "waiting"
            key = db.value(_ADD, (*reply_columns(reply), keep, state))
            if key is not None and state == "failed":
                db.execute(_BLANK_UNKEPT, (key,))
            return key is not None

        return self._db.transact(add)

    def kept(self, *, number: str | None = None, since_ms: int = 0) -> list[StoredReply]:
        rows = self._db.read(lambda db: db.rows(_KEPT, {"since": since_ms, "number": number}))
        return [StoredReply(read_reply(row[:-1]), row[-1]) for row in rows]

    def claim_waiting(self, now_ms: int, *, lease_ms: int) -> WaitingReply | None:
        if not self._db.read_once(lambda db: db.value(_IS_DUE, (now_ms,))):
            return None  # most of the time, and without a write
        row = self._db.transact(lambda db: db.row(_CLAIM, {"now": now_ms, "until": now_ms + lease_ms}))
        return None if row is None else WaitingReply(row[0], read_reply(row[2:]), row[1])

    def settle(self, key: int, *, retry_at_ms: int | None = None, failed: bool = False) -> None:
        state = "waiting" if retry_at_ms is not None else "failed" if failed else "done"

        def settle(db: Transaction) -> None:
            db.execute(_SETTLE, (state, retry_at_ms or 0, key))
            db.execute(_BLANK_UNKEPT, (key,))

        self._db.transact(settle)

    def forward_counts(self) -> dict[str, int]:
        counted = "SELECT forward, count(*) FROM reply WHERE forward IS NOT NULL GROUP BY forward"
        return dict(self._db.read(lambda db: db.rows(counted)))

    def erase(self, number: str) -> int:
        return self._db.transact(lambda db: db.execute(_ERASE, (number,)))

    def prune(self, before_ms: int, *, dry_run: bool = False) -> int:
        def prune(db: Transaction) -> int:
            count = int(db.value("SELECT count(*) FROM reply WHERE kept AND heard_at < %s", (before_ms,)))
            if not dry_run:
                db.execute("DELETE FROM reply WHERE heard_at < %s", (before_ms,))
            return count

        return self._db.transact(prune)

    def drop_blank(self, before_ms: int) -> None:
        gone = "DELETE FROM reply WHERE NOT kept AND number IS NULL AND heard_at < %s"
        self._db.transact(lambda db: db.execute(gone, (before_ms,)))

    def compact(self) -> None:
        """Write the table anew without what was erased."""
        self._db.read(lambda db: db.execute("VACUUM FULL reply"))
