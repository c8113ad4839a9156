"""Credentials and addresses from an environment, and the secrets that must not come out again."""

import pytest

from sender import providers
from sender.core.errors import CredentialsError, InputError
from sender.providers.base import Message

SIGNALWIRE = {
    "SIGNALWIRE_PROJECT_ID": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    "SIGNALWIRE_API_TOKEN": "PT-secret-canary",
    "SIGNALWIRE_SPACE_URL": "example",
}
TELNYX = {"TELNYX_API_KEY": "KEY-secret-canary"}
TWILIO = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "secret-canary"}
ENVIRONMENTS = {"signalwire": SIGNALWIRE, "signalwire-compat": SIGNALWIRE, "telnyx": TELNYX, "twilio": TWILIO}
MESSAGE = Message(1, "r1", "+12025550147", "+12025550101", "Hi")


def authorization(adapter):
    return dict(adapter.request(MESSAGE).headers)["Authorization"]


@pytest.mark.parametrize(
    ("dialect", "env", "base_url", "result"),
    [
        ("signalwire", {}, None, "https://example.signalwire.com"),
        ("signalwire", {"SIGNALWIRE_SPACE_URL": "example.signalwire.com"}, None, "https://example.signalwire.com"),
        ("signalwire", {"SIGNALWIRE_SPACE_URL": "sms.example.com"}, None, "https://sms.example.com"),
        (
            "signalwire",
            {"SIGNALWIRE_SPACE_URL": "https://example.signalwire.com/"},
            None,
            "https://example.signalwire.com",
        ),
        ("signalwire", {"SIGNALWIRE_SPACE_URL": "http://127.0.0.1:8080"}, None, "http://127.0.0.1:8080"),
        ("signalwire", {"SIGNALWIRE_SPACE_URL": " http://127.1.2.3:8080/ "}, None, "http://127.1.2.3:8080"),
        ("signalwire", {"SIGNALWIRE_SPACE_URL": "http://localhost:8080"}, None, "http://localhost:8080"),
        ("signalwire", {"SIGNALWIRE_SPACE_URL": "http://[::1]:8080"}, None, "http://[::1]:8080"),
        ("signalwire", {"SIGNALWIRE_SPACE_URL": "https://proxy.example.com/sw/"}, None, "https://proxy.example.com/sw"),
        ("signalwire", {}, "http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("signalwire-compat", {}, None, "https://example.signalwire.com"),
        ("telnyx", {}, None, "https://api.telnyx.com"),
        ("telnyx", {"TELNYX_API_BASE": "http://127.0.0.1:8080"}, None, "http://127.0.0.1:8080"),
        ("telnyx", {"TELNYX_BASE_URL": "https://api.telnyx.com/v2/"}, None, "https://api.telnyx.com"),
        ("telnyx", {"TELNYX_API_BASE": "http://127.0.0.1:8080"}, "http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("twilio", {}, None, "https://api.twilio.com"),
        ("twilio", {"TWILIO_API_BASE": "https://api.dublin.ie1.twilio.com"}, None, "https://api.dublin.ie1.twilio.com"),
    ],
)
def test_base_urls(dialect, env, base_url, result):
    adapter = providers.adapter(dialect, ENVIRONMENTS[dialect] | env, base_url=base_url)
    assert adapter.base_url == result
    assert adapter.request(MESSAGE).url.startswith(result + "/")
    assert adapter.capabilities.provider == dialect


@pytest.mark.parametrize(
    "url",
    [
        "http://example.signalwire.com",
        "http://128.0.0.1:8080",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://0.0.0.0:8080",
        "http://[::2]:8080",
        "ftp://example.com",
        "https://",
        "https://example.com:port",
        "https://[::1",
        "https://example.com/?a=1",
        "https://example.com/#f",
        "https://exa mple.com",
        "https://example.com\r\nX-Evil: 1",
    ],
)
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_addresses_that_get_no_credentials(dialect, url):
    with pytest.raises(CredentialsError, match=r"http://127.0.0.1:port"):
        providers.adapter(dialect, ENVIRONMENTS[dialect], base_url=url)
    with pytest.raises(CredentialsError):
        providers.sandbox_adapter(dialect, url)


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@example.com", "ftp://me:hunter2@example.com", "https://me:hunter2@[::1"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url):
    with pytest.raises(CredentialsError) as caught:
        providers.adapter("telnyx", TELNYX, base_url=url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "env", "named", "not_named"),
    [
        ("signalwire", {}, ["SIGNALWIRE_PROJECT_ID", "SIGNALWIRE_API_TOKEN", "SIGNALWIRE_SPACE_URL"], []),
        ("signalwire-compat", {}, ["SIGNALWIRE_PROJECT_ID", "SIGNALWIRE_API_TOKEN", "SIGNALWIRE_SPACE_URL"], []),
        (
            "signalwire",
            {"SIGNALWIRE_PROJECT_ID": "p", "SIGNALWIRE_API_TOKEN": " "},
            ["SIGNALWIRE_API_TOKEN", "SIGNALWIRE_SPACE_URL"],
            ["SIGNALWIRE_PROJECT_ID"],
        ),
        ("telnyx", {"TELNYX_API_KEY": ""}, ["TELNYX_API_KEY"], []),
        ("twilio", {}, ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_API_KEY"], []),
        ("twilio", {"TWILIO_API_KEY": "SK1", "TWILIO_ACCOUNT_SID": "AC1"}, ["TWILIO_AUTH_TOKEN"], ["TWILIO_ACCOUNT_SID:"]),
    ],
)  # fmt: skip
def test_every_missing_variable_is_named_with_where_to_find_it(dialect, env, named, not_named):
    with pytest.raises(CredentialsError) as caught:
        providers.adapter(dialect, env)
    text = str(caught.value)
    assert all(name in text for name in named)
    assert not any(name in text for name in not_named)
    assert "dashboard" in text or "portal" in text or "console" in text or "next to it" in text


@pytest.mark.parametrize(
    ("dialect", "env"),
    [
        ("signalwire", {"SIGNALWIRE_API_PROJECT": "p", "SIGNALWIRE_TOKEN": "t", "SIGNALWIRE_SPACE": "example"}),
        ("signalwire", {"SIGNALWIRE_PROJECT_ID": "p", "SIGNALWIRE_API_TOKEN": "t", "SIGNALWIRE_API_HOSTNAME": "a.example"}),
        ("signalwire", {"SIGNALWIRE_PROJECT_ID": " p\n", "SIGNALWIRE_API_TOKEN": "t ", "SIGNALWIRE_SPACE_URL": "example"}),
    ],
)  # fmt: skip
def test_other_spellings_and_stray_space(dialect, env):
    assert authorization(providers.adapter(dialect, env)) == "Basic cDp0"  # p:t


def test_a_twilio_api_key_signs_for_the_account():
    env = TWILIO | {"TWILIO_API_KEY": "SK1", "TWILIO_API_SECRET": "s"}
    adapter = providers.adapter("twilio", env)
    assert authorization(adapter) == "Basic U0sxOnM="  # SK1:s
    assert f"/Accounts/{TWILIO['TWILIO_ACCOUNT_SID']}/" in adapter.request(MESSAGE).url


def test_half_a_twilio_api_key_leaves_the_auth_token():
    adapter = providers.adapter("twilio", TWILIO | {"TWILIO_API_KEY": "SK1"})
    assert authorization(adapter) == authorization(providers.adapter("twilio", TWILIO))


@pytest.mark.parametrize("token", ["a b", "a\r\nX-Evil: 1", "tökén", "a\x00b"])
@pytest.mark.parametrize("name", ["SIGNALWIRE_PROJECT_ID", "SIGNALWIRE_API_TOKEN"])
def test_a_credential_that_would_break_the_header_is_refused_and_not_repeated(name, token):
    with pytest.raises(CredentialsError, match=f"{name} contains a character") as caught:
        providers.adapter("signalwire", SIGNALWIRE | {name: token})
    assert token not in str(caught.value)


def test_a_colon_in_the_user_part_would_move_the_password():
    with pytest.raises(CredentialsError, match="colon"):
        providers.adapter("signalwire", SIGNALWIRE | {"SIGNALWIRE_PROJECT_ID": "p:q"})


def test_a_strange_account_id_stays_one_segment_of_the_path():
    adapter = providers.adapter("twilio", TWILIO | {"TWILIO_ACCOUNT_SID": "AC/../x?y"})
    assert "/Accounts/AC%2F..%2Fx%3Fy/Messages.json" in adapter.request(MESSAGE).url


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_no_secret_in_any_repr(dialect):
    adapter = providers.adapter(dialect, ENVIRONMENTS[dialect])
    request = adapter.request(MESSAGE)
    header = authorization(adapter)
    for shown in (repr(adapter), str(adapter), f"{adapter}", repr(request), repr(adapter.account)):
        assert "canary" not in shown
        assert header not in shown


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_the_sandbox_needs_no_environment(dialect):
    adapter = providers.sandbox_adapter(dialect, "http://127.0.0.1:8080/")
    assert adapter.base_url == "http://127.0.0.1:8080"
    assert authorization(adapter).startswith(("Basic ", "Bearer "))


def test_unknown_providers_have_no_adapter():
    with pytest.raises(InputError, match="no provider 'sandbox'"):
        providers.adapter("sandbox", {})
    with pytest.raises(InputError, match="no provider 'plivo'"):
        providers.sandbox_adapter("plivo", "http://127.0.0.1:1")


@pytest.mark.parametrize("name", ["TWILIO_API_BASE", "TELNYX_API_BASE", "TELNYX_BASE_URL"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_address_does_not_mean_the_live_api(name: str, value: str) -> None:
    """As a script has it whose sandbox did not start."""
    dialect = name.partition("_")[0].lower()
    with pytest.raises(CredentialsError, match=f"{name} is set, but empty"):
        providers.adapter(dialect, ENVIRONMENTS[dialect] | {name: value})
    assert providers.adapter(dialect, ENVIRONMENTS[dialect] | {name: value}, base_url="http://127.0.0.1:9")
