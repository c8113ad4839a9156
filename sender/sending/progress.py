"""How far a run has come and when it will be over. Pure: it is told what happens and when, and reads no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sender.core.outcomes import SubmissionState
from sender.state.heartbeat import Progress
from sender.state.ledger import Counts

# What is seen counts against what the limits allow only when it tells clearly more, and has been looked at for long
# enough: a message of several segments, a slow first connection or a timer are no news.
_CLEARLY = 1.05
_LONG_ENOUGH_S = 1.0
_MANY_ENOUGH = 5
_RECENT_MANY = 20
_RECENT_S = 2.0
_MARKS = 256  # kept of the way so far; of more, every second one
_SETTLES_S = 0.5  # before that, a rate says nothing


@dataclass(frozen=True, slots=True)
class Moment:
    """What the send loop knows besides: `now_s` is of one steady clock, `paused_s` what is left of a pause."""

    now_s: float
    in_flight: int = 0
    answer_s: float = 0.0  # how long an answer takes
    paused_s: float = 0.0
    slowed_to_per_s: float | None = None


class Meter:
    """Counts what leaves and what is settled in one session of a run, and reckons when it will be over.

    The limits tell how long what is left needs at least, number by number and segment by segment; what has been seen
    tells whether the provider's latency or this machine makes it slower than that.
    """

    def __init__(
        self,
        *,
        messages: int,
        total: int,
        before: Counts,
        now_s: float,
        needs_s: Callable[[Mapping[str | None, float], float], float],
    ) -> None:
        """`messages` are the run's, the first `total` of them are to be sent, and it stood at `before`.

        `needs_s` says in how many seconds so many units of each sender, the last message of so many, can leave by the
        limits. A sender that stands in for another has fewer than none of its own left.
        """
        self._messages = messages
        self._total = total
        self._before = before
        self._started_s = now_s
        self._needs_s = needs_s
        self._session: Counter[SubmissionState] = Counter()
        self._expected: Mapping[str | None, float] | None = None
        self._left: dict[str | None, float] = {}
        self._way = _DepartureLog(now_s)

    def expect(self, units: Mapping[str | None, float]) -> None:
        """So many units of each sender were to be sent when the session began."""
        self._expected = units

    def left(self, units: float, sender: str | None, now_s: float) -> None:
        """A message of so many units has just left."""
        self._left[sender] = self._left.get(sender, 0.0) + units
        self._way.left(units, now_s)

    def came_back(self, sender: str | None) -> None:
        """A message that had left is pending again; how long it was is taken to be as usual."""
        self._left[sender] = self._left.get(sender, 0.0) - self.mean_units

    @property
    def messages(self) -> int:
        """How many have left in this session."""
        return self._way.messages

    @property
    def mean_units(self) -> float:
        """Units of a message, as seen until now; 1 before the first."""
        return self._way.units / self._way.messages if self._way.messages else 1.0

    def settled(self, states: Iterable[SubmissionState]) -> None:
        """Outcomes of these states are on disk."""
        self._session.update(states)

    def progress(self, at: Moment) -> Progress:
        """Where the run is now."""
        before, session = self._before, self._session
        accepted = before.accepted + session[SubmissionState.ACCEPTED]
        rejected = before.rejected + session[SubmissionState.REJECTED]
        unknown = before.unknown + session[SubmissionState.UNKNOWN]
        done = accepted + rejected + unknown
        elapsed_s = at.now_s - self._started_s
        settled = (
            session[SubmissionState.ACCEPTED] + session[SubmissionState.REJECTED] + session[SubmissionState.UNKNOWN]
        )
        rate = settled / elapsed_s if elapsed_s > _SETTLES_S else 0.0
        self._way.look(at)
        return Progress(
            total=self._total,
            accepted=accepted,
            rejected=rejected,
            unknown=unknown,
            pending=self._messages - done,
            in_flight=at.in_flight,
            elapsed_s=elapsed_s,
            rate_per_s=rate,
            eta_s=self._eta_s(at, done) if done < self._total else 0.0,
            paused_s=at.paused_s,
            slowed_to_per_s=at.slowed_to_per_s,
        )

    def _eta_s(self, at: Moment, done: int) -> float | None:
        if self._expected is None:
            return None
        senders = {*self._expected, *self._left}
        units = {sender: self._expected.get(sender, 0.0) - self._left.get(sender, 0.0) for sender in senders}
        together = sum(units.values())
        if together <= 0:
            return max(0.0, self._way.last_s + at.answer_s - at.now_s)
        allowed_s = self._needs_s(units, self.mean_units)
        seen = self._way.seen(slowed=at.slowed_to_per_s is not None)
        if seen is None:
            return allowed_s + at.answer_s if allowed_s else None
        seen_s = at.paused_s + max(0.0, together - self.mean_units) / seen.units_per_s
        if seen_s <= _CLEARLY * allowed_s:
            return allowed_s + at.answer_s
        if not seen.often_paused:  # not the provider: a message waits for another's answer, however long they are
            seen_s = at.paused_s + max(0, self._total - done - at.in_flight - 1) / seen.messages_per_s
        return seen_s + at.answer_s


@dataclass(frozen=True, slots=True)
class _RecentRate:
    """How fast messages have left."""

    units_per_s: float
    messages_per_s: float
    often_paused: bool


@dataclass(frozen=True, slots=True)
class _Departure:
    """The moment a message left, and what had left before it: the time of its own units passes after it."""

    at_s: float
    units_before: float
    messages_before: int
    paused_s: float
    pauses: int


class _DepartureLog:
    """What has left until now, and how fast. A single pause is an accident; several are the provider's pace."""

    def __init__(self, now_s: float) -> None:
        self.units = 0.0
        self.messages = 0
        self._last_units = 0.0
        self.last_s = self._looked_s = now_s
        self._marks: list[_Departure] = []
        self._paused_s = 0.0
        self._pauses = 0
        self._pausing = self._slowed = False

    def left(self, units: float, now_s: float) -> None:
        self.units += units
        self.messages += 1
        self._last_units, self.last_s = units, now_s

    def look(self, at: Moment) -> None:
        """Notes how far it has come; begins anew when the provider's refusals begin or are over."""
        if self._pausing:
            self._paused_s += at.now_s - self._looked_s
        self._pauses += at.paused_s > 0 and not self._pausing
        self._pausing, self._looked_s = at.paused_s > 0, at.now_s
        slowed = at.slowed_to_per_s is not None
        if slowed is not self._slowed:
            self._slowed = slowed
            self._marks.clear()
        if self.messages and (not self._marks or self.last_s > self._marks[-1].at_s):
            if len(self._marks) == _MARKS:
                del self._marks[1:-1:2]
            self._marks.append(
                _Departure(self.last_s, self.units - self._last_units, self.messages - 1, self._paused_s, self._pauses)
            )

    def seen(self, *, slowed: bool) -> _RecentRate | None:
        """How fast it was over the last half of the way; None while that tells nothing."""
        if not self._marks:
            return None
        first, last = self._marks[0], self._marks[-1]
        half_s = max(_RECENT_S, (last.at_s - first.at_s) / 2)
        since = next(
            (
                one
                for one in reversed(self._marks)
                if last.at_s - one.at_s >= half_s and last.messages_before - one.messages_before >= _RECENT_MANY
            ),
            first,
        )
        often = last.pauses - since.pauses > 1
        if slowed and not often:
            return None  # it recovers from here on: the limits know better
        seconds = last.at_s - since.at_s - (0.0 if often else last.paused_s - since.paused_s)
        many = last.messages_before - since.messages_before
        if seconds < _LONG_ENOUGH_S or many < _MANY_ENOUGH:
            return None
        return _RecentRate((last.units_before - since.units_before) / seconds, many / seconds, often)
