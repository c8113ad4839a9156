"""What lookups have said decides who is skipped by type and where somebody is, and never what a plan is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.state.number_facts import LOOKUP, NumberFacts
from sender.state.open import open_numbers

AT = 1_764_000_000_000  # 2025-11-24
AU = "+61491570006"  # a mobile, which may be anywhere in the country


def know(state: Path, number: str, *, simulated: bool = False, **facts: Any) -> None:
    with closing(open_numbers(state)) as known:
        known.put([NumberFacts(number, simulated, LOOKUP, "twilio", AT)._replace(**facts)])


def plan(state: Path | None, numbers: list[str], *, provider: str = "twilio", **keys: Any) -> sender.Plan:
    people = pl.DataFrame({"phone": numbers})
    given = {"provider": provider, "from_": "+12025550100", "message": "Hi", "name": "offer"}
    recipients = {"frame": people, **keys.pop("recipients", {})}
    return sender.build_plan(sender.load_campaign(recipients=recipients, **given, **keys), state_dir=state)


def number(n: int) -> str:
    return f"+120255501{n:02}"


def test_a_type_that_a_lookup_found_is_left_out_and_the_plan_is_the_same(tmp_path: Path) -> None:
    numbers = [number(1), number(2), number(3), number(4)]
    recipients = {"skip_types": ["voip", "landline"]}
    before = plan(tmp_path, numbers, recipients=recipients)
    know(tmp_path, number(1), line_type="voip")
    know(tmp_path, number(2), line_type="fixed_line")
    know(tmp_path, number(3), line_type="mobile")
    after = plan(tmp_path, numbers, recipients=recipients)
    assert after.frame["reason"].to_list() == ["suppressed", "landline", None, None]
    assert after.frame["detail"][0] == (
        "a voip number (so said twilio on 2025-11-24), a type that recipients.skip_types leaves out"
    )
    assert (after.hash, after.identity) == (before.hash, before.identity), "or a sent plan would look unsent"
    assert plan(tmp_path, numbers).frame["reason"].null_count() == 4, "nobody asked"


def test_what_a_sandbox_said_counts_for_simulations_alone(tmp_path: Path) -> None:
    recipients = {"skip_types": ["voip"]}
    know(tmp_path, number(1), simulated=True, line_type="voip")
    know(tmp_path, number(2), line_type="voip")
    know(tmp_path, number(2), simulated=True, line_type="mobile")
    live = plan(tmp_path, [number(1), number(2)], recipients=recipients)
    assert live.frame["reason"].to_list() == [None, "suppressed"]
    simulated = plan(tmp_path, [number(1), number(2)], recipients=recipients, provider="sandbox")
    assert simulated.frame["reason"].to_list() == ["suppressed", None]


@pytest.mark.parametrize(
    ("to", "said", "zone", "source"),
    [
        pytest.param(AU, "Australia/Perth", "Australia/Perth", "lookup", id="one of the country's"),
        pytest.param(AU, "Australia/Perth|Europe/Paris", "Australia/Perth", "lookup", id="and one of elsewhere"),
        pytest.param(AU, "Europe/Paris", None, "region", id="none of the country's"),
        pytest.param(AU, "not a zone", None, "region", id="no zone"),
        pytest.param(number(1), "America/Los_Angeles", "America/New_York", "area_code", id="the number knows better"),
    ],
)
def test_a_zone_narrows_what_the_country_leaves_open(
    tmp_path: Path, to: str, said: str, zone: str | None, source: str
) -> None:
    window = {"window": "09:00-20:00"}
    before = plan(tmp_path, [to], **window)
    know(tmp_path, to, zone=said)
    after = plan(tmp_path, [to], **window)
    assert after.frame["zone"].item() == (zone or before.frame["zone"].item())
    assert after.frame["zone_source"].item() in (source, "exchange" if source == "area_code" else source)
    assert after.hash == before.hash


def test_a_column_of_zones_goes_before_a_lookup(tmp_path: Path) -> None:
    know(tmp_path, AU, zone="Australia/Perth")
    people = pl.DataFrame({"phone": [AU], "timezone": ["Australia/Hobart"]})
    campaign = sender.load_campaign(
        recipients=people, provider="twilio", from_="+12025550100", message="Hi", name="o", window="09:00-20:00"
    )
    assert sender.build_plan(campaign, state_dir=tmp_path).frame["zone"].item() == "Australia/Hobart"
