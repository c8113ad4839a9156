"""`sender rules`: the shipped rules as people and programs read them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime

import pytest

import sender as library
from sender.cli import rules
from sender.core.errors import InputError
from sender.rules import rule_sets
from tests.cli.conftest import Shell

NO_ADVICE = "This is not legal advice"


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """29 November 2026: rules grow old."""
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    monkeypatch.setattr(rules, "wall_clock_ms", lambda: lambda: round(now.timestamp() * 1000))


def test_the_default_set_is_listed_with_sources_and_dates(sender: Shell) -> None:
    listed = sender("rules")
    assert listed.code == 0
    rows = {line.split()[0]: line for line in listed.out.splitlines() if line.startswith("  us-")}
    assert list(rows) == [rule.id for rule in library.list_rules(rule_set="us")]
    for shown in ("US-FL", "08:00-20:00", "from 2021-07-01", "2026-11-29", "statute", "Fla. Stat. 501.616(6)(a)"):
        assert shown in rows["us-fl-hours"]
    assert "at most 3/24h" in rows["us-ok-cap"]
    assert "secondary" in rows["us-ok-cap"]
    assert "rules 2026.11. " + NO_ADVICE in listed.out
    assert "sender rules --set strict" in listed.out
    assert "warning" not in listed.out


@pytest.mark.parametrize("place", ["US-FL", "us-fl", "US|US-FL"])
def test_the_rules_of_a_place_have_quotes_and_addresses(sender: Shell, place: str) -> None:
    listed = sender("rules", place)
    assert listed.code == 0
    assert "us-hours: 08:00-21:00 (US, texts; set us)" in listed.out
    assert '"before 8 a.m. or after 8 p.m. local time in the called person\'s time zone"' in listed.out
    assert "http://www.leg.state.fl.us/statutes/" in listed.out
    assert "us-tx-hours" not in listed.out
    assert NO_ADVICE in listed.out


def test_a_place_shows_what_strict_has_unless_a_set_is_named(sender: Shell) -> None:
    assert "us-pa-holidays: not on holidays: US-PA, good-friday" in sender("rules", "US-PA").out
    assert "us-pa-holidays" not in sender("rules", "US-PA", "--set", "us-federal").out
    assert "us-pa-holidays" in sender("rules", "--set", "strict").out


def test_json_has_every_field(sender: Shell) -> None:
    listed = sender("rules", "US-FL", "--set", "us", "--json").json
    assert (listed["version"], listed["old"]) == ("rules 2026.11", [])
    assert listed["note"].startswith(NO_ADVICE)
    by_id = {rule["id"]: rule for rule in listed["rules"]}
    assert by_id["us-revoke-all"]["in_force"] is False
    assert by_id["us-fl-cap"] | {"quote": "", "exception": ""} == {
        "in_force": True,
        "id": "us-fl-cap",
        "jurisdiction": "US-FL",
        "set": "us",
        "scope": "texts",
        "kind": "cap",
        "value": "3/24h",
        "basis": "recipient",
        "citation": "Fla. Stat. 501.616(6)(b)",
        "url": by_id["us-fl-hours"]["url"],
        "read": "https://flsenate.gov/Session/Bill/2021/1120/BillText/Filed/HTML",
        "quote": "",
        "exception": "",
        "as_of": "2026-11-29",
        "confidence": "statute",
        "effective_from": "2021-07-01",
        "effective_to": None,
    }


@pytest.mark.parametrize("place", ["Florida", "FL-", "USA", "1"])
def test_what_is_no_code_of_a_place_is_refused(sender: Shell, place: str) -> None:
    refused = sender("rules", place)
    assert refused.code == 2
    assert "is not the code of a place" in refused.err
    assert "write US, US-FL or FR" in refused.err


def test_a_place_without_rules_is_not_an_error(sender: Shell) -> None:
    listed = sender("rules", "JP")
    assert listed.code == 0
    assert "no rule is known for JP" in listed.out


def test_an_old_rule_is_warned_of(sender: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    read = rule_sets._read("us")
    old = tuple(
        dataclasses.replace(rule, as_of=date(2020, 1, 1)) if rule.id == "us-fl-cap" else rule for rule in read[1]
    )
    monkeypatch.setattr(rule_sets, "_read", lambda _: (read[0], old))
    rule_sets._load.cache_clear()
    try:
        listed = sender("rules")
        assert "warning: us-fl-cap was last looked up more than twelve months ago" in listed.out
        assert "2020-01-01 (old)" in listed.out
        assert sender("rules", "--json").json["old"] == ["us-fl-cap"]
    finally:
        rule_sets._load.cache_clear()


def test_the_same_from_python() -> None:
    assert [rule.id for rule in library.list_rules("US-TX", rule_set="us")] == [
        "us-hours", "us-revocation", "us-revoke-all", "us-tx-hours", "us-tx-registration",
    ]  # fmt: skip
    assert library.list_rules() == library.list_rules(rule_set="strict")
    with pytest.raises(InputError, match="'eu' is not a set of rules"):
        library.list_rules(rule_set="eu")
    with pytest.raises(InputError, match="'Florida' is not the code of a place"):
        library.list_rules("Florida")
