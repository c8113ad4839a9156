"""What a plan sends beyond one that was confirmed earlier: what nobody has agreed to."""

from __future__ import annotations

import polars as pl

from sender.plan.hashes import COLUMNS
from sender.plan.plan import Plan


def count_unconfirmed(confirmed: Plan, now: Plan) -> int:
    """Return how many messages of `now` are not among those of `confirmed`: to others, or with another content.

    Through another provider, with other fields of its own or as another edition, every message is another.
    """
    before, after = confirmed.manifest, now.manifest
    settings = ((each.provider, each.dialect, each.edition, dict(each.fields)) for each in (before, after))
    if len({repr(values) for values in settings}) > 1:
        return after.messages
    counts = _count_messages(now).join(_count_messages(confirmed), on=("a", "b"), how="left", suffix="_before")
    beyond = pl.col("len").cast(pl.Int64) - pl.col("len_before").fill_null(0).cast(pl.Int64)
    return int(counts.select(beyond.clip(lower_bound=0).sum()).item() or 0)


def _count_messages(plan: Plan) -> pl.DataFrame:
    """Return each different message of the plan, as two hashes of 64 bits, and how often it is there (`len`)."""
    contents = [pl.col(name).list.join(" ") if name == "media" else pl.col(name) for name in COLUMNS]
    messages = plan.scan().filter(pl.col("seq").is_not_null()).select(message=pl.struct(contents))
    hashes = messages.select(a=pl.col("message").hash(1), b=pl.col("message").hash(2))
    return hashes.group_by("a", "b").len().collect()
