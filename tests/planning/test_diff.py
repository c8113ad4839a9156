"""Two plans compared, message by message, in memory and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender import build_plan, diff_plans, load_campaign
from sender.plan.plan import Plan

ADA, BOB, CY, DI = (f"+1202555010{n}" for n in range(1, 5))


def plan(*rows: tuple[str, str], **keys: Any) -> Plan:
    recipients = {"rows": [{"phone": to, "name": name} for to, name in rows], "default_region": "US"}
    return build_plan(
        load_campaign(
            {"name": "t"},
            provider="sandbox",
            **{"from_": "+12025550100", "message": "Hi {{ name }}", "recipients": recipients, **keys},
        )
    )


def prices(folder: Path, text: str) -> str:
    path = folder / f"{abs(hash(text))}.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("written", [pytest.param(False, id="in memory"), pytest.param(True, id="written")])
def test_what_is_different(written: bool, tmp_path: Path) -> None:
    a = plan((ADA, "Ada"), (BOB, "Bob"), (CY, "Cy"))
    b = plan((DI, "Di"), (CY, "Cy"), (ADA, "A" * 200), ("555-01", "x"))
    if written:
        a, b = a.write(tmp_path / "a"), b.write(tmp_path / "b")
    found = diff_plans(a, b)
    assert found.added.select("row_number", "to", "body", "reason").rows() == [(1, DI, "Hi Di", None)]
    assert found.removed.select("row_number", "to").rows() == [(2, BOB)]
    assert found.changed.select("to", "row_number_a", "row_number_b", "segments_a", "segments_b").rows() == [
        (ADA, 1, 3, 1, 2)
    ]
    assert found.changes == {"body": 1, "media": 0, "from": 0, "segments": 1}
    assert found.same == 1
    assert found.to_dict()["counts"] == {
        "added": 1,
        "removed": 1,
        "changed": 1,
        "same": 1,
        "changed_body": 1,
        "changed_media": 0,
        "changed_from": 0,
        "changed_segments": 1,
    }


def test_why_somebody_is_not_in_the_other_plan(tmp_path: Path) -> None:
    stop = tmp_path / "stop.csv"
    stop.write_text(f"phone\n{BOB}\n", encoding="utf-8")
    full, less = plan((ADA, "Ada"), (BOB, "Bob")), plan((ADA, "Ada"), (BOB, "Bob"), suppress=str(stop))
    assert diff_plans(full, less).removed.select("to", "reason", "detail").rows() == [
        (BOB, "suppressed", "the number is in stop.csv")
    ]
    assert diff_plans(less, full).added["reason"].to_list() == ["suppressed"]


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        pytest.param({"message": "Hello {{ name }}"}, "body", id="body"),
        pytest.param({"message": {"body": "Hi {{ name }}", "media": "https://media.example.com/a.jpg"}}, "media", id="media"),
        pytest.param({"from_": "+12025550199"}, "from", id="sender"),
    ],
)  # fmt: skip
def test_each_field(keys: dict[str, Any], field: str) -> None:
    found = diff_plans(plan((ADA, "Ada")), plan((ADA, "Ada"), **keys))
    assert {name for name, count in found.changes.items() if count} == {field}
    assert set(found.to_dict()["changed"][0]) == {"to", "row_number", field}


def test_a_changed_price_changes_the_cost_alone(tmp_path: Path) -> None:
    cheap, dear = (prices(tmp_path, f"currency: USD\ndefault: {{sms: {amount}}}\n") for amount in ("0.01", "0.02"))
    found = diff_plans(plan((ADA, "Ada"), prices=cheap), plan((ADA, "Ada"), prices=dear))
    assert found.changes == {"body": 0, "media": 0, "from": 0, "segments": 0, "cost": 1}
    told = found.to_dict()
    assert told["changed"] == [{"to": ADA, "row_number": {"a": 1, "b": 1}, "cost": {"a": "0.01", "b": "0.02"}}]
    assert (told["a"]["cost"], told["b"]["cost"], told["b"]["currency"]) == ("0.01", "0.02", "USD")
    assert told["counts"]["changed_cost"] == 1


def test_costs_are_compared_in_one_currency_only(tmp_path: Path) -> None:
    dollars, euros = (prices(tmp_path, f"currency: {one}\ndefault: {{sms: 1}}\n") for one in ("USD", "EUR"))
    for other in ({"prices": euros}, {}):
        found = diff_plans(plan((ADA, "Ada"), prices=dollars), plan((ADA, "Ada"), **other))
        assert "cost" not in found.compared
        assert found.changed.is_empty()


def test_several_messages_to_a_number_are_compared_in_order() -> None:
    a = plan((ADA, "one"), (ADA, "two"), dedupe="none")
    b = plan((ADA, "one"), (ADA, "2"), (ADA, "three"), dedupe="none")
    found = diff_plans(a, b)
    assert found.changed["body_b"].to_list() == ["Hi 2"]
    assert found.added["body"].to_list() == ["Hi three"]


def test_the_plan_of_a_run_is_compared_in_the_order_of_the_file() -> None:
    """Its rows are in the order in which they were claimed."""
    rows = [(ADA, "1"), (BOB, "2"), (ADA, "3"), (BOB, "4"), (CY, "5")]
    made = plan(*rows, dedupe="none")
    run = Plan(made.manifest, made.frame.sort("row_number", descending=True))
    found = diff_plans(made, run)
    assert (found.changed.height, found.same) == (0, len(rows))


def test_examples_are_counted_off_and_counts_are_not() -> None:
    told = diff_plans(plan((ADA, "x")), plan((BOB, "x"), (CY, "x"), (DI, "x"))).to_dict(2)
    assert [one["to"] for one in told["added"]] == [BOB, CY]
    assert told["counts"]["added"] == 3
    assert told["added"][0] == {
        "row_number": 1, "to": BOB, "body": "Hi x", "segments": 1, "cost": None, "reason": None, "detail": None,
    }  # fmt: skip


PEOPLE = st.dictionaries(st.sampled_from([ADA, BOB, CY, DI]), st.sampled_from(["x", "y"]), min_size=1)


@given(PEOPLE, PEOPLE)
def test_nothing_is_lost(before: dict[str, str], after: dict[str, str]) -> None:
    found = diff_plans(plan(*before.items()), plan(*after.items()))
    assert set(found.added["to"]) == after.keys() - before.keys()
    assert set(found.removed["to"]) == before.keys() - after.keys()
    both = before.keys() & after.keys()
    assert set(found.changed["to"]) == {to for to in both if before[to] != after[to]}
    assert found.same == len(both) - found.changed.height


@pytest.mark.parametrize("older_is_first", [True, False], ids=["older first", "older second"])
def test_a_plan_of_an_older_version_without_variants_can_be_compared(older_is_first: bool) -> None:
    made, new = plan((ADA, "Ada"), (BOB, "Bob")), plan((ADA, "Ada"), (BOB, "B"))
    old = Plan(made.manifest, made.frame.drop("variant"))
    found = diff_plans(old, new) if older_is_first else diff_plans(new, old)
    assert (found.same, found.changed["to"].to_list()) == (1, [BOB])
