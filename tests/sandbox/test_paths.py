"""Paths and fields that official clients use beyond create, list and fetch: media, schedules, pools, both LaML roots."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sender.sandbox import Options, embedded, environment
from tests import local_http

ENV = environment("http://127.0.0.1")
PROJECT, SID = ENV["SIGNALWIRE_PROJECT_ID"], ENV["TWILIO_ACCOUNT_SID"]
COMPAT = httpx.BasicAuth(PROJECT, ENV["SIGNALWIRE_API_TOKEN"])
TWILIO = httpx.BasicAuth(SID, ENV["TWILIO_AUTH_TOKEN"])
TELNYX = {"Authorization": f"Bearer {ENV['TELNYX_API_KEY']}"}
PROFILE = "1b2c3d4e-0000-4000-8000-00000000abcd"
FROM, TO = "+12025550100", "+12025550123"
MEDIA = ["https://example.com/a.png", "https://example.com/b.pdf?x=1", "https://example.com/c"]
DAY_S = 86_400
DAY = "%Y-%m-%d"
MIDNIGHT, MOMENT = f"{DAY}T00:00:00Z", f"{DAY}T%H:%M:%SZ"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[httpx.Client]:
    with (
        embedded(Options(sent_after_s=0, delivered_after_s=0)) as url,
        local_http.Client(base_url=url, timeout=10) as client,
    ):
        yield client


@pytest.fixture
def client(sandbox: httpx.Client) -> httpx.Client:
    sandbox.delete("/sandbox/messages")
    return sandbox


def at(seconds: float, form: str = MOMENT) -> str:
    return time.strftime(form, time.gmtime(time.time() + seconds))


# -- both roots of SignalWire's form API


@pytest.mark.parametrize("root", ["/api/laml/2010-04-01", "/2010-04-01"])
@pytest.mark.parametrize("suffix", ["", ".json"])
def test_signalwires_form_api_answers_with_and_without_its_prefix(client: httpx.Client, root: str, suffix: str) -> None:
    messages = f"{root}/Accounts/{PROJECT}/Messages"
    created = client.post(f"{messages}{suffix}", data={"To": TO, "From": FROM, "Body": "Hi"}, auth=COMPAT)
    assert (created.status_code, created.json()["num_segments"]) == (201, 1), "SignalWire's shape: a number"
    sid = created.json()["sid"]
    assert client.get(f"{messages}/{sid}{suffix}", auth=COMPAT).json()["sid"] == sid
    page = client.get(f"{messages}{suffix}?PageSize=1", auth=COMPAT).json()
    assert [each["sid"] for each in page["messages"]] == [sid]
    assert page["first_page_uri"].startswith(messages), "the next request goes where this one went"
    wrong = client.get(f"{messages}{suffix}", auth=httpx.BasicAuth(PROJECT, "bad-token"))
    assert (wrong.status_code, wrong.json()["code"]) == (401, 20003)
    assert client.post(f"{messages}/{sid}{suffix}", data={"Status": "canceled"}, auth=COMPAT).status_code == 404


def test_the_root_without_prefix_stays_twilios(client: httpx.Client) -> None:
    messages = f"/2010-04-01/Accounts/{SID}/Messages"
    created = client.post(f"{messages}.json", data={"To": TO, "From": FROM, "Body": "Hi"}, auth=TWILIO)
    assert (created.status_code, created.json()["num_segments"]) == (201, "1"), "Twilio's shape: a text"
    assert client.get(messages, auth=TWILIO).status_code == 404, "Twilio answers in XML there"
    assert client.get(f"/2010-04-01/Accounts/{PROJECT}/Messages.json", auth=COMPAT).json()["messages"] == []


# -- media


@pytest.mark.parametrize(
    ("messages", "suffix", "auth"),
    [
        pytest.param(f"/api/laml/2010-04-01/Accounts/{PROJECT}/Messages", "", COMPAT, id="signalwire-compat"),
        pytest.param(f"/2010-04-01/Accounts/{PROJECT}/Messages", ".json", COMPAT, id="signalwire-compat-bare"),
        pytest.param(f"/2010-04-01/Accounts/{SID}/Messages", ".json", TWILIO, id="twilio"),
    ],
)
def test_the_media_of_a_message(client: httpx.Client, messages: str, suffix: str, auth: httpx.BasicAuth) -> None:
    created = client.post(f"{messages}{suffix}", data={"To": TO, "From": FROM, "MediaUrl": MEDIA}, auth=auth).json()
    listed = client.get(created["subresource_uris"]["media"], auth=auth)
    assert listed.status_code == 200
    media = listed.json()["media_list"]
    assert [each["content_type"] for each in media] == ["image/png", "application/pdf", "image/jpeg"]
    assert {each["parent_sid"] for each in media} == {created["sid"]}
    assert len({each["sid"] for each in media}) == 3
    for each in media:
        assert client.get(each["uri"], auth=auth).json() == each
    pages, uri = [], f"{messages}/{created['sid']}/Media{suffix}?PageSize=2"
    while uri:
        page = client.get(uri, auth=auth).json()
        pages.append([each["sid"] for each in page["media_list"]])
        uri = page["next_page_uri"]
    assert pages == [[each["sid"] for each in media[:2]], [media[2]["sid"]]]
    plain = client.post(f"{messages}{suffix}", data={"To": TO, "From": FROM, "Body": "Hi"}, auth=auth).json()
    assert client.get(plain["subresource_uris"]["media"], auth=auth).json()["media_list"] == []


@pytest.mark.parametrize(
    ("path", "auth", "status"),
    [
        (f"/2010-04-01/Accounts/{SID}/Messages/SM{'0' * 32}/Media.json", TWILIO, 404),
        (f"/2010-04-01/Accounts/{SID}/Messages/{{sid}}/Media/ME{'0' * 32}.json", TWILIO, 404),
        (f"/2010-04-01/Accounts/{SID}/Messages/{{sid}}/Media.json", None, 401),
        (f"/2010-04-01/Accounts/{SID}/Messages/{{sid}}/Media.json?PageSize=0", TWILIO, 400),
        (f"/2010-04-01/Accounts/{SID}/Messages/{{sid}}/Media", TWILIO, 404),
    ],
)
def test_media_that_are_not_there(client: httpx.Client, path: str, auth: httpx.BasicAuth | None, status: int) -> None:
    fields = {"To": TO, "From": FROM, "MediaUrl": MEDIA}
    created = client.post(f"/2010-04-01/Accounts/{SID}/Messages.json", data=fields, auth=TWILIO).json()
    assert client.get(path.format(sid=created["sid"]), auth=auth).status_code == status


# -- days


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"DateSent": (0, DAY)}, 1),
        ({"DateSent": (0, MIDNIGHT)}, 1),  # as the SDKs write a plain date
        ({"DateSent": (0, f"{DAY}T23:59:59Z")}, 1),
        ({"DateSent": (DAY_S, MIDNIGHT)}, 0),
        ({"DateSent": (-DAY_S, MIDNIGHT)}, 0),
        ({"DateSent<": (0, MIDNIGHT)}, 1),  # the day is in it
        ({"DateSent<": (-DAY_S, MIDNIGHT)}, 0),
        ({"DateSent>": (0, MIDNIGHT)}, 1),
        ({"DateSent>": (DAY_S, MIDNIGHT)}, 0),
        ({"DateSent>": (-60, MOMENT), "DateSent<": (60, MOMENT)}, 1),
        ({"DateSent>": (60, MOMENT)}, 0),
        ({"DateSent<": (-3600, MOMENT)}, 0),
    ],
)
@pytest.mark.parametrize("account", [SID, PROJECT])
def test_a_plain_date_is_a_whole_day(
    client: httpx.Client, account: str, query: dict[str, tuple[int, str]], found: int
) -> None:
    asked = {name: at(ahead_s, form) for name, (ahead_s, form) in query.items()}
    auth = TWILIO if account == SID else COMPAT
    messages = f"/2010-04-01/Accounts/{account}/Messages.json"
    client.post(messages, data={"To": TO, "From": FROM, "Body": "Hi"}, auth=auth)
    assert len(client.get(messages, params=asked, auth=auth).json()["messages"]) == found


def test_what_is_not_a_date_is_refused(client: httpx.Client) -> None:
    for text in ("soon", "2026-13-01", "T00:00:00Z"):
        answer = client.get(f"/2010-04-01/Accounts/{SID}/Messages.json", params={"DateSent": text}, auth=TWILIO)
        assert answer.status_code == 400, text


# -- Telnyx: encodings, and its other paths


@pytest.mark.parametrize(
    ("text", "encoding", "read", "parts"),
    [
        ("x" * 160, None, "GSM-7", 1),
        ("x" * 160, "auto", "GSM-7", 1),
        ("x" * 160, "gsm7", "GSM-7", 1),
        ("x" * 160, "ucs2", "UCS-2", 3),
        ("x" * 70, "ucs2", "UCS-2", 1),
        ("é€", "gsm7", "GSM-7", 1),
        ("ç", "auto", "UCS-2", 1),
        ("ç", "ucs2", "UCS-2", 1),
    ],
)
def test_telnyx_encodes_as_it_is_asked(
    client: httpx.Client, text: str, encoding: str | None, read: str, parts: int
) -> None:
    answer = client.post(
        "/v2/messages", json={"to": TO, "from": FROM, "text": text, "encoding": encoding}, headers=TELNYX
    )
    assert answer.status_code == 200
    assert (answer.json()["data"]["encoding"], answer.json()["data"]["parts"]) == (read, parts)


@pytest.mark.parametrize(
    ("text", "encoding", "code"), [("ç", "gsm7", "40009"), ("😀", "gsm7", "40009"), ("x" * 700, "ucs2", "40302")]
)
def test_telnyx_refuses_what_does_not_fit(client: httpx.Client, text: str, encoding: str, code: str) -> None:
    answer = client.post(
        "/v2/messages", json={"to": TO, "from": FROM, "text": text, "encoding": encoding}, headers=TELNYX
    )
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)


ABROAD = "+447700900123"
OTHER_PATHS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("schedule", {"from": FROM, "send_at": at(3600)}, {"status": "queued", "from": FROM}),
    ("number_pool", {"messaging_profile_id": PROFILE}, {"status": "delivered", "from": "+12125550142"}),
    ("number_pool", {"messaging_profile_id": PROFILE, "from": FROM}, {"status": "delivered", "from": "+12125550142"}),
    ("long_code", {"from": FROM}, {"status": "delivered", "from": FROM}),
    ("short_code", {"from": "12345"}, {"status": "delivered", "from": "12345"}),
    (
        "alphanumeric_sender_id",
        {"from": "ACME", "messaging_profile_id": PROFILE, "to": ABROAD},
        {"status": "delivered", "from": "ACME"},
    ),
]


@pytest.mark.parametrize(("path", "fields", "shown"), OTHER_PATHS, ids=[path for path, _, _ in OTHER_PATHS])
def test_telnyx_s_other_paths(client: httpx.Client, path: str, fields: dict[str, Any], shown: dict[str, Any]) -> None:
    body = {"to": TO, "text": "Hi", **fields}
    created = client.post(f"/v2/messages/{path}", json=body, headers=TELNYX)
    assert created.status_code == 200, created.text
    message = client.get(f"/v2/messages/{created.json()['data']['id']}", headers=TELNYX).json()["data"]
    assert {"status": message["to"][0]["status"], "from": message["from"]["phone_number"]} == shown


@pytest.mark.parametrize(
    ("path", "fields", "missing"),
    [
        ("schedule", {"from": FROM}, ["/send_at"]),
        ("number_pool", {"from": FROM}, ["/messaging_profile_id"]),
        ("long_code", {"messaging_profile_id": PROFILE}, ["/from"]),
        ("short_code", {"to": None}, ["/from", "/to"]),
        ("alphanumeric_sender_id", {"from": "ACME", "text": ""}, ["/text", "/messaging_profile_id"]),
    ],
)
def test_each_of_them_needs_its_own_fields(
    client: httpx.Client, path: str, fields: dict[str, Any], missing: list[str]
) -> None:
    answer = client.post(f"/v2/messages/{path}", json={"to": TO, "text": "Hi", **fields}, headers=TELNYX)
    assert answer.status_code == 422
    assert [error["source"]["pointer"] for error in answer.json()["errors"]] == missing


def test_a_scheduled_message_is_taken_back(client: httpx.Client) -> None:
    fields = {"to": TO, "from": FROM, "text": "Hi", "send_at": at(3600)}
    created = client.post("/v2/messages/schedule", json=fields, headers=TELNYX).json()["data"]
    assert client.delete(f"/v2/messages/{created['id']}", headers=TELNYX).json()["to"][0]["status"] == "cancelled"
    message = client.get(f"/v2/messages/{created['id']}", headers=TELNYX).json()["data"]
    assert message["to"][0]["status"] == "cancelled"


def test_bad_requests_to_them_are_refused_as_to_the_first(client: httpx.Client) -> None:
    assert client.post("/v2/messages/schedule", content=b"{", headers=TELNYX).status_code == 415
    json_type = {**TELNYX, "Content-Type": "application/json"}
    assert client.post("/v2/messages/schedule", content=b"{", headers=json_type).status_code == 400
    assert client.post("/v2/messages/schedule", json={}).status_code == 401
    assert client.post("/v2/messages/group_mms", json={}, headers=TELNYX).status_code == 404
