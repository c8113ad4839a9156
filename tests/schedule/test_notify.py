"""Notifications: what is posted, how it is signed, and what happens when nobody takes it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import httpx
import pytest

from sender.core.errors import CredentialsError, InputError
from sender.core.standard_webhooks import Event, Target, read_key, read_target, sign
from sender.schedule.notify import describe_run, notify

# The example of the specification's own libraries (standard-webhooks, Python, README).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = Event("run_1", "run.ended", datetime(2026, 12, 1, 9, tzinfo=UTC), {"campaign": "offer", "exit_code": 0})


def test_the_signature_is_that_of_the_specification() -> None:
    """The sample of the libraries' tests: id, timestamp, body and signature as they have them."""
    signature = sign(read_key(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), f"  {SECRET}\n"])
def test_the_secret_with_and_without_its_prefix(secret: str) -> None:
    assert read_key(secret) == base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("", "there is no secret"),
        ("whsec_", "there is no secret"),
        ("whsec_not base64!", "not base64"),
        ("aGk=", "too short"),
    ],
)
def test_what_is_no_secret(secret: str, says: str) -> None:
    with pytest.raises(CredentialsError, match=says) as failure:
        read_target("https://example.com/hook", {"SENDER_WEBHOOK_SECRET": secret})
    assert "SENDER_WEBHOOK_SECRET" in str(failure.value)
    assert "aGk" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://example.com/hook?token=1", True),
        ("http://localhost:8080/", True),
        ("http://127.0.0.1:8080/", True),
        ("http://[::1]:8080/", True),
        ("http://example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("https://user:secret@example.com/", False),
        ("ftp://example.com/", False),
        ("example.com", False),
    ],
)
def test_where_it_may_go(url: str, is_allowed: bool) -> None:
    if is_allowed:
        assert read_target(url, {"SENDER_WEBHOOK_SECRET": SECRET}).url == url
        return
    with pytest.raises(InputError) as failure:
        read_target(url, {"SENDER_WEBHOOK_SECRET": SECRET})
    assert "secret@" not in str(failure.value)


def deliver(answers: list[int | Exception]) -> tuple[str | None, list[httpx.Request], list[float]]:
    requests: list[httpx.Request] = []
    sleeps: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        result = answers[min(len(requests), len(answers)) - 1]
        if isinstance(result, Exception):
            raise result
        return httpx.Response(result)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    target = Target("https://example.com/hook?token=s3cret", read_key(SECRET))
    return notify(target, EVENT, client=client, now_s=lambda: 1800000000.0, sleep=sleeps.append), requests, sleeps


def test_what_is_posted() -> None:
    failure, [request], sleeps = deliver([204])
    assert failure is None
    assert sleeps == []
    assert request.headers["webhook-id"] == "run_1"
    assert request.headers["webhook-timestamp"] == "1800000000"
    assert request.headers["webhook-signature"] == sign(read_key(SECRET), "run_1", 1800000000, request.content)
    assert json.loads(request.content) == {
        "type": "run.ended", "timestamp": "2026-12-01T09:00:00.000+00:00", "data": {"campaign": "offer", "exit_code": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "tries", "says"),
    [
        ([500, 503, 200], 3, None),
        ([httpx.ConnectError("refused"), 200], 2, None),
        ([429, 200], 2, None),
        ([404], 1, "example.com answered 404"),
        ([302], 1, "example.com answered 302"),
        ([500], 4, "example.com answered 500"),
        ([httpx.ReadTimeout("late")], 4, "example.com: ReadTimeout"),
    ],
)
def test_it_tries_a_few_times(answers: list[int | Exception], tries: int, says: str | None) -> None:
    failure, requests, sleeps = deliver(answers)
    assert failure == says
    assert len(requests) == tries
    assert sum(sleeps) <= 60
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    assert "s3cret" not in str(failure)


def test_it_names_nobody() -> None:
    summary = {
        "run_id": "20261129-042601-b0e21732", "campaign": "for +12025550100", "kind": "live", "exit_code": 1,
        "interrupted": False, "rows": 3, "accepted": 2, "skipped": {"duplicate": 1}, "statuses": {"failed": 2, "skipped": 1},
        "errors": [{"status": "failed", "reason": "unreachable", "error_code": "30005", "example": "+12025550100 is gone", "count": 2}],
        "law": "x", "stopped": "row 3: +12025550101 ...", "taken_out": {"+12025550199": "refused"},
    }  # fmt: skip
    data = describe_run(summary)
    assert "+1202" not in json.dumps(data)
    assert data["run_id"] == summary["run_id"]
    assert data["reasons"] == [
        {"status": "skipped", "reason": "duplicate", "count": 1},
        {"status": "failed", "reason": "unreachable", "count": 2},
    ]
