"""Looking numbers up: each once, within the budget and the rate, and kept whatever breaks."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from sender import providers, sandbox
from sender.core.errors import StateError
from sender.delivery.number_lookups import LookupResult, LookupTerms, look_up_numbers
from sender.providers.lookups import number_lookups
from sender.state.sqlite.number_facts import NumberFactsFile
from sender.transport.httpx_transport import HttpxTransport
from tests import virtual_time

NUMBERS = [f"+120255501{n:02}" for n in range(30)]
TERMS = LookupTerms(1000, Decimal("0.01"), "USD")
ONE_BY_ONE = LookupTerms(1, Decimal("0.01"), "USD")
Answer = Callable[[str, int], httpx.Response]


class Desk:
    """A provider that answers the n-th request for a number as the test says, and the numbers that are kept."""

    def __init__(self, folder: Path, answer: Answer | None = None) -> None:
        self.folder = folder
        self.answer = answer or (lambda number, _: told(number))
        self.asked: Counter[str] = Counter()
        self.asked_s: list[float] = []
        self.takes_s = 0.001
        self.at_once = self.most_at_once = 0

    async def reply(self, request: httpx.Request) -> httpx.Response:
        number = request.url.path.rpartition("/")[2]
        self.asked[number] += 1
        self.asked_s.append(virtual_time.now())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes_s)
        self.at_once -= 1
        return self.answer(number, self.asked[number])

    def __call__(self, numbers: list[str] = NUMBERS, terms: LookupTerms = TERMS, **options: Any) -> LookupResult:
        async def go() -> LookupResult:
            transport = HttpxTransport(concurrency=30, transport=httpx.MockTransport(self.reply))
            lookups = number_lookups(providers.sandbox_adapter("telnyx", "http://127.0.0.1:1"))
            async with contextlib.aclosing(transport):
                return await look_up_numbers(store, lookups, transport, numbers, terms, **options)

        store = NumberFactsFile.open(self.folder / "numbers.sqlite3")
        with contextlib.closing(store):
            result: LookupResult = virtual_time.run(go())
        return result

    @property
    def kept(self) -> set[str]:
        with contextlib.closing(NumberFactsFile.open(self.folder / "numbers.sqlite3")) as store:
            return {fact.number for fact in store.everything()}


def told(number: str) -> httpx.Response:
    return httpx.Response(200, json={"data": {"phone_number": number, "carrier": {"type": "mobile"}}})


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.delivery.provider_log.BACKOFF_S", 0.0)


def test_each_number_is_asked_for_once_and_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    result = desk()
    assert (result.answered, result.charged, result.failure) == (30, 30, None)
    assert desk.asked == Counter(NUMBERS)
    assert desk.kept == {*NUMBERS}
    with contextlib.closing(NumberFactsFile.open(tmp_path / "numbers.sqlite3")) as store:
        fact = next(store.everything())
    assert (fact.line_type, fact.provider, fact.price, fact.currency) == ("mobile", "telnyx", "0.01", "USD")


def test_the_budget_is_kept_though_answers_fail(tmp_path: Path) -> None:
    """A request without an answer may have been charged, so it counts; one that was too many does not."""
    desk = Desk(tmp_path, lambda number, n: httpx.Response(503) if n == 1 else told(number))
    result = desk(terms=LookupTerms(1000, Decimal("0.01"), "USD", max_cost=Decimal("0.25")))
    assert sum(desk.asked.values()) == result.charged == 25
    assert result.answered < 25
    assert "limit of 0.25 USD" in (result.failure or "")
    slow = Desk(tmp_path, lambda number, n: httpx.Response(429, json={"m": 1}) if n == 1 else told(number))
    assert slow(NUMBERS[:5]).charged == 5


@pytest.mark.parametrize(
    ("answer", "failure", "asked"),
    [
        pytest.param(httpx.Response(401, json={"message": "no"}), "HTTP 401: no", 1, id="wrong credentials"),
        pytest.param(httpx.Response(402, json={"message": "broke"}), "HTTP 402: broke", 1, id="no funds"),
        pytest.param(httpx.Response(200, text="<html>"), "is not JSON", 1, id="a page"),
        pytest.param(httpx.Response(200, json={"data": {"phone_number": "+12025550199"}}), "another number", 1, id="foreign"),
    ],
)  # fmt: skip
def test_what_is_wrong_for_every_number_costs_one_request(
    tmp_path: Path, answer: httpx.Response, failure: str, asked: int
) -> None:
    desk = Desk(tmp_path, lambda *_: answer)
    result = desk()
    assert failure in (result.failure or "")
    assert (sum(desk.asked.values()), desk.kept) == (asked, set())


def test_the_rest_is_asked_after_a_failure(tmp_path: Path) -> None:
    odd = {*NUMBERS[3:6]}
    desk = Desk(tmp_path, lambda number, _: httpx.Response(200, text="?") if number in odd else told(number))
    result = desk()
    assert (result.answered, result.failed, result.failure) == (27, 3, None)
    assert desk.kept == {*NUMBERS} - odd


def test_many_failures_in_a_row_end_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lambda number, _: told(number) if number == NUMBERS[0] else httpx.Response(200, text="?"))
    result = desk(terms=ONE_BY_ONE)
    assert "is not JSON" in (result.failure or "")
    assert (result.answered, result.failed, sum(desk.asked.values())) == (1, 5, 6)


def test_failures_with_an_answer_between_them_are_not_in_a_row(tmp_path: Path) -> None:
    odd = {*NUMBERS} - {*NUMBERS[::5]}
    desk = Desk(tmp_path, lambda number, _: httpx.Response(200, text="?") if number in odd else told(number))
    result = desk(terms=ONE_BY_ONE)
    assert (result.answered, result.failed, result.failure) == (6, 24, None)


def test_a_number_without_an_answer_is_asked_for_four_times(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lambda number, _: httpx.Response(503) if number == NUMBERS[1] else told(number))
    result = desk(NUMBERS[:3])
    assert desk.asked == Counter({NUMBERS[0]: 1, NUMBERS[1]: 4, NUMBERS[2]: 1})
    assert (result.answered, result.failed, result.charged) == (2, 1, 6)


def test_a_refused_number_is_an_answer(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lambda number, _: httpx.Response(422, json={"errors": [{"code": "1", "title": "odd"}]}))
    result = desk(NUMBERS[:3])
    assert (result.answered, result.untold, desk.kept) == (3, 3, {*NUMBERS[:3]})


def test_what_was_learned_is_kept_when_it_ends_early(tmp_path: Path) -> None:
    def on_answer(result: LookupResult) -> None:
        if result.answered == 12:
            raise StateError("the disk is full")

    desk = Desk(tmp_path)
    with pytest.raises(StateError, match="the disk is full"):
        desk(on_answer=on_answer)
    assert 12 <= len(desk.kept) < 30


def test_eight_at_most_are_asked_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.takes_s = 0.1
    assert desk().answered == 30
    assert desk.most_at_once == 8


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        pytest.param("_KEEP_EVERY", 5, [0, 0, 0, 0, 5, 5, 5, 5, 5, 10], id="some at a time"),
        pytest.param("_KEEP_EVERY_S", 0.0, [*range(1, 11)], id="those of a while"),
    ],
)
def test_answers_are_kept_while_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float, kept: list[int]
) -> None:
    for limit in ("_KEEP_EVERY", "_KEEP_EVERY_S"):
        monkeypatch.setattr(f"sender.delivery.number_lookups.{limit}", value if limit == name else math.inf)
    desk, on_disk = Desk(tmp_path), []
    desk(NUMBERS[:10], on_answer=lambda _: on_disk.append(len(desk.kept)))
    assert on_disk == kept


@pytest.mark.parametrize(("per_s", "last_s"), [(20, 29 / 20), (0.5, 58.0)])
def test_a_list_takes_as_long_as_its_rate_says(tmp_path: Path, per_s: float, last_s: float) -> None:
    """One after the other, and none later than it must be."""
    desk = Desk(tmp_path)
    assert desk(terms=LookupTerms(per_s, Decimal(0), "USD")).answered == 30
    asked_s = [at_s - desk.asked_s[0] for at_s in desk.asked_s]
    assert asked_s == pytest.approx([n / per_s for n in range(30)], abs=0.002)
    assert asked_s[-1] == pytest.approx(last_s, abs=0.002)


@pytest.mark.parametrize("dialect", ["twilio", "telnyx", "signalwire", "signalwire-compat"])
def test_the_sandbox_answers_in_each_dialect(tmp_path: Path, dialect: str) -> None:
    async def go(url: str) -> LookupResult:
        lookups = number_lookups(providers.sandbox_adapter(dialect, url))
        async with contextlib.aclosing(HttpxTransport(concurrency=1)) as transport:
            return await look_up_numbers(store, lookups, transport, ["+12025550192", "+12025550101"], TERMS)

    with sandbox.embedded() as url, contextlib.closing(NumberFactsFile.open(tmp_path / "n.sqlite3")) as store:
        assert asyncio.run(go(url)).answered == 2
        assert [fact.line_type for fact in store.everything()] == ["mobile", "fixed_line"]
