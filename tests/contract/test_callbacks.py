"""The sandbox's callbacks, validated against what the providers' own OpenAPI files say of their webhooks.

Twilio's file describes none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from sender import providers
from sender.core.outcomes import DeliveryReport
from sender.providers.base import InboundMessage, Message
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from tests import local_http
from tests.contract.conftest import DEFAULT_FOLDER, FILES
from tests.hooks import Call, Hook, hook

pytestmark = pytest.mark.contract

SCHEMAS = {
    "signalwire": (
        "Webhooks.Messaging.MessageStatusCallbackPayload",
        "Webhooks.Messaging.InboundMessageWebhookPayload",
    ),
    "signalwire-compat": ("SmsStatusCallbackPayload", None),
    "telnyx": ("OutboundMessageEvent", "InboundMessageEvent"),
}
TO, FROM = "+12025550123", "+12025550100"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded(Options(sent_after_s=0.02, delivered_after_s=0.05)) as url:
        yield url


@pytest.fixture
def called() -> Iterator[Hook]:
    with hook() as kept:
        yield kept


@pytest.fixture
def validator(openapi: Callable[[str], Any]) -> Callable[[str, str], Draft202012Validator]:
    def make(dialect: str, name: str) -> Draft202012Validator:
        openapi(dialect)  # skips, or fails in CI, where the files are not
        folder = Path(os.environ.get("SENDER_SPECS") or DEFAULT_FOLDER)
        document = yaml.safe_load((folder / FILES[dialect]).read_text(encoding="utf-8"))
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        return Draft202012Validator(schema, format_checker=FormatChecker(["uuid"]))

    return make


def document(dialect: str, call: Call) -> Any:
    if dialect != "signalwire-compat":
        return json.loads(call.body)
    fields: dict[str, Any] = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
    return fields | {name: int(fields[name]) for name in ("NumMedia", "NumSegments") if name in fields}


@pytest.mark.parametrize("dialect", SCHEMAS)
@pytest.mark.parametrize("last", ["0123", "0194"], ids=["delivered", "undelivered"])
def test_status_callbacks(
    dialect: str, last: str, url: str, called: Hook, validator: Callable[[str, str], Draft202012Validator]
) -> None:
    adapter = providers.sandbox_adapter(dialect, url)
    message = Message(
        7, f"r.{int(last)}", f"+1202555{last}", FROM, "Hi", fields={"status_callback": f"{called.url}/hook"}
    )
    request = adapter.request(message)
    sent = local_http.request(request.method, request.url, headers=list(request.headers), content=request.content)
    assert sent.is_success
    calls = called.wait_for(2 if dialect == "telnyx" else 3)
    check = validator(dialect, SCHEMAS[dialect][0])
    words = []
    for call in calls:
        check.validate(document(dialect, call))
        (report,) = providers.reports(dialect, call.headers, call.body, call.url)
        assert isinstance(report, DeliveryReport)
        assert report.ref == f"r.{int(last)}"
        words.append(report.provider_status)
    failed = "delivery_failed" if dialect == "telnyx" else "undelivered"
    assert words[-1] == (failed if last == "0194" else "delivered")


@pytest.mark.parametrize("dialect", [name for name, (_, inbound) in SCHEMAS.items() if inbound])
def test_inbound_messages(
    dialect: str, url: str, called: Hook, validator: Callable[[str, str], Draft202012Validator]
) -> None:
    told = {"dialect": dialect, "url": f"{called.url}/in", "sender": TO, "to": FROM, "text": "Stop"}
    assert local_http.post(f"{url}/sandbox/inbound", json=told).json() == {"answer": 200}
    (call,) = called.calls
    validator(dialect, SCHEMAS[dialect][1] or "").validate(document(dialect, call))
    (inbound,) = providers.reports(dialect, call.headers, call.body, call.url)
    assert isinstance(inbound, InboundMessage)
    assert (inbound.from_number, inbound.to, inbound.text) == (TO, FROM, "Stop")
