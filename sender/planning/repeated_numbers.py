"""Which row of a repeated number gets the message, where the row that was chosen cannot be composed: one that can be.

Nobody gets it twice, and nobody goes without it because the first of their rows lacks what another one has. Composes
only rows of repeated numbers, and most of those never. Reads no files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import polars as pl

from sender.core.outcomes import SkipReason
from sender.planning.audience import SAME_NUMBER, Audience
from sender.planning.compiled import CompiledCampaign
from sender.planning.messages import MessageBuilder
from sender.recipients.columns import Recipients

_NOT_COMPOSED = (SkipReason.MISSING_DATA.value, SkipReason.RENDER_ERROR.value, SkipReason.TOO_LONG.value)


def choose_rows(compiled: CompiledCampaign, recipients: Recipients, audience: Audience) -> Audience:
    """Return the audience in which the row that stands for a number can be composed, if the number has such a row.

    Of several, `dedupe` says which. A row that was chosen first and cannot be composed is skipped for its own reason.
    Raises InputError as `MessageBuilder.blocks` does.
    """
    keep = compiled.numbers.dedupe
    repeated = (audience.marks["reason"] == SkipReason.DUPLICATE.value).fill_null(value=False)
    if keep == "none" or not repeated.any():
        return audience
    rows = _list_repeated(audience, repeated)
    chosen = rows.filter(~pl.col("repeated"))
    failing = chosen.filter(_find_failing(compiled, recipients, audience, chosen["place"]))["to"]
    if failing.is_empty():
        return audience
    others = rows.filter(pl.col("repeated") & pl.col("to").is_in(failing.implode()))
    others = others.with_columns(fails=_find_failing(compiled, recipients, audience, others["place"]))
    return replace(audience, marks=_change_marks(audience.marks, others, recipients.row_numbers, keep))


def _list_repeated(audience: Audience, repeated: pl.Series) -> pl.DataFrame:
    """Return `place` (from 0), `to` and `repeated` of each row whose number may get a message and is in several."""
    to = pl.concat([frame["to"] for frame in audience.numbers.frames(["to"])])
    numbers = to.filter(repeated).unique()
    may_get_one = audience.marks["reason"].is_null() | repeated
    rows = pl.DataFrame({"to": to, "repeated": repeated}).with_row_index("place")
    return rows.filter(may_get_one & to.is_in(numbers.implode()))


def _find_failing(
    compiled: CompiledCampaign, recipients: Recipients, audience: Audience, places: pl.Series
) -> pl.Series:
    """Return for each of these rows whether its message cannot be composed (Boolean)."""
    marks = audience.marks.clear(places.len())  # none of these rows is skipped yet
    builder = MessageBuilder(
        compiled,
        recipients.take(places),
        Audience(audience.numbers.take(places), marks, (), ()),
        limit=None,
        test_number=None,
        mark_rows=None,
    )
    reasons = [rows["reason"] for rows, _ in builder.blocks()]
    return pl.concat(reasons).is_in(_NOT_COMPOSED).fill_null(value=False)


def _change_marks(
    marks: pl.DataFrame, others: pl.DataFrame, row_numbers: pl.Series, keep: Literal["first", "last"]
) -> pl.DataFrame:
    """Return `marks` with another row of a number in place of the one that fails; `others` are its repeated rows."""
    able = others.filter(~pl.col("fails")).unique("to", keep=keep, maintain_order=True).select("to", original="place")
    if able.is_empty():
        return marks
    left_out = others.join(able, on="to").filter(pl.col("place") != pl.col("original"))
    details = left_out.select(pl.format(SAME_NUMBER, pl.lit(row_numbers.gather(left_out["original"]))))
    nothing = pl.repeat(None, able.height, dtype=pl.String, eager=True)
    return marks.with_columns(
        reason=marks["reason"].clone().scatter(able["original"], nothing),
        detail=marks["detail"]
        .clone()
        .scatter(left_out["place"], details.to_series())
        .scatter(able["original"], nothing),
    )
