"""What an answer to a create request proves: recorded answers, every row of every error table, and anything at all."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender import providers
from sender.core.outcomes import Accepted, Deferred, Reason, Rejected, Status, Unknown
from sender.providers import _answers, laml_dialects, signalwire, telnyx
from sender.providers._answers import ErrorAction
from sender.providers.base import Response

SAMPLES = Path(__file__).parents[1] / "samples"
ADAPTERS = {name: providers.sandbox_adapter(name, "http://127.0.0.1:8080") for name in providers.DIALECTS}
NOW = "Fri, 20 Nov 2026 10:00:00 GMT"


def sample(name):
    """A recorded answer: `body` is JSON, `text` is sent as it stands."""
    recorded = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    text = recorded["text"] if "text" in recorded else json.dumps(recorded["body"])
    return Response(recorded["status"], recorded["headers"], text.encode())


def answer(status, body, headers=None, *, truncated=False):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers or {}, content, truncated)


# ── Recorded answers ──────────────────────────────────────────────────────────────────────────────────

UUID = "c2d3e4f5-a6b7-8901-cdef-234567890abc"
SM = "SM" + "0f1e2d3c4b5a6978" * 2
TELNYX_ID = "40385f64-5717-4562-b3fc-2c963f66afa6"
AT = "2026-11-20T10:00:00Z"
FROM_WORDS = "From must be a valid purchased phone number."
RECORDED = {
    "signalwire/created-sms": Accepted(UUID, Status.QUEUED, "queued", segments=1, created_at=AT),
    "signalwire/created-mms": Accepted(
        UUID, Status.QUEUED, "initiated", segments=2, created_at="2026-11-20T10:00:00.250000Z"
    ),
    "signalwire/refused-sender-and-recipient": Deferred(
        Reason.SENDER_NOT_ALLOWED,
        "invalid_from_number",
        f"To is not a valid number.; {FROM_WORDS}",
        halt=True,
    ),
    "signalwire/refused-empty": Rejected(
        Reason.CONTENT, "body_or_media_required", "Body must be included if there is no Media."
    ),
    "signalwire/unauthorized": Deferred(Reason.UNAUTHORIZED, None, "Unauthorized", halt=True),
    "signalwire/throttled": Deferred(
        Reason.RATE_LIMITED,
        "rate_limit_exceeded",
        "Too Many Requests: The rate limit has been exceeded.",
        12.0,
        slow_down=True,
    ),
    "signalwire-compat/created": Accepted(UUID, Status.QUEUED, "queued", segments=1, created_at=AT),
    "signalwire-compat/refused-recipient": Rejected(
        Reason.INVALID_NUMBER, "21211", "The 'To' number provided has an invalid format"
    ),
    "signalwire-compat/refused-list": Deferred(
        Reason.UNREGISTERED, "21717", "The 'From' number must belong to an active campaign", halt=True
    ),
    "signalwire-compat/unauthorized": Deferred(Reason.UNAUTHORIZED, "20003", "Authentication failed", halt=True),
    "telnyx/created": Accepted(
        TELNYX_ID,
        Status.QUEUED,
        "queued",
        segments=1,
        price="0.0051",
        currency="USD",
        created_at="2026-11-20T10:00:00.574000Z",
        wait_s=0.5,
        line_type="mobile",
        carrier="T-MOBILE USA, INC.",
    ),
    "telnyx/created-without-cost": Accepted(
        TELNYX_ID,
        Status.QUEUED,
        "queued",
        segments=1,
        created_at="2026-11-20T10:00:00.574000Z",
        line_type="mobile",
        carrier="T-MOBILE USA, INC.",
    ),
    "telnyx/refused-recipient": Rejected(
        Reason.INVALID_NUMBER,
        "40310",
        "Invalid 'to' address: The 'to' address should be a +E.164 phone number or short code.",
    ),
    "telnyx/refused-stop": Rejected(
        Reason.OPTED_OUT,
        "40300",
        "Blocked due to STOP message: Messages cannot be sent from your number to the recipient.",
    ),
    "telnyx/refused-40300-other": Rejected(
        Reason.BLOCKED, "40300", "Invalid configuration: The request cannot be served."
    ),
    "telnyx/unauthorized": Deferred(
        Reason.UNAUTHORIZED,
        "10009",
        "Authentication failed: Could not find any usable credentials in the request.",
        halt=True,
    ),
    "telnyx/no-funds": Deferred(
        Reason.INSUFFICIENT_FUNDS, "20100", "Insufficient Funds: The account has no funds left.", halt=True
    ),
    "telnyx/throttled": Deferred(
        Reason.RATE_LIMITED,
        "10011",
        "Too many requests: You have exceeded the maximum number of allowed requests.",
        7.0,
        slow_down=True,
    ),
    "twilio/created": Accepted(SM, Status.QUEUED, "queued", segments=1, created_at=AT),
    "twilio/created-by-service": Accepted(SM, Status.QUEUED, "accepted", created_at=AT),
    "twilio/refused-stop": Rejected(Reason.OPTED_OUT, "21610", "Attempt to send to unsubscribed recipient"),
    "twilio/throttled": Deferred(Reason.RATE_LIMITED, "20429", "Too Many Requests", slow_down=True),
    "twilio/unauthorized": Deferred(Reason.UNAUTHORIZED, "20003", "Authenticate", halt=True),
}


@pytest.mark.parametrize(("name", "outcome"), RECORDED.items(), ids=RECORDED)
def test_recorded_answers(name, outcome):
    assert ADAPTERS[name.partition("/")[0]].outcome(sample(name)) == outcome


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "proxy/html-200",
            "HTTP 200, but the answer is not JSON: <html><body>Please sign in</body></html>",
        ),
        ("proxy/html-502", "HTTP 502: <html> <head><title>502 Bad Gateway</title></head> </html>"),
    ],
)
def test_a_proxys_page_proves_nothing(dialect, name, words):
    assert ADAPTERS[dialect].outcome(sample(name)) == Unknown(words)


# ── Every row of the error tables ─────────────────────────────────────────────────────────────────────


def signalwire_error(code):
    return {"errors": [{"type": "validation_error", "code": code, "message": "words", "url": "https://x.example"}]}


def laml_error(code):
    return {"code": int(code), "message": "words", "more_info": "https://x.example", "status": 400}


def telnyx_error(code):
    return {"errors": [{"code": code, "title": "words", "detail": "blocked by STOP"}]}


TABLES = {
    "signalwire": (signalwire.ERRORS, signalwire_error, 422, "words"),
    "signalwire-compat": (laml_dialects.COMPAT_ERRORS, laml_error, 400, "words"),
    "telnyx": (telnyx.ERRORS, telnyx_error, 400, "words: blocked by STOP"),
    "twilio": (laml_dialects.TWILIO_ERRORS, laml_error, 400, "words"),
}

# The rows of the providers' lists, written again by hand: what each code must mean at create time.
REJECT, HALT, SLOW, RETRY, DOUBT = (
    ErrorAction.REJECT,
    ErrorAction.HALT,
    ErrorAction.SLOW,
    ErrorAction.RETRY,
    ErrorAction.DOUBT,
)
R = Reason
MEANINGS = {
    "signalwire": [
        (REJECT, R.INVALID_NUMBER, "invalid_to_number"),
        (REJECT, R.INVALID_NUMBER, "invalid_destination_number"),
        (REJECT, R.INVALID_NUMBER, "invalid_number_format"),
        (REJECT, R.INVALID_NUMBER, "not_e164"),
        (REJECT, R.INVALID_NUMBER, "not_routable"),
        (REJECT, R.INVALID_NUMBER, "not_routeable"),
        (REJECT, R.INVALID_NUMBER, "unrouteable_message"),
        (REJECT, R.INVALID_NUMBER, "destination_number_not_supported"),
        (REJECT, R.INVALID_NUMBER, "number_not_supported"),
        (REJECT, R.INVALID_NUMBER, "unknown_destination_handset"),
        (REJECT, R.OPTED_OUT, "message_blocked_by_number"),
        (REJECT, R.BLOCKED, "message_blocked_by_carrier"),
        (REJECT, R.OPTED_OUT, "number_blacklisted"),
        (REJECT, R.CONTENT, "body_or_media_required"),
        (REJECT, R.CONTENT, "character_limit_exceeded"),
        (REJECT, R.CONTENT, "message_length_exceeds_limit"),
        (REJECT, R.CONTENT, "media_limit_exceeded"),
        (REJECT, R.CONTENT, "invalid_media_url"),
        (REJECT, R.CONTENT, "not_an_http_url"),
        (REJECT, R.CONTENT, "unsupported_media_type"),
        (REJECT, R.CONTENT, "media_exceeds_size_limit"),
        (REJECT, R.FILTERED, "message_filtered"),
        (REJECT, R.FILTERED, "carrier_violation"),
        (RETRY, R.CONTENT, "media_connection_timeout"),
        (RETRY, R.CONTENT, "media_download_failed"),
        (RETRY, R.CONTENT, "media_request_failed"),
        (RETRY, R.CONTENT, "media_processing_failed"),
        (HALT, R.SENDER_NOT_ALLOWED, "invalid_from_number"),
        (HALT, R.SENDER_NOT_ALLOWED, "verified_caller_id_not_permitted"),
        (HALT, R.SENDER_NOT_ALLOWED, "missing_messaging_capability"),
        (HALT, R.UNREGISTERED, "inactive_campaign"),
        (HALT, R.UNREGISTERED, "associated_campaign_inactive"),
        (HALT, R.UNREGISTERED, "associated_campaign_suspended"),
        (HALT, R.SENDER_NOT_ALLOWED, "sending_disabled_for_space"),
        (HALT, R.SENDER_NOT_ALLOWED, "sending_restricted_to_verified"),
        (HALT, R.SENDER_NOT_ALLOWED, "integration_test_verified_caller_required"),
        (HALT, R.INSUFFICIENT_FUNDS, "insufficient_balance"),
        (HALT, R.INSUFFICIENT_FUNDS, "insufficient_balance_to_send_message"),
        (HALT, R.UNAUTHORIZED, "feature_not_available"),
        (HALT, R.DAILY_CAP, "tmobile_daily_limit_reached"),
        (HALT, R.DAILY_CAP, "sole_proprietor_daily_limit_exceeded"),
        (HALT, R.DAILY_CAP, "pft_daily_limit_exceeded"),
        (SLOW, R.RATE_LIMITED, "rate_limit_exceeded"),
        (SLOW, R.RATE_LIMITED, "message_backlog_limit_exceeded"),
        (SLOW, R.RATE_LIMITED, "max_queued_messages_exceeded"),
        (SLOW, R.RATE_LIMITED, "campaign_throughput_exceeded"),
        (REJECT, R.UNREACHABLE, "unreachable_destination_handset"),
        (REJECT, R.UNREACHABLE, "unable_to_deliver_to_carrier"),
        (REJECT, R.UNREACHABLE, "rejected_by_receiving_carrier_for_unspecified_reason"),
        (DOUBT, R.OTHER, "unknown_error"),
        (DOUBT, R.OTHER, "internal_error_occurred"),
        (REJECT, R.EXPIRED, "message_validity_period_expired_at_carrier"),
        (REJECT, R.CONTENT, "media_size_exceeds_limit"),
        (REJECT, R.CONTENT, "invalid_media_type"),
        (REJECT, R.CONTENT, "media_url_required"),
        (REJECT, R.CONTENT, "message_body_required"),
        (REJECT, R.CONTENT, "invalid_message_body"),
        (REJECT, R.CONTENT, "mms_expired_rejected_failed_or_unsupported"),
        (HALT, R.SENDER_NOT_ALLOWED, "number_not_verified"),
        (HALT, R.UNREGISTERED, "campaign_not_active"),
    ],
    "signalwire-compat": [
        (REJECT, R.INVALID_NUMBER, "21211 21217 21603 21604 21614 30005 30006"),
        (REJECT, R.LANDLINE, "21606"),
        (REJECT, R.OPTED_OUT, "21610"),
        (REJECT, R.BLOCKED, "30004"),
        (REJECT, R.CONTENT, "21602 21617 21612 21620 21623 11751 12300"),
        (REJECT, R.CONTENT, "30011 30012 53603 63019"),
        (REJECT, R.FILTERED, "30007"),
        (HALT, R.OTHER, "21624"),
        (HALT, R.OTHER, "21218"),
        (HALT, R.OTHER, "21402 21456"),
        (HALT, R.OTHER, "20404"),
        (REJECT, R.OTHER, "90000"),
        (HALT, R.SENDER_NOT_ALLOWED, "21210 21212 21601 21705 21701 21703"),
        (HALT, R.UNREGISTERED, "21717"),
        (HALT, R.SENDER_NOT_ALLOWED, "21219"),
        (HALT, R.UNAUTHORIZED, "20003"),
        (HALT, R.UNAUTHORIZED, "20010"),
        (HALT, R.INSUFFICIENT_FUNDS, "30002"),
        (HALT, R.INSUFFICIENT_FUNDS, "4001"),
        (REJECT, R.OTHER, "30010"),
        (HALT, R.DAILY_CAP, "30027"),
        (HALT, R.DAILY_CAP, "35125"),
        (SLOW, R.RATE_LIMITED, "20429 21611 30022"),
        (REJECT, R.EXPIRED, "30001"),
        (REJECT, R.EXPIRED, "30009"),
        (REJECT, R.UNREACHABLE, "30003"),
        (REJECT, R.OTHER, "30008"),
        (REJECT, R.UNREACHABLE, "63011"),
        (DOUBT, R.OTHER, "20001 20504 31003"),
    ],
    "telnyx": [
        (REJECT, R.INVALID_NUMBER, "40001 40012 40310 40301 40319 10002 10016"),
        (REJECT, R.OPTED_OUT, "40300"),
        (REJECT, R.CONTENT, "40302 40304 40316 40317 40322 40328 40009"),
        (REJECT, R.FILTERED, "40015 40002 40017"),
        (HALT, R.FILTERED, "40003"),
        (HALT, R.SENDER_NOT_ALLOWED, "40013 40100 40305 40306 40307 40308 40312"),
        (HALT, R.SENDER_NOT_ALLOWED, "40315 40321 40325 40331 40320"),
        (REJECT, R.SENDER_NOT_ALLOWED, "40309"),
        (HALT, R.UNREGISTERED, "40329 40330 40010 40019"),
        (HALT, R.DAILY_CAP, "40016"),
        (SLOW, R.RATE_LIMITED, "40018"),
        (HALT, R.UNAUTHORIZED, "10009 10010 20001 20002 20003 20006 20008"),
        (HALT, R.INSUFFICIENT_FUNDS, "20012 20013 20014 20015 20016 20100 40333"),
        (HALT, R.UNAUTHORIZED, "40314 10038 10039"),
        (HALT, R.UNAUTHORIZED, "40311 40313"),
        (SLOW, R.RATE_LIMITED, "10011 40318 40011"),
        (REJECT, R.UNREACHABLE, "40004"),
        (REJECT, R.EXPIRED, "40005"),
        (RETRY, R.UNREACHABLE, "40006"),
        (RETRY, R.UNREACHABLE, "40008"),
        (REJECT, R.EXPIRED, "40014"),
        (HALT, R.BLOCKED, "40020"),
        (DOUBT, R.OTHER, "10007 10008 10037 10027 10036"),
    ],
    "twilio": [
        (REJECT, R.INVALID_NUMBER, "21211 21614 21265 21266 30005"),
        (REJECT, R.LANDLINE, "21635"),
        (REJECT, R.LANDLINE, "30006"),
        (REJECT, R.OPTED_OUT, "21610"),
        (REJECT, R.BLOCKED, "30004"),
        (REJECT, R.FILTERED, "30007"),
        (REJECT, R.CONTENT, "21602 21617 21620 21623 30011 12300"),
        (HALT, R.SENDER_NOT_ALLOWED, "21212 21606 21659 21660 21661 21703 21705"),
        (REJECT, R.SENDER_NOT_ALLOWED, "21612"),
        (REJECT, R.SENDER_NOT_ALLOWED, "21408"),
        (REJECT, R.CONTENT, "21656"),
        (HALT, R.CONTENT, "21654 21655 92005"),
        (HALT, R.SENDER_NOT_ALLOWED, "21601"),
        (HALT, R.SENDER_NOT_ALLOWED, "21701 21702 21704 21709"),
        (HALT, R.OTHER, "35111 35114 35115 35117 35118"),
        (HALT, R.OTHER, "21609 21624"),
        (HALT, R.OTHER, "20404"),
        (HALT, R.UNREGISTERED, "30034"),
        (HALT, R.UNREGISTERED, "30032"),
        (HALT, R.UNAUTHORIZED, "20003"),
        (HALT, R.UNAUTHORIZED, "10001"),
        (HALT, R.UNAUTHORIZED, "21608"),
        (HALT, R.UNAUTHORIZED, "20005"),
        (HALT, R.UNAUTHORIZED, "90010"),
        (HALT, R.INSUFFICIENT_FUNDS, "30002"),
        (HALT, R.DAILY_CAP, "63038"),
        (HALT, R.RATE_LIMITED, "35125"),
        (SLOW, R.RATE_LIMITED, "20429 21611 30001 63017"),
        (RETRY, R.RATE_LIMITED, "14107"),
        (REJECT, R.QUIET_HOURS, "30610"),
        (REJECT, R.QUIET_HOURS, "30615"),
        (RETRY, R.OTHER, "30047"),
        (RETRY, R.OTHER, "21730"),
        (DOUBT, R.OTHER, "20500 20503 30020 30021 30500"),
        (REJECT, R.UNREACHABLE, "30003"),
        (REJECT, R.OTHER, "30008"),
        (REJECT, R.EXPIRED, "30036"),
    ],
}
ROWS = [
    (dialect, act, reason, code)
    for dialect, rows in MEANINGS.items()
    for act, reason, codes in rows
    for code in codes.split()
]


@pytest.mark.parametrize(
    ("dialect", "act", "reason", "code"), ROWS, ids=[f"{dialect}-{code}" for dialect, _, _, code in ROWS]
)
def test_every_error_code(dialect, act, reason, code):
    _, body, status, words = TABLES[dialect]
    outcome = ADAPTERS[dialect].outcome(answer(status, body(code), {"retry-after": "9"}))
    expected = {
        REJECT: Rejected(reason, code, words),
        HALT: Deferred(reason, code, words, 9.0, halt=True),
        SLOW: Deferred(reason, code, words, 9.0, slow_down=True),
        RETRY: Deferred(reason, code, words, 9.0),
        DOUBT: Unknown(f"HTTP {status}: {words}", code),
    }
    assert outcome == expected[act]


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_no_code_of_a_table_is_left_out_above(dialect):
    assert {code for name, _, _, code in ROWS if name == dialect} == set(TABLES[dialect][0])


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("The URL is not valid", Deferred(R.OTHER, "21402", "The URL is not valid", halt=True)),
        ("StatusCallback is not a URL", Deferred(R.OTHER, "21402", "StatusCallback is not a URL", halt=True)),
        ("The URL of the MediaUrl is not valid", Rejected(R.CONTENT, "21402", "The URL of the MediaUrl is not valid")),
        ("media is not fully qualified", Rejected(R.CONTENT, "21402", "media is not fully qualified")),
    ],
)
def test_a_bad_url_at_compatibility_is_the_callback_s_unless_it_is_a_medium(words, outcome):
    body = {**laml_error("21402"), "message": words}
    assert ADAPTERS["signalwire-compat"].outcome(answer(422, body)) == outcome


LATER = [
    # what a status callback's code says about a message that was accepted
    ("30047", R.OTHER),
    ("30500", R.OTHER),
    ("30610", R.QUIET_HOURS),
    ("30615", R.QUIET_HOURS),
    ("14107", R.RATE_LIMITED),
    ("21655", R.CONTENT),
    ("63038", R.DAILY_CAP),
]


@pytest.mark.parametrize(("code", "reason"), LATER)
def test_a_code_that_comes_after_acceptance_has_its_reason_too(code, reason):
    body = f"MessageSid={SM}&MessageStatus=failed&ErrorCode={code}".encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    [report] = providers.reports("twilio", headers, body, "https://hooks.example.com/status/twilio")
    assert (report.status, report.reason, report.error_code) == (Status.FAILED, reason, code)


def test_a_code_stands_once_in_a_table():
    with pytest.raises(ValueError, match="21610 is listed twice"):
        _answers.error_table([(ErrorAction.REJECT, R.OPTED_OUT, "21610"), (ErrorAction.HALT, R.OTHER, "1 21610")])


# ── The status, where no code is known ────────────────────────────────────────────────────────────────

HALTED = {401: R.UNAUTHORIZED, 402: R.INSUFFICIENT_FUNDS, 403: R.UNAUTHORIZED, 404: R.OTHER, 405: R.OTHER}


PROVE_NOTHING = {407, 408, 409, 421, 425, 499}  # whoever writes them


# One test for each hundred of statuses: one for each status would be more than a quarter of all tests.
HUNDREDS = [pytest.param(range(first, first + 100), id=f"{first // 100}xx") for first in range(100, 600, 100)]


def proof(outcome):
    """What an answer without a known code proves."""
    match outcome:
        case Deferred():
            return Deferred, outcome.reason, outcome.slow_down, outcome.halt
        case Rejected():
            return Rejected, outcome.reason
        case Unknown():
            return Unknown, outcome.undocumented
    return type(outcome)


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@pytest.mark.parametrize("statuses", HUNDREDS)
def test_every_status_with_the_providers_own_document_and_no_known_code(dialect, statuses):
    def expected(status):
        if status == 429:
            return Deferred, R.RATE_LIMITED, True, False
        if status in HALTED:
            return Deferred, HALTED[status], False, True
        if 400 <= status < 500 and status not in PROVE_NOTHING:
            return Rejected, R.OTHER
        return Unknown, 300 <= status < 400

    document = TABLES[dialect][1]("99999")
    proofs = {status: proof(ADAPTERS[dialect].outcome(answer(status, document))) for status in statuses}
    assert proofs == {status: expected(status) for status in statuses}


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@pytest.mark.parametrize("statuses", HUNDREDS)
def test_every_status_with_a_document_of_somebody_else(dialect, statuses):
    def expected(status):
        if status == 429:
            return Deferred, R.RATE_LIMITED, True, False
        return Unknown, 300 <= status < 500

    proofs = {status: proof(ADAPTERS[dialect].outcome(answer(status, {"strange": True}))) for status in statuses}
    assert proofs == {status: expected(status) for status in statuses}


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@pytest.mark.parametrize(
    ("status", "kind"), [(400, Rejected), (422, Rejected), (401, Deferred), (429, Deferred), (500, Unknown)]
)
def test_a_code_we_do_not_know_falls_back_to_the_status(dialect, status, kind):
    outcome = ADAPTERS[dialect].outcome(answer(status, TABLES[dialect][1]("99999")))
    assert isinstance(outcome, kind)
    assert outcome.error_code == "99999"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize(
    ("dialect", "code"), [("signalwire", "rate_limit_exceeded"), ("telnyx", "40318"), ("twilio", "20429")]
)
def test_no_code_makes_a_5xx_a_proof(status, dialect, code):
    outcome = ADAPTERS[dialect].outcome(answer(status, TABLES[dialect][1](code), {"retry-after": "1"}))
    assert isinstance(outcome, Unknown)
    assert outcome.error_code == code
    assert outcome.error_message.startswith(f"HTTP {status}: words")


MIXED = [
    # dialect, status, codes, the code that decides, the outcome's kind and its flags (slow_down, halt)
    ("telnyx", 403, ["40300"], "40300", Rejected, None),  # one person's STOP does not stop the run
    ("telnyx", 429, ["40310"], "40310", Deferred, (True, False)),  # 429 means that nothing was done
    ("twilio", 429, ["63038"], "63038", Deferred, (False, True)),  # a day's messages: no lower rate helps
    ("twilio", 429, ["14107"], "14107", Deferred, (True, False)),
    ("twilio", 429, ["35125"], "35125", Deferred, (False, True)),
    ("signalwire", 429, ["tmobile_daily_limit_reached"], "tmobile_daily_limit_reached", Deferred, (False, True)),
    ("signalwire", 422, ["rate_limit_exceeded", "invalid_to_number"], "invalid_to_number", Rejected, None),
    ("signalwire", 422, ["media_download_failed", "rate_limit_exceeded"], "rate_limit_exceeded", Deferred, (True, False)),
    ("signalwire", 422, ["invalid_to_number", "insufficient_balance"], "insufficient_balance", Deferred, (False, True)),
    ("signalwire", 422, ["insufficient_balance", "internal_error_occurred"], "internal_error_occurred", Unknown, None),
    ("signalwire", 422, ["news_to_us", "invalid_to_number"], "invalid_to_number", Rejected, None),
    ("telnyx", 408, ["10008"], "10008", Unknown, None),
    ("telnyx", 400, ["10007"], "10007", Unknown, None),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "status", "codes", "decides", "kind", "flags"), MIXED)
def test_the_gravest_code_decides(dialect, status, codes, decides, kind, flags):
    bodies = [TABLES[dialect][1](code) for code in codes]
    body = {"errors": [entry for body in bodies for entry in body.get("errors", [body])]}
    outcome = ADAPTERS[dialect].outcome(answer(status, body))
    assert isinstance(outcome, kind)
    assert outcome.error_code == decides
    if flags:
        assert (outcome.slow_down, outcome.halt) == flags


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"error": "Unauthorized"}, None, "Unauthorized"),
        ({"error": {"code": "x1", "message": "No."}}, "x1", "No."),
        ({"errors": ["one", "two", "one"]}, None, "one; two"),
        ({"errors": [{"code": 7, "title": "T", "detail": "D"}]}, "7", "T: D"),
        ({"errors": [{"code": "7", "title": "T", "detail": "T"}]}, "7", "T"),
        ({"errors": {"to": ["is wrong"]}}, None, '{"errors": {"to": ["is wrong"]}}'),
        ({"code": 20404, "message": "gone", "status": 404}, "20404", "gone"),
        ({"code": True, "message": ["x"]}, None, '{"code": true, "message": ["x"]}'),
        ({"errors": []}, None, '{"errors": []}'),
        ([], None, "[]"),
        (b"", None, "Bad Request"),
        (b"plain words\n", None, "plain words"),
        (b"\xff\xfe<", None, "��<"),
        ({"message": "a\nb\tc  d"}, None, "a b c d"),
        ({"message": "half \ud83d"}, None, "half ?"),
        ({"message": "x" * 600}, None, "x" * 499 + "…"),
    ],
)
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_the_providers_words_are_kept(dialect, body, code, words):
    outcome = ADAPTERS[dialect].outcome(answer(400, body))
    said = f"HTTP 400: {words}" if isinstance(outcome, Unknown) else words  # the first may be anybody's words
    assert (outcome.error_code, outcome.error_message) == (code, said if len(said) <= 500 else f"{said[:499]}…")


# ── Success that cannot be read ───────────────────────────────────────────────────────────────────────

CREATED = {"signalwire": "created-sms", "signalwire-compat": "created", "telnyx": "created", "twilio": "created"}


@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_a_cut_off_success_proves_nothing(dialect):
    whole = sample(f"{dialect}/{CREATED[dialect]}")
    for length in range(0, len(whole.content), 7):
        assert isinstance(ADAPTERS[dialect].outcome(Response(201, {}, whole.content[:length])), Unknown)
    cut = ADAPTERS[dialect].outcome(Response(201, {}, whole.content, truncated=True))
    assert isinstance(cut, Unknown)
    assert "was cut off" in cut.error_message


@pytest.mark.parametrize("identity", [None, "", " ", 7, True, [], {}, "two words", "é", "x" * 201, "a\n"])
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_a_success_without_an_id_proves_nothing(dialect, identity):
    body = json.loads(sample(f"{dialect}/{CREATED[dialect]}").content)
    holder, key = (body["data"], "id") if dialect == "telnyx" else (body, "sid" if "sid" in body else "id")
    holder[key] = identity
    outcome = ADAPTERS[dialect].outcome(answer(201, body))
    assert isinstance(outcome, Unknown)
    assert "has no message id" in outcome.error_message
    del holder[key]
    assert isinstance(ADAPTERS[dialect].outcome(answer(201, body)), Unknown)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b'"x"', b"{}", b'{"data":[]}', b'{"id":NaN}', b"[" * 100_000, b'{"id":"\xff"}', b"\xef\xbb\xbf{"],
)  # fmt: skip
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_other_unreadable_successes(dialect, content):
    assert isinstance(ADAPTERS[dialect].outcome(answer(200, content)), Unknown)


# ── The details of an acceptance ──────────────────────────────────────────────────────────────────────

WORDS = {
    "signalwire": {
        "queued": Status.QUEUED,
        "initiated": Status.QUEUED,
        "sent": Status.SENT,
        "delivered": Status.DELIVERED,
        "read": Status.DELIVERED,
        "undelivered": Status.UNDELIVERED,
        "failed": Status.FAILED,
        "news": Status.QUEUED,
    },
    "twilio": {
        "accepted": Status.QUEUED,
        "scheduled": Status.QUEUED,
        "queued": Status.QUEUED,
        "initiated": Status.QUEUED,
        "sending": Status.QUEUED,
        "sent": Status.SENT,
        "delivered": Status.DELIVERED,
        "read": Status.DELIVERED,
        "partially_delivered": Status.UNDELIVERED,
        "undelivered": Status.UNDELIVERED,
        "failed": Status.FAILED,
        "canceled": Status.CANCELED,
        "news": Status.QUEUED,
    },
    "telnyx": {
        "scheduled": Status.QUEUED,
        "queued": Status.QUEUED,
        "sending": Status.QUEUED,
        "sent": Status.SENT,
        "delivered": Status.DELIVERED,
        "sending_failed": Status.FAILED,
        "expired": Status.FAILED,
        "delivery_failed": Status.UNDELIVERED,
        "delivery_unconfirmed": Status.UNCONFIRMED,
        "cancelled": Status.CANCELED,
        "news": Status.QUEUED,
    },
}
WORDS["signalwire-compat"] = WORDS["twilio"]
STATUS_ROWS = [(dialect, word, status) for dialect, words in WORDS.items() for word, status in words.items()]


@pytest.mark.parametrize(("dialect", "word", "status"), STATUS_ROWS)
def test_the_providers_word_becomes_our_status_and_is_kept(dialect, word, status):
    body = json.loads(sample(f"{dialect}/{CREATED[dialect]}").content)
    (body["data"]["to"][0] if dialect == "telnyx" else body)["status"] = word
    outcome = ADAPTERS[dialect].outcome(answer(201, body))
    assert (outcome.status, outcome.provider_status) == (status, word)


@pytest.mark.parametrize(
    ("value", "segments"),
    [(3, 3), ("3", 3), (0, None), ("0", None), (None, None), ("x", None), (-1, None), (True, None), (10**12, None)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("dialect", "key"),
    [("signalwire", "number_of_segments"), ("twilio", "num_segments"), ("signalwire-compat", "num_segments"), ("telnyx", "parts")],
)  # fmt: skip
def test_segments_as_number_or_digits(dialect, key, value, segments):
    body = json.loads(sample(f"{dialect}/{CREATED[dialect]}").content)
    (body["data"] if dialect == "telnyx" else body)[key] = value
    assert ADAPTERS[dialect].outcome(answer(201, body)).segments == segments


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ('"-0.00750"', "-0.00750"),
        ("0.005", "0.005"),
        ("0.0050", "0.0050"),
        ("5e-3", "0.005"),
        ("0", "0"),
        ("1", "1"),
        ('"free"', None),
        ('"NaN"', None),
        ("1e999999", None),
        ("null", None),
        ("true", None),
    ],
)
def test_a_price_keeps_its_digits_and_sign(written, price):
    body = f'{{"sid": "SM1", "price": {written}, "price_unit": "usd"}}'.encode()
    outcome = ADAPTERS["twilio"].outcome(answer(201, body))
    assert (outcome.price, outcome.currency) == (price, "USD" if price else None)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),
        ("2026-11-20T05:00:00-05:00", "2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00:00", "2026-11-20T10:00:00Z"),
        ("Fri, 20 Nov 2026 10:00:00 +0000", "2026-11-20T10:00:00Z"),
        ("Fri, 20 Nov 2026 10:00:00 -0000", "2026-11-20T10:00:00Z"),
        ("Fri, 20 Nov 2026 05:00:00 -0500", "2026-11-20T10:00:00Z"),
        ("yesterday", None),
        ("", None),
        (1_795_168_800, None),
        (None, None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
@pytest.mark.parametrize(("dialect", "key"), [("signalwire", "created_at"), ("twilio", "date_created")])
def test_times_become_utc(dialect, key, written, read):
    body = json.loads(sample(f"{dialect}/{CREATED[dialect]}").content) | {key: written}
    assert ADAPTERS[dialect].outcome(answer(201, body)).created_at == read


@pytest.mark.parametrize(
    ("written", "wait_s"), [("2.5", 2.5), ("3", 3.0), ("0.0", 0.0), ("-1", None), ("1e999", None), ("1" * 400, None), ('"2"', None), ("true", None)]
)  # fmt: skip
def test_the_wait_telnyx_expects(written, wait_s):
    body = f'{{"data": {{"id": "x", "wait_seconds": {written}}}}}'.encode()
    assert ADAPTERS["telnyx"].outcome(answer(200, body)).wait_s == wait_s


def test_an_acceptance_may_carry_an_error():
    body = {"sid": "SM1", "status": "failed", "error_code": 30034, "error_message": "Unregistered number"}
    assert ADAPTERS["twilio"].outcome(answer(201, body)) == Accepted(
        "SM1", Status.FAILED, "failed", reason=R.UNREGISTERED, error_code="30034", error_message="Unregistered number"
    )


# ── Retry-After ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "86400"}, 3600.0),
        ({"retry-after": "9" * 5000}, 3600.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": NOW}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 09:00:00 GMT", "date": NOW}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:00 GMT", "date": NOW}, 3600.0),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT"}, None),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": "garbage"}, None),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": "1795168812", "date": NOW}, 12.0),
        ({"x-ratelimit-reset": "1795160000", "date": NOW}, 0.0),
        ({"x-ratelimit-reset": "1795168812"}, None),
        ({"retry-after": "3", "x-ratelimit-reset": "12"}, 3.0),
        ({"retry-after": "garbage", "x-ratelimit-reset": "12"}, 12.0),
    ],
)
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_retry_after(dialect, headers, wait_s):
    outcome = ADAPTERS[dialect].outcome(answer(429, b"", headers))
    assert outcome == Deferred(R.RATE_LIMITED, None, "Too Many Requests", wait_s, slow_down=True)


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({}, None),
        ({"x-ratelimit-remaining": "17", "x-ratelimit-reset": "12"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795168812", "date": NOW}, 12.0),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-remaining": "none", "x-ratelimit-reset": "12"}, None),
    ],
)
@pytest.mark.parametrize("dialect", providers.DIALECTS)
def test_a_success_that_uses_up_the_rate_limit_says_until_when(dialect, headers, pause_s):
    whole = sample(f"{dialect}/{CREATED[dialect]}")
    outcome = ADAPTERS[dialect].outcome(Response(201, headers, whole.content))
    assert isinstance(outcome, Accepted)
    assert outcome.pause_s == pause_s


# ── Anything at all ───────────────────────────────────────────────────────────────────────────────────

KEYS = """data id sid errors error code message title detail to status price cost amount currency parts
wait_seconds created_at date_created num_segments error_code error_message direction"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS.split()),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
CONTENT = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "x-ratelimit-reset", "date", "content-type"]),
    st.text(max_size=30) | st.integers().map(str) | st.sampled_from([NOW, "Fri, 99 Nov 2026 10:00:30 GMT"]),
)


@pytest.mark.parametrize("dialect", providers.DIALECTS)
@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(100, 599) | st.sampled_from([200, 201, 400, 422, 429]), HEADERS, CONTENT, st.booleans())
def test_no_answer_breaks_an_adapter(dialect, status, headers, content, truncated):
    outcome = ADAPTERS[dialect].outcome(Response(status, headers, content, truncated))
    assert isinstance(outcome, Accepted | Rejected | Deferred | Unknown)
    if isinstance(outcome, Accepted):
        assert 200 <= status < 300
        assert not truncated
        assert outcome.message_id
        assert (
            outcome.message_id in json.loads(content).values()
            or outcome.message_id in json.loads(content)["data"].values()
        )
    if isinstance(outcome, Rejected | Deferred):
        assert 400 <= status < 500
    if isinstance(outcome, Deferred) and outcome.retry_after_s is not None:
        assert 0 <= outcome.retry_after_s <= 3600
    for text in (outcome.error_message, outcome.error_code):
        assert text is None or (len(text) <= 500 and text.encode())
