"""What of a run waits for its window: how many messages, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sender.core.lazy_modules import pl
from sender.core.outcomes import SubmissionState
from sender.plan.waves import HeldMessages, Wave, Waves

_OPEN_STATES = (SubmissionState.PENDING.value,)


def find_held(waves: Iterable[Mapping[str, Any]], journal: pl.DataFrame, now_ms: int) -> tuple[HeldMessages, ...]:
    """Return the pending messages of the waves that are closed at `now_ms` and open later, those that open first first.

    `waves` are those of the run's manifest, `journal` has at least `seq` and `state` of its messages.
    """
    held: dict[tuple[int, tuple[str, ...]], list[tuple[Wave, int]]] = {}
    all_waves = Waves.of(waves)
    for wave, pending in zip(all_waves, _count_pending(all_waves, journal), strict=True):
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


def _count_pending(waves: Waves, journal: pl.DataFrame) -> list[int]:
    """Return how many messages of each wave are pending, claimed before or never."""
    if not waves:
        return []
    settled = journal.filter(~pl.col("state").is_in(_OPEN_STATES))["seq"]
    ends = pl.Series([wave.end for wave in waves], dtype=pl.UInt32)
    places = ends.search_sorted(settled, side="right")
    done = dict(places.value_counts(name="n").iter_rows()) if settled.len() else {}
    return [wave.end - wave.first - done.get(number, 0) for number, wave in enumerate(waves)]
