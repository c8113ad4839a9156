"""Columns of texts with the reason of each that fails: `text`, `reason`, `detail` (String).

Renders no template.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from sender.core.errors import setting
from sender.core.outcomes import SkipReason
from sender.templating.missing_values import find_placeholders
from sender.templating.template import DAMAGED


def verbatim(texts: pl.Series, placeholders: Collection[str] = ()) -> pl.DataFrame:
    """Return `texts` as they are, in the columns of `render`; only damaged ones and placeholders fail."""
    texts = texts.cast(pl.String)
    frame = without_failures(texts)
    words = find_placeholders(texts, placeholders)
    if words is not None:
        why = pl.format("the cell `{}` holds `{}`, which stands for a missing value", pl.lit(texts.name), words)
        frame = frame.with_columns(
            text=pl.when(words.is_null()).then("text"),
            reason=pl.when(words.is_not_null()).then(pl.lit(SkipReason.MISSING_DATA.value)),
            detail=pl.when(words.is_not_null()).then(why),
        )
    return without_damage(frame)


def without_failures(texts: pl.Series) -> pl.DataFrame:
    """Return `texts` without a reason and a detail."""
    nothing = pl.lit(None, dtype=pl.String)
    return texts.alias("text").to_frame().with_columns(reason=nothing, detail=nothing)


def without_damage(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with texts that have damaged characters turned into a `render_error`."""
    if (frame["text"].str.len_bytes() == frame["text"].str.len_chars()).all():  # damage is never ASCII
        return frame
    damage = frame["text"].str.extract(f"({DAMAGED})")
    if damage.null_count() == frame.height:
        return frame
    sentence = pl.format(
        "the text has damaged characters ({}): fix the cell, or set {} to the file's encoding",
        damage,
        pl.lit(setting("recipients.encoding")),
    )
    intact = pl.lit(damage.is_null())
    return frame.with_columns(
        text=pl.when(intact).then("text"),
        reason=pl.when(intact).then("reason").otherwise(pl.lit(SkipReason.RENDER_ERROR.value)),
        detail=pl.when(intact).then("detail").otherwise(sentence),
    )
