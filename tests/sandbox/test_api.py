"""The sandbox over real HTTP, in each dialect: what it accepts, what it refuses, and what its log says afterwards."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import phonenumbers
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.sandbox.credentials import environment
from sender.sandbox.dialect import Draft
from sender.sandbox.magic_numbers import MAGIC_NUMBERS, MAGIC_SENDERS, BehaviorPicker
from sender.sandbox.segment_count import count_segments
from sender.sandbox.server import embedded
from sender.sandbox.simulator import SIMULATOR, Options
from sender.segments.encoding import measure as sender_measure
from tests import local_http

ENV = environment("http://127.0.0.1")
PROJECT, SID = ENV["SIGNALWIRE_PROJECT_ID"], ENV["TWILIO_ACCOUNT_SID"]
GROUP = "1b2c3d4e-0000-4000-8000-00000000abcd"
SERVICE = "MG" + "7" * 32
FROM, TO = "+12025550100", "+12025550123"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


@dataclass(frozen=True)
class Api:
    """One dialect as a client writes it: the canonical names of this file on the left, the provider's on the right."""

    name: str
    creates: str
    lists: str
    single: str
    auth: str
    names: Mapping[str, str]
    content_type: str
    created: int

    def fields(self, **values: Any) -> dict[str, Any]:
        return {self.names.get(name, name): value for name, value in values.items() if value is not None}

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        if self.content_type == JSON:
            return json.dumps(fields).encode()
        return urlencode(fields, doseq=True).encode()

    def post(self, client: httpx.Client, fields: Mapping[str, Any]) -> httpx.Response:
        headers = {"Authorization": self.auth, "Content-Type": self.content_type}
        return client.post(self.creates, content=self.encode(fields), headers=headers)

    def create(self, client: httpx.Client, **values: Any) -> httpx.Response:
        return self.post(client, self.fields(**({"to": TO, "from": FROM, "body": "Hello"} | values)))

    def get(self, client: httpx.Client, message_id: str) -> httpx.Response:
        return client.get(self.single.format(message_id), headers={"Authorization": self.auth})

    def list(self, client: httpx.Client, query: str = "") -> httpx.Response:
        if self.name == "telnyx":
            query = f"filter[record_type]=messaging&{query}"
        return client.get(f"{self.lists}?{query}", headers={"Authorization": self.auth})


def message_of(answer: Any) -> Any:
    """The message in an answer of any dialect."""
    return answer.get("data", answer)


def id_of(message: Mapping[str, Any]) -> str:
    return str(message.get("sid") or message.get("uuid") or message["id"])


def status_of(message: Mapping[str, Any]) -> str | None:
    to = message.get("to")
    return to[0]["status"] if isinstance(to, list) else message.get("status")


def code_of(answer: Mapping[str, Any]) -> str:
    """The first error code of a refusal in any dialect."""
    if "errors" in answer:
        return str(answer["errors"][0]["code"])
    return str(answer.get("code") or answer["error"])


def failure_of(message: Mapping[str, Any]) -> str | None:
    """The error code of an accepted message."""
    if "errors" in message:
        return message["errors"][0]["code"] if message["errors"] else None
    return None if message["error_code"] is None else str(message["error_code"])


def entries_of(page: Mapping[str, Any]) -> Any:
    return page["data"] if "data" in page else page["messages"]


JSON_NAMES = {"to": "to", "from": "from", "body": "body", "media": "media", "callback": "status_callback"}
TELNYX_NAMES = {"body": "text", "media": "media_urls", "callback": "webhook_url", "service": "messaging_profile_id"}
FORM_NAMES = {
    "to": "To",
    "from": "From",
    "body": "Body",
    "media": "MediaUrl",
    "callback": "StatusCallback",
    "service": "MessagingServiceSid",
}
COMPAT_ROOT = f"/api/laml/2010-04-01/Accounts/{PROJECT}/Messages"
TWILIO_ROOT = f"/2010-04-01/Accounts/{SID}/Messages"
SIGNALWIRE_AUTH = basic(PROJECT, ENV["SIGNALWIRE_API_TOKEN"])

NATIVE = Api(
    "signalwire",
    "/api/messaging/messages",
    "/api/messaging/logs",
    "/api/messaging/logs/{}",
    SIGNALWIRE_AUTH,
    JSON_NAMES,
    JSON,
    201,
)
COMPAT = Api("signalwire-compat", COMPAT_ROOT, COMPAT_ROOT, COMPAT_ROOT + "/{}", SIGNALWIRE_AUTH, FORM_NAMES, FORM, 201)
TELNYX = Api(
    "telnyx",
    "/v2/messages",
    "/v2/detail_records",
    "/v2/messages/{}",
    f"Bearer {ENV['TELNYX_API_KEY']}",
    TELNYX_NAMES,
    JSON,
    200,
)
TWILIO = Api(
    "twilio",
    f"{TWILIO_ROOT}.json",
    f"{TWILIO_ROOT}.json",
    TWILIO_ROOT + "/{}.json",
    basic(SID, ENV["TWILIO_AUTH_TOKEN"]),
    FORM_NAMES,
    FORM,
    201,
)
APIS = (NATIVE, COMPAT, TELNYX, TWILIO)
every_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[dict[str, httpx.Client]]:
    """Three sandboxes for the whole file, by how far a message gets in them."""
    instant = Options(sent_after_s=0, delivered_after_s=0, hang_s=0.2)
    with (
        _open(instant) as delivered,
        _open(Options(sent_after_s=3600, delivered_after_s=7200)) as queued,
        _open(Options(sent_after_s=0, delivered_after_s=3600)) as sent,
    ):
        yield {"delivered": delivered, "queued": queued, "sent": sent}


@contextmanager
def _open(options: Options) -> Iterator[httpx.Client]:
    with embedded(options) as url, local_http.Client(base_url=url, timeout=10) as client:
        yield client


def _emptied(client: httpx.Client) -> httpx.Client:
    client.delete("/sandbox/messages")
    return client


@pytest.fixture
def client(sandboxes: dict[str, httpx.Client]) -> httpx.Client:
    """Messages are final at once; silence lasts 0.2 s."""
    return _emptied(sandboxes["delivered"])


@pytest.fixture
def still(sandboxes: dict[str, httpx.Client]) -> httpx.Client:
    """Messages stay queued."""
    return _emptied(sandboxes["queued"])


@pytest.fixture
def halfway(sandboxes: dict[str, httpx.Client]) -> httpx.Client:
    """Messages are sent at once and stay so."""
    return _emptied(sandboxes["sent"])


def accepted(client: httpx.Client) -> int:
    return int(client.get("/sandbox/counts").json()["total"])


# ── Create, retrieve, list ──────────────────────────────────────────────────────────────────────────────────────


@every_api
def test_a_created_message_is_retrieved_listed_and_counted(api: Api, client: httpx.Client) -> None:
    callback = "https://hooks.example.com/status?ref=r-7&x=1"
    answer = api.create(client, callback=callback)
    assert answer.status_code == api.created
    assert answer.headers["x-simulator"] == SIMULATOR
    message = message_of(answer.json())
    retrieved = api.get(client, id_of(message))
    assert retrieved.status_code == 200
    assert id_of(message_of(retrieved.json())) == id_of(message)
    page = api.list(client)
    assert page.status_code == 200
    assert [id_of(entry) for entry in entries_of(page.json())] == [id_of(message)]
    assert client.get("/sandbox/counts").json() == {"total": 1, "recipients": {TO: 1}}
    (truth,) = client.get("/sandbox/messages").json()["messages"]
    assert truth | {"number": 0, "created_ms": 0} == {
        "number": 0,
        "message_id": id_of(message),
        "dialect": api.name,
        "account": truth["account"],
        "to": TO,
        "from": FROM,
        "service": None,
        "body": "Hello",
        "media": [],
        "kind": "sms",
        "encoding": "GSM-7",
        "segments": 1,
        "ref": "r-7",
        "callback": callback,
        "extra": {},
        "created_ms": 0,
        "status": "delivered",
        "error_code": None,
    }


@pytest.mark.parametrize("status", ["queued", "sent", "delivered"])
@every_api
def test_a_message_moves_on_with_time(api: Api, status: str, sandboxes: dict[str, httpx.Client]) -> None:
    client, dated = sandboxes[status], status != "queued"
    created = message_of(api.create(client).json())
    message = message_of(api.get(client, id_of(created)).json())
    assert status_of(message) == status
    sent_at = {"telnyx": "sent_at", "signalwire-compat": "date_sent", "twilio": "date_sent"}.get(api.name)
    if sent_at:
        assert (message[sent_at] is not None) is dated
    price = {"signalwire": "charge", "telnyx": "cost"}.get(api.name, "price")
    assert bool(message[price]) is dated, "charged when sent"


def test_native_answer_names_project_callback_and_log(client: httpx.Client) -> None:
    body = NATIVE.create(client, callback="https://hooks.example.com/s", media=["https://cdn.example.com/a.png"]).json()
    assert (body["project_id"], body["status_callback_url"]) == (PROJECT, "https://hooks.example.com/s")
    assert (body["kind"], body["media"]) == ("mms", ["https://cdn.example.com/a.png"])
    assert body["message_uri"] == f"/api/messaging/logs/{body['id']}"


def test_native_ref_comes_from_custom_variables_before_the_callback(client: httpx.Client) -> None:
    NATIVE.create(client, custom_variables={"ref": "r-1"}, callback="https://hooks.example.com/?ref=other")
    (truth,) = client.get("/sandbox/messages").json()["messages"]
    assert truth["ref"] == "r-1"
    assert truth["extra"] == {"custom_variables": {"ref": "r-1"}}


def test_the_native_log_shows_both_signalwire_apis_and_the_compatible_one_only_its_own(client: httpx.Client) -> None:
    NATIVE.create(client)
    COMPAT.create(client)
    sources = [(entry["source"], entry["type"]) for entry in NATIVE.list(client).json()["data"]]
    assert sources == [("laml", "laml_message"), ("realtime_api", "relay_message")]
    assert len(COMPAT.list(client).json()["messages"]) == 1


@pytest.mark.parametrize("api", [NATIVE, COMPAT], ids=lambda api: api.name)
def test_a_signalwire_mms_never_gets_a_receipt(api: Api, client: httpx.Client) -> None:
    message = api.create(client, media=["https://cdn.example.com/a.png"]).json()
    assert api.get(client, id_of(message)).json()["status"] == "sent"


@pytest.mark.parametrize("api", [TELNYX, TWILIO], ids=lambda api: api.name)
def test_elsewhere_an_mms_is_delivered(api: Api, client: httpx.Client) -> None:
    message = message_of(api.create(client, media=["https://cdn.example.com/a.png"]).json())
    assert status_of(message_of(api.get(client, id_of(message)).json())) == "delivered"


def test_several_media_are_repeated_form_fields(client: httpx.Client) -> None:
    media = ["https://cdn.example.com/a.png", "https://cdn.example.com/b.png"]
    assert COMPAT.create(client, media=media).json()["num_media"] == 2
    answer = TWILIO.create(client, media=media).json()
    assert (answer["num_media"], answer["sid"][:2]) == ("2", "MM")


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_the_compatible_api_takes_paths_with_and_without_json(suffix: str, client: httpx.Client) -> None:
    headers = {"Authorization": COMPAT.auth}
    answer = client.post(COMPAT_ROOT + suffix, data={"To": TO, "From": FROM, "Body": "x"}, headers=headers)
    assert answer.status_code == 201
    sid = answer.json()["sid"]
    assert client.get(f"{COMPAT_ROOT}/{sid}{suffix}", headers=headers).json()["sid"] == sid
    assert len(client.get(COMPAT_ROOT + suffix, headers=headers).json()["messages"]) == 1


@every_api
def test_a_message_of_another_account_is_not_there(api: Api, client: httpx.Client) -> None:
    theirs = id_of(message_of(api.create(client).json()))
    other = {PROJECT: "9f9f9f9f-0000-4000-8000-000000000001", SID: "AC" + "9" * 32}
    path = api.single.format(theirs)
    for mine, another in other.items():
        path = path.replace(mine, another)
    auth = "Bearer KEY-other" if api is TELNYX else basic(other[SID if api is TWILIO else PROJECT], "token")
    answer = client.get(path, headers={"Authorization": auth})
    assert answer.status_code == 404
    expected = {"signalwire": "Not Found", "signalwire-compat": "20404", "telnyx": "10005", "twilio": "20404"}
    assert code_of(answer.json()) == expected[api.name]


def test_a_pool_chooses_the_sender(client: httpx.Client, still: httpx.Client) -> None:
    assert COMPAT.create(client, **{"from": None}, service=GROUP).json()["from"] == "+12125550142"
    assert (
        TELNYX.create(client, **{"from": None}, service=GROUP).json()["data"]["from"]["phone_number"] == "+12125550142"
    )
    waiting = TWILIO.create(still, **{"from": None}, service=SERVICE).json()
    assert (waiting["status"], waiting["from"], waiting["messaging_service_sid"]) == ("accepted", None, SERVICE)
    assert TWILIO.create(client, **{"from": None}, service=SERVICE).json()["from"] == "+12125550142"


def at(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def test_a_scheduled_message_waits(client: httpx.Client) -> None:
    later = TWILIO.create(client, service=SERVICE, SendAt=at(900), ScheduleType="fixed").json()
    assert later["status"] == "scheduled"
    message = TELNYX.create(client, send_at=at(900)).json()["data"]
    assert TELNYX.get(client, message["id"]).json()["data"]["to"][0]["status"] == "queued"
    assert TELNYX.list(client).json()["data"] == []


# ── Lists: filters and paging ───────────────────────────────────────────────────────────────────────────────────


def walk(api: Api, client: httpx.Client, size: int) -> list[list[str]]:
    """The ids on each page, following the provider's own links."""
    if api is TELNYX:
        pages, number = [], 1
        while True:
            body = api.list(client, f"page[size]={size}&page[number]={number}").json()
            pages.append([entry["uuid"] for entry in body["data"]])
            if number >= body["meta"]["total_pages"]:
                return pages
            number += 1
    pages, url = [], f"{api.lists}?{'page_size' if api is NATIVE else 'PageSize'}={size}"
    while url:
        body = client.get(url, headers={"Authorization": api.auth}).json()
        pages.append([id_of(entry) for entry in entries_of(body)])
        url = body["links"].get("next") if api is NATIVE else body["next_page_uri"]
    return pages


@every_api
def test_paging_shows_every_message_once_newest_first(api: Api, client: httpx.Client) -> None:
    created = [id_of(message_of(api.create(client, to=f"+120255501{n:02d}").json())) for n in range(7)]
    pages = walk(api, client, 3)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [message_id for page in pages for message_id in page] == created[::-1]


@pytest.mark.parametrize("api", [NATIVE, COMPAT, TWILIO], ids=lambda api: api.name)
def test_messages_that_arrive_during_a_walk_shift_nothing(api: Api, client: httpx.Client) -> None:
    created = [id_of(api.create(client).json()) for _ in range(4)]
    size = "page_size" if api is NATIVE else "PageSize"
    first = api.list(client, f"{size}=2").json()
    api.create(client)
    following = first["links"]["next"] if api is NATIVE else first["next_page_uri"]
    second = client.get(following, headers={"Authorization": api.auth}).json()
    assert [id_of(entry) for entry in entries_of(second)] == created[1::-1]
    back = second["links"]["prev"] if api is NATIVE else second["previous_page_uri"]
    again = client.get(back, headers={"Authorization": api.auth}).json()
    assert [id_of(entry) for entry in entries_of(again)] == created[:1:-1]


def test_paging_keeps_the_filters(client: httpx.Client) -> None:
    for _ in range(3):
        TWILIO.create(client, to="+12025550111")
        TWILIO.create(client, to="+12025550122")
    first = TWILIO.list(client, "To=%2B12025550111&PageSize=2").json()
    assert dict(parse_qsl(first["next_page_uri"].partition("?")[2]))["To"] == "+12025550111"
    second = client.get(first["next_page_uri"], headers={"Authorization": TWILIO.auth}).json()
    assert [entry["to"] for entry in first["messages"] + second["messages"]] == ["+12025550111"] * 3
    assert (second["page"], second["start"], second["end"], second["next_page_uri"]) == (1, 2, 2, None)


TODAY, TOMORROW = (lambda: time.strftime("%Y-%m-%d", time.gmtime())), (lambda: at(86_400)[:10])

FILTERS = [
    (COMPAT, lambda: "To=%2B12025550111", 1),
    (COMPAT, lambda: "From=%2B12025550100", 2),
    (COMPAT, lambda: "To=%2B12025550111&From=%2B12025550155", 0),
    (COMPAT, lambda: "Status=delivered", 2),
    (COMPAT, lambda: "Status=queued", 0),
    (COMPAT, lambda: "Status=sent", 0),
    (COMPAT, lambda: "Status=undelivered", 0),
    (TWILIO, lambda: "To=%2B12025550111", 1),
    (TWILIO, lambda: "From=%2B12025550100&To=%2B12025550122", 1),
    (TWILIO, lambda: f"DateSent={TODAY()}", 2),
    (TWILIO, lambda: f"DateSent={TOMORROW()}", 0),
    (TWILIO, lambda: f"DateSent>={TODAY()}", 2),
    (TWILIO, lambda: f"DateSent>={TOMORROW()}", 0),
    (TWILIO, lambda: f"DateSent<={TODAY()}", 2),
    (TWILIO, lambda: f"DateSent<={at(-7200)}", 0),
    (TWILIO, lambda: f"DateSent>={at(-60)}&DateSent<={at(60)}", 2),
    (NATIVE, lambda: f"created_on={TODAY()}", 2),
    (NATIVE, lambda: f"created_on={TOMORROW()}", 0),
    (NATIVE, lambda: f"created_after={at(-60)}", 2),
    (NATIVE, lambda: f"created_after={at(60)}", 0),
    (NATIVE, lambda: f"created_before={at(60)}", 2),
    (NATIVE, lambda: f"created_before={at(-60)}", 0),
    (TELNYX, lambda: "filter[cld]=%2B12025550111", 1),
    (TELNYX, lambda: "filter[cli]=%2B12025550100", 2),
    (TELNYX, lambda: "filter[cld][contains]=0122", 1),
    (TELNYX, lambda: "filter[cld][contains]=*", 0),
    (TELNYX, lambda: "filter[cld][starts_with]=%2B1202", 2),
    (TELNYX, lambda: "filter[cld][ends_with]=111", 1),
    (TELNYX, lambda: "filter[direction]=outbound", 2),
    (TELNYX, lambda: "filter[direction]=inbound", 0),
    (TELNYX, lambda: "filter[status]=delivered", 2),
    (TELNYX, lambda: "filter[status]=failed", 0),
    (TELNYX, lambda: f"filter[created_at][gte]={at(-60)}&filter[created_at][lt]={at(60)}", 2),
    (TELNYX, lambda: f"filter[created_at][gt]={at(60)}", 0),
    (TELNYX, lambda: f"filter[created_at][lte]={at(-60)}", 0),
    (TELNYX, lambda: "filter[date_range]=today", 2),
    (TELNYX, lambda: "filter[date_range]=yesterday", 0),
    (TELNYX, lambda: "filter[date_range]=last_2_days", 2),
]


@pytest.mark.parametrize(
    ("api", "query", "found"), FILTERS, ids=[f"{api.name}-{i}" for i, (api, _, _) in enumerate(FILTERS)]
)
def test_a_filter_shows_what_it_names(api: Api, query: Any, found: int, client: httpx.Client) -> None:
    """Two messages, to …0111 and …0122, from …0100, delivered a moment ago."""
    api.create(client, to="+12025550111")
    api.create(client, to="+12025550122")
    page = api.list(client, query())
    assert page.status_code == 200, page.text
    assert len(entries_of(page.json())) == found, query()


def test_a_date_sent_filter_hides_what_is_not_sent(still: httpx.Client) -> None:
    TWILIO.create(still)
    COMPAT.create(still)
    assert len(TWILIO.list(still).json()["messages"]) == 1
    assert TWILIO.list(still, f"DateSent<={at(86_400 * 2)}").json()["messages"] == []
    assert len(COMPAT.list(still, "Status=queued").json()["messages"]) == 1


def test_detail_records_appear_when_the_message_is_sent(still: httpx.Client, halfway: httpx.Client) -> None:
    TELNYX.create(still)
    assert TELNYX.list(still).json()["data"] == []
    TELNYX.create(halfway, callback="https://hooks.example.com/?ref=r-2", service=GROUP)
    (record,) = TELNYX.list(halfway).json()["data"]
    assert "status" not in record, "the final status is not known yet"
    assert record["delivery_status_webhook_url"] == "https://hooks.example.com/?ref=r-2"
    assert record["profile_id"] == GROUP


def test_detail_records_sort_both_ways(client: httpx.Client) -> None:
    created = [TELNYX.create(client).json()["data"]["id"] for _ in range(3)]
    assert [r["uuid"] for r in TELNYX.list(client, "sort=created_at").json()["data"]] == created
    assert [r["uuid"] for r in TELNYX.list(client, "sort=-created_at").json()["data"]] == created[::-1]


@pytest.mark.parametrize(
    ("api", "query", "status", "code"),
    [
        (NATIVE, "page_size=0", 422, "invalid_parameter"),
        (NATIVE, "page_size=1001", 422, "invalid_parameter"),
        (NATIVE, "page_size=many", 422, "invalid_parameter"),
        (NATIVE, "page_number=1", 422, "page_token_required"),
        (NATIVE, "page_token=guess", 422, "page_token_is_invalid"),
        (NATIVE, "created_after=soon", 422, "not_a_datetime"),
        (NATIVE, "created_on=2026-13-01", 422, "not_a_datetime"),
        (COMPAT, "PageSize=1001", 422, "54454"),
        (COMPAT, "Page=1", 422, "54453"),
        (COMPAT, "PageToken=XY01", 422, "54453"),
        (COMPAT, "Status=lost", 422, "90000"),
        (COMPAT, "DateSent=soon", 422, "90000"),
        (TWILIO, "PageSize=0", 400, "20001"),
        (TWILIO, "Page=1", 400, "20001"),
        (TWILIO, "DateSent=soon", 400, "20001"),
        (TELNYX, "page[size]=51", 400, "10033"),
        (TELNYX, "page[number]=0", 400, "10033"),
        (TELNYX, "filter[text]=hi", 400, "10031"),
        (TELNYX, "filter[created_at][gte]=soon", 400, "10031"),
        (TELNYX, "filter[date_range]=ever", 400, "10031"),
        (TELNYX, "sort=cost", 400, "10015"),
    ],
)
def test_a_bad_list_query_is_refused(api: Api, query: str, status: int, code: str, client: httpx.Client) -> None:
    answer = api.list(client, query)
    assert (answer.status_code, code_of(answer.json())) == (status, code)


def test_detail_records_need_their_record_type(client: httpx.Client) -> None:
    answer = client.get("/v2/detail_records", headers={"Authorization": TELNYX.auth})
    assert (answer.status_code, code_of(answer.json())) == (400, "10004")


# ── Credentials ─────────────────────────────────────────────────────────────────────────────────────────────────

UNAUTHORIZED = {"signalwire": "Unauthorized", "signalwire-compat": "20003", "telnyx": "10009", "twilio": "20003"}
BAD_AUTH = [
    *[(api, what, header) for api in APIS for what, header in (("none", None), ("empty", ""), ("scheme", "Digest x"))],
    *[
        (api, what, header)
        for api, user in ((NATIVE, PROJECT), (COMPAT, PROJECT), (TWILIO, SID))
        for what, header in (
            ("bad token", basic(user, "bad-token")),
            ("no token", basic(user, "")),
            ("no user", basic("", "token")),
            ("not base64", "Basic %%%"),
            ("no colon", "Basic " + base64.b64encode(user.encode()).decode()),
            ("malformed user", basic("someone", "token")),
            ("other user", basic(user.replace("5", "6"), "token")),
        )
        if not (api is NATIVE and what == "other user")  # its paths name no account
    ],
    (TELNYX, "bad key", "Bearer KEY_bad_1"),
    (TELNYX, "no key", "Bearer"),
    (TELNYX, "two words", "Bearer a b"),
    (TELNYX, "basic", basic("key", "secret")),
]


@pytest.mark.parametrize(("api", "what", "header"), BAD_AUTH, ids=[f"{api.name}-{what}" for api, what, _ in BAD_AUTH])
def test_bad_credentials_are_refused_everywhere(api: Api, what: str, header: str | None, client: httpx.Client) -> None:
    headers = {} if header is None else {"Authorization": header}
    body = api.encode(api.fields(**{"to": TO, "from": FROM, "body": "x"}))
    answers = [
        client.post(api.creates, content=body, headers=headers | {"Content-Type": api.content_type}),
        client.get(api.single.format("1b2c3d4e-0000-4000-8000-00000000abcd"), headers=headers),
        client.get(api.lists, headers=headers),
    ]
    assert [(answer.status_code, code_of(answer.json())) for answer in answers] == [(401, UNAUTHORIZED[api.name])] * 3
    assert accepted(client) == 0


def test_an_api_key_pair_opens_a_twilio_account(client: httpx.Client) -> None:
    answer = client.post(
        TWILIO.creates,
        data={"To": TO, "From": FROM, "Body": "x"},
        headers={"Authorization": basic("SK" + "3" * 32, "secret")},
    )
    assert (answer.status_code, answer.json()["account_sid"]) == (201, SID)


def test_a_hexadecimal_token_may_hold_the_letters_bad(client: httpx.Client) -> None:
    headers = {"Authorization": basic(SID, "0bad" + "0" * 28)}
    assert client.get(TWILIO.lists, headers=headers).status_code == 200


# ── Magic numbers ───────────────────────────────────────────────────────────────────────────────────────────────

# What the documentation of each provider calls it: (HTTP status, code) at once, or the code in its log later.
AT_ONCE = [
    (
        "0190",
        {
            "signalwire": (422, "invalid_to_number"),
            "signalwire-compat": (422, "21211"),
            "telnyx": (400, "40310"),
            "twilio": (400, "21211"),
        },
    ),
    (
        "0191",
        {
            "signalwire": (422, "message_blocked_by_number"),
            "signalwire-compat": (422, "21610"),
            "telnyx": (400, "40300"),
            "twilio": (400, "21610"),
        },
    ),
    ("0192", {"signalwire-compat": (422, "21614"), "twilio": (400, "21635")}),
    (
        "0196",
        {
            "signalwire": (500, "Internal Server Error"),
            "signalwire-compat": (500, "20504"),
            "telnyx": (500, "10007"),
            "twilio": (500, "20500"),
        },
    ),
    (
        "0199",
        {
            "signalwire": (422, "insufficient_balance"),
            "signalwire-compat": (422, "30002"),
            "telnyx": (402, "20100"),
            "twilio": (403, "10001"),
        },
    ),
]
LATER = [
    ("0192", {"signalwire": "unknown_destination_handset", "telnyx": "40001"}),
    ("0193", {"signalwire": "message_filtered", "signalwire-compat": "30007", "telnyx": "40002", "twilio": "30007"}),
    (
        "0194",
        {
            "signalwire": "unreachable_destination_handset",
            "signalwire-compat": "30003",
            "telnyx": "40006",
            "twilio": "30003",
        },
    ),
]
NAMED = {api.name: api for api in APIS}
ONCE_CASES = [(ending, NAMED[name], *expected) for ending, table in AT_ONCE for name, expected in table.items()]
LATER_CASES = [(ending, NAMED[name], expected) for ending, table in LATER for name, expected in table.items()]


@pytest.mark.parametrize("area", ["202", "415"])
@pytest.mark.parametrize(
    ("ending", "api", "status", "code"), ONCE_CASES, ids=[f"{e}-{api.name}" for e, api, *_ in ONCE_CASES]
)
def test_a_magic_number_is_refused(
    ending: str, api: Api, status: int, code: str, area: str, client: httpx.Client
) -> None:
    answer = api.create(client, to=f"+1{area}555{ending}")
    assert (answer.status_code, code_of(answer.json())) == (status, code)
    assert answer.headers["x-simulator"] == SIMULATOR
    assert accepted(client) == 0


@pytest.mark.parametrize(("ending", "api", "code"), LATER_CASES, ids=[f"{e}-{api.name}" for e, api, _ in LATER_CASES])
def test_a_magic_number_fails_later(
    ending: str, api: Api, code: str, client: httpx.Client, halfway: httpx.Client
) -> None:
    created = api.create(client, to=f"+1202555{ending}")
    assert created.status_code == api.created
    message = message_of(api.get(client, id_of(message_of(created.json()))).json())
    assert status_of(message) == ("delivery_failed" if api is TELNYX else "undelivered")
    assert failure_of(message) == code
    pending = message_of(api.create(halfway, to=f"+1202555{ending}").json())
    assert failure_of(pending) is None, "nobody knows yet"
    if api is TELNYX:
        (record,) = api.list(client).json()["data"]
        assert (record["status"], record["errors"]) == ("failed", [code])


def test_with_a_messaging_service_twilio_tells_of_the_opt_out_later(client: httpx.Client) -> None:
    created = TWILIO.create(client, to="+12025550191", service=SERVICE)
    assert created.status_code == 201
    message = TWILIO.get(client, created.json()["sid"]).json()
    assert (message["status"], message["error_code"]) == ("undelivered", 21610)


RATE_CODES = {"signalwire": "rate_limit_exceeded", "signalwire-compat": "20429", "telnyx": "10011", "twilio": "20429"}


@every_api
def test_rate_limited_once_then_accepted_and_so_again(api: Api, client: httpx.Client) -> None:
    for round_ in (1, 2):
        refused = api.create(client, to="+12025550195")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert code_of(refused.json()) == RATE_CODES[api.name]
        assert api.create(client, to="+12025550195").status_code == api.created
        assert accepted(client) == round_


@every_api
def test_an_error_after_accepting_leaves_the_message(api: Api, client: httpx.Client) -> None:
    answer = api.create(client, to="+12025550197")
    assert answer.status_code == 500
    assert client.get("/sandbox/counts").json()["recipients"] == {"+12025550197": 1}
    assert len(entries_of(api.list(client).json())) == 1


@every_api
def test_silence_after_accepting_leaves_the_message(api: Api, client: httpx.Client) -> None:
    started = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        api.create(client, to="+12025550198")
    assert 0.15 < time.monotonic() - started < 5
    assert client.get("/sandbox/counts").json()["recipients"] == {"+12025550198": 1}


@pytest.mark.parametrize(
    ("api", "status", "code"),
    [(NATIVE, 422, "invalid_from_number"), (COMPAT, 422, "21210"), (TELNYX, 400, "40305"), (TWILIO, 400, "21606")],
    ids=lambda value: value.name if isinstance(value, Api) else "",
)
def test_a_magic_sender_is_not_allowed(api: Api, status: int, code: str, client: httpx.Client) -> None:
    answer = api.create(client, **{"from": "+13125550190"})
    assert (answer.status_code, code_of(answer.json())) == (status, code)
    assert accepted(client) == 0


@pytest.mark.parametrize("ending", [*range(100, 200)])
def test_numbers_of_the_table_are_valid_and_the_rest_is_ordinary(ending: int) -> None:
    number = f"+12025550{ending}"
    assert phonenumbers.is_valid_number(phonenumbers.parse(number))
    draft = Draft(message_id="m", dialect="d", account="a", to=number, from_number=FROM, body="x")
    behavior = BehaviorPicker(None).pick(draft, 0.0)
    assert (behavior.trouble is None and behavior.delivery == "plain") is (ending < 190)


def test_every_magic_row_is_tested_here() -> None:
    tested = {ending for ending, *_ in AT_ONCE + LATER} | {"0195", "0197", "0198"}
    assert set(MAGIC_NUMBERS) == tested
    assert set(MAGIC_SENDERS) == {"0190"}


@pytest.mark.parametrize("to", ["+442079460190", "+12024560190", "+447700900190"])
def test_only_the_fictional_range_is_magic(to: str) -> None:
    draft = Draft(message_id="m", dialect="d", account="a", to=to, from_number=FROM, body="x")
    assert BehaviorPicker(None).pick(draft, 0.0).trouble is None


# ── Validation ──────────────────────────────────────────────────────────────────────────────────────────────────

URL = "https://cdn.example.com/{}.png"
NINE, ELEVEN = ([URL.format(n) for n in range(count)] for count in (9, 11))
WRONG: list[tuple[Api, str, dict[str, Any], int, str]] = [
    (NATIVE, "no to", {"to": None}, 422, "missing_required_parameter"),
    (NATIVE, "blank to", {"to": ""}, 422, "missing_required_parameter"),
    (NATIVE, "to is a number", {"to": 12025550123}, 422, "not_a_string"),
    (NATIVE, "to is national", {"to": "2025550123"}, 422, "invalid_number_format"),
    (NATIVE, "no from", {"from": None}, 422, "missing_required_parameter"),
    (NATIVE, "alphanumeric from", {"from": "ACME"}, 422, "invalid_from_number"),
    (NATIVE, "no body", {"body": None}, 422, "body_or_media_required"),
    (NATIVE, "body is a number", {"body": 5}, 422, "not_a_string"),
    (NATIVE, "long body", {"body": "x" * 1601}, 422, "character_limit_exceeded"),
    (NATIVE, "nine media", {"media": NINE}, 422, "media_limit_exceeded"),
    (NATIVE, "media is text", {"media": URL}, 422, "not_an_array_of_strings"),
    (NATIVE, "media is ftp", {"media": ["ftp://cdn.example.com/a"]}, 422, "invalid_media_url"),
    (NATIVE, "unknown field", {"tags": ["a"]}, 422, "invalid_parameter"),
    (NATIVE, "send_as_mms is text", {"send_as_mms": "yes"}, 422, "not_a_boolean"),
    (NATIVE, "callback is no URL", {"callback": "example.com/hook"}, 422, "not_an_http_url"),
    (NATIVE, "callback with a space", {"callback": "https://example.com/a b"}, 422, "not_an_http_url"),
    (NATIVE, "callback with half an address", {"callback": "https://[::1"}, 422, "not_an_http_url"),
    (NATIVE, "variables are a list", {"custom_variables": ["a"]}, 422, "must_be_object"),
    (NATIVE, "21 variables", {"custom_variables": {f"v{n}": "x" for n in range(21)}}, 422, "too_many_custom_variables"),
    (NATIVE, "variable name", {"custom_variables": {"a-b": "x"}}, 422, "invalid_custom_variable_name"),
    (NATIVE, "reserved name", {"custom_variables": {"sw_a": "x"}}, 422, "reserved_custom_variable_name"),
    (NATIVE, "blank value", {"custom_variables": {"a": ""}}, 422, "invalid_custom_variable_value"),
    (NATIVE, "number value", {"custom_variables": {"a": 1}}, 422, "invalid_custom_variable_value"),
    (NATIVE, "long value", {"custom_variables": {"a": "é" * 513}}, 422, "custom_variable_value_too_long"),
    (COMPAT, "no To", {"to": None}, 422, "21604"),
    (COMPAT, "To is national", {"to": "2025550123"}, 422, "21211"),
    (COMPAT, "no sender", {"from": None}, 422, "21705"),
    (COMPAT, "alphanumeric From", {"from": "ACME"}, 422, "21212"),
    (COMPAT, "group is no UUID", {"from": None, "service": SERVICE}, 422, "21701"),
    (COMPAT, "no Body", {"body": None}, 422, "21602"),
    (COMPAT, "long Body", {"body": "x" * 1601}, 422, "21617"),
    (COMPAT, "nine media", {"media": NINE}, 422, "21623"),
    (COMPAT, "media is no URL", {"media": ["picture"]}, 422, "21620"),
    (COMPAT, "callback is no URL", {"callback": "hook"}, 422, "21402"),
    (COMPAT, "ValidityPeriod 0", {"ValidityPeriod": "0"}, 422, "21624"),
    (COMPAT, "ValidityPeriod 172801", {"ValidityPeriod": "172801"}, 422, "21624"),
    (COMPAT, "MaxPrice with 5 decimals", {"MaxPrice": "0.00001"}, 422, "90000"),
    (COMPAT, "ApplicationSid", {"ApplicationSid": "app"}, 422, "21218"),
    (COMPAT, "unknown field", {"SmartEncoded": "true"}, 422, "90000"),
    (TELNYX, "no to", {"to": None}, 422, "10004"),
    (TELNYX, "to is a number", {"to": 12025550123}, 422, "10026"),
    (TELNYX, "to is a word", {"to": "somebody"}, 400, "40310"),
    (TELNYX, "no sender", {"from": None}, 422, "10004"),
    (TELNYX, "from is punctuation", {"from": "+"}, 400, "40305"),
    (TELNYX, "long alphanumeric", {"from": "ACMECOMPANY1", "service": GROUP, "to": "+447700900123"}, 400, "40325"),
    (TELNYX, "alphanumeric without profile", {"from": "ACME", "to": "+447700900123"}, 422, "10004"),
    (TELNYX, "alphanumeric to +1", {"from": "ACME", "service": GROUP}, 400, "40301"),
    (TELNYX, "no text", {"body": None}, 400, "40316"),
    (TELNYX, "eleven parts", {"body": "x" * 1531}, 400, "40302"),
    (TELNYX, "eleven media", {"media": ELEVEN}, 400, "40317"),
    (TELNYX, "media is no URL", {"media": ["picture"]}, 400, "10003"),
    (TELNYX, "SMS with media", {"media": NINE, "type": "SMS"}, 400, "40304"),
    (TELNYX, "unknown type", {"type": "RCS"}, 422, "10032"),
    (TELNYX, "unknown encoding", {"encoding": "latin1"}, 422, "10032"),
    (TELNYX, "webhook is no URL", {"callback": "hook"}, 400, "10003"),
    (TELNYX, "send_at now", {"send_at": "2026-01-01T00:00:00Z"}, 422, "10033"),
    (TELNYX, "send_at is a word", {"send_at": "soon"}, 422, "10033"),
    (TWILIO, "no To", {"to": None}, 400, "21604"),
    (TWILIO, "To is national", {"to": "2025550123"}, 400, "21211"),
    (TWILIO, "no sender", {"from": None}, 400, "21603"),
    (TWILIO, "From is punctuation", {"from": "+"}, 400, "21212"),
    (TWILIO, "alphanumeric to +1", {"from": "ACME"}, 400, "21612"),
    (TWILIO, "service is no sid", {"from": None, "service": GROUP}, 400, "21705"),
    (TWILIO, "no Body", {"body": None}, 400, "21602"),
    (TWILIO, "long Body", {"body": "x" * 1601}, 400, "21617"),
    (TWILIO, "eleven media", {"media": ELEVEN}, 400, "21623"),
    (TWILIO, "media is no URL", {"media": ["picture"]}, 400, "21620"),
    (TWILIO, "callback is no URL", {"callback": "hook"}, 400, "21609"),
    (TWILIO, "ValidityPeriod 36001", {"ValidityPeriod": "36001"}, 400, "21624"),
    (TWILIO, "no SendAt", {"service": SERVICE, "ScheduleType": "fixed"}, 400, "35111"),
    (
        TWILIO,
        "SendAt past",
        {"service": SERVICE, "ScheduleType": "fixed", "SendAt": "2026-01-01T00:00:00Z"},
        400,
        "35114",
    ),
]


@pytest.mark.parametrize(
    ("api", "what", "values", "status", "code"), WRONG, ids=[f"{api.name}-{what}" for api, what, *_ in WRONG]
)
def test_a_wrong_request_is_refused(
    api: Api, what: str, values: dict[str, Any], status: int, code: str, client: httpx.Client
) -> None:
    answer = api.create(client, **values)
    assert (answer.status_code, code_of(answer.json())) == (status, code)
    assert accepted(client) == 0


RIGHT: list[tuple[Api, str, dict[str, Any]]] = [
    (NATIVE, "988", {"to": "988"}),
    (NATIVE, "short code", {"from": "24681"}),
    (NATIVE, "1600 characters", {"body": "x" * 1600}),
    (NATIVE, "eight media and no body", {"media": NINE[:8], "body": None}),
    (NATIVE, "send_as_mms", {"send_as_mms": True}),
    (NATIVE, "1024 bytes", {"custom_variables": {"a": "é" * 512}}),
    (
        COMPAT,
        "all optional fields",
        {"ValidityPeriod": "172800", "MaxPrice": "0.0001", "SendAsMms": "true", "ApplicationSid": GROUP},
    ),
    (COMPAT, "eight media", {"media": NINE[:8]}),
    (TELNYX, "short code recipient", {"to": "24681"}),
    (TELNYX, "alphanumeric with profile", {"from": "ACME 24", "service": GROUP, "to": "+447700900123"}),
    (TELNYX, "ten parts", {"body": "x" * 1530}),
    (TELNYX, "ten media", {"media": ELEVEN[:10], "subject": "Hello", "type": "MMS"}),
    (TELNYX, "null send_at", {"send_at": None, "encoding": "auto", "auto_detect": True, "use_profile_webhooks": False}),
    (TWILIO, "alphanumeric", {"from": "ACME", "to": "+447700900123"}),
    (TWILIO, "short code", {"from": "24681"}),
    (TWILIO, "ten media", {"media": ELEVEN[:10]}),
    (TWILIO, "content template", {"body": None, "ContentSid": "HX" + "1" * 32}),
    (TWILIO, "unknown field is ignored", {"Tags": "a"}),
    (TWILIO, "SendAt without a service is ignored", {"SendAt": "2026-01-01T00:00:00Z", "ScheduleType": "fixed"}),
]


@pytest.mark.parametrize(("api", "what", "values"), RIGHT, ids=[f"{api.name}-{what}" for api, what, _ in RIGHT])
def test_a_right_request_is_accepted(api: Api, what: str, values: dict[str, Any], client: httpx.Client) -> None:
    answer = api.create(client, **values)
    assert answer.status_code == api.created, answer.text
    assert accepted(client) == 1


def test_the_native_api_names_every_problem_at_once(client: httpx.Client) -> None:
    answer = NATIVE.post(client, {"to": "x", "body": "", "tags": 1})
    attributes = [(error["attribute"], error["type"]) for error in answer.json()["errors"]]
    kind = "validation_error"
    assert attributes == [("tags", kind), ("to", kind), ("from", kind), ("body", kind)]


@pytest.mark.parametrize(
    ("api", "content_type", "content", "status", "code"),
    [
        (NATIVE, FORM, b"to=%2B12025550123", 400, "Bad Request"),
        (NATIVE, JSON, b"{", 400, "Bad Request"),
        (NATIVE, JSON, b"[]", 400, "Bad Request"),
        (NATIVE, JSON, b"\xff", 400, "Bad Request"),
        (TELNYX, FORM, b"to=%2B12025550123", 415, "10029"),
        (TELNYX, JSON, b"{", 400, "10023"),
        (TELNYX, JSON, b"7", 400, "10023"),
        (COMPAT, JSON, b'{"To": "+12025550123"}', 422, "21604"),
        (COMPAT, FORM, b"", 422, "21604"),
        (TWILIO, JSON, b'{"To": "+12025550123"}', 400, "21604"),
        (TWILIO, FORM, b"To=%ff", 400, "21211"),
        (TWILIO, FORM, b"To=\xff", 400, "21604"),
    ],
)
def test_the_content_type_counts(
    api: Api, content_type: str, content: bytes, status: int, code: str, client: httpx.Client
) -> None:
    headers = {"Authorization": api.auth, "Content-Type": content_type}
    answer = client.post(api.creates, content=content, headers=headers)
    assert (answer.status_code, code_of(answer.json())) == (status, code)


@pytest.mark.parametrize("charset", ["", "; charset=utf-8"])
@every_api
def test_a_charset_is_no_other_content_type(api: Api, charset: str, client: httpx.Client) -> None:
    headers = {"Authorization": api.auth, "Content-Type": api.content_type.upper() + charset}
    body = api.encode(api.fields(**{"to": TO, "from": FROM, "body": "né 😀"}))
    assert client.post(api.creates, content=body, headers=headers).status_code == api.created
    assert client.get("/sandbox/messages").json()["messages"][0]["body"] == "né 😀"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/messaging/nothing", "Not Found"),
        ("DELETE", "/api/messaging/messages", "Not Found"),
        ("DELETE", COMPAT_ROOT + "/a/Media/b", "20404"),
        ("POST", f"{TWILIO_ROOT}/SM1/Feedback.json", "20404"),
        ("PUT", "/v2/messages", "10005"),
        ("DELETE", f"{TWILIO_ROOT}/SM1.json", "20404"),
        ("GET", "/favicon.ico", "not found"),
    ],
)
def test_what_is_not_simulated_is_not_found(method: str, path: str, code: str, client: httpx.Client) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, code_of(answer.json())) == (404, code)
    assert answer.headers["x-simulator"] == SIMULATOR


# ── Segments ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "encoding", "segments"),
    [
        ("", "GSM-7", 1),
        ("x" * 160, "GSM-7", 1),
        ("x" * 161, "GSM-7", 2),
        ("x" * 306, "GSM-7", 2),
        ("x" * 307, "GSM-7", 3),
        ("€" * 80, "GSM-7", 1),
        ("€" * 81, "GSM-7", 2),
        ("€" * 153, "GSM-7", 3),  # 76 in a segment: a pair is not split
        ("é" * 160, "GSM-7", 1),
        ("ç" * 70, "UCS-2", 1),
        ("ç" * 71, "UCS-2", 2),
        ("😀" * 35, "UCS-2", 1),
        ("😀" * 36, "UCS-2", 2),
        ("😀" * 67, "UCS-2", 3),  # 33 in a segment
    ],
)
def test_segments(body: str, encoding: str, segments: int) -> None:
    assert count_segments(body) == (encoding, segments)


@given(st.text(alphabet="ab €^\n\r`éçΔ’中😀🇩", min_size=1, max_size=400))
def test_segments_agree_with_the_senders_own_count(body: str) -> None:
    row = sender_measure(pl.Series([body])).row(0, named=True)
    assert count_segments(body) == (row["encoding"], row["segments"])


def test_the_documentation_is_true(pytestconfig: pytest.Config) -> None:
    """Its magic table says what is tested above, and its environment is the one the sandbox hands out."""
    text = (pytestconfig.rootpath / "docs" / "sandbox.md").read_text(encoding="utf-8")
    table = text.partition("## Magic numbers")[2].partition("depends on the **sender**")[0]
    rows = dict(re.findall(r"^\| `(01\d\d)` \| (.+) \|$", table, flags=re.MULTILINE))
    cells = {ending: [cell.strip() for cell in row.split("|")] for ending, row in rows.items()}
    assert {ending: row[0] for ending, row in cells.items()} == {
        e: behavior.about for e, behavior in MAGIC_NUMBERS.items()
    }
    documented = {e: dict(zip(NAMED, row[1:], strict=True)) for e, row in cells.items()}
    for ending, api, status, code in ONCE_CASES:
        said = f"{status} `{code}`" if re.search("[0-9_]", code) else f"{status}"
        assert documented[ending][api.name].startswith(said), (ending, api.name)
    for ending, api, code in LATER_CASES:
        assert documented[ending][api.name] == f"later `{code}`"
    for name, value in ENV.items():
        assert f"{name}={value.replace('127.0.0.1', '127.0.0.1:8025')}\n" in text
