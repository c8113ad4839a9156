"""The sandbox's list of opt-outs, as Telnyx serves it: GET /v2/messaging_optouts.

`POST /sandbox/optouts` with `{"from": …, "to": …}` adds a number, as a STOP to a Telnyx number would. Kept in memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sender.sandbox.dialect import Answer, FieldProblem, Refused
from sender.sandbox.wire_formats import instant_ms, iso, whole

PATH = "/v2/messaging_optouts"
_MAX_PAGE = 250
_KNOWN = re.compile(r"filter\[(messaging_profile_id|from)\]|created_at\[(gte|lte)\]|redaction_enabled|page\[\w+\]")


class OptOuts:
    """The numbers that replied STOP, oldest first."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []

    def add(self, fields: Mapping[str, Any], now_ms: int) -> None:
        at_ms = instant_ms(fields["created_at"]) if fields.get("created_at") else None
        self._entries.append(
            {
                "from": fields["from"],
                "to": fields["to"],
                "keyword": fields.get("keyword", "STOP"),
                "messaging_profile_id": fields.get("messaging_profile_id"),
                "ms": now_ms if at_ms is None else at_ms,
            }
        )

    def page(self, params: Mapping[str, str]) -> Answer:
        """Return a page. Raises Refused for a filter that the sandbox does not know."""
        for name in params:
            if not _KNOWN.fullmatch(name):
                raise Refused(FieldProblem(400, "10015", f"The sandbox does not know {name}", name))
        number = whole(params, "page[number]", 1, 1, 10**9)
        size = whole(params, "page[size]", 20, 1, _MAX_PAGE)
        if number is None or size is None:
            raise Refused(FieldProblem(400, "10033", "Value outside of range", "page"))
        entries = [entry for entry in self._entries if _matches(entry, params)]
        redact = params.get("redaction_enabled", "true") == "true"
        rows = [
            {name: value for name, value in entry.items() if name != "ms"}
            | {
                "created_at": iso(entry["ms"], fraction=True),
                "from": _redact(entry["from"]) if redact else entry["from"],
            }
            for entry in entries[(number - 1) * size : number * size]
        ]
        total = -(-len(entries) // size)
        meta = {"page_number": number, "page_size": size, "total_pages": total, "total_results": len(entries)}
        return Answer(200, {"data": rows, "meta": meta})


def _matches(entry: Mapping[str, Any], params: Mapping[str, str]) -> bool:
    for name in ("messaging_profile_id", "from"):
        if (value := params.get(f"filter[{name}]")) is not None and entry[name] != value:
            return False
    since, until = (instant_ms(params.get(f"created_at[{op}]", "")) for op in ("gte", "lte"))
    return (since is None or entry["ms"] >= since) and (until is None or entry["ms"] <= until)


def _redact(number: str) -> str:
    return number[:-4] + "****"
