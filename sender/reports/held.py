"""What of a run waits for its window: how many messages, and until when."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sender.plan.waves import HeldMessages, Wave, Waves
from sender.state.ledger import Ledger

_LARGEST_LOAD = 0.05  # share of the time spent reading


class HeldReader:
    """Reads what a run holds again and again.

    A look takes a moment for each million messages that wait. So it is taken when something may have changed, and of a
    long list only now and then while others leave; when a window opens or closes, at once.
    """

    def __init__(self, waves: Sequence[Mapping[str, Any]], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`waves` are those of the run's manifest; `clock` gives seconds that never go back."""
        self._waves = waves
        self._clock = clock
        self._again_s = 0.0
        self._until_ms: int | None = 0  # what was read holds until then, by the hour on the wall
        self._pending = -1
        self._held: tuple[HeldMessages, ...] = ()

    def read(self, ledger: Ledger, run_id: str, *, pending: int, now_ms: int) -> tuple[HeldMessages, ...]:
        """As `read_held`; `pending` is how many of the run's messages are."""
        if not (pending and self._waves):
            return ()
        is_same_hour = self._until_ms is None or now_ms < self._until_ms
        if is_same_hour and (pending == self._pending or self._clock() < self._again_s):
            return self._held
        begun_s = self._clock()
        self._held = read_held(ledger, run_id, self._waves, now_ms)
        self._again_s = self._clock() + (self._clock() - begun_s) / _LARGEST_LOAD
        self._until_ms, self._pending = Waves.of(self._waves).next_change_ms(now_ms), pending
        return self._held


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
