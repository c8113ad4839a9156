"""The plan's rows out of what is known of each recipient, a block at a time. Columns in and out; reads no files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from sender import audience, cost, prices, segments
from sender.compose import Offer, compose
from sender.plan import PLAN_SCHEMA
from sender.plan_rows import Block
from sender.reach import Reached
from sender.recipients import Recipients


class Composer:
    """Composes the plan's rows a block at a time, and remembers what goes on from block to block.

    `hold` takes out who is on the suppression list (`to, from_number, reason, detail`). `number` (a row of
    `sender.phone`) stands in for every recipient in a test.
    """

    def __init__(
        self,
        offer: Offer,
        people: Recipients,
        reached: Reached,
        table: prices.PriceTable | None,
        hold: Callable[[pl.DataFrame], pl.DataFrame],
        *,
        limit: int | None,
        number: Mapping[str, Any] | None,
    ) -> None:
        self._offer = offer
        self._people = people
        self._reached = reached
        self._table = table
        self._hold = hold
        self._kept = _Numbering(limit, number)
        self._hashed = _Numbering(limit, number)
        self._replaced: dict[str, Mapping[str, Any]] = {}  # by character

    @property
    def messages(self) -> int:
        """How many there are by now."""
        return self._kept.messages

    def blocks(self) -> Iterator[Block]:
        """The plan's rows in order, as PLAN_SCHEMA says, and `recipient`."""
        start = 0
        for block, numbers in zip(self._people.blocks(), self._reached.numbers.frames(), strict=True):
            out = self._reached.out[start : start + numbers.height]
            start += numbers.height
            yield self._block(block, numbers, out)

    def replacements(self) -> tuple[Mapping[str, Any], ...]:
        """What smart encoding replaced, as `segments.smart_encode` tells it, in all blocks."""
        order = {character: place for place, character in enumerate(segments.LOOK_ALIKES)}
        rows = sorted(self._replaced.values(), key=lambda one: (-one["messages"], order[one["character"]]))
        return tuple(rows)

    def _block(self, people: Recipients, numbers: pl.DataFrame, out: pl.DataFrame) -> Block:
        frame = numbers.with_columns(
            people.row_numbers,
            reason=out["reason"],
            detail=pl.when(pl.col("reason").is_null()).then(out["detail"]).otherwise("detail"),
        )
        frame, replaced = compose(frame, people, self._offer)
        for one in replaced:
            earlier = self._replaced.get(one["character"], {"messages": 0})
            self._replaced[one["character"]] = {**one, "messages": one["messages"] + earlier["messages"]}
        recipient = people.cells.to_struct("recipient")
        kept = self._hold(frame)
        rows = self._kept.number(kept, recipient)
        hashed = self._hashed.number(frame, recipient)
        if kept is frame and rows.get_column("seq").equals(hashed.get_column("seq")):
            hashed = rows
        if self._table is not None:
            rows = cost.price(rows.drop("cost_micros"), self._table, is_mms=self._offer.is_mms).select(rows.columns)
        return Block(rows, hashed)


class _Numbering:
    """Numbers messages from block to block, and skips those beyond a limit."""

    def __init__(self, limit: int | None, test_number: Mapping[str, Any] | None) -> None:
        self._limit = limit
        self._test_number = test_number
        self._sendable = 0  # rows above that would be sent if there were no limit
        self.messages = 0

    def number(self, frame: pl.DataFrame, recipient: pl.Series) -> pl.DataFrame:
        """The rows as PLAN_SCHEMA has them and `recipient`, without costs."""
        if self._limit is not None:
            sendable = audience.sendable(frame)
            frame = audience.limit(frame, self._limit, before=self._sendable)
            self._sendable += sendable
        live = pl.col("reason").is_null()
        if self._test_number is not None:
            frame = frame.with_columns(
                pl.when(live).then(pl.lit(self._test_number[name], pl.String)).otherwise(name).alias(name)
                for name in ("to", "region", "number_type")
            )
        seq = pl.when(live).then(live.cum_sum() - 1 + self.messages)
        frame = frame.with_columns(seq=seq, cost_micros=pl.lit(None, pl.Int64))
        self.messages += frame["seq"].count()
        return frame.select(*[pl.col(name).cast(dtype) for name, dtype in PLAN_SCHEMA.items()], recipient)
