"""Answers and logs that are not what they seem: what the sandbox says, and what a run makes of it, in every dialect."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender import providers
from sender.providers.base import LogQuery, Response
from sender.sandbox.credentials import environment
from sender.sandbox.fault_plan import Faults
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from tests import local_http
from tests.profiles import pairs
from tests.sandbox.test_fault_plan import DIALECTS, TO, raw
from tests.sandbox.test_fault_plan import send as post

PEOPLE = [f"+1202555010{n}" for n in range(6)]
ODD = PEOPLE[3]
FOREIGN = ("answer-twice", "answer-twice-late", "other-answer", "other-id", "wrong-to", "wrong-from")
PAGES = ("403-page", "404-page", "407-page", "409-page", "403-page-after", "409-page-after")
LOGS = ("log-no-date", "log-redacted", "log-national", "log-no-numbers", "log-local-time", "log-two-pages")


def run(folder: Path, url: str, dialect: str, people: list[str] = PEOPLE, **options: Any) -> sender.RunResult:
    """One call of `send` for a rehearsal with the sandbox at `url`, whose log lags by up to 0.3 s."""
    plan = sender.build_plan(
        sender.load_campaign(
            recipients=pl.DataFrame({"phone": people}),
            provider=dialect,
            from_="+12025550147",
            message="Hello",
            rate="none",
            name="odd",
            **{key: options.pop(key) for key in ("concurrency", "transport") if key in options},
        )
    )
    environment = {"SENDER_SANDBOX_URL": url, "SENDER_SANDBOX_SETTLE_S": "0.3"}
    return sender.send(plan, state_dir=folder / "state", rehearse=True, env=environment, **options)


def accepted(url: str) -> Counter[str]:
    return Counter(local_http.get(f"{url}/sandbox/counts").json()["recipients"])


# -- what the sandbox says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_comes_twice(dialect: str) -> None:
    with embedded(Options(faults=Faults(recipients={TO: ("answer-twice",)}))) as url:
        bytes_received = raw_once(url, dialect)
        assert bytes_received.count(b"HTTP/1.1 20") == 2
        assert bytes_received.count(b'"+12025550123"') >= 2


def raw_once(url: str, dialect: str) -> bytes:
    import socket

    received = bytearray()
    original = socket.create_connection

    def short(*args: Any, **options: Any) -> socket.socket:
        wire = original(*args, **options)
        wire.settimeout(0.5)
        return wire

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "create_connection", short)
        recv = socket.socket.recv

        def kept(self: socket.socket, size: int) -> bytes:
            try:
                chunk = recv(self, size)
            except TimeoutError:
                return b""
            received.extend(chunk)
            return chunk

        patch.setattr(socket.socket, "recv", kept)
        raw(url, dialect)
    return bytes(received)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", ["other-answer", "other-id", "wrong-to", "wrong-from"])
def test_an_answer_is_another_messages(kind: str, dialect: str) -> None:
    with embedded(Options(faults=Faults(recipients={TO: (kind,)}))) as url:
        before, answer = post(url, dialect, "+12025550122").json(), post(url, dialect).json()
    before, answer = before.get("data", before), answer.get("data", answer)
    names = {"id", "sid"} & answer.keys()
    same_id = all(before[name] == answer[name] for name in names)
    assert same_id is (kind in ("other-answer", "other-id"))
    to = answer["to"][0]["phone_number"] if dialect == "telnyx" else answer["to"]
    assert to == {"other-answer": "+12025550122", "wrong-to": "+12125550143"}.get(kind, TO)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", LOGS)
def test_a_log_cannot_be_compared(kind: str, dialect: str) -> None:
    with embedded(Options(faults=Faults({kind: 1.0}), sent_after_s=0.0, delivered_after_s=0.0)) as url:
        post(url, dialect)
        adapter = providers.adapter(dialect, environment(url))
        now = datetime.now(UTC)
        request = adapter.log_request(LogQuery(now - timedelta(hours=1), now + timedelta(hours=1), to=TO))
        pages = []
        while request is not None:
            answer = local_http.get(request.url, headers=dict(request.headers))
            response = Response(answer.status_code, dict(answer.headers), answer.content)
            pages.append((answer.headers.get("date"), adapter.log_page(response, request)))
            request = pages[-1][1].next
        (date, page), *more = pages
        (entry,) = page.entries
        assert (date is None) is (kind == "log-no-date")
        numbers = {"log-redacted": "+1202XXXXXXX", "log-national": "(202) 555-0123", "log-no-numbers": ""}
        assert entry.to == numbers.get(kind, TO)
        assert (entry.created_at is None) is (kind == "log-local-time")
        assert [{again.message_id for again in page.entries} for _, page in more] == (
            [{entry.message_id}] if kind == "log-two-pages" else []
        )


# -- what a run makes of it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "dialect"),
    pairs(
        [*((kind, "fast") for kind in (*FOREIGN, *PAGES)), ("answer-twice", "httpx"), ("other-answer", "httpx")],
        DIALECTS,
    ),
)
def test_every_message_is_accounted_for_and_none_is_sent_twice(
    tmp_path: Path, fault: tuple[str, str], dialect: str
) -> None:
    """What an odd answer leaves in doubt, the log settles: it is there, or it is sent once more."""
    kind, transport = fault
    faults = Faults(recipients={ODD: (kind, "drip")})
    with embedded(Options(faults=faults, hang_s=0.2, sent_after_s=0.0, delivered_after_s=0.0)) as url:
        result = run(tmp_path, url, dialect, concurrency=1, transport=transport)
        assert accepted(url) == Counter(PEOPLE), "each once"
    assert (result.summary.accepted, result.summary.unknown, result.stopped) == (6, 0, None)
    ids = result.results()["message_id"]
    assert ids.n_unique() == 6


@pytest.mark.parametrize(("kind", "dialect"), pairs(PAGES, DIALECTS))
def test_a_page_as_the_first_answer_is_a_wrong_address(tmp_path: Path, kind: str, dialect: str) -> None:
    with embedded(Options(faults=Faults({kind: 1.0}))) as url:
        result = run(tmp_path, url, dialect)
        assert sum(accepted(url).values()) == ("after" in kind)
    assert (result.exit_code, result.summary.unknown, result.summary.pending) == (3, 1, 5)
    assert url in str(result.stopped)
    assert f"HTTP {kind[:3]}" in str(result.stopped)


@pytest.mark.parametrize(("kind", "dialect"), pairs(LOGS, DIALECTS))
def test_a_log_that_cannot_be_compared_makes_nobody_get_it_twice(tmp_path: Path, kind: str, dialect: str) -> None:
    faults = Faults({kind: 1.0}, {ODD: ("500-after",)})
    with embedded(Options(faults=faults, sent_after_s=0.0, delivered_after_s=0.0, keys=False)) as url:
        for _ in range(3):  # each start looks again
            result = run(tmp_path, url, dialect)
        assert accepted(url) == Counter(PEOPLE), "each once"
    assert (result.summary.accepted, result.summary.unknown) == (5, 1)
    assert result.exit_code == 4
