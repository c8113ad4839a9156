"""Mappings in a list of mappings (YAML, JSON lines, Python rows) become columns of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sender
from sender.core.errors import RecipientsError

PHONE = "+12025550101"


def plan_of(recipients: Any, message: str = "Hi", base: Path | None = None) -> sender.Plan:
    return sender.build_plan(
        sender.load_campaign(
            {"name": "nested", "provider": "sandbox", "from": "+12025550100"},
            recipients=recipients,
            message=message,
            base=base,
        )
    )


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        ({"address": {"city": "Bonn"}}, {"address.city": "Bonn"}),
        ({"a": {"b": {"c": 1, "d": True}}}, {"a.b.c": "1", "a.b.d": "true"}),
        ({"a": {"b": ["x", "y"]}}, {"a.b": "x y"}),
        ({"a": {"b": None}}, {"a.b": ""}),
        ({"a": {}}, {"a": "{}"}),
        ({"a": None}, {"a": ""}),
        ({"a": {"B c": "x"}}, {"a.B c": "x"}),
        ({"a": {1: "x"}}, {"a.1": "x"}),
    ],
)
def test_a_mapping_is_a_column_for_each_of_its_values(values: dict[str, Any], columns: dict[str, str]) -> None:
    (row,) = plan_of({"rows": [{"phone": PHONE, **values}]}).frame["recipient"].to_list()
    assert row == {"phone": PHONE, **columns}


@pytest.mark.parametrize("suffix", [".yaml", ".jsonl"])
def test_a_template_has_a_name_for_each(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"phone": PHONE, "address": {"city": "Bonn", "geo": {"lat": 50.7}}},
        {"phone": "+12025550102", "address": {"city": "Rom"}},
        {"phone": "+12025550103"},
    ]
    lines = [f"- {json.dumps(row)}" if suffix == ".yaml" else json.dumps(row) for row in rows]
    (tmp_path / f"people{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = "{{ address_city | default('you') }}, {{ row['address.geo.lat'] | default('nowhere') }}"
    plan = plan_of(f"people{suffix}", text, tmp_path)
    assert plan.messages["body"].to_list() == ["Bonn, 50.7", "Rom, nowhere", "you, nowhere"]


def test_mappings_within_mappings_end_somewhere() -> None:
    value: Any = "end"
    for _ in range(20):
        value = {"k": value}
    (row,) = plan_of({"rows": [{"phone": PHONE, "a": value}]}).frame["recipient"].to_list()
    assert set(row) == {"phone", "a" + ".k" * 7}
    assert json.loads(row["a" + ".k" * 7]) is not None


def test_two_ways_to_the_same_column_are_refused() -> None:
    with pytest.raises(RecipientsError, match="has a key twice in one row"):
        plan_of({"rows": [{"phone": PHONE, "a.b": 1, "a": {"b": 2}}]})
