"""The provider fields of one message: the plan's for all messages, and the row's own in its column `fields`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from sender.core.refs import make_ref
from sender.providers.base import FieldValue


def of_row(constant: Mapping[str, FieldValue], own: str | None) -> Mapping[str, FieldValue]:
    """All fields of one message: the plan's, and those in its column `fields`."""
    return constant if own is None else {**constant, **json.loads(own)}


def is_mms(constant: Mapping[str, FieldValue]) -> pl.Expr:
    """Whether a row of a plan goes as MMS: with media, or because its fields or the plan's (`constant`) say so."""
    if constant.get("send_as_mms") or constant.get("message_type") == "MMS":
        return pl.lit(value=True)
    return (
        (pl.col("media").list.len() > 0).fill_null(value=False)
        | own("send_as_mms").eq_missing(pl.lit("true"))
        | own("message_type").eq_missing(pl.lit("MMS"))
    )


def own_service(keys: Collection[str]) -> pl.Expr:
    """The service id in a row's own fields, under one of `keys`; else null."""
    return pl.coalesce(*(own(key) for key in keys))


def own(key: str) -> pl.Expr:
    """A row's own value of `key`, as text; null where it has none."""
    return pl.col("fields").str.json_path_match(f"$.{key}")


def merged_json(own: str | None) -> dict[str, Any]:
    """A row's own fields, for people and machines to read."""
    return {} if own is None else dict(json.loads(own))


# The campaign keys that name a sender pool at the provider.
SERVICE_FIELDS = ("messaging_service_sid", "messaging_profile_id")


def service_of(fields: Mapping[str, FieldValue]) -> str | None:
    """The sender pool at the provider that a message's fields name."""
    if not fields:  # most messages; each is asked before it leaves
        return None
    return next((str(fields[key]) for key in SERVICE_FIELDS if key in fields), None)


def ref_column(run_id: str, seq: pl.Expr) -> pl.Expr:
    """`make_ref` of a column."""
    return pl.lit(make_ref(run_id, 0).removesuffix("0")) + seq.cast(pl.String)
