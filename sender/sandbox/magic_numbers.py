"""What becomes of a well-formed create request: the magic numbers and the rate limit.

This is the last step before the store. To add an outcome, add a row to `MAGIC_NUMBERS`; to add a way in which an answer
fails to arrive, add an `AnswerDelivery` and its part in `sender.sandbox.network_faults`. Injected faults are in
`sender.sandbox.fault_plan`.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum

from sender.sandbox.dialect import Draft, Trouble
from sender.sandbox.distortions import Distortion

_FICTIONAL = re.compile(r"\+1[2-9]\d\d555(01\d\d)")


class AnswerDelivery(StrEnum):
    """How the answer reaches the client. An accepted message is stored first, however it is answered."""

    PLAIN = "plain"
    SERVER_ERROR = "server_error"  # the provider's own 500
    BAD_GATEWAY = "bad_gateway"  # 502 and 503 in HTML, as a gateway in front of the API answers
    UNAVAILABLE = "unavailable"
    SILENCE = "silence"  # no byte for `Options.hang_s`, then the connection is closed
    RESET = "reset"  # RST instead of an answer
    HALF = "half"  # half of the answer's body, then the end of the connection
    TRUNCATED = "truncated"  # a whole answer that holds half of its JSON
    HTML = "html"  # 200, and a page of HTML
    DRIP = "drip"  # byte by byte, for `Options.hang_s`
    HUGE = "huge"  # 100 MB
    PAGE = "page"  # a page of HTML, as a proxy, a balancer or a firewall answers, with `Behavior.page_status`
    TWICE = "twice"  # the whole answer, and at once the same again
    TWICE_LATE = "twice_late"  # the same, with a moment in between
    UNDATED = "undated"  # without the `Date` header
    OUTAGE = "outage"  # RST for everybody, and no new connections for `Options.outage_s`


class RetryAfter(StrEnum):
    """How a 429 says how long to wait."""

    SECONDS = "seconds"
    DATE = "date"
    GARBAGE = "garbage"

    def header(self, wait_s: int) -> str:
        match self:
            case RetryAfter.SECONDS:
                return str(wait_s)
            case RetryAfter.DATE:
                return format_datetime(datetime.now(UTC) + timedelta(seconds=wait_s), usegmt=True)
            case RetryAfter.GARBAGE:
                return "soon"


@dataclass(frozen=True, slots=True)
class Behavior:
    """What happens to a request.

    `trouble` is refused at once or reported later, as the dialect's table says. `accepts` False: nothing is stored,
    whatever the answer. `once`: only every other time. `fault` is the kind of an injected fault. `distortion` is what
    the answer says wrongly.
    """

    about: str
    trouble: Trouble | None = None
    delivery: AnswerDelivery = AnswerDelivery.PLAIN
    once: bool = False
    retry_after: RetryAfter | None = None
    retry_after_s: int = 1
    accepts: bool = True
    fault: str | None = None
    page_status: int = 503
    distortion: Distortion | None = None


ORDINARY = Behavior("accepted; queued, sent, delivered")

# Keyed by the last four digits of a +1 NPA-555-01xx recipient. 0100 to 0189 are ordinary and stay so.
MAGIC_NUMBERS: Mapping[str, Behavior] = {
    "0190": Behavior("not a valid number", Trouble.INVALID_NUMBER),
    "0191": Behavior("has opted out (STOP)", Trouble.OPTED_OUT),
    "0192": Behavior("a landline", Trouble.LANDLINE),
    "0193": Behavior("the content is filtered as spam", Trouble.FILTERED),
    "0194": Behavior("accepted, then undelivered: the handset cannot be reached", Trouble.UNREACHABLE),
    "0195": Behavior(
        "429 with Retry-After: 1, then accepted", Trouble.RATE_LIMITED, once=True, retry_after=RetryAfter.SECONDS
    ),
    "0196": Behavior("500, and nothing was accepted", Trouble.SERVER_ERROR),
    "0197": Behavior("500, though the message was accepted", delivery=AnswerDelivery.SERVER_ERROR),
    "0198": Behavior("accepted, but no answer comes and the connection closes", delivery=AnswerDelivery.SILENCE),
    "0199": Behavior("the account has no funds", Trouble.NO_FUNDS),
}

# Keyed in the same way by the sender: a provider refuses a sender whoever the recipient is.
MAGIC_SENDERS: Mapping[str, Behavior] = {
    "0190": Behavior("the sender is not allowed", Trouble.SENDER_NOT_ALLOWED),
}


def is_landline(number: str) -> bool:
    """Whether the number is the one that stands for a landline."""
    match = _FICTIONAL.fullmatch(number)
    return match is not None and match[1] == "0192"


class BehaviorPicker:
    """Picks a request's behavior. Remembers the requests of the last second, and which recipients were refused once."""

    def __init__(self, rate_per_s: float | None) -> None:
        self._window = _Window(rate_per_s) if rate_per_s else None
        self._refused: set[tuple[str, str, str]] = set()

    def pick(self, draft: Draft, now_s: float) -> Behavior:
        """Return the behavior. `now_s` is monotonic. Only requests within the limit count against it."""
        if self._window and (wait_s := self._window.wait_s(now_s)):
            about = "above the sandbox's rate limit"
            return Behavior(
                about, Trouble.RATE_LIMITED, retry_after=RetryAfter.SECONDS, retry_after_s=math.ceil(wait_s)
            )
        behavior = _find(MAGIC_SENDERS, draft.from_number) or _find(MAGIC_NUMBERS, draft.to) or ORDINARY
        return ORDINARY if behavior.once and self._was_refused_before(draft) else behavior

    def _was_refused_before(self, draft: Draft) -> bool:
        """Whether the recipient's last request was refused; alternates, so that the next run is refused again."""
        key = (draft.dialect, draft.account, draft.to)
        if key in self._refused:
            self._refused.discard(key)
            return True
        self._refused.add(key)
        return False

    def reset(self) -> None:
        self._refused.clear()


def _find(table: Mapping[str, Behavior], number: str | None) -> Behavior | None:
    match = _FICTIONAL.fullmatch(number or "")
    return table.get(match[1]) if match else None


class _Window:
    """At most `rate_per_s` requests in any sliding second (below one a second: one in any 1/rate seconds)."""

    def __init__(self, rate_per_s: float) -> None:
        size = max(1, math.floor(rate_per_s))
        self._span_s = size / rate_per_s
        self._passed_s: deque[float] = deque(maxlen=size)

    def wait_s(self, now_s: float) -> float:
        """Return 0 and count the request, or return the seconds until a request would pass."""
        if len(self._passed_s) == self._passed_s.maxlen:
            wait_s = self._passed_s[0] + self._span_s - now_s
            if wait_s > 0:
                return wait_s
        self._passed_s.append(now_s)
        return 0.0
