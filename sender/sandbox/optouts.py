"""The sandbox's list of opt-outs, as Telnyx serves it: GET /v2/messaging_optouts.

`POST /sandbox/optouts` with `{"from": …, "to": …}` puts a number on it, as a STOP to a Telnyx number would. In memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sender.sandbox.dialect import Answer, FieldProblem, Refused, instant_ms, iso, whole

PATH = "/v2/messaging_optouts"
_MAX_PAGE = 250
_KNOWN = re.compile(r"filter\[(messaging_profile_id|from)\]|created_at\[(gte|lte)\]|redaction_enabled|page\[\w+\]")


class OptOuts:
    """Who said STOP, oldest first."""

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
        """One page; raises Refused for a filter that the sandbox does not know."""
        for name in params:
            if not _KNOWN.fullmatch(name):
                raise Refused(FieldProblem(400, "10015", f"The sandbox does not know {name}", name))
        number = whole(params, "page[number]", 1, 1, 10**9)
        size = whole(params, "page[size]", 20, 1, _MAX_PAGE)
        if number is None or size is None:
            raise Refused(FieldProblem(400, "10033", "Value outside of range", "page"))
        found = [one for one in self._entries if _matches(one, params)]
        redact = params.get("redaction_enabled", "true") == "true"
        rows = [
            {name: value for name, value in one.items() if name != "ms"}
            | {"created_at": iso(one["ms"], fraction=True), "from": _redacted(one["from"]) if redact else one["from"]}
            for one in found[(number - 1) * size : number * size]
        ]
        total = -(-len(found) // size)
        meta = {"page_number": number, "page_size": size, "total_pages": total, "total_results": len(found)}
        return Answer(200, {"data": rows, "meta": meta})


def _matches(one: Mapping[str, Any], params: Mapping[str, str]) -> bool:
    for name in ("messaging_profile_id", "from"):
        if (wanted := params.get(f"filter[{name}]")) is not None and one[name] != wanted:
            return False
    since, until = (instant_ms(params.get(f"created_at[{op}]", "")) for op in ("gte", "lte"))
    return (since is None or one["ms"] >= since) and (until is None or one["ms"] <= until)


def _redacted(number: str) -> str:
    return number[:-4] + "****"
