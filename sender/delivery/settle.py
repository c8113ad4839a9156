"""Waits until the provider's log can decide the unknown messages of a run, and looks them up again. Sends nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sender.delivery.provider_log import wait_or_cancelled
from sender.delivery.reconcile import ReconcileResult

log = logging.getLogger("sender.delivery.settle")

TICK_S = 1.0  # between two calls of `on_wait`
RETRY_S = 30.0  # before a log that could not be read is asked again
RETRIES_MAX = 20  # of these in a row: ten minutes
MARGIN = timedelta(seconds=0.1)  # past the moment from which on the log decides


@dataclass(frozen=True, slots=True)
class SettleWait:
    """A wait for the log: `unknown` messages that it cannot decide before `until`; `left_s` seconds remain."""

    unknown: int
    until: datetime
    left_s: float


OnWait = Callable[[SettleWait], None]


async def settle(
    look_up: Callable[[], Awaitable[ReconcileResult]],
    *,
    now: Callable[[], datetime],
    cancel: asyncio.Event,
    on_wait: OnWait | None = None,
    most_s: float | None = None,
) -> ReconcileResult:
    """Call `look_up` until it leaves nothing that time would decide, and return what all calls together have found.

    It returns early as soon as a message is proved absent, because that one can be sent again; once `cancel` is set;
    and where the next decision is more than `most_s` away, or has been waited for once (None: it waits as long as it
    takes). A log that cannot be read is asked again for ten minutes.
    """
    found, failures, looks = 0, 0, 0
    while True:
        result = await look_up()
        looks += 1
        found += result.found
        failures = failures + 1 if result.failure is not None else 0
        result = replace(result, found=found)
        until = _next_look(result, now(), failures, waits=most_s is None)
        if until is None or result.absent or cancel.is_set():
            return result
        if most_s is not None and (looks > 1 or (until - now()).total_seconds() > most_s):
            return result
        if most_s is None:
            log.info(
                "%d unknown: waiting until %s, when the provider's log can decide them",
                result.doubtful,
                f"{until:%Y-%m-%d %H:%M:%S} UTC",
                extra={"event": "settling", "unknown": result.doubtful, "until": until.isoformat()},
            )
        await _wait(until + MARGIN, result.doubtful, now, cancel, on_wait)
        if cancel.is_set():
            return result


def _next_look(result: ReconcileResult, now: datetime, failures: int, *, waits: bool) -> datetime | None:
    """When to look again; None where that would decide nothing."""
    if result.decidable_at is None or failures > RETRIES_MAX:
        return None
    if failures and waits:
        return max(result.decidable_at, now + timedelta(seconds=RETRY_S))
    return result.decidable_at


async def _wait(
    until: datetime, unknown: int, now: Callable[[], datetime], cancel: asyncio.Event, on_wait: OnWait | None
) -> None:
    while not cancel.is_set() and (left_s := (until - now()).total_seconds()) > 0:
        if on_wait is not None:
            on_wait(SettleWait(unknown, until, left_s))
        await wait_or_cancelled(min(TICK_S, left_s), cancel)
