"""Lookups from Python: the cost before anybody is asked, each answer paid for once, and the command's own answers."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

import sender
from sender.core.errors import CostLimit, CredentialsError, InputError, RunLocked, UnknownRun
from sender.delivery.list_lookups import LOOKUP_COLUMNS, open_list_lookup
from sender.suppression import SuppressionList
from sender.suppression.dead_numbers import dead_entries

PEOPLE = ["+12025550192", "+12025550101", "+12025550187", "+12025550101", "abc"]


@pytest.fixture
def campaign() -> sender.Campaign:
    rows = [{"phone": phone} for phone in PEOPLE]
    return sender.load_campaign(
        name="t",
        provider="sandbox",
        from_="+12025550100",
        message="Hi",
        recipients={"rows": rows, "default_region": "US"},
    )


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    sender.init_state(folder)
    return folder


def test_a_dry_run_names_the_cost_and_asks_nobody(campaign: sender.Campaign, state: Path) -> None:
    options = sender.LookupOptions(state_dir=state, provider="twilio", price="0.008", env={})
    planned = sender.lookup(campaign, options, dry_run=True)
    assert (planned.wanted, planned.due, planned.cost, planned.currency) == (3, 3, Decimal("0.024"), "USD")
    assert planned.frame.is_empty()
    assert planned.frame.columns == list(LOOKUP_COLUMNS)


def test_each_answer_is_kept_and_paid_for_once(campaign: sender.Campaign, state: Path) -> None:
    options = sender.LookupOptions(state_dir=state, limit=2)
    first = sender.lookup(campaign, options)
    assert (first.due, first.result.answered, first.result.charged, first.result.failure) == (2, 2, 2, None)
    rest = asyncio.run(sender.alookup(campaign, options))
    assert (rest.wanted, rest.due, rest.result.answered) == (3, 1, 1)
    assert rest.frame.select("number", "line_type").rows() == [
        ("+12025550192", "fixed_line"),
        ("+12025550101", "mobile"),
        ("+12025550187", "mobile"),  # SignalWire does not tell it from one
    ]
    assert rest.frame.schema["looked_up_at"] == pl.Datetime("ms", "UTC")
    assert sender.lookup(campaign, options).due == 0
    with SuppressionList.open(state) as suppressions:
        assert [entry.number for entry in dead_entries(suppressions)] == ["+12025550192"]


def test_those_that_are_known_are_counted_apart_from_those_that_are_due(campaign: sender.Campaign, state: Path) -> None:
    one = sender.LookupOptions(state_dir=state, limit=1)
    for known, due in ((0, 1), (1, 1), (2, 1), (3, 0)):
        with open_list_lookup(campaign, one) as asked:
            assert (asked.known, len(asked.due), len(asked.wanted)) == (known, due, 3)
        sender.lookup(campaign, one)


def test_two_at_once_pay_for_nothing_twice(campaign: sender.Campaign, state: Path) -> None:
    options = sender.LookupOptions(state_dir=state)

    async def both() -> list[sender.LookedUp | BaseException]:
        return await asyncio.gather(*(sender.alookup(campaign, options) for _ in range(2)), return_exceptions=True)

    first, second = asyncio.run(both())
    assert isinstance(second, RunLocked)
    assert isinstance(first, sender.LookedUp)
    assert first.result.charged == 3
    assert sender.lookup(campaign, options).result.charged == 0


def test_what_another_has_looked_up_since_the_question_is_not_asked_again(
    campaign: sender.Campaign, state: Path
) -> None:
    options = sender.LookupOptions(state_dir=state)
    with open_list_lookup(campaign, options) as asked:
        assert len(asked.due) == 3
        assert sender.lookup(campaign, sender.LookupOptions(state_dir=state, limit=2)).result.charged == 2
        assert asyncio.run(asked.run()).charged == 1


def test_the_whole_list_is_more_than_whom_the_campaign_would_text(campaign: sender.Campaign, state: Path) -> None:
    with SuppressionList.open(state) as suppressions:
        suppressions.add(["+12025550101"], reason=sender.SkipReason.OPTED_OUT)
    texted = sender.LookupOptions(state_dir=state)
    everybody = sender.LookupOptions(state_dir=state, whole_list=True)
    assert [sender.lookup(campaign, each, dry_run=True).wanted for each in (texted, everybody)] == [2, 3]


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        pytest.param(
            {"provider": "twilio"}, InputError, r"(?s)the price of a lookup is unknown.*price=\.\.\.", id="no price"
        ),
        pytest.param({"max_cost": "0.001"}, CostLimit, "3 lookups would cost 0.015 USD", id="too dear"),
        pytest.param({"price": "cheap"}, InputError, "'cheap' is not an amount", id="a bad price"),
        pytest.param({"max_age": "old"}, InputError, "'old' is not a duration", id="a bad age"),
        pytest.param({"reassigned_since": "May"}, InputError, "`May` is not a day", id="a bad day"),
        pytest.param({"provider": "twilio", "price": "1"}, CredentialsError, "TWILIO_ACCOUNT_SID", id="no credentials"),
        pytest.param({"state_dir": "nowhere"}, UnknownRun, "no state directory", id="no state"),
    ],
)
def test_bad_input_has_its_sentence(
    campaign: sender.Campaign, state: Path, options: dict, error: type[Exception], sentence: str
) -> None:
    given = sender.LookupOptions(**{"state_dir": state, "env": {}, **options})
    with pytest.raises(error, match=sentence):
        sender.lookup(campaign, given)


def test_a_running_loop_is_told_to_await(campaign: sender.Campaign) -> None:
    async def call() -> None:
        sender.lookup(campaign)

    with pytest.raises(InputError, match=r"await sender\.alookup"):
        asyncio.run(call())
