"""How far a run is, and when it will be over. Pure: what happens, and when, are arguments; reads no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sender.core.outcomes import SubmissionState
from sender.state.heartbeat import Progress
from sender.state.ledger import Counts

# An observed slowdown counts only when it is clear and lasts: a message of several segments, a slow first connection or
# a late timer is not evidence of one.
_CLEARLY_SLOWER = 1.05
_OBSERVED_MIN_S = 1.0
_OBSERVED_MIN_MESSAGES = 5
_RECENT_MESSAGES = 20
_RECENT_S = 2.0
_DEPARTURES_MAX = 256  # that are remembered; of more, every second one
_RATE_FROM_S = 0.5  # before that, a rate means nothing


@dataclass(frozen=True, slots=True)
class LoopState:
    """The send loop at a moment: `now_s` is the time of one steady clock, `paused_s` the rest of a pause."""

    now_s: float
    in_flight: int = 0
    answer_s: float = 0.0  # mean latency of the answers
    paused_s: float = 0.0
    slowed_to_per_s: float | None = None
    held_until_ms: int | None = None


class Meter:
    """Counts what leaves and what is recorded in one session of a run, and estimates when it will be over.

    The limits give the shortest time for what is left, number by number and segment by segment; what was observed shows
    whether the provider's latency or this machine makes it longer.
    """

    def __init__(
        self,
        *,
        messages: int,
        total: int,
        before: Counts,
        now_s: float,
        time_to_send_s: Callable[[Mapping[str | None, float], float], float],
    ) -> None:
        """The run has `messages` messages, the first `total` of them are to be sent, and its counts were `before`.

        `time_to_send_s` returns the seconds that the limits need for units by sender and the units of the last message.
        A sender that replaces another has a negative number of units left of its own.
        """
        self._messages = messages
        self._total = total
        self._before = before
        self._started_s = now_s
        self._time_to_send_s = time_to_send_s
        self._session: Counter[SubmissionState] = Counter()
        self._expected: Mapping[str | None, float] | None = None
        self._sent: dict[str | None, float] = {}
        self._departures = _DepartureLog(now_s)

    def set_expected(self, units: Mapping[str | None, float]) -> None:
        """Set the units of each sender that were to be sent when the session began."""
        self._expected = units

    def record_sent(self, units: float, sender: str | None, now_s: float, messages: int = 1) -> None:
        """One or more messages of `units` units each have just left."""
        self._sent[sender] = self._sent.get(sender, 0.0) + units * messages
        self._departures.record(units, now_s, messages)

    def record_returned(self, sender: str | None) -> None:
        """A message that had left is pending again; its length is assumed to be the mean."""
        self._sent[sender] = self._sent.get(sender, 0.0) - self.mean_units

    @property
    def messages(self) -> int:
        """How many have left in this session."""
        return self._departures.messages

    @property
    def mean_units(self) -> float:
        """Units of a message on average, until now; 1 before the first."""
        return self._departures.units / self._departures.messages if self._departures.messages else 1.0

    def record_outcomes(self, states: Mapping[SubmissionState, int]) -> None:
        """Outcomes are on disk: the number of messages in each of these states."""
        self._session.update(states)

    def progress(self, at: LoopState) -> Progress:
        """Where the run is now."""
        before, session = self._before, self._session
        accepted = before.accepted + session[SubmissionState.ACCEPTED]
        rejected = before.rejected + session[SubmissionState.REJECTED]
        canceled = before.canceled + session[SubmissionState.CANCELED]
        unknown = before.unknown + session[SubmissionState.UNKNOWN]
        done = accepted + rejected + canceled + unknown
        elapsed_s = at.now_s - self._started_s
        recorded = (
            session[SubmissionState.ACCEPTED] + session[SubmissionState.REJECTED] + session[SubmissionState.UNKNOWN]
        )
        rate = recorded / elapsed_s if elapsed_s > _RATE_FROM_S else 0.0
        self._departures.note(at)
        return Progress(
            total=self._total,
            accepted=accepted,
            rejected=rejected,
            canceled=canceled,
            unknown=unknown,
            pending=self._messages - done,
            in_flight=at.in_flight,
            elapsed_s=elapsed_s,
            rate_per_s=rate,
            eta_s=self._eta_s(at, done) if done < self._total else 0.0,
            paused_s=at.paused_s,
            slowed_to_per_s=at.slowed_to_per_s,
            held_until_ms=at.held_until_ms,
        )

    def _eta_s(self, at: LoopState, done: int) -> float | None:
        if self._expected is None:
            return None
        senders = {*self._expected, *self._sent}
        units = {sender: self._expected.get(sender, 0.0) - self._sent.get(sender, 0.0) for sender in senders}
        together = sum(units.values())
        if together <= 0:
            return max(0.0, self._departures.last_s + at.answer_s - at.now_s)
        allowed_s = self._time_to_send_s(units, self.mean_units)
        rate = self._departures.recent_rate(slowed=at.slowed_to_per_s is not None)
        if rate is None:
            return allowed_s + at.answer_s if allowed_s else None
        observed_s = at.paused_s + max(0.0, together - self.mean_units) / rate.units_per_s
        if observed_s <= _CLEARLY_SLOWER * allowed_s:
            return allowed_s + at.answer_s
        if not rate.often_paused:  # not the provider: a message waits for another's answer, however long they are
            observed_s = at.paused_s + max(0, self._total - done - at.in_flight - 1) / rate.messages_per_s
        return observed_s + at.answer_s


@dataclass(frozen=True, slots=True)
class _RecentRate:
    """How fast messages have left."""

    units_per_s: float
    messages_per_s: float
    often_paused: bool


@dataclass(frozen=True, slots=True)
class _Departure:
    """When a message left, and what had left before it: the time of its own units passes afterwards."""

    at_s: float
    units_before: float
    messages_before: int
    paused_s: float
    pauses: int


class _DepartureLog:
    """What has left until now, and how fast. A single pause is an accident; several are the provider's rate."""

    def __init__(self, now_s: float) -> None:
        self.units = 0.0
        self.messages = 0
        self._last_units = 0.0
        self.last_s = self._noted_s = now_s
        self._departures: list[_Departure] = []
        self._paused_s = 0.0
        self._pauses = 0
        self._pausing = self._slowed = False

    def record(self, units: float, now_s: float, messages: int) -> None:
        self.units += units * messages
        self.messages += messages
        self._last_units, self.last_s = units, now_s

    def note(self, at: LoopState) -> None:
        """Remember the last departure; start over when the provider's refusals begin or are over."""
        if self._pausing:
            self._paused_s += at.now_s - self._noted_s
        self._pauses += at.paused_s > 0 and not self._pausing
        self._pausing, self._noted_s = at.paused_s > 0, at.now_s
        slowed = at.slowed_to_per_s is not None
        if slowed is not self._slowed:
            self._slowed = slowed
            self._departures.clear()
        if self.messages and (not self._departures or self.last_s > self._departures[-1].at_s):
            if len(self._departures) == _DEPARTURES_MAX:
                del self._departures[1:-1:2]
            self._departures.append(
                _Departure(self.last_s, self.units - self._last_units, self.messages - 1, self._paused_s, self._pauses)
            )

    def recent_rate(self, *, slowed: bool) -> _RecentRate | None:
        """The rate over the last half of the departures; None while it means nothing."""
        if not self._departures:
            return None
        first, last = self._departures[0], self._departures[-1]
        half_s = max(_RECENT_S, (last.at_s - first.at_s) / 2)
        since = next(
            (
                departure
                for departure in reversed(self._departures)
                if last.at_s - departure.at_s >= half_s
                and last.messages_before - departure.messages_before >= _RECENT_MESSAGES
            ),
            first,
        )
        often = last.pauses - since.pauses > 1
        if slowed and not often:
            return None  # it recovers from here on: the limits give the better estimate
        seconds = last.at_s - since.at_s - (0.0 if often else last.paused_s - since.paused_s)
        messages = last.messages_before - since.messages_before
        if seconds < _OBSERVED_MIN_S or messages < _OBSERVED_MIN_MESSAGES:
            return None
        return _RecentRate((last.units_before - since.units_before) / seconds, messages / seconds, often)
