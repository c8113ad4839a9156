"""What a plan costs: exact sums, nothing for free, and a limit that stops before the first message."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sender import build_plan, load_campaign, send
from sender.campaign.prices import load_prices
from sender.core.errors import CampaignError, CostLimit
from sender.plan.plan import Plan
from sender.planning.costs import cost_problem, find_price, sum_costs
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions

PRICES = """\
currency: USD
prices:
  - {to: US, sms: 0.0079, sms_fee: 0.003, mms: 0.02, mms_fee: 0.01}
  - {to: US, from: toll_free, sms: 0.1}
  - {to: "+1416", sms: 0.5}
"""
ADA, BOB, CAN, FR = "+12025550101", "+12025550102", "+14165550101", "+33639980011"


def plan(folder: Path, *numbers: str, table: str = PRICES, **keys: Any) -> Plan:
    (folder / "prices.yaml").write_text(table, encoding="utf-8")
    given = {
        "provider": "sandbox",
        "from_": "+12025550100",
        "message": "Hi",
        "recipients": {"rows": [{"phone": one} for one in numbers]},
        "prices": str(folder / "prices.yaml"),
    }
    return build_plan(load_campaign({"name": "t"}, **{**given, **keys}))


@pytest.mark.parametrize(
    ("keys", "micros"),
    [
        pytest.param({}, 10_900, id="price and fee"),
        pytest.param({"message": "x" * 161}, 21_800, id="for each segment"),
        pytest.param({"from_": "+18335550100"}, 100_000, id="toll-free sender"),
        pytest.param({"message": {"body": "x" * 500, "media": "https://media.example.com/a.jpg"}}, 30_000, id="an MMS once"),
        pytest.param({"send_as_mms": True}, 30_000, id="sent as MMS"),
        pytest.param({"recipients": {"rows": [{"phone": CAN}]}}, 500_000, id="a prefix"),
        pytest.param({"prices": None}, None, id="no table"),
    ],
)  # fmt: skip
def test_what_a_message_costs(keys: dict[str, Any], micros: int | None, tmp_path: Path) -> None:
    assert plan(tmp_path, ADA, **keys).messages["cost_micros"].to_list() == [micros]


def test_a_service_is_a_sender_type_of_its_own(tmp_path: Path) -> None:
    prices = "currency: USD\nprices: [{to: US, sms: 1}, {to: US, from: service, sms: 2}]\n"
    made = plan(tmp_path, ADA, table=prices, from_="MG" + "0" * 32, sandbox={"dialect": "twilio"})
    assert made.messages["cost_micros"].to_list() == [2_000_000]


def test_skipped_rows_cost_nothing_and_messages_without_a_price_are_told(tmp_path: Path) -> None:
    made = plan(tmp_path, ADA, ADA, "555-01", BOB, CAN, "+447400123456")
    assert made.frame["cost_micros"].to_list() == [10_900, None, None, 10_900, 500_000, None]
    assert made.manifest.cost == {
        "currency": "USD",
        "total": "0.5218",
        "by_region": {
            "CA": {"messages": 1, "segments": 1, "cost": "0.50"},
            "US": {"messages": 2, "segments": 2, "cost": "0.0218"},
        },
        "unpriced": {"GB": 1},
        "max_cost": None,
        "table": (tmp_path / "prices.yaml").as_posix(),
    }
    assert [one.role for one in made.manifest.inputs] == ["recipients", "template", "prices"]


def test_regions_are_told_dearest_first_and_a_number_of_none_as_other(tmp_path: Path) -> None:
    """As dear ones by their name. What has no price is not among what it costs."""
    rows = [("US", 1, 30), ("GB", 2, 50), ("GB", 2, 50), ("CA", 1, 100), (None, 1, 7), ("FR", 3, None), ("US", 9, None)]
    told = sum_costs(pl.DataFrame(rows, schema=["region", "segments", "cost_micros"], orient="row"))
    assert list(told["by_region"].items()) == [
        ("CA", {"messages": 1, "segments": 1, "cost": "0.0001"}),
        ("GB", {"messages": 2, "segments": 4, "cost": "0.0001"}),
        ("US", {"messages": 1, "segments": 1, "cost": "0.00003"}),
        ("other", {"messages": 1, "segments": 1, "cost": "0.000007"}),
    ]
    assert (told["total"], told["unpriced"]) == ("0.000237", {"US": 1, "FR": 1})


@pytest.mark.parametrize(
    ("cost", "says", "advises"),
    [
        pytest.param({"max_cost": None}, None, None, id="no limit"),
        pytest.param({"total": "5"}, None, None, id="as much as allowed"),
        pytest.param({"total": "10.5"}, "the plan costs 10.5 USD, and limits.max_cost is 5.00", "nothing was sent", id="more as a number, less as a text"),
        pytest.param({"unpriced": {"GB": 1_200, "FR": 3}}, "1,203 messages have no price (GB 1,200, FR 3)", "to prices.yaml", id="without prices"),
        pytest.param({"unpriced": {"GB": 1}}, "1 message has no price (GB 1)", "to prices.yaml", id="one without a price"),
        pytest.param({"unpriced": {"GB": 1}, "max_cost": None}, None, None, id="without prices and without a limit"),
    ],
)  # fmt: skip
def test_what_a_cost_is_held_against(cost: dict[str, Any], says: str | None, advises: str | None) -> None:
    given = {"currency": "USD", "total": "4.99", "unpriced": {}, "max_cost": "5.00", "table": "prices.yaml", **cost}
    problem = cost_problem(given)
    if says is None:
        assert problem is None
        return
    assert problem is not None
    assert says in problem[0]
    assert (advises or "") in problem[1]


def test_the_longest_prefix_decides_for_one_message_and_for_all(tmp_path: Path) -> None:
    table = "currency: USD\nprices: [{to: '+1', sms: 1}, {to: '+1416', sms: 2}, {to: '+1416555', sms: 3}]\n"
    made = plan(tmp_path, "+14165550101", "+14166750102", ADA, table=table)
    assert made.messages["cost_micros"].to_list() == [3_000_000, 2_000_000, 1_000_000]
    prices = load_prices(tmp_path / "prices.yaml")
    found = [find_price(row, prices, mms=False) for row in made.messages.to_dicts()]
    assert [None if one is None else one.price for one in found] == [3_000_000, 2_000_000, 1_000_000]
    assert find_price(made.messages.to_dicts()[0], prices, mms=True) is None


def test_totals_are_exact_for_any_prices(tmp_path: Path) -> None:
    random.seed(7)
    for _ in range(5):
        price, fee = (f"0.{random.randrange(10**6):06}" for _ in range(2))
        made = plan(
            tmp_path,
            ADA,
            BOB,
            table=f"currency: USD\ndefault: {{sms: {price}, sms_fee: {fee}}}\n",
            message="x" * random.randrange(1, 900),
        )
        assert made.manifest.cost is not None
        assert Fraction(made.manifest.cost["total"]) == made.manifest.segments * (Fraction(price) + Fraction(fee))


def test_prices_do_not_change_what_is_sent(tmp_path: Path) -> None:
    """So a resumed run is not refused for a corrected price."""
    dearer = plan(tmp_path, ADA, table=PRICES.replace("0.0079", "0.0080"))
    assert dearer.hash == plan(tmp_path, ADA).hash == plan(tmp_path, ADA, limits={"max_cost": 1}).hash


def test_a_test_message_is_priced_where_it_goes(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(
        "currency: USD\nprices: [{to: US, sms: 1}, {to: CA, sms: 2}]\n", encoding="utf-8"
    )
    campaign = load_campaign(
        {"name": "t"}, provider="sandbox", from_="+12025550100", message="Hi", recipients=[{"phone": ADA}], prices=str(tmp_path / "prices.yaml")
    )  # fmt: skip
    made = build_plan(campaign, test_to=CAN)
    assert made.messages.select("to", "region", "cost_micros").rows() == [(CAN, "CA", 2_000_000)]


@pytest.mark.parametrize(
    ("most", "numbers", "told"),
    [
        pytest.param("0.0218", [ADA, BOB], None, id="exactly as much is allowed"),
        pytest.param("0.021799", [ADA, BOB], "the plan costs 0.0218 USD, and limits.max_cost is 0.021799", id="a millionth too much"),
        pytest.param("0", [ADA], "limits.max_cost is 0.00", id="nothing at all"),
        pytest.param("9", [ADA, "+447400123456"], "1 message has no price (GB 1), so the plan's cost is unknown", id="no price"),
    ],
)  # fmt: skip
def test_the_limit_stops_before_the_first_message(
    most: str, numbers: list[str], told: str | None, tmp_path: Path
) -> None:
    made = plan(tmp_path, *numbers, limits={"max_cost": most})
    if told is None:
        assert send(made, state_dir=tmp_path / "state").summary.accepted == len(numbers)
        return
    with pytest.raises(CostLimit) as stop:
        send(made, state_dir=tmp_path / "state")
    assert told in str(stop.value)
    assert stop.value.exit_code == 3
    assert not list((tmp_path / "state" / "runs").iterdir())


def test_a_default_price_covers_the_rest(tmp_path: Path) -> None:
    made = plan(tmp_path, ADA, "+447400123456", table=PRICES + "default: {sms: 1}\n", limits={"max_cost": 2})
    assert send(made, state_dir=tmp_path / "state").summary.accepted == 2


def begun(folder: Path, **keys: Any) -> Plan:
    """A plan of two whose run has sent one."""
    made = plan(folder, ADA, BOB, **keys)
    assert send(made, state_dir=folder / "state", limit=1).summary.pending == 1
    return made


def test_a_resumed_run_is_held_against_the_limit_and_prices_of_now(tmp_path: Path) -> None:
    begun(tmp_path)
    for keys in (
        {"limits": {"max_cost": "0.02"}},
        {"limits": {"max_cost": "0.03"}, "table": "currency: USD\ndefault: {sms: 1}\n"},
    ):
        with pytest.raises(CostLimit):
            send(plan(tmp_path, ADA, BOB, **keys), state_dir=tmp_path / "state")
    assert (
        send(plan(tmp_path, ADA, BOB, limits={"max_cost": "0.03"}), state_dir=tmp_path / "state").summary.accepted == 2
    )


@pytest.mark.parametrize(
    ("first", "told"),
    [
        pytest.param({}, "the plan costs 0.0218 USD", id="too dear"),
        pytest.param({"prices": None}, "no prices in this currency", id="without prices"),
        pytest.param({"table": PRICES.replace("USD", "EUR")}, "no prices in this currency", id="another currency"),
    ],
)
def test_a_run_finished_with_its_own_plan_is_held_against_the_limit_too(
    first: dict[str, Any], told: str, tmp_path: Path
) -> None:
    begun(tmp_path, **first)
    other = plan(tmp_path, ADA, message="Another", limits={"max_cost": "0.0109"})
    with pytest.raises(CostLimit, match=told):
        send(other, state_dir=tmp_path / "state", resume=True)


def test_a_rehearsal_meets_the_limit_too(tmp_path: Path) -> None:
    made = plan(tmp_path, ADA, provider="twilio", limits={"max_cost": 0})
    with pytest.raises(CostLimit), open_run(made, SendOptions(state_dir=tmp_path / "state", rehearse=True)):
        pass


def test_a_limit_without_prices_is_no_campaign() -> None:
    campaign = load_campaign(
        provider="sandbox", from_=ADA, message="Hi", recipients=[{"phone": BOB}], limits={"max_cost": 1}
    )
    with pytest.raises(CampaignError, match=r"`limits\.max_cost` is set without `prices`"):
        build_plan(campaign)


@pytest.mark.parametrize("written", ["-1", "lots", "1,50", "10 USD"])
def test_a_limit_that_is_no_amount(written: str) -> None:
    with pytest.raises(CampaignError, match=r"limits\.max_cost.*is not an amount"):
        load_campaign(provider="sandbox", message="Hi", recipients=[{"phone": BOB}], limits={"max_cost": written})
