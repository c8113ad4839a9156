"""Answers and pages of the log that are not what they should be: another message's, or not to be compared. Pure.

They change a dialect's payload by the names that its provider uses. What is stored stays true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from sender.sandbox.dialect import Answer

OTHER_NUMBER = "+12125550143"  # fictional; nobody's in particular
FOLLOWING = "sandbox_page"  # a parameter of the page that a distorted walk is given at its end
_RECIPIENTS = ("to", "cld")
_SENDERS = ("from", "cli")
_TIMES = ("created_at", "date_created")
_IDS = ("id", "sid", "uuid")

Row = dict[str, Any]


class Distortion(StrEnum):
    """What is wrong with an answer to a create request, or with a page of the log."""

    OTHER_ANSWER = "other_answer"  # the one to the request before
    OTHER_ID = "other_id"  # with the id of the request before
    OTHER_RECIPIENT = "other_recipient"
    OTHER_SENDER = "other_sender"
    REDACTED = "redacted"  # numbers are masked
    NATIONAL = "national"  # numbers without their country code
    NO_NUMBERS = "no_numbers"
    LOCAL_TIME = "local_time"  # times without an offset
    TWO_PAGES = "two_pages"  # the next page shows the entries again


def distort_created(answer: Answer, distortion: Distortion, before: Answer | None) -> Answer:
    """An answer to a create request, distorted; `before` is the one to the request before (None: there was none)."""
    match distortion:
        case Distortion.OTHER_ANSWER:
            return answer if before is None else before
        case Distortion.OTHER_ID:
            ids = {} if before is None else {name: value for name, value in _row(before).items() if name in _IDS}
            return _with_row(answer, lambda row: row | ids)
        case Distortion.OTHER_RECIPIENT:
            return _with_row(answer, lambda row: _renumber(row, _RECIPIENTS, lambda _: OTHER_NUMBER))
        case _:
            return _with_row(answer, lambda row: _renumber(row, _SENDERS, lambda _: OTHER_NUMBER))


def distort_rows(answer: Answer, distortion: Distortion) -> Answer:
    """A page of the log whose entries cannot be compared."""
    match distortion:
        case Distortion.REDACTED:
            return _with_rows(answer, lambda row: _renumber(row, _RECIPIENTS + _SENDERS, _redact))
        case Distortion.NATIONAL:
            return _with_rows(answer, lambda row: _renumber(row, _RECIPIENTS + _SENDERS, _without_country))
        case Distortion.NO_NUMBERS:
            return _with_rows(answer, lambda row: _renumber(row, _RECIPIENTS + _SENDERS, lambda _: None))
        case _:
            return _with_rows(answer, _in_local_time)


def rows_of(answer: Answer) -> list[Row]:
    """The entries of a page; none for another answer."""
    name = _rows_name(answer)
    return [] if name is None else answer.payload[name]


def with_rows_before(answer: Answer, rows: Sequence[Row]) -> Answer:
    """The page with more entries at its top."""
    name = _rows_name(answer)
    return answer if name is None else _replaced(answer, {name: [*rows, *answer.payload[name]]})


def with_next_page(answer: Answer, url: str, query: Sequence[tuple[str, str]]) -> Answer:
    """The page with one that follows it, if it was the last."""
    payload = answer.payload
    following = f"{url}?{urlencode([*query, (FOLLOWING, '2')])}"
    if "links" in payload and "next" not in payload["links"]:
        return _replaced(answer, {"links": {**payload["links"], "next": following}})
    if "next_page_uri" in payload and payload["next_page_uri"] is None:
        return _replaced(answer, {"next_page_uri": following})
    meta = payload.get("meta")
    if meta and meta["page_number"] >= meta["total_pages"]:
        return _replaced(answer, {"meta": {**meta, "total_pages": meta["page_number"] + 1}})
    return answer


def _rows_name(answer: Answer) -> str | None:
    payload = answer.payload if isinstance(answer.payload, Mapping) else {}
    return next((name for name in ("messages", "data") if isinstance(payload.get(name), list)), None)


def _replaced(answer: Answer, changed: Mapping[str, Any]) -> Answer:
    return Answer(answer.status, {**answer.payload, **changed}, answer.headers)


def _with_rows(answer: Answer, change: Callable[[Row], Row]) -> Answer:
    name = _rows_name(answer)
    return answer if name is None else _replaced(answer, {name: [change(row) for row in answer.payload[name]]})


def _row(answer: Answer) -> Row:
    """The message in an answer to a create request."""
    data = answer.payload.get("data")
    return data if isinstance(data, dict) else answer.payload


def _with_row(answer: Answer, change: Callable[[Row], Row]) -> Answer:
    row = change(_row(answer))
    return _replaced(answer, {"data": row} if "data" in answer.payload else row)


def _renumber(row: Row, names: Sequence[str], change: Callable[[str], str | None]) -> Row:
    """The row with other numbers, where it has any: as text, as `phone_number`, or as a list of such."""

    def changed(value: Any) -> Any:
        match value:
            case str():
                return change(value)
            case {"phone_number": str(number)}:
                return {**value, "phone_number": change(number)}
            case list():
                return [changed(item) for item in value]
        return value

    return {name: changed(value) if name in names else value for name, value in row.items()}


def _redact(number: str) -> str:
    return number[:5] + "X" * max(0, len(number) - 5)


def _without_country(number: str) -> str:
    match = re.fullmatch(r"\+1(\d{3})(\d{3})(\d{4})", number)
    return f"({match[1]}) {match[2]}-{match[3]}" if match else number.removeprefix("+")


def _in_local_time(row: Row) -> Row:
    return {name: _without_offset(value) if name in _TIMES else value for name, value in row.items()}


def _without_offset(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return moment.replace(tzinfo=None).isoformat()
