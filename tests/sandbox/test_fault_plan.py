"""Faults on order: what each does to the client, and to the truth."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from sender.core.errors import InputError
from sender.sandbox.credentials import environment
from sender.sandbox.fault_plan import FAULTS, LOG_FAULTS, FaultPicker, Faults
from sender.sandbox.fault_plan import parse as parse_faults
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from tests import local_http

ENV = environment("")
BASIC = httpx.BasicAuth
ACCOUNTS = "Accounts"
# Each dialect's create request: path, body, and how it proves who asks.
DIALECTS = {
    "signalwire": ("/api/messaging/messages", "json", ("to", "from", "body")),
    "signalwire-compat": (
        f"/api/laml/2010-04-01/Accounts/{ENV['SIGNALWIRE_PROJECT_ID']}/Messages",
        "form",
        ("To", "From", "Body"),
    ),
    "telnyx": ("/v2/messages", "json", ("to", "from", "text")),
    "twilio": (f"/2010-04-01/Accounts/{ENV['TWILIO_ACCOUNT_SID']}/Messages.json", "form", ("To", "From", "Body")),
}
TO = "+12025550123"
BEFORE = {"429", "429-date", "429-garbage", "no-funds", "no-region", "outage"} | {
    kind for kind in FAULTS if kind.endswith(("-before", "-page"))
}


def request(dialect: str, to: str = TO) -> httpx.Request:
    path, form, names = DIALECTS[dialect]
    body = dict(zip(names, (to, "+12025550100", "Hello there"), strict=True))
    headers, auth = {}, None
    if dialect == "telnyx":
        headers["authorization"] = f"Bearer {ENV['TELNYX_API_KEY']}"
    elif dialect == "twilio":
        auth = httpx.BasicAuth(ENV["TWILIO_ACCOUNT_SID"], ENV["TWILIO_AUTH_TOKEN"])
    else:
        auth = httpx.BasicAuth(ENV["SIGNALWIRE_PROJECT_ID"], ENV["SIGNALWIRE_API_TOKEN"])
    made = httpx.Request(
        "POST",
        f"http://sandbox{path}",
        headers=headers,
        **({"json": body} if form == "json" else {"data": body}),  # type: ignore[arg-type]
    )
    return next(auth.auth_flow(made)) if auth else made


def send(url: str, dialect: str = "signalwire", to: str = TO, timeout: float = 10.0) -> httpx.Response:
    made = request(dialect, to)
    headers = {name: value for name, value in made.headers.items() if name not in {"host", "content-length"}}
    return local_http.post(url + made.url.path, content=made.content, headers=headers, timeout=timeout)


def raw(url: str, dialect: str = "signalwire") -> tuple[bytes, bool]:
    """What comes down the wire until it ends, and whether it ended with a reset."""
    made = request(dialect)
    host = urlsplit(url)
    head = f"POST {made.url.path} HTTP/1.1\r\nhost: {host.netloc}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in made.headers.items() if name != "host") + "\r\n"
    got = b""
    with socket.create_connection((host.hostname or "", host.port or 0), timeout=10) as wire:
        wire.sendall(head.encode() + made.content)
        try:
            while chunk := wire.recv(65536):
                got += chunk
        except ConnectionResetError:
            return got, True
    return got, False


def accepted(url: str) -> int:
    return int(local_http.get(f"{url}/sandbox/counts").json()["total"])


def only(kind: str, **options: float) -> Options:
    return Options(faults=Faults(recipients={TO: (kind,)}), hang_s=0.2, outage_s=0.3, **options)  # type: ignore[arg-type]


# ── Every kind, in every dialect ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_leaves_the_truth_it_names(kind: str, dialect: str) -> None:
    """`-before` and 429 store nothing; all others store the message, whatever the client hears."""
    with embedded(only(kind)) as url:
        try:
            with local_http.Client(timeout=5) as client:
                made = request(dialect)
                made.url = httpx.URL(url + made.url.path)
                made.headers["host"] = urlsplit(url).netloc
                answer = client.send(made, stream=True)
                try:
                    if kind != "huge":
                        answer.read()
                    heard = answer.status_code
                finally:
                    answer.close()
        except httpx.TransportError:
            heard = 0
        time.sleep(0.4 if kind == "outage" else 0)
        assert accepted(url) == (kind not in BEFORE)
        assert local_http.get(f"{url}/sandbox/faults").json() == {"total": 1, "faults": {kind: 1}}
        assert send(url, dialect, "+12025550124").is_success  # others are not touched
    created = {"telnyx": 200}.get(dialect, 201)
    expected = {
        "truncated-json": created,
        "html": 200,
        "drip": created,
        "huge": created,
        "timeout-after": 0,
        "timeout-before": 0,
        "reset-after": 0,
        "reset-before": 0,
        "half-after": 0,
        "outage": 0,
        "no-funds": {"telnyx": 402, "twilio": 403}.get(dialect, 422),
        "no-region": 422 if dialect.startswith("signalwire") else 400,
    }
    assert heard == expected.get(kind, int(kind[:3]) if kind[:3].isdigit() else created)


# ── What the client sees ────────────────────────────────────────────────────────────────────────────────────────


def test_429_names_its_wait_in_three_ways() -> None:
    faults = Faults(recipients={TO: ("429", "429-date", "429-garbage")})
    with embedded(Options(faults=faults)) as url:
        seconds, date, garbage = (send(url).headers for _ in range(3))
        assert seconds["retry-after"] == "1"
        wait_s = (parsedate_to_datetime(date["retry-after"]) - parsedate_to_datetime(date["date"])).total_seconds()
        assert 0 <= wait_s <= 2
        assert garbage["retry-after"] == "soon"
        assert send(url).status_code == 201  # a list of kinds is used up
        assert accepted(url) == 1


def test_reset_is_a_reset_and_not_the_end() -> None:
    with embedded(only("reset-after")) as url:
        assert raw(url) == (b"", True)


def test_silence_says_nothing_for_its_time() -> None:
    with embedded(only("timeout-after")) as url:
        begun = time.monotonic()
        assert raw(url)[0] == b""
        assert time.monotonic() - begun >= 0.2


def test_half_an_answer_ends_cleanly_in_its_middle() -> None:
    with embedded(only("half-after")) as url:
        got, was_reset = raw(url)
        head, _, body = got.partition(b"\r\n\r\n")
        promised = int(httpx.Headers([line.split(b": ", 1) for line in head.split(b"\r\n")[1:]])["content-length"])
        assert not was_reset
        assert 0 < len(body) < promised


def test_truncated_json_is_a_whole_answer() -> None:
    with embedded(only("truncated-json")) as url:
        answer = send(url)
        assert answer.status_code == 201
        with pytest.raises(json.JSONDecodeError):
            answer.json()


def test_html_with_200_is_no_json() -> None:
    with embedded(only("html")) as url:
        answer = send(url)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_a_slow_drip_keeps_every_read_short_and_the_whole_long() -> None:
    with embedded(Options(faults=Faults(recipients={TO: ("drip",)}), hang_s=30)) as url:
        with httpx.stream("POST", url + DIALECTS["signalwire"][0], **as_kwargs(), timeout=5) as answer:  # type: ignore[arg-type]
            chunks = answer.iter_raw()
            begun = time.monotonic()
            pieces = [next(chunks) for _ in range(3)]
            assert time.monotonic() - begun > 0.05
        assert len(b"".join(pieces)) <= 6
        assert accepted(url) == 1


def as_kwargs() -> dict[str, object]:
    made = request("signalwire")
    return {
        "content": made.content,
        "headers": {name: made.headers[name] for name in ("content-type", "authorization")},
    }


def test_a_huge_answer_is_100_mb() -> None:
    with embedded(only("huge")) as url:
        got = 0
        with httpx.stream("POST", url + DIALECTS["signalwire"][0], **as_kwargs(), timeout=30) as answer:  # type: ignore[arg-type]
            assert answer.headers["content-length"] == "100000000"
            for chunk in answer.iter_raw():
                got += len(chunk)
        assert got == 100_000_000


def test_an_outage_resets_refuses_and_ends() -> None:
    with embedded(Options(faults=Faults(recipients={TO: ("outage", "500-after")}), outage_s=0.8)) as url:
        with local_http.Client(base_url=url) as other:
            assert other.get("/sandbox/health").status_code == 200  # a connection that is kept alive
            assert raw(url) == (b"", True)
            with pytest.raises(httpx.TransportError):
                other.get("/sandbox/health")
            with pytest.raises(httpx.ConnectError):
                send(url)
        until = time.monotonic() + 10
        while True:
            try:
                assert send(url).status_code == 500
                break
            except httpx.ConnectError:
                assert time.monotonic() < until, "the outage does not end"
                time.sleep(0.05)
        assert accepted(url) == 1


def test_a_lagging_log_shows_a_message_late_and_its_page_at_once() -> None:
    auth = (ENV["SIGNALWIRE_PROJECT_ID"], ENV["SIGNALWIRE_API_TOKEN"])
    with embedded(Options(log_lag_s=0.6)) as url:
        begun = time.monotonic()
        sent = send(url).json()["id"]
        assert local_http.get(f"{url}/api/messaging/logs/{sent}", auth=auth).status_code == 200
        assert accepted(url) == 1
        while not local_http.get(f"{url}/api/messaging/logs", auth=auth).json()["data"]:
            assert time.monotonic() - begun < 10
            time.sleep(0.02)
        assert time.monotonic() - begun >= 0.55


@pytest.mark.parametrize("kind", LOG_FAULTS)
def test_the_log_can_fail_too(kind: str) -> None:
    auth = (ENV["SIGNALWIRE_PROJECT_ID"], ENV["SIGNALWIRE_API_TOKEN"])
    with embedded(Options(faults=Faults({kind: 1.0}))) as url:
        assert send(url).status_code == 201
        try:
            answer = local_http.get(f"{url}/api/messaging/logs", auth=auth)
            heard = f"{answer.status_code} {json.loads(answer.content) is not None}"
        except httpx.TransportError:
            heard = "reset"
        except json.JSONDecodeError:
            heard = "cut"
        failing = {"log-500": "500 True", "log-reset": "reset", "log-truncated-json": "cut"}
        assert heard == failing.get(kind, "200 True")  # else the page is whole, and cannot be compared


# ── The truth, across kills ─────────────────────────────────────────────────────────────────────────────────────


def test_faults_are_counted_across_restarts(tmp_path: Path) -> None:
    options = Options(faults=Faults(recipients={TO: ("500-after",)}), state_file=tmp_path / "truth.sqlite3")
    for n in (1, 2):
        with embedded(options) as url:
            send(url)
            assert local_http.get(f"{url}/sandbox/faults").json()["faults"] == {"500-after": n}
            assert accepted(url) == n


def test_a_state_file_from_before_there_were_faults_is_continued(tmp_path: Path) -> None:
    import apsw

    state_file = tmp_path / "truth.sqlite3"
    with embedded(Options(state_file=state_file)) as url:
        send(url)
    with apsw.Connection(str(state_file)) as db:
        db.execute("DROP TABLE fault")
    db.close()
    with embedded(Options(state_file=state_file)) as url:
        assert local_http.get(f"{url}/sandbox/faults").json() == {"total": 0, "faults": {}}
        assert accepted(url) == 1


# ── Picking ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_draws_the_same_whatever_the_order() -> None:
    numbers = [f"+1{area}55501{i:02}" for area in (202, 212, 213) for i in range(90)]
    faults = Faults({"500-after": 0.2, "reset-after": 0.1}, seed=5)

    def draw(order: list[str], faults: Faults = faults) -> dict[str, list[str | None]]:
        picker = FaultPicker(faults)
        return {
            to: [behavior.fault if (behavior := picker.pick_for_message(to)) else None for _ in range(3)]
            for to in order
        }

    there, back = draw(numbers), draw(numbers[::-1])
    assert there == back
    assert there != draw(numbers, Faults(faults.probabilities, seed=6))
    drawn = Counter(kind for kinds in there.values() for kind in kinds)
    assert 0.14 < drawn["500-after"] / 810 < 0.26
    assert 0.05 < drawn["reset-after"] / 810 < 0.15


# ── Words for them ──────────────────────────────────────────────────────────────────────────────────────────────


def test_faults_in_a_line() -> None:
    found = parse_faults("500-after=0.02, reset-after=0.01,+12025550123=html", seed=9)
    assert found == Faults({"500-after": 0.02, "reset-after": 0.01}, {TO: ("html",)}, 9)


def test_faults_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text('500-after: 0.02\nlog-500: 1\n+12025550123: [429, html]\n"+12025550124": drip\n')
    assert parse_faults(str(path)) == Faults(
        {"500-after": 0.02, "log-500": 1.0}, {TO: ("429", "html"), "+12025550124": ("drip",)}
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nope=0.1", "'nope' is not a fault"),
        ("html=2", "more than 1"),
        ("html=-1", "between 0 and 1"),
        ("html=0.6,drip=0.6", "more than 1"),
        ("html=often", "often"),
        ("html=0.1,html=0.2", "twice"),
        ("html=0.1,drip", "'drip'"),
        ("+12025550123=log-500", "'log-500' is not a fault"),
        ("no-such-file.yaml", "cannot be read"),
    ],
)
def test_wrong_words_are_told(text: str, says: str) -> None:
    with pytest.raises(InputError) as failure:
        parse_faults(text)
    assert says in str(failure.value)
