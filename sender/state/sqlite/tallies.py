"""The SQL of a run's tallies, for `sender.state.sqlite.ledger`: within the caller's transaction.

Triggers would keep them, too, but cost as much as the rest of a message's row: they count row by row. Here a statement
that changes many rows alike is counted once, and the few that do not say what they changed are counted around.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import apsw

from sender.state.ledger_values import Counts
from sender.state.tallies import (
    KeptTally,
    PaceBin,
    TallyChanges,
    TallyKey,
    Totals,
    count_by_state,
    differing,
    has_example,
    make_counts,
    make_tally,
    read_tallies,
)

# As `sender.state.tallies.key_of` has it.
_KEY = """state, coalesce(status, ''), iif(state = 'intent', '', coalesce(reason, '')),
    iif(state = 'intent', '', coalesce(error_code, '')), coalesce(currency, ''), coalesce(price, '')"""
_COUNTED = "(state <> 'pending' OR reason IS NOT NULL OR error_code IS NOT NULL)"
_COLUMNS = "run, state, status, reason, error_code, currency, price, messages, reported, segments, example"
_SUM = """
ON CONFLICT DO UPDATE SET messages = messages + excluded.messages, reported = reported + excluded.reported,
    segments = segments + excluded.segments, example = coalesce(excluded.example, example)
"""
_ADD = f"INSERT INTO tally ({_COLUMNS}) VALUES {{rows}} {_SUM}"  # noqa: S608 (our names)
_ADD_SECONDS = """
INSERT INTO pace (run, at, claimed, delivered, failed) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET claimed = claimed + excluded.claimed, delivered = delivered + excluded.delivered,
    failed = failed + excluded.failed
"""
_SOME = f"""
SELECT {_KEY}, count(*), count(segments), coalesce(sum(segments), 0), max(seq) FROM message
WHERE run = :run AND {_COUNTED} AND {{where}} GROUP BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608 (our names)
_SOME_FINAL = """
SELECT final_at / 1000, 0, sum(status = 'delivered'), sum(status IN ('undelivered', 'failed')) FROM message
WHERE run = :run AND status IN ('delivered', 'undelivered', 'failed') AND final_at IS NOT NULL AND {where} GROUP BY 1
"""
_SEQS = "seq IN (SELECT value FROM json_each(:seqs))"
_RANGE = "seq >= :start AND seq < :stop"
# One upsert a row: SQLite sorts the rows for GROUP BY, which takes more than twice as long.
_COUNT_ALL = f"""
INSERT INTO {{table}} ({_COLUMNS})
SELECT run, {_KEY}, 1, segments IS NOT NULL, coalesce(segments, 0), seq FROM message
WHERE run = :run AND {_COUNTED} {_SUM}
"""  # noqa: S608 (our names)
_READ = """
SELECT state, status, reason, error_code, currency, price, messages, reported, segments, example
FROM {table} WHERE run = ? AND messages <> 0
"""
_SCAN_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS scan (
    run INTEGER, state TEXT, status TEXT, reason TEXT, error_code TEXT, currency TEXT, price TEXT, messages INTEGER,
    reported INTEGER, segments INTEGER, example INTEGER,
    PRIMARY KEY (run, state, status, reason, error_code, currency, price)
) WITHOUT ROWID;
DELETE FROM temp.scan
"""
_IN_TALLY = """
state = :state AND coalesce(status, '') = :status AND coalesce(reason, '') = :reason
    AND coalesce(error_code, '') = :error_code
"""
_EXAMPLE_AT = f"SELECT error_message FROM message WHERE run = :run AND seq = :seq AND {_IN_TALLY}"  # noqa: S608
_EXAMPLE = f"""
SELECT error_message FROM message WHERE run = :run AND {_IN_TALLY} AND error_message IS NOT NULL LIMIT 1
"""  # noqa: S608 (our names)
_SECONDS = """
SELECT at - at % :step, sum(claimed), sum(delivered), sum(failed) FROM pace
WHERE run = :run AND at >= :since GROUP BY 1 ORDER BY 1
"""
_UNREPORTED = "SELECT seq FROM message WHERE run = ? AND state = 'accepted' AND segments IS NULL ORDER BY seq"


def write(db: apsw.Connection, run: int, changes: TallyChanges) -> None:
    """Add the changes to what is kept of the run."""
    if tallies := changes.tallies:
        rows = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(tallies))
        values = [value for key, *sums in tallies for value in (run, *key, *sums)]
        db.execute(_ADD.format(rows=rows), values)
    if seconds := changes.seconds:
        db.executemany(_ADD_SECONDS, [(run, *second) for second in seconds])


@contextmanager
def counted(
    db: apsw.Connection, run: int, *, seqs: Collection[int] | None = None, span: tuple[int, int] = (0, 0)
) -> Iterator[None]:
    """Count whatever changes these messages of the run meanwhile: those of `seqs`, or of the range `span`."""
    where = _RANGE if seqs is None else _SEQS
    named: dict[str, int | str] = {
        "run": run,
        "start": span[0],
        "stop": span[1],
        "seqs": json.dumps(sorted(seqs or ())),
    }
    changes = TallyChanges()
    before, final_before = _count(db, where, named)
    yield
    after, final_after = _count(db, where, named)
    changes.recount(before, after)
    changes.recount_seconds(final_before, final_after)
    write(db, run, changes)


def recount(db: apsw.Connection, run: int) -> None:
    """Count all rows of the run anew. Reads them all: 0.7 s for a million."""
    db.execute("DELETE FROM tally WHERE run = ?", (run,))
    db.execute(_COUNT_ALL.format(table="tally"), {"run": run})


def find_drift(db: apsw.Connection, run: int) -> dict[TallyKey, tuple[int, int]]:
    """The tallies of the run that are not what its rows say (kept, counted), of one moment. Changes nothing."""
    db.execute(_SCAN_TABLE)
    db.execute("BEGIN")
    try:
        db.execute(_COUNT_ALL.format(table="temp.scan"), {"run": run})
        kept, scanned = (_read(db, run, table) for table in ("tally", "temp.scan"))
    finally:
        db.execute("ROLLBACK")
    return dict(differing(kept, scanned))


def count_states(db: apsw.Connection, run: int, messages: int) -> Counts:
    """The run's messages by state, as the tallies have them."""
    rows = db.execute("SELECT state, sum(messages) FROM tally WHERE run = ? GROUP BY state", (run,))
    return make_counts(count_by_state(rows), messages)


def read_totals(db: apsw.Connection, run: int) -> Totals:
    """What the tallies say of the run."""
    resent: int = db.execute("SELECT resent FROM run WHERE key = ?", (run,)).get
    return Totals(tuple(make_tally(kept, _example(db, run, kept)) for kept in _read(db, run, "tally")), resent)


def read_seconds(db: apsw.Connection, run: int, *, since_s: int, step_s: int) -> list[PaceBin]:
    """What happened to the run from `since_s` on, in bins of `step_s`."""
    named = {"run": run, "since": since_s, "step": step_s}
    return [PaceBin(*row) for row in db.execute(_SECONDS, named)]


def read_unreported(db: apsw.Connection, run: int) -> list[int]:
    """The `seq` of accepted messages of which the provider has not said how many segments they have."""
    return [seq for (seq,) in db.execute(_UNREPORTED, (run,))]


def _count(db: apsw.Connection, where: str, named: dict[str, int | str]) -> tuple[list[KeptTally], list[PaceBin]]:
    tallies = read_tallies(db.execute(_SOME.format(where=where), named).fetchall())
    seconds = db.execute(_SOME_FINAL.format(where=where), named).fetchall()
    return tallies, [PaceBin(*row) for row in seconds]  # type: ignore[arg-type]


def _read(db: apsw.Connection, run: int, table: str) -> list[KeptTally]:
    return read_tallies(db.execute(_READ.format(table=table), (run,)).fetchall())


def _example(db: apsw.Connection, run: int, kept: KeptTally) -> str | None:
    """What the provider said about one of the messages; the noted one may have moved on, or been erased."""
    if not has_example(kept.key):
        return None
    named = {"run": run, "seq": kept.example, **kept.key._asdict()}
    for statement in (_EXAMPLE_AT, _EXAMPLE):
        row = db.execute(statement, named).fetchone()
        if row is not None and row[0] is not None:
            return str(row[0])
    return None
