"""What lookups teach the suppression list: dead numbers, and numbers that are somebody else's by now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from sender.core.outcomes import SkipReason
from sender.state.number_facts import NumberFacts
from sender.suppression.entries import (
    EVERYWHERE,
    FIXED_LINE,
    SANDBOX,
    EntrySource,
    SuppressionEntry,
    known_landline,
)
from sender.suppression.suppression_list import SuppressionList


def learn_lookups(suppressions: SuppressionList, facts: Iterable[NumberFacts]) -> int:
    """Enter what `facts` say; return how many entries were new.

    Landlines and numbers that are not valid are dead (`skip_dead`). One that has a new owner is suppressed: whoever
    agreed to texts is not who would get them.
    """
    return suppressions.restore(entry for fact in facts for entry in _entries(fact))


def _entries(fact: NumberFacts) -> Iterator[SuppressionEntry]:
    at = datetime.fromtimestamp(fact.at / 1000, UTC)
    scope = SANDBOX if fact.simulated else EVERYWHERE
    source, via = EntrySource.PROVIDER_LIST, fact.provider
    if fact.line_type == FIXED_LINE:
        yield known_landline(fact.number, via, fact.carrier, at, simulated=fact.simulated)
    if fact.valid is False:
        said = f"not a valid number, as {via} says"
        yield SuppressionEntry(fact.number, SkipReason.INVALID_NUMBER, source, via, scope, at, said)
    if fact.reassigned == "yes":
        said = f"with a new owner after {fact.reassigned_since}, as {via} says"
        yield SuppressionEntry(fact.number, SkipReason.SUPPRESSED, source, via, scope, at, said)
