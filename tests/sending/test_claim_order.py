"""The order of claims: what closes sooner goes first, and the plan stays the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.campaign.load import load_campaign
from sender.core.canary import CanaryTerms
from sender.plan.plan import Plan
from sender.plan.waves import Interval, Waves
from sender.planning.build import build_plan
from sender.planning.sending_times import Times
from sender.sending.claim_order import arrange, arrange_run
from tests.profiles import examples

ALWAYS: tuple[Interval, ...] = ((0, 1000),)
INTERVALS = {
    "early": ((0, 100),),
    "late": ((50, 200),),
    "broken": ((0, 20), (60, 100)),
    "never": (),
    "always": ALWAYS,
}


def plan_of(zones: Sequence[str | None], blank: Sequence[int] = ()) -> Plan:
    """A plan whose messages are in these zones; `blank` are the rows without a number."""
    rows = [{"phone": "" if n in blank else f"+1202555{100 + n:04d}", "n": str(n)} for n in range(len(zones))]
    campaign = load_campaign(
        name="x",
        provider="sandbox",
        from_="+12025550100",
        recipients={"rows": rows, "caution": False},
        message={"body": "{{ n }}"},
    )
    plan = build_plan(campaign)
    frame = plan.frame.with_columns(zone=pl.Series(zones, dtype=pl.String), places=pl.lit("US"))
    return Plan(plan.manifest, frame)


def times_of(zone: str | None, places: str | None) -> Times:
    assert places == "US"
    return Times(INTERVALS[zone or "always"], (zone or "always",))


def order_of(plan: Plan) -> list[str]:
    """The texts in the order of the claims."""
    return plan.scan().filter(pl.col("seq").is_not_null()).sort("seq").collect()["body"].to_list()


def test_what_closes_sooner_goes_first_then_what_opens_sooner_then_the_file() -> None:
    plan = arrange(plan_of(["always", "late", "early", "broken", "never", "early"]), times_of, 0)
    assert order_of(plan) == ["4", "2", "5", "3", "1", "0"]
    waves = Waves.of(plan.manifest.waves)
    assert [(wave.first, wave.end, wave.intervals) for wave in waves] == [
        (0, 1, ()),
        (1, 3, ((0, 100),)),
        (3, 4, ((0, 20), (60, 100))),
        (4, 5, ((50, 200),)),
        (5, 6, ALWAYS),
    ]


def test_the_first_of_the_file_come_first_in_any_case() -> None:
    plan = arrange(plan_of(["always", "late", "early", "early"]), times_of, 0, first=2)
    assert order_of(plan) == ["1", "0", "2", "3"]


def test_rows_without_a_message_stay_and_the_file_order_comes_back() -> None:
    plan = arrange(plan_of(["always", "late", "early", "late"], blank=[1]), times_of, 0)
    assert order_of(plan) == ["2", "3", "0"]
    assert plan.frame["row_number"].to_list() == [1, 2, 3, 4]
    assert plan.frame["seq"].to_list() == [2, None, 0, 1]
    assert plan.scan().collect()["seq"].to_list() == [0, 1, 2, None]


def test_a_plan_in_order_already_keeps_its_rows() -> None:
    before = plan_of(["early", "late", "always"])
    after = arrange(before, times_of, 0)
    assert after.frame.equals(before.frame)
    assert len(after.manifest.waves) == 3


def with_canary(plan: Plan, first: int) -> Plan:
    """The plan with a canary of that many messages."""
    return plan.with_manifest(replace(plan.manifest, canary=CanaryTerms(first).to_manifest()))


def test_the_canary_is_spread_over_what_may_leave_now_and_goes_before_all_others() -> None:
    plan = with_canary(plan_of(["late", *["always", "early"] * 4]), 3)
    plan = arrange(plan, times_of, 10)
    assert plan.manifest.canary is not None
    assert plan.manifest.canary["size"] == 3
    assert order_of(plan) == ["2", "8", "5", "4", "6", "0", "1", "3", "7"]
    assert plan.frame["row_number"].is_sorted()
    waves = Waves.of(plan.manifest.waves)
    ends = [(wave.end, wave.intervals) for wave in waves]
    assert ends == [(2, ((0, 100),)), (3, ALWAYS), (5, ((0, 100),)), (6, ((50, 200),)), (9, ALWAYS)]


def test_a_canary_without_windows_is_every_kth_of_the_file(tmp_path: Path) -> None:
    before = with_canary(plan_of([None] * 10, blank=[1]), 3)
    plan = arrange_run(before, 10)
    assert order_of(plan) == ["0", "4", "7", "2", "3", "5", "6", "8", "9"]
    assert (plan.hash, plan.identity, plan.manifest.waves) == (before.hash, before.identity, ())
    again = plan.write(tmp_path / "plan")
    assert again.frame["row_number"].to_list() == plan.frame["row_number"].to_list() == list(range(1, 11))
    assert arrange_run(before, 10, first=4).scan().collect()["row_number"].to_list() == [1, 4, 5, 3, 6, 7, 8, 9, 10, 2]
    assert arrange_run(plan_of([None] * 3), 10).scan().collect()["seq"].to_list() == [0, 1, 2]


@given(st.lists(st.sampled_from([*INTERVALS, None]), min_size=1, max_size=12), st.integers(0, 14))
@settings(max_examples=examples(30))
def test_every_message_is_in_one_wave_with_its_own_times(zones: list[str | None], first: int) -> None:
    before = plan_of(zones)
    after = arrange(before, times_of, 0, first=first)
    assert after.hash == before.hash
    assert after.identity == before.identity
    rows = after.frame
    assert sorted(rows["seq"]) == list(range(len(zones)))
    waves = Waves.of(after.manifest.waves)
    assert [wave.first for wave in waves] == [0, *(wave.end for wave in waves[:-1])]
    for seq, zone in rows.select("seq", "zone").iter_rows():
        wave = waves[waves.index_of(seq)]
        assert wave.intervals == INTERVALS[zone or "always"]
        assert zone is None or zone in wave.zones
    head = rows.sort("row_number")["seq"].head(min(first, len(zones)))
    assert sorted(head) == list(range(len(head)))


def test_written_and_read_back_it_is_the_same(tmp_path: Path) -> None:
    plan = arrange(plan_of(["always", "late", "early"]), times_of, 0)
    stored = plan.write(tmp_path / "plan")
    again = Plan.open(tmp_path / "plan")
    assert again.frame.equals(plan.frame)
    assert again.manifest.waves == plan.manifest.waves == stored.manifest.waves
    assert order_of(again) == order_of(plan)
