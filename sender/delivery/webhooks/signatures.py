"""Whether a webhook was signed by the provider it claims to come from. Pure; performs no I/O, reads no clock.

Each scheme is checked as its provider documents it, in constant time. A signature without a key to check it, and a
missing signature where one is required, both fail. Facts: SignalWire, "Webhook security" (2026-08-21) and the
validator of signalwire-python; twilio-python 9.13.0 `request_validator.py`, twilio-node 6.3.1 `webhooks.js` and Twilio,
"Sign webhooks with shared keys" (2026-09-07); telnyx-python `lib/webhook_verification.py` (2026-08-21).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sender.core.errors import CredentialsError

TOLERANCE_S = 300  # between the time that Telnyx signs and our clock
_FIELDS_MAX = 200
_STANDARD_PORTS = {"https": 443, "http": 80}
_TWILIO_DIGESTS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_TWILIO_SETTINGS = "x-twilio-webhooks-signature-settings"


class Policy(StrEnum):
    """Which webhooks are believed, by their signature."""

    REQUIRE = "require"
    # As REQUIRE, except for SignalWire's JSON status callbacks, for which it names no signature (2026-11).
    VERIFY_IF_PRESENT = "verify-if-present"
    OFF = "off"  # on loopback only


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that signatures are checked with; None where the environment has none.

    SignalWire: the project's signing key, which is not its API token. Twilio: the auth token, and the secrets of shared
    keys (two of them while one replaces the other). Telnyx: the public key.
    """

    signalwire: str | None = field(default=None, repr=False)
    twilio: str | None = field(default=None, repr=False)
    telnyx: Ed25519PublicKey | None = None
    twilio_shared: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Keys:
        """The keys in `env`. Raises CredentialsError for one that is not a key."""
        public = env.get("TELNYX_PUBLIC_KEY", "").strip()
        return cls(
            signalwire=env.get("SIGNALWIRE_SIGNING_KEY", "").strip() or None,
            twilio=env.get("TWILIO_AUTH_TOKEN", "").strip() or None,
            telnyx=read_telnyx_key(public) if public else None,
            twilio_shared=tuple(env.get("TWILIO_WEBHOOK_SHARED_KEY", "").split()),
        )

    def has(self, dialect: str) -> bool:
        """Whether webhooks of that dialect can be checked."""
        if dialect == "twilio" and self.twilio_shared:
            return True
        return getattr(self, dialect.removesuffix("-compat")) is not None


@dataclass(frozen=True, slots=True)
class Webhook:
    """One request as received. `url` is the public one that the provider knows; header names are lower-case."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def is_allowed(
    dialect: str, webhook: Webhook, keys: Keys, policy: Policy, *, now_s: float, is_status: bool = False
) -> bool:
    """Whether the webhook may be believed under `policy`. `now_s` is Unix time.

    `is_status` says that it came to the address for status callbacks. What it holds must be checked as well: an inbound
    message without a signature proves nothing under VERIFY_IF_PRESENT.
    """
    if policy is Policy.OFF:
        return True
    if not is_signed(dialect, webhook):
        return policy is Policy.VERIFY_IF_PRESENT and is_status and dialect == "signalwire"
    if dialect == "telnyx":
        return keys.telnyx is not None and check_telnyx(keys.telnyx, webhook, now_s=now_s)
    if dialect == "twilio":
        return check_twilio(keys, webhook)
    return keys.signalwire is not None and check_signalwire(keys.signalwire, webhook)


def is_signed(dialect: str, webhook: Webhook) -> bool:
    """Whether the webhook has a signature of its dialect, right or wrong."""
    return any(name in webhook.headers for name in _HEADERS[dialect])


_HEADERS: Mapping[str, tuple[str, ...]] = {
    "signalwire": ("x-signalwire-signature", "x-signalwire-sha256-signature"),
    "signalwire-compat": ("x-signalwire-signature", "x-signalwire-sha256-signature", "x-twilio-signature"),
    "telnyx": ("telnyx-signature-ed25519", "telnyx-timestamp"),
    "twilio": ("x-twilio-signature",),
}


def why_unchecked(dialect: str, webhook: Webhook, keys: Keys) -> str | None:
    """The key that is missing to check a signed webhook, as a sentence; None where nothing is missing."""
    if not is_signed(dialect, webhook):
        return None
    if dialect == "twilio" and _TWILIO_SETTINGS in webhook.headers:
        if not keys.twilio_shared:
            return "it is signed with a shared key, and TWILIO_WEBHOOK_SHARED_KEY is not set"
    elif dialect == "twilio" and keys.twilio is None:
        return "it is signed with the auth token, and TWILIO_AUTH_TOKEN is not set"
    elif not keys.has(dialect):
        return f"{'TELNYX_PUBLIC_KEY' if dialect == 'telnyx' else 'SIGNALWIRE_SIGNING_KEY'} is not set"
    return None


def check_signalwire(key: str, webhook: Webhook) -> bool:
    """Whether every SignalWire signature of the webhook is right.

    JSON: hexadecimal HMAC-SHA1 over URL and raw body (and, for calls, a second header with HMAC-SHA256). Forms: base64
    HMAC-SHA1 over URL and fields, which may be in Twilio's header.
    """

    def matches(signature: str, digest: str = "sha1") -> bool:
        urls = _slash_variants(webhook.url)
        return any(_equals(signature, signalwire_json(key, url, webhook.body, digest)) for url in urls)

    strong = webhook.headers.get("x-signalwire-sha256-signature")
    if strong is not None and not matches(strong, "sha256"):
        return False
    signature = webhook.headers.get("x-signalwire-signature", webhook.headers.get("x-twilio-signature"))
    if signature is None:
        return strong is not None
    return matches(signature) or _form_matches(key, webhook, signature, distinct=False)


def check_twilio(keys: Keys, webhook: Webhook) -> bool:
    """Whether Twilio's signature is right: over the URL and the form, or over a URL that names the body's SHA-256.

    It is made with the auth token; where a header names a shared key and an algorithm, with that key.
    """
    signature = webhook.headers.get("x-twilio-signature", "")
    settings = webhook.headers.get(_TWILIO_SETTINGS)
    if settings is None:
        return keys.twilio is not None and _form_matches(keys.twilio, webhook, signature, distinct=True)
    digest = _TWILIO_DIGESTS.get(_twilio_algorithm(settings))
    return digest is not None and any(
        _form_matches(secret, webhook, signature, distinct=True, digest=digest) for secret in keys.twilio_shared
    )


def _twilio_algorithm(settings: str) -> str:
    """The algorithm in `key=...,algorithm=...`; HMAC_SHA1 where none is named, as Twilio's own SDKs read it."""
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def check_telnyx(key: Ed25519PublicKey, webhook: Webhook, *, now_s: float) -> bool:
    """Whether Telnyx' signature over `timestamp|body` is right, and the timestamp is within five minutes of `now_s`."""
    stamp = webhook.headers.get("telnyx-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit()) or len(stamp) > 12 or abs(now_s - int(stamp)) > TOLERANCE_S:
        return False
    try:
        signature = base64.b64decode(webhook.headers.get("telnyx-signature-ed25519", ""), validate=True)
        key.verify(signature, stamp.encode() + b"|" + webhook.body)
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def read_telnyx_key(text: str) -> Ed25519PublicKey:
    """The public key in base64. Raises CredentialsError when it is not one."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise CredentialsError(
            "TELNYX_PUBLIC_KEY is not a public key: 32 bytes in base64",
            where="environment",
            fix="copy it again from Keys & Credentials, Public Key, in the Telnyx portal",
        ) from None


def signalwire_json(key: str, url: str, body: bytes, digest: str = "sha1") -> str:
    """SignalWire's signature of a JSON webhook: lower-case hexadecimal HMAC over URL and raw body."""
    return hmac.new(key.encode(), url.encode() + body, digest).hexdigest()


def form_signature(
    key: str, url: str, fields: Sequence[tuple[str, str]], *, distinct: bool, digest: str = "sha1"
) -> str:
    """Base64 HMAC over URL and fields sorted by name.

    For a repeated name, Twilio signs each different value once, sorted (`distinct`); SignalWire signs all values, in
    the order received.
    """
    ordered = sorted(set(fields)) if distinct else sorted(fields, key=lambda pair: pair[0])
    text = url + "".join(name + value for name, value in ordered)
    return base64.b64encode(hmac.new(key.encode(), text.encode("utf-8", "replace"), digest).digest()).decode()


def _form_matches(key: str, webhook: Webhook, signature: str, *, distinct: bool, digest: str = "sha1") -> bool:
    fields = _signed_fields(webhook)
    if fields is None:
        return False
    return any(
        _equals(signature, form_signature(key, url, fields, distinct=distinct, digest=digest))
        for url in _url_variants(webhook.url)
    )


def _signed_fields(webhook: Webhook) -> list[tuple[str, str]] | None:
    """The form's fields; none for a GET, or for a body whose hash is in the URL; None when the body is not covered."""
    if not webhook.body:
        return []
    query = dict(parse_qsl(urlsplit(webhook.url).query, keep_blank_values=True))
    if "bodySHA256" in query:
        return [] if _equals(query["bodySHA256"], body_sha256(webhook.body)) else None
    kind = webhook.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    try:
        return parse_qsl(webhook.body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:  # also not UTF-8
        return None


def body_sha256(body: bytes) -> str:
    """The `bodySHA256` that Twilio adds to the query for a body that is not a form."""
    return hashlib.sha256(body).hexdigest()


def _url_variants(url: str) -> Iterator[str]:
    """The URLs that mean the same as `url`, any of which may be the signed one; `url` itself first.

    Whether the standard port is in it depends on the sender of the request: both are documented. A proxy may add or
    remove the slash at the end of the path. And the back end that signs a GET writes some characters of the query in
    another way than the one that sends it (`'` as `%27`, `@` as `%40`), for which Twilio's own SDKs allow.
    """
    address, mark, query = url.partition("?")
    for variant in _port_variants(address):  # nearly always one of these, so the others are not made before
        yield f"{variant}{mark}{query}"
    for slashed, spelling in product(_slash_variants(address), _query_variants(query)):
        for variant in _port_variants(slashed):
            yield f"{variant}?{spelling}" if spelling else variant


def _slash_variants(url: str) -> list[str]:
    """`url` unchanged, and with the slash at the end of its path removed or added."""
    address, mark, query = url.partition("?")
    other = address.removesuffix("/") if address.endswith("/") else f"{address}/"
    return [url, f"{other}{mark}{query}"]


def _query_variants(query: str) -> list[str]:
    """`query` unchanged, and as other programs write the same names and values."""
    if not query:
        return [""]
    spellings = [query]
    with contextlib.suppress(ValueError):  # not UTF-8, or too many
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
        # Every reserved character escaped; as Node's `querystring` does, which leaves some; and as a form.
        spellings += [*(urlencode(pairs, quote_via=quote, safe=safe) for safe in ("", "!~*'()")), urlencode(pairs)]
    for character, escaped in (("'", "%27"), ("@", "%40")):
        for spelling in tuple(spellings):
            spellings += [spelling.replace(character, escaped), spelling.replace(escaped, character)]
    return list(dict.fromkeys(spellings))


def _port_variants(address: str) -> list[str]:
    """`address`, a URL without a query, unchanged, and with its scheme's standard port added or removed."""
    parts = urlsplit(address)
    standard = _STANDARD_PORTS.get(parts.scheme)
    if standard is None:
        return [address]
    if parts.port is None:
        return [address, parts._replace(netloc=f"{parts.netloc}:{standard}").geturl()]
    return [address, parts._replace(netloc=parts.netloc.rpartition(":")[0]).geturl()]


def _equals(signature: str, expected: str) -> bool:
    return hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode())
