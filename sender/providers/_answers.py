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
    """What to do about an error code. If an answer has several codes, the highest action decides."""

    RETRY = 1  # send this message later
    SLOW = 2  # send this message later, and everything else more slowly
    REJECT = 3  # never send this message
    HALT = 4  # every further message would get the same answer
    DOUBT = 5  # something broke at the provider: nothing is proved


@dataclass(frozen=True, slots=True)
class ErrorMeaning:
    """What an error code means for us."""

    action: ErrorAction
    reason: Reason


Judge = Callable[[str, str], ErrorMeaning | None]  # (code, text) -> its meaning; None for an unknown code


def error_table(rows: Iterable[tuple[ErrorAction, Reason, str]]) -> dict[str, ErrorMeaning]:
    """Return the meaning by code, from rows of codes separated by spaces. Raises ValueError for a repeated code."""
    table: dict[str, ErrorMeaning] = {}
    for action, reason, codes in rows:
        for code in codes.split():
            if code in table:
                raise ValueError(f"error code {code} is listed twice")
            table[code] = ErrorMeaning(action, reason)
    return table


# Without a known code, the status decides. 404 and 405 halt: the path of a create request names nothing of the
# message, so the account or the address is wrong for every message. 408 is a timeout, whoever noticed it.
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


def read_outcome(response: Response, read: Callable[[dict[str, Any]], Accepted], judge: Judge) -> Outcome:
    """Return what the answer to a create request proves.

    `read` turns a 2xx document into Accepted, or raises ValueError.

    5xx is always Unknown. Telnyx and SignalWire call 500 and 503 retryable on their error pages, but that is
    advice: no page says that such a request was not accepted, and neither deduplicates a repeated one.
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
    faults, sentence = _http.refusal_text(response)
    if not 400 <= status < 500:
        return Unknown(_http.clean(f"HTTP {status}: {sentence}"), faults[0][0] if faults else None)
    judged = [(meaning, code) for code, text in faults if code and (meaning := judge(code, text))]
    meaning, code = max(judged, key=lambda pair: pair[0].action, default=(None, faults[0][0] if faults else None))
    if meaning is None or (status == 429 and meaning.action < ErrorAction.HALT):
        meaning = _BY_STATUS.get(status, _REFUSED)
    if meaning.action is ErrorAction.DOUBT:
        return Unknown(_http.clean(f"HTTP {status}: {sentence}"), code)
    if meaning.action is ErrorAction.REJECT:
        return Rejected(meaning.reason, code, sentence)
    return Deferred(
        meaning.reason,
        code,
        sentence,
        _http.retry_after_s(response.headers),
        slow_down=meaning.action is ErrorAction.SLOW,
        halt=meaning.action is ErrorAction.HALT,
    )


def find_reason(errors: Mapping[str, ErrorMeaning], code: str | None) -> Reason | None:
    """The reason for a message's error code: `other` for an unknown code, None without a code."""
    if code is None:
        return None
    return errors[code].reason if code in errors else Reason.OTHER
