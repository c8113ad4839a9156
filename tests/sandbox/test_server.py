"""The sandbox as a server: options, the state file across a kill, starting, stopping, and keeping quiet."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import httpx
import pytest

from sender.core.errors import InputError, StateError
from sender.sandbox.app import app
from sender.sandbox.credentials import environment
from sender.sandbox.dialect import Draft
from sender.sandbox.magic_numbers import BehaviorPicker
from sender.sandbox.server import embedded, serve
from sender.sandbox.simulator import Options
from sender.sandbox.store import counts
from tests import local_http

ENV = environment("")
AUTH = (ENV["SIGNALWIRE_PROJECT_ID"], ENV["SIGNALWIRE_API_TOKEN"])
POSIX = os.name == "posix"

SERVE = """
import sys
from pathlib import Path
from sender.sandbox import Options, serve
serve(Options(state_file=Path(sys.argv[1])), on_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


def send(url: str, to: str = "+12025550123", **options: object) -> httpx.Response:
    body = {"to": to, "from": "+12025550100", "body": "Hello"}
    return local_http.post(f"{url}/api/messaging/messages", json=body, auth=AUTH, **options)  # type: ignore[arg-type]


@contextmanager
def process(state_file: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A sandbox in a process of its own, and its URL."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(state_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as server:
        try:
            assert server.stdout
            yield server, server.stdout.readline().strip()
        finally:
            server.kill()


# ── Options ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_latency_comes_after_the_message_is_stored() -> None:
    with embedded(Options(latency_ms=300)) as url:
        with pytest.raises(httpx.ReadTimeout):
            send(url, timeout=0.1)
        assert local_http.get(f"{url}/sandbox/counts").json()["total"] == 1
        started = time.monotonic()
        assert send(url).status_code == 201
        assert time.monotonic() - started >= 0.3


def test_above_the_rate_limit_it_answers_429() -> None:
    with embedded(Options(rate_per_s=3)) as url, local_http.Client() as client:
        body = {"to": "+12025550123", "from": "+12025550100", "body": "Hello"}
        answers = [client.post(f"{url}/api/messaging/messages", json=body, auth=AUTH) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [201, 201, 201, 429, 429]
        assert answers[4].headers["retry-after"] == "1"
        assert answers[4].json()["errors"][0]["code"] == "rate_limit_exceeded"
        assert client.get(f"{url}/sandbox/counts").json()["total"] == 3


@pytest.mark.parametrize(
    ("rate_per_s", "times_s", "passed"),
    [
        (2, [0, 0.1, 0.2, 0.99], [True, True, False, False]),
        (2, [0, 0.5, 1.0, 1.5, 2.0], [True] * 5),
        (2, [0, 0.9, 1.0, 1.1, 1.9], [True, True, True, False, True]),
        (0.5, [0, 1, 1.9, 2], [True, False, False, True]),
        (2.5, [0, 0.1, 0.7, 0.8], [True, True, False, True]),
        (None, [0, 0, 0], [True] * 3),
    ],
    ids=["burst", "even", "sliding", "below one a second", "fraction", "no limit"],
)
def test_the_limit_holds_in_every_sliding_window(
    rate_per_s: float | None, times_s: list[float], passed: list[bool]
) -> None:
    picker = BehaviorPicker(rate_per_s)
    draft = Draft(message_id="m", dialect="d", account="a", to="+12025550123", from_number=None, body="x")
    assert [picker.pick(draft, now_s).trouble is None for now_s in times_s] == passed


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency_ms": -1},
        {"rate_per_s": 0},
        {"rate_per_s": -1},
        {"sent_after_s": 3, "delivered_after_s": 2},
        {"hang_s": -1},
    ],
    ids=str,
)
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"rate_per_s|times"):
        Options(**wrong)  # type: ignore[arg-type]


def test_reset_forgets_messages_and_who_was_turned_away() -> None:
    with embedded() as url:
        assert send(url, "+12025550195").status_code == 429
        send(url)
        assert local_http.delete(f"{url}/sandbox/messages").json() == {"total": 0}
        assert local_http.get(f"{url}/sandbox/messages").json() == {"total": 0, "messages": []}
        assert local_http.get(f"{url}/sandbox/health").json()["accepted"] == 0
        assert send(url, "+12025550195").status_code == 429


def test_the_same_recipient_twice_is_counted_twice() -> None:
    with embedded() as url:
        for to in ("+12025550123", "+12025550101", "+12025550123"):
            send(url, to)
        expected = {"total": 3, "recipients": {"+12025550101": 1, "+12025550123": 2}}
        assert local_http.get(f"{url}/sandbox/counts").json() == expected
        assert local_http.get(f"{url}/sandbox/health").json()["accepted"] == 3


# ── The state file ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not POSIX, reason="SIGKILL is POSIX")
def test_accepted_messages_survive_kill_9(tmp_path: Path) -> None:
    state_file = tmp_path / "sandbox.sqlite3"
    accepted = unanswered = 0
    for _ in range(3):
        with process(state_file) as (server, url):
            stop, begun = threading.Timer(0.1, server.send_signal, [signal.SIGKILL]), accepted
            body = {"to": "+12025550123", "from": "+12025550100", "body": "Hello"}
            with local_http.Client(base_url=url, auth=AUTH, timeout=60) as client:
                while server.poll() is None:
                    try:
                        assert client.post("/api/messaging/messages", json=body).status_code == 201
                    except httpx.ConnectError:
                        continue  # nothing was sent
                    except httpx.TransportError:  # killed, or idle for too long on a busy machine
                        unanswered += 1
                        continue
                    accepted += 1
                    if accepted == begun + 11:  # however slow the machine is
                        stop.start()
            stop.join()
            assert server.wait(10) == -signal.SIGKILL
        # At most those in flight were stored without their answer having come.
        assert accepted <= counts(state_file)["total"] <= accepted + unanswered
    assert accepted > 30
    with embedded(Options(state_file=state_file)) as url:
        assert local_http.get(f"{url}/sandbox/counts").json() == counts_later(url)


def counts_later(url: str) -> object:
    """The counts as the log of messages tells them."""
    messages = local_http.get(f"{url}/sandbox/messages").json()["messages"]
    return {"total": len(messages), "recipients": {"+12025550123": len(messages)}}


def test_a_closed_file_tells_its_counts_and_is_continued(tmp_path: Path) -> None:
    state_file = tmp_path / "sandbox.sqlite3"
    with embedded(Options(state_file=state_file)) as url:
        first = send(url).json()["id"]
    assert counts(state_file) == {"total": 1, "recipients": {"+12025550123": 1}}
    with embedded(Options(state_file=state_file)) as url:
        assert local_http.get(f"{url}/api/messaging/logs/{first}", auth=AUTH).status_code == 200
        send(url, "+12025550124")
    assert counts(state_file) == {"total": 2, "recipients": {"+12025550123": 1, "+12025550124": 1}}


@pytest.mark.skipif(not POSIX, reason="file modes are POSIX")
def test_the_state_file_is_its_owners_alone(tmp_path: Path) -> None:
    state_file = tmp_path / "sandbox.sqlite3"
    with embedded(Options(state_file=state_file)) as url:
        send(url)
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_the_state_file_holds_no_credentials(tmp_path: Path) -> None:
    state_file = tmp_path / "sandbox.sqlite3"
    with embedded(Options(state_file=state_file)) as url:
        send(url)
        body = {"to": "+12025550123", "from": "+12025550100", "text": "Hello"}
        local_http.post(f"{url}/v2/messages", json=body, headers={"Authorization": f"Bearer {ENV['TELNYX_API_KEY']}"})
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Hello" in content
    assert ENV["TELNYX_API_KEY"].encode() not in content
    assert ENV["SIGNALWIRE_API_TOKEN"].encode() not in content


def test_a_state_file_belongs_to_one_process(tmp_path: Path) -> None:
    state_file = tmp_path / "sandbox.sqlite3"
    with process(state_file) as (_, url):
        send(url)
        with pytest.raises(StateError, match="a running sandbox holds"):
            app(Options(state_file=state_file))
        with pytest.raises(StateError, match="a running sandbox holds"):
            counts(state_file)
        assert send(url).status_code == 201


def test_and_to_one_sandbox_in_a_process(tmp_path: Path) -> None:
    state_file = tmp_path / "sandbox.sqlite3"
    with (
        embedded(Options(state_file=state_file)),
        pytest.raises(StateError, match="a running sandbox holds"),
        embedded(Options(state_file=state_file)),
    ):
        pytest.fail("two sandboxes share a file")


def test_another_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    with apsw.Connection(str(ledger)) as db:
        db.execute("CREATE TABLE message (ref TEXT)")
    db.close()
    before = ledger.read_bytes()
    for use in (lambda: app(Options(state_file=ledger)), lambda: counts(ledger)):
        with pytest.raises(StateError, match="not a sandbox's"):
            use()
    assert ledger.read_bytes() == before


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda path: path.write_text("row,name\n" * 200), "not a sandbox state file"),
        (lambda path: path.mkdir(), "cannot write the state file"),
    ],
    ids=["text", "folder"],
)
def test_what_is_no_database_is_refused(prepare: Callable[[Path], object], sentence: str, tmp_path: Path) -> None:
    state_file = tmp_path / "state"
    prepare(state_file)
    with pytest.raises(StateError, match=sentence) as caught:
        app(Options(state_file=state_file))
    assert caught.value.where == str(state_file)


def test_counts_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no sandbox state file"):
        counts(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


# ── Starting and stopping ───────────────────────────────────────────────────────────────────────────────────────


def test_ten_starts_leave_no_thread_no_socket_and_no_word(capfd: pytest.CaptureFixture[str]) -> None:
    threads = threading.active_count()
    handlers = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    opened = _open_files()
    for _ in range(10):
        with embedded() as url:
            assert send(url).status_code == 201
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
        with pytest.raises(httpx.ConnectError):
            local_http.get(f"{url}/sandbox/health")
    assert threading.active_count() == threads
    assert _open_files() == opened
    assert capfd.readouterr() == ("", "")


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_a_failure_of_the_client_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with embedded() as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as rude:
            rude.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            assert b"400" in rude.recv(1000)
    assert capfd.readouterr() == ("", "")


def test_a_failure_of_its_own_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    broken = app()
    broken.state.sandbox.store.close()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(broken, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/sandbox/counts")

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert answer.headers["x-simulator"] == answer.json()["simulator"]
    assert capfd.readouterr() == ("", "")


def test_it_leaves_logging_as_it_was() -> None:
    before = (logging.root.handlers[:], logging.root.level, logging.getLogger("uvicorn.error").level)
    with embedded():
        pass
    assert (logging.root.handlers, logging.root.level, logging.getLogger("uvicorn.error").level) == before


def test_stopping_does_not_wait_for_silence() -> None:
    failures: list[type[Exception]] = []

    def client(url: str) -> None:
        try:
            send(url, "+12025550198", timeout=30)
        except httpx.TransportError as error:
            failures.append(type(error))

    with embedded(Options(hang_s=60)) as url:
        waiting = threading.Thread(target=client, args=(url,))
        waiting.start()
        while local_http.get(f"{url}/sandbox/counts").json()["total"] == 0:
            time.sleep(0.01)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 2
    waiting.join(5)
    assert failures == [httpx.RemoteProtocolError]


def test_a_client_that_goes_ends_the_silence() -> None:
    with embedded(Options(hang_s=60)) as url:
        with pytest.raises(httpx.ReadTimeout):
            send(url, "+12025550198", timeout=0.1)
        assert send(url).status_code == 201
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 2


def test_an_error_inside_stops_it_too() -> None:
    with pytest.raises(ZeroDivisionError), embedded() as url:
        _ = 1 / 0
    with pytest.raises(httpx.ConnectError):
        local_http.get(f"{url}/sandbox/health")


def test_it_listens_on_loopback_only() -> None:
    with embedded() as url:
        assert url.startswith("http://127.0.0.1:")
        port = int(url.rsplit(":", 1)[1])
        outward = _outward_address()
        if outward is None:
            pytest.skip("this machine has no address but loopback")
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((outward, port), timeout=1).close()


def _outward_address() -> str | None:
    """This machine's own address on a network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation; UDP connect sends nothing
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_serve_stops_on_a_signal(sign: signal.Signals, tmp_path: Path) -> None:
    state_file = tmp_path / "sandbox.sqlite3"
    with process(state_file) as (server, url):
        assert send(url).status_code == 201
        server.send_signal(sign)
        out, err = server.communicate(timeout=10)
        returned = sign == signal.SIGINT
        assert (server.returncode, out.strip(), err) == (0 if returned else -sign, "stopped" if returned else "", "")
    assert counts(state_file)["total"] == 1


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with embedded() as url:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(InputError, match="cannot listen") as caught:
            serve(port=port)
        assert caught.value.where == f"127.0.0.1:{port}"


def test_an_answer_comes_soon_after_the_start() -> None:
    """Imports excepted: they are paid once a process."""
    started = time.monotonic()
    with embedded() as url:
        assert local_http.get(f"{url}/sandbox/health").json()["status"] == "ok"
        assert time.monotonic() - started < 1
