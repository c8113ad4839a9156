"""What of a run waits for its window: how many messages, and until when."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sender.plan.waves import HeldMessages, Wave, Waves
from sender.state.ledger import Ledger


def read_held(ledger: Ledger, run_id: str, waves: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[HeldMessages, ...]:
    """Return the pending messages of the waves that are closed at `now_ms` and open later, those that open first first.

    `waves` are those of the run's manifest. Without any, the ledger is not asked.
    """
    if not waves:
        return ()
    frontier, waiting = ledger.pending_from(run_id)
    return find_held(waves, frontier, waiting, now_ms)


def find_held(
    waves: Iterable[Mapping[str, Any]], frontier: int, waiting: Sequence[int], now_ms: int
) -> tuple[HeldMessages, ...]:
    """`read_held`: all messages from `frontier` on are pending, and those of `waiting` (ascending) before it."""
    held: dict[tuple[int, tuple[str, ...]], list[tuple[Wave, int]]] = {}
    for wave in Waves.of(waves):
        known = bisect_left(waiting, wave.end) - bisect_left(waiting, wave.first)
        pending = known + max(0, wave.end - max(wave.first, frontier))
        until_ms = None if wave.open_until(now_ms) is not None else wave.next_opening(now_ms)
        if pending and until_ms is not None:
            held.setdefault((until_ms, wave.rules), []).append((wave, pending))
    return tuple(
        HeldMessages(
            until_ms,
            tuple(sorted({zone for wave, _ in group for zone in wave.zones})),
            rules,
            sum(pending for _, pending in group),
        )
        for (until_ms, rules), group in sorted(held.items())
    )
