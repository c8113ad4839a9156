"""The table of providers: what each can carry, and its adapter. Performs no I/O, reads no environment itself.

A provider is one module that speaks its dialect (`signalwire`, `laml`, `telnyx`), one column in the table of
fields (`_rules.CARRIERS`), its variables in `credentials`, and one row here. Adapters know nothing of one
another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sender.core.errors import InputError
from sender.providers import _http, _rules, credentials, laml, laml_dialects, signalwire, telnyx
from sender.providers._rules import is_toll_free, sender_kind
from sender.providers.base import Adapter, Capabilities, FieldValue, LogFacts, Report, SenderKind, WebhookAnswer
from sender.providers.credentials import (
    Account,
)

_Check = Callable[[str | None, Mapping[str, FieldValue], int], SenderKind | None]


# These answers send no text back. No page shows the smallest SWML document (2026-11); this one is valid.
_NO_REPLY_XML = WebhookAnswer("text/xml", b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>')
_NO_REPLY_SWML = WebhookAnswer("application/json", b'{"version":"1.0.0","sections":{"main":[]}}')


@dataclass(frozen=True, slots=True)
class _Provider:
    capabilities: Capabilities
    rules: _rules.FieldRules
    check: _Check
    adapter: Callable[[Account], Adapter]
    reports: Callable[[Mapping[str, str], bytes, str], list[Report]]
    inbound_answer: WebhookAnswer


def _laml(dialect: laml_dialects.LamlDialect, make: Callable[[Account], Adapter]) -> _Provider:
    def check_dialect(sender: str | None, fields: Mapping[str, FieldValue], media_count: int) -> SenderKind | None:
        return laml.check(dialect, sender, fields, media_count)

    reports = partial(laml.reports, dialect.errors)
    return _Provider(dialect.capabilities, dialect.rules, check_dialect, make, reports, _NO_REPLY_XML)


_PROVIDERS: Mapping[str, _Provider] = {
    _rules.SIGNALWIRE: _Provider(
        signalwire.CAPABILITIES,
        signalwire.RULES,
        signalwire.check,
        signalwire.SignalWireAdapter,
        signalwire.reports,
        _NO_REPLY_SWML,
    ),
    _rules.COMPAT: _laml(laml_dialects.COMPAT, laml.signalwire_compat),
    _rules.TELNYX: _Provider(
        telnyx.CAPABILITIES,
        telnyx.RULES,
        telnyx.check,
        telnyx.TelnyxAdapter,
        telnyx.reports,
        WebhookAnswer("text/plain", b""),
    ),
    _rules.TWILIO: _laml(laml_dialects.TWILIO, laml.twilio),
}
DIALECTS: tuple[str, ...] = tuple(_PROVIDERS)


def account_family(provider: str) -> str:
    """The provider whose accounts and log it shares: SignalWire's own API and its Compatibility API have one."""
    return provider.removesuffix("-compat")


def capabilities(name: str) -> Capabilities:
    """What a dialect can carry; needs no credentials. Raises InputError for an unknown name."""
    return _provider(name).capabilities


def adapter(name: str, env: Mapping[str, str], *, base_url: str | None = None) -> Adapter:
    """The adapter of a dialect with the credentials in `env`; `base_url` takes precedence over the address in `env`.

    Raises CredentialsError that lists every missing variable, or for an address that must not get credentials
    (plain http to anything but loopback); InputError for an unknown name.
    """
    return _provider(name).adapter(credentials.account(name, env, base_url=base_url))


def sandbox_adapter(dialect: str, base_url: str) -> Adapter:
    """The adapter of a dialect pointed at a sandbox, with credentials that are worthless anywhere else.

    Raises CredentialsError and InputError as `adapter` does.
    """
    return _provider(dialect).adapter(credentials.sandbox_account(dialect, base_url))


def webhook_dialect(name: str, headers: Mapping[str, str]) -> str:
    """The dialect of a webhook for `name`: a SignalWire number that is set to cXML sends forms."""
    return _rules.COMPAT if name == _rules.SIGNALWIRE and _http.is_form(headers) else name


def reports(name: str, headers: Mapping[str, str], body: bytes, url: str) -> list[Report]:
    """The delivery reports and inbound messages in a webhook, in order; empty for other events.

    `headers` have lower-case names; `url` is the one that was called. Signatures are checked before
    (`sender.delivery.webhooks.signatures`). Needs no credentials. Raises ValueError when the body cannot be read.
    """
    return _provider(webhook_dialect(name, headers)).reports(headers, body, url)


def inbound_answer(name: str, headers: Mapping[str, str]) -> WebhookAnswer:
    """What to answer to the webhook of an inbound message so that the provider sends nothing back."""
    return _provider(webhook_dialect(name, headers)).inbound_answer


def check(
    capabilities: Capabilities, *, senders: Sequence[str], fields: Mapping[str, FieldValue], media_count: int
) -> None:
    """Check a campaign against its provider before anything is planned.

    `senders` is all of `from` (empty when only a service in `fields` sends), `media_count` the most media one
    message may have. Raises Unsupported for what the provider cannot carry, InputError for a `from` that is
    not a sender.
    """
    provider = _provider(capabilities.provider)
    for sender in senders or (None,):
        provider.check(sender, fields, media_count)


def check_parts(
    capabilities: Capabilities, *, senders: Sequence[str], fields: Mapping[str, FieldValue], varying: Collection[str]
) -> None:
    """`check` where each row has its own value of the fields `varying`: what is wrong whatever that value is.

    Checks each sender and each of the other `fields` by itself; what they need together, or exclude, is for `check`
    with a row's own values. Raises as it does.
    """
    rules = _provider(capabilities.provider).rules
    for key in varying:
        if key not in capabilities.fields:
            raise _rules.not_carried(capabilities, key)
    _rules.check_values(capabilities, rules, fields)
    for sender in senders:
        _rules.check_kind(capabilities, rules, sender)


def rate_kind(sender: str) -> str:
    """The key of `Capabilities.rates` for a sender: its kind, for numbers, by what carriers allow.

    `toll_free`, `long_code`, `long_code_abroad` (not +1; a provider without such a rate means `long_code`),
    `short_code`, `alphanumeric` or `service`. Raises InputError for what is not a sender.
    """
    kind = sender_kind(sender)
    if kind is not SenderKind.NUMBER:
        return kind.value
    if is_toll_free(sender):
        return "toll_free"
    return "long_code" if sender.startswith("+1") else "long_code_abroad"


def log_facts(adapter: Adapter, fields: Mapping[str, FieldValue], varying: Collection[str] = ()) -> LogFacts:
    """What the provider's log can prove about messages that were sent with these campaign fields.

    Some fields change or hide what the log shows: then a body that differs, or an entry that is not found,
    proves nothing, and a message that was accepted must not look absent. For a field in `varying`, which each row
    sets in its own way, the worst case counts.
    """
    facts = adapter.log_facts
    if (
        fields.get("address_retention") == "obfuscate" or "address_retention" in varying
    ):  # no filter by recipient finds the message
        facts = replace(facts, settle_s=None)
    rewrites = (
        fields.get("content_retention") == "discard"
        or any(fields.get(key) or key in varying for key in ("content_sid", "shorten_urls", "smart_encoded"))
        or "content_retention" in varying
    )
    if rewrites:
        facts = replace(facts, carries_body=False)
    if "status_callback" not in fields:  # the only place where a log contains our ref
        facts = replace(facts, carries_ref=False)
    return facts


def _provider(name: str) -> _Provider:
    try:
        return _PROVIDERS[name]
    except KeyError:
        raise InputError(
            f"there is no provider {name!r}", where="provider", fix=f"use {_rules.listed(DIALECTS)}"
        ) from None
