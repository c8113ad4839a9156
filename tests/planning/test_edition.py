"""What tells one edition of a campaign from another."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

import sender
from sender.errors import CampaignError, TemplateError
from sender.planning.edition import edition_at, find_edition, render_edition

NEW_YEAR = datetime(2027, 1, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "edition"),
    [
        pytest.param("", "", id="the-only-one"),
        pytest.param("spring", "spring", id="text"),
        pytest.param("{{ date }}", "2027-01-01", id="date"),
        pytest.param("{{ week }}", "2026-W53", id="the-week-of-its-own-year"),
        pytest.param("{{ row['week'] }}", "2026-W53", id="the-week-as-a-column"),
        pytest.param("letter of {{ month }}", "letter of 2027-01", id="month"),
    ],
)
def test_it_is_text_or_a_template(text: str, edition: str) -> None:
    assert render_edition(text, now=NEW_YEAR) == edition


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        pytest.param("{{ weak }}", TemplateError, "weak", id="an-unknown-name"),
        pytest.param("{{ row['weak'] }}", TemplateError, "weak", id="an-unknown-column"),
        pytest.param("{{ date", TemplateError, "edition", id="not-a-template"),
        pytest.param("{{ '' }}", CampaignError, "blank", id="blank"),
    ],
)
def test_what_cannot_be_one_is_said(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        render_edition(text, now=NEW_YEAR)


@pytest.mark.parametrize(
    ("day", "edition"),
    [
        pytest.param((2026, 1, 4), "2026-01-04 2026-W01 2026-01", id="numbers have two digits"),
        pytest.param((2026, 12, 31), "2026-12-31 2026-W53 2026-12", id="the last week"),
        pytest.param((2024, 12, 30), "2024-12-30 2025-W01 2024-12", id="a week of the next year"),
    ],
)
def test_a_template_knows_the_day(day: tuple[int, int, int], edition: str) -> None:
    assert render_edition(" {{ date }} {{ week }} {{ month }} ", now=datetime(*day, tzinfo=UTC)) == edition


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(TemplateError) as caught:
        render_edition("{{ weak }}", now=NEW_YEAR)
    assert caught.value.where == "edition, line 1"
    assert "did you mean `week`? columns here: `date`, `week`, `month`" in str(caught.value.fix)


def test_it_is_the_day_on_this_machine() -> None:
    before = datetime.now().astimezone()
    assert f"{before:%Y-%m-%d}" <= render_edition("{{ date }}") <= f"{datetime.now().astimezone():%Y-%m-%d}"


def test_a_blank_one_names_the_key_and_what_to_write() -> None:
    with pytest.raises(CampaignError) as caught:
        render_edition("{{ ' ' }}", now=NEW_YEAR)
    assert (caught.value.what, caught.value.where) == ("the edition is blank: its template has no text", "edition")
    with pytest.raises(CampaignError, match=r"the edition is blank: .*[Dd]ivi"):
        render_edition("{{ 1 // 0 }}", now=NEW_YEAR)


def test_it_is_in_the_plan_and_not_in_its_hash() -> None:
    keys = {"provider": "sandbox", "from_": "+12025550100", "message": "Hi", "recipients": [{"phone": "+12025550101"}]}
    first, second = (sender.build_plan(sender.load_campaign(**keys, edition=edition)) for edition in ("1", "2"))
    assert (first.manifest.edition, second.manifest.edition) == ("1", "2")
    assert (first.hash, first.identity) == (second.hash, second.identity)


NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "edition"),
    [
        pytest.param("", "2026-11-30T09:00-05:00", id="the time itself"),
        pytest.param("spring", "spring", id="a text"),
        pytest.param("{{ date }} {{ week }} {{ month }}", "2026-11-30 2026-W49 2026-11", id="a template"),
    ],
)
def test_the_edition_of_a_scheduled_campaign_is_that_of_the_time(text: str, edition: str) -> None:
    """Whoever starts it, and however late: a plan of it is the same edition until the next time."""
    assert edition_at(text, datetime(2026, 11, 30, 9, tzinfo=NEW_YORK)) == edition
    campaign = sender.load_campaign(
        name="t",
        provider="sandbox",
        from_="+12025550100",
        message="Hi",
        recipients=[{"phone": "+12025550101"}],
        schedule={"cron": "0 9 * * mon", "zone": NEW_YORK.key},
        **({"edition": text} if text else {}),
    )
    for begins in (datetime(2026, 11, 30, 14, tzinfo=UTC), datetime(2026, 12, 7, 13, 59, tzinfo=UTC)):
        assert find_edition(campaign, begins=begins) == edition
    a_week_later = find_edition(campaign, begins=datetime(2026, 12, 7, 14, tzinfo=UTC))
    assert (a_week_later == edition) is (text == "spring")


def test_the_edition_of_a_campaign_without_a_schedule_is_that_of_its_start() -> None:
    campaign = sender.load_campaign(
        provider="sandbox", message="Hi", recipients=[{"phone": "+12025550101"}], edition="{{ date }}"
    )
    assert find_edition(campaign, begins=NEW_YEAR) == "2027-01-01"
