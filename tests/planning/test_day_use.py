"""What live runs have sent in a day, and what a start would add to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.planning.day_use import DAY_MS, DayUse, Due, find_due, read_day_use
from sender.state.ledger import Run, RunKind
from tests.state.run_history import (
    ACCEPTED,
    ADA,
    GRACE,
    INTENT,
    JEAN,
    MARY,
    MINUTE_MS,
    NOON_MS,
    PENDING,
    RADIA,
    REJECTED,
    UNKNOWN,
    RunHistory,
    run_history,
)

PEOPLE = (ADA, GRACE, JEAN)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path / "state") as runs:
        yield runs


def plan(folder: Path, *people: str, prices: str | None = "currency: USD\nprices: [{to: US, sms: 1}]\n") -> sender.Plan:
    """The plan of a campaign to these numbers, by itself a dollar a message."""
    keys: dict[str, Any] = {}
    if prices is not None:
        (folder / "prices.yaml").write_text(prices, encoding="utf-8")
        keys = {"prices": str(folder / "prices.yaml")}
    rows = [{"phone": number} for number in people]
    return sender.build_plan(
        sender.load_campaign(
            name="priced", provider="twilio", from_="+12025550199", message="Hi", recipients=rows, **keys
        )
    )


def moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M %Z}"


class TestWhatIsFree:
    USE = DayUse(
        pl.DataFrame({"at_ms": [NOON_MS, NOON_MS + MINUTE_MS, NOON_MS + 2 * MINUTE_MS], "cost_micros": [10, None, 20]})
    )

    @pytest.mark.parametrize(("count", "minute"), [(1, 0), (2, 1), (3, 2), (4, None)])
    def test_there_is_room_once_so_many_messages_are_a_day_old(self, count: int, minute: int | None) -> None:
        free = None if minute is None else moment(NOON_MS + DAY_MS + minute * MINUTE_MS)
        assert self.USE.frees_messages_at(count) == free

    @pytest.mark.parametrize(("micros", "minute"), [(10, 0), (11, 2), (30, 2), (31, None)])
    def test_there_is_money_once_messages_of_that_cost_are_a_day_old(self, micros: int, minute: int | None) -> None:
        free = None if minute is None else moment(NOON_MS + DAY_MS + minute * MINUTE_MS)
        assert self.USE.frees_cost_at(micros) == free

    def test_messages_without_a_price_count_as_messages(self) -> None:
        assert (self.USE.messages, self.USE.cost_micros) == (3, 30)


class TestTheLastDay:
    def test_what_may_have_been_sent_by_live_runs_counts(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED, GRACE: UNKNOWN, JEAN: INTENT, MARY: REJECTED, RADIA: PENDING})
        history.add({ADA: ACCEPTED}, kind=RunKind.REHEARSAL)
        history.add({ADA: ACCEPTED}, kind=RunKind.of("sandbox", rehearse=False), provider="sandbox")
        history.add({ADA: ACCEPTED})
        use = read_day_use(history.state, currency=None)
        assert use.times["at_ms"].to_list() == [NOON_MS] * 3 + [NOON_MS + 3 * MINUTE_MS]
        assert (use.messages, use.cost_micros, use.unpriced) == (4, 0, ())

    def test_a_day_later_it_counts_no_more(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED})
        history.add({GRACE: ACCEPTED})
        history.now_ms = NOON_MS + DAY_MS + MINUTE_MS // 2
        assert read_day_use(history.state, currency=None).times["at_ms"].to_list() == [NOON_MS + MINUTE_MS]

    def test_without_a_run_it_is_nothing(self, history: RunHistory) -> None:
        use = read_day_use(history.state, currency="USD")
        assert (use.messages, use.cost_micros, use.unpriced) == (0, 0, ())

    @pytest.mark.parametrize(
        ("prices", "currency", "cost"),
        [
            pytest.param("currency: USD\nprices: [{to: US, sms: 1.5}]\n", "USD", [1_500_000] * 2, id="priced"),
            pytest.param("currency: EUR\nprices: [{to: US, sms: 1.5}]\n", "USD", [None] * 2, id="in another currency"),
            pytest.param("currency: USD\nprices: [{to: GB, sms: 1}]\n", "USD", [None] * 2, id="not this country"),
            pytest.param(None, "USD", [None] * 2, id="without prices"),
            pytest.param("currency: USD\nprices: [{to: US, sms: 1.5}]\n", None, [None] * 2, id="nobody asks"),
        ],
    )
    def test_each_message_has_its_price(
        self, history: RunHistory, tmp_path: Path, prices: str | None, currency: str | None, cost: list[int | None]
    ) -> None:
        run = history.add({ADA: ACCEPTED, GRACE: ACCEPTED, JEAN: REJECTED})
        history.lose_plan(run)
        history.state.plans.save(run, plan(tmp_path, ADA, GRACE, JEAN, prices=prices))
        use = read_day_use(history.state, currency=currency)
        assert use.times.rows() == [(NOON_MS, each) for each in cost]
        assert dict(use.times.schema) == {"at_ms": pl.Int64(), "cost_micros": pl.Int64()}
        unknown = currency is not None and None in cost
        assert use.unpriced == ((run.run_id,) if unknown else ())
        assert use.cost_micros == sum(filter(None, cost))


class TestWhatIsDue:
    @pytest.mark.parametrize(
        ("limit", "due"),
        [
            pytest.param(None, Due(3, 3_000_000, 0), id="the whole plan"),
            pytest.param(2, Due(2, 2_000_000, 0), id="the first two"),
            pytest.param(9, Due(3, 3_000_000, 0), id="more than there are"),
        ],
    )
    def test_a_new_run_sends_its_messages(
        self, history: RunHistory, tmp_path: Path, limit: int | None, due: Due
    ) -> None:
        assert find_due(history.state, plan(tmp_path, ADA, "12", GRACE, JEAN), None, limit=limit) == due

    @pytest.mark.parametrize(
        ("fates", "limit", "due"),
        [
            pytest.param([ACCEPTED, PENDING, PENDING], None, Due(2, 2_000_000, 1), id="what is left"),
            pytest.param([PENDING, ACCEPTED, PENDING], None, Due(2, 2_000_000, 1), id="before what was sent"),
            pytest.param([PENDING, ACCEPTED, PENDING], 2, Due(1, 1_000_000, 0), id="of the first two"),
            pytest.param([ACCEPTED, UNKNOWN, REJECTED], None, Due(0, 0, 3), id="nothing"),
        ],
    )
    def test_a_resumed_run_sends_what_is_pending(
        self, history: RunHistory, tmp_path: Path, fates: list[Any], limit: int | None, due: Due
    ) -> None:
        run: Run = history.add(dict(zip(PEOPLE, fates, strict=True)))
        assert find_due(history.state, plan(tmp_path, *PEOPLE), run, limit=limit) == due

    @pytest.mark.parametrize("prices", [None, "currency: USD\nprices: [{to: GB, sms: 1}]\n"])
    def test_what_has_no_price_has_an_unknown_cost(
        self, history: RunHistory, tmp_path: Path, prices: str | None
    ) -> None:
        assert find_due(history.state, plan(tmp_path, ADA, prices=prices), None, limit=None) == Due(1, None, 0)
