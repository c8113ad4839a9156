"""What each adapter puts on the wire, byte by byte, and what it refuses to put there."""

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender import providers
from sender.core.errors import Unsupported
from sender.providers import _http
from sender.providers.base import Message, Request

BASE = "http://127.0.0.1:8080"
UUID = "b3877c40-da60-4998-90ad-b792e98472a0"
MG = "MG" + "fedcba9876543210" * 2
PROJECT, SID = providers.SANDBOX_PROJECT_ID, providers.SANDBOX_ACCOUNT_SID
BASIC_PROJECT = "Basic NWE2ZDFlMmMtMGMxZi00ZjVlLTllMzctMmQ0YzhlMWY3YTYwOlBULXNhbmRib3gtdG9rZW4="
BASIC_SID = "Basic QUM1YTZkMWUyYzBjMWY0ZjVlOWUzNzJkNGM4ZTFmN2E2MDpQVC1zYW5kYm94LXRva2Vu"
TO, FROM = "+12025550147", "+12025550101"
HOOK = "https://example.com/h"


def adapter(dialect):
    return providers.sandbox_adapter(dialect, BASE)


def message(body="Hi", *, to=TO, sender=FROM, media=(), ref="r7.42", **fields):
    return Message(42, ref, to, sender, body, tuple(media), fields)


# ── Address, method, headers ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dialect", "path", "authorization", "content_type"),
    [
        ("signalwire", "/api/messaging/messages", BASIC_PROJECT, "application/json"),
        (
            "signalwire-compat",
            f"/api/laml/2010-04-01/Accounts/{PROJECT}/Messages",
            BASIC_PROJECT,
            "application/x-www-form-urlencoded",
        ),
        ("telnyx", "/v2/messages", "Bearer KEY-sandbox-key", "application/json"),
        (
            "twilio",
            f"/2010-04-01/Accounts/{SID}/Messages.json",
            BASIC_SID,
            "application/x-www-form-urlencoded",
        ),
    ],
    ids=providers.DIALECTS,
)
def test_where_a_message_goes(dialect, path, authorization, content_type):
    request = adapter(dialect).request(message())
    assert request.method == "POST"
    assert request.url == BASE + path
    key = {"Idempotency-Key": "r7:42:1"} if dialect == "telnyx" else {}
    assert dict(request.headers) == {
        "Authorization": authorization,
        "Accept": "application/json",
        "Content-Type": content_type,
        **key,
    }


# ── Bodies, whole ─────────────────────────────────────────────────────────────────────────────────────

BODIES = [
    pytest.param(
        "signalwire",
        message("Hi «Ann» 👍"),
        '{"to":"+12025550147","from":"+12025550101","body":"Hi «Ann» 👍","custom_variables":{"ref":"r7.42"}}',
        id="signalwire-plain",
    ),
    pytest.param(
        "signalwire",
        message(None, media=["https://example.com/a.png"], status_callback=HOOK, custom_variables={"order": "1"}),
        '{"to":"+12025550147","from":"+12025550101","media":["https://example.com/a.png"],'
        '"status_callback":"https://example.com/h?ref=r7.42","custom_variables":{"order":"1","ref":"r7.42"}}',
        id="signalwire-mms-with-callback",
    ),
    pytest.param(
        "signalwire-compat",
        message("50% & 1+1=2?\n"),
        "To=%2B12025550147&From=%2B12025550101&Body=50%25%20%26%201%2B1%3D2%3F%0A",
        id="compat-plain",
    ),
    pytest.param(
        "signalwire-compat",
        message(None, sender=UUID, media=["https://example.com/a?x=1&y", "https://example.com/b"]),
        "To=%2B12025550147&MediaUrl=https%3A%2F%2Fexample.com%2Fa%3Fx%3D1%26y"
        f"&MediaUrl=https%3A%2F%2Fexample.com%2Fb&MessagingServiceSid={UUID}",
        id="compat-number-group-and-media",
    ),
    pytest.param(
        "telnyx",
        message("Hi «Ann»"),
        '{"to":"+12025550147","from":"+12025550101","text":"Hi «Ann»"}',
        id="telnyx-plain",
    ),
    pytest.param(
        "telnyx",
        message(None, media=["https://example.com/a.png"], subject="Sale"),
        '{"to":"+12025550147","from":"+12025550101","media_urls":["https://example.com/a.png"],"subject":"Sale"}',
        id="telnyx-mms",
    ),
    pytest.param(
        "telnyx",
        message(sender=None, messaging_profile_id=UUID),
        f'{{"to":"+12025550147","text":"Hi","messaging_profile_id":"{UUID}"}}',
        id="telnyx-number-pool",
    ),
    pytest.param(
        "telnyx",
        message(sender=UUID),
        f'{{"to":"+12025550147","text":"Hi","messaging_profile_id":"{UUID}"}}',
        id="telnyx-number-pool-in-from",
    ),
    pytest.param(
        "telnyx",
        message(to="+447700900123", sender="My Shop", messaging_profile_id=UUID),
        f'{{"to":"+447700900123","from":"My Shop","text":"Hi","messaging_profile_id":"{UUID}"}}',
        id="telnyx-alphanumeric",
    ),
    pytest.param("twilio", message("é"), "To=%2B12025550147&From=%2B12025550101&Body=%C3%A9", id="twilio-plain"),
    pytest.param(
        "twilio",
        message(sender=MG, send_at="2026-12-01T09:00:00-05:00"),
        f"To=%2B12025550147&Body=Hi&ScheduleType=fixed&SendAt=2026-12-01T14%3A00%3A00Z&MessagingServiceSid={MG}",
        id="twilio-scheduled-by-service",
    ),
    pytest.param(
        "twilio",
        message(None, content_sid="HX" + "0" * 32, content_variables={"1": "Ann"}),
        "To=%2B12025550147&From=%2B12025550101&ContentSid=HX00000000000000000000000000000000"
        "&ContentVariables=%7B%221%22%3A%22Ann%22%7D",
        id="twilio-content-template",
    ),
]


@pytest.mark.parametrize(("dialect", "one", "content"), BODIES)
def test_whole_bodies(dialect, one, content):
    assert adapter(dialect).request(one).content == content.encode()


# ── Every campaign key, alone ─────────────────────────────────────────────────────────────────────────

AP, HX = "AP" + "0" * 32, "HX" + "0" * 32
WITH_REF = "https://example.com/h?ref=r7.42"
FIELDS = [
    # dialect, campaign fields, what they add to the request
    ("signalwire", {"send_as_mms": True}, {"send_as_mms": True}),
    ("signalwire", {"send_as_mms": False}, {"send_as_mms": False}),
    ("signalwire", {"status_callback": HOOK}, {"status_callback": WITH_REF}),
    ("signalwire", {"custom_variables": {"a": "1"}}, {"custom_variables": {"a": "1", "ref": "r7.42"}}),
    ("signalwire-compat", {"send_as_mms": True}, {"SendAsMms": "true"}),
    ("signalwire-compat", {"status_callback": HOOK}, {"StatusCallback": WITH_REF}),
    ("signalwire-compat", {"application_sid": UUID}, {"ApplicationSid": UUID}),
    ("signalwire-compat", {"max_price": "0.0075"}, {"MaxPrice": "0.0075"}),
    ("signalwire-compat", {"validity_period": 172_800}, {"ValidityPeriod": "172800"}),
    ("telnyx", {"status_callback": HOOK}, {"webhook_url": WITH_REF}),
    ("telnyx", {"webhook_failover_url": HOOK}, {"webhook_failover_url": WITH_REF}),
    ("telnyx", {"send_as_mms": True}, {"type": "MMS"}),
    ("telnyx", {"send_as_mms": False}, {}),
    ("telnyx", {"message_type": "SMS"}, {"type": "SMS"}),
    ("telnyx", {"messaging_profile_id": UUID}, {"messaging_profile_id": UUID}),
    ("telnyx", {"subject": "Sale"}, {"subject": "Sale"}),
    ("telnyx", {"use_profile_webhooks": False}, {"use_profile_webhooks": False}),
    ("telnyx", {"auto_detect": True}, {"auto_detect": True}),
    ("telnyx", {"encoding": "ucs2"}, {"encoding": "ucs2"}),
    ("telnyx", {"send_at": "2026-12-01T09:00:00Z"}, {"send_at": "2026-12-01T09:00:00Z"}),
    ("telnyx", {"send_at": "2026-12-01T09:00:00.5+01:00"}, {"send_at": "2026-12-01T08:00:00Z"}),
    ("twilio", {"status_callback": HOOK}, {"StatusCallback": WITH_REF}),
    ("twilio", {"send_as_mms": False}, {"SendAsMms": "false"}),
    ("twilio", {"messaging_service_sid": MG}, {"MessagingServiceSid": MG}),
    ("twilio", {"application_sid": AP}, {"ApplicationSid": AP}),
    ("twilio", {"validity_period": 36_000}, {"ValidityPeriod": "36000"}),
    ("twilio", {"max_price": "1.5"}, {"MaxPrice": "1.5"}),
    ("twilio", {"content_sid": HX}, {"ContentSid": HX}),
    ("twilio", {"content_retention": "discard"}, {"ContentRetention": "discard"}),
    ("twilio", {"address_retention": "obfuscate"}, {"AddressRetention": "obfuscate"}),
    ("twilio", {"smart_encoded": True}, {"SmartEncoded": "true"}),
    ("twilio", {"shorten_urls": False}, {"ShortenUrls": "false"}),
    ("twilio", {"provide_feedback": True}, {"ProvideFeedback": "true"}),
    ("twilio", {"force_delivery": True}, {"ForceDelivery": "true"}),
    ("twilio", {"attempt": 3}, {"Attempt": "3"}),
    ("twilio", {"risk_check": "disable"}, {"RiskCheck": "disable"}),
    ("twilio", {"traffic_type": "free"}, {"TrafficType": "free"}),
    (
        "twilio",
        {"messaging_service_sid": MG, "fallback_from": "+12025550102"},
        {"MessagingServiceSid": MG, "FallbackFrom": "+12025550102"},
    ),
    (
        "twilio",
        {"persistent_action": ["geo:1,2", "mailto:a@example.com"]},
        {"PersistentAction": "mailto:a@example.com"},
    ),
]


@pytest.mark.parametrize(
    ("dialect", "fields", "added"), FIELDS, ids=[f"{dialect}-{list(fields)[-1]}" for dialect, fields, _ in FIELDS]
)
def test_every_campaign_key_has_its_vendor_field(dialect, fields, added):
    plain = _parsed(adapter(dialect).request(message()))
    assert _parsed(adapter(dialect).request(message(**fields))) == plain | added


def test_the_table_above_has_every_key_of_every_dialect():
    covered = {(dialect, key) for dialect, fields, _ in FIELDS for key in fields}
    covered |= {("signalwire-compat", "messaging_service_sid"), ("twilio", "send_at"), ("twilio", "content_variables")}
    assert covered == {(dialect, key) for key, row in providers.CARRIERS.items() for dialect in row}


def test_a_list_becomes_a_repeated_form_field():
    content = adapter("twilio").request(message(persistent_action=["geo:1,2", "tel:1"])).content.decode()
    assert [value for name, value in parse_qsl(content) if name == "PersistentAction"] == ["geo:1,2", "tel:1"]


def _parsed(request: Request) -> dict:
    content = request.content.decode()
    return json.loads(content) if content.startswith("{") else dict(parse_qsl(content, strict_parsing=True))


# ── Our reference in the callback ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "ref", "result"),
    [
        ("https://example.com/h", "r1", "https://example.com/h?ref=r1"),
        ("https://example.com", "r1", "https://example.com?ref=r1"),
        ("https://example.com/h?", "r1", "https://example.com/h?ref=r1"),
        ("https://example.com/h?a=1", "r1", "https://example.com/h?a=1&ref=r1"),
        ("https://example.com/h?a=%2B&b", "r1", "https://example.com/h?a=%2B&b&ref=r1"),
        ("https://example.com/h?a=1&", "r1", "https://example.com/h?a=1&ref=r1"),
        ("https://example.com/h#rc=2&rp=all", "r1", "https://example.com/h?ref=r1#rc=2&rp=all"),
        ("https://example.com/h?a=1#ct=1?x", "r1", "https://example.com/h?a=1&ref=r1#ct=1?x"),
        ("https://u:p@example.com/h", "r1", "https://u:p@example.com/h?ref=r1"),
        ("https://example.com/h", "a b/c:1+2&#", "https://example.com/h?ref=a%20b%2Fc%3A1%2B2%26%23"),
    ],
)
def test_ref_in_a_callback_url(url, ref, result):
    assert _http.with_ref(url, ref) == result
    assert _http.ref_in_url(result) == ref


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.sampled_from(["https://example.com/h", "https://example.com/h?a=1&b=", "https://example.com/?q#f"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_ref_comes_back_whatever_it_is(url, ref):
    with_ref = _http.with_ref(url, ref)
    assert _http.ref_in_url(with_ref) == ref
    assert urlsplit(with_ref).fragment == urlsplit(url).fragment
    assert urlsplit(with_ref).query.startswith(urlsplit(url).query)


@pytest.mark.parametrize("url", [None, 7, "", "https://[::1", "https://example.com/h", "https://example.com/?ref"])
def test_no_ref_is_no_ref(url):
    assert _http.ref_in_url(url) is None


# ── Properties ────────────────────────────────────────────────────────────────────────────────────────

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@settings(deadline=None)  # a busy machine is no failure
@given(body=TEXT)
def test_any_text_arrives_unchanged(dialect, body):
    document = _parsed(adapter(dialect).request(message(body)))
    assert body in (document.get("Body"), document.get("body"), document.get("text"))


@pytest.mark.parametrize("dialect", ["signalwire-compat", "twilio"])
@settings(deadline=None)  # a busy machine is no failure
@given(body=TEXT)
def test_forms_hold_no_reserved_character(dialect, body):
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%&=")
    content = adapter(dialect).request(message(body)).content.decode("ascii")
    assert set(content) <= allowed


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_the_same_message_gives_the_same_bytes(dialect):
    one = message("Hi «Ann»", media=["https://example.com/a"], status_callback=HOOK)
    assert adapter(dialect).request(one) == adapter(dialect).request(one._replace())


# ── Refusals ──────────────────────────────────────────────────────────────────────────────────────────

REFUSED = [
    ("signalwire", message(sender=None), "there is no sender"),
    ("signalwire", message(to="12025550147"), "cannot send to"),
    ("signalwire", message(to="12345"), "cannot send to"),
    ("signalwire", message(to="whatsapp:+12025550147"), "cannot send to"),
    ("signalwire", message("x" * 1601), "1601 characters"),
    ("signalwire", message(None), "neither text nor media"),
    ("signalwire", message(""), "neither text nor media"),
    ("signalwire", message(media=[HOOK] * 9), "9 media files; SignalWire takes at most 8"),
    ("signalwire", message(subject="Sale"), "SignalWire has no field for `subject`"),
    ("signalwire", message("half \ud83d"), "lone surrogate"),
    ("signalwire-compat", message(to="988"), "cannot send to"),
    ("signalwire-compat", message(media=[HOOK] * 9), "at most 8"),
    ("signalwire-compat", message("half \ud83d"), "lone surrogate"),
    ("telnyx", message("x" * 1531), "1531 characters"),
    ("telnyx", message(media=[HOOK] * 11), "at most 10"),
    ("telnyx", message(to="12"), "cannot send to"),
    ("twilio", message(to="12345"), "cannot send to"),
    ("twilio", message(media=[HOOK] * 11), "at most 10"),
    ("twilio", message(custom_variables={"a": "1"}), "Twilio has no field for `custom_variables`"),
]


@pytest.mark.parametrize(("dialect", "one", "words"), REFUSED, ids=[f"{row[0]}-{n}" for n, row in enumerate(REFUSED)])
def test_what_cannot_be_carried_is_refused(dialect, one, words):
    with pytest.raises(Unsupported, match=words):
        adapter(dialect).request(one)


@pytest.mark.parametrize(
    ("dialect", "to"), [("signalwire", "988"), ("signalwire", "+988"), ("telnyx", "12345"), ("telnyx", "123")]
)
def test_recipients_beyond_e164(dialect, to):
    assert _parsed(adapter(dialect).request(message(to=to)))["to"] == to
