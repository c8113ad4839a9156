"""The plan's rows out of what is known of each recipient, a block at a time. Columns in and out; reads no files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from sender import segments
from sender.campaign import prices
from sender.plan.plan import PLAN_SCHEMA
from sender.planning import audience, costs
from sender.planning.compiled import CompiledCampaign, compose
from sender.planning.eligibility import Audience
from sender.recipients.columns import Recipients


class MessageBuilder:
    """Composes the plan's rows a block at a time, and remembers what goes on from block to block.

    `number` (a row of `sender.phone`) stands in for every recipient in a test. `held_back` puts those out who are on
    the suppression list; what is hashed is the plan without it, for a STOP does not make another campaign of this one.
    """

    def __init__(
        self,
        offer: CompiledCampaign,
        people: Recipients,
        reached: Audience,
        table: prices.PriceTable | None,
        *,
        limit: int | None,
        number: Mapping[str, Any] | None,
        held_back: Callable[[pl.DataFrame], pl.DataFrame] | None,
    ) -> None:
        self._offer = offer
        self._people = people
        self._reached = reached
        self._table = table
        self._replaced: dict[str, Mapping[str, Any]] = {}  # by character
        self._held_back = held_back
        self._kept, self._hashed = _Sequencer(limit, number), _Sequencer(limit, number)

    @property
    def messages(self) -> int:
        """How many of the rows until now get a message."""
        return self._kept.messages

    def blocks(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """The plan's rows in order, as PLAN_SCHEMA says, and `recipient`; and the rows to hash in their place."""
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

    def _block(self, people: Recipients, numbers: pl.DataFrame, out: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        frame = numbers.with_columns(
            people.row_numbers,
            reason=out["reason"],
            detail=pl.when(pl.col("reason").is_null()).then(out["detail"]).otherwise("detail"),
        )
        frame, replaced = compose(frame, people, self._offer)
        for one in replaced:
            earlier = self._replaced.get(one["character"], {"messages": 0})
            self._replaced[one["character"]] = {**one, "messages": one["messages"] + earlier["messages"]}
        frame = frame.with_columns(recipient=pl.struct(people.cells) if people.cells.width else pl.lit(None))
        kept = frame if self._held_back is None else self._held_back(frame)
        rows = self._priced(self._kept.number(kept))
        hashed = self._hashed.number(frame) if self._held_back is not None else rows
        return rows, hashed

    def _priced(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._table is None:
            return frame
        return costs.price(frame.drop("cost_micros"), self._table, is_mms=self._offer.is_mms).select(frame.columns)


class _Sequencer:
    """Gives the rows that get a message their `seq`, block after block, and holds those beyond the limit."""

    def __init__(self, limit: int | None, number: Mapping[str, Any] | None) -> None:
        self._limit = limit
        self._number = number
        self._composed = 0  # rows that would be sent if there were no limit
        self.messages = 0

    def number(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows as PLAN_SCHEMA has them, without prices, and `recipient`."""
        if self._limit is not None:
            sendable = audience.sendable(frame)
            frame = audience.limit(frame, self._limit, before=self._composed)
            self._composed += sendable
        live = pl.col("reason").is_null()
        if self._number is not None:
            frame = frame.with_columns(
                pl.when(live).then(pl.lit(self._number[name], pl.String)).otherwise(name).alias(name)
                for name in ("to", "region", "number_type")
            )
        frame = frame.with_columns(
            seq=pl.when(live).then(live.cum_sum() - 1 + self.messages), cost_micros=pl.lit(None, pl.Int64)
        )
        self.messages += frame["seq"].count()
        return frame.select(*[pl.col(name).cast(dtype) for name, dtype in PLAN_SCHEMA.items()], "recipient")
