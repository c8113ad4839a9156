"""What the senders of a shared run are told, and what each makes of it on its own machine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sender.plan.pace import Pace, Queue
from sender.sending.options import SendOptions
from sender.sending.shifts.order import Order
from sender.sending.shifts.shift import partition

ADA, FROM = "+12025550101", "+12025550199"
DATABASE = "postgresql://localhost/campaigns"
PACE = Pace("9/s", 9.0, "segments", concurrency=7, retries=1, timeout_s=9.5, senders={FROM: 1.0}, queue=Queue(60, 2.0))
ORDERS = [
    pytest.param(Order(PACE, 3), id="nothing asked for"),
    pytest.param(
        Order(
            PACE,
            shifts=3,
            limit=5,
            hold=False,
            settle=True,
            public_url="https://reports.example",
            wait_s=7.0,
            sandbox_url="http://localhost:9",
            held={ADA: "opted_out"},
        ),
        id="settled",
    ),
    pytest.param(Order(PACE, 3, settle_unknowns=False, wait_s=None), id="unknowns left"),
]


@pytest.mark.parametrize("order", ORDERS)
def test_it_is_read_as_it_was_written(order: Order) -> None:
    assert Order.from_json(order.to_json()) == order
    newer = json.dumps(json.loads(order.to_json()) | {"of_a_later_version": 1})
    assert Order.from_json(newer) == order


@pytest.mark.parametrize("text", ["[]", "{}", '{"shifts": 2}', "no JSON"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Order.from_json(text)


@pytest.mark.parametrize("order", ORDERS)
def test_whoever_takes_the_run_over_sends_it_as_its_start_said(order: Order) -> None:
    own = {"TWILIO_ACCOUNT_SID": "AC1"}
    options = order.options(DATABASE, own)
    sandbox = {"SENDER_SANDBOX_URL": order.sandbox_url} if order.sandbox_url else {}
    assert options == SendOptions(
        state_dir=DATABASE,
        env=own | sandbox,
        limit=order.limit,
        hold=order.hold,
        settle_unknowns=order.settle_unknowns,
        settle=order.settle,
        public_url=order.public_url,
        wait_s=order.wait_s,
        shifts=3,
    )
    assert Order.of(PACE, 3, options, order.held) == order


def test_credentials_stay_on_their_machine() -> None:
    options = SendOptions(state_dir=DATABASE, env={"TWILIO_AUTH_TOKEN": "s3cret"})
    assert "s3cret" not in Order.of(PACE, 1, options, {}).to_json()


@pytest.mark.parametrize(
    ("shifts", "changes", "per_s", "concurrency"),
    [
        (0, {}, 9.0, 7),
        (1, {}, 9.0, 7),
        (3, {}, 3.0, 2),
        (9, {}, 1.0, 1),
        (2, {"per_s": None, "concurrency": None}, None, None),
    ],
)
def test_one_sender_has_its_share(
    shifts: int, changes: dict[str, Any], per_s: float | None, concurrency: int | None
) -> None:
    order = Order(replace(PACE, **changes), shifts)
    assert order.own_pace == replace(order.pace, per_s=per_s, concurrency=concurrency)


@pytest.mark.parametrize(("shifts", "parts"), [(0, 1), (1, 1), (2, 2), (7, 7)])
def test_senders_begin_in_different_parts_of_the_run(shifts: int, parts: int) -> None:
    chosen = [partition(shifts) for _ in range(400)]
    assert {count for _, count in chosen} == {parts}
    assert {part for part, _ in chosen} == set(range(parts))
