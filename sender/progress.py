"""How far a run has come and when it will be over. Pure: it is told what happens and when, and reads no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sender.ledger import Counts
from sender.outcomes import State

_SETTLES_S = 0.5  # before that, a rate says nothing


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run. Counts are messages and durable; `rate_per_s` is of this session, smoothed over seconds."""

    total: int
    accepted: int
    rejected: int
    unknown: int
    pending: int
    in_flight: int
    elapsed_s: float
    rate_per_s: float
    eta_s: float | None
    paused_s: float = 0.0

    @property
    def done(self) -> int:
        return self.accepted + self.rejected + self.unknown


class Meter:
    """Counts what one session of a run settles. `now_s` is of one steady clock."""

    def __init__(self, *, messages: int, total: int, before: Counts, now_s: float) -> None:
        """`messages` are the run's, the first `total` of them are to be sent, and it stood at `before`."""
        self._messages = messages
        self._total = total
        self._before = before
        self._started_s = now_s
        self._session: Counter[State] = Counter()

    def settled(self, states: Iterable[State]) -> None:
        """Outcomes of these states are on disk."""
        self._session.update(states)

    def progress(self, now_s: float, *, in_flight: int, paused_s: float) -> Progress:
        """Where the run is now."""
        before, session = self._before, self._session
        accepted = before.accepted + session[State.ACCEPTED]
        rejected = before.rejected + session[State.REJECTED]
        unknown = before.unknown + session[State.UNKNOWN]
        done = accepted + rejected + unknown
        elapsed_s = now_s - self._started_s
        settled = session[State.ACCEPTED] + session[State.REJECTED] + session[State.UNKNOWN]
        rate = settled / elapsed_s if elapsed_s > _SETTLES_S else 0.0
        return Progress(
            total=self._total,
            accepted=accepted,
            rejected=rejected,
            unknown=unknown,
            pending=self._messages - done,
            in_flight=in_flight,
            elapsed_s=elapsed_s,
            rate_per_s=rate,
            eta_s=max(0, self._total - done) / rate if rate else None,
            paused_s=paused_s,
        )
