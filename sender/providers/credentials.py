"""Credentials and addresses: from an environment mapping to the `Account` of an adapter.

The only place that knows the names of environment variables. Never reads the process's environment or a file
by itself, never writes a secret into an exception, and lets credentials travel over plain http to loopback
only.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from sender.core.errors import CredentialsError
from sender.core.loopback import is_loopback_host
from sender.providers import _rules

# The sandbox's credentials: well-formed, and worthless anywhere else.
SANDBOX_PROJECT_ID = "5a6d1e2c-0c1f-4f5e-9e37-2d4c8e1f7a60"
SANDBOX_TOKEN = "PT-sandbox-token"  # noqa: S105 (not a secret)
SANDBOX_TELNYX_KEY = "KEY-sandbox-key"
SANDBOX_ACCOUNT_SID = "AC5a6d1e2c0c1f4f5e9e372d4c8e1f7a60"

# Every spelling that several generations of the vendors' SDKs read; messages name the first.
_PROJECT = ("SIGNALWIRE_PROJECT_ID", "SIGNALWIRE_API_PROJECT")
_TOKEN = ("SIGNALWIRE_API_TOKEN", "SIGNALWIRE_TOKEN")
_SPACE = ("SIGNALWIRE_SPACE_URL", "SIGNALWIRE_SPACE", "SIGNALWIRE_API_HOSTNAME")
_TELNYX_KEY = ("TELNYX_API_KEY",)
_TELNYX_BASE = ("TELNYX_API_BASE", "TELNYX_BASE_URL")
_TWILIO_SID = ("TWILIO_ACCOUNT_SID",)
_TWILIO_TOKEN = ("TWILIO_AUTH_TOKEN",)
_TWILIO_KEY = ("TWILIO_API_KEY", "TWILIO_API_KEY_SID")
_TWILIO_SECRET = ("TWILIO_API_SECRET", "TWILIO_API_KEY_SECRET")
_TWILIO_BASE = ("TWILIO_API_BASE",)

_FOUND_AT = {
    _PROJECT: "the project id, under API in the SignalWire dashboard",
    _TOKEN: "an API token with the Messaging scope, under API in the SignalWire dashboard",
    _SPACE: "your space, as in https://example.signalwire.com",
    _TELNYX_KEY: "an API key, under API Keys in the Telnyx portal",
    _TWILIO_SID: "the account SID (AC...), on the first page of the Twilio console",
    _TWILIO_TOKEN: "the auth token next to it, or TWILIO_API_KEY and TWILIO_API_SECRET",
}


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a provider, with its credentials.

    `base_url` has no slash at its end; `account_id` is the one in LaML paths, empty for Telnyx.
    """

    base_url: str
    account_id: str
    authorization: SecretStr


class _VariableLookup:
    """Looks up variables under all their spellings and remembers which are missing."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._missing: list[Sequence[str]] = []

    def find(self, names: Sequence[str]) -> str:
        """The first that is set, or an empty string."""
        return next((value for name in names if (value := self._env.get(name, "").strip())), "")

    def find_address(self, names: Sequence[str]) -> str:
        """As `find`; an empty one is an error, since without an address the live API is meant."""
        value = self.find(names)
        blank = next((name for name in names if name in self._env), None)
        if not value and blank is not None:
            raise CredentialsError(
                f"{blank} is set, but empty",
                where="environment",
                fix="name an address, or remove the variable to use the provider's own",
            )
        return value

    def need(self, names: Sequence[str]) -> str:
        value = self.find(names)
        if not value:
            self._missing.append(names)
        elif not (value.isascii() and value.isprintable()) or " " in value:
            raise CredentialsError(
                f"{names[0]} contains a character that no credential has",
                where="environment",
                fix="copy it again",
            )
        return value

    def complete(self, title: str) -> None:
        """Raise CredentialsError with every missing variable."""
        if self._missing:
            names = ", ".join(names[0] for names in self._missing)
            where_found = "".join(f"\n    {names[0]}: {_FOUND_AT[tuple(names)]}" for names in self._missing)
            raise CredentialsError(
                f"{title} needs {names}",
                where="environment",
                fix=f"set in the environment or in an env file{where_found}",
            )


def account(dialect: str, env: Mapping[str, str], *, base_url: str | None = None) -> Account:
    """The account in `env` for a dialect. `base_url` takes precedence over the environment's.

    Raises CredentialsError listing every missing variable, or for an address that must not get credentials.
    """
    environment = _VariableLookup(env)
    title = _rules.TITLES[dialect]
    if dialect == _rules.TELNYX:
        key = environment.need(_TELNYX_KEY)
        environment.complete(title)
        url = base_url or environment.find_address(_TELNYX_BASE) or "https://api.telnyx.com"
        # Telnyx' own SDKs include the version in the base URL; our paths begin with it.
        return Account(_address(url).removesuffix("/v2"), "", SecretStr(f"Bearer {key}"))
    if dialect == _rules.TWILIO:
        sid = environment.need(_TWILIO_SID)
        user, password = environment.find(_TWILIO_KEY), environment.find(_TWILIO_SECRET)
        if user and password:
            user, password = environment.need(_TWILIO_KEY), environment.need(_TWILIO_SECRET)
        else:
            user, password = sid, environment.need(_TWILIO_TOKEN)
        environment.complete(title)
        url = base_url or environment.find_address(_TWILIO_BASE) or "https://api.twilio.com"
        return Account(_address(url), sid, _basic(user, password))
    project, token = environment.need(_PROJECT), environment.need(_TOKEN)
    url = base_url or environment.need(_SPACE)
    environment.complete(title)
    return Account(_address(_space(url)), project, _basic(project, token))


def sandbox_account(dialect: str, base_url: str) -> Account:
    """The sandbox's account for a dialect. Raises CredentialsError for plain http beyond loopback."""
    environment = {
        "SIGNALWIRE_PROJECT_ID": SANDBOX_PROJECT_ID,
        "SIGNALWIRE_API_TOKEN": SANDBOX_TOKEN,
        "TELNYX_API_KEY": SANDBOX_TELNYX_KEY,
        "TWILIO_ACCOUNT_SID": SANDBOX_ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": SANDBOX_TOKEN,
    }
    return account(dialect, environment, base_url=base_url)


def _basic(user: str, password: str) -> SecretStr:
    if ":" in user:
        raise CredentialsError(
            "the user part of the credentials holds a colon", where="environment", fix="copy it again"
        )
    return SecretStr("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


def _space(text: str) -> str:
    """`example`, `example.signalwire.com` and a whole URL all name a space."""
    if "://" in text:
        return text
    return f"https://{text}" if "." in text or ":" in text else f"https://{text}.signalwire.com"


def _address(url: str) -> str:
    """A base URL without the slash at its end. Raises CredentialsError if credentials must not go there."""
    fix = "write https://host, or http://127.0.0.1:port for a local server"
    shown = "the base URL" if "@" in url else repr(url)  # what stands before an @ may be a password
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or not re.fullmatch(r"[!-~]+", url.strip()):
        raise CredentialsError(f"{shown} is not a base URL", where="environment", fix=fix)
    if parts.username is not None or parts.query or parts.fragment:
        raise CredentialsError(f"{shown} holds more than scheme, host, port and path", where="environment", fix=fix)
    if parts.scheme == "http" and not is_loopback_host(host):
        raise CredentialsError(
            f"{host} would get the credentials over plain http; only loopback may",
            where="environment",
            fix=fix,
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
