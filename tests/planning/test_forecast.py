"""When a plan's messages would leave: now, later, or never, at the plan's pace."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from sender.campaign.load import load_campaign
from sender.core import clock
from sender.core.errors import CampaignError, InputError
from sender.plan.plan import Plan
from sender.planning.build import build_plan
from sender.planning.forecast import Forecast, foresee
from sender.planning.sending_times import SendingTimes

EST, PST, LONDON = "America/New_York", "America/Los_Angeles", "Europe/London"
MONDAY = datetime(2026, 11, 30, tzinfo=UTC)


def ms(hour: float, day: int = 30) -> int:
    """Milliseconds of that hour UTC of a day in November 2026."""
    return round((datetime(2026, 11, day, tzinfo=UTC).timestamp() + hour * 3600) * 1000)


PACE = ("expected_s", "drained_per_s", "units")


@pytest.fixture(autouse=True)
def day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are made before the times of these tests, whatever day it is."""
    monkeypatch.setattr(clock, "time_of_day_ms", lambda: ms(0))


def foreseen(zones: dict[str, int], now_ms: int, **window: Any) -> Forecast:
    """The forecast for so many messages in each zone, at a pace that takes `expected_s` for all of them.

    `drained_per_s` and `units` are of the provider's own pace.
    """
    pace = {name: window.pop(name, None) for name in PACE}
    rows = [{"phone": f"+1202555{100 + n:04d}"} for n in range(sum(zones.values()))]
    campaign = load_campaign(
        name="x",
        provider="sandbox",
        from_="+12025550100",
        recipients={"rows": rows, "caution": False},
        message="hi",
        rate="none",
        window={"hours": "09:00-20:00", **window},
    )
    plan = build_plan(campaign)
    names = [zone for zone, count in zones.items() for _ in range(count)]
    frame = plan.frame.with_columns(zone=pl.Series(names, dtype=pl.String), places=pl.lit(""))
    manifest = replace(plan.manifest, feasibility=pace)
    forecast = foresee(Plan(manifest, frame), now_ms)
    assert forecast is not None
    return forecast


def test_without_a_window_there_is_nothing_to_foresee() -> None:
    campaign = load_campaign(
        name="x", provider="sandbox", from_="+12025550100", recipients=[{"phone": "+12025550101"}], message="hi"
    )
    assert foresee(build_plan(campaign), ms(12)) is None


def test_by_each_recipients_clock() -> None:
    forecast = foreseen({EST: 2, PST: 3, LONDON: 4}, ms(15))  # 10:00, 07:00, 15:00
    assert (forecast.leave_now, forecast.held_messages, forecast.missed) == (6, 3, 0)
    (group,) = forecast.held
    assert (group.until_ms, group.zones, group.messages, group.rules) == (ms(17), (PST,), 3, ("window",))


def test_those_whose_window_closes_first_go_first_though_it_opens_later() -> None:
    """As a run claims them: 50 an hour, and the hundred that may leave from 17:00 to 20:00 have their turn."""
    closing = f"{PST}|{LONDON}"
    forecast = foreseen({EST: 200, closing: 100}, ms(16), expected_s=6 * 3600.0)
    assert (forecast.late, forecast.ends_ms) == (0, ms(22))


def test_holidays_that_nobody_knows_for_that_year_are_an_error_of_input() -> None:
    """The campaign was checked for this year, and its window reaches into one without data."""
    window = {"hours": "09:00-20:00", "days": None, "holidays": ["SA"], "zone": "recipient"}
    at_ms = round(datetime(1800, 6, 1, tzinfo=UTC).timestamp() * 1000)
    with pytest.raises(InputError, match=r"has no holidays of SA in 1800") as caught:
        SendingTimes(window).of("Asia/Riyadh", None, at_ms)
    assert (caught.value.where, caught.value.exit_code) == ("window.holidays", 2)
    assert "(1800-12-24)" in (caught.value.fix or "")


def test_in_several_zones_all_have_to_be_open() -> None:
    forecast = foreseen({f"{EST}|{PST}": 2}, ms(15))
    assert forecast.held[0].until_ms == ms(17)
    assert forecast.held[0].zones == (PST, EST)


@pytest.mark.parametrize(
    ("window", "now_ms", "expected"),
    [
        ({}, ms(15), (1, 1, 0)),
        ({"outside": "skip"}, ms(15), (1, 0, 1)),
        ({"outside": "expire"}, ms(15), (1, 1, 0)),  # Pacific: 07:00, and the day has its hours yet
        ({"outside": "expire"}, ms(2), (0, 0, 2)),  # Eastern: 21:00, and the day is over
    ],
)
def test_what_becomes_of_messages_outside_their_window(
    window: dict[str, str], now_ms: int, expected: tuple[int, int, int]
) -> None:
    zones = {EST: 1, PST: 1} if now_ms == ms(15) else {EST: 2}
    forecast = foreseen(zones, now_ms, **window)
    assert (forecast.leave_now, forecast.held_messages, forecast.never) == expected


def test_what_has_no_turn_before_its_window_closes_is_late() -> None:
    # 100 Eastern messages at 1 a minute, from 19:00 local time on: an hour is left.
    forecast = foreseen({EST: 100}, ms(24), expected_s=6000)
    assert (forecast.leave_now, forecast.late) == (100, 40)


def test_what_closes_sooner_has_its_turn_first() -> None:
    forecast = foreseen({EST: 30, PST: 60}, ms(24), expected_s=5400)  # one a minute: 60 in Eastern's last hour
    assert forecast.late == 0
    assert forecast.ends_ms == ms(25.5)


def test_a_deadline_drops_what_would_leave_later() -> None:
    forecast = foreseen({EST: 100}, ms(15), expected_s=6000, deadline="2026-11-30T11:00 America/New_York")
    assert forecast.late == 40
    forecast = foreseen({PST: 1, EST: 1}, ms(15), deadline="2026-11-30T11:00 America/New_York")
    assert (forecast.leave_now, forecast.never) == (1, 1)


@pytest.mark.parametrize(
    ("expected_s", "units", "late", "by_provider"),
    [
        (None, 100, 40, True),  # nothing limits us; the provider sends on one a minute
        (1.0, 100, 40, True),
        (6000.0, 100, 40, False),  # we are no faster than that
        (None, 200, 70, True),  # two segments a message
        (None, 50, 0, True),
        (None, 0, 0, False),  # the provider writes the text, and nobody knows its size
    ],
)
def test_what_waits_at_the_provider_does_not_arrive_in_time(
    expected_s: float | None, units: int, late: int, by_provider: bool
) -> None:
    """100 Eastern messages, from 19:00 local time on: an hour is left."""
    feasibility = {"expected_s": expected_s, "drained_per_s": 1 / 60, "units": units}
    forecast = foreseen({EST: 100}, ms(24), **feasibility)
    assert (forecast.late, forecast.by_provider) == (late, by_provider)


@pytest.mark.parametrize(("expected_s", "late"), [(None, 0), (6000.0, 40)])
def test_a_provider_that_keeps_up_does_not_decide(expected_s: float | None, late: int) -> None:
    forecast = foreseen({EST: 100}, ms(24), expected_s=expected_s, units=100)
    assert (forecast.late, forecast.by_provider) == (late, False)


@pytest.mark.parametrize(
    ("hours", "seconds", "allowed"),
    [
        pytest.param("09:00-10:00", 3600, True, id="as long as the window"),
        pytest.param("09:00-10:00", 3601, False, id="a second longer"),
        pytest.param("09:00-10:00, 12:00-14:00", 7200, True, id="as long as the longest range"),
        pytest.param("09:00-10:00, 12:00-14:00", 7201, False, id="longer than the longest range"),
    ],
)
def test_a_message_may_be_valid_for_as_long_as_the_window_is_open(hours: str, seconds: int, allowed: bool) -> None:
    campaign = load_campaign(
        name="x",
        provider="twilio",
        from_="+12025550100",
        recipients=[{"phone": "+12025550101"}],
        message="hi",
        window={"hours": hours},
        validity_period=seconds,
    )
    if allowed:
        assert build_plan(campaign).manifest.messages == 1
        return
    with pytest.raises(CampaignError, match=f"validity_period is {seconds} s") as caught:
        build_plan(campaign)
    assert (caught.value.where, f"write {seconds - 1} or less" in str(caught.value.fix)) == ("validity_period", True)
