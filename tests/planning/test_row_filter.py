"""`recipients.where`: whom a campaign leaves out on purpose."""

from __future__ import annotations

from typing import Any

import pytest

import sender
from sender.core.errors import SenderError
from sender.planning.brakes import Start, find_stops
from sender.planning.build import build_plan
from sender.planning.explain import explain_row

ROWS = [
    {"Phone": "+12025550101", "Opt In?": "Y", "n": "1"},
    {"Phone": "+12025550102", "Opt In?": "N", "n": "1"},
    {"Phone": "12", "Opt In?": "N", "n": "1"},
    {"Phone": "+12025550101", "Opt In?": "", "n": "1"},
    {"Phone": "12", "Opt In?": "Y", "n": "1"},
    {"Phone": "+12025550103", "Opt In?": "Y", "n": "0"},
]


def campaign(where: str | None, rows: list[dict[str, str]] = ROWS, **keys: Any) -> Any:
    recipients = {"rows": rows, **({} if where is None else {"where": where})}
    keys = {"message": "Hi", "from_": "+12025550150", **keys}
    return sender.load_campaign(name="t", provider="sandbox", recipients=recipients, **keys)


def test_rows_for_which_it_is_not_true_are_filtered_out():
    plan = build_plan(campaign("opt_in == 'Y'"))
    assert plan.frame["reason"].to_list() == [None, *["filtered_out"] * 3, "invalid_number", None]
    assert plan.manifest.skipped == {"filtered_out": 3, "invalid_number": 1}
    assert plan.frame["detail"][1] == "`recipients.where` is not true for this row: opt_in == 'Y'"
    assert plan.manifest.numbers["where"] == "opt_in == 'Y'"


def test_a_row_that_is_filtered_out_takes_no_other_rows_place():
    rows = [{"Phone": "+12025550101", "ok": "no"}, {"Phone": "+12025550101", "ok": "yes"}]
    assert build_plan(campaign("ok == 'yes'", rows)).frame["reason"].to_list() == ["filtered_out", None]


def test_without_it_nothing_changes():
    assert "where" not in build_plan(campaign(None)).manifest.numbers


def test_it_changes_the_plan_only_by_its_messages():
    same = build_plan(campaign("opt_in == 'Y'")).manifest.identity
    assert same == build_plan(campaign("opt_in in ('Y',)")).manifest.identity
    assert same != build_plan(campaign(None)).manifest.identity


def test_rows_left_out_on_purpose_are_no_broken_export():
    rows = [{"Phone": f"+120255501{n:02}", "ok": "yes" if n < 4 else "no"} for n in range(40)]
    plan = build_plan(campaign("ok == 'yes'", rows))
    assert plan.manifest.skipped == {"filtered_out": 36}
    assert find_stops(Start(plan.manifest)) == ()
    broken = [{**row, "Phone": "12"} if row["ok"] == "no" else row for row in rows]
    assert find_stops(Start(build_plan(campaign("ok == 'yes'", broken)).manifest)) == ()
    (stop,) = find_stops(Start(build_plan(campaign(None, broken)).manifest))
    assert stop.limit == "max_skipped"


def test_a_row_for_which_it_fails_is_held():
    frame = build_plan(campaign("10 // (n | int) > 0 and opt_in == 'Y'")).frame
    assert frame["reason"][5] == "render_error"
    assert frame["detail"][5].startswith("`recipients.where`: ")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        pytest.param("optin == 'Y'", "there is no column `optin`", id="a column that is not there"),
        pytest.param('row["Opt"] == "Y"', "there is no column", id="a header that is not there"),
        pytest.param("opt_in", "neither true nor false", id="a bare column"),
        pytest.param("1 == 1", "uses no column", id="no column"),
        pytest.param("opt_in =", "is not an expression", id="no expression"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_an_error(where, says):
    with pytest.raises(SenderError, match=says) as caught:
        build_plan(campaign(where))
    assert caught.value.exit_code == 2
    assert "recipients.where" in str(caught.value)


def test_the_row_is_explained():
    it = campaign("opt_in == 'Y'")
    plan = build_plan(it)
    assert dict(explain_row(plan, 1, it).steps)["filter"] == "`recipients.where` is true: opt_in == 'Y'"
    assert explain_row(plan, 3, it).steps == (
        ("filter", "skipped as filtered_out: `recipients.where` is not true for this row: opt_in == 'Y'"),
    )
    it = campaign("10 // (n | int) > 0")
    assert explain_row(build_plan(it), 6, it).steps[0][0] == "filter"


@pytest.mark.parametrize(
    ("where", "body", "warned"),
    [
        (None, "Hi", True),
        ("n == '1'", "Hi", True),
        ("opt_in == 'Y'", "Hi", False),
        (None, "{% if opt_in == 'Y' %}Hi{% endif %}", False),
        (None, "Hi {{ row['Opt In?'] | default('') }}", False),
    ],
)
def test_a_column_of_consent_that_nothing_uses_is_named(where, body, warned):
    notes = build_plan(campaign(where, message=body)).manifest.notes
    assert any("column `Opt In?` looks like consent and is not used" in note for note in notes) is warned


def test_nobody_has_agreed_in_a_cell_that_holds_a_placeholder():
    rows = [{"Phone": f"+120255501{n:02}", "opted_in_at": cell} for n, cell in enumerate(["2026-01-05", "NULL", ""])]
    assert build_plan(campaign("opted_in_at != ''", rows)).frame["reason"].to_list() == [None, *["filtered_out"] * 2]
    with pytest.raises(SenderError, match="looks for `NULL`"):
        build_plan(campaign("opted_in_at != 'NULL'", rows))
