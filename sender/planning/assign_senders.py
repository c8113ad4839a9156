"""Whom each message is from, and which rows the provider refuses for it: their own sender, their own fields."""

from __future__ import annotations

import polars as pl

from sender import providers
from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.plan import message_fields
from sender.planning.compiled import CompiledCampaign
from sender.planning.row_fields import FIELD_PREFIX
from sender.planning.scheduled_at import check_send_at
from sender.recipients.columns import Recipients


def assign_senders(frame: pl.DataFrame, recipients: Recipients, compiled: CompiledCampaign) -> pl.DataFrame:
    """Return `frame` with `from_number`; rows whose sender or fields the provider refuses are skipped."""
    if compiled.pool is not None:
        frame = frame.with_columns(from_number=compiled.pool.assign(frame["to"], frame["region"])).drop("_sender")
    elif compiled.senders:
        frame = frame.with_columns(from_number=pl.lit(compiled.senders[0], pl.String)).drop("_sender")
    else:
        frame = frame.rename({"_sender": "from_number"}).with_columns(pl.col("from_number").replace("", None))
        frame = _skip_without_sender(frame, recipients, compiled)
    own_senders = not compiled.senders and frame["from_number"].null_count() < frame.height
    if own_senders or compiled.row_fields.sources:
        return _skip_refused(frame, recipients, compiled)
    return frame


def _skip_without_sender(frame: pl.DataFrame, recipients: Recipients, compiled: CompiledCampaign) -> pl.DataFrame:
    """Return `frame` with the rows skipped that have no sender and no service to pick one."""
    service = compiled.capabilities.service_field
    if service is not None and service in compiled.fields:
        return frame
    if compiled.sender is not None:
        why = "no sender: `from` is blank for this row"
    elif recipients.sender is not None:
        why = f"no sender: the cell in {recipients.sender!r} is blank and the campaign has no `from`"
    else:
        return frame
    by_service = pl.lit(value=False) if service is None else message_fields.row_field(service).is_not_null()
    missing = pl.col("reason").is_null() & pl.col("from_number").is_null() & ~by_service
    return frame.with_columns(
        reason=pl.when(missing).then(pl.lit(SkipReason.MISSING_DATA.value)).otherwise("reason"),
        detail=pl.when(missing).then(pl.lit(why)).otherwise("detail"),
    )


def _skip_refused(frame: pl.DataFrame, recipients: Recipients, compiled: CompiledCampaign) -> pl.DataFrame:
    """Return `frame` with the rows skipped whose own sender and fields the provider refuses; each case checked once."""
    same_kind = {number: _first_of_kind(number, compiled) for number in compiled.senders}
    key = {
        "_from": pl.col("from_number").replace(same_kind) if same_kind else pl.col("from_number"),
        "_fields": pl.col("fields"),
        "_media": pl.col("media").list.len() if compiled.row_fields.sources else pl.lit(0, pl.UInt32),
    }
    live = pl.col("reason").is_null()
    cases = frame.filter(live).select(**key).unique()
    whys = [_refusal(compiled, sender, fields, media or 0) for sender, fields, media in cases.iter_rows()]
    refusals = cases.with_columns(_why=pl.Series(whys, dtype=pl.String)).filter(pl.col("_why").is_not_null())
    if refusals.is_empty():
        return frame
    by_cell = compiled.sender is None and recipients.sender is not None
    about_cell = pl.lit(by_cell) & ~pl.col("_why").str.starts_with(FIELD_PREFIX)
    refused = live & pl.col("_why").is_not_null()
    return (
        frame.with_columns(**key)
        .join(refusals, on=list(key), how="left", nulls_equal=True, maintain_order="left")
        .with_columns(
            reason=pl.when(refused & about_cell)
            .then(pl.lit(SkipReason.MISSING_DATA.value))
            .when(refused)
            .then(pl.lit(SkipReason.RENDER_ERROR.value))
            .otherwise("reason"),
            detail=pl.when(refused).then("_why").otherwise("detail"),
        )
        .drop("_why", *key)
    )


def _first_of_kind(number: str, compiled: CompiledCampaign) -> str:
    """Return the first sender of the same kind: a provider takes the same fields from both, or from neither."""
    kind = providers.sender_kind(number)
    return next(sender for sender in compiled.senders if providers.sender_kind(sender) is kind)


def _refusal(compiled: CompiledCampaign, sender: str | None, own_fields: str | None, media: int) -> str | None:
    """Return why the provider refuses such a message; None where it takes it."""
    fields = message_fields.merge_fields(compiled.fields, own_fields)
    try:
        providers.check(
            compiled.capabilities, senders=() if sender is None else (sender,), fields=fields, media_count=media
        )
        check_send_at(compiled.capabilities, fields, compiled.begins_ms)
    except InputError as error:  # a row's fault: it stops no other row
        key = (error.where or "").partition(".")[0]
        if key in compiled.varying or key in compiled.fields:
            return f"{FIELD_PREFIX}{error.where}`: {error.what}"
        return str(error).splitlines()[0]
    return None
