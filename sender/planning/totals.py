"""What a plan's manifest says of its rows, added up block by block: hashes, counts, causes of UCS-2, repairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from sender.plan.hashes import ContentHash
from sender.planning.compiled import CompiledCampaign
from sender.planning.lint import Lint
from sender.planning.recipient_numbers import used_cell
from sender.segments.blame import Blame


class PlanTotals:
    """Adds up blocks of PLAN_SCHEMA with `recipient`, whose fields `phones` are the cells with a number.

    `packed_headers` are the headers of its cells where it is a list.
    """

    def __init__(
        self,
        compiled: CompiledCampaign,
        phones: Sequence[str],
        packed_headers: Sequence[str] = (),
        *,
        test_to: str | None,
        only_new: bool = False,
    ) -> None:
        self._is_mms = compiled.is_mms
        self._used_cell = used_cell(phones, packed_headers)
        settings: dict[str, Any] = {
            "provider": compiled.provider,
            "dialect": compiled.dialect,
            "senders": compiled.all_senders,
            "fields": compiled.fields,
            "test_to": test_to,
        }
        if compiled.window:
            settings["window"] = {**compiled.window, "rules_version": None}
        if only_new:  # else the hash is what it was before there was such a thing
            settings["only_new"] = True
        if packed_headers:  # else they are the names of the struct's fields
            settings["headers"] = packed_headers
        if compiled.others:
            settings["routes"] = [[way.provider, way.all_senders, way.fields] for way in compiled.others]
        self._digest = ContentHash(settings, compiled.fields)
        self._blame = Blame()
        self._lint = Lint(compiled)
        self._reasons: Counter[str] = Counter()
        self._segments: Counter[int] = Counter()
        self._encodings: Counter[str] = Counter()
        self._repairs: dict[str, dict[str, Any]] = {}
        self.mms = 0  # messages that go as MMS

    def hash(self, _: pl.DataFrame, hashed: pl.DataFrame) -> None:
        """Add the rows that are hashed for a block."""
        self._digest.update(hashed)

    def count(self, rows: pl.DataFrame) -> None:
        """Add a block. Raises InputError as `Blame.add` does."""
        sent = rows.lazy().filter(pl.col("seq").is_not_null()).with_columns(_mms=self._is_mms)
        sizes = sent.select("row_number", "body", "encoding", "segments", "_mms").collect()
        for counts, column in (
            (self._reasons, rows["reason"]),
            (self._segments, sizes["segments"]),
            (self._encodings, sizes["encoding"]),
        ):
            counts.update(dict(column.drop_nulls().value_counts(name="n").iter_rows()))
        texts = sizes.filter(~pl.col("_mms"))  # an MMS has no alphabet and no segments to pay for
        self.mms += sizes.height - texts.height
        self._blame.add(texts)
        self._lint.add(sizes)
        self._add_repairs(rows)

    @property
    def hashes(self) -> dict[str, Any]:
        """The plan's `plan_hash` and `identity`, as `sender.plan.hashes` defines them."""
        return {"plan_hash": self._digest.hexdigest(), "identity": self._digest.identity}

    @property
    def skipped(self) -> dict[str, int]:
        """Rows by skip reason."""
        return dict(sorted(self._reasons.items()))

    @property
    def segment_counts(self) -> dict[str, int]:
        """Messages by number of segments."""
        return {str(segments): count for segments, count in sorted(self._segments.items())}

    @property
    def segments(self) -> int:
        """Segments of all messages."""
        return sum(segments * count for segments, count in self._segments.items())

    @property
    def encodings(self) -> dict[str, int]:
        """Messages by encoding."""
        return dict(sorted(self._encodings.items()))

    @property
    def blame(self) -> dict[str, Any]:
        """What makes texts larger, as `sender.segments.blame.blame` returns it."""
        return self._blame.result()

    @property
    def warnings(self) -> tuple[dict[str, Any], ...]:
        """Warnings about the texts, as `sender.planning.lint.Lint.warnings` returns them."""
        return self._lint.warnings()

    @property
    def repairs(self) -> list[dict[str, Any]]:
        """Each `repair`, its number of `rows`, and the first of them (`row_number`, `cell`, `to`). Most rows first."""
        return sorted(self._repairs.values(), key=lambda entry: (-entry["rows"], entry["repair"]))

    def _add_repairs(self, rows: pl.DataFrame) -> None:
        if rows["repair"].null_count() == rows.height:
            return
        repaired = rows.filter(pl.col("repair").is_not_null())
        repairs = (
            repaired.select("repair", "row_number", self._used_cell, "to")
            .group_by("repair", maintain_order=True)
            .agg(pl.len().alias("rows"), pl.col("row_number", "cell", "to").first())
        )
        for entry in repairs.iter_rows(named=True):
            self._repairs.setdefault(entry["repair"], {**entry, "rows": 0})["rows"] += entry["rows"]
