"""The differences between two plans: recipients added and removed, messages changed, and the effect on the cost.

Compares messages by recipient number; knows nothing of how the plans were built. Reads the two plans, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from sender.core import money
from sender.plan.plan import Plan

# What may change in a message, and its column in the plan.
FIELDS: Mapping[str, str] = {
    "body": "body",
    "media": "media",
    "from": "from_number",
    "fields": "fields",
    "variant": "variant",
    "segments": "segments",
    "cost": "cost_micros",
}


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """One of the two plans in numbers. `cost` is decimal text in `currency`; both None without a price table."""

    plan_hash: str
    rows: int
    messages: int
    segments: int
    cost: str | None
    currency: str | None


@dataclass(frozen=True, slots=True, eq=False)
class PlanDiff:
    """The differences from plan `a` to plan `b`, as frames in file order.

    `added` and `removed` have `row_number, to, body, segments, cost_micros` of the plan with the message, and in
    `reason` and `detail` why the other plan skips that number (null where it does not have the number). `changed` has
    `to`, and for `row_number` and each of FIELDS two columns, with the suffixes `_a` and `_b`. `same` counts the
    messages without a difference. `compared` names the FIELDS that could be compared: not `cost` where a plan has no
    prices or the currencies differ, `fields` only where rows have their own, and `variant` only where there are some.
    """

    a: PlanSummary
    b: PlanSummary
    added: pl.DataFrame
    removed: pl.DataFrame
    changed: pl.DataFrame
    same: int
    compared: tuple[str, ...]

    @property
    def changes(self) -> dict[str, int]:
        """How many messages changed in each field that was compared."""
        return {name: int(self.changed.select(_differs(FIELDS[name])).to_series().sum()) for name in self.compared}

    def to_dict(self, examples: int | None = None) -> dict[str, Any]:
        """Return plain values: both plans, counts, and the first `examples` of each kind (None: all)."""
        return {
            "a": asdict(self.a),
            "b": asdict(self.b),
            "counts": {
                "added": self.added.height,
                "removed": self.removed.height,
                "changed": self.changed.height,
                "same": self.same,
                **{f"changed_{name}": count for name, count in self.changes.items()},
            },
            "added": [_row_to_dict(row) for row in _first(self.added, examples).iter_rows(named=True)],
            "removed": [_row_to_dict(row) for row in _first(self.removed, examples).iter_rows(named=True)],
            "changed": [self._describe_change(row) for row in _first(self.changed, examples).iter_rows(named=True)],
        }

    def _describe_change(self, row: Mapping[str, Any]) -> dict[str, Any]:
        change: dict[str, Any] = {
            "to": row["to"],
            "row_number": {"a": row["row_number_a"], "b": row["row_number_b"]},
        }
        for name in self.compared:
            before, after = row[f"{FIELDS[name]}_a"], row[f"{FIELDS[name]}_b"]
            if before != after:
                change[name] = {"a": _to_text(name, before), "b": _to_text(name, after)}
        return change


def diff_plans(a: Plan, b: Plan) -> PlanDiff:
    """Return the differences from `a` to `b`. Where a number has several messages, they are compared in file order.

    A run's own plan may have its rows in another order.
    """
    before, after = _summarize(a), _summarize(b)
    priced = before.currency is not None and before.currency == after.currency
    own_fields = bool(a.manifest.templates or b.manifest.templates)
    variants = any(plan.manifest.experiment is not None for plan in (a, b))
    kept = {"cost": priced, "fields": own_fields, "variant": variants}
    compared = tuple(name for name in FIELDS if kept.get(name, True))
    key = ["to", "nth"]
    left, right = _messages(a), _messages(b)
    both = left.join(right, on=key, how="inner", suffix="_b").rename(
        {name: f"{name}_a" for name in left.collect_schema().names() if name not in key}
    )
    paired = both.select("to", pl.exclude("to", "nth")).sort("row_number_b", "row_number_a").collect()
    changed = paired.filter(pl.any_horizontal(_differs(FIELDS[name]) for name in compared))
    return PlanDiff(
        before,
        after,
        added=_select_only(right, left, a),
        removed=_select_only(left, right, b),
        changed=changed,
        same=paired.height - changed.height,
        compared=compared,
    )


def _summarize(plan: Plan) -> PlanSummary:
    manifest = plan.manifest
    cost = manifest.cost or {"total": None, "currency": None}
    return PlanSummary(
        manifest.plan_hash, manifest.rows, manifest.messages, manifest.segments, cost["total"], cost["currency"]
    )


def _messages(plan: Plan) -> pl.LazyFrame:
    rows = plan.scan()
    stored = rows.collect_schema().names()  # older plans have no variants
    columns = [pl.col(name) if name in stored else pl.lit(None, pl.String).alias(name) for name in FIELDS.values()]
    messages = rows.filter(pl.col("seq").is_not_null())
    return messages.select("to", "row_number", *columns, nth=pl.col("row_number").rank("ordinal").over("to"))


def _select_only(here: pl.LazyFrame, there: pl.LazyFrame, other: Plan) -> pl.DataFrame:
    """Return the messages that are only in `here`, and why the `other` plan skips their number, where it does."""
    skipped = other.scan().filter(pl.col("seq").is_null() & pl.col("to").is_not_null())
    why = skipped.select("to", "reason", "detail").unique("to", keep="first", maintain_order=True)
    return (
        here.join(there, on=["to", "nth"], how="anti")
        .join(why, on="to", how="left")
        .select("row_number", "to", "body", "segments", "cost_micros", "reason", "detail")
        .sort("row_number")
        .collect()
    )


def _differs(column: str) -> pl.Expr:
    before, after = pl.col(f"{column}_a"), pl.col(f"{column}_b")
    if column == "media":
        before, after = before.list.join("\n"), after.list.join("\n")
    return before.ne_missing(after)


def _first(frame: pl.DataFrame, examples: int | None) -> pl.DataFrame:
    return frame if examples is None else frame.head(examples)


def _row_to_dict(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its cost as decimal text."""
    values = {name: value for name, value in row.items() if name != "cost_micros"}
    return {**values, "cost": _to_text("cost", row["cost_micros"])}


def _to_text(name: str, value: Any) -> Any:
    return money.text(value) if name == "cost" and value is not None else value
