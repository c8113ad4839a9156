"""What an outcome means: for its message (record or try again), for the rate, for its sender and for the whole run."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from sender.core.outcomes import Accepted, Canceled, Deferred, Outcome, Rejected, Unknown
from sender.plan.sender_pool import UNHEALTHY, SenderPool
from sender.sending.circuit_breaker import CircuitBreaker
from sender.sending.rejection_guard import RejectionGuard
from sender.sending.route_board import MOVES, RouteSeat
from sender.sending.throttle import Throttle
from sender.state.ledger import Claim, Settlement
from sender.transport.base import NotSent

log = logging.getLogger("sender.sending.outcome_policy")

BACKOFF_CAP_S = 60.0
RECONNECT_CAP_S = 30.0
# In the provider's queue, as it reports (Telnyx `wait_seconds`), unless `limits.queue` is more.
QUEUE_WAIT_ALLOWED_S = 5.0
THROTTLED_TRIES = 50  # a throttled message is not at fault, so `retries` does not bound it; this does


class OutcomePolicy:
    """Applies each outcome to the rate limiter, the circuit breaker and the pool, and says what to record.

    `halt` is called with the error that stops the run; `now_ms` is the ledger's clock.
    """

    def __init__(
        self,
        *,
        throttle: Throttle,
        breaker: CircuitBreaker,
        guard: RejectionGuard,
        pool: SenderPool | None,
        halt: Callable[[Exception], None],
        now_ms: Callable[[], int],
        seat: RouteSeat | None = None,
    ) -> None:
        self._seat = seat
        self._throttle = throttle
        self._rate_limiter = throttle.rate_limiter
        self._breaker = breaker
        self._guard = guard
        self._pool = pool
        self._halt = halt
        self._now_ms = now_ms

    def record_answer(self, latency_s: float) -> None:
        """An answer came `latency_s` after its request, whatever it says."""
        self._breaker.record_answer()
        self._throttle.concurrency.record_answer(latency_s)

    def record_rest(self) -> None:
        """Nothing was to be sent for a while: a window was closed, or the suppression list could not be read."""
        self._breaker.record_rest()

    def room(self, limit: int) -> int:
        """How many requests may be in flight: one until the provider has answered, for the address may be wrong."""
        return limit if self._breaker.proved else 1

    def decide(
        self, claim: Claim, outcome: Outcome | Canceled, sender: str | None, url: str | None = None
    ) -> Settlement:
        """What to record of `claim`. A deferred message whose tries are used up is rejected.

        `url` is where the request went that was answered so; None when no answer came, or nothing was asked.
        """
        if isinstance(outcome, Canceled):  # our own decision says nothing about the provider
            return Settlement(claim, outcome)
        not_before_ms, is_temporary = None, isinstance(outcome, Deferred)
        if url is not None:
            self._learn_from_answer(outcome, url)
        if isinstance(outcome, Deferred):
            outcome, not_before_ms = self._defer(claim, outcome, sender)
        elif isinstance(outcome, Accepted):
            if self._seat is not None:
                self._seat.prove()
            self._breaker.record_acceptance()
            self._guard.record_acceptance()
            if outcome.pause_s:
                self._rate_limiter.pause(outcome.pause_s)
            if outcome.wait_s:
                self._slow_down_for_queue(outcome.wait_s)
        if not isinstance(outcome, Unknown):
            self._breaker.record_proof()
        elif failure := self._breaker.record_doubt(outcome.error_message):
            self._halt(failure)
        if url is None or not isinstance(outcome, Rejected):
            return Settlement(claim, outcome, not_before_ms)
        if not is_temporary:
            self._breaker.record_rejection()
        moves = is_temporary or outcome.reason in MOVES
        if refusal := self._guard.record_rejection(outcome):
            if self._seat is not None and not moves:
                self._seat.end_run()
            self._halt(refusal)
        return Settlement(
            claim, outcome, moves_to=self._seat.onward(claim) if self._seat is not None and moves else None
        )

    def _learn_from_answer(self, outcome: Outcome, url: str) -> None:
        """Note whether the provider itself has answered, and stop when the first answer is somebody else's."""
        match outcome:
            case Unknown(undocumented=True):
                if failure := self._breaker.record_undocumented(url, outcome.error_message):
                    self._halt(failure)
            case Unknown() | Deferred(slow_down=True, error_code=None):  # a 429 that anybody may have written
                pass
            case _:
                self._breaker.proved = True

    def record_connection_failure(self, failure: NotSent) -> None:
        """A request could not be sent: pause, and stop the run when the provider stays out of reach."""
        if self._rate_limiter.paused:  # sent with the one that failed first: the same failure
            return
        tries, stop = self._breaker.record_connection_failure(failure, _now_s())
        log.warning("no connection: %s", failure, extra={"event": "not_sent", "tries": tries})
        self._rate_limiter.pause(min(RECONNECT_CAP_S, 0.25 * 2 ** min(tries, 10)))
        if stop:
            self._halt(stop)

    def _defer(self, claim: Claim, outcome: Deferred, sender: str | None) -> tuple[Outcome, int | None]:
        """What to record of a message that was not accepted but may be later, and when to try it again."""
        if outcome.halt and not self._disable_sender(sender, outcome):
            self._halt(self._breaker.refusal(outcome))
        wait_s = max(outcome.retry_after_s or 0.0, _backoff_s(claim.attempt - claim.earlier))
        if outcome.slow_down:
            self._slow_down(outcome, wait_s)
        tries = THROTTLED_TRIES if outcome.slow_down else self._throttle.pace.retries
        attempt = claim.attempt - claim.earlier
        if attempt > tries and not outcome.halt:
            message = f"given up after {attempt} tries: {outcome.error_message}"
            return Rejected(outcome.reason, outcome.error_code, message), None
        return outcome, self._now_ms() + (0 if outcome.halt else round(wait_s * 1000))

    def _disable_sender(self, sender: str | None, outcome: Deferred) -> bool:
        """Whether the refusal is about this sender alone and other numbers of its pool carry its messages now."""
        if self._pool is None or sender is None or outcome.reason not in UNHEALTHY:
            return False
        is_known = sender in self._pool.disabled
        why = outcome.error_message or outcome.reason.value
        if not self._pool.disable(sender, why):
            return False
        if not is_known:
            log.warning(
                "%s is taken out of the pool, and the other numbers send its messages: %s",
                sender,
                why,
                extra={"event": "sender_out", "reason": outcome.reason.value, "code": outcome.error_code},
            )
        return True

    def _slow_down(self, outcome: Deferred, wait_s: float) -> None:
        if self._rate_limiter.slow_down(wait_s):
            self._log_slowdown(outcome.error_message or outcome.reason.value, wait_s)
        if stop := self._breaker.record_throttling(outcome, _now_s()):
            self._halt(stop)

    def _slow_down_for_queue(self, wait_s: float) -> None:
        """What is accepted now waits at the provider for `wait_s`: it sends more slowly than we do."""
        queue = self._throttle.pace.queue
        allowed_s = (
            QUEUE_WAIT_ALLOWED_S if queue is None else max(QUEUE_WAIT_ALLOWED_S, queue.units / queue.drained_per_s)
        )
        if wait_s <= allowed_s:
            return
        # Until the queue has drained, further waits are about what was sent before.
        if self._rate_limiter.slow_down(0.0, again_after_s=min(wait_s, BACKOFF_CAP_S)):
            self._log_slowdown(f"a message waits {wait_s:.0f} s in its queue", 0.0)

    def _log_slowdown(self, why: str, wait_s: float) -> None:
        slowed_to_per_s = self._rate_limiter.slowed_to_per_s
        log.warning(
            "the provider asks to slow down%s: %s",
            f" to {slowed_to_per_s:.3g}/s" if slowed_to_per_s else "",
            why,
            extra={"event": "slow_down", "wait_s": round(wait_s, 1), "slowed_to_per_s": slowed_to_per_s},
        )


def _backoff_s(attempt: int) -> float:
    """Exponential and capped, with jitter so that a refused group does not come back as one."""
    return min(BACKOFF_CAP_S, 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
