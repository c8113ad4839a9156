"""The sandbox's Telnyx makes one message of requests with the same key, as its page on idempotency says."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from sender.sandbox import Faults, Options, embedded
from sender.sandbox.simulator import utc_ms
from tests import local_http

TO = "+12025550110"
BODY = f'{{"to":"{TO}","from":"+12025550100","text":"Hi"}}'
DAY_MS = 86_400_000


@pytest.fixture
def url() -> Iterator[str]:
    with embedded(Options()) as address:
        yield address


def create(url: str, key: str | None = "run:1:1", body: str = BODY, account: str = "KEY1") -> httpx.Response:
    headers = {"Authorization": f"Bearer {account}", "Content-Type": "application/json"}
    headers |= {} if key is None else {"Idempotency-Key": key}
    return local_http.post(f"{url}/v2/messages", content=body, headers=headers)


def code(response: httpx.Response) -> str:
    return str(response.json()["errors"][0]["code"])


def total(url: str) -> int:
    return int(local_http.get(f"{url}/sandbox/counts").json()["total"])


def test_the_same_request_again_is_the_same_message(url: str) -> None:
    first, again = create(url), create(url)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["data"]["id"] == again.json()["data"]["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert total(url) == 1


@pytest.mark.parametrize("other", ["{}", BODY.replace(":", ": "), BODY.replace("Hi", "Ho")])
def test_another_body_under_a_known_key_is_refused(url: str, other: str) -> None:
    create(url)
    refused = create(url, body=other)
    assert (refused.status_code, code(refused)) == (422, "10027")
    assert total(url) == 1


@pytest.mark.parametrize(
    "changed",
    [{"key": "run:1:2"}, {"key": None}, {"account": "KEY2"}],
    ids=["another key", "no key", "another account"],
)
def test_what_is_not_the_same_request_is_another_message(url: str, changed: dict[str, Any]) -> None:
    create(url)
    assert create(url, **changed).status_code == 200
    assert total(url) == 2


def test_only_successes_are_kept(url: str) -> None:
    refused = create(url, body='{"to":"+12025550190","from":"+12025550100","text":"Hi"}')
    assert (refused.status_code, code(refused)) == (400, "40310")
    assert create(url).status_code == 200
    assert total(url) == 1


def test_a_key_is_forgotten_after_a_day(url: str) -> None:
    create(url)
    with mock.patch("sender.sandbox.simulator.utc_ms", return_value=utc_ms() + DAY_MS + 1000):
        assert "idempotent-replayed" not in create(url).headers
    assert total(url) == 2


def test_a_request_in_progress_holds_its_key() -> None:
    with embedded(Options(latency_ms=700)) as url, ThreadPoolExecutor(2) as pool:
        answers = [future.result() for future in [pool.submit(create, url), pool.submit(create, url)]]
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert {code(answer) for answer in answers if answer.status_code == 409} == {"10036"}
        assert total(url) == 1


def test_keys_outlive_a_restart(tmp_path: Path) -> None:
    options = Options(state_file=tmp_path / "state.sqlite3")
    with embedded(options) as url:
        first = create(url).json()["data"]["id"]
    with embedded(options) as url:
        assert create(url).json()["data"]["id"] == first
        assert total(url) == 1


def test_an_answer_that_was_lost_is_replayed() -> None:
    with embedded(Options(faults=Faults(recipients={TO: ("500-after", "500-before")}))) as url:
        assert [create(url).status_code for _ in range(3)] == [500, 500, 200]
        assert total(url) == 1


def test_a_sandbox_without_keys_ignores_them() -> None:
    with embedded(Options(keys=False)) as url:
        assert [create(url).status_code for _ in range(2)] == [200, 200]
        assert code(create(url, body="{}")) != "10027"
        assert total(url) == 2
