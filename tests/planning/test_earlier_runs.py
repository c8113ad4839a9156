"""What earlier rows of a plan, and runs, use up of the caps on what a person gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sender
from sender.recipients.readers import delimited
from tests.state.run_history import ACCEPTED, ADA, GRACE, JEAN, NOON_MS, REJECTED, run_history

PERSON, NEW_YORK, MIAMI = "+12125550101", "10001", "33101"


@pytest.mark.parametrize("block", [40, 10_000], ids=["many blocks", "one block"])
def test_a_rules_cap_counts_the_persons_rows_before_the_first_where_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Florida allows three in a day, wherever the first of them seemed to go."""
    monkeypatch.setattr(delimited, "BLOCK_CHARS", block)
    rows = [f"{PERSON},{NEW_YORK}"] * 3 + [f"{PERSON},{MIAMI}"] * 2 + [f"{PERSON},{NEW_YORK}"]
    (tmp_path / "people.csv").write_text("phone,zip\n" + "\n".join(rows) + "\n")
    campaign = sender.load_campaign(
        name="t",
        provider="twilio",
        from_="+12025550150",
        recipients="people.csv",
        message="Hi",
        dedupe="none",
        window={"rules": ["us"]},
        base=tmp_path,
    )
    plan = sender.build_plan(campaign)
    assert plan.frame["reason"].to_list() == [None, None, None, "frequency_cap", "frequency_cap", None]
    assert plan.frame["detail"][3].startswith("3/24h (rule us-fl-cap) is used up by earlier rows")


def planned(folder: Path, *people: str, only_new: bool = False, **keys: Any) -> sender.Plan:
    """The plan of another campaign to these numbers, some of whom earlier runs may have reached."""
    given: dict[str, Any] = {"name": "summer", "provider": "twilio", "from_": "+12025550199", "message": "Hi"}
    campaign = sender.load_campaign(recipients=[{"phone": number} for number in people], **{**given, **keys})
    return sender.build_plan(campaign, state_dir=folder, only_new=only_new)


@pytest.mark.parametrize("name", ["spring", "summer"])
def test_only_those_whom_the_campaign_has_not_reached_are_new(tmp_path: Path, name: str) -> None:
    with run_history(tmp_path) as history:
        history.add({ADA: ACCEPTED, GRACE: REJECTED})
        reasons = planned(tmp_path, ADA, GRACE, JEAN, only_new=True, name=name).frame["reason"].to_list()
    assert reasons == ["already_sent" if name == "spring" else None, None, None]


@pytest.mark.parametrize(
    ("cap", "seconds_later", "skipped"),
    [
        pytest.param("1/24h", 0, [ADA, GRACE], id="one a day"),
        pytest.param("2/24h", 0, [ADA], id="two a day"),
        pytest.param("3/24h", 0, [], id="three a day"),
        pytest.param("2/24h", 86_340, [ADA], id="a minute before the first is a day old"),
        pytest.param("2/24h", 86_400, [], id="the first is a day old"),
        pytest.param("1/24h", 86_400, [ADA], id="the second is not"),
        pytest.param(["9/7d", "2/24h"], 0, [ADA], id="the stricter of two"),
        pytest.param(["2/7d", "2/24h"], 86_400, [ADA], id="the longer of two"),
    ],
)
def test_a_cap_counts_what_a_person_had_of_any_campaign(
    tmp_path: Path, cap: str | list[str], seconds_later: int, skipped: list[str]
) -> None:
    with run_history(tmp_path) as history:
        history.add({ADA: ACCEPTED, GRACE: ACCEPTED})
        history.add({ADA: ACCEPTED, JEAN: REJECTED}, campaign="autumn")
        history.now_ms = NOON_MS + 1000 * seconds_later if seconds_later else history.now_ms
        plan = planned(tmp_path, ADA, GRACE, JEAN, limits={"per_person": cap})
    assert plan.skipped["to"].to_list() == skipped
    assert set(plan.skipped["reason"]) <= {"frequency_cap"}


@pytest.mark.parametrize(
    ("cap", "reasons"),
    [
        pytest.param("1/24h", ["frequency_cap", "frequency_cap", None, "frequency_cap"], id="one"),
        pytest.param("2/24h", [None, "frequency_cap", None, None], id="two"),
    ],
)
def test_a_cap_counts_earlier_runs_and_earlier_rows_together(
    tmp_path: Path, cap: str, reasons: list[str | None]
) -> None:
    with run_history(tmp_path) as history:
        history.add({ADA: ACCEPTED})
        plan = planned(tmp_path, ADA, ADA, GRACE, GRACE, dedupe="none", limits={"per_person": cap})
    assert plan.frame["reason"].to_list() == reasons
    assert plan.frame["detail"][1].startswith(f"{cap} is used up by spring on 2026-01-01 12:00 UTC (run run-0)")
