"""Signatures of webhooks: the vendors' published vectors, and everything that must not pass for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sender.core.errors import CredentialsError
from sender.delivery.webhooks import signatures
from sender.delivery.webhooks.signatures import Keys, Policy, Webhook, is_allowed

# Published with the providers' own libraries; the first two stand in twilio-python's unit test.
TWILIO_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
CALL = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
REPEATED = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")]
HOOK = "https://example.com/hooks/status?ref=42"
STATUS = [
    ("From", "+15551234567"),
    ("MessageSid", "0a059168-ead0-41af-9d1f-343dae832527"),
    ("MessageStatus", "delivered"),
    ("To", "+15559876543"),
]
NATIVE = b'{"id":"a1b2c3d4-e5f6-7890-abcd-ef1234567890","status":"delivered"}'
TELNYX_PUBLIC = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
TELNYX_BODY = b'{"data":{"event_type":"message.finalized","id":"4ee8c3a6-4995-4309-a3c6-38e3db9ea4be"}}'
TELNYX_SIGNATURE = "hbbpeBDZCNvHPY0S2L5O8pbyLgs3zeEKViiVeel8fDpqIAbaRQOj7vYoq0sAAhx0dg80SGusUmeXkBebuGGQCA=="
TELNYX_AT = 1_700_000_000
KEYS = Keys(signalwire="PSK_test_key", twilio="12345", telnyx=signatures.read_telnyx_key(TELNYX_PUBLIC))
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def form(fields: object) -> bytes:
    return urlencode(fields).encode()  # type: ignore[arg-type]


def passes(dialect: str, webhook: Webhook, policy: Policy = Policy.REQUIRE, keys: Keys = KEYS) -> bool:
    return is_allowed(dialect, webhook, keys, policy, now_s=TELNYX_AT + 10)


GENUINE: dict[str, tuple[str, Webhook]] = {
    "twilio": (
        "twilio",
        Webhook(TWILIO_URL, FORM | {"x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="}, form(CALL)),
    ),
    "twilio, repeated names": (
        "twilio",
        Webhook(TWILIO_URL, FORM | {"x-twilio-signature": "IK+Dwps556ElfBT0I3Rgjkr1wJU="}, form(REPEATED)),
    ),
    "signalwire form, in the alias": (
        "signalwire-compat",
        Webhook(HOOK, FORM | {"x-twilio-signature": "XRBCnZBOnIhW+Dk97DaoEhiTfB8="}, form(STATUS)),
    ),
    "signalwire form": (
        "signalwire-compat",
        Webhook(HOOK, FORM | {"x-signalwire-signature": "XRBCnZBOnIhW+Dk97DaoEhiTfB8="}, form(STATUS)),
    ),
    "signalwire JSON": (
        "signalwire",
        Webhook(HOOK, {"x-signalwire-signature": "3ad1999ee738191d73c74a5af19c39314a99cb45"}, NATIVE),
    ),
    "signalwire JSON, SHA-256": (
        "signalwire",
        Webhook(
            HOOK,
            {"x-signalwire-sha256-signature": "63db53a3c35eed21488ccbeed5f887ee07dacf08b66d745a3f3c53f70fe86750"},
            NATIVE,
        ),
    ),
    "signalwire JSON, both": (
        "signalwire",
        Webhook(
            HOOK,
            {
                "x-signalwire-signature": "3ad1999ee738191d73c74a5af19c39314a99cb45",
                "x-signalwire-sha256-signature": "63db53a3c35eed21488ccbeed5f887ee07dacf08b66d745a3f3c53f70fe86750",
            },
            NATIVE,
        ),
    ),
    "telnyx": (
        "telnyx",
        Webhook(HOOK, {"telnyx-timestamp": str(TELNYX_AT), "telnyx-signature-ed25519": TELNYX_SIGNATURE}, TELNYX_BODY),
    ),
}
SIGNED = pytest.mark.parametrize(("dialect", "webhook"), GENUINE.values(), ids=GENUINE)


@SIGNED
@pytest.mark.parametrize("policy", Policy)
def test_published_vectors_pass(dialect: str, webhook: Webhook, policy: Policy) -> None:
    assert passes(dialect, webhook, policy)


def test_signalwire_keeps_the_order_of_repeated_names() -> None:
    headers = FORM | {"x-signalwire-signature": "eMV0TTCyejiqoUSkV7IwWuk0CRc="}
    keys = Keys(signalwire="12345")
    assert passes("signalwire-compat", Webhook(TWILIO_URL, headers, form(REPEATED)), keys=keys)
    assert not passes("signalwire-compat", Webhook(TWILIO_URL, headers, form(REPEATED[::-1])), keys=keys)
    assert signatures.form_signature("12345", TWILIO_URL, REPEATED[::-1], distinct=True) == (
        "IK+Dwps556ElfBT0I3Rgjkr1wJU="
    ), "Twilio sorts them"


@SIGNED
@pytest.mark.parametrize("policy", [Policy.REQUIRE, Policy.VERIFY_IF_PRESENT])
@pytest.mark.parametrize("what", ["body", "url", "key", "no key", "signature", "truncated", "no text", "other bytes"])
def test_a_signature_that_does_not_fit_fails(dialect: str, webhook: Webhook, policy: Policy, what: str) -> None:
    name = next(name for name in webhook.headers if "signature" in name)
    keys = KEYS
    match what:
        case "body":
            webhook = replace(webhook, body=webhook.body + b" ")
        case "url" if dialect != "telnyx":
            webhook = replace(webhook, url=webhook.url.replace("?", "?x=1&"))
        case "key":
            other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
            keys = Keys(signalwire="PSK_other", twilio="54321", telnyx=other)
        case "no key":
            keys = Keys()
        case "signature":
            webhook = replace(webhook, headers=webhook.headers | {name: "AAAA" + webhook.headers[name][4:]})
        case "truncated":
            webhook = replace(webhook, headers=webhook.headers | {name: webhook.headers[name][:-2]})
        case "no text":
            webhook = replace(webhook, headers=webhook.headers | {name: ""})
        case "other bytes":
            webhook = replace(webhook, headers=webhook.headers | {name: "é\udcff"})
        case _:
            pytest.skip("Telnyx signs no URL")
    assert not passes(dialect, webhook, policy, keys)


@SIGNED
@pytest.mark.parametrize("is_status", [True, False])
def test_without_a_signature_only_a_softer_policy_believes(dialect: str, webhook: Webhook, is_status: bool) -> None:
    """`verify-if-present` is for SignalWire's JSON status callbacks: nothing else is believed without a signature."""
    bare = replace(webhook, headers={name: text for name, text in webhook.headers.items() if name in FORM})
    assert not passes(dialect, bare)
    allowed = is_allowed(dialect, bare, KEYS, Policy.VERIFY_IF_PRESENT, now_s=TELNYX_AT + 10, is_status=is_status)
    assert allowed is (is_status and dialect == "signalwire")
    assert not passes(dialect, bare, Policy.VERIFY_IF_PRESENT), "whoever does not say that it is a status"
    assert passes(dialect, bare, Policy.OFF)


def test_one_of_two_signatures_is_not_enough() -> None:
    _, webhook = GENUINE["signalwire JSON, both"]
    for name in webhook.headers:
        assert not passes("signalwire", replace(webhook, headers=webhook.headers | {name: "0" * 40}))


# Twilio and SignalWire forms: ports


@pytest.mark.parametrize(
    ("signed", "public"),
    [
        ("https://example.com/hook?ref=1", "https://example.com/hook?ref=1"),
        ("https://example.com:443/hook?ref=1", "https://example.com/hook?ref=1"),
        ("https://example.com/hook?ref=1", "https://example.com:443/hook?ref=1"),
        ("http://127.0.0.1:80/hook", "http://127.0.0.1/hook"),
        ("https://example.com/hook", "https://example.com:8443/hook"),
        ("https://[::1]:443/hook", "https://[::1]/hook"),
        ("https://[::1]/hook", "https://[::1]:443/hook"),
    ],
)
@pytest.mark.parametrize("dialect", ["twilio", "signalwire-compat"])
def test_the_standard_port_may_be_told_or_not(dialect: str, signed: str, public: str) -> None:
    distinct, key = dialect == "twilio", "12345" if dialect == "twilio" else "PSK_test_key"
    name = "x-twilio-signature" if dialect == "twilio" else "x-signalwire-signature"
    headers = FORM | {name: signatures.form_signature(key, signed, STATUS, distinct=distinct)}
    assert passes(dialect, Webhook(public, headers, form(STATUS)))


# Bodies that are no form


def by_url(url: str, key: str = "12345") -> dict[str, str]:
    digest = hmac.new(key.encode(), url.encode(), hashlib.sha1).digest()
    return {"x-twilio-signature": base64.b64encode(digest).decode(), "content-type": "application/json"}


def test_a_json_body_is_covered_by_its_hash_in_the_url() -> None:
    body = b'{"property": "value", "boolean": true}'
    expected = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
    assert signatures.body_sha256(body) == expected
    url = f"https://example.com/hook?ref=1&bodySHA256={expected}"
    assert passes("twilio", Webhook(url, by_url(url), body))
    assert not passes("twilio", Webhook(url, by_url(url), body + b" ")), "another body under the same URL"
    plain = "https://example.com/hook?ref=1"
    assert not passes("twilio", Webhook(plain, by_url(plain), body)), "a body that nothing covers"
    assert not passes("signalwire-compat", Webhook(plain, by_url(plain, "PSK_test_key"), body))


def test_a_get_is_covered_by_its_url() -> None:
    url = "https://example.com/inbound?From=%2B12025550101&Body=STOP"
    assert passes("twilio", Webhook(url, by_url(url), b""))
    assert not passes("twilio", Webhook(url.replace("STOP", "START"), by_url(url), b""))


def test_a_form_that_is_none_is_not_covered() -> None:
    url = "https://example.com/hook"
    for body in (b"\xff\xfe", b"&".join(b"a=1" for _ in range(1000))):
        assert not passes("twilio", Webhook(url, by_url(url) | FORM, body))


def signed_form(url: str, fields: list[tuple[str, str]], content_type: str = FORM["content-type"]) -> Webhook:
    """A form as Twilio signs it: name and value of each field, sorted, after the URL."""
    text = url + "".join(name + value for name, value in sorted(fields))
    digest = hmac.new(b"12345", text.encode(), hashlib.sha1).digest()
    signature = base64.b64encode(digest).decode()
    return Webhook(url, {"content-type": content_type, "x-twilio-signature": signature}, form(fields))


BLANK = [("Body", ""), ("From", "+12025550101"), ("To", "+12025550100")]


def test_a_blank_field_is_signed_too() -> None:
    assert passes("twilio", signed_form("https://example.com/hook", BLANK))


@pytest.mark.parametrize(
    ("content_type", "good"),
    [
        ("application/x-www-form-urlencoded", True),
        ("Application/X-WWW-Form-URLencoded ; charset=utf-8; x=y", True),
        ("multipart/form-data", False),
        ("", False),
    ],
)
def test_what_is_sent_as_a_form_is_one(content_type: str, good: bool) -> None:
    assert passes("twilio", signed_form("https://example.com/hook", BLANK, content_type)) is good


@pytest.mark.parametrize(("count", "good"), [(200, True), (201, False)])
def test_a_form_has_two_hundred_fields_at_most(count: int, good: bool) -> None:
    fields = [(f"Field{place:03}", "x") for place in range(count)]
    assert passes("twilio", signed_form("https://example.com/hook", fields)) is good


def test_a_blank_hash_in_the_url_covers_no_body() -> None:
    assert not passes("twilio", signed_form("https://example.com/hook?bodySHA256=", BLANK))


# Twilio's shared keys, and other spellings of a URL: signatures computed with twilio-python 9.13.0

SHARED = Keys(twilio="12345", twilio_shared=("webhooks-shared-key-secret",))
INBOUND = "https://hooks.example.com/inbound/twilio"
STOP = {"Body": "STOP", "From": "+12025550101", "To": "+12025550100", "MessageSid": "SM" + "0" * 32}
SETTINGS = "key=webhooks_sharedkey_01,algorithm=HMAC_SHA256"
SHA256_OF_STOP = "GfkLWxQjxSfhC+RGRWRXvw5cFEHfGKBZ9MEcPu4oZUI="
SHA1_OF_STOP = "XW6sZTpBSSkq7je+63/itSH8J58="


def by_shared_key(signature: str, settings: str = SETTINGS, url: str = INBOUND) -> Webhook:
    headers = {"x-twilio-signature": signature, "x-twilio-webhooks-signature-settings": settings}
    return Webhook(url, FORM | headers, form(STOP))


@pytest.mark.parametrize(
    ("signature", "settings"),
    [
        pytest.param(SHA256_OF_STOP, SETTINGS, id="as documented"),
        pytest.param(SHA256_OF_STOP, " algorithm = HMAC_SHA256 , key=k", id="another order, and blanks"),
        pytest.param(SHA256_OF_STOP, "key=k,algorithm=hmac_sha256", id="small letters"),
        pytest.param(SHA1_OF_STOP, "key=k,algorithm=HMAC_SHA1", id="SHA-1"),
        pytest.param(SHA1_OF_STOP, "key=k", id="no algorithm"),
        pytest.param(SHA1_OF_STOP, "", id="an empty header"),
    ],
)
def test_a_webhook_signed_with_a_shared_key_is_believed(signature: str, settings: str) -> None:
    assert passes("twilio", by_shared_key(signature, settings), keys=SHARED)


@pytest.mark.parametrize(
    ("webhook", "keys"),
    [
        pytest.param(by_shared_key(SHA256_OF_STOP), Keys(twilio="webhooks-shared-key-secret"), id="no shared key"),
        pytest.param(by_shared_key(SHA256_OF_STOP), Keys(twilio_shared=("another",)), id="another shared key"),
        pytest.param(by_shared_key(SHA256_OF_STOP, "key=k,algorithm=HMAC_MD5"), SHARED, id="an unknown algorithm"),
        pytest.param(by_shared_key(SHA256_OF_STOP, "key=k,algorithm=HMAC_SHA1"), SHARED, id="another algorithm"),
        pytest.param(by_shared_key(SHA1_OF_STOP), SHARED, id="a weaker signature than the header says"),
        pytest.param(
            by_shared_key(signatures.form_signature("12345", INBOUND, list(STOP.items()), distinct=True), ""),
            SHARED,
            id="the auth token, under the header of a shared key",
        ),
        pytest.param(
            replace(by_shared_key(SHA1_OF_STOP), headers=FORM | {"x-twilio-signature": SHA1_OF_STOP}),
            SHARED,
            id="the shared key, without its header",
        ),
    ],
)
def test_a_shared_key_is_no_auth_token_and_the_other_way_round(webhook: Webhook, keys: Keys) -> None:
    assert not passes("twilio", webhook, keys=keys)


def test_while_a_shared_key_is_replaced_either_is_believed() -> None:
    keys = Keys.of({"TWILIO_WEBHOOK_SHARED_KEY": " new-secret  webhooks-shared-key-secret "})
    assert keys.has("twilio")
    assert passes("twilio", by_shared_key(SHA256_OF_STOP), keys=keys)
    assert "new-secret" not in repr(keys)


def test_a_json_body_under_a_shared_key_is_covered_by_its_hash() -> None:
    body = b'{"property": "value", "boolean": true}'
    url = f"{INBOUND}?bodySHA256={signatures.body_sha256(body)}"
    headers = {
        "content-type": "application/json",
        "x-twilio-signature": "Rwp2LfZjPNvEuKEAd6Km2RPJqyXnPDlkfuBCZmcefKA=",
        "x-twilio-webhooks-signature-settings": SETTINGS,
    }
    assert passes("twilio", Webhook(url, headers, body), keys=SHARED)
    assert not passes("twilio", Webhook(url, headers, body + b" "), keys=SHARED)


@pytest.mark.parametrize(
    ("dialect", "webhook", "keys", "variable"),
    [
        pytest.param("twilio", by_shared_key(SHA256_OF_STOP), KEYS, "TWILIO_WEBHOOK_SHARED_KEY", id="shared key"),
        pytest.param("twilio", by_shared_key(SHA256_OF_STOP), SHARED, None, id="shared key, set"),
        pytest.param(*GENUINE["twilio"], Keys(twilio_shared=("x",)), "TWILIO_AUTH_TOKEN", id="auth token"),
        pytest.param(*GENUINE["twilio"], KEYS, None, id="auth token, set"),
        pytest.param(*GENUINE["telnyx"], Keys(), "TELNYX_PUBLIC_KEY", id="telnyx"),
        pytest.param(*GENUINE["telnyx"], KEYS, None, id="telnyx, set"),
        pytest.param(*GENUINE["signalwire JSON"], Keys(), "SIGNALWIRE_SIGNING_KEY", id="signalwire"),
        pytest.param(*GENUINE["signalwire form"], Keys(), "SIGNALWIRE_SIGNING_KEY", id="signalwire form"),
        pytest.param("twilio", Webhook(INBOUND, FORM, form(STOP)), Keys(), None, id="not signed"),
    ],
)
def test_a_missing_key_is_named(dialect: str, webhook: Webhook, keys: Keys, variable: str | None) -> None:
    why = signatures.why_unchecked(dialect, webhook, keys)
    assert (why is None) if variable is None else (why or "").endswith(f"{variable} is not set")


@pytest.mark.parametrize(
    ("signed", "signature", "received"),
    [
        (
            "Body=don%27t+STOP&From=%2B12025550101",
            "wcfHa2zIn+uwoYCVps2DzkwCnhw=",
            "Body=don't+STOP&From=%2B12025550101",
        ),
        (
            "Body=don't+STOP&From=%2B12025550101",
            "EV4NUn609fYTc8wLqJPYONVf5rI=",
            "Body=don%27t+STOP&From=%2B12025550101",
        ),
        (
            "Body=don't+STOP&From=%2B12025550101",
            "EV4NUn609fYTc8wLqJPYONVf5rI=",
            "Body=don%27t%20STOP&From=%2b12025550101",
        ),
        ("Body=STOP&Email=ada@example.com", "/QXV+w4y0vWyil4yPXwl4ZAXW64=", "Body=STOP&Email=ada%40example.com"),
        ("Body=STOP&Email=ada%40example.com", "wHX1t+bfhMpn/VgO4+qEwAWS5/A=", "Body=STOP&Email=ada@example.com"),
        ("Body=it%27s%20%40%20home", "ZpCwsVYFSbteI6wz3wYMvAKzaHI=", "Body=it's%20@%20home"),
        ("Body=it's%20@%20home", "NLy2IGZLGq9nEyR3oolTmsUaDNc=", "Body=it%27s%20%40%20home"),
        ("Body=it%27s%20@%20home", "qQsRwoi+0PlSZkLXPwZ2ZeCknhQ=", "Body=it's%20%40%20home"),
    ],
)
def test_a_get_may_be_signed_in_another_spelling(signed: str, signature: str, received: str) -> None:
    headers = {"x-twilio-signature": signature}
    for query in (signed, received):
        assert passes("twilio", Webhook(f"{INBOUND}?{query}", headers, b""))
        other = query.replace("Body=", "Body=x")
        assert not passes("twilio", Webhook(f"{INBOUND}?{other}", headers, b"")), "another text"


@pytest.mark.parametrize("dialect", ["twilio", "signalwire-compat", "signalwire"])
@pytest.mark.parametrize("query", ["", "?ref=1"])
@pytest.mark.parametrize(("signed", "received"), [("", "/"), ("/", ""), ("/", "/")])
def test_a_slash_at_the_end_of_the_path_may_come_or_go(dialect: str, query: str, signed: str, received: str) -> None:
    url, at = f"https://example.com/hook{signed}{query}", f"https://example.com/hook{received}{query}"
    if dialect == "signalwire":
        headers = {"x-signalwire-signature": signatures.signalwire_json("PSK_test_key", url, NATIVE)}
        assert passes(dialect, Webhook(at, headers, NATIVE))
        assert not passes(dialect, Webhook(at.replace("hook", "hooks"), headers, NATIVE))
        return
    key, name = ("12345", "x-twilio-signature") if dialect == "twilio" else ("PSK_test_key", "x-signalwire-signature")
    headers = FORM | {name: signatures.form_signature(key, url, STATUS, distinct=True)}
    assert passes(dialect, Webhook(at, headers, form(STATUS)))
    assert not passes(dialect, Webhook(at.replace("hook", "hooks"), headers, form(STATUS)))


# Telnyx


@pytest.mark.parametrize(
    ("apart_s", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False), (10**9, False)]
)
def test_telnyx_timestamps_are_close(apart_s: int, good: bool) -> None:
    _, webhook = GENUINE["telnyx"]
    assert is_allowed("telnyx", webhook, KEYS, Policy.REQUIRE, now_s=TELNYX_AT + apart_s) is good


@pytest.mark.parametrize("stamp", ["", "soon", "1.7e9", "-1700000000", "１７０００００００００", "9" * 40])
def test_a_timestamp_is_a_number(stamp: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    signature = base64.b64encode(key.sign(stamp.encode() + b"|" + TELNYX_BODY)).decode()
    headers = {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature}
    assert not passes("telnyx", Webhook(HOOK, headers, TELNYX_BODY))


@pytest.mark.parametrize(("digits", "good"), [(11, True), (12, True), (13, False)])
def test_a_timestamp_has_twelve_digits_at_most(digits: int, good: bool) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    stamp = "9" * digits
    signature = base64.b64encode(key.sign(stamp.encode() + b"|" + TELNYX_BODY)).decode()
    webhook = Webhook(HOOK, {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature}, TELNYX_BODY)
    assert is_allowed("telnyx", webhook, KEYS, Policy.REQUIRE, now_s=int(stamp)) is good


@pytest.mark.parametrize("missing", ["telnyx-timestamp", "telnyx-signature-ed25519"])
def test_half_of_a_telnyx_signature_is_none(missing: str) -> None:
    _, webhook = GENUINE["telnyx"]
    headers = {name: value for name, value in webhook.headers.items() if name != missing}
    assert len(headers) < len(webhook.headers)
    assert not passes("telnyx", replace(webhook, headers=headers))


@pytest.mark.parametrize("extra", ["!", " ", "\n", "-"])
def test_a_telnyx_signature_is_base64_and_nothing_else(extra: str) -> None:
    _, webhook = GENUINE["telnyx"]
    headers = {**webhook.headers, "telnyx-signature-ed25519": extra + TELNYX_SIGNATURE}
    assert not passes("telnyx", replace(webhook, headers=headers))


def test_the_telnyx_vector_is_what_its_key_makes() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    assert base64.b64encode(key.public_key().public_bytes_raw()).decode() == TELNYX_PUBLIC
    assert base64.b64encode(key.sign(f"{TELNYX_AT}|".encode() + TELNYX_BODY)).decode() == TELNYX_SIGNATURE


# Keys


def test_keys_come_from_the_environment_and_are_not_shown() -> None:
    keys = Keys.of(
        {"SIGNALWIRE_SIGNING_KEY": " PSK_1 ", "TWILIO_AUTH_TOKEN": "secret", "TELNYX_PUBLIC_KEY": TELNYX_PUBLIC}
    )
    assert (keys.signalwire, keys.twilio) == ("PSK_1", "secret")
    assert all(keys.has(dialect) for dialect in ("signalwire", "signalwire-compat", "telnyx", "twilio"))
    assert "PSK_1" not in repr(keys)
    assert "secret" not in repr(keys)
    assert Keys.of({}) == Keys(None, None, None)
    none = Keys.of({"TWILIO_AUTH_TOKEN": " "})
    assert not any(none.has(dialect) for dialect in ("signalwire", "signalwire-compat", "telnyx", "twilio"))


@pytest.mark.parametrize(
    "text", ["no key", "AAAA", json.dumps({}), "!" + TELNYX_PUBLIC, TELNYX_PUBLIC.replace("/", "\n/")]
)
def test_a_public_key_that_is_none_is_named(text: str) -> None:
    with pytest.raises(CredentialsError, match="TELNYX_PUBLIC_KEY") as caught:
        Keys.of({"TELNYX_PUBLIC_KEY": text})
    assert caught.value.where == "environment"
