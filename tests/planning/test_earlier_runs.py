"""What earlier rows of a plan, and runs, use up of the caps on what a person gets."""

from __future__ import annotations

from pathlib import Path

import pytest

import sender
from sender.recipients.readers import delimited

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
