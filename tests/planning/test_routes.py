"""A campaign with several routes: what a plan says of them, what it costs at most, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sender import build_plan, load_campaign
from sender.core.errors import CostLimit, InputError
from sender.plan.message_reader import MessageReader
from sender.plan.plan import Plan
from sender.plan.routes import RouteReader, route_manifest, route_plan
from sender.planning import brakes

OURS, THEIRS, MORE = "+12125550142", "+13105550143", "+13105550144"
ADA, BOB, GB = "+12125550101", "+13105550102", "+442079460958"
CHEAP_AT_HOME = "currency: USD\nprices: [{to: US, sms: 0.01}, {to: GB, sms: 0.05}]\n"
CHEAP_ABROAD = "currency: USD\nprices: [{to: US, sms: 0.02}, {to: GB, sms: 0.04}]\n"
PROFILE = "5a5a5a5a-0000-4000-8000-5a5a5a5a5a5a"
TWO: list[Any] = [{"provider": "signalwire", "from": OURS}, {"provider": "twilio", "from": THEIRS}]


def plan(folder: Path, routes: Any = TWO, people: tuple[str, ...] = (ADA, BOB, GB), **keys: Any) -> Plan:
    for name, table in (("home.yaml", CHEAP_AT_HOME), ("abroad.yaml", CHEAP_ABROAD)):
        (folder / name).write_text(table, encoding="utf-8")
    rows = {"rows": [{"phone": one, "sender": OURS} for one in people]}
    data = {"name": "t", "recipients": rows, "message": "Hi", "rate": "none", **keys}
    data |= {} if routes is None else {"routes": routes}
    path = folder / "t.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    return build_plan(load_campaign(path))


def test_the_first_route_is_the_campaigns_own_provider(tmp_path: Path) -> None:
    made = plan(tmp_path).manifest
    assert (made.provider, made.dialect, made.senders) == ("signalwire", "signalwire", (OURS,))
    assert [route["provider"] for route in made.routes] == ["signalwire", "twilio"]
    assert made.through == "signalwire, else twilio"
    second = route_manifest(made, 1)
    assert (second.provider, second.senders, second.pace.unit) == ("twilio", (THEIRS,), "segments")
    assert route_manifest(made, 0).senders == (OURS,)


def test_one_provider_is_planned_as_ever(tmp_path: Path) -> None:
    alone = plan(tmp_path, None, provider="signalwire", **{"from": OURS})
    assert (alone.manifest.routes, alone.manifest.overall_per_s) == ((), None)
    both = plan(tmp_path)
    assert both.identity == alone.identity, "who has had the message does not depend on the way it went"
    assert both.hash != alone.hash, "and what is approved does"
    assert route_plan(alone, 0) is alone


@pytest.mark.parametrize(
    "routes",
    [
        pytest.param([TWO[0], {**TWO[1], "from": MORE}], id="another sender"),
        pytest.param([TWO[0], {"provider": "telnyx", "from": THEIRS}], id="another provider"),
        pytest.param([TWO[0], {**TWO[1], "validity_period": 600}], id="another field"),
        pytest.param([*TWO, {"provider": "telnyx", "from": MORE}], id="one more"),
    ],
)
def test_the_hash_covers_the_routes(routes: Any, tmp_path: Path) -> None:
    assert plan(tmp_path, routes).hash != plan(tmp_path).hash


def test_a_route_has_the_campaigns_keys_but_for_its_own(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        ["twilio", {"provider": "telnyx", "rate": "2/s", "messaging_profile_id": PROFILE}],
        rate="5/s",
        **{"from": "ACME"},
    )
    first, second = made.manifest.routes
    assert (first["senders"], second["senders"]) == (["ACME"], ["ACME"]), "a name is nobody's number"
    assert (first["pace"]["per_s"], second["pace"]["per_s"], made.manifest.overall_per_s) == (5, 2, 5)


def test_a_message_goes_by_a_route_with_that_routes_senders_and_fields(tmp_path: Path) -> None:
    routes = [TWO[0], {"provider": "twilio", "from": [THEIRS, MORE], "validity_period": 600}]
    made = plan(tmp_path, routes).write(tmp_path / "plan")
    first = [message for message, _ in MessageReader(made, "r").read([0, 1, 2])]
    second = [message for message, _ in RouteReader(route_plan(made, 1), "r", callback="https://x").read([0, 1, 2])]
    assert {message.from_number for message in first} == {OURS}
    assert {message.from_number for message in second} <= {THEIRS, MORE}
    pool = route_manifest(made.manifest, 1).sender_pool()
    assert pool is not None
    assert [message.from_number for message in second] == [pool.order(message.to)[0] for message in second]
    assert second[0].fields == {"status_callback": "https://x", "validity_period": 600}
    same = [(one.seq, one.ref, one.to, one.body, one.media) for one in first]
    assert [(one.seq, one.ref, one.to, one.body, one.media) for one in second] == same


def test_a_messages_cost_is_that_of_its_dearest_route(tmp_path: Path) -> None:
    made = plan(tmp_path, [{**TWO[0], "prices": "home.yaml"}, {**TWO[1], "prices": "abroad.yaml"}])
    assert made.messages["cost_micros"].to_list() == [20_000, 20_000, 50_000]
    assert made.manifest.cost is not None
    assert made.manifest.cost["total"] == "0.09"
    assert [route["cost"] for route in made.manifest.routes] == ["0.07", "0.08"], "each by itself"


def test_max_cost_holds_whatever_way_the_messages_go(tmp_path: Path) -> None:
    routes = [{**TWO[0], "prices": "home.yaml"}, {**TWO[1], "prices": "abroad.yaml"}]
    for limit, stops in ((0.08, True), (0.09, False)):
        made = plan(tmp_path, routes, limits={"max_cost": limit})
        found = brakes.find_stops(brakes.Start(made.manifest))
        assert [type(stop.error()) for stop in found] == [CostLimit] * stops


def test_shared_prices_are_used_for_the_senders_of_each_route(tmp_path: Path) -> None:
    table = "currency: USD\nprices: [{to: US, sms: 1}, {to: US, from: toll_free, sms: 3}]\n"
    (tmp_path / "all.yaml").write_text(table, encoding="utf-8")
    routes = [TWO[0], {"provider": "twilio", "from": "+18335550100"}]
    made = plan(tmp_path, routes, (ADA,), prices="all.yaml")
    assert [route["cost"] for route in made.manifest.routes] == ["1.00", "3.00"]


@pytest.mark.parametrize(
    ("routes", "keys", "where", "what"),
    [
        pytest.param(["twilio"], {"from": OURS}, "routes", "there is only one route", id="one"),
        pytest.param(
            [TWO[0], {"provider": "signalwire-compat", "from": THEIRS}], {}, "routes",
            "two routes lead to the same account of signalwire", id="one account",
        ),
        pytest.param(
            ["signalwire", "twilio"], {"from": OURS}, "routes.1",
            rf"\{OURS} is a sender of signalwire and of twilio", id="one number",
        ),
        pytest.param(
            [TWO[0], {"provider": "twilio", "from": "{{ sender }}"}], {}, "routes.1.from", "`from` is a template",
            id="a template as sender",
        ),
        pytest.param(
            [TWO[0], {**TWO[1], "validity_period": "{{ phone }}"}], {}, "routes.1.validity_period",
            "`validity_period` is a template", id="a template as field",
        ),
        pytest.param(
            [TWO[0], {**TWO[1], "prices": "home.yaml"}], {}, "routes.0", "signalwire has no prices, and another",
            id="prices of one",
        ),
        pytest.param(
            TWO, {"prices": "home.yaml", "validity_period": 60}, None, "SignalWire has no field", id="a shared field",
        ),
        pytest.param(
            [TWO[0], {"provider": "telnyx", "from": THEIRS, "validity_period": 60}], {}, "routes.1.validity_period",
            "Telnyx has no field", id="a field of another provider",
        ),
        pytest.param(
            [TWO[0], {**TWO[1], "messaging_service_sid": "MG" + "0" * 32, "send_at": "2027-01-01T00:00:00Z"}], {},
            "routes.1.send_at", "cannot move to another route", id="held by the provider",
        ),
        pytest.param([TWO[0], {"provider": "sandbox"}], {}, None, "should be 'signalwire'", id="the sandbox"),
        pytest.param(TWO, {"provider": "telnyx"}, None, "`provider` is given for the campaign and", id="two firsts"),
        pytest.param("signalwire", {"provider": "telnyx"}, None, "should be a list", id="no list"),
        pytest.param([TWO[0], {**TWO[1], "form": OURS}], {}, None, "unknown key", id="a typing error"),
        pytest.param(
            [*TWO, {"provider": "telnyx", "from": MORE}, {"provider": "twilio"}, {"provider": "twilio"}], {}, None,
            "at most 4 items", id="too many",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(
    routes: Any, keys: dict[str, Any], where: str | None, what: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=what) as refused:
        plan(tmp_path, routes, **keys)
    if where is not None:
        assert f"`{where}`" in str(refused.value)
        assert "line " in str(refused.value)


def test_prices_in_two_currencies_are_refused(tmp_path: Path) -> None:
    (tmp_path / "euro.yaml").write_text(CHEAP_ABROAD.replace("USD", "EUR"), encoding="utf-8")
    routes = [{**TWO[0], "prices": "home.yaml"}, {**TWO[1], "prices": "euro.yaml"}]
    with pytest.raises(InputError, match="prices are in USD and EUR"):
        plan(tmp_path, routes)


def test_a_price_that_one_route_lacks_is_no_price(tmp_path: Path) -> None:
    (tmp_path / "us.yaml").write_text("currency: USD\nprices: [{to: US, sms: 0.01}]\n", encoding="utf-8")
    made = plan(tmp_path, [{**TWO[0], "prices": "home.yaml"}, {**TWO[1], "prices": "us.yaml"}])
    assert made.messages["cost_micros"].to_list() == [10_000, 10_000, None]
    assert made.manifest.cost is not None
    assert made.manifest.cost["unpriced"] == {"GB": 1}
