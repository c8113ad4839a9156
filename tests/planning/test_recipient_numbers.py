"""Each row's number: from which of its cells, and in which country."""

from __future__ import annotations

from typing import Any

import pytest

import sender
from sender.phone.cell import TAIL_REPAIR
from sender.planning.build import build_plan

US, DE, GB = "+12025550110", "+492025550110", "+442079460110"


def plan(rows: list[dict[str, str]], **recipients: Any) -> Any:
    return build_plan(
        sender.load_campaign(
            name="t",
            provider="sandbox",
            from_="+12025550150",
            message="Hi",
            recipients={"rows": rows, "default_region": "DE", **recipients},
        )
    )


def row(phone: str, country: str, header: str = "MailingCountry", **recipients: Any) -> dict[str, Any]:
    return plan([{"Phone": phone, header: country}], **recipients).frame.row(0, named=True)


@pytest.mark.parametrize(
    ("phone", "country", "to"),
    [
        ("(202) 555-0110", "Germany", DE),
        ("(202) 555-0110", "", DE),
        ("+1 202 555 0110", "United States", US),
        ("+1 202 555 0110", "Narnia", US),
        ("030 23125 110", "Deutschland", "+493023125110"),
    ],
)
def test_a_country_column_that_says_the_same_or_is_not_needed(phone, country, to):
    assert row(phone, country)["to"] == to


@pytest.mark.parametrize(
    ("phone", "country", "to"),
    [
        ("020 7946 0110", "United Kingdom", GB),
        ("020 7946 0110", "GB", GB),
        ("020 7946 0110", "+44", GB),
        ("0152 28817386", "Deutschland", "+4915228817386"),
    ],
)
def test_a_country_column_decides_where_only_its_country_can_be_meant(phone, country, to):
    assert row(phone, country, default_region="US")["to"] == to


@pytest.mark.parametrize(
    ("phone", "country", "says"),
    [
        pytest.param(
            "(202) 555-0110",
            "United States",
            [f"`(202) 555-0110` may be {US}, as column `MailingCountry` says (`United States`), or {DE} in DE", "recipients.region_column"],
            id="both can be",
        ),
        pytest.param(
            "0152 28817386", "United States", ["column `MailingCountry` says `United States`", "it would be +4915228817386"],
            id="only the default region can be",
        ),
        pytest.param("030 23125 110", "Narnia", ["`Narnia` is not a country name", "it would be +493023125110"], id="no country"),
        pytest.param("12", "United States", ["`12`"], id="no number anywhere"),
    ],
)  # fmt: skip
def test_a_country_column_that_leaves_doubt_holds_the_row(phone, country, says):
    held = plan([{"Phone": phone, "MailingCountry": country}, *[{"Phone": GB, "MailingCountry": "GB"}] * 2]).frame.row(
        0, named=True
    )
    assert (held["to"], held["seq"], held["reason"]) == (None, None, "invalid_number")
    for part in says:
        assert part in held["detail"]


@pytest.mark.parametrize(
    "header", ["country", "Country/Region", "MailingCountry", "Country Code", "Shipping Country", "Land", "Pays"]
)
def test_every_name_of_it_counts(header):
    assert row("020 7946 0110", "GB", header, default_region="US")["to"] == GB
    assert row("(202) 555-0110", "US", header)["to"] is None


def test_a_column_that_the_campaign_names_is_always_right():
    assert row("(202) 555-0110", "United States", region_column="MailingCountry")["to"] == US


def test_without_a_default_region_there_is_no_doubt():
    assert row("(202) 555-0110", "United States", default_region=None)["to"] == US


@pytest.mark.parametrize(("code", "to"), [("44", GB), ("+44", GB), ("GB", GB), ("49", None)])
def test_digits_under_country_code(code, to):
    assert row("020 7946 0110", code, "Country Code", default_region="US")["to"] == to


def test_two_columns_of_equal_rank_count_where_they_agree():
    rows = [
        {"Phone": "020 7946 0110", "Shipping Country": "United Kingdom", "Billing Country": "GB"},
        {"Phone": "020 7946 0111", "Shipping Country": "United Kingdom", "Billing Country": ""},
        {"Phone": "020 7946 0112", "Shipping Country": "United Kingdom", "Billing Country": "France"},
    ]
    frame = plan(rows, default_region="US").frame
    assert frame["to"].to_list() == [GB, "+442079460111", None]
    assert "`United Kingdom or France` may mean FR or GB" in frame["detail"][2]


def test_the_notes_say_which_column_decided_and_which_did_not():
    rows = [
        {"Phone": "020 7946 0110", "Country": "GB", "Country of birth": "FR"},
        {"Phone": "(202) 555-0110", "Country": "US", "Country of birth": "DE"},
    ]
    notes = " ".join(plan(rows, default_region="US").manifest.notes)
    assert "column `Country` decides the country of 1 number, which is not valid in US" in notes
    assert "`Country of birth` is not used for the country of a number" in notes


def test_a_column_without_countries_is_passed_over_with_a_note():
    made = plan([{"Phone": "030 23125 110", "Land": "Bayern"}])
    assert made.frame["to"].to_list() == ["+493023125110"]
    assert any("`Land` is not used" in note for note in made.manifest.notes)


def test_a_row_takes_the_first_of_its_cells_that_reads():
    rows = [
        {"Name": "a", "MobilePhone": "(202) 555-0101", "Phone": "(202) 555-0111"},
        {"Name": "b", "MobilePhone": "", "Phone": "(202) 555-0112"},
        {"Name": "c", "MobilePhone": "12", "Phone": "2025550113.0"},
        {"Name": "d", "MobilePhone": "", "Phone": "12"},
        {"Name": "e", "MobilePhone": "12", "Phone": ""},
        {"Name": "f", "MobilePhone": "", "Phone": ""},
    ]
    made = plan(rows, default_region="US", phone_column=["MobilePhone", "Phone"])
    frame = made.frame
    assert frame["to"].to_list() == ["+12025550101", "+12025550112", "+12025550113", None, None, None]
    assert frame["repair"].to_list() == [
        None,
        "taken from `Phone`, because `MobilePhone` is blank",
        f"taken from `Phone`, because `MobilePhone` is not a number that can be read; {TAIL_REPAIR}",
        None,
        None,
        None,
    ]
    assert frame["reason"].to_list() == [None, None, None, "invalid_number", "invalid_number", "missing_data"]
    assert all("`12`" in detail for detail in frame["detail"][3:5])
    cells = {entry["row_number"]: entry["cell"] for entry in made.manifest.numbers["repairs"]}
    assert cells == {2: "(202) 555-0112", 3: "2025550113.0"}


def test_three_columns():
    rows = [{"a": "", "b": "", "c": "(202) 555-0113"}, {"a": "", "b": "(202) 555-0114", "c": ""}]
    frame = plan(rows, default_region="US", phone_column=["a", "b", "c"]).frame
    assert frame["to"].to_list() == ["+12025550113", "+12025550114"]
    assert frame["repair"].to_list() == [
        "taken from `c`, because `a`, `b` is blank",
        "taken from `b`, because `a` is blank",
    ]
