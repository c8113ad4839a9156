"""What stops a run: a provider out of reach, one that refuses the rate or the account, answers that prove nothing.

Each method returns the error to stop with, or None to go on. Whatever stops a run, what is pending stays pending.
Reads no clock: the time is an argument. Never touches the network.
"""

from __future__ import annotations

from dataclasses import dataclass

from sender.core.errors import ProviderRefused, ProviderUnreachable
from sender.core.outcomes import Deferred, Reason
from sender.providers.base import Adapter

FIRST_CONNECT_TRIES = 3  # before the first answer, an unreachable provider is a wrong address
OUTAGE_S = 120.0  # after it, an outage of this length stops the run
THROTTLE_S = 900.0  # refusals of the rate alone, for this long, stop the run
DOUBTS_IN_A_ROW = 20  # inconclusive answers in a row after which the run stops, before the whole list is in doubt


@dataclass(frozen=True, slots=True)
class Patience:
    """After how much trouble to stop, as the constants above say it; `then` is what counts after an acceptance.

    With `connect_tries` None an address that never answered is an outage like any other.
    """

    connect_tries: int | None = FIRST_CONNECT_TRIES
    outage_s: float = OUTAGE_S
    throttle_s: float = THROTTLE_S
    doubts: int = DOUBTS_IN_A_ROW
    then: Patience | None = None


ALONE = Patience()
WITH_OTHERS = Patience(outage_s=10.0, throttle_s=60.0, doubts=5)  # another route carries the messages meanwhile
ON_ONE_OF_SEVERAL = Patience(connect_tries=None)  # machines: the others show that the address is right
IN_PROBE = Patience(connect_tries=1, outage_s=0.0, throttle_s=0.0, doubts=1, then=WITH_OTHERS)

_REFUSAL_FIX = {
    Reason.UNAUTHORIZED: "check the credentials in the environment",
    Reason.INSUFFICIENT_FUNDS: "add funds to the account",
    Reason.UNREGISTERED: "register the sender (10DLC campaign, toll-free verification)",
    Reason.DAILY_CAP: "wait for the provider's next day",
    Reason.RATE_LIMITED: "wait until the provider has sent some of its scheduled messages",
}
# What only the campaign can change; the run keeps the plan it began with, so it would be refused again.
_CAMPAIGN_FIX = {
    Reason.SENDER_NOT_ALLOWED: "`from` (or the messaging service or profile)",
    Reason.CONTENT: "the content template (`content_sid`)",
    Reason.OTHER: "the setting that it names (`send_at`, `validity_period`, a callback URL)",
}


class CircuitBreaker:
    """How long, and how often in a row, a run has met each kind of trouble. `now_s` is the time of one steady clock."""

    def __init__(self, *, title: str, base_url: str, patience: Patience = ALONE) -> None:
        """`title` is the provider's name, `base_url` the address that its requests go to."""
        self._patience = patience
        self._title = title
        self._base_url = base_url
        self.proved = False  # whether the provider itself has answered in this session
        self._ever_answered = False
        self._failures = 0
        self._outage_since_s: float | None = None
        self._throttled_since_s: float | None = None
        self._doubts = 0

    @classmethod
    def of(cls, adapter: Adapter, patience: Patience) -> CircuitBreaker:
        """A breaker for the provider of that adapter."""
        return cls(title=adapter.capabilities.title, base_url=adapter.base_url, patience=patience)

    def record_answer(self) -> None:
        """An answer came, whatever it says."""
        self._ever_answered = True
        self._failures = 0
        self._outage_since_s = None

    def record_acceptance(self) -> None:
        """A message was accepted: the rate is not refused, and a probe has succeeded."""
        self._throttled_since_s = None
        self._patience = self._patience.then or self._patience

    def record_rejection(self) -> None:
        """A message was refused for good, and not for the rate."""
        self._throttled_since_s = None

    def record_rest(self) -> None:
        """Nothing was to be sent for a while, of our own accord: what lasts began after it."""
        self._outage_since_s = self._throttled_since_s = None

    def record_proof(self) -> None:
        """An outcome proved something."""
        self._doubts = 0

    def record_undocumented(self, url: str, why: str) -> ProviderUnreachable | None:
        """A refusal to a request for `url` was not the provider's own; before the first that is, the address is wrong.

        `why` quotes the answer.
        """
        if self.proved:
            return None
        return ProviderUnreachable(
            f"{url} does not answer as {self._title} does: {why}",
            fix="check the address in the environment (SIGNALWIRE_SPACE_URL, TELNYX_API_BASE, TWILIO_API_BASE), and the"
            " proxy, balancer or firewall that may have answered; all other messages are pending, and `sender"
            " reconcile` looks up the one that was tried",
        )

    def record_doubt(self, why: str) -> ProviderUnreachable | None:
        """An outcome proved nothing; `why` is its message."""
        self._doubts += 1
        if self._doubts < self._patience.doubts:
            return None
        answers = "1 answer was" if self._doubts == 1 else f"{self._doubts} answers in a row were"
        return ProviderUnreachable(
            f"{answers} inconclusive; the last: {why}",
            fix="check the provider's status page; `sender reconcile` looks up unknown messages",
        )

    def record_connection_failure(self, failure: Exception, now_s: float) -> tuple[int, ProviderUnreachable | None]:
        """There was no connection; the first value is how many times in a row."""
        self._failures += 1
        self._outage_since_s = now_s if self._outage_since_s is None else self._outage_since_s
        tries = self._patience.connect_tries
        if self._ever_answered or tries is None:
            give_up = now_s - self._outage_since_s >= self._patience.outage_s
        else:
            give_up = self._failures >= tries
        if not give_up:
            return self._failures, None
        return self._failures, ProviderUnreachable(
            f"no connection to {self._base_url}: {failure}",
            fix="check the address and the network, then run the same command again: nothing is lost",
        )

    def record_throttling(self, outcome: Deferred, now_s: float) -> ProviderRefused | None:
        """The rate was refused."""
        self._throttled_since_s = now_s if self._throttled_since_s is None else self._throttled_since_s
        throttled_s = self._patience.throttle_s
        if now_s - self._throttled_since_s < throttled_s:
            return None
        since = f" for {throttled_s / 60:.0f} minutes" if throttled_s >= 120 else f" for {throttled_s:.0f} s"
        return ProviderRefused(
            f"the provider has refused the rate{since if throttled_s else ''}: {outcome.error_message}",
            fix="lower `rate`, or wait until the provider's queue is empty, then run the same command again",
        )

    def refusal(self, outcome: Deferred) -> ProviderRefused:
        """The error for an answer that every further message would get too."""
        code = f" ({outcome.error_code})" if outcome.error_code else ""
        setting = _CAMPAIGN_FIX.get(outcome.reason)
        if setting is not None and (outcome.error_code or outcome.reason is not Reason.OTHER):
            fix = (
                f"change {setting} in the campaign, and send it with --only-new, which ends this run and sends to those"
                " who have not had the message. If the provider allows it later, run the same command again instead:"
                " nothing is lost"
            )
        else:
            fix = _REFUSAL_FIX.get(outcome.reason, "fix it in the provider's console")
            fix += ", then run the same command again: nothing is lost"
        return ProviderRefused(
            f"{self._title} refuses: {outcome.error_message or outcome.reason.value}{code}",
            fix=fix,
        )
