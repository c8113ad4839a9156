"""Whom a campaign leaves out on purpose: rows for which its `recipients.where` is not true."""

from __future__ import annotations

import polars as pl

from sender.core.errors import CampaignError
from sender.core.outcomes import SkipReason
from sender.recipients.columns import Recipients
from sender.templating import RowCondition, evaluate

FILTER_KEY = "recipients.where"


def check_filter(condition: RowCondition, recipients: Recipients) -> None:
    """Raise TemplateError or CampaignError where the condition needs a column that is not there, or reads none."""
    condition.template.check(recipients.names, recipients.headers)
    if not condition.find_columns(recipients.names, recipients.headers):
        raise CampaignError(
            "uses no column, so it is the same for every row",
            where=FILTER_KEY,
            fix="name a column in it, as in `sms_consent == 'yes'`",
        )


def filter_rows(
    frame: pl.DataFrame,
    condition: RowCondition,
    cells: pl.DataFrame,
    recipients: Recipients,
    nested: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return `frame` (`reason`, `detail`, a row for each of `cells`) with the rows skipped that are left out.

    As `filtered_out`, whatever else is wrong with them; as `render_error` where the condition fails. `cells` has the
    columns that the condition reads, and `nested` the mappings and lists in them as JSON. Raises TemplateError as
    `templating.evaluate` does.
    """
    answers = evaluate(condition, cells, recipients.names, nested)
    holds = pl.lit(answers["holds"])
    left_out = f"`{FILTER_KEY}` is not true for this row: {condition.source}"
    failed = pl.format(f"`{FILTER_KEY}`: {{}}", pl.lit(answers["detail"]))
    return frame.with_columns(
        reason=pl.when(holds)
        .then("reason")
        .when(~holds)
        .then(pl.lit(SkipReason.FILTERED_OUT.value))
        .otherwise(pl.lit(SkipReason.RENDER_ERROR.value)),
        detail=pl.when(holds).then("detail").when(~holds).then(pl.lit(left_out)).otherwise(failed),
    )
