"""How the suppression files of a campaign are read: as its provider and its list are."""

from __future__ import annotations

from pathlib import Path

import pytest

import sender

PEOPLE = ("30101", "+12025550101", "+442079460102")


@pytest.mark.parametrize(
    ("cell", "keys", "held"),
    [
        pytest.param("30101", {}, ["30101"], id="a short code, which the provider texts"),
        pytest.param("30101", {"provider": "twilio"}, [], id="with another provider it is no number"),
        pytest.param("(202) 555-0101", {}, ["+12025550101"], id="a number of the list's region"),
        pytest.param("020 7946 0102", {"region": "GB"}, ["+442079460102"], id="a number of the file's region"),
    ],
)
def test_a_suppression_file_is_read_as_the_list_is(
    tmp_path: Path, cell: str, keys: dict[str, str], held: list[str]
) -> None:
    file = tmp_path / "stop.csv"
    file.write_text(f"phone\n{cell}\n+12025550177\n", encoding="utf-8")
    region = {"default_region": keys["region"]} if "region" in keys else {}
    campaign = sender.load_campaign(
        name="spring",
        provider=keys.get("provider", "telnyx"),
        from_="+12025550199",
        message="Hi",
        recipients={"rows": [{"phone": number} for number in PEOPLE], "default_region": "US"},
        suppress=[{"file": str(file), "unreadable": 1, **region}],
    )
    frame = sender.build_plan(campaign).frame
    assert frame.filter(reason="suppressed")["to"].to_list() == held
