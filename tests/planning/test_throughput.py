"""How long a plan takes: the pace of the account, the limits of single numbers, and what stands against it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sender import build_plan, load_campaign
from sender.cli.duration import format_duration
from sender.cli.plan_lines import rate_line, senders_line
from sender.plan.manifest import Manifest
from sender.plan.pace import Queue
from sender.plan.plan import Plan
from sender.planning.throughput import format_rate

A, B, C = "+12025550100", "+12025550101", "+18885550102"
SERVICE = "MG" + "0" * 32


def manifest(count: int = 300, **keys: Any) -> Manifest:
    rows = [{"phone": f"+1{area}55501{n % 100:02}"} for n in range(count) for area in [212 + n // 100]]
    given = {"provider": "twilio", "from_": A, "message": "Hi", "name": "t", "recipients": {"rows": rows}}
    return build_plan(load_campaign(**{**given, **keys})).manifest


def pool(*numbers: Any, **keys: Any) -> dict[str, Any]:
    return {"numbers": list(numbers), **keys}


@pytest.mark.parametrize(
    ("keys", "per_s", "senders"),
    [
        pytest.param({}, 1, {}, id="one-number-at-its-documented-rate"),
        pytest.param({"rate": "4/s"}, 4, {}, id="the-campaigns-own"),
        pytest.param({"rate": "none"}, None, {}, id="none"),
        pytest.param({"from_": [A, B]}, 2, {A: 1, B: 1}, id="each-number-has-its-own"),
        pytest.param({"from_": [A, C]}, 4, {A: 1, C: 3}, id="by-kind-of-number"),
        pytest.param({"from_": pool({"number": A, "rate": "5/s"}, B)}, 6, {A: 5, B: 1}, id="one-of-them-given"),
        pytest.param({"from_": pool({"number": A, "rate": "5/s"}, B), "rate": "3/s"}, 3, {A: 5}, id="stacked"),
        pytest.param({"from_": pool({"number": A, "rate": "auto"}, B), "rate": "3/s"}, 3, {A: 1}, id="auto-beside-a-given-pace"),
        pytest.param({"from_": pool({"number": A, "rate": "none"}, B)}, None, {B: 1}, id="one-without-limit"),
        pytest.param({"from_": pool({"number": A, "rate": "2/s"}, {"number": B, "rate": "1/s"}), "rate": "none"}, 3, {A: 2, B: 1}, id="no-more-than-all-together"),
        pytest.param({"from_": pool({"number": A, "rate": "2/s"})}, 2, {}, id="a-pool-of-one"),
        pytest.param({"provider": "signalwire", "from_": [A, B]}, 4, {}, id="a-limit-of-the-whole-space"),
        pytest.param({"provider": "signalwire", "from_": [A, C]}, 3, {}, id="at-the-pace-of-the-slowest-kind"),
        pytest.param({"provider": "telnyx", "from_": [A, B]}, 50, {}, id="a-limit-of-the-account"),
        pytest.param({"provider": "telnyx", "from_": ["+18885550100", C]}, 40, {"+18885550100": 20, C: 20}, id="numbers-within-the-account"),
        pytest.param({"provider": "telnyx", "from_": ["+18885550100", "+18885550101", C]}, 50, {"+18885550100": 20, "+18885550101": 20, C: 20}, id="the-account-stops-them"),
        pytest.param({"provider": "signalwire", "from_": "+14165550100"}, 1, {}, id="a-canadian-number"),
        pytest.param({"provider": "signalwire", "from_": [A, "+14165550100"]}, 1, {}, id="among-others"),
        pytest.param({"from_": "+14165550100"}, 1, {}, id="canadian-numbers-are-not-told-apart-by-all"),
        pytest.param({"provider": "telnyx", "message": {"body": "Hi", "media": ["https://example.com/a.png"]}}, 15, {}, id="with-media"),
        pytest.param({"provider": "telnyx", "message": {"body": "Hi", "media": ["https://example.com/a.png"]}, "from_": [C, "+18885550100"]}, 15, {C: 20, "+18885550100": 20}, id="the-accounts-limit-of-media"),
        pytest.param({"provider": "telnyx", "message": {"body": "Hi", "media": ["https://example.com/a.png"]}, "rate": "30/s"}, 30, {}, id="media-at-a-pace-of-its-own"),
        pytest.param({"from_": SERVICE}, 1, {}, id="a-service-picks"),
        pytest.param({"provider": "sandbox", "from_": [A, B]}, 50, {}, id="sandbox"),
        pytest.param({"provider": "sandbox", "from_": pool({"number": A, "rate": "2/s"}, B)}, 50, {A: 2}, id="sandbox-with-a-limit"),
    ],
)  # fmt: skip
def test_the_limits_of_a_plan(keys: dict[str, Any], per_s: float | None, senders: dict[str, float]) -> None:
    made = manifest(4, **keys)
    assert (made.pace.per_s, dict(made.pace.senders)) == (per_s, senders)
    assert Manifest.from_json(json.loads(made.to_json())) == made


def test_the_number_whose_share_takes_longest_decides() -> None:
    made = manifest(from_=pool({"number": A, "weight": 3, "rate": "1/s"}, {"number": B, "rate": "1/s"}), rate="10/s")
    told = made.feasibility
    busiest = told["senders"][A]
    assert told["bound_by"] == A
    assert made.expected_s == told["expected_s"] == busiest["expected_s"] == busiest["units"]
    assert busiest["share"] == pytest.approx(0.75, abs=0.1)
    assert sum(one["units"] for one in told["senders"].values()) == told["units"] == 300
    assert made.per_s == pytest.approx(300 / busiest["units"])
    assert rate_line(made).endswith(f"{A} sends {busiest['share']:.0%} of it at 1/s")


def test_the_account_decides_where_it_is_slower() -> None:
    made = manifest(from_=pool({"number": A, "rate": "9/s"}, {"number": B, "rate": "9/s"}), rate="2/s")
    assert (made.feasibility["bound_by"], made.expected_s, made.per_s) == (None, 150, 2)


def test_rows_with_their_own_senders_are_counted_like_a_pool() -> None:
    rows = [{"phone": f"+121255501{n:02}", "from": A if n < 30 else B} for n in range(40)]
    made = manifest(from_=(), recipients={"rows": rows})
    assert (made.pace.senders, made.feasibility["bound_by"], made.expected_s) == ({A: 1, B: 1}, A, 30)


def test_segments_are_what_is_counted_where_the_provider_counts_them() -> None:
    assert manifest(10, message="x" * 200).expected_s == 20
    assert manifest(10, message="x" * 200, provider="telnyx").expected_s == pytest.approx(10 / 50)


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        pytest.param({"rate": "300/h"}, None, id="an-hour"),
        pytest.param({"rate": "10/h"}, "sending takes 1.2 days at this pace; raise `rate`", id="more-than-a-day"),
        pytest.param({"from_": pool({"number": A, "rate": "5/h"}, B), "rate": "1/s"}, f"{A} carries", id="for-one-number"),
        pytest.param({"rate": "100/s", "validity_period": 60}, "the last messages would wait 5 minutes in the provider's queue", id="expires-in-the-queue"),
        pytest.param({"rate": "100/s", "validity_period": 3600}, None, id="waits-but-does-not-expire"),
        pytest.param({"rate": "100/s", "validity_period": 60, "from_": [A, B, C, "+12025550103", "+12025550104", "+12025550105"]}, None, id="many-numbers-share-the-queue"),
        pytest.param({"rate": "1/s", "validity_period": 60}, None, id="no-queue"),
        pytest.param({"rate": "100/s", "validity_period": "{{ phone[-2:] }}"}, "`validity_period` ends after 0", id="of-the-row-that-waits-least"),
        pytest.param({"rate": "100/s", "validity_period": 60, "provider": "sandbox", "sandbox": {"dialect": "twilio"}}, None, id="the-sandbox-has-no-queue"),
    ],
)  # fmt: skip
def test_what_stands_against_a_plan(keys: dict[str, Any], warning: str | None) -> None:
    made = manifest(**keys)
    told = made.feasibility["warnings"]
    assert told == [] if warning is None else warning in " ".join(told), told


@pytest.mark.parametrize(
    ("keys", "expected_s"),
    [
        pytest.param({"rate": "none", "limits": {"queue": 100}}, 200, id="what does not fit waits for room"),
        pytest.param({"rate": "none", "limits": {"queue": 400}}, 0, id="all fit"),
        pytest.param({"rate": "none"}, None, id="no limit"),
        pytest.param({"rate": "2/s", "limits": {"queue": 100}}, 200, id="the queue takes longer"),
        pytest.param({"rate": "2/s", "limits": {"queue": 280}}, 150, id="the pace takes longer"),
        pytest.param({"rate": "none", "limits": {"queue": 100}, "from_": [A, B]}, 100, id="two numbers drain it"),
        pytest.param({"rate": "1/s", "limits": {"queue": 1}}, 300, id="nothing queues at this pace"),
        pytest.param({"rate": "none", "limits": {"queue": "auto"}, "provider": "signalwire", "from_": C}, 0, id="as documented"),
    ],
)  # fmt: skip
def test_a_full_queue_of_the_provider_is_waited_for(keys: dict[str, Any], expected_s: float | None) -> None:
    """A number sends one of 300 messages on each second."""
    assert manifest(**keys).expected_s == expected_s


@pytest.mark.parametrize(
    ("keys", "queue"),
    [
        pytest.param({"rate": "none"}, None, id="no limit is asked for"),
        pytest.param({"rate": "none", "limits": {"queue": 70}}, Queue(70, 1), id="the campaign's own"),
        pytest.param({"rate": "none", "limits": {"queue": "auto"}}, Queue(36_000, 1), id="by the hours that are documented"),
        pytest.param({"rate": "none", "limits": {"queue": "auto"}, "from_": [A, B]}, Queue(72_000, 2), id="of each number"),
        pytest.param({"rate": "none", "limits": {"queue": "auto"}, "provider": "signalwire"}, Queue(10_000, 4), id="by its documented length"),
        pytest.param({"rate": "1.01/s", "limits": {"queue": 70}}, Queue(70, 1), id="just faster than it drains"),
        pytest.param({"rate": "1/s", "limits": {"queue": 70}}, None, id="as fast as it drains"),
        pytest.param({"rate": "none", "limits": {"queue": "auto"}, "provider": "sandbox"}, Queue(10_000, 4), id="the dialect's"),
    ],
)  # fmt: skip
def test_the_queue_that_may_fill_up(keys: dict[str, Any], queue: Queue | None) -> None:
    assert manifest(1, **keys).pace.queue == queue


def test_a_plan_of_nobody_takes_no_time() -> None:
    made = manifest(from_=[A, B], recipients={"rows": [{"phone": "12"}]})
    assert (made.messages, made.expected_s, made.feasibility["warnings"]) == (0, 0, [])


def test_how_it_is_told() -> None:
    assert senders_line(manifest(2, from_=pool(A, B, match="area_code"))) == f"a pool of 2, by area code: {A}, {B}"
    assert senders_line(manifest(2, from_="{{ phone }}")) == "{{ phone }}, in each row"
    assert [format_rate(one) for one in (40.0, 1.0, 0.5, 5 / 3600, 0.0001)] == [
        "40/s",
        "1/s",
        "30/min",
        "5/h",
        "0.36/h",
    ]
    assert (format_duration(50 * 3600), format_duration(3 * 3600)) == ("2 d 02 h", "3 h 00 min")


def test_a_plan_made_before_feasibility_still_tells_its_time() -> None:
    made = manifest(10)
    old = Plan(Manifest(**{**{name: getattr(made, name) for name in Manifest.__slots__}, "feasibility": {}}), None)
    assert old.manifest.expected_s == 10


def test_messages_of_unknown_size_have_no_share() -> None:
    """The provider writes the text, so nobody knows how many segments it takes."""
    made = manifest(40, from_=[A, B], content_sid="HX" + "0" * 32, message={})
    told = made.feasibility["senders"]
    assert {number: (one["units"], one["share"], one["expected_s"]) for number, one in told.items()} == {
        A: (0, 0.0, 0.0),
        B: (0, 0.0, 0.0),
    }
    assert sum(one["messages"] for one in told.values()) == 40
