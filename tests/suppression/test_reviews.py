"""Replies that may be an opt-out: their numbers get nothing until a person has decided, or the person writes again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sender
from sender.core.errors import InputError
from sender.core.outcomes import Canceled, CancelReason
from sender.state.new_state import init_state
from sender.state.sqlite import suppression as sqlite_suppression
from sender.state.state import State
from sender.state.state_dir import SUPPRESSIONS_FILE
from sender.suppression.live_check import LiveSuppression, SendContext
from sender.suppression.suppression_list import SuppressionList

ADA, BOB = "+12025550101", "+12025550102"
OURS, OTHER = "+12025550150", "+12025550151"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIVE = SendContext("spring", "twilio")


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    init_state(tmp_path / "state")
    with sender.open_state(tmp_path / "state") as opened:
        yield opened


def write(state: State, text: str, *, at: float = 0, number: str = ADA, to: str = OURS, **more: Any) -> bool:
    """`number` writes `text` to us; whether that taught something."""
    with SuppressionList.open(state.where) as suppressions:
        learned = suppressions.learn_inbound(number, text, to, "twilio", later(at), **more)
    return learned is not None and learned.new


def refused(state: State, number: str = ADA, context: SendContext = LIVE) -> Canceled | None:
    with SuppressionList.open(state.where) as suppressions:
        return LiveSuppression(suppressions, context, since=None, numbers=lambda: pl.Series([number])).refuses(
            number, OURS
        )


def waiting(state: State) -> list[tuple[str, str | None]]:
    return [(review.number, review.text) for review in sender.open_reviews(state)]


def plan(state: State, numbers: list[str], **keys: Any) -> sender.Plan:
    people = pl.DataFrame({"phone": numbers})
    given = {"provider": "sandbox", "from_": OURS, "message": "Hi", "rate": "none", "name": "offer"}
    return sender.build_plan(sender.load_campaign(recipients=people, **{**given, **keys}), state_dir=state.where)


def test_a_held_reply_is_in_every_plan_with_its_date_and_its_words(state: State) -> None:
    write(state, "please leave `me`\nalone, I mean it, and my neighbours too")
    made = plan(state, [ADA, BOB])
    assert made.frame["reason"].to_list() == ["under_review", None]
    assert made.frame["detail"][0] == (
        f"replied `please leave 'me' alone, I mean it, and…` to {OURS} on 2026-11-21 12:00 UTC, which may be an opt-out"
    )
    assert made.manifest.skipped == {"under_review": 1}
    assert sender.send(made, state_dir=state.where).exit_code == 0, "it is accounted for"


def test_it_stops_a_message_that_is_about_to_leave(state: State) -> None:
    assert refused(state) is None
    write(state, "take me off your list")
    assert refused(state) == Canceled(
        CancelReason.UNDER_REVIEW,
        f"not sent: replied `take me off your list` to {OURS} on 2026-11-21 12:00 UTC, which may be an opt-out",
    )
    assert refused(state, BOB) is None


def test_during_a_run_it_cancels_what_has_not_left(state: State) -> None:
    made = plan(state, [f"+120255501{n:02}" for n in range(60)], rate="40/s")
    last = "+12025550159"

    async def send() -> sender.RunResult:
        task = asyncio.create_task(sender.asend(made, state_dir=state.where))
        await asyncio.sleep(0.3)
        write(state, "leave me alone", number=last)
        return await task

    rows = asyncio.run(send()).results().filter(pl.col("to") == last)
    assert rows.select("status", "reason").row(0) == ("canceled", "under_review")


def test_opting_out_is_as_if_the_person_had_written_stop(state: State) -> None:
    write(state, "take me off your list " + "x" * 600)
    [review] = sender.open_reviews(state)
    assert (review.number, review.our_number, review.at, review.scope) == (ADA, OURS, NOON, "all")
    assert len(review.text or "") == 500
    assert sender.decide_review(state, review, opt_out=True) == 1
    assert waiting(state) == []
    assert plan(state, [ADA]).frame["reason"].to_list() == ["opted_out"]
    stopped = refused(state)
    assert stopped is not None
    assert stopped.reason is CancelReason.OPTED_OUT
    with SuppressionList.open(state.where) as suppressions:
        assert {len(entry.note or "") for entry in suppressions.why(ADA)} == {40}, "no more of the text than of a STOP"
    write(state, "START", at=5)
    assert refused(state) is None


def test_keeping_lets_messages_through_until_the_person_writes_again(state: State) -> None:
    write(state, "stop it", message_id="a")
    assert sender.decide_review(state, ADA, opt_out=False) == 1
    assert (waiting(state), refused(state)) == ([], None)
    assert not write(state, "stop it", at=9, message_id="a"), "the same webhook, hours later"
    assert refused(state) is None
    write(state, "I said stop it", at=10, message_id="b")
    assert waiting(state) == [(ADA, "I said stop it")]
    assert refused(state) is not None


def test_a_reply_that_came_after_the_list_was_read_stays_held(state: State) -> None:
    write(state, "stop it")
    [seen] = sender.open_reviews(state)
    write(state, "no really, leave me alone", at=1)
    assert sender.decide_review(state, seen, opt_out=False) == 1
    assert waiting(state) == [(ADA, "no really, leave me alone")]


def test_a_reply_that_was_read_is_decided_once_and_alone(state: State) -> None:
    write(state, "leave me alone")
    write(state, "remove me", to=OTHER, at=1)
    first, second = sender.open_reviews(state)
    assert sender.decide_review(state, first, opt_out=False) == 1
    assert sender.open_reviews(state) == [second], "that of our other number waits"
    assert sender.decide_review(state, first, opt_out=False) == 0, "somebody has decided meanwhile"
    assert sender.decide_review(state, ADA, opt_out=False) == 1
    with pytest.raises(InputError, match=f"no reply of \\{ADA} waits for a decision") as caught:
        sender.decide_review(state, ADA, opt_out=False)
    assert "`sender replies --review` lists" in str(caught.value.fix)


def test_a_decision_is_about_every_number_of_ours(state: State) -> None:
    write(state, "leave me alone")
    write(state, "remove me", to=OTHER)
    write(state, "go away", number=BOB)
    assert sender.decide_review(state, ADA, opt_out=False) == 2
    assert waiting(state) == [(BOB, "go away")]
    with pytest.raises(InputError, match=f"no reply of \\{ADA} waits for a decision"):
        sender.decide_review(state, ADA, opt_out=True)


@pytest.mark.parametrize(
    ("text", "at", "to", "reason"),
    [
        pytest.param("STOP", 1, OURS, CancelReason.OPTED_OUT, id="a STOP decides"),
        pytest.param("STOP", -1, OTHER, CancelReason.OPTED_OUT, id="an earlier one, too"),
        pytest.param("START", 1, OURS, None, id="a later START decides"),
        pytest.param("START", -1, OURS, CancelReason.UNDER_REVIEW, id="not an earlier one"),
        pytest.param("START", 0, OURS, CancelReason.UNDER_REVIEW, id="nor one of the same moment"),
        pytest.param("START", 1, OTHER, CancelReason.UNDER_REVIEW, id="nor one to another number"),
        pytest.param("Sorry, I meant my sister", 1, OURS, CancelReason.UNDER_REVIEW, id="nor other words"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_what_the_person_writes_besides(
    state: State, text: str, at: float, to: str, reason: CancelReason | None, turned: bool
) -> None:
    """In whatever order the webhooks arrive."""
    replies = [("leave me alone", 0.0, OURS), (text, at, to)]
    for words, minutes, ours in reversed(replies) if turned else replies:
        write(state, words, at=minutes, to=ours)
    stopped = refused(state)
    assert (None if stopped is None else stopped.reason) == reason
    assert bool(waiting(state)) is (reason is CancelReason.UNDER_REVIEW)


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(
        [("leave me alone", 1), ("START", 2), ("wrong number", 3), ("STOP", 4), ("START", 5), ("go away", 6)]
    ),
    st.data(),
)
def test_the_last_word_counts_in_any_order_and_doubled(tmp_path_factory: pytest.TempPathFactory, replies: list[tuple[str, int]], data: st.DataObject) -> None:  # fmt: skip
    state_dir = tmp_path_factory.mktemp("state")
    doubled = [*replies, *data.draw(st.lists(st.sampled_from(replies), max_size=4))]
    with SuppressionList.open(state_dir) as suppressions:
        for text, at in doubled:
            suppressions.learn_inbound(ADA, text, OURS, "twilio", later(at))
        assert [entry.note for entry in suppressions.in_review()] == ["go away"]
        suppressions.learn_inbound(ADA, "START", OURS, "twilio", later(7))
        assert suppressions.in_review() == []
        assert not any(entry.active for entry in suppressions.why(ADA))


def test_what_the_sandbox_says_holds_nobody_who_is_real(state: State) -> None:
    write(state, "leave me alone", simulated=True)
    assert refused(state) is None
    assert refused(state, context=SendContext("spring", "sandbox", simulated=True)) is not None
    [review] = sender.open_reviews(state)
    assert review.scope == "sandbox"
    sender.decide_review(state, review, opt_out=True)
    assert refused(state) is None


def test_a_person_may_take_the_number_off_the_list_instead(state: State) -> None:
    write(state, "leave me alone")
    with SuppressionList.open(state.where) as suppressions:
        assert suppressions.remove([ADA]) == 1
    assert (waiting(state), refused(state)) == ([], None)


def test_unclear_replies_are_ignored_where_that_is_the_policy(tmp_path: Path) -> None:
    from sender.state.open import open_suppressions

    with SuppressionList(open_suppressions(tmp_path), holds_unclear=False) as suppressions:
        assert suppressions.learn_inbound(ADA, "leave me alone", OURS, "twilio", NOON) is None
        assert suppressions.learn_inbound(ADA, "STOP", OURS, "twilio", NOON) is not None


def test_short_codes_and_senders_that_are_no_numbers_are_not_held(state: State) -> None:
    assert not write(state, "leave me alone", number="Acme")


# -- people who were erased --------------------------------------------------------------------------------------------


def test_who_is_erased_before_anybody_decided_has_opted_out(state: State) -> None:
    write(state, "leave me alone, my name is Ada")
    sender.forget(state, ADA)
    assert waiting(state) == []
    assert plan(state, [ADA]).frame["reason"].to_list() == ["opted_out"]
    assert b"my name is" not in (Path(state.where) / SUPPRESSIONS_FILE).read_bytes()


def test_who_was_erased_is_held_when_they_write_again(state: State) -> None:
    sender.forget(state, ADA)
    write(state, "leave me alone")
    assert waiting(state) == [(ADA, "leave me alone")]
    sender.decide_review(state, ADA, opt_out=False)
    assert refused(state) is None


# -- older files -------------------------------------------------------------------------------------------------------


def test_a_list_of_an_older_version_takes_replies_for_review(tmp_path: Path) -> None:
    """As version 2 made it, with its own CHECKs."""
    path = tmp_path / SUPPRESSIONS_FILE
    db = apsw.Connection(str(path))
    db.execute(sqlite_suppression._SCHEMA + sqlite_suppression._HEARD)
    db.execute("INSERT INTO list VALUES ('abc', 1)")
    db.execute("INSERT INTO entry VALUES (?, 'all', 'opted_out', 'reply', ?, 1, 'STOP', 1)", (BOB, OURS))
    db.pragma("application_id", sqlite_suppression._APPLICATION_ID)
    db.pragma("user_version", 2)
    db.close()
    handles = [SuppressionList.open(tmp_path) for _ in range(2)]
    for suppressions, number in zip(handles, (ADA, "+12025550103"), strict=True):
        assert suppressions.learn_inbound(number, "leave me alone", OURS, "twilio", NOON) is not None
    assert [entry.number for entry in handles[0].in_review()] == [ADA, "+12025550103"]
    assert [entry.number for entry in handles[1].entries()] == [ADA, BOB, "+12025550103"]
    for handle in handles:
        handle.close()
    db = apsw.Connection(str(path))
    assert db.pragma("integrity_check") == "ok"
    with pytest.raises(apsw.ConstraintError):
        db.execute("INSERT INTO entry VALUES ('+1', 'all', 'nonsense', 'reply', '', 1, '', 1)")
    db.close()


def test_an_exported_list_carries_the_reviews(state: State, tmp_path: Path) -> None:
    from sender.suppression.export import entries_from_frame, entries_to_frame

    write(state, "leave me alone")
    with SuppressionList.open(state.where) as ours, SuppressionList.open(tmp_path / "other") as theirs:
        assert theirs.restore(entries_from_frame(entries_to_frame(ours.entries()))) == 1
        assert [entry.note for entry in theirs.in_review()] == ["leave me alone"]


def test_many_reviews_are_found_among_many_entries(tmp_path: Path) -> None:
    with SuppressionList.open(tmp_path) as suppressions:
        suppressions.add(f"+1202{n:07}" for n in range(2_000_000, 2_050_000))
        for n in range(50):
            suppressions.learn_inbound(f"+1312555{n:04}", "leave me alone", OURS, "twilio", later(n))
        found = suppressions.in_review()
    assert len(found) == 50
    assert all(earlier.at < one.at for earlier, one in itertools.pairwise(found))
