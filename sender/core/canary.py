"""Whether the first messages of a run let the others go: what became of them, the rates, and what is decided.

A rate stops a run only where its 95 % lower bound (Wilson's, one-sided) passes the limit, so that a few bad numbers
among few messages do not. A message without a receipt counts neither way. Pure: reads no clock and no ledger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import NormalDist
from typing import Any, NamedTuple

from sender.core.outcomes import Reason, Status, SubmissionState

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf(CONFIDENCE)
FEWEST_RECEIPTS = 0.5  # of what was sent: with fewer, nothing is known
RECEIPTS = "receipts"  # what a stop for too few of them is called
_FAILED = frozenset({Status.UNDELIVERED, Status.FAILED})
_FILTERED = frozenset({Reason.FILTERED, Reason.BLOCKED})


class Condition(StrEnum):
    """What a campaign's `canary.stop_if` sets a limit for."""

    FAILED = "failed"  # refused, or reported as not delivered, for whatever reason
    OPTED_OUT = "opted_out"  # the provider says so, or the person wrote STOP
    FILTERED = "filtered"  # filtered or blocked by a carrier
    UNKNOWN = "unknown"  # may have been accepted


_WORDS = {
    Condition.FAILED: "failed",
    Condition.OPTED_OUT: "opted out",
    Condition.FILTERED: "were filtered",
    Condition.UNKNOWN: "are unknown",
}
STOP_IF: Mapping[Condition, float] = {
    Condition.FAILED: 0.10,
    Condition.OPTED_OUT: 0.05,
    Condition.FILTERED: 0.02,
    Condition.UNKNOWN: 0.05,
}
WAIT_S = 900.0


def lower_bound(events: int, messages: int) -> float:
    """The rate, from 0 to 1, that `events` of `messages` are above with 95 % confidence (Wilson, one-sided)."""
    if not events:
        return 0.0
    rate, z2 = events / messages, _Z * _Z
    middle = rate + z2 / (2 * messages)
    spread = _Z * math.sqrt(rate * (1 - rate) / messages + z2 / (4 * messages * messages))
    return max(0.0, (middle - spread) / (1 + z2 / messages))


@dataclass(frozen=True, slots=True)
class CanaryTerms:
    """What a campaign's `canary` asks for: `first` messages, receipts awaited for `wait_s` seconds.

    `stop_if` has the limit of each condition, from 0 to 1. One that is not there has no limit.
    """

    first: int
    wait_s: float = WAIT_S
    stop_if: Mapping[Condition, float] = field(default_factory=lambda: dict(STOP_IF))

    def to_manifest(self) -> dict[str, Any]:
        return {"first": self.first, "wait_s": self.wait_s, "stop_if": {str(k): v for k, v in self.stop_if.items()}}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> CanaryTerms:
        """The terms that `to_manifest` describes."""
        stop_if = {Condition(name): share for name, share in data["stop_if"].items()}
        return cls(data["first"], data["wait_s"], stop_if)


class OutcomeCount(NamedTuple):
    """How many messages are in one state, with the same delivery status and the same reason."""

    state: SubmissionState
    status: Status | None
    reason: str | None
    messages: int = 1

    @property
    def is_sent(self) -> bool:
        """Whether the provider has it, has refused it, or may have it."""
        if self.state is SubmissionState.ACCEPTED:
            return self.status is not Status.CANCELED  # else it was taken back there
        return self.state in (SubmissionState.REJECTED, SubmissionState.UNKNOWN)

    @property
    def has_failed(self) -> bool:
        return self.state is SubmissionState.REJECTED or self.status in _FAILED

    @property
    def has_result(self) -> bool:
        return self.has_failed or self.status is Status.DELIVERED


@dataclass(frozen=True, slots=True)
class CanaryRate:
    """One condition: `events` of `messages`, the 95 % lower bound of their share, and its limit (None: without one)."""

    condition: Condition
    events: int
    messages: int
    lower: float
    limit: float | None

    @property
    def is_broken(self) -> bool:
        """Whether the bound passes the limit. One message alone breaks a limit of 0 only."""
        return self.limit is not None and self.lower > self.limit and (self.events > 1 or not self.limit)

    def sentence(self) -> str:
        """`34 of 200 failed (17.0 %, with 95 % confidence over 13.1 %; the limit is 10 %)`."""
        counted = f"{self.events:,} of {self.messages:,} {_WORDS[self.condition]}"
        bound = f"{self.events / self.messages:.1%}, with 95% confidence over {self.lower:.1%}; " if self.events else ""
        limit = "no limit" if self.limit is None else f"the limit is {100 * self.limit:g}%"
        return f"{counted} ({bound}{limit})".replace("%", " %")


@dataclass(frozen=True, slots=True)
class CanaryEvidence:
    """What had become of `messages` messages at a time (`at_ms`, milliseconds UTC), by providers' answers and receipts.

    `sent` are those that the provider has answered, or may have got: `delivered`, `failed`, `unknown`, and `pending`,
    which have no receipt. `opted_out` and `filtered` are among the others, `broken` names the limits that are passed.
    """

    at_ms: int
    messages: int
    sent: int
    delivered: int
    failed: int
    opted_out: int
    filtered: int
    unknown: int
    pending: int
    rates: tuple[CanaryRate, ...]
    broken: tuple[str, ...]

    @property
    def receipts(self) -> int:
        """How many have a result."""
        return self.delivered + self.failed

    def sentence(self) -> str:
        """`200 sent: 187 delivered, 9 failed, 1 unknown, 3 without a receipt; 2 opted out, 1 filtered`."""
        return (
            f"{self.sent:,} sent: {self.delivered:,} delivered, {self.failed:,} failed, {self.unknown:,} unknown,"
            f" {self.pending:,} without a receipt; {self.opted_out:,} opted out, {self.filtered:,} filtered"
        )

    def sentences(self, broken: Iterable[str]) -> list[str]:
        """What is too many, or too few, for each of the limits `broken`."""
        rates = {rate.condition.value: rate.sentence() for rate in self.rates}
        few = f"{self.receipts:,} of the {self.sent:,} messages sent have a receipt, too few to decide"
        return [rates.get(name, few) for name in broken]


def weigh(
    outcomes: Iterable[OutcomeCount],
    stop_if: Mapping[Condition, float],
    *,
    messages: int,
    at_ms: int,
    replies: Iterable[OutcomeCount] = (),
) -> CanaryEvidence:
    """Return what the outcomes of `messages` messages say.

    `replies` are those of them that were answered with a STOP: each opted out, and arrived, whatever else is known.
    """
    sent = [entry for entry in outcomes if entry.is_sent]
    stops = [entry for entry in replies if entry.is_sent and entry.reason != Reason.OPTED_OUT]
    count = sum(entry.messages for entry in sent)
    failed = sum(entry.messages for entry in sent if entry.has_failed)
    delivered = sum(entry.messages for entry in sent if entry.status is Status.DELIVERED)
    unknown = sum(entry.messages for entry in sent if entry.state is SubmissionState.UNKNOWN)
    filtered = sum(entry.messages for entry in sent if entry.reason in _FILTERED)
    opted_out = sum(entry.messages for entry in sent if entry.reason == Reason.OPTED_OUT) + len(stops)
    results = delivered + failed
    counts = {
        Condition.FAILED: (failed, results),
        Condition.OPTED_OUT: (opted_out, results + sum(not entry.has_result for entry in stops)),
        Condition.FILTERED: (filtered, results),
        Condition.UNKNOWN: (unknown, count),
    }
    rates = tuple(
        CanaryRate(condition, events, of, lower_bound(events, of), stop_if.get(condition))
        for condition, (events, of) in counts.items()
    )
    has_enough = results > 0 and results >= FEWEST_RECEIPTS * count
    return CanaryEvidence(
        at_ms=at_ms,
        messages=messages,
        sent=count,
        delivered=delivered,
        failed=failed,
        opted_out=opted_out,
        filtered=filtered,
        unknown=unknown,
        pending=count - results - unknown,
        rates=rates,
        broken=(*(rate.condition.value for rate in rates if rate.is_broken), *(() if has_enough else (RECEIPTS,))),
    )


class CanaryState(StrEnum):
    """Where a run's canary is."""

    SENDING = "sending"  # its messages are sent
    WAITING = "waiting"  # their receipts are awaited
    PASSED = "passed"  # the others may leave
    STOPPED = "stopped"  # a limit was passed, by the canary or later


@dataclass(frozen=True, slots=True)
class Canary:
    """The first `size` messages of a run in the order of its claims, and what was decided. Times: milliseconds UTC.

    `waiting_since_ms` is when the wait for receipts began, `passed_at_ms` since when the others may leave. `evidence`
    is that of the last decision. `overridden` are the limits that a person, `overridden_by`, took no notice of.
    """

    size: int
    state: CanaryState = CanaryState.SENDING
    waiting_since_ms: int | None = None
    passed_at_ms: int | None = None
    evidence: CanaryEvidence | None = None
    overridden: tuple[str, ...] = ()
    overridden_by: str | None = None
    overridden_at_ms: int | None = None

    @classmethod
    def begin(cls, arranged: Mapping[str, Any] | None, *, messages: int) -> Canary | None:
        """The canary of a run with `messages` messages, `arranged` as its manifest has it; None without any others."""
        size = 0 if arranged is None else arranged["size"]
        return cls(size) if 0 < size < messages else None

    @property
    def holds_others(self) -> bool:
        """Whether only the canary itself may leave."""
        return self.passed_at_ms is None

    @property
    def broken(self) -> tuple[str, ...]:
        """The limits that the evidence passes and nobody has overridden."""
        broken = () if self.evidence is None else self.evidence.broken
        return tuple(name for name in broken if name not in self.overridden)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for `of`."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Canary:
        """The canary that `to_dict` describes."""
        values = dict(data)
        if values["evidence"] is not None:
            rates = tuple(
                CanaryRate(**{**rate, "condition": Condition(rate["condition"])})
                for rate in values["evidence"]["rates"]
            )
            evidence = values["evidence"]
            values["evidence"] = CanaryEvidence(**{**evidence, "rates": rates, "broken": tuple(evidence["broken"])})
        return cls(**{**values, "state": CanaryState(values["state"]), "overridden": tuple(values["overridden"])})
