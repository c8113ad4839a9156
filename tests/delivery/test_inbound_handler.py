"""A reply that reached us: what it teaches the suppression list, and what is stored of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import sender
from sender.delivery.webhooks.inbound import InboundHandler, ReplyHandling
from sender.providers.base import InboundMessage
from sender.state.new_state import init_state
from sender.state.replies import StoredReply
from sender.state.state import State
from sender.suppression.reviews import ReviewPolicy

ADA, OURS = "+12025550101", "+12025550150"
HEARD = datetime(2026, 11, 21, 12, tzinfo=UTC)
HEARD_MS = round(HEARD.timestamp() * 1000)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    init_state(tmp_path)
    with sender.open_state(tmp_path) as opened:
        yield opened


def hear(
    state: State, text: str, *, keep: bool = True, simulated: bool = False, own_words: tuple[str, ...] = (),
    review: ReviewPolicy = ReviewPolicy.HOLD, at: datetime = HEARD, **fields: Any,
) -> StoredReply | None:  # fmt: skip
    """What is stored of a reply."""
    handling = ReplyHandling(keep=keep, own_words=own_words, review=review)
    with closing(InboundHandler(state, handling, simulated=simulated)) as handler:
        handler(InboundMessage(fields.pop("message_id", "SM1"), ADA, OURS, text, **fields), "telnyx", at)
    with closing(state.open_replies()) as replies:
        return next(iter(replies.kept()), None)


def listed(state: State) -> list[tuple[str, str, str]]:
    return [(row[0], row[1], row[2]) for row in state.suppressions.active()]


@pytest.mark.parametrize(
    ("text", "keyword", "meaning", "reason"),
    [
        pytest.param("STOP", None, "stop", "opted_out", id="a keyword"),
        pytest.param("see you", "STOP", "stop", "opted_out", id="as the provider reads it"),
        pytest.param("", "STOP", "stop", "opted_out", id="without a text"),
        pytest.param("START", "STOP", "stop", "opted_out", id="a STOP in either counts"),
        pytest.param("START", None, "start", None, id="a START"),
        pytest.param("leave me alone", None, "review", "under_review", id="in other words"),
        pytest.param("see you", None, None, None, id="nothing of the kind"),
        pytest.param("see you", "HELP", None, None, id="another keyword of the provider"),
        pytest.param("", None, None, None, id="a picture"),
    ],
)
def test_what_it_teaches(state: State, text: str, keyword: str | None, meaning: str | None, reason: str | None) -> None:
    stored = hear(state, text, keyword=keyword)
    assert stored is not None
    assert (stored.reply.text, stored.reply.meaning) == (text, meaning)
    assert (stored.reply.number, stored.reply.our_number, stored.reply.dialect) == (ADA, OURS, "telnyx")
    assert listed(state) == ([] if reason is None else [(ADA, "all", reason)])


@pytest.mark.parametrize("text", ["STOP", "leave me alone"])
def test_one_of_a_simulation_holds_nobody_back_who_is_real(state: State, text: str) -> None:
    stored = hear(state, text, simulated=True)
    assert stored is not None
    assert stored.reply.simulated is True
    assert {scope for _, scope, _ in listed(state)} == {"sandbox"}


def test_words_of_ones_own_opt_out(state: State) -> None:
    assert hear(state, "Rhubarb!") is not None
    assert listed(state) == []
    hear(state, "Rhubarb!", own_words=("rhubarb",), message_id="SM2")
    assert listed(state) == [(ADA, "all", "opted_out")]


def test_unclear_ones_are_held_only_where_that_is_wanted(state: State) -> None:
    stored = hear(state, "leave me alone", review=next(each for each in ReviewPolicy if each is not ReviewPolicy.HOLD))
    assert stored is not None
    assert (listed(state), stored.reply.meaning) == ([], None)


def test_the_list_learns_also_where_nothing_is_stored(state: State) -> None:
    assert hear(state, "STOP", keep=False) is None
    assert listed(state) == [(ADA, "all", "opted_out")]


def test_when_it_was_written_and_heard(state: State) -> None:
    written = HEARD - timedelta(minutes=5)
    stored = hear(state, "see you", at=HEARD, media=("https://example.com/a.jpg",))
    assert stored is not None
    assert (stored.reply.written_at, stored.reply.heard_at) == (None, HEARD_MS)
    assert stored.reply.media == ("https://example.com/a.jpg",)
    with closing(InboundHandler(state, ReplyHandling(keep=True), simulated=False)) as handler:
        handler(InboundMessage("SM2", ADA, OURS, "STOP", at=written.isoformat()), "telnyx", HEARD)
    with closing(state.open_replies()) as replies:
        (again,) = [each.reply for each in replies.kept() if each.reply.message_id == "SM2"]
    assert (again.written_at, again.heard_at) == (HEARD_MS - 300_000, HEARD_MS)
