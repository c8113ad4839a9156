"""Replies as a table, with the message that each most probably answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import InputError
from sender.reports.reply_table import REPLIES_SCHEMA, write_replies
from sender.state.new_state import init_state
from sender.state.replies import ReplyRow
from sender.state.state import State

ADA, BOB, EVE = "+12025550101", "+12025550102", "+12025550103"
OURS, OTHER = "+12025550150", "+12025550151"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    init_state(tmp_path / "state")
    with sender.open_state(tmp_path / "state") as opened:
        yield opened


def send(state: State, name: str, numbers: list[str], from_: str = OURS, **keys: Any) -> str:
    """A simulated run; its id."""
    people = pl.DataFrame({"phone": numbers})
    campaign = sender.load_campaign(recipients=people, message=f"Hi from {name}", provider="sandbox", rate="none", name=name, from_=from_, **keys)  # fmt: skip
    return sender.send(sender.build_plan(campaign, state_dir=state.where), state_dir=state.where).run.run_id


def reply(state: State, text: str = "Yes", number: str = ADA, to: str = OURS, *, ago_s: float = 0, simulated: bool = True, **more: Any) -> None:  # fmt: skip
    heard = round((datetime.now(UTC) - timedelta(seconds=ago_s)).timestamp() * 1000)
    with closing(state.open_replies(create=True)) as store:
        values = {"media": (), "meaning": None, "written_at": None, **more}
        row = ReplyRow(
            "twilio", f"SM{text}{number}{to}", number, to, text, heard_at=heard, simulated=simulated, **values
        )
        assert store.add(row, keep=True, forward=False)


def links(state: State, **options: Any) -> list[tuple[Any, ...]]:
    return sender.replies(state, **options).select("text", "likely_campaign", "likely_row_number").rows()


def test_without_replies_the_table_is_empty_and_typed(state: State) -> None:
    assert sender.replies(state).schema == pl.Schema(REPLIES_SCHEMA)
    reply(state)
    assert sender.replies(state).schema == pl.Schema(REPLIES_SCHEMA)


def test_a_reply_answers_the_newest_message_before_it(state: State) -> None:
    reply(state, "too early", ago_s=60)
    first = send(state, "first", [BOB, ADA])
    reply(state, "to the first")
    second = send(state, "second", [ADA])
    reply(state, "to the second")
    reply(state, "a stranger's", EVE)
    assert links(state) == [
        ("too early", None, None),
        ("to the first", "first", 2),
        ("to the second", "second", 1),
        ("a stranger's", None, None),
    ]
    table = sender.replies(state)
    assert table["likely_run_id"].to_list() == [None, first, second, None]
    assert table["likely_message_id"].is_not_null().to_list() == [False, True, True, False]
    assert (table["likely_sent_at"].drop_nulls() <= table.drop_nulls("likely_sent_at")["heard_at"]).all()


def test_the_number_that_was_replied_to_comes_first(state: State) -> None:
    send(state, "ours", [ADA])
    send(state, "other", [ADA], from_=OTHER)
    reply(state, "to ours", to=OURS)
    reply(state, "to other", to=OTHER)
    reply(state, "to a third", to="+12025550152")
    assert links(state) == [("to ours", "ours", 1), ("to other", "other", 1), ("to a third", "other", 1)]


def test_what_was_not_sent_is_not_answered(state: State) -> None:
    send(state, "ours", ["+12025550190", ADA])  # a number that the sandbox refuses
    reply(state, "Yes", "+12025550190")
    assert links(state) == [("Yes", None, None)]


def test_real_replies_answer_real_runs(state: State) -> None:
    send(state, "simulated", [ADA])
    reply(state, simulated=False)
    assert links(state) == [("Yes", None, None)]


def test_filters(state: State) -> None:
    send(state, "first", [ADA, BOB])
    reply(state, "old", ago_s=3600)
    reply(state, "new")
    reply(state, "bob's", BOB)
    assert [row[0] for row in links(state, number="(202) 555-0101", region="US")] == ["old", "new"]
    assert [row[0] for row in links(state, campaign="first")] == ["new", "bob's"]
    assert [row[0] for row in links(state, since=datetime.now(UTC) - timedelta(minutes=5))] == ["new", "bob's"]
    assert links(state, campaign="no such") == []
    with pytest.raises(InputError):
        sender.replies(state, number="555-01")


def test_after_a_prune_and_a_forget_the_rows_stay_as_far_as_they_may(state: State) -> None:
    send(state, "first", [ADA, BOB])
    reply(state, "ada's words")
    reply(state, "bob's words", BOB)
    forgotten = sender.forget(state, ADA)
    assert forgotten.replies == 1
    rows = sender.replies(state).select("number", "our_number", "text", "likely_campaign").rows()
    assert rows == [(None, None, None, None), (BOB, OURS, "bob's words", "first")]
    assert sender.prune(state, older_than_s=0, dry_run=True).replies == 2
    assert sender.prune(state, older_than_s=3600).replies == 0
    assert sender.prune(state, older_than_s=0).replies == 2
    assert sender.replies(state).is_empty()


def test_runs_whose_plan_is_gone_are_passed_over(state: State) -> None:
    run_id = send(state, "first", [ADA])
    reply(state)
    for file in state.plans.folder(state.ledger.run(run_id)).rglob("plan.parquet"):
        file.unlink()
    assert links(state) == [("Yes", None, None)]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "xlsx"])
def test_files(state: State, tmp_path: Path, suffix: str) -> None:
    send(state, "first", [ADA])
    reply(state, "=cmd()\x1b[2J", media=("https://example.com/1", "https://example.com/2"))
    file = tmp_path / f"replies.{suffix}"
    for _ in range(2):  # its own kind may be replaced
        write_replies(sender.replies(state), file)
    if suffix in ("csv", "jsonl"):
        assert "\x1b" not in file.read_text()
    if suffix == "csv":
        assert "'=cmd()" in file.read_text()
    if suffix == "parquet":
        read = pl.read_parquet(file)
        assert read.schema == pl.Schema(REPLIES_SCHEMA)
        assert read.select("text", "media").row(0) == ("=cmd()\x1b[2J", "https://example.com/1 https://example.com/2")
    other = tmp_path / "people.csv"
    other.write_text("phone\n")
    with pytest.raises(InputError):
        write_replies(sender.replies(state), other)
