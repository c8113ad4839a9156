"""A repeated number gets one message, from a row that can be composed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sender
from sender.planning.explain import explain_row
from sender.recipients.readers import delimited

ADA, GRACE, JEAN = (f"+1202555010{n}" for n in range(1, 4))


def planned(rows: list[tuple[str, str]] | Path, **keys: Any) -> Any:
    keys = {"message": "Hi {{ name }}", "from_": "+12025550150", **keys}
    people = str(rows) if isinstance(rows, Path) else [{"phone": to, "name": name} for to, name in rows]
    recipients = {"file" if isinstance(rows, Path) else "rows": people, **keys.pop("recipients", {})}
    campaign = sender.load_campaign(name="t", provider="sandbox", recipients=recipients, **keys)
    return sender.build_plan(campaign), campaign


def told(plan: Any) -> list[str]:
    """The text of each row, or else its reason."""
    return [body if reason is None else reason for body, reason in plan.frame.select("body", "reason").rows()]


@pytest.mark.parametrize(
    ("names", "dedupe", "expected"),
    [
        pytest.param(["", "Ada"], "first", ["render_error", "Hi Ada"], id="the second"),
        pytest.param(["NULL", "Ada"], "first", ["missing_data", "Hi Ada"], id="a placeholder"),
        pytest.param(["A" * 200, "Ada"], "first", ["too_long", "Hi Ada"], id="too long"),
        pytest.param(["", "", "Ada", "Lady"], "first", ["render_error", "duplicate", "Hi Ada", "duplicate"], id="the third"),
        pytest.param(["Ada", ""], "first", ["Hi Ada", "duplicate"], id="the first can be"),
        pytest.param(["", ""], "first", ["render_error", "duplicate"], id="none can be"),
        pytest.param(["Ada", "Lady", ""], "last", ["duplicate", "Hi Lady", "render_error"], id="the one before the last"),
        pytest.param(["Ada", ""], "none", ["Hi Ada", "render_error"], id="all of them"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_composed_keeps_nobody_from_their_message(names, dedupe, expected):
    rows = [(ADA, name) for name in names]
    plan, _ = planned([*rows, (GRACE, "Grace")], dedupe=dedupe, message={"body": "Hi {{ name }}", "max_segments": 1})
    assert told(plan) == [*expected, "Hi Grace"]
    assert plan.manifest.messages == sum(text.startswith("Hi ") for text in told(plan))
    assert plan.manifest.rows == plan.manifest.messages + sum(plan.manifest.skipped.values())


def test_each_row_names_the_one_that_is_sent():
    plan, campaign = planned([(ADA, ""), (ADA, ""), (ADA, "Ada"), (ADA, "Lady")])
    assert plan.frame["detail"].to_list()[1:] == ["same number as row 3", None, "same number as row 3"]
    assert "`name` is blank" in plan.frame["detail"][0]
    shared = "rows 1 (render_error), 2 (duplicate), 3, 4 (duplicate) have this number"
    assert dict(explain_row(plan, 1, campaign).steps)["duplicates"] == shared
    assert dict(explain_row(plan, 3, campaign).steps)["duplicates"] == f"{shared}, and this one is kept"


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"message": {"variants": [{"name": n, "body": f"{n} {{{{ name }}}}"} for n in "ab"]}}, id="variants"),
        pytest.param({"window": {"hours": "00:00-24:00"}, "recipients": {"columns": {"timezone": "name"}}}, id="a window"),
        pytest.param({"suppress": "stop.csv"}, id="a suppression file"),
    ],
)  # fmt: skip
def test_by_whatever_the_campaign_makes_of_a_row(tmp_path, keys):
    (tmp_path / "stop.csv").write_text(f"phone\n{JEAN}\n")
    plan, _ = planned([(ADA, ""), (JEAN, ""), (ADA, "Ada"), (JEAN, "Jean")], base=tmp_path, **keys)
    sent = plan.frame.filter(plan.frame["seq"].is_not_null())
    assert sent["to"].to_list() == [ADA, *([] if "suppress" in keys else [JEAN])]
    assert all("Ada" in body or "Jean" in body for body in sent["body"])


def test_a_time_zone_that_cannot_be_read_keeps_nobody_either():
    rows = [{"phone": ADA, "timezone": "somewhere"}, {"phone": ADA, "timezone": "Europe/London"}]
    recipients: Any = {"rows": rows}
    campaign = sender.load_campaign(
        name="t",
        provider="sandbox",
        from_="+12025550150",
        message="Hi",
        recipients=recipients,
        window={"hours": "09:00-20:00"},
    )
    assert sender.build_plan(campaign).frame["reason"].to_list() == ["missing_data", None]


def test_over_blocks_of_a_long_list(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_CHARS", 60)
    numbers = [f"+12025550{100 + n}" for n in range(40)]
    rows = [f"{number},{'' if n % 4 == 1 else f'N{n}'}" for n, number in enumerate(numbers)]
    rows += [f"{number},{'' if n % 8 == 1 else f'M{n}'}" for n, number in enumerate(numbers)]
    (tmp_path / "people.csv").write_text("phone,name\n" + "\n".join(rows) + "\n")
    plan, _ = planned(tmp_path / "people.csv")
    sent = plan.frame.filter(plan.frame["seq"].is_not_null())
    assert dict(zip(sent["to"], sent["body"], strict=True)) == {
        number: f"Hi {'M' if n % 4 == 1 else 'N'}{n}" for n, number in enumerate(numbers) if n % 8 != 1
    }
    assert sent["row_number"].is_sorted()
    assert sent["seq"].to_list() == [*range(35)]
    assert plan.manifest.skipped == {"duplicate": 35, "render_error": 10}
