"""The part of the suppression list that says of a number that no text can arrive there: what `skip_dead` skips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sender.core.outcomes import SkipReason
from sender.suppression.entries import DEAD, EVERYWHERE, EntrySource, SuppressionEntry
from sender.suppression.suppression_list import SuppressionList


@dataclass(frozen=True, slots=True)
class Revived:
    """What taking numbers off the list of dead ones did: those `removed`, and those that somebody else holds back."""

    removed: tuple[str, ...]
    held: tuple[SuppressionEntry, ...]
    unknown: tuple[str, ...]


def add_deactivated(suppressions: SuppressionList, numbers: Iterable[str], *, via: str, at: datetime) -> int:
    """Enter numbers (E.164) that carriers took out of service at `at` (aware), by `via`'s list; return the new ones."""
    note = f"on the list of deactivated numbers from {via}"
    return suppressions.restore(
        SuppressionEntry(number, SkipReason.INVALID_NUMBER, EntrySource.PROVIDER_LIST, via, EVERYWHERE, at, note)
        for number in numbers
    )


def dead_entries(suppressions: SuppressionList) -> list[SuppressionEntry]:
    """The entries of dead numbers that count, newest first."""
    dead = [entry for entry in suppressions.entries() if entry.reason in DEAD]
    return sorted(dead, key=lambda entry: (entry.at, entry.number), reverse=True)


def revive(suppressions: SuppressionList, numbers: Iterable[str]) -> Revived:
    """Take numbers off the list of dead ones, but for those that have opted out or are suppressed.

    Whatever is taken back is taken back with all that was said of the number, and an opt-out must stay.
    """
    removed, held, unknown = [], [], []
    for number in dict.fromkeys(numbers):
        active = [entry for entry in suppressions.why(number) if entry.active]
        if stays := [entry for entry in active if entry.reason not in DEAD]:
            held.append(stays[0])
        elif active:
            removed.append(number)
        else:
            unknown.append(number)
    suppressions.remove(removed)
    return Revived(tuple(removed), tuple(held), tuple(unknown))
