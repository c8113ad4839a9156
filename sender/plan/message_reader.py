"""Reads the messages of a written plan by `seq`, a block of rows at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from sender.core.lazy_modules import pl
from sender.core.refs import make_ref
from sender.plan import message_fields
from sender.plan.plan import Plan
from sender.plan.stored_rows import ROW_GROUP
from sender.providers.base import Message

_FEW = 512  # up to this many messages of an earlier block are read without loading the block


class MessageReader:
    """Reads a written plan's messages by `seq`, a block of rows at a time. Holds at most two blocks."""

    _COLUMNS = ("seq", "to", "from_number", "body", "media", "fields", "segments")

    def __init__(self, plan: Plan, run_id: str, *, callback: str | None = None, block: int = ROW_GROUP) -> None:
        """`callback` is the URL for delivery reports, unless the campaign has its own."""
        self._scan = plan.scan().select(*self._COLUMNS)
        self._fields = {**({"status_callback": callback} if callback else {}), **plan.manifest.fields}
        self._run_id = run_id
        self._block = block
        self._starts: list[int] | None = None
        self._blocks: dict[int, pl.DataFrame] = {}

    def read(self, seqs: Sequence[int]) -> list[tuple[Message, int]]:
        """Return the messages of `seqs` with their segments, in that order."""
        messages: dict[int, tuple[Message, int]] = {}
        retried: list[int] = []
        for block, block_seqs in self._group_by_block(seqs).items():
            if block not in self._blocks and block < max(self._blocks, default=0) and len(block_seqs) < _FEW:
                retried += block_seqs  # they waited for another attempt while later blocks were sent
                continue
            start = self._first_seqs()[block]
            rows = self._load_block(block)
            low, high = block_seqs[0] - start, block_seqs[-1] - start + 1
            if high - low == len(block_seqs):
                messages |= self._make_messages(rows.slice(low, high - low))
            else:
                messages |= self._make_messages(rows[[seq - start for seq in block_seqs]])
        if retried:
            messages |= self._make_messages(self._scan.filter(pl.col("seq").is_in(retried)).collect())
        return [messages[seq] for seq in seqs]

    def units(
        self, unit: str, from_seq: int, also: Sequence[int] = (), *, below_seq: int | None = None
    ) -> dict[str | None, int]:
        """Return each sender's `messages` or `segments` (`unit`) from `from_seq` on and in `also`.

        None is the sender of messages whose number the provider picks. `below_seq` bounds both.
        """
        selected = pl.col("seq") >= from_seq
        if also:
            selected |= pl.col("seq").is_in(list(also))
        if below_seq is not None:
            selected &= pl.col("seq") < below_seq
        counted = pl.col("segments").sum() if unit == "segments" else pl.len()
        units = self._scan.filter(selected).group_by("from_number").agg(counted.cast(pl.Int64).alias("units"))
        return dict(units.collect(engine="streaming").iter_rows())

    def _group_by_block(self, seqs: Sequence[int]) -> dict[int, list[int]]:
        blocks: dict[int, list[int]] = {}
        starts, ordered = self._first_seqs(), sorted(seqs)
        if ordered and (first := bisect_right(starts, ordered[0])) == bisect_right(starts, ordered[-1]):
            return {first - 1: ordered}
        for seq in ordered:
            blocks.setdefault(bisect_right(starts, seq) - 1, []).append(seq)
        return blocks

    def _first_seqs(self) -> list[int]:
        """Return the first `seq` of each block of rows: only messages are numbered, without gaps."""
        if self._starts is None:
            numbered = self._scan.select(pl.col("seq").is_not_null().alias("numbered")).with_row_index("row")
            counts = (
                numbered.group_by(pl.col("row") // self._block)
                .agg(pl.col("numbered").sum())
                .sort("row")
                .collect()["numbered"]
            )
            self._starts = [0, *counts.cast(pl.Int64).cum_sum().to_list()[:-1]]
        return self._starts

    def _load_block(self, number: int) -> pl.DataFrame:
        if number not in self._blocks:
            while len(self._blocks) > 1:
                del self._blocks[min(self._blocks)]
            rows = self._scan.slice(number * self._block, self._block).collect()
            self._blocks[number] = rows.filter(pl.col("seq").is_not_null())
        return self._blocks[number]

    def _make_messages(self, rows: pl.DataFrame) -> dict[int, tuple[Message, int]]:
        run_id, common = self._run_id, self._fields
        return {
            seq: (
                Message(
                    seq,
                    make_ref(run_id, seq),
                    to or "",  # of a person who was erased
                    sender,
                    body,
                    tuple(media or ()),
                    message_fields.merge_fields(common, own),
                ),
                count,
            )
            for seq, to, sender, body, media, own, count in rows.iter_rows()
        }
