"""Numbers at which no text can arrive: how they get onto the list, and how somebody takes them off again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sender.core.outcomes import SkipReason
from sender.suppression.dead_numbers import add_deactivated, dead_entries, revive
from sender.suppression.entries import EVERYWHERE, EntrySource
from sender.suppression.suppression_list import SuppressionList

ADA, BOB, EVE, NED = "+12025550101", "+12025550102", "+12025550103", "+12025550104"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[SuppressionList]:
    opened = SuppressionList.open(tmp_path)
    yield opened
    opened.close()


def test_a_deactivated_number_is_listed_with_its_day_and_its_source(listed: SuppressionList) -> None:
    assert add_deactivated(listed, [ADA, BOB], via="twilio", at=NOON) == 2
    assert add_deactivated(listed, [BOB], via="twilio", at=NOON) == 0
    [entry] = listed.why(ADA)
    assert (entry.number, entry.reason, entry.source) == (ADA, SkipReason.INVALID_NUMBER, EntrySource.PROVIDER_LIST)
    assert (entry.via, entry.scope, entry.at) == ("twilio", EVERYWHERE, NOON)
    assert entry.note == "on the list of deactivated numbers from twilio"


def test_the_newest_come_first_and_others_are_no_part_of_them(listed: SuppressionList) -> None:
    add_deactivated(listed, [ADA, BOB], via="twilio", at=NOON)
    add_deactivated(listed, [EVE], via="telnyx", at=NOON + timedelta(days=1))
    listed.add([NED], reason=SkipReason.SUPPRESSED)
    assert [entry.number for entry in dead_entries(listed)] == [EVE, BOB, ADA]


def test_only_a_dead_number_is_revived(listed: SuppressionList) -> None:
    """Whoever has opted out besides stays out, and with them what is known of the number."""
    add_deactivated(listed, [ADA, BOB], via="twilio", at=NOON)
    listed.add([BOB], reason=SkipReason.OPTED_OUT)
    done = revive(listed, [ADA, BOB, ADA, EVE])
    assert (done.removed, done.unknown) == ((ADA,), (EVE,))
    assert [(entry.number, entry.reason) for entry in done.held] == [(BOB, SkipReason.OPTED_OUT)]
    assert [entry.number for entry in dead_entries(listed)] == [BOB]
    assert revive(listed, [ADA]).unknown == (ADA,)
