"""Each adapter against the sandbox, over real HTTP: what it sends is understood, and what comes back is read right.

The two share no code. Both are also held against the vendors' OpenAPI files, in `tests/contract`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sender import providers
from sender.core.outcomes import Accepted, Deferred, Outcome, Reason, Rejected, Unknown
from sender.providers.base import Adapter, LogEntry, LogQuery, Message, Request, Response
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from sender.transport.base import MaybeSent
from sender.transport.httpx_transport import HttpxTransport

CALLBACK = {"status_callback": "https://hooks.example.com/status?x=1"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file: Path = tmp_path_factory.mktemp("sandbox") / "sandbox.sqlite3"
    with embedded(Options(sent_after_s=0.2, delivered_after_s=0.3, hang_s=0.3, state_file=file)) as base:
        yield base


@pytest.fixture(scope="module")
def slow_url() -> Iterator[str]:
    """A sandbox in which an answer, however late it is read, tells what was known when the message was accepted."""
    with embedded(Options(sent_after_s=600, delivered_after_s=600, hang_s=0.3)) as base:
        yield base


@pytest.fixture(params=providers.DIALECTS)
def slow_adapter(request: pytest.FixtureRequest, slow_url: str) -> Adapter:
    return providers.sandbox_adapter(request.param, slow_url)


@pytest.fixture(params=providers.DIALECTS)
def adapter(request: pytest.FixtureRequest, url: str) -> Adapter:
    return providers.sandbox_adapter(request.param, url)


def fetch(*requests: Request) -> list[Response]:
    async def go() -> list[Response]:
        async with contextlib.aclosing(HttpxTransport(concurrency=1)) as transport:
            return [await transport.send(one, timeout_s=10) for one in requests]

    return asyncio.run(go())


def message(to: str, ref: str, sender: str = "+12025550100", body: str = "Hi") -> Message:
    return Message(0, ref, to, sender, body, (), CALLBACK)


def submit(adapter: Adapter, one: Message) -> Outcome:
    (response,) = fetch(adapter.request(one))
    return adapter.outcome(response)


def test_an_ordinary_message_is_accepted_and_found_again(adapter: Adapter) -> None:
    before = datetime.now(UTC)
    sent = message("+12025550123", f"run-{adapter.capabilities.provider}.7", body="Grüße {x} €")
    outcome = submit(adapter, sent)
    assert isinstance(outcome, Accepted)
    assert outcome.provider_status in ("queued", "accepted")
    time.sleep(0.4)  # until it is delivered
    one = adapter.lookup_result(fetch(adapter.lookup(outcome.message_id))[0])
    assert one is not None
    assert (one.to, one.from_number, one.status) == (sent.to, sent.from_number, "delivered")
    window = LogQuery(before - timedelta(minutes=1), datetime.now(UTC) + timedelta(minutes=1), to=sent.to)
    found = [entry for entry in walk(adapter, window) if entry.message_id == outcome.message_id]
    assert len(found) == 1
    facts = adapter.log_facts
    assert found[0].ref == (sent.ref if facts.carries_ref else None)
    assert found[0].body == (sent.body if facts.carries_body else None)
    assert found[0].created_at is not None
    assert abs((found[0].created_at - before).total_seconds()) < 10


def walk(adapter: Adapter, query: LogQuery) -> list[LogEntry]:
    entries: list[LogEntry] = []
    request: Request | None = adapter.log_request(query)
    while request is not None:
        page = adapter.log_page(fetch(request)[0], request)
        entries.extend(page.entries)
        request = page.next
    return entries


def test_an_absent_message_is_none(adapter: Adapter) -> None:
    accepted = submit(adapter, message("+12025550124", "run.1"))
    assert isinstance(accepted, Accepted)
    unknown_id = accepted.message_id[:-4] + "0000"
    assert adapter.lookup_result(fetch(adapter.lookup(unknown_id))[0]) is None


REFUSED_OR_LATER = {Reason.OPTED_OUT, Reason.BLOCKED}


@pytest.mark.parametrize(
    ("number", "kind", "reasons"),
    [
        pytest.param("+12025550190", Rejected, {Reason.INVALID_NUMBER}, id="invalid"),
        pytest.param("+12025550191", Rejected, REFUSED_OR_LATER, id="opted-out"),
        pytest.param("+12025550193", Accepted, {None}, id="filtered-later"),
        pytest.param("+12025550194", Accepted, {None}, id="unreachable-later"),
        pytest.param("+12025550196", Unknown, None, id="500-before-accepting"),
        pytest.param("+12025550197", Unknown, None, id="500-after-accepting"),
        pytest.param("+12025550199", Deferred, {Reason.INSUFFICIENT_FUNDS, Reason.UNAUTHORIZED}, id="no-funds"),
    ],
)
def test_magic_recipients(
    slow_adapter: Adapter, number: str, kind: type[Outcome], reasons: set[Reason | None] | None
) -> None:
    outcome = submit(slow_adapter, message(number, f"run.{number[-4:]}"))
    assert isinstance(outcome, kind), outcome
    if reasons is not None and not isinstance(outcome, Unknown):
        assert outcome.reason in reasons
    if isinstance(outcome, Deferred):
        assert outcome.halt


def test_a_throttled_message_waits_as_told_and_is_then_accepted(adapter: Adapter) -> None:
    first = submit(adapter, message("+12025550195", "run.3"))
    assert isinstance(first, Deferred)
    assert (first.reason, first.slow_down, first.halt) == (Reason.RATE_LIMITED, True, False)
    assert first.retry_after_s == 1
    assert isinstance(submit(adapter, message("+12025550195", "run.3")), Accepted)


def test_silence_after_accepting_is_in_doubt(adapter: Adapter) -> None:
    with pytest.raises(MaybeSent):
        fetch(adapter.request(message("+12025550198", "run.4")))


def test_a_sender_that_is_not_ours_stops_the_run(adapter: Adapter) -> None:
    outcome = submit(adapter, message("+12025550125", "run.5", sender="+12025550190"))
    assert isinstance(outcome, Deferred)
    assert outcome.halt
    assert outcome.reason is Reason.SENDER_NOT_ALLOWED
