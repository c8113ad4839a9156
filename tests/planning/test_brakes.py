"""What a start is held against: each limit of a plan by its numbers, and of a day by what live runs have sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import CostLimit, LimitReached
from sender.planning.brakes import (
    Start,
    Stop,
    check_start,
    find_stops,
    limits_of,
    measure_stored,
    read_start,
    with_limits,
)
from sender.planning.day_use import DAY_MS, DayUse, Due
from sender.state.ledger import RunKind
from tests.planning.test_day_use import moment, plan
from tests.state.run_history import ACCEPTED, ADA, GRACE, JEAN, NOON_MS, run_history

USE = DayUse(pl.DataFrame({"at_ms": [NOON_MS, NOON_MS + 60_000], "cost_micros": [1_000_000, 2_000_000]}))
UNPRICED = replace(USE, unpriced=("run-7", "run-9"))
FREE = (moment(NOON_MS + DAY_MS), moment(NOON_MS + 60_000 + DAY_MS))  # of the first message, and of both


@pytest.fixture
def three(tmp_path: Path) -> sender.Plan:
    """The plan of three messages, a dollar each."""
    return plan(tmp_path, ADA, GRACE, JEAN)


def found(three: sender.Plan, day: DayUse | None, due: Due | None, **limits: Any) -> list[Stop]:
    return list(find_stops(Start(with_limits(three, limits).manifest, due=due, day=day)))


@pytest.mark.parametrize(
    ("day", "due", "most", "says", "advises"),
    [
        pytest.param(USE, Due(3, 3_000_000), "6", None, None, id="as much as is left"),
        pytest.param(USE, Due(3, 3_000_000), "5.99", "of the last 24 hours cost 3.00, this start would add 3.00", FREE[0], id="a cent too much"),
        pytest.param(USE, Due(3, 3_000_000), "4.50", "and limits.max_cost_per_day is 4.50", FREE[1], id="more than the first message frees"),
        pytest.param(USE, Due(3, 3_000_000), "2", "would add 3.00", "there is never room for all", id="more than a day may cost"),
        pytest.param(USE, Due(0, 0), "1", None, None, id="nothing is due"),
        pytest.param(UNPRICED, Due(3, 3_000_000), "100", "no price in this currency (run-7, run-9), so the day's cost is unknown", "add prices", id="runs without prices"),
        pytest.param(USE, Due(3, None), "100", "no price in this currency (this plan)", "add prices", id="the plan has none"),
        pytest.param(UNPRICED, Due(0, None), "1", None, None, id="nothing is due and nothing priced"),
        pytest.param(None, None, "1", None, None, id="no live run"),
    ],
)  # fmt: skip
def test_what_a_day_may_cost(
    three: sender.Plan, day: DayUse | None, due: Due | None, most: str, says: str | None, advises: str | None
) -> None:
    stops = found(three, day, due, max_cost_per_day=most)
    assert [stop.limit for stop in stops] == ["max_cost_per_day"] * (says is not None)
    for stop in stops:
        assert (says or "") in stop.found
        assert (advises or "") in stop.fix
        assert type(stop.error()) is CostLimit
        assert not stop.asks


@pytest.mark.parametrize(
    ("due", "most", "says", "advises"),
    [
        pytest.param(Due(3, None), 5, None, None, id="as many as are left"),
        pytest.param(Due(3, None), 4, "live runs have sent 2 messages in the last 24 hours, this start would add 3, and limits.max_messages_per_day is 4", f"`--limit 2` sends 2 of them now; from {FREE[0]} on", id="one too many"),
        pytest.param(Due(3, None, offset=40), 3, "limits.max_messages_per_day is 3", f"`--limit 41` sends 1 of them now; from {FREE[1]} on", id="of a run of which 40 are sent"),
        pytest.param(Due(3, None), 2, "would add 3", "there is never room for all", id="the day is used up"),
        pytest.param(Due(0, None), 1, None, None, id="nothing is due"),
    ],
)  # fmt: skip
def test_how_many_a_day_may_have(
    three: sender.Plan, due: Due, most: int, says: str | None, advises: str | None
) -> None:
    stops = found(three, USE, due, max_messages_per_day=most)
    assert [stop.limit for stop in stops] == ["max_messages_per_day"] * (says is not None)
    for stop in stops:
        assert (says or "") in stop.found
        assert (advises or "") in stop.fix
        assert ("--limit" in stop.fix) is (most > 2)
        assert type(stop.error()) is LimitReached


def test_every_limit_that_is_passed_is_told_in_one_order(three: sender.Plan) -> None:
    limits = {"max_cost_per_day": "1", "max_messages_per_day": 1, "max_cost": "2.99", "max_messages": 2}
    stops = found(three, USE, Due(3, 3_000_000), **limits)
    assert [stop.limit for stop in stops] == ["max_messages", "max_cost", "max_messages_per_day", "max_cost_per_day"]
    allowed = {"max_cost_per_day": "6", "max_messages_per_day": 5, "max_cost": "3", "max_messages": 3}
    assert found(three, USE, Due(3, 3_000_000), **allowed) == []


def test_a_limit_on_a_cost_that_nobody_knows_stops_and_stays_a_limit(tmp_path: Path) -> None:
    unpriced = with_limits(plan(tmp_path, ADA, prices=None), {"max_cost": "5"})
    assert limits_of(unpriced.manifest)["max_cost"] == "5"
    (stop,) = find_stops(Start(unpriced.manifest))
    assert (stop.limit, stop.found.startswith("the plan has no prices in this currency")) == ("max_cost", True)
    (stop,) = find_stops(Start(unpriced.manifest, resumed=True))
    assert stop.found.startswith("the run started with a plan that has no prices")
    assert find_stops(Start(with_limits(unpriced, {"max_cost": None}).manifest)) == ()


def test_limits_change_nothing_of_what_is_sent(three: sender.Plan) -> None:
    limited = with_limits(three, {"max_messages": 9, "max_cost": "7"})
    assert with_limits(limited, {}) is limited
    assert limits_of(with_limits(limited, {"max_messages": 8}).manifest) == {"max_cost": "7", "max_messages": 8}
    assert (limited.hash, limited.manifest.messages) == (three.hash, three.manifest.messages)


@pytest.mark.parametrize(
    ("currency", "total"), [pytest.param("USD", "3.00", id="the same"), pytest.param("EUR", None, id="another")]
)
def test_a_stored_plan_has_today_s_limits_in_today_s_currency(
    three: sender.Plan, tmp_path: Path, currency: str, total: str | None
) -> None:
    stored = with_limits(three, {"max_cost": "1", "max_messages": 1})
    prices = f"currency: {currency}\nprices: [{{to: US, sms: 2}}]\n"
    today = with_limits(plan(tmp_path, ADA, prices=prices), {"max_cost": "8"})
    measured = measure_stored(stored, today.manifest)
    assert limits_of(measured.manifest) == {"max_cost": "8"}
    assert (None if measured.manifest.cost is None else measured.manifest.cost["total"]) == total


@pytest.mark.parametrize(
    ("kind", "limits", "is_read"),
    [
        pytest.param(RunKind.LIVE, {"max_messages_per_day": 9}, True, id="by messages"),
        pytest.param(RunKind.LIVE, {"max_cost_per_day": "9"}, True, id="by cost"),
        pytest.param(RunKind.LIVE, {"max_messages": 9}, False, id="not by the day"),
        pytest.param(RunKind.REHEARSAL, {"max_messages_per_day": 9}, False, id="a rehearsal"),
    ],
)
def test_the_last_day_is_read_for_live_runs_that_have_such_a_limit(
    three: sender.Plan, tmp_path: Path, kind: RunKind, limits: dict[str, Any], is_read: bool
) -> None:
    with run_history(tmp_path / "state") as history:
        history.add({ADA: ACCEPTED})
        start = read_start(history.state, with_limits(three, limits), None, kind, limit=2)
    assert not start.resumed
    assert start.due == (Due(2, 2_000_000) if is_read else None)
    assert (None if start.day is None else start.day.messages) == (1 if is_read else None)
    asks_for_prices = "max_cost_per_day" in limits
    assert (None if start.day is None else start.day.unpriced) == (("run-0",) * asks_for_prices if is_read else None)


def test_a_start_that_passes_a_limit_is_refused_and_one_that_does_not_is_not(
    three: sender.Plan, tmp_path: Path
) -> None:
    with run_history(tmp_path / "state") as history:
        run = history.add({ADA: ACCEPTED})
        limited = with_limits(three, {"max_messages_per_day": 3})
        check_start(history.state, limited, None, RunKind.LIVE, limit=2)
        check_start(history.state, limited, run, RunKind.LIVE, limit=None)
        assert read_start(history.state, limited, run, RunKind.LIVE, limit=None).resumed
        with pytest.raises(LimitReached, match="have sent 1 message in the last 24 hours, this start would add 3"):
            check_start(history.state, limited, None, RunKind.LIVE, limit=None)
