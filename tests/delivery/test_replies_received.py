"""Replies over real HTTP: what was answered with a success is stored once, whatever is killed, doubled or full."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import apsw
import psycopg
import pytest

import sender
from sender import sandbox
from sender.core.standard_webhooks import Target, sign
from sender.delivery import webhooks
from sender.delivery.webhooks.server import Listener
from sender.sandbox.webhooks import SimulatedReply, WebhookSender
from sender.state.new_state import init_state
from sender.state.state import State
from sender.suppression.reviews import ReviewPolicy
from sender.suppression.suppression_list import SuppressionList
from tests import warm
from tests.small_disk import fill, small_disk
from tests.state.conftest import SOME_DATABASES, give_back, lent, new_database, servers, state_pools
from tests.state.postgres_server import TABLES

__all__ = ["give_back", "lent", "new_database", "servers", "small_disk", "state_pools"]  # fixtures

KEYS = webhooks.Keys.of(sandbox.environment(""))
KEY = bytes(range(24))
DIALECTS = ["signalwire", "signalwire-compat", "telnyx", "twilio"]
ADA, OURS = "+12025550147", "+12025550100"


@pytest.fixture(params=["folder", *SOME_DATABASES])
def state(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    where: str | Path = tmp_path / "state"
    if request.param == "folder":
        init_state(where)
    else:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
        where = request.getfixturevalue("new_database")(request.param)
    with sender.open_state(where) as opened:
        yield opened


@contextmanager
def listening(state: State, **handling: Any) -> Iterator[Listener]:
    with webhooks.listen(state, public_url=None, keys=KEYS, replies=webhooks.ReplyHandling(**handling)) as listener:
        yield listener


class Hook:
    """A receiver of forwarded replies; it answers with `status`."""

    def __init__(self) -> None:
        self.status = 204
        self.slow_s = 0.0
        self.events: list[tuple[str, dict[str, Any]]] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                name, stamp = self.headers["webhook-id"], int(self.headers["webhook-timestamp"])
                assert self.headers["webhook-signature"] == sign(KEY, name, stamp, body)
                time.sleep(hook.slow_s)
                hook.events.append((name, json.loads(body)["data"]))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.target = Target(f"http://127.0.0.1:{self._server.server_port}/", KEY)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def wait_for(self, n: int) -> None:
        until = time.monotonic() + 20
        while len(self.events) < n:
            assert time.monotonic() < until, self.events
            time.sleep(0.02)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with closing(Hook()) as made:
        yield made


def deliver(url: str, text: str, *, dialect: str = "twilio", message_id: str = "", number: str = ADA, media: Sequence[str] = ()) -> int | None:  # fmt: skip
    """What the provider's webhook about a reply is answered with."""

    async def post() -> int | None:
        async with WebhookSender() as provider:
            return await provider.deliver_reply(
                SimulatedReply(dialect, f"{url}/inbound/{dialect}", number, OURS, text, message_id, media)
            )

    return asyncio.run(post())


def stored(state: State) -> list[bytes]:
    """All that the state has, as bytes."""
    if not state.where.startswith("postgresql:"):
        return [file.read_bytes() for file in Path(state.where).iterdir() if file.is_file()]
    with psycopg.connect(state.where, autocommit=True) as database:
        return [
            str(row[0]).encode()
            for table in TABLES
            for row in database.execute(f"SELECT {table}::text FROM {table}".encode()).fetchall()
        ]


def texts(state: State) -> list[str | None]:
    return sender.replies(state)["text"].to_list()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_replies_of_every_provider_are_kept_once(state: State, dialect: str) -> None:
    message_id = "SM" + "a" * 32 if dialect == "twilio" else "5f0f0ad1-6b0c-4bd5-9c2c-0d1f0a9b7d11"
    with listening(state, keep=True) as listener:
        for text in ("Yes 🎉\nsee you", "Yes 🎉\nsee you"):
            assert deliver(listener.url, text, dialect=dialect, message_id=message_id) == 200
        assert deliver(listener.url, "STOP", dialect=dialect) == 200
        assert deliver(listener.url, "leave me alone", dialect=dialect, number="+12025550148") == 200
    table = sender.replies(state)
    assert table["text"].to_list() == ["Yes 🎉\nsee you", "STOP", "leave me alone"]
    assert table["meaning"].to_list() == [None, "stop", "review"]
    assert table["number"].to_list() == [ADA, ADA, "+12025550148"]
    assert set(table["provider"]) == {dialect}
    assert set(table["our_number"]) == {OURS}
    assert table["simulated"].all()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pictures_are_kept_by_their_addresses(state: State, dialect: str) -> None:
    urls = ["https://example.com/a.jpg", "https://example.com/b.jpg"]
    with listening(state, keep=True) as listener:
        assert deliver(listener.url, "", dialect=dialect, media=urls) == 200
        assert (
            deliver(listener.url, "look", dialect=dialect, media=["javascript:alert(1)", "file:///etc/passwd"]) == 200
        )
    assert sender.replies(state).select("text", "media").rows() == [("", " ".join(urls)), ("look", None)]


def test_without_being_told_nothing_is_kept_but_what_review_needs(state: State) -> None:
    with listening(state) as listener:
        assert deliver(listener.url, "my secret plans") == 200
        assert deliver(listener.url, "leave me alone, said Ada") == 200
    assert sender.replies(state).is_empty()
    assert [review.text for review in sender.open_reviews(state)] == ["leave me alone, said Ada"]
    files = stored(state)
    assert not any(b"secret plans" in content for content in files)


def test_review_can_be_off(state: State) -> None:
    with listening(state, review=ReviewPolicy.IGNORE) as listener:
        assert deliver(listener.url, "leave me alone") == 200
        assert deliver(listener.url, "STOP", number="+12025550148") == 200
    assert sender.open_reviews(state) == []
    with SuppressionList.open(state.where) as suppressions:
        assert [entry.number for entry in suppressions.entries()] == ["+12025550148"]


# -- forwarding --------------------------------------------------------------------------------------------------------


def test_a_reply_is_forwarded_once_and_not_kept(state: State, hook: Hook) -> None:
    with listening(state, forward_to=hook.target) as listener:
        for _ in range(2):
            assert deliver(listener.url, "Sure", message_id="SM" + "b" * 32) == 200
        assert deliver(listener.url, "STOP") == 200
        hook.wait_for(2)
        time.sleep(0.7)
    assert [(data["text"], data["meaning"]) for _, data in hook.events] == [("Sure", None), ("STOP", "stop")]
    assert sender.replies(state).is_empty()


def test_a_receiver_that_is_down_or_slow_delays_no_answer_and_no_stop(state: State, hook: Hook) -> None:
    hook.status, hook.slow_s = 500, 3.0
    with listening(state, keep=True, forward_to=hook.target) as listener:
        begun = time.monotonic()
        for n in range(5):
            assert deliver(listener.url, f"reply {n}") == 200
        assert deliver(listener.url, "STOP") == 200
        assert time.monotonic() - begun < 3.0
        with SuppressionList.open(state.where) as suppressions:
            assert [entry.number for entry in suppressions.entries()] == [ADA]
    assert set(sender.replies(state)["forwarded"]) == {"waiting"}


def test_what_waits_is_forwarded_after_a_restart(state: State, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    from sender.delivery.webhooks import forwarding

    monkeypatch.setattr(forwarding, "RETRY_DELAYS_S", (0.5,))
    hook.status = 503
    with listening(state, keep=True, forward_to=hook.target) as listener:
        assert deliver(listener.url, "Yes") == 200
        hook.wait_for(1)
    hook.status = 200
    with listening(state, keep=True, forward_to=hook.target):
        hook.wait_for(2)
        time.sleep(0.5)
    assert len({name for name, _ in hook.events}) == 1
    assert sender.replies(state)["forwarded"].to_list() == ["done"]


# -- two of them, kills, full disks ------------------------------------------------------------------------------------


def test_two_listeners_on_one_state(state: State, hook: Hook) -> None:
    """Behind a balancer, say: a webhook that is delivered again may reach the other one."""
    handling = {"keep": True, "forward_to": hook.target}
    with listening(state, **handling) as first, sender.open_state(state.where) as again, listening(again, **handling) as second:  # fmt: skip
        answers: list[int | None] = []

        def some(urls: list[str]) -> None:
            answers.extend(deliver(url, f"reply {n}", message_id=f"SM{n:032}") for n in range(8) for url in urls)

        threads = [threading.Thread(target=some, args=(urls,)) for urls in ([first.url, second.url], [second.url, first.url])]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 32
        hook.wait_for(8)
        time.sleep(0.7)
    assert sorted(texts(state), key=str) == [f"reply {n}" for n in range(8)]
    assert len(hook.events) == 8


def rename_table(state: State, old: str, new: str) -> None:
    statement = f"ALTER TABLE {old} RENAME TO {new}"
    if state.where.startswith("postgresql:"):
        with psycopg.connect(state.where, autocommit=True) as database:
            database.execute(statement.encode())
        return
    file = apsw.Connection(str(Path(state.where) / "replies.sqlite3"))
    file.set_busy_timeout(10_000)
    file.execute(statement)
    file.close()


@pytest.mark.parametrize("text", ["STOP", "leave me alone", "Yes"])
def test_what_cannot_be_stored_is_503_and_comes_again(state: State, hook: Hook, text: str) -> None:
    """The suppression list knows a STOP all the same."""
    with listening(state, keep=True, forward_to=hook.target) as listener:
        rename_table(state, "reply", "hidden")  # a stand-in for whatever makes a write fail
        assert deliver(listener.url, text, message_id="SM" + "c" * 32) == 503
        with SuppressionList.open(state.where) as suppressions:
            assert len(list(suppressions.entries())) == (text != "Yes")
        rename_table(state, "hidden", "reply")
        assert deliver(listener.url, text, message_id="SM" + "c" * 32) == 200
        hook.wait_for(1)
    assert texts(state) == [text]


@pytest.fixture
def command(state: State, tmp_path: Path) -> Iterator[Callable[..., tuple[warm.Process, str]]]:
    """Starts `sender listen` in a process of its own; returns it with its URL."""
    started: list[warm.Process] = []
    clean = {name: text for name, text in os.environ.items() if not re.match(r"SIGNALWIRE|TELNYX|TWILIO|SENDER", name)}
    env = clean | {"PYTHONPATH": str(warm.ROOT)} | dict(sandbox.environment(""))

    def start(*args: str, where: str | None = None) -> tuple[warm.Process, str]:
        arguments = ["listen", "--port", "0", "--state-dir", where or state.where, *args]
        process = warm.start("sender", arguments, cwd=tmp_path, env=env)
        started.append(process)
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        return process, found[0]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@pytest.mark.process
def test_a_listener_that_is_killed_loses_no_reply_that_it_has_answered(
    state: State, command: Callable[..., tuple[warm.Process, str]]
) -> None:
    """Killed at any moment, also between the store and the answer; what was not answered is delivered again."""
    rng = Random(5)
    unanswered = {f"SM{n:032}": "leave me alone" if n % 3 else "STOP" for n in range(24)}
    numbers = {name: f"+120255501{n:02}" for n, name in enumerate(unanswered)}
    answered: set[str] = set()
    for _ in range(20):
        process, url = command("--keep-replies")
        killer = threading.Timer(rng.uniform(0.05, 0.5), process.kill)
        killer.start()
        for name in [name for name in unanswered if name not in answered]:
            if process.poll() is not None:
                break
            with suppress(OSError):
                if deliver(url, unanswered[name], message_id=name, number=numbers[name]) == 200:
                    answered.add(name)
        killer.join()
        process.wait(timeout=20)
        if len(answered) == len(unanswered):
            break
    else:
        process, url = command("--keep-replies")
        for name in [name for name in unanswered if name not in answered]:
            assert deliver(url, unanswered[name], message_id=name, number=numbers[name]) == 200
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    table = sender.replies(state)
    assert sorted(table["message_id"]) == sorted(unanswered)
    with SuppressionList.open(state.where) as suppressions:
        held = {entry.number: entry.reason.value for entry in suppressions.entries()}
    assert held == {
        numbers[name]: "opted_out" if text == "STOP" else "under_review" for name, text in unanswered.items()
    }


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
def test_on_a_full_disk_no_reply_is_answered_as_if_it_were_kept(
    small_disk: Path, command: Callable[..., tuple[warm.Process, str]]
) -> None:
    """The provider is answered 503 and delivers again; when there is room, every reply is there, and once."""
    init_state(small_disk / "state")
    process, url = command("--keep-replies", where=str(small_disk / "state"))
    sent = {f"SM{n:032}": f"reply {n} " + "x" * 1500 for n in range(40)}

    def answer_to(name: str) -> int | None:
        return deliver(url, sent[name], message_id=name)

    first, *others = sent
    assert answer_to(first) == 200
    ballast = fill(small_disk, leave_kib=0)
    answers = {name: answer_to(name) for name in others}
    assert set(answers.values()) <= {200, 503}
    assert list(answers.values())[-1] == 503, "the disk is full by then"
    assert process.poll() is None
    ballast.unlink()
    for name, answer in answers.items():
        if answer == 503:
            assert answer_to(name) == 200
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    with sender.open_state(small_disk / "state") as state:
        assert dict(sender.replies(state).select("message_id", "text").iter_rows()) == sent
        assert sender.replies(state).height == len(sent)


def test_a_start_after_a_decision_and_after_a_hold(state: State) -> None:
    """Over HTTP, with the webhooks of the first reply coming again in between."""
    held = "SM" + "d" * 32
    with listening(state, keep=True) as listener:
        assert deliver(listener.url, "leave me alone", message_id=held) == 200
        [review] = sender.open_reviews(state)
        sender.decide_review(state, review, opt_out=True)
        assert deliver(listener.url, "leave me alone", message_id=held) == 200
        assert sender.open_reviews(state) == []
        time.sleep(1.1)  # Twilio's webhooks have no time, and ours are compared by the millisecond
        assert deliver(listener.url, "START") == 200
        assert deliver(listener.url, "leave me alone", message_id=held) == 200
        with SuppressionList.open(state.where) as suppressions:
            assert list(suppressions.entries()) == []
        assert deliver(listener.url, "wrong number") == 200
        assert len(sender.open_reviews(state)) == 1
        time.sleep(0.01)
        assert deliver(listener.url, "START") == 200
        assert sender.open_reviews(state) == []
    assert len(sender.replies(state)) == 4
