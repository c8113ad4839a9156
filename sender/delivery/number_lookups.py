"""Looks numbers up at a provider, for a price: paced, within a budget, each answer kept as it comes. Sends no message.

A number that was looked up is not paid for again: what a kill or a failure leaves is the rest of the same list.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sender.delivery.provider_log import LogReader
from sender.providers.base import Request, Response
from sender.providers.lookups import LookupsRefused, NumberAnswer, NumberLookups
from sender.state.number_facts import LOOKUP, NumberFacts, NumberStore
from sender.transport.base import NotSent, Transport, TransportFailure

CONCURRENCY = 8
_TRIES = 4
_KEEP_EVERY_S = 0.5
_KEEP_EVERY = 50
_FAILURES_MAX = 5  # numbers in a row without an answer that can be read
_FREE = frozenset({401, 403, 429})  # answers that are not charged


@dataclass(frozen=True, slots=True)
class LookupTerms:
    """How numbers are looked up: `per_s` at most, for `price` each in `currency`, for `max_cost` in all (None: any).

    `simulated`: by the sandbox, so that what is learned counts for simulations alone.
    """

    per_s: float
    price: Decimal
    currency: str
    max_cost: Decimal | None = None
    simulated: bool = False


@dataclass(slots=True)
class LookupResult:
    """What became of the numbers: `answered`, of which the provider could not tell `untold`; `failed` got no answer.

    `charged` counts the requests that may have been charged. `failure` says why the rest was not looked up, if it was
    not.
    """

    answered: int = 0
    untold: int = 0
    failed: int = 0
    charged: int = 0
    failure: str | None = None


async def look_up_numbers(
    store: NumberStore,
    lookups: NumberLookups,
    transport: Transport,
    numbers: Sequence[str],
    terms: LookupTerms,
    *,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    on_answer: Callable[[LookupResult], None] = lambda _: None,
) -> LookupResult:
    """Look up `numbers` (E.164, distinct) and keep each answer in `store`; return what became of them.

    The first goes alone, so that wrong credentials cost one request. Raises StateError where nothing can be kept.
    """
    job = _LookupJob(store, lookups, transport, terms, now_ms, on_answer)
    waiting = iter(numbers)
    try:
        await job.work(_first(waiting))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(CONCURRENCY, math.ceil(terms.per_s))):
                tasks.create_task(job.work(waiting))
    except ExceptionGroup as group:  # one is enough for a person: where it cannot be kept, all of them fail
        raise group.exceptions[0] from None
    finally:
        job.keep()
    return job.result


def _first(numbers: Iterator[str]) -> Iterator[str]:
    for number in numbers:
        yield number
        return


class _LookupJob:
    """The work that the tasks share."""

    def __init__(
        self,
        store: NumberStore,
        lookups: NumberLookups,
        transport: Transport,
        terms: LookupTerms,
        now_ms: Callable[[], int],
        on_answer: Callable[[LookupResult], None],
    ) -> None:
        self.result = LookupResult()
        self._store = store
        self._lookups = lookups
        self._terms = terms
        self._now_ms = now_ms
        self._on_answer = on_answer
        self._budget = _LookupBudget(transport, terms, self.result)
        self._reader = LogReader(self._budget, pause_s=1 / terms.per_s, tries=_TRIES)
        self._unkept: list[NumberFacts] = []
        self._kept_at = time.monotonic()
        self._failures = 0

    async def work(self, numbers: Iterator[str]) -> None:
        """Look up the next of `numbers`, which tasks share, until there is none or the job has failed."""
        for number in numbers:
            if self.result.failure is not None:
                return
            try:
                response = await self._reader.fetch(self._lookups.request(number))
                self._note(number, self._lookups.read(response, number))
            except (LookupsRefused, _BudgetSpentError) as error:
                self._stop(error)
            except (ValueError, TransportFailure) as error:
                self.result.failed += 1
                self._failures += 1
                if self._failures >= _FAILURES_MAX or not self.result.answered:
                    self._stop(error)

    def _stop(self, error: Exception) -> None:
        """End the job; the first reason is the one that is shown."""
        self.result.failure = self.result.failure or str(error) or type(error).__name__

    def keep(self) -> None:
        """Put what was learned on disk."""
        if self._unkept:
            self._store.put(self._unkept)
            self._unkept.clear()
        self._kept_at = time.monotonic()

    def _note(self, number: str, answer: NumberAnswer) -> None:
        terms, since = self._terms, self._lookups.reassigned_since
        self._failures = 0
        self.result.answered += 1
        self.result.untold += answer.problem is not None
        self._unkept.append(
            NumberFacts(
                number,
                terms.simulated,
                LOOKUP,
                self._lookups.adapter.capabilities.provider,
                self._now_ms(),
                answer.line_type,
                answer.carrier,
                answer.zone,
                answer.reassigned,
                None if since is None else since.isoformat(),
                answer.valid,
                answer.problem,
                str(terms.price),
                terms.currency,
            )
        )
        if len(self._unkept) >= _KEEP_EVERY or time.monotonic() - self._kept_at >= _KEEP_EVERY_S:
            self.keep()
        self._on_answer(self.result)


class _BudgetSpentError(ValueError):
    """One more request might cost more than is allowed."""


class _LookupBudget:
    """A transport that counts what may be charged, and sends nothing beyond the budget."""

    def __init__(self, transport: Transport, terms: LookupTerms, result: LookupResult) -> None:
        self._transport = transport
        self._terms = terms
        self._result = result

    async def send(self, request: Request, *, timeout_s: float, send_by_s: float = math.inf) -> Response:
        most = self._terms.max_cost
        if most is not None and (self._result.charged + 1) * self._terms.price > most:
            raise _BudgetSpentError(f"the lookups have used up their limit of {most} {self._terms.currency}")
        self._result.charged += 1
        try:
            response = await self._transport.send(request, timeout_s=timeout_s, send_by_s=send_by_s)
        except NotSent:
            self._result.charged -= 1
            raise
        self._result.charged -= response.status in _FREE
        return response

    def distrust(self, response: Response) -> None:
        self._transport.distrust(response)

    async def warm(self, url: str, connections: int) -> None:
        await self._transport.warm(url, connections)

    async def aclose(self) -> None:
        await self._transport.aclose()
