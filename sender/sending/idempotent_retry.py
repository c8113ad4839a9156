"""Settles unknown messages by repeating their requests, where the provider makes one message of both.

A repeated request has the key and the bytes of the first. A success says that there is one message now, whichever
request made it; anything else proves nothing, and the message stays unknown for the log to settle. Since a repeated
request may be the one that sends, it passes what a first one passes: opt-outs, caps, windows, pace, a pause. Before the
first of them, the provider has to show that it knows the key of a message that it has accepted.

The ledger is not told before the answer: a process that dies here leaves the message as unknown as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from sender.core.clock import steady_s
from sender.core.outcomes import Accepted, Deferred, Rejected, SubmissionState
from sender.delivery.provider_log import wait_or_cancelled
from sender.plan.message_fields import find_service
from sender.providers.base import Adapter, Idempotency, Message, Response
from sender.providers.idempotency import says, with_other_body
from sender.sending.answer_check import SEEDED, AnswerCheck
from sender.sending.producer import LEASE_MS
from sender.sending.send_resources import SendResources
from sender.state.ledger import Claim, LogFinding, RequestFormat
from sender.transport.base import TransportFailure

log = logging.getLogger("sender.sending.idempotent_retry")

VERSION = 1  # of the bytes of our requests: raised whenever the same message would be written in another way
MARGIN_S = 3600.0  # before the provider forgets a key, nothing is repeated with it any more
PROOFS = 3  # accepted messages whose key is asked about, until one answer is a proof
GROUP = 50  # messages whose answers are awaited and recorded together
TRIES = 5  # of one message while nothing is proved: no answer comes, or its first request is still being carried out
_ASKED = ("seq", "attempts", "sender", "intent_at")
PAUSE_S = 1.0  # before the second of these; each pause is twice as long as the last


def _relied_on_ms(rule: Idempotency) -> int:
    """How long after its first request a key is relied on, in milliseconds."""
    return round(1000 * (rule.kept_s - MARGIN_S))


def request_format(adapter: Adapter, callback: str | None) -> RequestFormat | None:
    """How requests are written in a session with this callback URL; None where the provider has no rule for repeats."""
    if adapter.capabilities.idempotency is None:
        return None
    return RequestFormat(callback, f"{VERSION}, orjson {orjson.__version__}", adapter.credentials_digest)


@dataclass(frozen=True, slots=True)
class _Doubt:
    """An unknown message as it was requested, and its units. Its key is relied on until `known_until_ms`."""

    message: Message
    units: int
    known_until_ms: int


class IdempotentRetry:
    """Repeats the requests of a run's unknown messages; for the process that holds the run."""

    def __init__(self, resources: SendResources, *, below_seq: int | None, stop: asyncio.Event) -> None:
        """`below_seq` bounds the messages, as it bounds what is sent. Once `stop` is set nothing more is repeated."""
        self._plan = resources.plan
        self._run_id = resources.run.run_id
        self._resources = resources
        self._ledger = resources.ledger
        self._adapter = resources.provider.adapter
        self._transport = resources.provider.transport
        self._throttle = resources.throttle
        self._below_seq = below_seq
        self._stop = stop
        self._gave_up = False
        self._in_vain: set[int] = set()  # messages that were repeated and are as unknown as before

    async def settle(self) -> int:
        """Repeat what may be repeated, and return how many messages are settled: each has been accepted once.

        Raises StateError.
        """
        rule = self._adapter.capabilities.idempotency
        if rule is None:
            return 0
        settled = 0
        for number, written in self._ledger.request_formats(self._run_id).items():
            if not self._is_ours(written):
                continue
            doubts = self._find_doubts(number, written, rule)
            if doubts and not self._is_over() and await self._is_proved(number, written, rule):
                settled += await self._settle_all(doubts, rule)
        return settled

    def _is_over(self) -> bool:
        return self._stop.is_set() or self._gave_up or self._throttle.is_paused()

    def _is_ours(self, written: RequestFormat) -> bool:
        """Whether this session writes requests as that one did, and to the same account as far as we can tell."""
        ours = request_format(self._adapter, written.callback)
        return ours == written

    # -- what may be repeated ----------------------------------------------------------------------------------------

    def _since_ms(self, rule: Idempotency) -> int:
        return self._ledger.now_ms() - _relied_on_ms(rule)

    def _find_doubts(self, number: int, written: RequestFormat, rule: Idempotency) -> list[_Doubt]:
        """The unknown messages of that format whose keys are still known, in the order of the plan."""
        rows = self._ledger.repeatable(
            self._run_id, SubmissionState.UNKNOWN, since_ms=self._since_ms(rule), request_format=number
        )
        bound = self._plan.manifest.messages if self._below_seq is None else self._below_seq
        asked = [row for row in rows.select(_ASKED).rows() if row[0] < bound and row[0] not in self._in_vain]
        return self._rebuild(asked, written, rule)

    def _rebuild(
        self, rows: Sequence[tuple[int, int, str | None, int]], written: RequestFormat, rule: Idempotency
    ) -> list[_Doubt]:
        """The messages of those rows (_ASKED) as they were requested; none of people who were erased."""
        reader = type(self._resources.reader)(self._plan, self._run_id, callback=written.callback)
        rows = sorted(rows)
        counts_segments = self._throttle.pace.unit == "segments"
        return [
            _Doubt(
                message._replace(attempt=attempt, from_number=sender or message.from_number),
                segments if counts_segments else 1,
                intent_ms + _relied_on_ms(rule),
            )
            for (_, attempt, sender, intent_ms), (message, segments) in zip(
                rows, reader.read([seq for seq, *_ in rows]), strict=True
            )
            if message.to
        ]

    # -- whether the header counts -----------------------------------------------------------------------------------

    async def _is_proved(self, number: int, written: RequestFormat, rule: Idempotency) -> bool:
        """Whether the provider knows the key of a message that it has accepted: asked with a body it has to refuse."""
        rows = self._ledger.repeatable(
            self._run_id,
            SubmissionState.ACCEPTED,
            since_ms=self._since_ms(rule),
            request_format=number,
            limit=PROOFS,
        )
        for accepted in reversed(self._rebuild(rows.select(_ASKED).rows(), written, rule)):
            if not await self._wait_for_turn(accepted):
                return False
            response = await self._send(accepted, other_body=True)
            if response is not None and says(response, rule.other_body):
                return True
        log.info(
            "%s did not prove that it honours our keys: unknown messages are looked up in its log",
            self._adapter.capabilities.title,
            extra={"event": "keys_not_proved"},
        )
        return False

    # -- repeating ---------------------------------------------------------------------------------------------------

    async def _settle_all(self, doubts: Sequence[_Doubt], rule: Idempotency) -> int:
        settled = 0
        self._answers = AnswerCheck(self._adapter, self._transport, self._ledger.recent_ids(limit=SEEDED))
        for start in range(0, len(doubts), GROUP):
            group = self._allowed(doubts[start : start + GROUP])
            if self._is_over():
                break
            accepted = await asyncio.gather(*(self._repeat(doubt, rule) for doubt in group))
            findings = [
                LogFinding(doubt.message.seq, outcome, doubt.message.attempt)
                for doubt, outcome in zip(group, accepted, strict=True)
                if outcome is not None
            ]
            settled += self._ledger.reconcile(self._run_id, findings)
            self._in_vain |= {doubt.message.seq for doubt in group} - {finding.seq for finding in findings}
            if not findings and group:  # the provider is not well: what is left waits for the next start
                break
        if settled:
            log.info(
                "%d unknown settled by repeating their requests, each accepted once",
                settled,
                extra={"event": "repeated", "accepted": settled, "of": len(doubts)},
            )
        return settled

    def _allowed(self, doubts: Sequence[_Doubt]) -> list[_Doubt]:
        """Those that might be sent now if they had not been: the others are looked up in the log alone."""
        resources, now_ms = self._resources, self._ledger.now_ms()
        claims = [(Claim(doubt.message.seq, doubt.message.attempt, now_ms + LEASE_MS), doubt) for doubt in doubts]
        if resources.caps is not None:
            resources.caps.check([(claim, doubt.message) for claim, doubt in claims], lease_ms=LEASE_MS)
            claims = [pair for pair in claims if resources.caps.refusal(pair[0]) is None]
        if (windows := resources.windows) is not None:
            bound = windows.bound(self._ledger, self._run_id)
            claims = [pair for pair in claims if pair[0].seq < bound and windows.left_s([pair[0].seq]) > 0]
        return [doubt for _, doubt in claims]

    async def _repeat(self, doubt: _Doubt, rule: Idempotency) -> Accepted | None:
        """What repeated requests prove: the message's acceptance, or nothing."""
        pause_s = PAUSE_S
        for turn in range(TRIES):
            if turn:
                await wait_or_cancelled(pause_s, self._stop)
                pause_s *= 2
            if not await self._wait_for_turn(doubt) or self._is_refused(doubt.message) or self._is_too_old(doubt):
                return None
            response = await self._send(doubt)
            if response is None or says(response, rule.in_progress):
                continue
            outcome = self._answers.judge(response, doubt.message)
            if isinstance(outcome, Accepted):
                return outcome
            if isinstance(outcome, Deferred) and outcome.slow_down:
                self._throttle.rate_limiter.slow_down(outcome.retry_after_s or pause_s)
            self._gave_up = self._gave_up or (isinstance(outcome, Deferred) and outcome.halt)
            if isinstance(outcome, Rejected) or says(response, rule.other_body):
                return None
        return None

    async def _wait_for_turn(self, doubt: _Doubt) -> bool:
        """Wait until the rate lets the message leave; False when nothing is to be repeated any more."""
        limiter = self._throttle.rate_limiter
        while not self._is_over():
            if await limiter.acquire(doubt.units, sender=doubt.message.from_number):
                return not self._is_over()
            await limiter.wait_until_resumed()
        return False

    def _is_refused(self, message: Message) -> bool:
        """Whether the person has opted out meanwhile."""
        service = find_service(message.fields)
        return self._resources.suppression.refuses(message.to, message.from_number, service) is not None

    def _is_too_old(self, doubt: _Doubt) -> bool:
        """Whether the provider may have forgotten the key by now: a slow rate, or a pause, may have taken hours."""
        return self._ledger.now_ms() >= doubt.known_until_ms

    async def _send(self, doubt: _Doubt, *, other_body: bool = False) -> Response | None:
        """The answer to the message's request; None where none comes."""
        windows, seq = self._resources.windows, doubt.message.seq
        left_s = LEASE_MS / 1000
        if windows is not None and not other_body:
            left_s = min(left_s, windows.left_s([seq]))
        request = self._adapter.request(doubt.message)
        if other_body:
            request = with_other_body(request)
        try:
            return await self._transport.send(
                request, timeout_s=self._throttle.pace.timeout_s, send_by_s=steady_s() + left_s
            )
        except TransportFailure:
            return None
