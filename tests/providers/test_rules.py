"""What a campaign may ask of each provider: senders, fields, values; all without credentials."""

from pathlib import Path

import pytest

from sender import providers
from sender.campaign.values import ProviderFields
from sender.core.errors import InputError, Unsupported
from sender.providers.base import SenderKind

UUID = "b3877c40-da60-4998-90ad-b792e98472a0"
MG = "MG" + "fedcba9876543210" * 2
FROM = "+12025550101"

# ── Senders ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("+12025550101", SenderKind.NUMBER),
        ("+447700900123", SenderKind.NUMBER),
        ("123", SenderKind.SHORT_CODE),
        ("12345", SenderKind.SHORT_CODE),
        ("12345678", SenderKind.SHORT_CODE),
        (MG, SenderKind.SERVICE),
        (MG[:2] + MG[2:].upper(), SenderKind.SERVICE),
        (UUID, SenderKind.SERVICE),
        (UUID.upper(), SenderKind.SERVICE),
        ("A", SenderKind.ALPHANUMERIC),
        ("MyShop", SenderKind.ALPHANUMERIC),
        ("My Shop 24", SenderKind.ALPHANUMERIC),
        ("24 Hours", SenderKind.ALPHANUMERIC),
        ("elevenchars", SenderKind.ALPHANUMERIC),
    ],
)
def test_a_sender_is_told_by_its_shape(text, kind):
    assert providers.sender_kind(text) is kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "123456789",
        "12025550101",
        "+02025550101",
        "+1 202 555 0101",
        "(202) 555-0101",
        "+1202555010112345",
        "٣٤٥٦٧",
        "123 456",
        "twelve chars",
        "Café",
        "My-Shop",
        "whatsapp:+12025550101",
        MG[:-1],
        UUID[:-1],
        "+12025550101\n",
    ],
)
def test_what_is_no_sender_says_what_to_write(text):
    with pytest.raises(InputError) as caught:
        providers.sender_kind(text)
    assert "is not a sender" in str(caught.value)
    assert "country code" in str(caught.value)


@pytest.mark.parametrize(
    ("sender", "kind"),
    [
        ("+18005550101", "toll_free"),
        ("+18335550101", "toll_free"),
        ("+18445550101", "toll_free"),
        ("+18555550101", "toll_free"),
        ("+18665550101", "toll_free"),
        ("+18775550101", "toll_free"),
        ("+18885550101", "toll_free"),
        ("+18015550101", "long_code"),
        ("+12025550101", "long_code"),
        ("+448005550101", "long_code_abroad"),
        ("+447700900123", "long_code_abroad"),
        ("12345", "short_code"),
        ("My Shop", "alphanumeric"),
        (MG, "service"),
        (UUID, "service"),
    ],
)
def test_the_pace_goes_by_the_kind_of_sender(sender, kind):
    assert providers.rate_kind(sender) == kind


# ── Facts ─────────────────────────────────────────────────────────────────────────────────────────────

NUMBER, SHORT, ALPHA, SERVICE = (
    SenderKind.NUMBER,
    SenderKind.SHORT_CODE,
    SenderKind.ALPHANUMERIC,
    SenderKind.SERVICE,
)


@pytest.mark.parametrize(
    ("dialect", "kinds", "service_field", "media_max", "body_max", "passthrough", "short_code_recipients"),
    [
        ("signalwire", {NUMBER, SHORT}, None, 8, 1600, {"988", "+988"}, False),
        ("signalwire-compat", {NUMBER, SHORT, SERVICE}, "messaging_service_sid", 8, 1600, set(), False),
        ("telnyx", {NUMBER, SHORT, ALPHA, SERVICE}, "messaging_profile_id", 10, 1530, set(), True),
        ("twilio", {NUMBER, SHORT, ALPHA, SERVICE}, "messaging_service_sid", 10, 1600, set(), False),
    ],
    ids=providers.DIALECTS,
)
def test_capabilities(dialect, kinds, service_field, media_max, body_max, passthrough, short_code_recipients):
    facts = providers.capabilities(dialect)
    assert facts.provider == dialect
    assert facts.sender_kinds == kinds
    assert facts.service_field == service_field
    assert (facts.media_max, facts.body_max_chars) == (media_max, body_max)
    assert facts.passthrough == passthrough
    assert facts.short_code_recipients is short_code_recipients


@pytest.mark.parametrize(
    ("dialect", "kind", "per_s", "unit"),
    [
        ("signalwire", "long_code", 4, "segments"),
        ("signalwire", "long_code_canada", 1, "segments"),
        ("signalwire", "toll_free", 3, "segments"),
        ("signalwire", "short_code", 10, "segments"),
        ("signalwire-compat", "long_code", 4, "segments"),
        ("signalwire-compat", "long_code_canada", 1, "segments"),
        ("signalwire-compat", "toll_free", 3, "segments"),
        ("signalwire-compat", "short_code", 10, "segments"),
        ("signalwire-compat", "service", 3, "segments"),
        ("telnyx", "long_code", 50, "messages"),
        ("telnyx", "long_code_abroad", 0.1, "messages"),
        ("telnyx", "toll_free", 20, "messages"),
        ("telnyx", "short_code", 50, "messages"),
        ("telnyx", "alphanumeric", 0.1, "messages"),
        ("telnyx", "service", 50, "messages"),
        ("twilio", "long_code", 1, "segments"),
        ("twilio", "toll_free", 3, "segments"),
        ("twilio", "short_code", 100, "segments"),
        ("twilio", "alphanumeric", 1, "segments"),
        ("twilio", "service", 1, "segments"),
    ],
)
def test_documented_rates(dialect, kind, per_s, unit):
    rate = providers.capabilities(dialect).rates[kind]
    assert (rate.per_s, rate.unit) == (per_s, unit)
    assert "20" in rate.source  # a dated source


def test_the_campaign_guide_tells_the_documented_rates():
    """The table in docs/campaign.md is that of the adapters, and of nothing else."""
    page = (Path(__file__).parents[2] / "docs" / "campaign.md").read_text(encoding="utf-8")
    table = page.partition("| sender | SignalWire | Telnyx | Twilio |\n")[2].partition("\n\n")[0]
    told = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]
    sides = ["signalwire", "telnyx", "twilio"]
    known = {dialect: dict(providers.capabilities(dialect).rates) for dialect in sides}
    known["signalwire"]["service"] = providers.capabilities("signalwire-compat").rates["service"]
    known["telnyx"]["mms"] = providers.capabilities("telnyx").mms_rate
    for name, *cells in told:
        kind = name.partition("`")[2].rstrip("`")
        for dialect, cell in zip(sides, cells, strict=True):
            rate = known[dialect].pop(kind, None)
            assert cell == ("" if rate is None else f"{rate.per_s:g}{' each' if rate.per_sender else ''}"), (
                name,
                dialect,
            )
    assert not any(known.values()), "every rate is in the table"


def test_there_is_a_rate_for_every_kind_a_provider_sends_from():
    for facts in map(providers.capabilities, providers.DIALECTS):
        wanted = {kind.value for kind in facts.sender_kinds - {NUMBER}} | {"long_code", "toll_free"}
        assert wanted <= set(facts.rates)


def test_every_campaign_key_is_carried_by_some_provider_and_no_key_is_made_up():
    assert set(providers.CARRIERS) == set(ProviderFields.model_fields)
    for dialect in providers.DIALECTS:
        assert providers.capabilities(dialect).fields == {
            key for key, row in providers.CARRIERS.items() if dialect in row
        }


@pytest.mark.parametrize("name", ["sandbox", "", "Twilio", "plivo"])
def test_an_unknown_provider(name):
    with pytest.raises(InputError, match="use signalwire, signalwire-compat, telnyx or twilio"):
        providers.capabilities(name)


# ── A campaign against its provider ───────────────────────────────────────────────────────────────────

GOOD = [
    ("signalwire", [FROM], {}, 8),
    ("signalwire", ["12345", "123456", FROM], {}, 0),
    ("signalwire", [FROM], {"custom_variables": {"_a1": "x" * 1024}}, 0),
    ("signalwire-compat", [UUID], {}, 0),
    ("signalwire-compat", [], {"messaging_service_sid": UUID}, 0),
    ("signalwire-compat", [UUID], {"messaging_service_sid": UUID}, 0),
    ("signalwire-compat", [FROM], {"validity_period": 172_800, "application_sid": UUID}, 8),
    ("telnyx", ["My Shop"], {"messaging_profile_id": UUID}, 10),
    ("telnyx", [UUID], {"send_at": "2026-12-01T09:00:00Z"}, 0),
    ("telnyx", [], {"messaging_profile_id": UUID}, 0),
    ("telnyx", [FROM], {"messaging_profile_id": UUID, "message_type": "MMS", "send_as_mms": True}, 1),
    ("telnyx", [FROM], {"message_type": "SMS", "send_as_mms": False}, 0),
    ("telnyx", ["123", "12345678"], {}, 0),
    ("twilio", [MG], {"send_at": "2026-12-01T09:00:00Z", "shorten_urls": True}, 10),
    ("twilio", ["My Shop"], {"shorten_urls": False}, 0),
    ("twilio", [FROM], {"messaging_service_sid": MG, "fallback_from": FROM}, 0),
    ("twilio", [FROM], {"content_sid": "HX" + "a" * 32, "content_variables": {"1": "Ann"}}, 0),
    ("twilio", [FROM], {"validity_period": 36_000, "status_callback": "https://example.com/?x=ref#ref="}, 0),
]


@pytest.mark.parametrize(("dialect", "senders", "fields", "media_count"), GOOD)
def test_what_a_provider_carries_passes(dialect, senders, fields, media_count):
    providers.check(providers.capabilities(dialect), senders=senders, fields=fields, media_count=media_count)


BAD = [
    # dialect, senders, fields, media, what the message says
    ("signalwire", [], {}, 0, ["there is no sender", "set `from`"]),
    ("signalwire", ["My Shop"], {}, 0, ["an alphanumeric id", "use a number (+1...) or a short code"]),
    ("signalwire", [UUID], {}, 0, ["SignalWire does not send from"]),
    ("signalwire", ["1234"], {}, 0, ["5 to 6 digits"]),
    ("signalwire", [FROM, "1234567"], {}, 0, ["'1234567'", "5 to 6 digits"]),
    ("signalwire", [FROM], {}, 9, ["9 media files", "at most 8"]),
    ("signalwire", [FROM], {"validity_period": 60}, 0, ["`validity_period`", "SignalWire Compatibility, Twilio"]),
    ("signalwire", [FROM], {"subject": "Sale"}, 0, ["SignalWire has no field for `subject`", "(Telnyx)"]),
    ("signalwire", [FROM], {"made_up": 1}, 0, ["`made_up`", "remove it"]),
    ("signalwire", [FROM], {"custom_variables": {"ref": "1"}}, 0, ["custom_variables.ref", "is reserved"]),
    ("signalwire", [FROM], {"custom_variables": {"1a": "1"}}, 0, ["custom_variables.1a", "do not begin with a digit"]),
    ("signalwire", [FROM], {"custom_variables": {"a-b": "1"}}, 0, ["custom_variables.a-b"]),
    ("signalwire", [FROM], {"custom_variables": {"SW_x": "1"}}, 0, ["custom_variables.SW_x", "sw_"]),
    ("signalwire", [FROM], {"custom_variables": {"a": ""}}, 0, ["1 to 1024 bytes"]),
    ("signalwire", [FROM], {"custom_variables": {"a": "é" * 513}}, 0, ["1 to 1024 bytes"]),
    ("signalwire", [FROM], {"status_callback": "https://a.example/?b&ref=1"}, 0, ["already has a `ref` parameter"]),
    ("signalwire-compat", [], {}, 0, ["there is no sender", "`messaging_service_sid`"]),
    ("signalwire-compat", [MG], {}, 0, ["is not a UUID", "from"]),
    ("signalwire-compat", [], {"messaging_service_sid": MG}, 0, ["is not a UUID", "messaging_service_sid"]),
    ("signalwire-compat", [FROM], {"messaging_service_sid": UUID}, 0, ["not both", "keep one"]),
    ("signalwire-compat", [UUID], {"messaging_service_sid": UUID[:-1] + "f"}, 0, ["two pools"]),
    ("signalwire-compat", ["My Shop"], {}, 0, ["does not send from"]),
    ("signalwire-compat", [FROM], {"validity_period": 172_801}, 0, ["1 to 172800"]),
    ("signalwire-compat", [FROM], {"application_sid": "AP" + "0" * 32}, 0, ["is not a UUID"]),
    ("signalwire-compat", [FROM], {"send_at": "2026-12-01T09:00:00Z"}, 0, ["`send_at`", "(Telnyx, Twilio)"]),
    ("telnyx", [], {}, 0, ["there is no sender", "`messaging_profile_id`"]),
    ("telnyx", ["My Shop"], {}, 0, ["only with a messaging profile", "`messaging_profile_id`"]),
    ("telnyx", [MG], {}, 0, ["is not a UUID"]),
    ("telnyx", [FROM], {"messaging_profile_id": "main"}, 0, ["'main' is not a UUID"]),
    ("telnyx", [FROM], {"message_type": "SMS"}, 1, ["message_type", "keep one"]),
    ("telnyx", [FROM], {"message_type": "SMS", "send_as_mms": True}, 0, ["message_type"]),
    ("telnyx", [FROM], {"send_at": "tomorrow"}, 0, ["'tomorrow' is not an ISO 8601 time"]),
    ("telnyx", [FROM], {"send_at": "2026-12-01T09:00:00"}, 0, ["no offset"]),
    ("telnyx", [FROM], {"send_at": "2026-12-01"}, 0, ["no offset"]),
    ("telnyx", [FROM], {"max_price": "1"}, 0, ["`max_price`", "SignalWire Compatibility, Twilio"]),
    ("telnyx", [FROM], {"webhook_failover_url": "https://a.example/?ref=1"}, 0, ["webhook_failover_url"]),
    ("twilio", [], {}, 0, ["there is no sender", "`messaging_service_sid`"]),
    ("twilio", [UUID], {}, 0, ["is not MG and 32 hexadecimal digits"]),
    ("twilio", [MG], {"messaging_service_sid": "MG" + "0" * 32}, 0, ["two pools"]),
    ("twilio", [FROM], {"validity_period": 36_001}, 0, ["1 to 36000"]),
    ("twilio", [FROM], {"send_at": "2026-12-01T09:00:00Z"}, 0, ["`send_at` only with `messaging_service_sid`"]),
    ("twilio", [FROM], {"shorten_urls": True}, 0, ["`shorten_urls` only with `messaging_service_sid`"]),
    ("twilio", [FROM], {"fallback_from": FROM}, 0, ["`fallback_from` only with"]),
    ("twilio", [FROM], {"content_variables": {"1": "a"}}, 0, ["`content_variables` only with `content_sid`"]),
    ("twilio", [FROM], {"content_sid": "HX1"}, 0, ["HX and 32 hexadecimal digits"]),
    ("twilio", [FROM], {"application_sid": UUID}, 0, ["AP and 32 hexadecimal digits"]),
    ("twilio", [FROM], {"custom_variables": {"a": "1"}}, 0, ["`custom_variables`", "(SignalWire)"]),
]


@pytest.mark.parametrize(
    ("dialect", "senders", "fields", "media_count", "words"), BAD, ids=[f"{row[0]}-{n}" for n, row in enumerate(BAD)]
)
def test_what_a_provider_does_not_carry_is_refused_before_anything_is_planned(
    dialect, senders, fields, media_count, words
):
    with pytest.raises(Unsupported) as caught:
        providers.check(providers.capabilities(dialect), senders=senders, fields=fields, media_count=media_count)
    for word in words:
        assert word in str(caught.value)


def test_a_from_that_is_no_sender_is_an_input_error():
    with pytest.raises(InputError, match="is not a sender"):
        providers.check(providers.capabilities("twilio"), senders=["+1 202"], fields={}, media_count=0)


# ── What a log proves of a campaign's messages ────────────────────────────────────────────────────────

CALLBACK = {"status_callback": "https://example.com/h"}


@pytest.mark.parametrize(
    ("dialect", "fields", "filters", "ref", "body", "settle_s"),
    [
        ("signalwire", CALLBACK, False, False, False, 600),
        ("signalwire-compat", CALLBACK, True, False, True, 600),
        ("twilio", CALLBACK, True, False, True, 600),
        ("twilio", {"content_retention": "retain"}, True, False, True, 600),
        ("twilio", {"content_retention": "discard"}, True, False, False, 600),
        ("twilio", {"content_sid": "HX" + "0" * 32}, True, False, False, 600),
        ("twilio", {"shorten_urls": True}, True, False, False, 600),
        ("twilio", {"smart_encoded": True}, True, False, False, 600),
        ("twilio", {"smart_encoded": False}, True, False, True, 600),
        ("twilio", {"address_retention": "retain"}, True, False, True, 600),
        ("twilio", {"address_retention": "obfuscate"}, True, False, True, None),
        ("telnyx", CALLBACK, True, True, False, None),
        ("telnyx", {}, True, False, False, None),
    ],
)
def test_what_the_log_proves_depends_on_the_campaign(dialect, fields, filters, ref, body, settle_s):
    adapter = providers.sandbox_adapter(dialect, "http://127.0.0.1:8080")
    facts = providers.log_facts(adapter, fields)
    assert (facts.filters_by_recipient, facts.carries_ref, facts.carries_body) == (filters, ref, body)
    assert facts.settle_s == settle_s
    assert "20" in facts.source
