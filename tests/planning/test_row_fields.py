"""Senders and provider fields that each row fills in: typed, held against the provider, and only where they belong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sender import build_plan, load_campaign
from sender.core.errors import CampaignError
from sender.plan.message_reader import MessageReader
from sender.plan.plan import Plan
from sender.planning.diff import diff_plans
from sender.planning.explain import explain_row
from sender.providers.registry import log_facts, sandbox_adapter
from sender.reports.pages.preview_page import preview_html, preview_rows
from tests.profiles import examples

FROM = "+12025550100"
UUID = "12345678-1234-1234-1234-123456789abc"
SOON = f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%d}"
SERVICE, CONTENT = "MG" + "0" * 32, "HX" + "0" * 32


def plan(rows: list[dict[str, Any]], **keys: Any) -> Plan:
    numbered = [{"phone": f"+121255501{n:02}", **row} for n, row in enumerate(rows)]
    given = {"provider": "twilio", "from_": FROM, "message": "Hi", "name": "t", "recipients": {"rows": numbered}}
    return build_plan(load_campaign(**{**given, **keys}))


def own(made: Plan) -> list[dict[str, Any] | None]:
    return [None if one is None else json.loads(one) for one in made.frame["fields"]]


@pytest.mark.parametrize(
    ("keys", "cell", "value"),
    [
        pytest.param({"validity_period": "{{ v }}"}, "3600", 3600, id="whole-number"),
        pytest.param({"validity_period": "{{ v }}"}, " 60 ", 60, id="white-space-is-dropped"),
        pytest.param({"attempt": "{{ v }}"}, "2", 2, id="attempt"),
        pytest.param({"max_price": "{{ v }}"}, "0.05", "0.05", id="price-stays-text"),
        pytest.param({"force_delivery": "{{ v }}"}, "yes", True, id="switch"),
        pytest.param({"provide_feedback": "{{ v == 'x' }}"}, "y", False, id="switch-off"),
        pytest.param({"risk_check": "{{ v }}"}, "disable", "disable", id="one-of-a-few-words"),
        pytest.param({"status_callback": "https://e.example/{{ v }}"}, "a", "https://e.example/a", id="address"),
        pytest.param({"send_at": "{{ v }}T09:00:00Z", "from_": SERVICE, "purpose": "transactional"}, SOON, f"{SOON}T09:00:00Z", id="time"),
        pytest.param({"persistent_action": ["mailto:{{ v }}", "x"]}, "a@e.example", ["mailto:a@e.example", "x"], id="list"),
        pytest.param({"content_variables": {"1": "{{ v }}", "2": "b"}, "content_sid": CONTENT, "message": {}}, 'q"\\', {"1": 'q"\\', "2": "b"}, id="mapping"),
        pytest.param({"custom_variables": {"who": "{{ v }}"}, "provider": "signalwire"}, "Zoë 🎉", {"who": "Zoë 🎉"}, id="any-text"),
        pytest.param({"subject": "For {{ v }}", "provider": "telnyx"}, "{{ 7 * 7 }}", "For {{ 7 * 7 }}", id="a-cell-is-no-template"),
        pytest.param({"messaging_profile_id": "{{ v }}", "from_": (), "provider": "telnyx"}, UUID, UUID, id="service-of-the-row"),
        pytest.param({"messaging_profile_id": "{{ v }}", "from_": "SHOP", "provider": "telnyx"}, UUID, UUID, id="what-the-sender-needs"),
    ],
)  # fmt: skip
def test_a_rows_own_value_has_the_fields_type(keys: dict[str, Any], cell: str, value: Any) -> None:
    made = plan([{"v": cell}], **keys)
    key = next(iter(keys))
    assert made.frame["reason"].to_list() == [None], made.frame["detail"].to_list()
    assert own(made) == [{key: value}]
    assert type(own(made)[0][key]) is type(value)  # type: ignore[index]
    assert key in made.manifest.templates
    assert key not in made.manifest.fields


@pytest.mark.parametrize(
    ("keys", "cell", "detail"),
    [
        pytest.param({"validity_period": "{{ v }}"}, "soon", "field `validity_period`: 'soon' should be a whole number", id="no-number"),
        pytest.param({"validity_period": "{{ v }}"}, "{{ 60 }}", "field `validity_period`: '{{ 60 }}' should be a whole number", id="a-cell-is-no-template"),
        pytest.param({"validity_period": "{{ v }}"}, "0", "greater than or equal to 1", id="below-the-range"),
        pytest.param({"validity_period": "{{ v }}"}, "100000", "field `validity_period`: 100000: Twilio takes 1 to 36000", id="beyond-what-the-provider-takes"),
        pytest.param({"validity_period": "{{ v }}"}, "", "field `validity_period`: template line 1: `v` is blank", id="blank"),
        pytest.param({"risk_check": "{{ v }}"}, "disabled", "'disabled' should be 'enable' or 'disable': did you mean `disable`?", id="another-word"),
        pytest.param({"force_delivery": "{{ v }}"}, "maybe", "'maybe' should be true or false", id="no-switch"),
        pytest.param({"status_callback": "{{ v }}"}, "example.com", "field `status_callback`: 'example.com' is not an http or https URL", id="no-address"),
        pytest.param({"status_callback": "https://e.example/?ref={{ v }}"}, "1", "field `status_callback`: the URL already has a `ref` parameter", id="our-ref"),
        pytest.param({"send_at": "{{ v }}", "from_": SERVICE}, "tomorrow", "field `send_at`: 'tomorrow' is not an ISO 8601 time", id="no-time"),
        pytest.param({"send_at": "{{ v }}"}, f"{SOON}T09:00:00Z", "field `send_at`: Twilio takes `send_at` only with `messaging_service_sid`", id="what-it-needs"),
        pytest.param({"custom_variables": {"a": "{{ v }}"}, "provider": "signalwire"}, "x" * 1025, "field `custom_variables.a`: SignalWire takes values of 1 to 1024 bytes", id="one-of-a-mapping"),
        pytest.param({"persistent_action": ["{{ v.z }}"]}, "x", "field `persistent_action`: ", id="one-of-a-list"),
        pytest.param({"from_": "{{ v }}"}, "who?!", "field `from`: 'who?!' is not a sender", id="no-sender"),
        pytest.param({"from_": "{{ v }}", "provider": "signalwire"}, "SHOP", "field `from`: 'SHOP' is an alphanumeric id, which SignalWire does not send from", id="sender-the-provider-lacks"),
        pytest.param({"message_type": "{{ v }}", "message": {"body": "x", "media": "https://e.example/a"}, "provider": "telnyx"}, "SMS", "field `message_type`: `SMS` with media", id="together-with-media"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_go_out_stays_with_its_row(keys: dict[str, Any], cell: str, detail: str) -> None:
    made = plan([{"v": cell}], **keys)
    assert made.frame["reason"].to_list() == ["render_error"]
    assert detail in made.frame["detail"][0]
    assert made.manifest.messages == 0


def test_a_value_that_comes_out_blank_is_left_out() -> None:
    rows = [{"v": "60", "w": "x"}, {"v": "", "w": "x"}, {"v": " ", "w": ""}]
    made = plan(rows, validity_period="{{ v | default('') }}", persistent_action=["{{ w | default('') }}"])
    assert own(made) == [{"validity_period": 60, "persistent_action": ["x"]}, {"persistent_action": ["x"]}, None]
    mapped = plan(
        rows, provider="signalwire", custom_variables={"v": "{{ v | default('') }}", "k": "{{ w | default('') }}"}
    )
    assert own(mapped) == [{"custom_variables": {"v": "60", "k": "x"}}, {"custom_variables": {"k": "x"}}, None]


def test_other_fields_stay_the_plans_and_ordinary_plans_have_no_own_ones() -> None:
    made = plan([{"v": "60"}], validity_period="{{ v }}", force_delivery=True)
    assert made.manifest.fields == {"force_delivery": True}
    assert made.manifest.templates == {"validity_period": "{{ v }}"}
    assert plan([{}], validity_period=60).frame["fields"].to_list() == [None]


TEMPLATES = st.lists(
    st.sampled_from(["{{ a }}", "{{ b | upper }}", "{{ a | default('none') }}", "{% if b %}x{% endif %}", "-", "é€", "{{ a ~ b }}", "{{ row['B b'] }}", "{{ b[:2] }}"]),
    min_size=1,
).map("".join)  # fmt: skip
CELLS = st.text(st.sampled_from(list('ab"\\{}%:,é🎉\n ')), max_size=6)


@settings(max_examples=examples(60))
@given(template=TEMPLATES, rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_a_field_is_what_plain_jinja2_makes_of_each_row(template: str, rows: list[tuple[str, str]]) -> None:
    jinja = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    expected: list[Any] = []
    for a, b in rows:
        cells = {name: cell for name, cell in (("a", a), ("b", b)) if cell.strip()}
        row = {"B b": b} if b.strip() else {}
        try:
            made_of_it = jinja.from_string("{{ '' }}" + template).render(**cells, row=row).strip()
            expected.append({"custom_variables": {"x": made_of_it}} if made_of_it else None)
        except UndefinedError:
            expected.append("render_error")
    made = plan(
        [{"name": "x", "a": a, "B b": b} for a, b in rows],
        provider="signalwire",
        custom_variables={"x": "{{ '' }}" + template},
        recipients={
            "rows": [{"phone": f"+121255501{n:02}", "a": a, "B b": b} for n, (a, b) in enumerate(rows)],
            "columns": {"b": "B b"},
        },
    )
    found = [reason or fields for reason, fields in zip(made.frame["reason"], own(made), strict=True)]
    assert found == expected


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("+12025550111", None), ("SHOP", None), (SERVICE, None), ("", "missing_data"), ("who?!", "render_error")],
    ids=["number", "alphanumeric", "service", "blank", "none"],
)
def test_the_sender_of_each_row(cell: str, reason: str | None) -> None:
    made = plan([{"store": cell}, {"store": "+12025550112"}], from_="{{ store | default('') }}")
    assert made.frame["reason"].to_list() == [reason, None]
    assert made.manifest.templates == {"from": "{{ store | default('') }}"}
    if reason is None:
        assert made.frame["from_number"].to_list() == [cell, "+12025550112"]


def test_what_goes_out_and_what_is_shown(tmp_path: Path) -> None:
    rows = [{"v": "60", "mms": "yes"}, {"v": "", "mms": "no"}]
    keys = {"validity_period": "{{ v | default('') }}", "send_as_mms": "{{ mms }}", "provide_feedback": True}
    made = plan(rows, **keys)
    messages = [message for message, _ in MessageReader(made.write(tmp_path / "p"), "r").read([0, 1])]
    assert [dict(message.fields) for message in messages] == [
        {"provide_feedback": True, "validity_period": 60, "send_as_mms": True},
        {"provide_feedback": True, "send_as_mms": False},
    ]
    adapter = sandbox_adapter("twilio", "http://127.0.0.1:9")
    assert b"ValidityPeriod=60" in adapter.request(messages[0]).content
    assert b"ValidityPeriod" not in adapter.request(messages[1]).content
    assert (made.manifest.mms, made.messages["segments"].to_list()) == (1, [1, 1])
    assert [row["fields"] for row in preview_rows(made)] == [
        {"send_as_mms": True, "validity_period": 60},
        {"send_as_mms": False},
    ]
    page = preview_html(made)
    assert "validity_period <bdi>60</bdi>" in page
    assert page.count('<span class="badge">MMS</span>') == 1
    steps = dict(explain_row(made, 1).steps)
    assert steps["fields"] == "send_as_mms: True; validity_period: 60"
    assert steps["size"] == "an MMS, counted as one segment"


def test_a_row_that_fails_at_its_field_is_explained_there() -> None:
    made = plan([{"v": "soon", "s": "?!"}], validity_period="{{ v }}")
    assert explain_row(made, 1).steps[-1] == ("fields", "skipped as render_error: field `validity_period`: 'soon' should be a whole number")  # fmt: skip
    made = plan([{"s": "?!"}], from_="{{ s }}")
    assert explain_row(made, 1).steps[-1][0] == "sender"


def test_plans_differ_in_fields_and_the_hash_tells() -> None:
    a = plan([{"v": "60"}, {"v": "70"}], validity_period="{{ v }}")
    b = plan([{"v": "60"}, {"v": "80"}], validity_period="{{ v }}")
    assert a.hash != b.hash
    assert a.hash == plan([{"v": "60"}, {"v": "70"}], validity_period="{{ v }}").hash
    found = diff_plans(a, b)
    assert found.changes["fields"] == 1
    assert found.to_dict()["changed"][0]["fields"] == {"a": '{"validity_period":70}', "b": '{"validity_period":80}'}


def test_the_service_of_a_row_is_who_it_comes_from(tmp_path: Path) -> None:
    made = plan([{"v": UUID}], provider="telnyx", from_=(), messaging_profile_id="{{ v }}")
    assert next(preview_rows(made))["from"] == UUID
    assert dict(explain_row(made, 1).steps)["sender"] == f"picked by {UUID}"
    missing = plan([{"v": ""}], provider="telnyx", from_=(), messaging_profile_id="{{ v | default('') }}")
    assert missing.frame["reason"].to_list() == ["render_error"]


@pytest.mark.parametrize(
    ("dialect", "varying", "distrusted"),
    [
        ("twilio", (), {}),
        ("twilio", ("validity_period",), {}),
        ("twilio", ("address_retention",), {"settle_s": None}),
        ("twilio", ("content_retention",), {"carries_body": False}),
        ("twilio", ("shorten_urls",), {"carries_body": False}),
        ("telnyx", ("status_callback",), {"carries_ref": False}),
    ],
)
def test_a_log_is_trusted_no_more_than_the_worst_row_allows(
    dialect: str, varying: tuple[str, ...], distrusted: dict[str, Any]
) -> None:
    adapter = sandbox_adapter(dialect, "http://127.0.0.1:9")
    fields = {} if "status_callback" in varying else {"status_callback": "https://e.example/"}
    assert log_facts(adapter, fields, varying) == replace(adapter.log_facts, **distrusted)


@pytest.mark.parametrize("key", ["validity_period", "send_as_mms", "message_type", "status_callback", "max_price"])
def test_what_is_neither_a_value_nor_a_template_is_still_refused(key: str) -> None:
    with pytest.raises(CampaignError) as caught:
        load_campaign(provider="twilio", recipients="a.csv", message="x", **{key: "}} no {"})
    assert caught.value.problems[0].key == key


@pytest.mark.parametrize(("media", "is_refused"), [((), False), (("https://shop.example/a.png",), True)])
def test_a_row_without_media_is_none_with_media(media: tuple[str, ...], is_refused: bool) -> None:
    """Telnyx takes no media with `message_type: SMS`."""
    message = {"body": "Hi", "media": list(media)}
    made = plan(
        [{"v": FROM, "kind": "SMS"}],
        provider="telnyx",
        from_="{{ v }}",
        message_type="{{ kind }}",
        message=message,
    )
    assert [reason is not None for reason in made.frame["reason"]] == [is_refused], made.frame["detail"].to_list()
