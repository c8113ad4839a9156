"""What an answer to a create request proves: the outcome by HTTP status and by the provider's error codes. Pure.

Knows the statuses that every provider shares, and each error code's meaning from the table of its adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sender.core.outcomes import Accepted, Deferred, Outcome, Reason, Rejected, Unknown
from sender.providers import _http
from sender.providers.base import Response


class ErrorAction(IntEnum):
    """What to do about an error code. Of several codes in one answer the highest decides."""

    RETRY = 1  # this message, later
    SLOW = 2  # this message, later, and everything else slower
    REJECT = 3  # this message never
    HALT = 4  # every further message would meet the same
    DOUBT = 5  # the code tells of an accident at the provider: nothing is proved


@dataclass(frozen=True, slots=True)
class ErrorMeaning:
    """What an error code means for us."""

    act: ErrorAction
    reason: Reason


Judge = Callable[[str, str], ErrorMeaning | None]  # (code, words) -> verdict; None for a code we do not know


def error_table(rows: Iterable[tuple[ErrorAction, Reason, str]]) -> dict[str, ErrorMeaning]:
    """Code -> verdict, from rows of codes separated by spaces. Raises ValueError if a code stands twice."""
    table: dict[str, ErrorMeaning] = {}
    for act, reason, codes in rows:
        for code in codes.split():
            if code in table:
                raise ValueError(f"error code {code} stands twice")
            table[code] = ErrorMeaning(act, reason)
    return table


# Without a code we know, the status decides. 404 and 405 halt: a create request names nothing of the message
# in its path, so the account or the address is wrong for every message. 408 is a timeout, whoever noticed it.
_BY_STATUS: Mapping[int, ErrorMeaning] = {
    401: ErrorMeaning(ErrorAction.HALT, Reason.UNAUTHORIZED),
    402: ErrorMeaning(ErrorAction.HALT, Reason.INSUFFICIENT_FUNDS),
    403: ErrorMeaning(ErrorAction.HALT, Reason.UNAUTHORIZED),
    404: ErrorMeaning(ErrorAction.HALT, Reason.OTHER),
    405: ErrorMeaning(ErrorAction.HALT, Reason.OTHER),
    408: ErrorMeaning(ErrorAction.DOUBT, Reason.OTHER),
    429: ErrorMeaning(ErrorAction.SLOW, Reason.RATE_LIMITED),
}
_REFUSED = ErrorMeaning(ErrorAction.REJECT, Reason.OTHER)


def outcome(response: Response, read: Callable[[dict[str, Any]], Accepted], judge: Judge) -> Outcome:
    """What the answer to a create request proves.

    `read` makes an Accepted of a 2xx document or raises ValueError.

    5xx is always Unknown. Telnyx and SignalWire call 500 and 503 retryable on their error pages, but that is
    advice: no page says that such a request was not accepted, and none of them deduplicates a repeat.
    """
    status = response.status
    if 200 <= status < 300:
        try:
            accepted = read(_http.json_object(response))
        except ValueError as error:
            return Unknown(_http.clean(f"HTTP {status}, but the answer {error}: {_http.snippet(response)}"))
        if response.headers.get("x-ratelimit-remaining", "").strip() == "0":
            return accepted._replace(pause_s=_http.retry_after_s(response.headers))
        return accepted
    faults, words = _http.refusal_words(response)
    if not 400 <= status < 500:
        return Unknown(_http.clean(f"HTTP {status}: {words}"), faults[0][0] if faults else None)
    judged = [(verdict, code) for code, text in faults if code and (verdict := judge(code, text))]
    verdict, code = max(judged, key=lambda pair: pair[0].act, default=(None, faults[0][0] if faults else None))
    if verdict is None or (status == 429 and verdict.act < ErrorAction.HALT):
        verdict = _BY_STATUS.get(status, _REFUSED)
    if verdict.act is ErrorAction.DOUBT:
        return Unknown(_http.clean(f"HTTP {status}: {words}"), code)
    if verdict.act is ErrorAction.REJECT:
        return Rejected(verdict.reason, code, words)
    return Deferred(
        verdict.reason,
        code,
        words,
        _http.retry_after_s(response.headers),
        slow_down=verdict.act is ErrorAction.SLOW,
        halt=verdict.act is ErrorAction.HALT,
    )


def find_reason(errors: Mapping[str, ErrorMeaning], code: str | None) -> Reason | None:
    """The reason for an error code on a message; `other` for one we do not know, None for none."""
    if code is None:
        return None
    return errors[code].reason if code in errors else Reason.OTHER
