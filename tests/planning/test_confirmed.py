"""What is sent beyond a plan that somebody has agreed to."""

from __future__ import annotations

from typing import Any

import pytest

from sender import build_plan, load_campaign
from sender.plan.plan import Plan
from sender.planning.confirmed import count_unconfirmed

ADA, BOB, CY = (f"+1202555010{n}" for n in range(1, 4))
IMAGE = {"body": "Hi {{ name }}", "media": "https://media.example.com/a.jpg"}


def plan(*people: tuple[str, str], **keys: Any) -> Plan:
    given: dict[str, Any] = {"provider": "twilio", "from_": "+12025550100", "message": "Hi {{ name }}", "name": "t"}
    rows = [{"phone": to, "name": name} for to, name in people]
    return build_plan(load_campaign(**{**given, "recipients": {"rows": rows}, "dedupe": "none", **keys}))


@pytest.mark.parametrize(
    ("now", "beyond"),
    [
        pytest.param([(ADA, "Ada"), (BOB, "Bob")], 0, id="the same"),
        pytest.param([(BOB, "Bob"), (ADA, "Ada")], 0, id="in another order"),
        pytest.param([(ADA, "Ada")], 0, id="fewer"),
        pytest.param([], 0, id="nobody"),
        pytest.param([(ADA, "Ada"), ("12", "x")], 0, id="a row without a message"),
        pytest.param([(ADA, "Ada"), (BOB, "Bob"), (CY, "Cy")], 1, id="another person"),
        pytest.param([(ADA, "A"), (BOB, "B")], 2, id="other texts"),
        pytest.param([(ADA, "Bob"), (BOB, "Ada")], 2, id="each other's texts"),
        pytest.param([(ADA, "Ada"), (ADA, "Ada"), (ADA, "Ada"), (BOB, "Bob")], 2, id="the same message again"),
        pytest.param([(ADA, "Ada"), (ADA, "Ada"), (CY, "Cy"), (CY, "Cy")], 3, id="again, and to another"),
    ],
)
def test_each_message_beyond_those_that_were_confirmed_counts(now: list[tuple[str, str]], beyond: int) -> None:
    people = now or [("12", "x")]
    assert count_unconfirmed(plan((ADA, "Ada"), (BOB, "Bob")), plan(*people)) == beyond


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"message": IMAGE}, id="with an image"),
        pytest.param({"from_": "+12025550199"}, id="from another number"),
        pytest.param({"validity_period": "{{ name | length * 100 }}"}, id="with fields of their own"),
        pytest.param({"validity_period": 600}, id="with a field"),
        pytest.param({"edition": "2"}, id="another edition"),
        pytest.param({"provider": "telnyx"}, id="through another provider"),
    ],
)
def test_what_goes_out_differently_was_not_confirmed(keys: dict[str, Any]) -> None:
    people = (ADA, "Ada"), (BOB, "Bob"), (CY, "Cy")
    before, now = plan(*people), plan(*people, **keys)
    assert (count_unconfirmed(before, now), count_unconfirmed(now, before)) == (3, 3)
    assert count_unconfirmed(now, plan(*people, **keys)) == 0


def test_a_written_plan_is_the_one_it_was(tmp_path: Any) -> None:
    made = plan((ADA, "Ada"), (BOB, "Bob"), message=IMAGE)
    assert count_unconfirmed(made.write(tmp_path / "plan"), made) == 0
