"""What a receiver does with a reply before its webhook is answered: it teaches the suppression list, and may be kept.

A STOP is on the list, and a reply that may be one is held, before anything else is done with the reply. Forwarding is
`sender.delivery.webhooks.forwarding`'s; here a reply is only put where that finds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sender.core.standard_webhooks import Target
from sender.providers.base import InboundMessage
from sender.state.replies import ReplyRow
from sender.state.state import State
from sender.suppression.entries import Learned
from sender.suppression.keywords import opt_out_words
from sender.suppression.reviews import ReviewPolicy
from sender.suppression.suppression_list import SuppressionList


@dataclass(frozen=True, slots=True)
class ReplyHandling:
    """How replies are handled: `own_words` opt out besides those that always do; `review` is for unclear ones.

    With `keep` they are kept in the state, texts and all; `forward_to` is where they are posted on to.
    """

    own_words: tuple[str, ...] = ()
    review: ReviewPolicy = ReviewPolicy.HOLD
    keep: bool = False
    forward_to: Target | None = None

    @property
    def stores(self) -> bool:
        """Whether replies are stored."""
        return self.keep or self.forward_to is not None


class InboundHandler:
    """Takes replies of one state, from one thread. What it is called with is on disk when it returns.

    Close it at the end.
    """

    def __init__(self, state: State, handling: ReplyHandling, *, simulated: bool) -> None:
        """`simulated` replies are the sandbox's: they hold nobody back who is real.

        Raises InputError for a word that cannot opt out, and StateError where replies cannot be stored.
        """
        self._state = state
        self._handling = handling
        self._own_words = opt_out_words(handling.own_words)
        self._simulated = simulated
        self._replies = state.open_replies(create=True) if handling.stores else None

    def close(self) -> None:
        if self._replies is not None:
            self._replies.close()

    def __call__(self, message: InboundMessage, dialect: str, heard_at: datetime) -> None:
        """Take a reply that reached us at `heard_at` (aware). Raises StateError."""
        holds_unclear = self._handling.review is ReviewPolicy.HOLD
        with SuppressionList(
            self._state.open_suppressions(), self._own_words, holds_unclear=holds_unclear
        ) as suppressions:
            learned = suppressions.learn_inbound(
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
        if self._replies is not None:
            row = ReplyRow(
                dialect=dialect,
                message_id=message.message_id,
                number=message.from_number,
                our_number=message.to,
                text=message.text,
                media=message.media,
                meaning=_meaning(learned),
                written_at=_ms(datetime.fromisoformat(message.at)) if message.at else None,
                heard_at=_ms(heard_at),
                simulated=self._simulated,
            )
            self._replies.add(row, keep=self._handling.keep, forward=self._handling.forward_to is not None)


def _meaning(learned: Learned | None) -> str | None:
    if learned is None:
        return None
    return "review" if learned.keyword is None else learned.keyword.value.lower()


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
