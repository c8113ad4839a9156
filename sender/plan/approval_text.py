"""What an approval of a written plan says, as the text that is signed: JSON, one key a line.

It has the hashes of the plan's rows and messages, and every setting of the manifest that says what is sent, to whom,
how fast, when and within which limits. A setting that is new in a later version is covered by itself; what is empty is
left out, so that a new version does not void what was approved before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from sender.core.lazy_modules import pl
from sender.plan.hashes import COLUMNS, MessageHash
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.plan.stored_rows import ROW_GROUP

NAMESPACE = "approval@campaign-sender"  # of the signatures, so that one made for something else does not count
_KIND = "campaign-sender approval, version 1"
# What changes with the moment at which the plan is made, or only describes it. `max_skipped` bounds how much of the
# list may be broken: the rows themselves are covered. `sandbox` and `test_to` are for what reaches nobody.
_NOT_COVERED = frozenset(
    {
        *("rows", "messages", "blank_rows", "skipped", "segments", "segment_counts", "encodings", "mms"),
        *("replacements", "sandbox", "inputs", "versions", "notes", "blame", "cost", "lint", "numbers"),
        *("feasibility", "suppression", "waves", "parquet_sha256", "identity", "format", "test_to", "approval"),
        "headers",  # the hash of the rows covers them
    }
)
_COUNTS = frozenset({"messages", "segments", "cost_micros", "evidence", "size", "rules_version", "max_skipped"})
_AS_WRITTEN = ("fields", "templates")  # whose keys are the provider's


def covered_settings(manifest: Manifest) -> dict[str, Any]:
    """Return the settings that an approval covers, as plain values; the same for each plan made of the same inputs."""
    values = json.loads(json.dumps(asdict(manifest), default=str))
    covered = {
        name: value if name in _AS_WRITTEN else _without_counts(value)
        for name, value in values.items()
        if name not in _NOT_COVERED
    }
    covered["max_cost"] = (values["cost"] or {}).get("max_cost")
    covered["approvals"] = (values["approval"] or {}).get("approvals")
    return {name: value for name, value in covered.items() if value not in (None, "", [], {}, False)}


def approval_text(plan: Plan, *, again_after: str | None = None) -> str:
    """Return what is signed of a written plan. `again_after` names the newest run of a campaign that is sent again."""
    values = {
        "approval": _KIND,
        "again_after": again_after,
        "messages": plan.manifest.messages,
        "messages_sha256": hash_messages(plan),
        "rows_sha256": plan.manifest.parquet_sha256,
        **covered_settings(plan.manifest),
    }
    given = {name: value for name, value in values.items() if value is not None}
    return json.dumps(given, indent=2, sort_keys=True) + "\n"


def hash_messages(plan: Plan) -> str:
    """Return the SHA-256 of the plan's messages in file order, in hex, as `MessageHash` defines it."""
    digest = MessageHash(plan.manifest.fields)
    if plan.manifest.in_claim_order:
        digest.update(plan.messages.sort("row_number").select(COLUMNS))
        return digest.hexdigest()
    for start in range(0, plan.manifest.rows, ROW_GROUP):
        block = plan.scan().slice(start, ROW_GROUP).filter(pl.col("seq").is_not_null()).select(COLUMNS)
        digest.update(block.collect())
    return digest.hexdigest()


def approved_settings(text: str) -> dict[str, Any]:
    """Return the settings that a signed text covers, as `covered_settings` does. Raises ValueError for another text."""
    values = json.loads(text)
    if not isinstance(values, dict) or values.get("approval") != _KIND:
        raise ValueError("it is not an approval")
    own = ("approval", "again_after", "messages", "messages_sha256", "rows_sha256")
    return {name: value for name, value in values.items() if name not in own}


def find_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the settings that differ."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def without_start(plan: Plan) -> Plan:
    """Return the plan as one that begins when somebody sends it."""
    return plan.with_manifest(replace(plan.manifest, start=None))


def _without_counts(value: Any) -> Any:
    """Return plain values without those that count the plan's messages as of today."""
    if isinstance(value, dict):
        return {name: _without_counts(inner) for name, inner in value.items() if name not in _COUNTS}
    return [_without_counts(inner) for inner in value] if isinstance(value, list) else value
