"""Plans and journals made up for tests of results and summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from sender.plan.manifest import Manifest
from sender.plan.pace import Pace
from sender.plan.plan import PLAN_SCHEMA, Plan
from sender.reports.results import results_frame
from sender.state.ledger import JOURNAL_SCHEMA

RUN = "20251121-spring-1a2b"
AT = datetime(2025, 11, 21, 9, 30, 0, 120_000, tzinfo=UTC)


def make_plan(
    rows: Sequence[Mapping[str, Any]],
    cells: Mapping[str, Sequence[str | None]] | None = None,
    *,
    fields: Mapping[str, Any] | None = None,
    rows_in_manifest: int | None = None,
    experiment: Mapping[str, Any] | None = None,
) -> Plan:
    """A plan of `rows`: one with a `reason` is skipped, the others are messages of one segment unless they say more."""
    full, seq = [], 0
    for index, row in enumerate(rows):
        base: dict[str, Any] = {"row_number": index + 2, "to": f"+1202555{100 + index % 100:04d}", "region": "US"}
        if "reason" not in row:
            base |= {"seq": seq, "from_number": "+12025550199", "body": "Hi", "media": []}
            base |= {"encoding": "GSM-7", "segments": 1}
            seq += 1
        full.append(base | dict(row))
    frame = pl.DataFrame(full, schema=PLAN_SCHEMA)
    originals = pl.DataFrame(dict(cells or {}), schema=dict.fromkeys(cells or {}, pl.String))
    recipient = originals.to_struct("recipient") if cells else pl.Series("recipient", [None] * frame.height)
    manifest = Manifest(
        campaign="spring",
        provider="twilio",
        dialect="twilio",
        senders=("+12025550199",),
        fields=fields or {},
        test_to=None,
        rows=frame.height if rows_in_manifest is None else rows_in_manifest,
        messages=seq,
        blank_rows=0,
        skipped={},
        segments=seq,
        segment_counts={"1": seq},
        encodings={"GSM-7": seq},
        mms=0,
        replacements=(),
        notes=(),
        pace=Pace("none", None, "messages", 16, 5, 30.0),
        sandbox={},
        inputs=(),
        versions={},
        plan_hash="0" * 64,
        experiment=experiment,
    )
    return Plan(manifest, frame.with_columns(recipient))


def make_journal(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """A journal; every row was claimed once unless it says more."""
    return pl.DataFrame([{"attempts": 1} | dict(row) for row in rows], schema=JOURNAL_SCHEMA)


def one_result(**cells: str | None) -> pl.DataFrame:
    """The results of one accepted message with these values in our columns."""
    row = {"seq": 0, "state": "accepted", "status": "sent", "created_at": AT, **cells}
    return results_frame(make_plan([{}]), make_journal(row), RUN)
