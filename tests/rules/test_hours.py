"""Hours, days and holidays of a window as people write them."""

from __future__ import annotations

import re
from datetime import date

import pytest

from sender.rules.holiday_calendar import find_calendar
from sender.rules.hours import format_days, format_hours, parse_days, parse_hours


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("09:00-20:00", "09:00-20:00"),
        ("9:00 - 20:00", "09:00-20:00"),
        ("9-20", "09:00-20:00"),
        ("09:00\N{EN DASH}20:00", "09:00-20:00"),
        ("9am-8pm", "09:00-20:00"),
        ("9 a.m. to 8:30 p.m.", "09:00-20:30"),
        ("12am-12pm", "00:00-12:00"),
        ("0-24", "00:00-24:00"),
        ("18:00-24:00", "18:00-24:00"),
        ("09:00-12:00, 14:00-20:00", "09:00-12:00, 14:00-20:00"),
        ("14-20,9-12", "09:00-12:00, 14:00-20:00"),
        ("9-12, 12-14", "09:00-12:00, 12:00-14:00"),
        (["9-12", "14-20"], "09:00-12:00, 14:00-20:00"),
        (" 10:15-10:16 ", "10:15-10:16"),
    ],
)
def test_hours_as_people_write_them(text: object, shown: str) -> None:
    ranges = parse_hours(text)
    assert format_hours(ranges) == shown
    assert parse_hours(shown) == ranges


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("21:00-02:00", 'run past midnight, but a range belongs to one day: write "21:00-24:00, 00:00-02:00"'),
        ("9-8", 'or "09:00-20:00" for the evening'),
        ("20:00-0:00", 'end at midnight: write "20:00-24:00"'),
        ("9-9", 'are empty: write "00:00-24:00" for the whole day'),
        ("9-12, 11-14", 'the hours 09:00-12:00 and 11:00-14:00 overlap: write "09:00-14:00" for both'),
        ("9-20, 10-11", 'write "09:00-20:00" for both'),
        ("9", 'is not a range of hours: write hours: "09:00-20:00"'),
        ("", "is not a range of hours"),
        ("9-12-14", "is not a range of hours"),
        ("09:00-20:00,", "is not a range of hours"),
        ("9.30-20", "'9.30' in '9.30-20' is not a time of day"),
        ("9:5-20", "'9:5' in '9:5-20' is not a time of day"),
        ("25-26", "the times of a day are 00:00 to 24:00"),
        ("9:60-10", "the times of a day are 00:00 to 24:00"),
        ("9-24:01", "the times of a day are 00:00 to 24:00"),
        ("13pm-14pm", "write 8am-9pm or 08:00-21:00"),
        ("morning", "is not a range of hours"),
        ("none", "`window: {rules: none}` leaves out the shipped rules"),
        ("Off", "`window: {rules: none}` leaves out the shipped rules"),
        (540, "in quotes"),
        (None, "in quotes"),
        ([9, 20], "in quotes"),
    ],
)
def test_impossible_hours_are_refused_with_a_fix(value: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_hours(value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mon-sat", "mon-sat"),
        ("Mon, Wed-Fri", "mon, wed-fri"),
        ("monday to friday", "mon-fri"),
        ("weekdays", "mon-fri"),
        ("weekend", "sat-sun"),
        ("sat-mon", "mon, sat-sun"),
        ("all", "all"),
        ("daily", "all"),
        ("mon-sun", "all"),
        ("tues, thurs", "tue, thu"),
        (["mon", "tue"], "mon-tue"),
        ("su", "sun"),
    ],
)
def test_days_as_people_write_them(text: object, shown: str) -> None:
    days = parse_days(text)
    assert format_days(days) == shown
    assert parse_days(shown) == days


@pytest.mark.parametrize("value", ["", "funday", "mon-", "mon-tue-wed", "mon tue", 3, None, [], "1-5"])
def test_what_names_no_days_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="write mon-sat"):
        parse_days(value)


def test_holidays_of_countries_and_parts_of_them() -> None:
    calendar = find_calendar(["us", "US-MA"], years=[2027])
    assert str(calendar) == "US, US-MA"
    days = calendar.in_year(2027)
    assert date(2027, 4, 19) in days, "Patriots' Day of Massachusetts"
    assert {date(2027, 7, 4), date(2027, 7, 5)} <= days, "a Sunday, and the Monday on which it is observed"
    assert date(2027, 4, 19) not in find_calendar(["US"]).in_year(2027)


def test_holidays_of_ones_own() -> None:
    calendar = find_calendar(["2026-12-23", "12-24", "02-29", "good-friday"], years=[2026])
    assert calendar.in_year(2026) == {date(2026, 12, 23), date(2026, 12, 24), date(2026, 4, 3)}
    assert calendar.in_year(2028) == {date(2028, 2, 29), date(2028, 4, 14), date(2028, 12, 24)}


@pytest.mark.parametrize("code", ["FR-57", "fr-6ae"])
def test_alsace_has_good_friday(code: str) -> None:
    assert date(2027, 3, 26) in find_calendar([code]).in_year(2027)
    assert date(2027, 3, 26) not in find_calendar(["FR"]).in_year(2027)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("TA", "'TA' is not a code of the holidays package"),
        ("USA-", "'USA-' is not a code"),
        ("", "'' is not a code"),
        ("US-ZZ", "has no part 'ZZ' of US: it knows AK, AL"),
        ("FR-GES", "has no part 'GES' of FR: it knows 57, 6AE"),  # the package takes it, and leaves Alsace's days out
        ("JP-13", "it knows no parts of it: write JP"),
        ("3", "'3' is not a code"),
        ("2026-02-30", "'2026-02-30' is not a day of the calendar: write 2026-12-24, or 12-24 for every year"),
        ("13-24", "'13-24' is not a day of the calendar"),
        ("2026-1-1", "'2026-1-1' is not a code"),
    ],
)
def test_an_unknown_code_is_refused(code: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        find_calendar([code])


def test_a_code_without_data_for_the_year_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no holidays of SA in 1800: leave the code out, or name another place"):
        find_calendar(["SA"], years=[2027, 1800])
