"""A provider's own list of opt-outs, brought into the suppression list page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from sender import providers
from sender.core.errors import ProviderRefused, ProviderUnreachable
from sender.delivery import provider_optouts
from sender.delivery.provider_optouts import import_opt_outs
from sender.providers.base import Request, Response
from sender.suppression.suppression_list import SuppressionList
from sender.transport.base import NotSent

ADA, BOB, CAT = "+12025550101", "+12025550102", "+12025550103"
OURS = "+12025550150"
Step = list[dict[str, Any]] | Response | Exception


class Pages:
    """A transport that answers with one page after another, whichever is asked for."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.requests: list[Request] = []

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        number = len(self.requests)
        self.requests.append(request)
        step = self.steps[min(number, len(self.steps) - 1)]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Response):
            return step
        meta = {"page_number": number + 1, "total_pages": len(self.steps)}
        return Response(200, {}, orjson.dumps({"data": step, "meta": meta}))

    async def aclose(self) -> None: ...


def stop(number: str, **more: Any) -> dict[str, Any]:
    return {"from": number, "to": OURS, "keyword": "STOP", "created_at": "2026-11-01T08:00:00Z", **more}


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SuppressionList]:
    monkeypatch.setattr(provider_optouts, "_PAGE_PAUSE_S", 0)
    with SuppressionList.open(tmp_path) as opened:
        yield opened


def fetch(listed: SuppressionList, *steps: Step) -> tuple[int, int]:
    adapter = providers.sandbox_adapter("telnyx", "http://127.0.0.1:1")
    return asyncio.run(import_opt_outs(listed, adapter, Pages(*steps)))  # type: ignore[arg-type]


def test_those_of_all_pages_are_counted_and_the_new_ones_too(listed: SuppressionList) -> None:
    assert fetch(listed, [stop(ADA)]) == (1, 1)
    assert fetch(listed, [stop(BOB)], [stop(ADA)], [stop(CAT)]) == (3, 2)
    assert sorted(entry.number for entry in listed.entries()) == [ADA, BOB, CAT]


def test_each_has_the_providers_date_our_number_and_the_word(listed: SuppressionList) -> None:
    fetch(listed, [stop(ADA)])
    (entry,) = listed.why(ADA)
    assert (entry.at, entry.via, entry.note) == (datetime(2026, 11, 1, 8, tzinfo=UTC), OURS, "STOP")


def test_one_without_a_date_counts_from_now_on(listed: SuppressionList) -> None:
    begun = datetime.now(UTC)
    assert fetch(listed, [stop(ADA, created_at=None, to=None)]) == (1, 1)
    (entry,) = listed.why(ADA)
    assert abs((entry.at - begun).total_seconds()) < 60
    assert entry.via == ""


def test_what_is_not_a_number_is_left_out(listed: SuppressionList) -> None:
    assert fetch(listed, [stop("Example Ltd"), stop(""), stop(ADA)]) == (1, 1)
    assert [entry.number for entry in listed.entries()] == [ADA]


REFUSED = Response(401, {}, b'{"errors": [{"code": "10009", "title": "Authentication failed"}]}')


@pytest.mark.parametrize(
    ("trouble", "error", "said"),
    [
        pytest.param(REFUSED, ProviderRefused, "cannot be read: HTTP 401", id="refused"),
        pytest.param(Response(200, {}, b"<html>"), ProviderRefused, "cannot be read: HTTP 200", id="not a list"),
        pytest.param(NotSent("no connection"), ProviderUnreachable, "did not come: no connection", id="no answer"),
    ],
)
def test_what_was_read_before_a_failure_stays(
    listed: SuppressionList,
    trouble: Response | Exception,
    error: type[Exception],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sender.delivery.provider_log.BACKOFF_S", 0)
    with pytest.raises(error, match=said):
        fetch(listed, [stop(ADA)], trouble)
    assert [entry.number for entry in listed.entries()] == [ADA]
