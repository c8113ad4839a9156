"""Which messages may leave now: the gate between a run's waves and its claims.

Only what is open is claimed. What has missed its last interval is canceled; what waits for a later one lets the
messages behind it go first. The time of day is read anew at each look, so that a suspended machine or a clock that was
set is noticed. Several processes may look at the same run: what one has done, the others find done. Over a database
they have one clock, the database's: a machine whose own is wrong texts nobody at night.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from sender.core import clock
from sender.core.outcomes import CancelReason
from sender.plan.plan import Plan
from sender.plan.waves import Wave, Waves
from sender.providers.base import Capabilities, FieldValue
from sender.state.ledger import Ledger
from sender.state.open import folder_of
from sender.state.state import State

LOOK_AGAIN_S = 20.0  # at most this long between two looks at the time of day, while nothing may leave
_AT_ONCE_S = 0.005
_OVER = -1
_SET_MS = 1000  # the system's clock has been set where it and the ledger's clock part by more than this
VALIDITY_FIELD = "validity_period"
# Twilio's longest, and its default; Compatibility's default is 14,400 s. A longer one need not be set.
MAX_VALIDITY_S = 36_000


def wall_clock(state: State) -> Callable[[], int]:
    """Return the clock that says what hour it is (milliseconds UTC): this machine's, or the database's.

    A start has compared either with the provider's, but only the one that its ledger goes by.
    """
    return clock.time_of_day_ms if folder_of(state.where) is not None else state.ledger.now_ms


def open_windows(
    plan: Plan, capabilities: Capabilities, *, hold: bool, clock_ms: Callable[[], int], share: int = 1
) -> SendWindows | None:
    """Return the gate of a run; None where every message may leave at any time.

    `clock_ms` is from `wall_clock`, and `share` is the number of processes that send the run together.
    """
    if not plan.manifest.waves:
        return None
    skips = plan.manifest.window.get("outside") == "skip"
    return SendWindows(
        Waves.of(plan.manifest.waves),
        reason=CancelReason.QUIET_HOURS if skips else CancelReason.EXPIRED,
        hold=hold,
        validity_field=VALIDITY_FIELD if VALIDITY_FIELD in capabilities.fields else None,
        drained_per_s=_drained_per_s(plan, share),
        clock_ms=clock_ms,
    )


def _drained_per_s(plan: Plan, share: int) -> float | None:
    drained: float | None = plan.manifest.feasibility.get("drained_per_s")
    return None if drained is None else drained / share


class _ProviderQueue:
    """An estimate of the provider's queue: what was sent faster than it is documented to send on."""

    def __init__(self, drained_per_s: float) -> None:
        self._per_ms = drained_per_s / 1000
        self._empty_ms = 0.0  # when it will be empty, milliseconds UTC

    def add(self, units: float, now_ms: int) -> None:
        self._empty_ms = max(self._empty_ms, now_ms) + units / self._per_ms

    def wait_ms(self, now_ms: int) -> int:
        return max(0, round(self._empty_ms - now_ms))


class SendWindows:
    """The waves of one run, asked before each claim."""

    def __init__(
        self,
        waves: Waves,
        *,
        reason: CancelReason = CancelReason.EXPIRED,
        hold: bool = True,
        validity_field: str | None = None,
        drained_per_s: float | None = None,
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        """Without `hold`, nothing waits for a wave to open.

        `reason` is that of messages without any interval left. `validity_field` is the provider's field for how many
        seconds a message may wait in its queue; None where there is none. `drained_per_s` is how fast, by its
        documentation, the provider sends on what is put into its queue faster; None where nothing waits there.
        """
        self._waves = waves
        self._reason = reason
        self._holds = hold
        self._validity_field = validity_field
        self._queue = None if drained_per_s is None or validity_field else _ProviderQueue(drained_per_s)
        self._clock_ms = clock_ms or clock.time_of_day_ms
        self._looked_ms = -1
        self._next_change_ms: int | None = -1
        self._bound = self._frontier = 0
        self._is_stale = True
        self._written: dict[int, int] = {}  # by a wave's first message: until when the ledger holds it; or _OVER
        # How far the ledger's clock is ahead of the time of day; 0 for less than _SET_MS.
        self._ahead_ms: int | None = None
        # When the next window opens (milliseconds UTC), while every message that is left waits for one.
        self.held_until_ms: int | None = None

    def bound(self, ledger: Ledger, run_id: str) -> int:
        """Bring the ledger in line with the time; return the `seq` below which messages may be claimed now.

        For the ledger's thread. Raises StateError.
        """
        now_ms = self._clock_ms()
        arrives_ms = self._arrives_ms(now_ms)
        self._notice_set_clock(ledger, run_id, now_ms)
        is_same = self._looked_ms <= now_ms and (self._next_change_ms is None or arrives_ms < self._next_change_ms)
        if is_same and not self._is_stale:
            return self._bound
        self._bound = self._settle(ledger, run_id, now_ms, arrives_ms)
        self._looked_ms, self._next_change_ms = now_ms, self._waves.next_change_ms(now_ms)
        self._is_stale = False
        return self._bound

    def _notice_set_clock(self, ledger: Ledger, run_id: str, now_ms: int) -> None:
        """Where the system's clock was set, or may have been before this process began: hold nothing by the old one."""
        ahead_ms = ledger.now_ms() - now_ms
        ahead_ms = ahead_ms if abs(ahead_ms) > _SET_MS else 0
        if self._ahead_ms is not None and abs(ahead_ms - self._ahead_ms) <= _SET_MS:
            return
        for wave in self._waves:
            if wave.open_until(now_ms) is not None:
                ledger.lift(run_id, from_seq=wave.first, below_seq=wave.end)
        self._ahead_ms, self._is_stale = ahead_ms, True
        self._written.clear()

    def _settle(self, ledger: Ledger, run_id: str, now_ms: int, arrives_ms: int) -> int:
        """Expire and hold what is to be, and return the end of what may be claimed."""
        frontier = ledger.frontier(run_id)
        bound, is_reached = 0, True  # whether everything before the wave may be claimed, or has been entered
        for wave in self._waves:
            if wave.open_until(now_ms, arrives_ms) is not None:
                bound = wave.end if is_reached else bound
                continue
            if wave.is_over(max(now_ms, arrives_ms)):
                if (is_reached or wave.first < frontier) and self._is_news(wave, frontier, _OVER):
                    frontier = ledger.expire(run_id, from_seq=wave.first, below_seq=wave.end, reason=self._reason)
            elif wave.first < frontier or (frontier == wave.first and self._is_open_after(wave, now_ms)):
                until_ms = (wave.next_opening(now_ms) or now_ms) + (self._ahead_ms or 0)
                if self._is_news(wave, frontier, until_ms):
                    frontier = ledger.hold(run_id, from_seq=wave.first, below_seq=wave.end, until_ms=until_ms)
            is_reached = is_reached and frontier >= wave.end
            bound = wave.end if is_reached else bound
        self._frontier = frontier
        return bound

    def _is_news(self, wave: Wave, frontier: int, until_ms: int) -> bool:
        """Whether the ledger has not been told so yet; a million messages need not hear it at each look."""
        if frontier >= wave.end and self._written.get(wave.first) == until_ms:
            return False
        self._written[wave.first] = until_ms
        return True

    def _is_open_after(self, wave: Wave, now_ms: int) -> bool:
        """Whether a wave behind this one may leave now."""
        return any(other.first >= wave.end and other.open_until(now_ms) is not None for other in self._waves)

    def record_sent(self, units: float) -> None:
        """Note that units have left, of which the provider may have put some into its queue."""
        if self._queue is not None:
            self._queue.add(units, self._clock_ms())

    def _arrives_ms(self, now_ms: int) -> int:
        """When a message that leaves now goes out to the phone, by what waits in the provider's queue."""
        return now_ms if self._queue is None else now_ms + self._queue.wait_ms(now_ms)

    def look_again(self, *, came_back: bool = False) -> None:
        """Ask the ledger at the next look, though the time has not changed: a claim came back, or none was left."""
        self._is_stale = True
        if came_back:
            self._written.clear()

    def left_s(self, seqs: Collection[int]) -> float:
        """Seconds in which all of these messages may still leave; 0 where one may not leave now."""
        now_ms = self._clock_ms()
        arrives_ms = self._arrives_ms(now_ms)
        waves = {self._waves.index_of(seq) for seq in seqs}
        ends = [self._waves[number].open_until(now_ms, arrives_ms) for number in waves]
        return min(((end - arrives_ms) / 1000 if end is not None else 0.0 for end in ends), default=0.0)

    def wait_s(self, due_in_s: float | None, *, total: int, begins: bool = True) -> float | None:
        """How long to wait, after the look of `bound`, for something to claim; None where nothing comes any more.

        `due_in_s` is when the first waiting message of the ledger is due; None where none waits. Messages from `total`
        on are not to be sent. Who does not begin messages (a second route) waits only for those that have been begun.
        """
        self.held_until_ms = None
        if not begins and due_in_s is None:
            return None
        if begins and self._frontier < min(self._bound, total):
            return _AT_ONCE_S
        now_ms = self._clock_ms()
        opening_ms = min(
            (at for wave in self._waves if (at := wave.next_opening(now_ms)) is not None and wave.first < total),
            default=None,
        )
        opening_s = None if opening_ms is None else (opening_ms - now_ms) / 1000
        is_open = any(wave.open_until(now_ms) is not None for wave in self._waves)
        is_held = due_in_s is None or not is_open or (opening_s is not None and due_in_s >= opening_s - 1)
        if is_held and (not self._holds or (due_in_s is None and self._frontier >= total)):
            return None
        if is_held:
            self.held_until_ms = opening_ms
        change_ms = self._waves.next_change_ms(now_ms)
        waits = [LOOK_AGAIN_S]
        if due_in_s is not None:
            waits.append(due_in_s)
        if change_ms is not None:
            waits.append((change_ms - now_ms) / 1000)
        return max(_AT_ONCE_S, min(waits))

    def limit_validity(self, seq: int, fields: Mapping[str, FieldValue]) -> Mapping[str, FieldValue]:
        """The fields of a message that leaves now, with the time that it may wait at the provider.

        That is to the end of its window at most, whatever the campaign says. It is `fields` itself if nothing changes.
        """
        if self._validity_field is None:
            return fields
        now_ms = self._clock_ms()
        left_s = max(1, ((self._waves[self._waves.index_of(seq)].open_until(now_ms) or 0) - now_ms) // 1000)
        own = fields.get(self._validity_field)
        if left_s >= (int(str(own)) if own is not None else MAX_VALIDITY_S):
            return fields
        return {**fields, self._validity_field: left_s}
