"""The two hashes of a plan: its identity, over the messages alone, and its content hash, over every row and setting.

The identity recognises a plan that has been sent or started. Reasons, sentences, repairs and cells that no message uses
are not in it, so that neither a new version of the program nor a corrected name in a skipped row makes everyone look
unreached. Every plan ever stored is recognised by it: its encoding never changes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from sender.core.lazy_modules import pl
from sender.core.outcomes import SkipReason
from sender.plan.stored_rows import ROW_GROUP

if TYPE_CHECKING:  # `sender.providers` has all adapters
    from sender.providers.base import FieldValue

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

COLUMNS = ("to", "from_number", "body", "media", "fields")
_HASHED_CELLS = 500_000  # at once
_MOST_HASHED_ROWS = 4_096
_LONG = 64  # bytes
_NOT_HASHED = ("cost_micros", "repair", "zone", "zone_source", "places", "variant", "links")
# The reasons that the suppression list of format 3 gave to rows that were composed already.
_BY_LIST = (SkipReason.OPTED_OUT, SkipReason.SUPPRESSED, SkipReason.LANDLINE, SkipReason.INVALID_NUMBER)


class MessageHash:
    """SHA-256 over messages in order: a plan's identity. The same whatever blocks they come in.

    A message is a line of CSV (every value quoted, quotes doubled, `\\n` at its end) of five values: recipient, sender,
    text, the media URLs with a space between them, and the provider fields, the plan's and the message's own as one
    JSON object with sorted keys and no spaces (over 64 bytes: its SHA-256 in hex; none: empty). Null is empty.
    """

    def __init__(self, fields: Mapping[str, FieldValue]) -> None:
        """`fields` are those that every message of the plan has."""
        self._common: dict[str, Any] = json.loads(json.dumps(fields, default=str))
        self._digest = hashlib.sha256()

    def update(self, messages: pl.DataFrame) -> None:
        """Add messages: the columns `to, from_number, body, fields` (String) and `media` (List(String))."""
        if messages.is_empty():
            return
        lines = messages.select(
            "to",
            "from_number",
            "body",
            media=pl.col("media").list.join(" ") if messages["media"].list.len().sum() else pl.lit(""),
            fields=pl.lit(self._encoded(messages["fields"])),
        )
        _write_csv(lines, self._digest, include_header=False, quote_style="always")

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def _encoded(self, own: pl.Series) -> pl.Series | str:
        """Return all fields of each message, or one text for all of them where none has its own."""
        common = _encode(self._common)
        if own.null_count() == own.len():
            return common
        texts = own.unique().drop_nulls()  # often few: a period, a profile
        encoded = [_encode({**self._common, **orjson.loads(text)}) for text in texts]
        return own.replace_strict(texts, pl.Series(encoded, dtype=pl.String), default=common, return_dtype=pl.String)


class ContentHash:
    """SHA-256 over settings and rows, not over the file: a newer writer of Parquet changes bytes, not the plan. The
    same whatever blocks the rows come in.

    It is the hash of the identity and of everything else as CSV with a header, every text in quotes, so that a blank
    differs from null. (JSON lines take three times as long.) Where `recipient` is a list, the lists are hashed as
    lines of JSON instead, and their headers have to be among the settings.
    """

    def __init__(self, settings: Mapping[str, Any], fields: Mapping[str, FieldValue]) -> None:
        """`fields` are those that every message of the plan has."""
        self._digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        self._messages = MessageHash(fields)
        self._named = False  # the columns
        self._cells: hashlib._Hash | None = None  # of recipients that are lists

    @property
    def identity(self) -> str:
        """SHA-256 in hex over the messages alone."""
        return self._messages.hexdigest()

    def update(self, frame: pl.DataFrame) -> None:
        """Add rows of the plan. Prices, repairs and zones are left out: they do not change what is sent."""
        sent = frame["seq"].is_not_null()
        messages = frame.select(COLUMNS)
        self._messages.update(messages if sent.all() else messages.filter(sent))
        rest = frame.drop(_NOT_HASHED, strict=False).with_columns(
            _without(name, frame.schema[name], sent) for name in COLUMNS
        )
        if rest.schema.get("recipient") == pl.List:
            lists = rest.drop_in_place("recipient").to_frame().select(pl.struct(pl.all()).struct.json_encode())
            self._cells = self._cells or hashlib.sha256()
            self._cells.update((lists.to_series().str.join("\n").item() + "\n").encode())
        _write_csv(_flat(rest), self._digest, include_header=not self._named, quote_style="non_numeric")
        self._named = True

    def hexdigest(self) -> str:
        cells = f" {self._cells.hexdigest()}" if self._cells is not None else ""
        return hashlib.sha256(f"{self.identity} {self._digest.hexdigest()}{cells}".encode()).hexdigest()


def hash_stored(
    rows: pl.LazyFrame, *, fields: Mapping[str, FieldValue], height: int, messages: int, limited: bool
) -> str:
    """Return the identity of a plan that was stored without one (format 3), from its rows in file order.

    `messages` of its `height` rows are sent; with `limited`, rows were left out because there was a limit. A message
    that the suppression list held back counts, as it does in a new plan. Where a limit left no row out because some
    were held back, the rows do not show it, and all of them count.
    """
    reason = pl.col("reason")
    held_back = reason.is_in(_BY_LIST) & pl.col("media").is_not_null()  # rows skipped earlier were never composed
    counted = pl.col("seq").is_not_null() | held_back | (reason == SkipReason.LIMIT)
    digest = MessageHash(fields)
    remaining = messages if limited else height
    for start in range(0, height, ROW_GROUP):
        block = rows.slice(start, ROW_GROUP).select("seq", "reason", *COLUMNS).collect()
        composed = block.filter(counted.fill_null(value=False)).head(remaining)
        remaining -= composed.height
        digest.update(composed)
    return digest.hexdigest()


class _Digested(io.RawIOBase):
    """A file that hashes what is written to it."""

    def __init__(self, digest: hashlib._Hash) -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        self._digest.update(data)
        return len(memoryview(data))


def _write_csv(frame: pl.DataFrame, digest: hashlib._Hash, **style: Any) -> None:
    file: Any = _Digested(digest)
    frame.write_csv(file, batch_size=max(1, min(_MOST_HASHED_ROWS, _HASHED_CELLS // frame.width)), **style)


def _encode(fields: Mapping[str, Any]) -> str:
    if not fields:
        return ""
    encoded = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    return encoded.decode() if len(encoded) <= _LONG else hashlib.sha256(encoded).hexdigest()


def _without(name: str, dtype: pl.DataType, sent: pl.Series) -> pl.Expr:
    """Return the column, blank where a message is sent, since the identity covers it; null stays null."""
    blank = pl.lit([], dtype=dtype) if dtype == pl.List else pl.lit("")
    return pl.when(pl.lit(sent) & pl.col(name).is_not_null()).then(blank).otherwise(name).alias(name)


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with a column for each field of a struct, and lists as JSON.

    Column by column: a query over thousands of fields takes longer to prepare than to run.
    """
    parts: list[pl.DataFrame] = []
    for column in frame.iter_columns():
        part = column.to_frame()
        if isinstance(column.dtype, pl.Struct):
            part = column.struct.unnest()
            part.columns = [f"{column.name}.{name}" for name in part.columns]
        elif isinstance(column.dtype, pl.List):
            part = part.select(pl.struct(column.name).struct.json_encode())
        parts.append(part)
    return pl.concat(parts, how="horizontal")
