"""How far the rows of a run have come, from the list to the phone."""

from __future__ import annotations

from dataclasses import dataclass

from sender.core.outcomes import FINAL, Status
from sender.reports.summary import Summary

_WITH_CARRIER = (Status.SENT, Status.DELIVERED, Status.UNDELIVERED, Status.UNCONFIRMED)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the funnel, and the number of rows that have reached it.

    `not_known` are accepted messages of which nobody knows yet whether they have: the provider has not been asked, or
    has not said. A share of `count` means little until they are few.
    """

    name: str
    count: int
    not_known: int = 0


def count_waiting(summary: Summary) -> int:
    """The number of accepted messages without a final status."""
    final = sum(summary.statuses.get(status, 0) for status in FINAL) - summary.canceled  # which never were accepted
    return summary.accepted - final


def make_funnel(summary: Summary) -> tuple[Stage, ...]:
    """Return the stages from all rows to delivered messages, in order."""
    messages = summary.rows - sum(summary.skipped.values())
    waiting, queued = count_waiting(summary), summary.statuses.get(Status.QUEUED, 0)
    return (
        Stage("rows", summary.rows),
        Stage("messages", messages),
        Stage("submitted", messages - summary.canceled - summary.pending),
        Stage("accepted", summary.accepted),
        Stage("with the carrier", sum(summary.statuses.get(status, 0) for status in _WITH_CARRIER), queued),
        Stage("delivered", summary.statuses.get(Status.DELIVERED, 0), waiting),
    )
