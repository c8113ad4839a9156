"""What lookups teach the suppression list."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sender.core.outcomes import SkipReason
from sender.state.number_facts import LOOKUP, NumberFacts
from sender.suppression.looked_up import learn_lookups
from sender.suppression.suppression_list import SuppressionList

ADA, BOB = "+12025550101", "+12025550102"
NOON_MS = 1_795_953_600_000
LANDLINE, INVALID, MOVED = {"line_type": "fixed_line"}, {"valid": False}, {"reassigned": "yes", "reassigned_since": "2026-03-01"}  # fmt: skip


def fact(number: str = ADA, *, simulated: bool = False, **fields: Any) -> NumberFacts:
    return NumberFacts(number, simulated, LOOKUP, "twilio", NOON_MS)._replace(**fields)


@pytest.fixture
def listed(tmp_path: Path) -> SuppressionList:
    return SuppressionList.open(tmp_path)


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({}, []),
        ({"line_type": "mobile", "valid": True, "reassigned": "no"}, []),
        ({"line_type": "voip", "valid": None, "reassigned": "unknown"}, []),
        (LANDLINE, ["landline"]),
        (INVALID, ["invalid_number"]),
        (MOVED, ["suppressed"]),
        ({**LANDLINE, **INVALID, **MOVED}, ["invalid_number", "landline", "suppressed"]),
    ],
)
def test_what_is_entered(listed: SuppressionList, fields: dict[str, Any], reasons: list[str]) -> None:
    assert learn_lookups(listed, [fact(**fields), fact(BOB)]) == len(reasons)
    assert sorted(entry.reason.value for entry in listed.entries()) == reasons
    assert {entry.number for entry in listed.entries()} <= {ADA}
    assert learn_lookups(listed, [fact(**fields)]) == 0, "it is known"


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize(
    ("fields", "reason", "note"),
    [
        ({**LANDLINE, "carrier": "ACME"}, SkipReason.LANDLINE, "a landline, as twilio says (ACME)"),
        (INVALID, SkipReason.INVALID_NUMBER, "not a valid number, as twilio says"),
        (MOVED, SkipReason.SUPPRESSED, "with a new owner after 2026-03-01, as twilio says"),
    ],
)
def test_an_entry_says_who_said_it_when_and_for_whom_it_holds(
    listed: SuppressionList, simulated: bool, fields: dict[str, Any], reason: SkipReason, note: str
) -> None:
    learn_lookups(listed, [fact(simulated=simulated, **fields)])
    (entry,) = listed.entries()
    assert (entry.number, entry.reason, entry.note) == (ADA, reason, note)
    assert (entry.source, entry.via) == ("provider_list", "twilio")
    assert entry.at == datetime.fromtimestamp(NOON_MS / 1000, UTC)
    assert entry.scope == ("sandbox" if simulated else "all")
