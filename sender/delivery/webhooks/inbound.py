"""What a receiver does with a reply before its webhook is answered: it teaches the suppression list.

A STOP is on the list, and a reply that may be one is held, before anything else is done with the reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sender.providers.base import InboundMessage
from sender.state.state import State
from sender.suppression.keywords import opt_out_words
from sender.suppression.reviews import ReviewPolicy
from sender.suppression.suppression_list import SuppressionList


@dataclass(frozen=True, slots=True)
class ReplyHandling:
    """How replies are handled: `own_words` opt out besides those that always do; `review` is for unclear ones."""

    own_words: tuple[str, ...] = ()
    review: ReviewPolicy = ReviewPolicy.HOLD


class InboundHandler:
    """Takes replies of one state, from one thread. What it is called with is on disk when it returns."""

    def __init__(self, state: State, handling: ReplyHandling, *, simulated: bool) -> None:
        """`simulated` replies are the sandbox's: they hold nobody back who is real. Raises InputError for a word."""
        self._state = state
        self._own_words = opt_out_words(handling.own_words)
        self._holds_unclear = handling.review is ReviewPolicy.HOLD
        self._simulated = simulated

    def __call__(self, message: InboundMessage, dialect: str, heard_at: datetime) -> None:
        """Take a reply that reached us at `heard_at` (aware). Raises StateError."""
        store = self._state.open_suppressions()
        with SuppressionList(store, self._own_words, holds_unclear=self._holds_unclear) as suppressions:
            suppressions.learn_inbound(
                message.from_number,
                message.text,
                message.to,
                dialect,
                datetime.fromisoformat(message.at) if message.at else heard_at,
                keyword=message.keyword,
                message_id=message.message_id,
                heard_at=heard_at,
                simulated=self._simulated,
            )
