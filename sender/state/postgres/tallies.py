"""The SQL of a run's tallies, for `sender.state.postgres.ledger`: within the caller's transaction.

Whoever changes messages of a run holds the lock of its cursor, so its tallies change one transaction after another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from sender.state.ledger_values import Counts
from sender.state.postgres.database import Transaction
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
_KEY = """state, coalesce(status, ''), CASE WHEN state = 'intent' THEN '' ELSE coalesce(reason, '') END,
    CASE WHEN state = 'intent' THEN '' ELSE coalesce(error_code, '') END, coalesce(currency, ''), coalesce(price, '')"""
_COUNTED = "(state <> 'pending' OR reason IS NOT NULL OR error_code IS NOT NULL)"
_COLUMNS = "run, state, status, reason, error_code, currency, price, messages, reported, segments, example"
_SUMS = "count(*), count(segments), coalesce(sum(segments), 0)::bigint, max(seq)"
_ADD = f"""
WITH added AS (
    INSERT INTO tally ({_COLUMNS})
    SELECT %(run)s::bigint, * FROM unnest(
        %(state)s::text[], %(status)s::text[], %(reason)s::text[], %(error_code)s::text[], %(currency)s::text[],
        %(price)s::text[], %(messages)s::bigint[], %(reported)s::bigint[], %(segments)s::bigint[], %(example)s::bigint[]
    )
    ON CONFLICT (run, state, status, reason, error_code, currency, price) DO UPDATE SET
        messages = tally.messages + excluded.messages, reported = tally.reported + excluded.reported,
        segments = tally.segments + excluded.segments, example = coalesce(excluded.example, tally.example)
)
INSERT INTO pace (run, at, claimed, delivered, failed)
SELECT %(run)s::bigint, * FROM unnest(
    %(at)s::bigint[], %(claimed)s::bigint[], %(delivered)s::bigint[], %(failed)s::bigint[]
)
ON CONFLICT (run, at) DO UPDATE SET claimed = pace.claimed + excluded.claimed,
    delivered = pace.delivered + excluded.delivered, failed = pace.failed + excluded.failed
"""  # noqa: S608 (our names)
_SCAN = f"SELECT {_KEY}, {_SUMS} FROM every_message WHERE run = %(run)s AND {_COUNTED}"  # noqa: S608 (our names)
_GROUPED = "GROUP BY 1, 2, 3, 4, 5, 6"
_SOME_FINAL = """
SELECT final_at / 1000, 0, count(*) FILTER (WHERE status = 'delivered'), count(*) FILTER (WHERE status <> 'delivered')
FROM message
WHERE run = %(run)s AND status IN ('delivered', 'undelivered', 'failed') AND final_at IS NOT NULL AND {where} GROUP BY 1
"""
_SEQS = "seq = ANY(%(seqs)s::bigint[])"
_RANGE = "seq >= %(start)s AND seq < %(stop)s"
_RECOUNT = f"""
INSERT INTO tally ({_COLUMNS})
SELECT run, {_KEY}, {_SUMS} FROM every_message WHERE run = %(run)s AND {_COUNTED} GROUP BY 1, 2, 3, 4, 5, 6, 7
"""  # noqa: S608 (our names)
_KEPT = """
SELECT state, status, reason, error_code, currency, price, messages, reported, segments, example FROM tally
WHERE run = %(run)s AND messages <> 0
"""
_IN_TALLY = """
state = %(state)s AND coalesce(status, '') = %(status)s AND coalesce(reason, '') = %(reason)s
    AND coalesce(error_code, '') = %(error_code)s
"""
_EXAMPLE_AT = f"SELECT error_message FROM message WHERE run = %(run)s AND seq = %(seq)s AND {_IN_TALLY}"  # noqa: S608
_EXAMPLE = f"""
SELECT error_message FROM message WHERE run = %(run)s AND {_IN_TALLY} AND error_message IS NOT NULL LIMIT 1
"""  # noqa: S608 (our names)
_SECONDS = """
SELECT at - at %% %(step)s, sum(claimed)::bigint, sum(delivered)::bigint, sum(failed)::bigint FROM pace
WHERE run = %(run)s AND at >= %(since)s GROUP BY 1 ORDER BY 1
"""
_UNREPORTED = "SELECT seq FROM message WHERE run = %s AND state = 'accepted' AND segments IS NULL ORDER BY seq"


def write(db: Transaction, run: int, changes: TallyChanges) -> None:
    """Add the changes to what is kept of the run, in one round trip."""
    tallies, seconds = changes.tallies, changes.seconds
    if not tallies and not seconds:
        return
    named: dict[str, Any] = {"run": run}
    for at, name in enumerate(TallyKey._fields):
        named[name] = [one.key[at] for one in tallies]
    for name in KeptTally._fields[1:]:
        named[name] = [getattr(one, name) for one in tallies]
    for name, column in zip(("at", "claimed", "delivered", "failed"), PaceBin._fields, strict=True):
        named[name] = [getattr(one, column) for one in seconds]
    db.execute(_ADD, named)


@contextmanager
def counted(
    db: Transaction, run: int, *, seqs: Collection[int] | None = None, span: tuple[int, int] = (0, 0)
) -> Iterator[None]:
    """Count whatever changes these messages of the run meanwhile: those of `seqs`, or of the range `span`."""
    where = _RANGE if seqs is None else _SEQS
    named = {"run": run, "start": span[0], "stop": span[1], "seqs": sorted(seqs or ())}
    changes = TallyChanges()
    before, final_before = _count(db, where, named)
    yield
    after, final_after = _count(db, where, named)
    changes.recount(before, after)
    changes.recount_seconds(final_before, final_after)
    write(db, run, changes)


def recount(db: Transaction, run: int) -> None:
    """Count all rows of the run anew. Reads them all."""
    db.execute("DELETE FROM tally WHERE run = %s", (run,))
    db.execute(_RECOUNT, {"run": run})


def find_drift(db: Transaction, run: int) -> dict[TallyKey, tuple[int, int]]:
    """The tallies of the run that are not what its rows say (kept, counted), of one moment. Changes nothing."""
    rows = db.rows(f"SELECT 0, kept.* FROM ({_KEPT}) kept UNION ALL SELECT 1, scan.* FROM ({_SCAN} {_GROUPED}) scan",  # noqa: S608
        {"run": run})  # fmt: skip
    return dict(differing(*(read_tallies([row[1:] for row in rows if row[0] == which]) for which in (0, 1))))


def count_states(db: Transaction, run: int, messages: int) -> Counts:
    """The run's messages by state, as the tallies have them."""
    rows = db.rows("SELECT state, sum(messages)::bigint FROM tally WHERE run = %s GROUP BY state", (run,))
    return make_counts(count_by_state((state, number) for state, number in rows), messages)


def read_totals(db: Transaction, run: int) -> Totals:
    """What the tallies say of the run."""
    resent = int(db.value("SELECT resent FROM run WHERE key = %s", (run,)))
    kept = read_tallies(db.rows(_KEPT, {"run": run}))
    return Totals(tuple(make_tally(one, _example(db, run, one)) for one in kept), resent)


def read_seconds(db: Transaction, run: int, *, since_s: int, step_s: int) -> list[PaceBin]:
    """What happened to the run from `since_s` on, in bins of `step_s`."""
    return [PaceBin(*row) for row in db.rows(_SECONDS, {"run": run, "since": since_s, "step": step_s})]


def read_unreported(db: Transaction, run: int) -> list[int]:
    """The `seq` of accepted messages of which the provider has not said how many segments they have."""
    return [seq for (seq,) in db.rows(_UNREPORTED, (run,))]


def _count(db: Transaction, where: str, named: dict[str, Any]) -> tuple[list[KeptTally], list[PaceBin]]:
    tallies = read_tallies(db.rows(f"{_SCAN} AND {where} {_GROUPED}", named))
    return tallies, [PaceBin(*row) for row in db.rows(_SOME_FINAL.format(where=where), named)]


def _example(db: Transaction, run: int, kept: KeptTally) -> str | None:
    """What the provider said about one of the messages; the noted one may have moved on, or been erased."""
    if not has_example(kept.key):
        return None
    named = {"run": run, "seq": kept.example, **kept.key._asdict()}
    found: str | None = db.value(_EXAMPLE_AT, named)
    if found is None:
        found = db.value(_EXAMPLE, named)
    return found
