"""The compiled campaign: what one compilation settles, and what it refuses whatever the recipients are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sender import build_plan, load_campaign
from sender.core.errors import CampaignError, InputError, TemplateError, Unsupported
from sender.planning.compiled import CompiledCampaign, check_columns, compile_campaign
from sender.recipients.columns import load_recipients

NUMBERS = ("+12025550100", "+12025550101")
PRICES = "currency: USD\nprices:\n  - {to: US, sms: 0.01}\n"
ROWS = [{"phone": "+12025550150", "name": "Ada"}]


def campaign(**keys: Any) -> Any:
    defaults = {"provider": "sandbox", "from_": NUMBERS[0], "message": "Hi {{ name }}", "name": "t", "recipients": ROWS}
    return load_campaign(**{**defaults, **keys})


def compiled(**keys: Any) -> CompiledCampaign:
    return compile_campaign(campaign(**keys))


def test_one_number_is_no_pool() -> None:
    value = compiled()
    assert (value.senders, value.sender, value.pool, value.pool_settings) == (NUMBERS[:1], None, None, None)
    assert (value.dialect, value.simulated, value.varying) == ("signalwire", True, {})


def test_several_numbers_are_a_pool() -> None:
    value = compiled(from_={"numbers": [*NUMBERS], "match": "country"})
    assert value.pool is not None
    assert len(value.pool) == 2
    assert value.pool_settings == {"weights": dict.fromkeys(NUMBERS, 1.0), "match": "country"}
    assert value.rates.by_number == dict.fromkeys(NUMBERS)


@pytest.mark.parametrize(
    ("dialect", "service", "field"),
    [
        pytest.param("twilio", "MG" + "a" * 32, "messaging_service_sid", id="twilio"),
        pytest.param("telnyx", "16fd2706-8baf-433b-82eb-8c7fada847da", "messaging_profile_id", id="telnyx"),
    ],
)
def test_a_service_goes_into_the_providers_field(dialect: str, service: str, field: str) -> None:
    value = compiled(from_=service, sandbox={"dialect": dialect})
    assert value.senders == ()
    assert value.fields == {field: service}
    assert value.send_context.service == service


def test_what_each_row_fills_in() -> None:
    value = compiled(
        from_="{{ number }}", status_callback="https://e.example/{{ name }}", validity_period=60, sandbox={"dialect": "twilio"}
    )  # fmt: skip
    assert value.fields == {"validity_period": 60}
    assert value.varying == {"from": "{{ number }}", "status_callback": "https://e.example/{{ name }}"}
    assert value.senders == ()


def test_files_are_read_once_and_named_in_the_plans_order(tmp_path: Path) -> None:
    (tmp_path / "text.j2").write_text("Hi {{ name }}")
    (tmp_path / "prices.yaml").write_text(PRICES)
    (tmp_path / "stop.csv").write_text("phone\n+12025550151\n")
    source = campaign(message={"template": "text.j2"}, prices="prices.yaml", suppress="stop.csv", base=tmp_path)
    value = compile_campaign(source)
    assert [(file.role, file.path) for file in value.inputs] == [("template", "text.j2"), ("prices", "prices.yaml")]
    assert value.prices is not None
    (tmp_path / "text.j2").unlink()
    (tmp_path / "prices.yaml").unlink()
    check_columns(value, load_recipients(source))  # the value needs the files no more
    (tmp_path / "text.j2").write_text("Hi {{ name }}")
    (tmp_path / "prices.yaml").write_text(PRICES)
    roles = [file.role for file in build_plan(source).manifest.inputs]
    assert roles == ["recipients", "template", "suppress", "prices"]


@pytest.mark.parametrize(
    ("keys", "error", "says"),
    [
        pytest.param({"limits": {"max_cost": 1}}, CampaignError, "cost is unknown", id="a-limit-without-prices"),
        pytest.param({"from_": [NUMBERS[0], "MG" + "a" * 32]}, CampaignError, "mixes a service id", id="a-service-among-numbers"),
        pytest.param({"from_": [NUMBERS[0], "{{ number }}"]}, CampaignError, "mixes a template", id="a-template-among-numbers"),
        pytest.param({"message": "{{ name"}, TemplateError, "unexpected end", id="a-broken-body"),
        pytest.param({"message": {"template": "none.j2"}}, TemplateError, "cannot be read", id="no-such-template"),
        pytest.param({"from_": "MG" + "a" * 32, "sandbox": {"dialect": "signalwire"}}, InputError, "service", id="a-service-that-the-provider-has-not"),
    ],
)  # fmt: skip
def test_refused_whatever_the_recipients_are(keys: dict[str, Any], error: type[InputError], says: str) -> None:
    with pytest.raises(error, match=says):
        compiled(**keys)


@pytest.mark.parametrize(
    ("keys", "error", "says"),
    [
        pytest.param({"message": {}}, CampaignError, "has no message", id="no-content"),
        pytest.param({"message": "{{ city }}"}, TemplateError, "there is no column `city`", id="a-column-that-is-missing"),
        pytest.param({"content_sid": "HX" + "a" * 32, "sandbox": {"dialect": "twilio"}}, Unsupported, "its own template", id="body-and-content-template"),
    ],
)  # fmt: skip
def test_refused_with_these_recipients(keys: dict[str, Any], error: type[InputError], says: str) -> None:
    source = campaign(**keys)
    value = compile_campaign(source)
    with pytest.raises(error, match=says):
        check_columns(value, load_recipients(source))


@pytest.mark.parametrize(
    ("settings", "key", "says", "fix"),
    [
        pytest.param({}, "max_price", "the sandbox speaks signalwire", "`sandbox.dialect` to one that", id="default"),
        pytest.param({"sandbox": {"dialect": "telnyx"}}, "max_price", "speaks telnyx", "Twilio", id="another dialect"),
        pytest.param(
            {"provider": "telnyx"}, "max_price", "Telnyx has no field", "use a provider", id="a real provider"
        ),
    ],
)
def test_a_refusal_in_the_sandbox_names_what_it_speaks(settings: dict[str, Any], key: str, says: str, fix: str) -> None:
    campaign = {"name": "x", "provider": "sandbox", "from": "+12025550100", "message": "Hi", **settings, key: "0.05"}
    recipients = pl.DataFrame({"phone": ["+12025550101"]})
    with pytest.raises(Unsupported) as caught:
        build_plan(load_campaign(campaign, recipients=recipients))
    assert says in caught.value.what
    assert "has no field for `max_price`" in caught.value.what
    assert fix in str(caught.value.fix)
