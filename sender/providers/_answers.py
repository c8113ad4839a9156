"""What an answer to a create request proves: the outcome by HTTP status and by the provider's error codes. Pure.

Knows the statuses that every provider shares, and each error code's meaning from the table of its adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sender.core import numbers
from sender.core.outcomes import Accepted, Deferred, Outcome, Reason, Rejected, Unknown
from sender.providers import _http
from sender.providers.base import Message, Response


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


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How a dialect's answers to a create request are read.

    `accepted` makes an Accepted of a 2xx document, or raises ValueError. `is_error` says whether a document is the
    provider's own error document for that status. `addresses` are the recipient and the sender that a 2xx document
    names, as it writes them (None: it does not).
    """

    accepted: Callable[[dict[str, Any]], Accepted]
    judge: Judge
    is_error: Callable[[Mapping[str, Any], int], bool]
    addresses: Callable[[Mapping[str, Any]], tuple[object, object]]


# Without a known code, the status of an answer with the provider's own error document decides. 404 and 405 halt: the
# path of a create request names nothing of the message, so the account or the address is wrong for every message.
_BY_STATUS: Mapping[int, ErrorMeaning] = {
    401: ErrorMeaning(ErrorAction.HALT, Reason.UNAUTHORIZED),
    402: ErrorMeaning(ErrorAction.HALT, Reason.INSUFFICIENT_FUNDS),
    403: ErrorMeaning(ErrorAction.HALT, Reason.UNAUTHORIZED),
    404: ErrorMeaning(ErrorAction.HALT, Reason.OTHER),
    405: ErrorMeaning(ErrorAction.HALT, Reason.OTHER),
    429: ErrorMeaning(ErrorAction.SLOW, Reason.RATE_LIMITED),
}
_REFUSED = ErrorMeaning(ErrorAction.REJECT, Reason.OTHER)
# Whoever writes them, they say that this request met an obstacle, and not what became of the message: a proxy asks for
# credentials (407), a timeout (408), the first request is still in progress (409), another host would have been right
# (421), a replay was possible (425), the client is gone (499).
_PROVE_NOTHING = frozenset({407, 408, 409, 421, 425, 499})


def read_outcome(response: Response, reading: AnswerFormat, message: Message | None, sender: str | None) -> Outcome:
    """Return what the answer to the create request of `message` proves.

    `sender` is the number that the request fixed (None: a service or a pool chooses it). Without a `message`, nothing
    is compared.

    5xx is always Unknown. Telnyx and SignalWire call 500 and 503 retryable on their error pages, but that is
    advice: no page says that such a request was not accepted, and neither deduplicates a repeated one. A 4xx without
    the provider's own error document may be a proxy's, a balancer's or a firewall's, so it is Unknown as well. Only a
    429 is believed whoever wrote it: nobody answers so and passes the request on.
    """
    status = response.status
    if 200 <= status < 300:
        return _read_success(response, reading, message, sender)
    faults, sentence = _http.refusal_text(response)
    sentence = _http.clean(f"HTTP {status}: {sentence}")
    first_code = faults[0][0] if faults else None
    if not 300 <= status < 500:
        return Unknown(sentence, first_code)
    document = _http.error_document(response) if status >= 400 else None
    documented = document is not None and reading.is_error(document, status)
    if status in _PROVE_NOTHING or not (documented or status == 429):
        return Unknown(sentence, first_code, undocumented=not documented)
    return _read_refusal(response, reading.judge if documented else lambda _code, _text: None)


def _read_success(response: Response, reading: AnswerFormat, message: Message | None, sender: str | None) -> Outcome:
    status = response.status
    try:
        document = _http.json_object(response)
        accepted = reading.accepted(document)
    except ValueError as error:
        return Unknown(_http.clean(f"HTTP {status}, but the answer {error}: {_http.snippet(response)}"))
    if message is not None:
        to, from_number = reading.addresses(document)
        other = "recipient" if not numbers.may_be(to, message.to) else None
        if sender is not None and other is None and not numbers.may_be(from_number, sender):
            other = "sender"
        if other is not None:  # its numbers are not repeated: the ledger holds none
            return Unknown(f"HTTP {status}, but the answer names another {other} than the request", foreign=True)
    if response.headers.get("x-ratelimit-remaining", "").strip() == "0":
        return accepted._replace(pause_s=_http.retry_after_s(response.headers))
    return accepted


def _read_refusal(response: Response, judge: Judge) -> Outcome:
    """What a 4xx proves that the provider itself has written, or a 429 of whomever."""
    status = response.status
    faults, sentence = _http.refusal_text(response)
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
