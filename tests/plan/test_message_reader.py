"""Messages by `seq`: whichever block they are in, in whatever order they are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

import sender
from sender.plan import message_reader
from sender.plan.message_reader import MessageReader
from sender.plan.plan import Plan

A, B = "+12025550150", "+12125550151"
# Rows of a plan: those that are skipped have no `seq`. Blocks of four rows begin at seq 0, 2, 6, 6 and 9.
SKIPPED_ROWS = {0, 3, 8, 9, 10, 11, 14}
ROWS = 18
BLOCK = 4
STARTS = [0, 2, 6, 6, 9]


def make_plan(folder: Path, *, fields: dict[str, Any] | None = None) -> Plan:
    """A written plan of ROWS rows: the message with `seq` n has body `n`, n % 3 + 1 segments and sender A, B or none."""
    people = [{"phone": f"+12025550{100 + row}", "name": str(row)} for row in range(ROWS)]
    campaign = sender.load_campaign(
        provider="sandbox", from_=A, rate="none", message="Hi", recipients=people, **(fields or {})
    )
    built = sender.build_plan(campaign)
    seqs = iter(range(ROWS))
    rows = []
    for row in range(ROWS):
        seq = None if row in SKIPPED_ROWS else next(seqs)
        own = json.dumps({"validity_period": seq}) if seq == 4 else None
        rows.append({
            "seq": seq,
            "body": None if seq is None else str(seq),
            "segments": None if seq is None else seq % 3 + 1,
            "from_number": None if seq is None else (A, B, None)[seq % 3],
            "media": None if seq != 5 else ["https://example.com/a.png"],
            "fields": own,
        })  # fmt: skip
    schema = {name: built.frame.schema[name] for name in rows[0]}
    frame = built.frame.with_columns(pl.DataFrame(rows, schema=schema))
    return Plan(built.manifest, frame).write(folder / "plan")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(tmp_path)


def read(reader: MessageReader, *seqs: int) -> list[str]:
    return [message.body or "" for message, _ in reader.read(seqs)]


MESSAGES = ROWS - len(SKIPPED_ROWS)


@pytest.mark.parametrize("block", [1, 2, 3, BLOCK, 5, 7, ROWS - 1, ROWS, 1000])
def test_every_message_is_found_in_blocks_of_any_size(plan: Plan, block: int) -> None:
    every = [str(seq) for seq in range(MESSAGES)]
    assert read(MessageReader(plan, "run", block=block), *range(MESSAGES)) == every
    one_by_one = MessageReader(plan, "run", block=block)
    assert [read(one_by_one, seq)[0] for seq in range(MESSAGES)] == every
    backwards = MessageReader(plan, "run", block=block)
    assert [read(backwards, seq)[0] for seq in reversed(range(MESSAGES))] == every[::-1]


@pytest.mark.parametrize(
    "seqs",
    [
        pytest.param((), id="none"),
        pytest.param((0,), id="first"),
        pytest.param((10,), id="last"),
        pytest.param((1, 2), id="over the edge of a block"),
        pytest.param((5, 6), id="over a block without messages"),
        pytest.param((8, 9), id="over the edge of the last block"),
        pytest.param((2, 3, 4, 5), id="a whole block"),
        pytest.param((2, 4), id="with a gap"),
        pytest.param((5, 2, 3), id="in another order"),
        pytest.param((10, 0, 6, 2), id="of all blocks"),
        pytest.param((3, 3), id="twice"),
    ],
)
def test_in_the_order_of_asking(plan: Plan, seqs: tuple[int, ...]) -> None:
    assert read(MessageReader(plan, "run", block=BLOCK), *seqs) == [str(seq) for seq in seqs]


@pytest.mark.parametrize("few", [0, 1, 2, 512])
def test_in_any_order_from_any_block(plan: Plan, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the retries of earlier blocks read by themselves, or with their blocks."""
    monkeypatch.setattr(message_reader, "_FEW", few)
    reader, random = MessageReader(plan, "run", block=BLOCK), Random(1)
    for _ in range(100):
        seqs = random.sample(range(MESSAGES), random.randint(1, 6))
        assert read(reader, *seqs) == [str(seq) for seq in seqs]


def test_a_message_has_all_of_its_row(plan: Plan) -> None:
    reader = MessageReader(plan, "run-1", block=BLOCK)
    (fourth, segments), (fifth, _) = reader.read([4, 5])
    assert (fourth.seq, fourth.ref, fourth.to) == (4, "run-1.4", "+12025550106")
    assert (fourth.from_number, fourth.media, segments) == (B, (), 2)
    assert fourth.fields == {"validity_period": 4}
    assert (fifth.from_number, fifth.media, fifth.fields) == (None, ("https://example.com/a.png",), {})


@pytest.mark.parametrize(
    ("fields", "callback", "expected"),
    [
        pytest.param({}, None, {}, id="none"),
        pytest.param({}, "https://example.com/s", {"status_callback": "https://example.com/s"}, id="the receiver's"),
        pytest.param(
            {"status_callback": "https://example.com/own"},
            "https://example.com/s",
            {"status_callback": "https://example.com/own"},
            id="the campaign's own goes first",
        ),
    ],
)
def test_where_reports_go(
    tmp_path: Path, fields: dict[str, Any], callback: str | None, expected: dict[str, Any]
) -> None:
    reader = MessageReader(make_plan(tmp_path, fields=fields), "run", callback=callback)
    [(message, _)] = reader.read([0])
    assert message.fields == expected


@pytest.mark.parametrize(
    ("unit", "from_seq", "also", "below_seq", "expected"),
    [
        pytest.param("messages", 0, (), None, {A: 4, B: 4, None: 3}, id="all"),
        pytest.param("segments", 0, (), None, {A: 4, B: 8, None: 9}, id="all segments"),
        pytest.param("messages", 8, (), None, {None: 1, A: 1, B: 1}, id="from one on"),
        pytest.param("segments", 9, (), None, {A: 1, B: 2}, id="segments from one on"),
        pytest.param("messages", 11, (), None, {}, id="none is left"),
        pytest.param("messages", 10, (0, 2), None, {A: 1, B: 1, None: 1}, id="and some before"),
        pytest.param("messages", 10, (10,), None, {B: 1}, id="not twice"),
        pytest.param("messages", 0, (), 2, {A: 1, B: 1}, id="below one"),
        pytest.param("messages", 0, (), 0, {}, id="below the first"),
        pytest.param("messages", 9, (1, 4, 7), 5, {B: 2}, id="the bound is for both"),
    ],
)
def test_units_of_each_sender(
    plan: Plan,
    unit: str,
    from_seq: int,
    also: tuple[int, ...],
    below_seq: int | None,
    expected: dict[str | None, int],
) -> None:
    assert MessageReader(plan, "run").units(unit, from_seq, also, below_seq=below_seq) == expected


class TestReading:
    """How much is read: a run of millions of messages holds two blocks."""

    @staticmethod
    def loads(reader: MessageReader, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        numbers: list[int] = []
        load = MessageReader._load_block

        def counting(self: MessageReader, number: int) -> pl.DataFrame:
            if number not in self._blocks:
                numbers.append(number)
            return load(self, number)

        monkeypatch.setattr(MessageReader, "_load_block", counting)
        return numbers

    def test_each_block_once(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        reader = MessageReader(plan, "run", block=BLOCK)
        numbers = self.loads(reader, monkeypatch)
        for seq in range(MESSAGES):
            read(reader, seq)
            assert len(reader._blocks) <= 2
        assert numbers == [0, 1, 3, 4]  # block 2 has no message
        assert reader._first_seqs() == STARTS

    def test_a_retry_of_an_earlier_block_loads_none(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        reader = MessageReader(plan, "run", block=BLOCK)
        numbers = self.loads(reader, monkeypatch)
        read(reader, 0, 2, 6, 9)
        assert read(reader, 0, 1, 10) == ["0", "1", "10"]
        assert numbers == [0, 1, 3, 4]

    def test_many_of_them_load_it(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(message_reader, "_FEW", 2)
        reader = MessageReader(plan, "run", block=BLOCK)
        numbers = self.loads(reader, monkeypatch)
        read(reader, 0, 2, 6, 9)
        assert read(reader, 0, 1) == ["0", "1"]
        assert numbers == [0, 1, 3, 4, 0]
