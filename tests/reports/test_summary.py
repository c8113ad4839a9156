"""The totals of a run, its errors, its price and its exit code."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.plan.plan import Plan
from sender.reports.results import results_frame
from sender.reports.summary import ErrorCount, Summary, summarise
from tests.reports.runs import RUN, make_journal, make_plan


@cache
def mixed() -> Plan:
    return make_plan([*[{}] * 9, {"reason": "duplicate"}, {"reason": "duplicate"}, {"reason": "invalid_number"}])


@cache
def mixed_journal() -> pl.DataFrame:
    return make_journal(
        {"seq": 0, "state": "accepted", "status": "delivered", "price": "-0.0075", "currency": "USD", "segments": 3},
        {"seq": 1, "state": "accepted", "status": "delivered", "price": "-0.0075", "currency": "USD"},
        {"seq": 2, "state": "accepted", "status": "failed", "reason": "filtered", "error_code": "30007"},
        {"seq": 3, "state": "rejected", "reason": "invalid_number", "error_code": "21211", "error_message": "bad To"},
        {"seq": 4, "state": "rejected", "reason": "invalid_number", "error_code": "21211", "error_message": "bad too"},
        {"seq": 5, "state": "unknown", "error_message": "the answer did not come within 30 s"},
        {"seq": 6, "state": "pending", "reason": "rate_limited", "error_code": "20429"},
        {"seq": 8, "state": "canceled", "reason": "closed"},
    )


def test_summary_counts_what_became_of_the_rows():
    assert summarise(mixed(), mixed_journal()) == Summary(
        rows=12,
        skipped={"duplicate": 2, "invalid_number": 1},
        accepted=3,
        rejected=2,
        canceled=1,
        unknown=1,
        pending=2,
        statuses={"skipped": 3, "delivered": 2, "pending": 2, "rejected": 2, "canceled": 1, "failed": 1, "unknown": 1},
        errors=(
            ErrorCount("rejected", "invalid_number", "21211", "bad To", 2),
            ErrorCount("failed", "filtered", "30007", None, 1),
            ErrorCount("unknown", None, None, "the answer did not come within 30 s", 1),
            ErrorCount("pending", "rate_limited", "20429", None, 1),
            ErrorCount("canceled", "closed", None, None, 1),
        ),
        segments=5,
        price={"USD": Decimal("0.0150")},
    )


def test_summary_reads_a_written_plan(tmp_path: Path):
    written = mixed().write(tmp_path / "plan")
    assert summarise(written, mixed_journal()) == summarise(mixed(), mixed_journal())
    assert results_frame(written, mixed_journal(), RUN).equals(results_frame(mixed(), mixed_journal(), RUN))


@pytest.mark.parametrize(
    ("plan", "journal", "law", "holds"),
    [
        pytest.param(
            mixed(),
            mixed_journal(),
            "12 rows = 3 skipped + 3 accepted + 2 rejected + 1 canceled + 1 unknown + 2 pending",
            True,
            id="holds",
        ),
        pytest.param(
            make_plan([{}]),
            make_journal({"seq": 0, "state": "intent"}),
            "1 row = 0 skipped + 0 accepted + 0 rejected + 0 canceled + 1 unknown + 0 pending",
            True,
            id="an intent is unknown",
        ),
        pytest.param(
            make_plan([]),
            make_journal(),
            "0 rows = 0 skipped + 0 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending",
            True,
            id="no rows",
        ),
        pytest.param(
            make_plan([{}]),
            make_journal({"seq": 0, "state": "accepted"}, {"seq": 7, "state": "accepted"}),
            "1 row ≠ 0 skipped + 2 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending",
            False,
            id="a journal row without a message",
        ),
        pytest.param(
            make_plan([{}]),
            make_journal({"seq": 0, "state": "lost"}),
            "1 row ≠ 0 skipped + 0 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending",
            False,
            id="a state nobody knows",
        ),
        pytest.param(
            make_plan([{}], rows_in_manifest=2),
            make_journal(),
            "2 rows ≠ 0 skipped + 0 accepted + 0 rejected + 0 canceled + 0 unknown + 1 pending",
            False,
            id="a row lost since the plan was made",
        ),
    ],
)
def test_the_conservation_law(plan: Plan, journal: pl.DataFrame, law: str, holds: bool):
    summary = summarise(plan, journal)
    assert summary.totals_line() == law
    assert summary.holds is holds


@given(st.lists(st.sampled_from(["skip", "absent", "pending", "intent", "accepted", "rejected", "unknown"])))
def test_the_law_holds_for_every_mixture_and_agrees_with_the_results(fates: list[str]):
    plan = make_plan([{"reason": "suppressed"} if fate == "skip" else {} for fate in fates])
    sent = [fate for fate in fates if fate != "skip"]
    journal = make_journal(*({"seq": n, "state": fate} for n, fate in enumerate(sent) if fate != "absent"))
    summary = summarise(plan, journal)
    assert summary.holds
    assert summary.accepted == fates.count("accepted")
    assert summary.unknown == fates.count("unknown") + fates.count("intent")
    statuses = results_frame(plan, journal, RUN)["status"].to_list()
    assert summary.statuses == {status: statuses.count(status) for status in set(statuses)}


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        pytest.param([], 0, id="only pending"),
        pytest.param([{"state": "accepted", "status": "queued"}], 0, id="queued"),
        pytest.param([{"state": "accepted", "status": "delivered"}], 0, id="delivered"),
        pytest.param([{"state": "accepted", "status": "canceled"}], 0, id="canceled on purpose"),
        pytest.param([{"state": "accepted", "status": "unconfirmed"}], 0, id="no receipt will come"),
        pytest.param([{"state": "accepted", "status": "failed"}], 1, id="failed"),
        pytest.param([{"state": "accepted", "status": "undelivered"}], 1, id="undelivered"),
        pytest.param([{"state": "rejected"}, {"state": "accepted"}], 1, id="one rejected"),
        pytest.param([{"state": "canceled", "reason": "closed"}, {"state": "accepted"}], 1, id="one canceled by us"),
        pytest.param([{"state": "unknown"}, {"state": "rejected"}], 4, id="unknown before rejected"),
        pytest.param([{"state": "intent"}], 4, id="intent"),
    ],
)
def test_exit_code(rows: list[dict[str, str]], code: int):
    plan = make_plan([{}, {}, {"reason": "duplicate"}])
    journal = make_journal(*({"seq": seq, **row} for seq, row in enumerate(rows)))
    assert summarise(plan, journal).exit_code == code


@pytest.mark.parametrize(
    ("prices", "total"),
    [
        pytest.param([("0.1", "USD")] * 3, {"USD": "0.3"}, id="exact"),
        pytest.param([("-0.0075", "USD"), ("0.0040", "USD")], {"USD": "0.0115"}, id="a charge may be negative"),
        pytest.param([("1", "EUR"), ("2", "USD")], {"EUR": "1", "USD": "2"}, id="by currency"),
        pytest.param([("1", None)], {"": "1"}, id="no currency"),
        pytest.param([(None, "USD"), ("n/a", "USD"), ("NaN", "USD")], {}, id="none readable"),
    ],
)
def test_price(prices: list[tuple[str | None, str | None]], total: dict[str, str]):
    rows = [
        {"seq": seq, "state": "accepted", "price": price, "currency": currency}
        for seq, (price, currency) in enumerate(prices)
    ]
    summary = summarise(make_plan([{}] * len(prices)), make_journal(*rows))
    assert summary.price == {currency: Decimal(amount) for currency, amount in total.items()}
