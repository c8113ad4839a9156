"""The shipped rules: what they say, where they count, since when, and how old they are."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, date, datetime, timedelta
from importlib import resources

import jsonschema
import pytest
import yaml

from sender.core.frequency import FrequencyCap
from sender.rules.holiday_calendar import find_calendar
from sender.rules.openings import closed_at, next_windows
from sender.rules.rule_sets import Confidence, Rule, RuleKind, RuleSet, load_rule_sets

DATA = resources.files("sender.rules") / "data"
FILES = [DATA / "us.yaml", DATA / "strict.yaml"]
TODAY = date(2026, 11, 29)
US, STRICT = load_rule_sets(["us"]), load_rule_sets(["strict"])
NEW_YORK, CHICAGO = "America/New_York", "America/Chicago"


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_data_follow_their_schema(file: resources.abc.Traversable) -> None:
    schema = json.loads((DATA / "rules.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.load(file.read_text(), Loader=yaml.BaseLoader), schema)


def test_the_files_have_one_version_and_each_rule_its_own_id() -> None:
    versions = {yaml.load(file.read_text(), Loader=yaml.BaseLoader)["version"] for file in FILES}
    assert {f"rules {version}" for version in versions} == {US.version}
    ids = [rule.id for rule in STRICT.rules]
    assert len(ids) == len(set(ids))
    for rule in STRICT.rules:
        assert rule.id.upper().startswith(rule.jurisdiction), rule.id
        assert (rule.effective_from or date.min) <= (rule.effective_to or date.max), rule.id
        assert rule.read or rule.confidence is not Confidence.SECONDARY or rule.kind is RuleKind.NOTICE, rule.id


@pytest.mark.parametrize("rule", [rule for rule in STRICT.rules if rule.holidays], ids=lambda rule: rule.id)
def test_the_holidays_of_rules_have_data(rule: Rule) -> None:
    assert rule.holidays is not None
    assert find_calendar(rule.holidays.codes, years=range(2026, 2036)) == rule.holidays


def test_the_default_set_has_the_federal_hours_and_three_states() -> None:
    windows = {rule.jurisdiction: rule.value for rule in US.rules if rule.kind is RuleKind.WINDOW}
    assert windows == {
        "US": "08:00-21:00",
        "US-FL": "08:00-20:00",
        "US-OK": "08:00-20:00",
        "US-TX": "mon-sat 09:00-21:00; sun 12:00-21:00",
    }
    assert {rule.jurisdiction: rule.value for rule in US.rules if rule.cap} == {"US-FL": "3/24h", "US-OK": "3/24h"}
    assert all(rule.confidence is not Confidence.CONFLICTING for rule in US.rules)


@pytest.mark.parametrize("names", [["us-federal"], ["US"], [" us "], ["us", "us-federal"], []], ids=str)
def test_a_set_has_other_names(names: list[str]) -> None:
    assert load_rule_sets(names).rules == (US.rules if names else ())


def test_strict_holds_everything() -> None:
    assert set(US.rules) < set(STRICT.rules)
    assert load_rule_sets(["us", "strict"]).rules == STRICT.rules


@pytest.mark.parametrize("name", ["federal", "eu", "", "us_federal"])
def test_an_unknown_set_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{name!r} is not a set of rules: write us or strict")):
        load_rule_sets([name])


@pytest.mark.parametrize(
    ("places", "names"),
    [
        ("US", ["us-hours"]),
        ("US-FL", ["us-hours", "us-fl-hours"]),
        ("US|US-FL", ["us-hours", "us-fl-hours"]),
        ("US-NY|US-FL", ["us-hours", "us-fl-hours"]),
        ("US-FL|US-TX", ["us-hours", "us-fl-hours", "us-tx-hours"]),
        ("US-CA", ["us-hours"]),
        ("CA", []),
        ("CA-ON", []),
        ("FR", []),
        ("", []),
    ],
)
def test_the_rules_of_every_place_count(places: str, names: list[str]) -> None:
    """The stricter of area-code state and address state: both are places, and all of them count."""
    assert [opening.name for opening in US.openings_for(places, TODAY)] == names


def test_each_opening_names_its_rule_and_its_source() -> None:
    openings = US.openings_for("US|US-FL", TODAY)
    evening = ms("2026-12-01T20:30-05:00")
    (closed,) = closed_at(openings, [NEW_YORK], evening)
    assert (closed.name, closed.source) == ("us-fl-hours", "Fla. Stat. 501.616(6)(a), 501.059")
    assert closed_at(openings, [NEW_YORK], ms("2026-12-01T21:00-05:00")) == openings


def test_texans_get_nothing_before_noon_on_sundays() -> None:
    openings = US.openings_for("US-TX", TODAY)
    sunday = ms("2026-12-06T08:30-06:00")
    ((start, end),) = next_windows(openings, [CHICAGO], sunday)
    assert (start, end) == (ms("2026-12-06T12:00-06:00"), ms("2026-12-06T21:00-06:00"))
    ((monday, _),) = next_windows(openings, [CHICAGO], end)
    assert monday == ms("2026-12-07T09:00-06:00")


def test_effective_dates_count() -> None:
    """Pennsylvania's evening ends at seven from 18 October 2026 on, also in a run that began before."""
    before, after = ms("2026-10-16T19:30-04:00"), ms("2026-10-19T19:30-04:00")
    openings = STRICT.openings_for("US-PA", date(2026, 10, 16))
    assert closed_at(openings, [NEW_YORK], before) == ()
    assert [opening.name for opening in closed_at(openings, [NEW_YORK], after)] == ["us-pa-hours"]
    names = [opening.name for opening in STRICT.openings_for("US-PA", TODAY)]
    assert "us-pa-hours" in names
    assert "us-pa-hours-before-act-47" not in names
    assert "us-pa-hours" not in [opening.name for opening in STRICT.openings_for("US-PA", date(2025, 1, 1))]


def test_pennsylvanian_holidays_are_those_of_its_act() -> None:
    (rule,) = [rule for rule in STRICT.rules if rule.id == "us-pa-holidays"]
    assert rule.holidays is not None
    days = rule.holidays.in_year(2027)
    assert {date(2027, 3, 26), date(2027, 6, 14), date(2027, 11, 2)} <= days
    assert date(2026, 11, 3) in rule.holidays.in_year(2026), "the Tuesday after the first Monday"


def test_caps_name_their_rule() -> None:
    assert US.caps_for("US|US-FL", TODAY) == (FrequencyCap(3, 86_400, "3/24h (rule us-fl-cap)"),)
    assert US.caps_for("US-FL", date(2021, 6, 30)) == ()
    assert US.caps_for("US-MD", TODAY) == ()
    assert [cap.text for cap in STRICT.caps_for("US-MD|US-FL", TODAY)] == [
        "3/24h (rule us-fl-cap)",
        "3/24h (rule us-md-cap)",
    ]


def test_every_window_of_every_rule_opens_within_a_week() -> None:
    for rule in STRICT.rules:
        opening = rule.to_opening()
        if opening is not None:
            assert next_windows([opening], ["UTC"], ms("2026-12-01T00:00+00:00"))[0][0] < ms("2026-12-08T00:00+00:00")
        else:
            assert rule.kind in {RuleKind.CAP, RuleKind.NOTICE}


def test_an_old_rule_is_one_that_nobody_looked_up_for_a_year() -> None:
    newest = max(rule.as_of for rule in STRICT.rules)
    assert STRICT.old_rules(newest + timedelta(days=360)) == ()
    assert set(STRICT.old_rules(newest + timedelta(days=367))) == set(STRICT.rules)


def test_no_rule_is_old_at_the_release() -> None:
    """A release names its day: `SENDER_RELEASE_DATE=2027-03-01 pytest tests/rules/test_rule_sets.py`.

    Without it the day is that of the data's own version, so that the test does not fail with the mere passing of time.
    """
    year, month = map(int, US.version.removeprefix("rules ").split("."))
    day = os.environ.get("SENDER_RELEASE_DATE")
    released = date.fromisoformat(day) if day else date(year, month, 28)
    old = [f"{rule.id} (as of {rule.as_of})" for rule in STRICT.old_rules(released)]
    assert not old, f"look these up again, and set their as_of: {', '.join(old)}"


def test_nothing_asks_the_clock() -> None:
    """What counts depends on the day that is given, not on the one on which the test runs."""
    assert isinstance(US, RuleSet)
    assert US.openings_for("US-FL", date(2019, 1, 1)) != US.openings_for(
        "US-FL", datetime(2026, 1, 1, tzinfo=UTC).date()
    )
