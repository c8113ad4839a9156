"""What tells one edition of a campaign from another."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import sender
from sender.errors import CampaignError, TemplateError
from sender.planning.edition import render_edition

NEW_YEAR = datetime(2027, 1, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "edition"),
    [
        pytest.param("", "", id="the-only-one"),
        pytest.param("spring", "spring", id="text"),
        pytest.param("{{ date }}", "2027-01-01", id="date"),
        pytest.param("{{ week }}", "2026-W53", id="the-week-of-its-own-year"),
        pytest.param("letter of {{ month }}", "letter of 2027-01", id="month"),
    ],
)
def test_it_is_text_or_a_template(text: str, edition: str) -> None:
    assert render_edition(text, now=NEW_YEAR) == edition


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        pytest.param("{{ weak }}", TemplateError, "weak", id="an-unknown-name"),
        pytest.param("{{ date", TemplateError, "edition", id="not-a-template"),
        pytest.param("{{ '' }}", CampaignError, "blank", id="blank"),
    ],
)
def test_what_cannot_be_one_is_said(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        render_edition(text, now=NEW_YEAR)


def test_it_is_in_the_plan_and_not_in_its_hash() -> None:
    keys = {"provider": "sandbox", "from_": "+12025550100", "message": "Hi", "recipients": [{"phone": "+12025550101"}]}
    first, second = (sender.build_plan(sender.load_campaign(**keys, edition=edition)) for edition in ("1", "2"))
    assert (first.manifest.edition, second.manifest.edition) == ("1", "2")
    assert (first.hash, first.identity) == (second.hash, second.identity)
