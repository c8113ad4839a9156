"""The JSON Schema and the loader take the same rates, shares, times, durations and regions."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.campaign.json_schema import json_schema
from sender.campaign.load import load_campaign
from sender.core.errors import CampaignError
from sender.phone import countries
from tests.profiles import examples

BASE: dict[str, Any] = {"name": "c", "provider": "sandbox", "from": "+12025550100", "message": "Hi"}
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

RATES = {
    "taken": [
        "4/s",
        "240/min",
        "10000/h",
        " 1.5 / second ",
        "3/HOUR",
        "auto",
        "Auto",
        "none",
        "12",
        "0.5/s",
        ".5",
        4,
        2.5,
        "1e3",
    ],
    "refused": ["fast", "4 per s", "4/day", "0/s", "0", "-1/s", "1/2", "", "/s", "4s", 0, -1, True, [1], "unlimited"],
}
SHARES = {
    "taken": ["25%", "25 %", "0.25", ".5", "100%", "1", 0.5, 1, "none", "0.5%"],
    "refused": ["0%", "0", "101%", "1.5", "some", "", 0, 2, "5"],
}
LIMITS = {"taken": ["25%", "0%", "0", "0.25", 0, 0.5, "none"], "refused": ["100%", "1", "some", "", 1, -0.1, "5"]}
STARTS = {
    "taken": [
        "2026-12-01T09:00 America/New_York",
        "2026-12-01 09:00:00 Europe/London",
        "2026-12-01T09:00:00-05:00",
        "2026-12-01T09:00Z",
        "2026-12-01 9am UTC",
        "2026-12-01, 9:30 p.m. Asia/Tokyo",
        "2026-12-01 noon Europe/Paris",
        "2026-12-01T09:00 America/Argentina/Buenos_Aires",
        "2026-1-5 09:00 utc",
    ],
    "refused": [
        "tomorrow",
        "9am",
        "2026-12-01",
        "2026-12-01T09:00",
        "2026-12-01 America/New_York",
        "01/12/2026 09:00 UTC",
        "2026-12-01T09:00 EST",
        "soon",
        "",
        9,
        "2026-12-01T09 o'clock UTC",
    ],
}
LATES = {
    "taken": ["15m", "90s", "1h", "1.5 hours", "1 Day", "1w", "300", 300, 60],
    "refused": ["soon", "15 x", "", "-5m", "m", True, [1]],
}
REGIONS = {
    "taken": [
        "US",
        "us",
        "gb",
        "UK",
        "DEU",
        "usa",
        "+49",
        "+ 1",
        "Germany",
        "united kingdom",
        "Côte d'Ivoire",
        "Österreich",
        "日本",
        "U.S.",
        " FR ",
        "AO",
        "BI",
    ],
    "refused": ["XX", "49", "0049", "", "+12025550100", "Q", "zz", 49],
}
FORMS = [
    pytest.param(lambda value: {"rate": value}, RATES, id="rate"),
    pytest.param(lambda value: {"from": [{"number": "+12025550100", "rate": value}]}, RATES, id="a number's rate"),
    pytest.param(lambda value: {"sandbox": {"rate": value}}, RATES, id="the sandbox's rate"),
    pytest.param(lambda value: {"limits": {"max_failed": value}}, SHARES, id="a share"),
    pytest.param(lambda value: {"canary": {"first": 1, "stop_if": {"failed": value}}}, LIMITS, id="a canary's limit"),
    pytest.param(lambda value: {"start": value}, STARTS, id="start"),
    pytest.param(lambda value: {"window": {"deadline": value}}, STARTS, id="deadline"),
    pytest.param(lambda value: {"late": value}, LATES, id="late"),
    pytest.param(lambda value: {"canary": {"first": 1, "wait": value}}, LATES, id="wait"),
    pytest.param(lambda value: {"recipients": {"file": "a.csv", "default_region": value}}, REGIONS, id="region"),
    pytest.param(lambda value: {"suppress": [{"file": "a.csv", "default_region": value}]}, REGIONS, id="a suppression file's region"),
]  # fmt: skip


def is_loaded(keys: dict[str, Any]) -> bool:
    try:
        load_campaign({"recipients": "a.csv", **BASE, **keys})
    except CampaignError:
        return False
    return True


def is_in_schema(keys: dict[str, Any]) -> bool:
    return VALIDATOR.is_valid({"recipients": "a.csv", **BASE, **keys})


@pytest.mark.parametrize(("place", "values"), FORMS)
def test_both_take_the_same(place: Any, values: dict[str, list[Any]]) -> None:
    assert [value for value in values["taken"] if not is_loaded(place(value))] == [], "the loader refuses it"
    assert [value for value in values["taken"] if not is_in_schema(place(value))] == [], "the schema refuses it"
    assert [value for value in values["refused"] if is_loaded(place(value))] == [], "the loader takes it"
    assert [value for value in values["refused"] if is_in_schema(place(value))] == [], "the schema takes it"


TEXTS = st.one_of(
    st.text("0123456789.%/ smhd:", max_size=10),
    st.from_regex(r"\A[0-9]{1,4}(\.[0-9])? ?(/ ?)?(s|min|h|m|%|d)?\Z"),
)


@pytest.mark.parametrize(("place", "values"), FORMS[:9])
@settings(max_examples=examples(60))
@given(text=TEXTS)
def test_what_the_loader_takes_no_editor_refuses(place: Any, values: object, text: str) -> None:
    del values
    if is_loaded(place(text)):
        assert is_in_schema(place(text))


def test_no_name_of_a_country_is_refused() -> None:
    """The schema lists codes; a name of three letters or more is the loader's to check, in all languages."""
    names = [*countries._names(("en",)), *countries._names(countries._official_languages()), *countries._codes()]
    known = [name for name in names if len(countries.regions_of(name)) == 1]
    schema = jsonschema.Draft202012Validator(json_schema()["$defs"]["RecipientsSpec"]["properties"]["default_region"])
    assert [name for name in known if not schema.is_valid(name)] == []
    assert len(known) > 10_000
