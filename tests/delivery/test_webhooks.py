"""The receiver over real HTTP: what it believes, what it refuses, and that nothing is lost once it has said 200."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import apsw
import httpx
import polars as pl
import pytest

from sender import sandbox
from sender.core.errors import CredentialsError, InputError
from sender.core.outcomes import Accepted, SkipReason
from sender.delivery import webhooks
from sender.delivery.callback_urls import check_public_url
from sender.delivery.webhooks import signatures
from sender.delivery.webhooks.app import BODY_MAX_BYTES
from sender.delivery.webhooks.server import Listener
from sender.delivery.webhooks.signatures import Keys, Policy
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.new_state import init_state
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.state_dir import StateDir
from sender.suppression.suppression_list import SuppressionList
from tests import local_http, warm

RUN = "run-1"
KEYS = Keys.of(sandbox.environment(""))
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    """A ledger with a run of ten accepted messages, SM0 to SM9."""
    ledger = SqliteLedger.open(tmp_path / "ledger.sqlite3")
    ledger.create_run(Run(RUN, "welcome", RunKind.SANDBOX, "twilio", "9f86", None, 10, 10, 0, ledger.now_ms()))
    claims = ledger.claim(RUN, limit=10, lease_ms=60_000)
    ledger.record(RUN, [Settlement(one, Accepted(f"SM{one.seq}")) for one in claims])
    yield ledger
    ledger.close()


@contextmanager
def listening(ledger: SqliteLedger, tmp_path: Path, **options: Any) -> Iterator[tuple[Listener, httpx.Client]]:
    with (
        StateDir(tmp_path) as state,
        webhooks.listen(state, **{"public_url": None, "keys": KEYS, "policy": Policy.REQUIRE, **options}) as listener,
        local_http.Client(base_url=listener.url, timeout=20) as client,
    ):
        yield listener, client


@pytest.fixture
def listener(ledger: SqliteLedger, tmp_path: Path) -> Iterator[tuple[Listener, httpx.Client]]:
    with listening(ledger, tmp_path) as both:
        yield both


def statuses(ledger: SqliteLedger) -> dict[int, str]:
    journal = ledger.journal(RUN)
    return dict(zip(journal["seq"], journal["status"], strict=True))


def native(status: str, seq: int = 0) -> bytes:
    told = {"id": f"SM{seq}", "status": status, "number_of_segments": 1, "timestamp": "2026-01-01T00:00:00Z"}
    return json.dumps(told).encode()


def tell(
    client: httpx.Client, listener: Listener, body: bytes, *, seq: int | None = 0, key: str = "PSK_sandbox"
) -> httpx.Response:
    """A signed SignalWire status callback."""
    path = "/status/signalwire" + ("" if seq is None else f"?ref={RUN}.{seq}")
    signature = signatures.signalwire_json(key, listener.public_url + path, body)
    return client.post(path, content=body, headers=JSON | {"x-signalwire-signature": signature})


# What is believed


def test_a_signed_report_is_on_disk_when_it_is_answered(
    listener: tuple[Listener, httpx.Client], ledger: SqliteLedger
) -> None:
    told, client = listener
    answer = tell(client, told, native("delivered"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert statuses(ledger)[0] == "delivered"
    assert tell(client, told, native("sent")).status_code == 200, "late, and harmless"
    assert statuses(ledger)[0] == "delivered"


def test_a_report_without_a_ref_finds_its_message_a_little_later(
    listener: tuple[Listener, httpx.Client], ledger: SqliteLedger
) -> None:
    told, client = listener
    assert tell(client, told, native("failed", 3), seq=None).status_code == 200
    until = time.monotonic() + 20
    while statuses(ledger)[3] != "failed":
        assert time.monotonic() < until
        time.sleep(0.05)


def test_compatibility_forms_and_telnyx_events(listener: tuple[Listener, httpx.Client], ledger: SqliteLedger) -> None:
    """The sandbox signs them with code of its own: tests of whole runs hold that against the receiver's."""
    told, client = listener
    fields = [("MessageSid", "SM1"), ("MessageStatus", "delivered")]
    for dialect, seq, name, key in (
        ("signalwire-compat", 1, "x-signalwire-signature", "PSK_sandbox"),
        ("twilio", 2, "x-twilio-signature", "5a" * 16),
    ):
        path = f"/status/{dialect}?ref={RUN}.{seq}"
        said = [("MessageSid", f"SM{seq}"), fields[1]]
        signature = signatures.form_signature(key, told.public_url + path, said, distinct=True)
        answer = client.post(path, content=urlencode(said), headers=FORM | {name: signature})
        assert answer.status_code == 200
    assert [statuses(ledger)[seq] for seq in (1, 2)] == ["delivered", "delivered"]


@pytest.mark.parametrize("prefix_stays", [True, False])
def test_a_proxy_may_stand_before_it(ledger: SqliteLedger, tmp_path: Path, prefix_stays: bool) -> None:
    """The signature is over the public URL, wherever the request comes in, and whether the proxy strips its path."""
    public = "https://hooks.example.com/campaigns"
    with listening(ledger, tmp_path, public_url=f"{public}/") as (told, client):
        assert told.public_url == public
        path, body = f"/status/signalwire?ref={RUN}.0", native("delivered")
        headers = JSON | {"x-signalwire-signature": signatures.signalwire_json("PSK_sandbox", public + path, body)}
        answer = client.post(("/campaigns" if prefix_stays else "") + path, content=body, headers=headers)
        assert answer.status_code == 200
    assert statuses(ledger)[0] == "delivered"


def test_replies_go_to_the_suppression_list_before_they_are_answered(
    listener: tuple[Listener, httpx.Client], tmp_path: Path
) -> None:
    told, client = listener
    for text in ("Stop!", "see you on Monday"):
        said = [("MessageSid", "SMx"), ("From", "+12025550147"), ("To", "+12025550100"), ("Body", text)]
        path = "/inbound/twilio"
        signature = signatures.form_signature("5a" * 16, told.public_url + path, said, distinct=True)
        answer = client.post(path, content=urlencode(said), headers=FORM | {"x-twilio-signature": signature})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/xml")
        with SuppressionList.open(tmp_path, create=False) as suppression:
            (entry,) = suppression.why("+12025550147")
        assert (entry.reason, entry.source, entry.note, entry.scope) == ("opted_out", "reply", "Stop!", "sandbox")


SHARED = Keys(twilio="5a" * 16, twilio_shared=("shared",))
STOP = [("MessageSid", "SMx"), ("From", "+12025550147"), ("To", "+12025550100"), ("Body", "STOP")]


def is_opted_out(folder: Path) -> bool:
    with SuppressionList.open(folder, create=False) as suppression:
        return any(entry.reason == SkipReason.OPTED_OUT for entry in suppression.why("+12025550147"))


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("way", ["form", "get", "shared key", "other spelling"])
def test_a_stop_is_heard_however_twilio_is_set_up(ledger: SqliteLedger, tmp_path: Path, way: str, slash: str) -> None:
    """By POST or GET, with the auth token or a shared key, to the address with a slash at its end or without."""
    path = f"/inbound/twilio{slash}"
    with listening(ledger, tmp_path, keys=SHARED) as (told, client):
        url = told.public_url + path

        def sign(signed: str, fields: list[tuple[str, str]], key: str = "5a" * 16, digest: str = "sha1") -> str:
            return signatures.form_signature(key, signed, fields, distinct=True, digest=digest)

        match way:
            case "form":
                headers = FORM | {"x-twilio-signature": sign(url, STOP)}
                answer = client.post(path, content=urlencode(STOP), headers=headers)
            case "shared key":
                headers = FORM | {
                    "x-twilio-signature": sign(url, STOP, "shared", "sha256"),
                    "x-twilio-webhooks-signature-settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
                }
                answer = client.post(path, content=urlencode(STOP), headers=headers)
            case "get":
                query = urlencode(STOP)
                answer = client.get(f"{path}?{query}", headers={"x-twilio-signature": sign(f"{url}?{query}", [])})
            case _:
                query = urlencode([*STOP, ("FromCity", "ST. JOHN'S")])
                other = query.replace("%27", "'")
                assert other != query
                answer = client.get(f"{path}?{other}", headers={"x-twilio-signature": sign(f"{url}?{query}", [])})
        assert answer.status_code == 200
        assert is_opted_out(tmp_path)
        assert told.refused == {}


@pytest.mark.parametrize(("text", "heard"), [("Basta così!", True), ("basta", False), ("Abmelden", True)])
def test_words_of_one_s_own_are_heard(ledger: SqliteLedger, tmp_path: Path, text: str, heard: bool) -> None:
    with listening(ledger, tmp_path, keys=SHARED, replies=webhooks.ReplyHandling(("basta così",))) as (told, client):
        fields = [*STOP[:3], ("Body", text)]
        signature = signatures.form_signature("5a" * 16, f"{told.public_url}/inbound/twilio", fields, distinct=True)
        headers = FORM | {"x-twilio-signature": signature}
        assert client.post("/inbound/twilio", content=urlencode(fields), headers=headers).status_code == 200
        assert is_opted_out(tmp_path) is heard


def test_a_word_that_cannot_opt_out_starts_no_receiver(ledger: SqliteLedger, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'YES' cannot be an opt-out word"):
        listening(ledger, tmp_path, replies=webhooks.ReplyHandling(("YES",))).__enter__()


def test_a_shared_key_that_is_not_set_is_named_in_the_log(
    listener: tuple[Listener, httpx.Client], caplog: pytest.LogCaptureFixture
) -> None:
    told, client = listener
    headers = FORM | {
        "x-twilio-signature": "x",
        "x-twilio-webhooks-signature-settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
    }
    assert client.post("/inbound/twilio", content=urlencode(STOP), headers=headers).status_code == 403
    [record] = [record for record in caplog.records if record.name == "sender.delivery"]
    assert "TWILIO_WEBHOOK_SHARED_KEY is not set" in record.getMessage()
    assert told.refused == {403: 1}


# What is refused


@pytest.mark.parametrize(
    ("method", "path", "status", "shown"),
    [
        ("POST", "/inbound/twillio?From=%2B12025550147", 404, "'/inbound/twillio'"),
        ("POST", "/sms", 404, "'/sms'"),
        ("POST", "/inbound", 404, "'/inbound'"),
        ("PUT", "/inbound/twilio", 405, "'/inbound/twilio'"),
        ("GET", "/status/twilio", 405, "'/status/twilio'"),
        ("POST", "/x%0a%1b[31m", 404, r"'/x\n\x1b[31m'"),
        ("POST", f"/{'x' * 500}", 404, f"'/{'x' * 99}...'"),
    ],
)
def test_a_call_to_no_address_of_ours_is_counted_and_logged(
    listener: tuple[Listener, httpx.Client],
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    status: int,
    shown: str,
) -> None:
    """A wrong address in a provider's console loses every STOP, and nobody but the log would know."""
    told, client = listener
    for _ in range(3):
        assert client.request(method, path).status_code == status
    [record] = [record for record in caplog.records if record.name == "sender.delivery"]
    assert record.getMessage().startswith(f"{method} {shown} was refused with {status}: not a")
    assert "/inbound/PROVIDER" in record.getMessage()
    assert "12025550147" not in caplog.text
    assert (record.event, record.status) == ("webhook_refused", status)  # type: ignore[attr-defined]
    assert told.refused == {status: 3}


def test_forged_reports_are_403_and_change_nothing(
    listener: tuple[Listener, httpx.Client], ledger: SqliteLedger
) -> None:
    told, client = listener
    assert tell(client, told, native("failed"), key="guessed").status_code == 403
    assert client.post(f"/status/signalwire?ref={RUN}.0", content=native("failed"), headers=JSON).status_code == 403
    body = native("delivered")
    path = f"/status/signalwire?ref={RUN}.0"
    signature = signatures.signalwire_json("PSK_sandbox", told.public_url + path, body)
    elsewhere = client.post(
        path.replace(".0", ".1"), content=body, headers=JSON | {"x-signalwire-signature": signature}
    )
    assert elsewhere.status_code == 403, "the ref is part of what is signed"
    assert set(statuses(ledger).values()) == {"queued"}
    assert ledger.kept_reports() == 0
    assert told.refused == {403: 3}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404), ("/status", 404), ("/status/vonage", 404), ("/status/twilio//", 404), ("/status//twilio", 404),
        ("/health/x", 404), ("/../ledger.sqlite3", 404),
    ],
)  # fmt: skip
def test_there_is_nothing_else(listener: tuple[Listener, httpx.Client], path: str, status: int) -> None:
    assert listener[1].post(path).status_code == status


def test_other_methods_are_refused(listener: tuple[Listener, httpx.Client]) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert listener[1].request(method, "/status/twilio").status_code == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"id": 7, "status": "sent"}', b"null"])
def test_what_cannot_be_read_is_400(listener: tuple[Listener, httpx.Client], body: bytes, caplog: Any) -> None:
    told, client = listener
    answer = tell(client, told, body)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text + caplog.text


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_bounded(listener: tuple[Listener, httpx.Client], chunked: bool) -> None:
    _, client = listener
    body = b"x" * (BODY_MAX_BYTES + 1)

    def chunks() -> Iterator[bytes]:
        yield from (body[at : at + 65536] for at in range(0, len(body), 65536))

    try:
        answer = client.post("/status/twilio", content=chunks() if chunked else body)
    except httpx.WriteError:  # it need not read what it refuses
        return
    assert answer.status_code == 413


def test_off_is_for_loopback_only(ledger: SqliteLedger, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="on loopback only"),
        listening(ledger, tmp_path, public_url="https://hooks.example.com", policy=Policy.OFF),
    ):
        pass
    for host, public_url in (("0.0.0.0", "http://127.0.0.1:1"), ("0.0.0.0", None)):
        with (
            pytest.raises(InputError, match="reachable from the network"),
            listening(ledger, tmp_path, host=host, public_url=public_url, policy=Policy.OFF),
        ):
            pass
    with listening(ledger, tmp_path, policy=Policy.OFF, keys=Keys()) as (_, client):
        assert client.post(f"/status/signalwire?ref={RUN}.0", content=native("sent"), headers=JSON).status_code == 200


def test_without_a_key_nothing_could_be_believed(ledger: SqliteLedger, tmp_path: Path) -> None:
    only_twilio = Keys(twilio="secret")
    for options in ({"keys": Keys()}, {"keys": only_twilio, "dialect": "telnyx"}):
        with pytest.raises(CredentialsError, match="no key"), listening(ledger, tmp_path, **options):
            pass
    with listening(ledger, tmp_path, keys=only_twilio) as (told, client):
        assert told.dialects == ("twilio",)
        assert tell(client, told, native("failed")).status_code == 403


def test_verify_if_present_takes_what_is_not_signed(ledger: SqliteLedger, tmp_path: Path) -> None:
    """SignalWire names no signature for its JSON status callbacks; a wrong one is wrong all the same."""
    with listening(ledger, tmp_path, policy=Policy.VERIFY_IF_PRESENT) as (told, client):
        bare = client.post(f"/status/signalwire?ref={RUN}.0", content=native("sent"), headers=JSON)
        assert bare.status_code == 200
        assert tell(client, told, native("failed"), key="guessed").status_code == 403
    assert statuses(ledger)[0] == "sent"


REPLY = {"From": "+12025550147", "To": "+12025550100", "Body": "START", "MessageSid": "SM1"}
UNSIGNED = {
    "SignalWire, inbound JSON": (
        "/inbound/signalwire",
        json.dumps({"message": {"message_id": "m1", "from": "+12025550147", "to": "+12025550100", "body": "START"}}),
        JSON,
    ),
    "SignalWire, a reply at the address for statuses": (
        "/status/signalwire",
        json.dumps({"message": {"message_id": "m1", "from": "+12025550147", "to": "+12025550100", "body": "START"}}),
        JSON,
    ),
    "SignalWire, a status at the address for replies": ("/inbound/signalwire", native("failed"), JSON),
    "SignalWire, a form": ("/status/signalwire", urlencode(REPLY), FORM),
    "SignalWire Compatibility": ("/inbound/signalwire-compat", urlencode(REPLY), FORM),
    "SignalWire Compatibility, a status": (
        f"/status/signalwire-compat?ref={RUN}.0",
        urlencode({"MessageSid": "SM0", "MessageStatus": "failed"}),
        FORM,
    ),
    "Twilio": ("/inbound/twilio", urlencode(REPLY), FORM),
    "Twilio, a status": (
        f"/status/twilio?ref={RUN}.0",
        urlencode({"MessageSid": "SM0", "MessageStatus": "failed"}),
        FORM,
    ),
    "Twilio, by GET": (f"/inbound/twilio?{urlencode(REPLY)}", None, {}),
    "Telnyx": ("/inbound/telnyx", b'{"data":{"event_type":"message.received","payload":{"id":"1"}}}', JSON),
    "Telnyx, a status": (f"/status/telnyx?ref={RUN}.0", b'{"data":{"event_type":"message.finalized"}}', JSON),
}


@pytest.mark.parametrize(("path", "content", "headers"), UNSIGNED.values(), ids=UNSIGNED)
def test_verify_if_present_believes_no_other_webhook_without_a_signature(
    ledger: SqliteLedger, tmp_path: Path, path: str, content: str | bytes | None, headers: dict[str, str]
) -> None:
    """Anybody could lift an opt-out, or enter one, if a reply counted without a signature."""
    with SuppressionList.open(tmp_path) as suppressions:
        suppressions.learn_inbound("+12025550147", "STOP", "+12025550100", "twilio", datetime(2026, 1, 1, tzinfo=UTC))
    with listening(ledger, tmp_path, policy=Policy.VERIFY_IF_PRESENT) as (_, client):
        answer = client.request("GET" if content is None else "POST", path, content=content, headers=headers)
        assert answer.status_code == 403
    with SuppressionList.open(tmp_path, create=False) as suppressions:
        assert [entry.active for entry in suppressions.why("+12025550147")] == [True]
    assert set(statuses(ledger).values()) == {"queued"}


@pytest.mark.parametrize("dialect", ["twilio", "telnyx", "signalwire-compat"])
def test_verify_if_present_needs_a_key_where_everything_is_signed(
    ledger: SqliteLedger, tmp_path: Path, dialect: str
) -> None:
    options = {"keys": Keys(), "policy": Policy.VERIFY_IF_PRESENT, "dialect": dialect}
    with pytest.raises(CredentialsError, match="no key"), listening(ledger, tmp_path, **options):
        pass


def test_a_start_that_is_delivered_again_lifts_no_later_stop(ledger: SqliteLedger, tmp_path: Path) -> None:
    """Providers retry webhooks for hours; Twilio's do not say when the text was written."""

    def reply(client: httpx.Client, listener: Listener, text: str, message_id: str) -> None:
        said = list({**REPLY, "Body": text, "MessageSid": message_id}.items())
        signature = signatures.form_signature("5a" * 16, listener.public_url + "/inbound/twilio", said, distinct=True)
        headers = FORM | {"x-twilio-signature": signature}
        assert client.post("/inbound/twilio", content=urlencode(said), headers=headers).status_code == 200
        time.sleep(0.002)  # entries are dated to the millisecond

    def listed() -> bool:
        with SuppressionList.open(tmp_path, create=False) as suppressions:
            return any(entry.active for entry in suppressions.why("+12025550147"))

    with listening(ledger, tmp_path) as (listener, client):
        for text, message_id, holds in [
            ("STOP", "SM1", True),
            ("START", "SM2", False),
            ("START", "SM2", False),
            ("STOP", "SM1", False),  # an old one, again
            ("STOP", "SM3", True),
            ("START", "SM2", True),
            ("STOP", "SM3", True),
            ("START", "SM4", False),
            ("STOP", "SM3", False),
        ]:
            reply(client, listener, text, message_id)
            assert listed() is holds, (text, message_id)


@pytest.mark.parametrize(
    "url",
    [
        "hooks.example.com", "ftp://hooks.example.com", "https://", "http://hooks.example.com", "https://a@b.example",
        "https://hooks.example.com/?x=1", "https://hooks.example.com/#x", "https://hooks.example.com:port", "https://a b",
    ],
)  # fmt: skip
def test_a_public_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        check_public_url(url)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (" https://hooks.example.com/ ", "https://hooks.example.com"),
        ("https://hooks.example.com:8443/a/b", "https://hooks.example.com:8443/a/b"),
        ("http://127.0.0.1:8026", "http://127.0.0.1:8026"),
        ("http://[::1]:8026", "http://[::1]:8026"),
    ],
)
def test_public_urls(url: str, kept: str) -> None:
    assert check_public_url(url) == kept


# Trouble


def test_what_cannot_be_written_is_503_and_comes_again(
    listener: tuple[Listener, httpx.Client], ledger: SqliteLedger, tmp_path: Path
) -> None:
    told, client = listener
    assert client.get("/health").json()["status"] == "ok"
    other = apsw.Connection(str(tmp_path / "ledger.sqlite3"))
    other.set_busy_timeout(10_000)  # the listener may be looking
    other.execute("ALTER TABLE message RENAME TO hidden")  # a stand-in for whatever makes a write fail
    assert tell(client, told, native("delivered")).status_code == 503
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "failing")
    other.execute("ALTER TABLE hidden RENAME TO message")
    other.close()
    assert tell(client, told, native("delivered")).status_code == 200
    assert statuses(ledger)[0] == "delivered"
    health = client.get("/health")
    assert health.json() == {
        "status": "ok", "waiting": 0, "applied": 1, "nothing_new": 0, "kept": 0, "matched": 0, "inbound": 0,
        "forwarding": None, "refused": {"503": 1},
    }  # fmt: skip


def test_a_busy_ledger_holds_an_answer_up_and_loses_nothing(
    listener: tuple[Listener, httpx.Client], ledger: SqliteLedger, tmp_path: Path
) -> None:
    told, client = listener
    other = apsw.Connection(str(tmp_path / "ledger.sqlite3"))
    other.set_busy_timeout(10_000)  # the listener has written, too
    other.execute("BEGIN IMMEDIATE")
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(tell(client, told, native("delivered")).status_code))
    thread.start()
    thread.join(0.3)
    assert answers == []
    other.execute("ROLLBACK")
    other.close()
    thread.join(20)
    assert answers == [200]
    assert statuses(ledger)[0] == "delivered"


def test_hundreds_at_once(listener: tuple[Listener, httpx.Client], ledger: SqliteLedger) -> None:
    told, _ = listener
    words = ("queued", "sent", "delivered")
    said = [(seq, word) for seq in range(10) for word in words] * 10
    answers: list[int] = []

    def some(part: int) -> None:
        with local_http.Client(base_url=told.url, timeout=20) as own:
            answers.extend(tell(own, told, native(word, seq), seq=seq).status_code for seq, word in said[part::6])

    threads = [threading.Thread(target=some, args=(part,)) for part in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [200] * 300
    assert set(statuses(ledger).values()) == {"delivered"}
    assert told.counts.applied + told.counts.same == 300


# The command


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., tuple[warm.Process, str]]]:
    started: list[warm.Process] = []
    clean = {name: text for name, text in os.environ.items() if not re.match(r"SIGNALWIRE|TELNYX|TWILIO|SENDER", name)}

    def start(*args: str, **env: str) -> tuple[warm.Process, str]:
        init_state(tmp_path)
        arguments = ["listen", "--port", "0", "--state-dir", str(tmp_path), *args]
        process = warm.start("sender", arguments, cwd=tmp_path, env=clean | {"PYTHONPATH": str(warm.ROOT)} | env)
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+", line)
        return process, match[0] if match else line

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@pytest.mark.process
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_listen_stops_cleanly(
    command: Callable[..., tuple[warm.Process, str]], ledger: SqliteLedger, sign: signal.Signals
) -> None:
    process, url = command(**sandbox.environment(""))
    body, path = native("delivered"), f"/status/signalwire?ref={RUN}.0"
    headers = JSON | {"x-signalwire-signature": signatures.signalwire_json("PSK_sandbox", url + path, body)}
    # One is answered; another has sent half its body when the signal comes, and is still heard out.
    assert local_http.post(url + path, content=body, headers=headers).status_code == 200
    late = native("sent", 1)
    late_path = f"/status/signalwire?ref={RUN}.1"
    signature = signatures.signalwire_json("PSK_sandbox", url + late_path, late)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = (
            f"POST {late_path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"x-signalwire-signature: {signature}\r\ncontent-length: {len(late)}\r\n\r\n"
        )
        connection.sendall(head.encode() + late[:10])
        time.sleep(0.3)
        process.send_signal(sign)
        time.sleep(0.3)
        connection.sendall(late[10:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    out, err = process.communicate(timeout=20)
    assert process.returncode == (0 if sign is signal.SIGINT else -signal.SIGTERM)
    assert "Traceback" not in out + err
    assert {seq: status for seq, status in statuses(ledger).items() if status != "queued"} == {
        0: "delivered",
        1: "sent",
    }


@pytest.mark.process
def test_listen_without_keys_says_which(command: Callable[..., tuple[warm.Process, str]]) -> None:
    process, _ = command()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "SIGNALWIRE_SIGNING_KEY, TELNYX_PUBLIC_KEY, TWILIO_AUTH_TOKEN or TWILIO_WEBHOOK_SHARED_KEY" in err


@pytest.mark.process
def test_listen_says_what_to_configure(command: Callable[..., tuple[warm.Process, str]]) -> None:
    process, _ = command("--public-url", "https://hooks.example.com/x", TWILIO_AUTH_TOKEN="secret")
    assert process.stdout is not None
    told = ""
    while "Ctrl-C stops it" not in told:
        told += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert "twilio: replies to https://hooks.example.com/x/inbound/twilio" in told
    assert "telnyx" not in told, "its signatures cannot be checked"
    assert "0 reports applied" in out
    assert "secret" not in told + out + err
    assert process.returncode == 0


def test_no_journal_row_is_made_up(listener: tuple[Listener, httpx.Client], ledger: SqliteLedger) -> None:
    told, client = listener
    assert tell(client, told, native("delivered", 77), seq=77).status_code == 200
    assert ledger.journal(RUN).filter(pl.col("seq") > 9).is_empty()
    assert ledger.kept_reports() == 1
