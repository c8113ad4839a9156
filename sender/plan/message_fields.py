"""The provider fields of one message: the plan's, which all messages have, and the row's own in its column `fields`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from sender.core.lazy_modules import pl
from sender.core.refs import make_ref

if TYPE_CHECKING:  # `sender.providers` has all adapters
    from sender.providers.base import FieldValue

# The campaign keys that name a sender pool at the provider.
SERVICE_FIELDS = ("messaging_service_sid", "messaging_profile_id")


def merge_fields(common: Mapping[str, FieldValue], own: str | None) -> Mapping[str, FieldValue]:
    """Return all fields of one message: the plan's (`common`), and those in the row's column `fields` over them."""
    return common if own is None else {**common, **json.loads(own)}


def parse_fields(own: str | None) -> dict[str, Any]:
    """Return a row's own fields, from its column `fields`."""
    return {} if own is None else dict(json.loads(own))


def row_field(key: str) -> pl.Expr:
    """A row's own value of `key` as text; null where it has none."""
    return pl.col("fields").str.json_path_match(f"$.{key}")


def row_service(keys: Collection[str]) -> pl.Expr:
    """The service id in a row's own fields, under one of `keys`; else null."""
    return pl.coalesce(*(row_field(key) for key in keys))


def find_service(fields: Mapping[str, FieldValue]) -> str | None:
    """Return the sender pool at the provider that a message's fields name; None without one."""
    if not fields:  # most messages; each is asked before it leaves
        return None
    return next((str(fields[key]) for key in SERVICE_FIELDS if key in fields), None)


def is_mms(common: Mapping[str, FieldValue]) -> pl.Expr:
    """Whether a row of a plan goes as MMS: it has media, or its fields or the plan's (`common`) ask for it."""
    if common.get("send_as_mms") or common.get("message_type") == "MMS":
        return pl.lit(value=True)
    return (
        (pl.col("media").list.len() > 0).fill_null(value=False)
        | row_field("send_as_mms").eq_missing(pl.lit("true"))
        | row_field("message_type").eq_missing(pl.lit("MMS"))
    )


def ref_column(run_id: str, seq: pl.Expr) -> pl.Expr:
    """`make_ref` of a column."""
    return pl.lit(make_ref(run_id, 0).removesuffix("0")) + seq.cast(pl.String)
