"""What answers and logs do to a command: guards, wrong addresses, and waiting until the log can decide."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from sender.sandbox.fault_plan import Faults
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from tests.cli.conftest import Shell

PEOPLE = [f"+1{area}55501{n:02}" for area in (202, 212) for n in range(30)]
ODD = PEOPLE[3]


def write_list(sender: Shell, people: list[str] = PEOPLE) -> None:
    sender.write("people.csv", "phone\n" + "".join(f"{number}\n" for number in people))


class Refusing(BaseHTTPRequestHandler):
    """A provider that refuses every message in the same way."""

    protocol_version = "HTTP/1.1"
    status = 400
    content = json.dumps({"code": 21617, "message": "Too long", "more_info": "x", "status": 400}).encode()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(self.status, self.content)

    def do_GET(self) -> None:
        self._answer(404, b"")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def twilio(url: str) -> dict[str, str]:
    return {"TWILIO_API_BASE": url, "TWILIO_ACCOUNT_SID": "AC" + "5a" * 16, "TWILIO_AUTH_TOKEN": "5a" * 16}


SEND = ("send", "people.csv", "--body", "Hi", "--from", "+12025550147", "--yes", "--wait", "0")


@pytest.mark.parametrize(
    ("status", "code", "words", "fix"),
    [
        pytest.param(429, 63038, "exceeded the daily messages limit", "wait for the provider's next day", id="day"),
        pytest.param(400, 35125, "Maximum limit reached", "has sent some of its scheduled messages", id="scheduled"),
        pytest.param(400, 21609, "Invalid 'StatusCallback'", "a callback URL", id="callback"),
        pytest.param(400, 21701, "The Messaging Service does not exist", "the messaging service", id="no service"),
        pytest.param(400, 21704, "contains no phone numbers", "the messaging service", id="empty service"),
        pytest.param(400, 21655, "The ContentSid is Invalid", "`content_sid`", id="content template"),
        pytest.param(404, 20404, "was not found", "the setting that it names", id="no account"),
        pytest.param(403, 90010, "Account is not active", "check the credentials", id="account"),
    ],
)
def test_what_every_message_would_hear_again_costs_one_request(
    sender: Shell, status: int, code: int, words: str, fix: str
) -> None:
    """Not one row after another, and no lower rate that would not help: the run stops, and the rest is pending."""
    asked: list[int] = []

    class Halting(Refusing):
        content = json.dumps({"code": code, "message": words, "more_info": "x", "status": status}).encode()

        def do_POST(self) -> None:
            asked.append(code)
            super().do_POST()

    Halting.status = status
    write_list(sender)
    with serving(Halting) as url:
        done = sender(*SEND, "--provider", "twilio", "--rate", "100/s", **twilio(url))
    assert done.code == 3, done
    assert f"Twilio refuses: {words} ({code})" in done.err
    assert fix in " ".join(done.err.split())
    assert len(asked) == 1


def test_what_is_refused_for_the_hour_is_sent_once_the_hour_is_over(sender: Shell) -> None:
    """At night the run stops with the rest pending; in the morning it goes on, and `retry` takes what was refused."""
    night = [True]
    accepted: list[str] = []

    class Twilio(Refusing):
        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
            if night[0]:
                refusal = {"code": 30610, "message": "Message couldn't be delivered", "more_info": "x", "status": 400}
                return self._answer(400, json.dumps(refusal).encode())
            accepted.append(form["To"])
            made = {"sid": f"SM{len(accepted):032x}", "status": "queued", "to": form["To"], "from": form["From"]}
            return self._answer(201, json.dumps(made).encode())

    write_list(sender)
    with serving(Twilio) as url:
        options = ("--provider", "twilio", "--rate", "100/s", "--concurrency", "1")
        done = sender(*SEND, *options, **twilio(url))
        assert done.code == 3, done
        assert "20 messages in a row were refused as quiet_hours (30610)" in done.err
        assert "until the recipients' quiet hours are over; `sender retry` sends those refused so far" in done.err
        night[0] = False
        done = sender(*SEND, *options, **twilio(url))
        assert done.code == 1, done
        assert len(accepted) == len(PEOPLE) - 20
        done = sender("retry", "people", "--yes", "--wait", "0", **twilio(url))
        assert done.code == 0, done
    assert sorted(accepted) == sorted(PEOPLE), "everybody, once"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_of_equal_rejections_stops_with_the_rest_pending(sender: Shell, workers: str) -> None:
    write_list(sender)
    with serving(Refusing) as url:
        options = ("--provider", "twilio", "--rate", "100/s", "--concurrency", "2", "--workers", workers)
        done = sender(*SEND, *options, **twilio(url))
        assert done.code == 3, done
        sentences = ["messages in a row were refused as content (21617)", "were refused or did not arrive: 2"]
        assert any(sentence in done.err for sentence in sentences), done.err  # two workers: whichever comes first
        statuses = sender.results()["status"].to_list()
        assert 20 <= statuses.count("rejected") <= 20 * int(workers) + 4
        assert statuses.count("pending") == len(PEOPLE) - statuses.count("rejected")
        off = ("--set", "limits.max_rejected_in_a_row=none", "--set", "limits.max_failed=none")
        done = sender(*SEND, *options, *off, **twilio(url))
        assert done.code == 1, done
        assert set(sender.results()["status"]) == {"rejected"}


def test_wrong_numbers_stop_nothing(sender: Shell) -> None:
    write_list(sender, [f"+1{area}5550190" for area in range(201, 301) if area != 211])
    done = sender(*SEND, "--provider", "sandbox", "--rate", "none")
    assert done.code == 1, done
    statuses = sender.results()["status"].to_list()
    assert statuses.count("rejected") > 50
    assert set(statuses) == {"rejected", "skipped"}, "some of these area codes do not exist"


def test_a_wrong_address_costs_one_message_in_doubt(sender: Shell) -> None:
    class Page(Refusing):
        status, content = 403, b"<html>Blocked by your organisation</html>"

    write_list(sender)
    with serving(Page) as url:
        done = sender(*SEND, "--provider", "twilio", "--rate", "none", **twilio(url))
    assert done.code == 3, done
    assert f"{url}/2010-04-01/Accounts/" in done.err
    assert "does not answer as Twilio does: HTTP 403: <html>Blocked by your organisation</html>" in done.err
    assert "TWILIO_API_BASE" in done.err
    statuses = sender.results()["status"].to_list()
    assert (statuses.count("unknown"), statuses.count("pending")) == (1, len(PEOPLE) - 1)


def rehearsing(url: str, settle_s: float) -> dict[str, str]:
    return {"SENDER_SANDBOX_URL": url, "SENDER_SANDBOX_SETTLE_S": str(settle_s)}


REHEARSE = (*SEND, "--provider", "twilio", "--rate", "none", "--rehearse")


@pytest.mark.parametrize("kind", ["500-after", "reset-before"])
def test_a_job_that_settles_ends_with_0(sender: Shell, kind: str) -> None:
    write_list(sender, PEOPLE[:6])
    faults = Faults(recipients={ODD: (kind, "drip")})
    with embedded(Options(faults=faults, hang_s=0.1, log_lag_s=1.0)) as url:
        done = sender(*REHEARSE, "--settle", **rehearsing(url, 7))
    assert done.code == 0, done
    assert "6 accepted" in done.out


def test_without_it_the_job_ends_with_4_and_reconcile_can_wait(sender: Shell) -> None:
    write_list(sender, PEOPLE[:6])
    with embedded(Options(faults=Faults(recipients={ODD: ("reset-before", "drip")}), hang_s=0.1)) as url:
        done = sender(*REHEARSE, **rehearsing(url, 8))
        assert done.code == 4, done
        settled = sender("reconcile", "people", "--settle", **rehearsing(url, 8))
        assert "1 proved absent (pending again), 0 still unknown" in settled.out, settled
        assert sender(*REHEARSE, **rehearsing(url, 8)).code == 0


@pytest.mark.parametrize("command", ["send", "reconcile"])
def test_ctrl_c_leaves_the_wait_and_says_what_remains(sender: Shell, command: str) -> None:
    write_list(sender, PEOPLE[:6])
    with embedded(Options(faults=Faults(recipients={ODD: ("reset-before", "drip")}), hang_s=0.1)) as url:
        arguments: tuple[str, ...] = (*REHEARSE, "--settle", "--log-format", "json")
        if command == "reconcile":
            assert sender(*REHEARSE, **rehearsing(url, 300)).code == 4
            arguments = ("reconcile", "people", "--settle")
        out, err, code = interrupted(sender.folder, arguments, {**sender.env, **rehearsing(url, 300)})
    assert code == 4, (out, err)
    assert "1 still unknown" in out if command == "reconcile" else "1 message unknown" in out
    assert "Traceback" not in err


def interrupted(folder: Path, arguments: tuple[str, ...], env: dict[str, str]) -> tuple[str, str, int]:
    """Output, errors and exit code of a command that gets Ctrl-C while it waits."""
    with subprocess.Popen(
        [sys.executable, "-m", "sender", *arguments],
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
        reader.start()
        until = time.monotonic() + 60
        while not any("waiting until" in line for line in lines):
            assert time.monotonic() < until, lines
            assert process.poll() is None, lines
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read() if process.stdout else ""
        code = process.wait(30)
        reader.join()
    return out, "".join(lines), code
