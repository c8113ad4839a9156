"""The sandbox's lists of deactivated numbers, as Twilio serves them: GET /v1/Deactivations, and the file it leads to.

`POST /sandbox/deactivations` with `{"date": …, "numbers": […]}` sets the list of a day. Any other day that is over has
the numbers that end in 0188, of three area codes. Kept in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from sender.sandbox.dialect import Answer, FieldProblem, Refused
from sender.sandbox.wire_formats import instant_ms

PATH = "/v1/Deactivations"
FILE_PATH = "/sandbox/deactivated.txt"
_USUAL = ("12025550188", "12125550188", "14155550188")
_VALID_MS = 120_000  # of an address, as Twilio has it


class Deactivations:
    """The lists, by day."""

    def __init__(self) -> None:
        self._lists: dict[date, tuple[str, ...]] = {}

    def set(self, fields: Mapping[str, Any]) -> None:
        """Set the list of a day. Raises ValueError for what is not one."""
        self._lists[date.fromisoformat(fields["date"])] = tuple(map(str, fields["numbers"]))

    def locate(self, params: Mapping[str, str], base_url: str, now_ms: int) -> Answer:
        """Return the answer that leads to the day's file. Raises Refused without a day, and for one that has no list.

        No page shows the status of the good answer; Twilio's own SDK allows a 3xx for it.
        """
        try:
            day = date.fromisoformat(params.get("Date", ""))
        except ValueError:
            raise Refused(FieldProblem(400, "20001", "Invalid parameter: Date")) from None
        if day not in self._lists and _begin_ms(day) + 86_400_000 > now_ms:
            raise Refused(FieldProblem(400, "30114", "Specified date is not available yet"))
        query = urlencode({"date": day.isoformat(), "expires": now_ms + _VALID_MS})
        return Answer(307, {"redirect_to": f"{base_url.rstrip('/')}{FILE_PATH}?{query}"})

    def text(self, params: Mapping[str, str], now_ms: int) -> str | None:
        """Return the file behind an address, a number a line; None once the address has expired."""
        if int(params["expires"]) < now_ms:
            return None
        numbers = self._lists.get(date.fromisoformat(params["date"]), _USUAL)
        return "".join(f"{number}\n" for number in numbers)


def _begin_ms(day: date) -> int:
    return instant_ms(f"{day.isoformat()}T00:00:00Z") or 0
