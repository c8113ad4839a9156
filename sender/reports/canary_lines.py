"""What became of a run's canary, as lines for a person."""

from __future__ import annotations

from datetime import UTC, datetime

from sender.core.canary import RECEIPTS, Canary, CanaryState
from sender.core.local_time import format_utc_and_local


def canary_lines(canary: Canary) -> list[str]:
    """Return where the canary is, and the evidence of its last decision: what was counted, and each rate."""
    first = f"{canary.size:,} {'message' if canary.size == 1 else 'messages'}"
    evidence = canary.evidence
    since = "" if canary.waiting_since_ms is None else f" since {_time(canary.waiting_since_ms)}"
    match canary.state:
        case CanaryState.SENDING:
            lines = [f"canary of {first}: not all are sent yet, and the others wait for their receipts"]
        case CanaryState.WAITING:
            lines = [f"canary of {first}: receipts are awaited{since}"]
        case CanaryState.PASSED:
            passed = "" if canary.passed_at_ms is None else f" on {_time(canary.passed_at_ms)}"
            lines = [f"canary of {first}: the others were let go{passed}"]
        case CanaryState.STOPPED:
            at = "" if evidence is None else f" on {_time(evidence.at_ms)}"
            when = "" if canary.holds_others else ", while the others were sent"
            lines = [f"canary of {first}: stopped the run{at}{when}"]
    if canary.overridden:
        limits = ", ".join(canary.overridden)
        at = "" if canary.overridden_at_ms is None else f" on {_time(canary.overridden_at_ms)}"
        lines.append(f"overridden by {canary.overridden_by or 'somebody'}{at}: {limits}")
    if evidence is not None:
        lines.append(evidence.sentence())
        lines += [rate.sentence() for rate in evidence.rates]
        if RECEIPTS in evidence.broken:
            lines += evidence.sentences([RECEIPTS])
    return lines


def _time(epoch_ms: int) -> str:
    return format_utc_and_local(datetime.fromtimestamp(epoch_ms / 1000, UTC))
