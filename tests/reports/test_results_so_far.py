"""Right after a run most messages have no result: reports say so, and shares are of those that have one."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from sender.core.lazy_modules import LazyModule
from sender.reports.figures import build_figures, figures_to_dict
from sender.reports.funnel import make_funnel
from sender.reports.labels import share_delivered
from sender.reports.summary import summarise
from sender.state.ledger import Run, RunKind
from tests.reports.runs import AT, RUN, make_journal, make_plan

run_page = LazyModule("sender.reports.pages.run_page")  # it loads matplotlib, which takes half a second

run = Run(
    run_id=RUN,
    campaign="spring",
    kind=RunKind.LIVE,
    provider="twilio",
    plan_hash="0" * 64,
    source=None,
    rows=4,
    messages=4,
    skipped=0,
    created_at_ms=round(AT.timestamp() * 1000),
    simulated=False,
)


@pytest.mark.parametrize(
    ("delivered", "accepted", "waiting", "shown"),
    [
        pytest.param(75, 78, 0, "96.2 %", id="all have a result"),
        pytest.param(2, 87, 85, "100 % of 2 with a result", id="few have one"),
        pytest.param(1, 87, 85, "50.0 % of 2 with a result", id="one of two"),
        pytest.param(0, 87, 87, "no result yet", id="none has one"),
        pytest.param(0, 0, 0, "", id="none was accepted"),
        pytest.param(999, 1_001, 1, "99.9 % of 1,000 with a result", id="one is missing"),
    ],
)
def test_the_share_of_delivered_messages(delivered: int, accepted: int, waiting: int, shown: str) -> None:
    assert share_delivered(delivered, accepted, waiting) == shown


@pytest.mark.parametrize(
    ("statuses", "not_known"),
    [
        pytest.param(["queued"] * 4, (4, 4), id="nobody has asked"),
        pytest.param(["queued", "sent", "sent", "delivered"], (1, 3), id="some are with the carrier"),
        pytest.param(["delivered", "undelivered", "failed", "unconfirmed"], (0, 0), id="all have a result"),
    ],
)
def test_the_funnel_says_what_is_not_known(statuses: list[str], not_known: tuple[int, int]) -> None:
    rows = [{"seq": n, "state": "accepted", "status": status, "intent_at": AT} for n, status in enumerate(statuses)]
    plan, journal = make_plan([{}] * 4), make_journal(*rows)
    funnel = make_funnel(summarise(plan, journal))
    assert tuple(stage.not_known for stage in funnel[-2:]) == not_known
    assert all(stage.not_known == 0 for stage in funnel[:-2])
    page = run_page.run_html(build_figures(plan, journal, run))
    assert ("have no result yet" in page) == (not_known[1] > 1)
    assert ("--refresh</code> asks the provider" in page) == (not_known[1] > 0)
    groups = figures_to_dict(build_figures(plan, journal, run))["countries"]
    assert groups[0]["waiting"] == not_known[1]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be set")
@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("America/New_York", "2025-11-21 09:30:00 UTC (04:30:00 EST)"),
        ("Asia/Tokyo", "2025-11-21 09:30:00 UTC (18:30:00 JST)"),
        ("UTC", "2025-11-21 09:30:00 UTC."),
    ],
)
def test_a_page_has_both_clocks(zone: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        at = datetime(2025, 11, 21, 9, 30, tzinfo=UTC)
        journal = make_journal({"seq": 0, "state": "accepted", "status": "sent", "intent_at": at})
        page = run_page.run_html(build_figures(make_plan([{}]), journal, run))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown in page
    assert ("Times are UTC." in page) == (zone == "UTC")
