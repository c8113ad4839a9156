"""What stops a run: a provider out of reach, one that refuses the pace or the account, answers that prove nothing.

Each question is answered with the error to stop with, or None to go on. Whatever stops a run, what is pending stays
pending. Reads no clock: the send loop says when. Never touches the network.
"""

from __future__ import annotations

from sender.core.errors import ProviderRefused, ProviderUnreachable
from sender.core.outcomes import Deferred, Reason

FIRST_CONNECT_TRIES = 3  # before the first answer, an unreachable provider is a wrong address
OUTAGE_S = 120.0  # after it, an outage this long stops the run
THROTTLE_S = 900.0  # nothing but refusals of the pace for this long stops the run
DOUBTS_IN_A_ROW = 20  # so many answers that prove nothing stop the run before the whole list is in doubt

_REFUSAL_FIX = {
    Reason.UNAUTHORIZED: "check the credentials in the environment",
    Reason.INSUFFICIENT_FUNDS: "add funds to the account",
    Reason.SENDER_NOT_ALLOWED: "check `from`: the provider does not let this account send from it",
    Reason.UNREGISTERED: "register the sender (10DLC campaign, toll-free verification)",
    Reason.DAILY_CAP: "wait for the provider's next day",
}


class CircuitBreaker:
    """How long, and how often in a row, one run has met each kind of trouble. `now_s` is of one steady clock."""

    def __init__(self, *, title: str, base_url: str) -> None:
        """`title` is the provider's name, `base_url` the address that its requests go to."""
        self._title = title
        self._base_url = base_url
        self._ever_answered = False
        self._failures = 0
        self._outage_since_s: float | None = None
        self._throttled_since_s: float | None = None
        self._doubts = 0

    def answered(self) -> None:
        """An answer came, whatever it says."""
        self._ever_answered = True
        self._failures = 0
        self._outage_since_s = None

    def accepted(self) -> None:
        """A message was accepted: the pace is not refused."""
        self._throttled_since_s = None

    def decided(self) -> None:
        """An outcome proved something."""
        self._doubts = 0

    def doubted(self, last: str) -> ProviderUnreachable | None:
        """An outcome proved nothing, and `last` says why."""
        self._doubts += 1
        if self._doubts < DOUBTS_IN_A_ROW:
            return None
        return ProviderUnreachable(
            f"{DOUBTS_IN_A_ROW} answers in a row proved nothing; the last: {last}",
            fix="look at the provider's status page; `sender reconcile` settles what is unknown",
        )

    def not_sent(self, failure: Exception, now_s: float) -> tuple[int, ProviderUnreachable | None]:
        """How many times in a row there was no connection."""
        self._failures += 1
        self._outage_since_s = now_s if self._outage_since_s is None else self._outage_since_s
        if self._ever_answered:
            give_up = now_s - self._outage_since_s >= OUTAGE_S
        else:
            give_up = self._failures >= FIRST_CONNECT_TRIES
        if not give_up:
            return self._failures, None
        return self._failures, ProviderUnreachable(
            f"no connection to {self._base_url}: {failure}",
            fix="check the address and the network, then run the same command again: nothing is lost",
        )

    def throttled(self, outcome: Deferred, now_s: float) -> ProviderRefused | None:
        """The pace was refused."""
        self._throttled_since_s = now_s if self._throttled_since_s is None else self._throttled_since_s
        if now_s - self._throttled_since_s < THROTTLE_S:
            return None
        return ProviderRefused(
            f"the provider has refused the pace for {THROTTLE_S / 60:.0f} minutes: {outcome.error_message}",
            fix="lower `rate`, or wait until the provider's queue is empty, then run the same command again",
        )

    def refused(self, outcome: Deferred) -> ProviderRefused:
        """Every further message would meet this answer too."""
        code = f" ({outcome.error_code})" if outcome.error_code else ""
        return ProviderRefused(
            f"{self._title} refuses: {outcome.error_message or outcome.reason.value}{code}",
            fix=_REFUSAL_FIX.get(outcome.reason, "mend it at the provider")
            + ", then run the same command again: nothing is lost",
        )
