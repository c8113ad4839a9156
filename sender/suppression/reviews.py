"""Replies that may be an opt-out and are held for a person: which they are, and what the person decides.

A held reply is an entry of the suppression list (`under_review`), so that its number gets nothing until it is decided.
Which replies are held is in `sender.suppression.revocations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sender.core.errors import InputError
from sender.state.state import State
from sender.suppression.suppression_list import SuppressionList


class ReviewPolicy(StrEnum):
    """What happens to a number whose reply may be an opt-out in other words."""

    HOLD = "hold"  # it gets nothing until a person has decided
    IGNORE = "ignore"  # only opt-out words count


@dataclass(frozen=True, slots=True)
class Review:
    """A reply that waits for a decision: `text` (up to 500 characters; None: erased) came from `number` at `at`.

    `our_number` is the one it was sent to, '' where that is not known. `scope` is `all`, or `sandbox` for a reply that
    the sandbox made up.
    """

    number: str
    our_number: str
    text: str | None
    at: datetime
    scope: str


def open_reviews(state: State) -> list[Review]:
    """The replies that wait for a decision, oldest first. Raises StateError.

    Those of people who have opted out since are not among them: nothing is left to decide.
    """
    return [
        Review(entry.number, entry.via, entry.note, entry.at, entry.scope)
        for entry in SuppressionList(state.suppressions).in_review()
    ]


def decide_review(state: State, review: Review | str, *, opt_out: bool) -> int:
    """Decide about a reply, or about all that wait from a number (E.164); return how many were decided.

    With `opt_out` the number has opted out, as if it had written STOP; else it gets messages again. A reply that came
    after `review` was read stays held. Raises InputError for a number of which none waits, and StateError.
    """
    waiting = open_reviews(state)
    number = review if isinstance(review, str) else review.number
    chosen = [each for each in waiting if each.number == number] if isinstance(review, str) else [review]
    if not chosen:
        raise nothing_to_decide(number)
    suppressions = SuppressionList(state.suppressions)
    return sum(
        suppressions.decide(each.number, each.our_number, each.scope, each.at, each.text, opt_out=opt_out)
        for each in chosen
    )


def nothing_to_decide(number: str) -> InputError:
    """The error for a number of which no reply waits."""
    return InputError(
        f"no reply of {number} waits for a decision", fix="`sender replies --review` lists the replies that do"
    )
