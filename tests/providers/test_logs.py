"""Reading a provider's own log: the requests, one message, whole pages, and what must not be taken for an answer."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender import providers
from sender.core.outcomes import Reason, Status
from sender.providers.base import LogEntry, LogQuery, Response

SAMPLES = Path(__file__).parents[1] / "samples"
BASE = "http://127.0.0.1:8080"
ADAPTERS = {name: providers.sandbox_adapter(name, BASE) for name in providers.DIALECTS}
PROJECT, SID = providers.SANDBOX_PROJECT_ID, providers.SANDBOX_ACCOUNT_SID
SINCE = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
UNTIL = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
TO, FROM = "+12025550147", "+12025550101"
UUID = "c2d3e4f5-a6b7-8901-cdef-234567890abc"
TELNYX_ID = "40385f64-5717-4562-b3fc-2c963f66afa6"
SM = "SM" + "0f1e2d3c4b5a6978" * 2


def sample(name):
    recorded = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    text = recorded["text"] if "text" in recorded else json.dumps(recorded["body"])
    return Response(recorded["status"], recorded["headers"], text.encode())


def answer(status, body):
    return Response(status, {}, json.dumps(body).encode())


def at(text):
    return datetime.fromisoformat(text)


# ── Requests ──────────────────────────────────────────────────────────────────────────────────────────

LAML_COMPAT = f"/api/laml/2010-04-01/Accounts/{PROJECT}/Messages"
LAML_TWILIO = f"/2010-04-01/Accounts/{SID}/Messages"


@pytest.mark.parametrize(
    ("dialect", "message_id", "path"),
    [
        ("signalwire", UUID, f"/api/messaging/logs/{UUID}"),
        ("signalwire-compat", UUID, f"{LAML_COMPAT}/{UUID}"),
        ("telnyx", TELNYX_ID, f"/v2/messages/{TELNYX_ID}"),
        ("twilio", SM, f"{LAML_TWILIO}/{SM}.json"),
        ("twilio", "../x?y#z", f"{LAML_TWILIO}/..%2Fx%3Fy%23z.json"),
    ],
)
def test_lookup_requests(dialect, message_id, path):
    request = ADAPTERS[dialect].lookup(message_id)
    assert (request.method, request.url, request.content) == ("GET", BASE + path, b"")
    assert {name for name, _ in request.headers} == {"Authorization", "Accept"}


TELNYX_WINDOW = {
    "filter[record_type]": "messaging",
    "filter[direction]": "outbound",
    "filter[created_at][gte]": "2026-11-20",
    "filter[created_at][lt]": "2026-11-22",
    "sort": "created_at",
    "page[size]": "50",
    "page[number]": "1",
}


@pytest.mark.parametrize(
    ("dialect", "query", "path", "parameters"),
    [
        (
            "signalwire",
            LogQuery(SINCE, UNTIL, TO, FROM),
            "/api/messaging/logs",
            {
                "created_after": "2026-11-20T23:29:59Z",
                "created_before": "2026-11-21T01:00:01Z",
                "page_size": "500",
            },
        ),
        ("signalwire-compat", LogQuery(SINCE, UNTIL, TO), LAML_COMPAT, {"To": TO, "PageSize": "50"}),
        (
            "signalwire-compat",
            LogQuery(SINCE, UNTIL, TO, FROM),
            LAML_COMPAT,
            {"To": TO, "From": FROM, "PageSize": "50"},
        ),
        ("twilio", LogQuery(SINCE, UNTIL, TO), f"{LAML_TWILIO}.json", {"To": TO, "PageSize": "50"}),
        ("twilio", LogQuery(SINCE, UNTIL), f"{LAML_TWILIO}.json", {"PageSize": "50"}),
        ("telnyx", LogQuery(SINCE, UNTIL), "/v2/detail_records", TELNYX_WINDOW),
        (
            "telnyx",
            LogQuery(SINCE, UNTIL, TO, FROM),
            "/v2/detail_records",
            TELNYX_WINDOW | {"filter[cld]": TO, "filter[cli]": FROM},
        ),
    ],
)
def test_log_requests(dialect, query, path, parameters):
    request = ADAPTERS[dialect].log_request(query)
    parts = urlsplit(request.url)
    assert (request.method, parts.path) == ("GET", path)
    assert dict(parse_qsl(parts.query, strict_parsing=True)) == parameters
    assert "+" not in parts.query  # a plus sign in a query is a space


@pytest.mark.parametrize("dialect", ["signalwire", "telnyx"])
def test_a_window_in_another_zone_is_the_same_window(dialect):
    zone = timezone(timedelta(hours=-9))
    query = LogQuery(SINCE.astimezone(zone), UNTIL.astimezone(zone))
    assert ADAPTERS[dialect].log_request(query) == ADAPTERS[dialect].log_request(LogQuery(SINCE, UNTIL))


# ── One message ───────────────────────────────────────────────────────────────────────────────────────

ENTRIES = {
    "signalwire/log-entry": LogEntry(
        UUID,
        TO,
        FROM,
        None,
        at("2026-11-20T10:00:00Z"),
        Status.DELIVERED,
        "delivered",
        segments=1,
        price="0.00415",
        currency="USD",
    ),
    "signalwire-compat/message": LogEntry(
        UUID,
        TO,
        FROM,
        "Hello World!",
        at("2026-11-20T10:00:00Z"),
        Status.UNDELIVERED,
        "undelivered",
        segments=2,
        price="0.00725",
        currency="USD",
        sent_at=at("2026-11-20T10:00:04Z"),
        updated_at=at("2026-11-20T10:00:00Z"),
        reason=Reason.UNREACHABLE,
        error_code="30003",
        error_message="Unreachable destination handset",
    ),
    "telnyx/message": LogEntry(
        TELNYX_ID,
        TO,
        FROM,
        "Hello, World!",
        at("2026-11-20T10:00:00.574Z"),
        Status.UNDELIVERED,
        "delivery_failed",
        ref="r7.42",
        segments=1,
        price="0.0051",
        currency="USD",
        sent_at=at("2026-11-20T10:00:01.100Z"),
        updated_at=at("2026-11-20T10:00:03Z"),
        reason=Reason.UNREACHABLE,
        error_code="40008",
        error_message="Undeliverable: The recipient carrier did not accept the message.",
        line_type="mobile",
        carrier="T-MOBILE USA, INC.",
    ),
    "twilio/message": LogEntry(
        SM,
        TO,
        FROM,
        "Hello! 👍",
        at("2026-11-20T10:00:00Z"),
        Status.FAILED,
        "failed",
        segments=1,
        price="-0.00750",
        currency="USD",
        sent_at=at("2026-11-20T10:00:04Z"),
        updated_at=at("2026-11-20T10:00:00Z"),
        reason=Reason.LANDLINE,
        error_code="30006",
        error_message="Landline or unreachable carrier",
    ),
}


@pytest.mark.parametrize(("name", "entry"), ENTRIES.items(), ids=ENTRIES)
def test_one_message(name, entry):
    assert ADAPTERS[name.partition("/")[0]].lookup_result(sample(name)) == entry


@pytest.mark.parametrize(
    "name", ["signalwire/log-missing", "signalwire-compat/missing", "telnyx/missing", "twilio/missing"]
)
def test_the_provider_has_no_such_message(name):
    assert ADAPTERS[name.partition("/")[0]].lookup_result(sample(name)) is None


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (sample("proxy/html-404"), "is not JSON"),
        (sample("proxy/html-200"), "is not JSON"),
        (sample("proxy/html-502"), "HTTP 502"),
        (answer(401, {"error": "Unauthorized"}), "HTTP 401: Unauthorized"),
        (answer(422, {"errors": [{"code": "exceeds_history_logs_limit", "message": "Too old."}]}), "Too old"),
        (answer(200, {}), "has no message id"),
        (answer(200, []), "is not a JSON object"),
        (Response(200, {}, b'{"id": "x"}', truncated=True), "was cut off"),
        (answer(301, {}), "HTTP 301"),
    ],
)
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_what_is_no_message_and_no_absence_either(dialect, response, words):
    with pytest.raises(ValueError, match=words):
        ADAPTERS[dialect].lookup_result(response)


LOG_WORDS = [
    ("signalwire", "status", "received", None),
    ("signalwire", "status", "news", None),
    ("signalwire", "status", "sent", Status.SENT),
    ("telnyx", "status", "gw_timeout", Status.FAILED),
    ("telnyx", "status", "gw_reject", Status.FAILED),
    ("telnyx", "status", "failed", Status.UNDELIVERED),
    ("telnyx", "status", "delivered", Status.DELIVERED),
    ("telnyx", "status", "dlr_unconfirmed", Status.UNCONFIRMED),
    ("telnyx", "status", "dlr_timeout", Status.UNCONFIRMED),
    ("telnyx", "status", "received", None),
    ("twilio", "status", "receiving", None),
    ("twilio", "status", "canceled", Status.CANCELED),
]
PAGES = {
    "signalwire": "signalwire/log-page",
    "signalwire-compat": "signalwire-compat/list",
    "telnyx": "telnyx/records-1-of-2",
    "twilio": "twilio/list",
}
ROWS_KEY = {"signalwire": "data", "signalwire-compat": "messages", "telnyx": "data", "twilio": "messages"}


@pytest.mark.parametrize(("dialect", "key", "word", "status"), LOG_WORDS)
def test_words_of_the_log(dialect, key, word, status):
    page = json.loads(sample(PAGES[dialect]).content)
    page[ROWS_KEY[dialect]][0][key] = word
    page["meta"] = {"page_number": 1, "total_pages": 1}
    entry = ADAPTERS[dialect].log_page(answer(200, page)).entries[0]
    assert (entry.status, entry.provider_status) == (status, word)


# The accounts of the recorded lists
ANOTHER_PROJECT = "/api/laml/2010-04-01/Accounts/a1b2c3d4-e5f6-7890-abcd-ef1234567890/Messages"
ANOTHER_ACCOUNT = f"/2010-04-01/Accounts/AC{'0123456789abcdef' * 2}/Messages.json"

# ── Pages ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dialect", "ids", "next_url"),
    [
        (
            "signalwire",
            [UUID, "d3e4f5a6-b7c8-9012-def0-34567890abcd"],
            "/api/messaging/logs?page_number=1&page_size=500&page_token=PA6ad4c839-9329-43fe-83c6-fbe7c38583ff",
        ),
        (
            "signalwire-compat",
            [UUID],
            f"{ANOTHER_PROJECT}?Page=1&PageSize=50&PageToken=PA0a059168ead041af",
        ),
        (
            "twilio",
            [SM],
            f"{ANOTHER_ACCOUNT}?To=%2B12025550147&PageSize=50&Page=1&PageToken=PA{SM}",
        ),
    ],
)
def test_a_page_has_outbound_messages_and_the_way_to_the_next(dialect, ids, next_url):
    page = ADAPTERS[dialect].log_page(sample(PAGES[dialect]))
    assert [entry.message_id for entry in page.entries] == ids
    assert page.next is not None
    assert (page.next.method, page.next.url) == ("GET", BASE + next_url)
    assert page.next.headers == ADAPTERS[dialect].lookup("x").headers


def test_a_laml_code_in_signalwires_own_log_is_kept():
    failed = ADAPTERS["signalwire"].log_page(sample("signalwire/log-page")).entries[1]
    assert (failed.status, failed.reason, failed.error_code) == (Status.FAILED, Reason.OTHER, "21601")


def test_detail_records_carry_our_ref_and_bare_error_codes():
    adapter = ADAPTERS["telnyx"]
    first, second = adapter.log_page(
        sample("telnyx/records-1-of-2"), adapter.log_request(LogQuery(SINCE, UNTIL))
    ).entries
    assert first == LogEntry(
        TELNYX_ID,
        TO,
        FROM,
        None,
        at("2026-11-20T10:00:00Z"),
        Status.DELIVERED,
        "delivered",
        ref="r7.42",
        segments=1,
        price="0.004",
        currency="USD",
        sent_at=at("2026-11-20T10:00:01Z"),
        updated_at=at("2026-11-20T10:00:03Z"),
    )
    assert (second.ref, second.status, second.reason, second.error_code, second.price) == (
        None,
        Status.FAILED,
        Reason.INVALID_NUMBER,
        "40001",
        "0.0",
    )


def test_numbered_pages_go_on_from_their_own_request():
    adapter = ADAPTERS["telnyx"]
    first = adapter.log_request(LogQuery(SINCE, UNTIL, TO))
    second = adapter.log_page(sample("telnyx/records-1-of-2"), first).next
    assert second is not None
    before, after = (dict(parse_qsl(urlsplit(one.url).query)) for one in (first, second))
    assert after == before | {"page[number]": "2"}
    last = json.loads(sample("telnyx/records-1-of-2").content)
    last["meta"]["page_number"] = 2
    assert adapter.log_page(answer(200, last), second).next is None
    with pytest.raises(ValueError, match="the request of this one is missing"):
        adapter.log_page(sample("telnyx/records-1-of-2"))


def test_no_records_is_the_end_of_the_walk():
    page = ADAPTERS["telnyx"].log_page(sample("telnyx/records-none"))
    assert (page.entries, page.next) == ((), None)


@pytest.mark.parametrize("last", [None, ""])
@pytest.mark.parametrize(
    ("dialect", "link"), [("signalwire", "links"), ("signalwire-compat", "next_page_uri"), ("twilio", "next_page_uri")]
)  # fmt: skip
def test_the_last_page_has_no_next(dialect, link, last):
    page = json.loads(sample(PAGES[dialect]).content)
    page[link] = {"next": last} if link == "links" else last
    assert ADAPTERS[dialect].log_page(answer(200, page)).next is None


@pytest.mark.parametrize("host", ["https://evil.example", "//evil.example", "http://127.0.0.1:9"])
@pytest.mark.parametrize("dialect", ["signalwire", "signalwire-compat", "twilio"])
def test_credentials_follow_no_link_to_another_host(dialect, host):
    page = json.loads(sample(PAGES[dialect]).content)
    link = f"{host}/api/next?page=1"
    page["links" if dialect == "signalwire" else "next_page_uri"] = {"next": link} if dialect == "signalwire" else link
    request = ADAPTERS[dialect].log_page(answer(200, page)).next
    assert request is not None
    assert request.url == f"{BASE}/api/next?page=1"


@pytest.mark.parametrize("link", [7, ["/x"], "next", "?page=1", "https://[::1", "/a\u00e9", "/a?\u00e9"])
@pytest.mark.parametrize("dialect", ["signalwire", "signalwire-compat", "twilio"])
def test_a_link_that_is_none_breaks_the_walk(dialect, link):
    page = json.loads(sample(PAGES[dialect]).content)
    page["links" if dialect == "signalwire" else "next_page_uri"] = {"next": link} if dialect == "signalwire" else link
    with pytest.raises(ValueError, match=r"link|Invalid"):
        ADAPTERS[dialect].log_page(answer(200, page))


@pytest.mark.parametrize(
    "body",
    [{}, {"data": None, "messages": None}, {"data": {}, "messages": {}}, {"data": [1], "messages": [1]}, []],
)
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_a_page_that_cannot_be_read_proves_nothing(dialect, body):
    with pytest.raises(ValueError, match=r"has no list of objects|is not a JSON object"):
        ADAPTERS[dialect].log_page(answer(200, body))


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_an_entry_without_an_id_proves_nothing(dialect):
    page = json.loads(sample(PAGES[dialect]).content)
    for key in ("id", "sid", "uuid"):
        page[ROWS_KEY[dialect]][0].pop(key, None)
    with pytest.raises(ValueError, match="has no message id"):
        ADAPTERS[dialect].log_page(answer(200, page))


@pytest.mark.parametrize(
    "meta", [None, {}, {"page_number": 1}, {"total_pages": 1}, {"page_number": "x", "total_pages": 1}]
)
def test_records_that_do_not_say_how_many_pages_there_are(meta):
    page = json.loads(sample("telnyx/records-1-of-2").content) | {"meta": meta}
    with pytest.raises(ValueError, match="how many pages"):
        ADAPTERS["telnyx"].log_page(answer(200, page))


@pytest.mark.parametrize("name", ["proxy/html-200", "proxy/html-404", "proxy/html-502", "signalwire/unauthorized"])
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_an_error_is_no_page(dialect, name):
    with pytest.raises(ValueError, match=r"is not JSON|HTTP"):
        ADAPTERS[dialect].log_page(sample(name))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("https://[x"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["data", "messages", "links", "next", "next_page_uri", "meta", "page_number", "total_pages"]
            )
            | st.sampled_from(
                ["id", "sid", "uuid", "to", "cld", "status", "errors", "code", "created_at", "webhook_url"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from([200, 404, 500]), JSON)
def test_nothing_but_a_value_error_comes_of_strange_logs(dialect, status, body):
    adapter = ADAPTERS[dialect]
    for read in (adapter.lookup_result, adapter.log_page):
        try:
            result = read(answer(status, body))
        except ValueError:
            continue
        assert result is None or isinstance(result, LogEntry) or result.entries is not None


def test_the_table_of_what_each_log_can_prove_is_right() -> None:
    """docs/guarantee.md, against what the adapters say of their logs."""
    text = (Path(__file__).parents[2] / "docs" / "guarantee.md").read_text(encoding="utf-8")
    table = text.partition("## What each log can prove")[2]
    told = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in providers.DIALECTS:
            told[cells[0]] = cells[1:]
    facts = {name: adapter.log_facts for name, adapter in ADAPTERS.items()}
    assert told == {
        name: [
            "recipient" if one.filters_by_recipient else "time window",
            "sender, recipient, time" + ", body" * one.carries_body + ", our ref" * one.carries_ref,
            "never" if one.settle_s is None else f"{one.settle_s:.0f} s",
        ]
        for name, one in facts.items()
    }
    assert {one.requests_per_s for one in facts.values()} == {5.0}, "five pages a second"
