"""Twilio's lists of deactivated numbers: what is fetched, from where, and which answers are none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from sender import providers, sandbox
from sender.core.errors import InputError, ProviderRefused, ProviderUnreachable
from sender.delivery.deactivated_numbers import fetch_deactivations
from sender.providers.deactivations import twilio_product_url
from sender.transport.httpx_transport import HttpxTransport
from tests import local_http

DAY = date(2026, 11, 20)
ENV = {"TWILIO_ACCOUNT_SID": "AC" + "a" * 32, "TWILIO_AUTH_TOKEN": "secret"}
Answer = Callable[[httpx.Request], httpx.Response]


def fetch(answer: Answer, env: dict[str, str] = ENV, *, most_bytes: int = 1000) -> bytes:
    async def go() -> bytes:
        transport = HttpxTransport(concurrency=1, transport=httpx.MockTransport(answer), most_bytes=most_bytes)
        async with contextlib.aclosing(transport):
            return await fetch_deactivations(providers.adapter("twilio", env), transport, DAY)

    return asyncio.run(go())


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.delivery.provider_log.BACKOFF_S", 0.0)
    monkeypatch.setattr("sender.delivery.deactivated_numbers._PAUSE_S", 0.0)


def leads_to(url: str, status: int = 307) -> httpx.Response:
    return httpx.Response(status, json={"redirect_to": url})


@pytest.mark.parametrize("status", [200, 307])
def test_the_credentials_go_to_twilio_and_not_to_the_file(status: int) -> None:
    seen: list[tuple[str, bool]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), "authorization" in request.headers))
        if request.url.host == "messaging.twilio.com":
            return leads_to("https://files.example.com/one?sig=1", status)
        if request.url.path == "/one":
            return httpx.Response(302, headers={"location": "/two?sig=2"})
        return httpx.Response(200, text="+12025550101\n")

    assert fetch(answer) == b"+12025550101\n"
    assert seen == [
        ("https://messaging.twilio.com/v1/Deactivations?Date=2026-11-20", True),
        ("https://files.example.com/one?sig=1", False),
        ("https://files.example.com/two?sig=2", False),
    ]


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        pytest.param([httpx.Response(400, json={"code": 30114, "message": "Not yet"})], "HTTP 400: Not yet", id="not yet"),
        pytest.param([httpx.Response(404, text="<html>")], "HTTP 404", id="a page"),
        pytest.param([httpx.Response(200, json={})], "no address of a list", id="no address"),
        pytest.param([leads_to("http://example.com/file")], "is not https", id="plain http"),
        pytest.param([leads_to("file:///etc/passwd")], "no address of a list", id="a file"),
        pytest.param([leads_to("https://[bad/")], "cannot be read", id="no address at all"),
        pytest.param([leads_to("https://a.example/"), httpx.Response(403, text="expired")], "HTTP 403", id="expired"),
        pytest.param([leads_to("https://a.example/"), httpx.Response(200, text="1" * 1001)], "larger than", id="large"),
        pytest.param([leads_to("https://a.example/")] * 7, "from one to the next", id="in a circle"),
        pytest.param([httpx.Response(503)] * 3, "HTTP 503", id="out of order"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused_with_its_sentence(answers: list[httpx.Response], sentence: str) -> None:
    queue = iter(answers)
    with pytest.raises(ProviderRefused, match=sentence):
        fetch(lambda _: next(queue))


def test_nobody_answers() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    with pytest.raises(ProviderUnreachable, match="did not come"):
        fetch(answer)


def test_only_twilio_has_such_lists() -> None:
    adapter = providers.sandbox_adapter("signalwire-compat", "http://127.0.0.1:1")
    transport = HttpxTransport(concurrency=1, transport=httpx.MockTransport(lambda _: httpx.Response(200)))
    with pytest.raises(InputError, match="only Twilio"):
        asyncio.run(fetch_deactivations(adapter, transport, DAY))


@pytest.mark.parametrize(
    ("base", "product"),
    [
        ("https://api.twilio.com", "https://messaging.twilio.com"),
        ("https://api.dublin.ie1.twilio.com", "https://messaging.dublin.ie1.twilio.com"),
        ("http://127.0.0.1:8025", "http://127.0.0.1:8025"),
        ("https://proxy.example.com/twilio", "https://proxy.example.com/twilio"),
    ],
)
def test_a_product_has_its_own_host_in_the_same_region(base: str, product: str) -> None:
    assert twilio_product_url(base, "messaging") == product


def test_the_sandbox_has_the_days_that_are_over() -> None:
    async def go(url: str, day: date) -> bytes:
        async with contextlib.aclosing(HttpxTransport(concurrency=1)) as transport:
            return await fetch_deactivations(providers.sandbox_adapter("twilio", url), transport, day)

    with sandbox.embedded() as url:
        assert asyncio.run(go(url, DAY)).decode().split() == ["12025550188", "12125550188", "14155550188"]
        today = datetime.now(UTC).date()
        with pytest.raises(ProviderRefused, match="not available yet"):
            asyncio.run(go(url, today + timedelta(days=1)))
        with local_http.Client(base_url=url) as client:
            said = {"date": today.isoformat(), "numbers": ["+12025550101"]}
            assert client.post("/sandbox/deactivations", json=said).status_code == 201
            assert client.post("/sandbox/deactivations", json={"date": "soon"}).status_code == 400
            assert client.get("/v1/Deactivations?Date=2026-11-20").status_code == 401
            assert client.get("/sandbox/deactivated.txt?date=2026-11-20&expires=1").status_code == 403
        assert asyncio.run(go(url, today)) == b"+12025550101\n"
