"""`send_at`: the time at which a provider sends a message that it has been given before.

A time that is past, or that the provider does not take, is refused while the campaign is planned; the provider would
refuse each message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import polars as pl

from sender.core.durations import describe_duration
from sender.core.errors import InputError, Unsupported
from sender.core.local_time import format_local
from sender.plan import message_fields
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.planning.sending_times import SendingTimes
from sender.providers import capabilities
from sender.providers.base import Capabilities, FieldValue
from sender.rules.zones import format_time

KEY = "send_at"


def check_send_at(provider: Capabilities, fields: Mapping[str, FieldValue], from_ms: int) -> None:
    """Raise Unsupported where the provider does not take the `send_at` in `fields` from a request at `from_ms`."""
    at = _read(fields.get(KEY))
    if at is None or provider.schedule_s is None:
        return
    shortest, longest = provider.schedule_s
    ahead_s = at.timestamp() - from_ms / 1000
    if shortest <= ahead_s <= longest:
        return
    span = f"{describe_duration(shortest)} to {describe_duration(longest)}"
    if ahead_s < 0:
        what = f"{format_local(at, None)} is past"
    else:
        what = f"{format_local(at, None)} is {describe_duration(ahead_s)} ahead"
    raise Unsupported(
        f"{what}; {provider.title} takes {span}",
        where=KEY,
        fix=f"write a time that is {span} ahead, or remove `{KEY}`; `sender resume` continues a run that has begun",
    )


def refuse_past_times(plan: Plan, now_ms: int) -> None:
    """Raise InputError where a message of `plan`, made earlier, has a `send_at` that is not taken any more."""
    manifest = plan.manifest
    if KEY not in manifest.fields and KEY not in manifest.templates:
        return
    provider = capabilities(manifest.dialect)
    own = plan.scan().filter(pl.col("seq").is_not_null()).select(at=message_fields.row_field(KEY)).unique().collect()
    for value in own["at"]:
        fields = manifest.fields if value is None else {KEY: value}
        try:
            check_send_at(provider, fields, now_ms)
        except Unsupported as error:
            raise InputError(
                f"{KEY}: {error.what}", fix="plan the campaign again with another time; nothing was sent"
            ) from None


def refuse_closed_hours(plan: Plan) -> None:
    """Raise Unsupported where a `send_at` is outside the window of a recipient: the provider would not hold it back."""
    manifest = plan.manifest
    times = SendingTimes(manifest.window)
    if not times or manifest.test_to is not None or not (KEY in manifest.fields or KEY in manifest.templates):
        return
    groups = (
        plan.scan()
        .filter(pl.col("seq").is_not_null())
        .group_by("zone", "places", at=message_fields.row_field(KEY))
        .agg(pl.len().alias("messages"), pl.col("row_number").min())
        .sort("row_number")
        .collect()
    )
    for zone, places, value, messages, row in groups.iter_rows():
        at = _read(manifest.fields.get(KEY) if value is None else value)
        if at is None:
            continue
        at_ms = round(at.timestamp() * 1000)
        found = times.of(zone, places, at_ms)
        if not found.intervals or found.intervals[0][0] > at_ms:
            name = (zone or "Etc/UTC").split("|")[0]
            others = f" and {messages - 1:,} more" if messages > 1 else ""
            by = f" ({', '.join(found.rules)})" if found.rules else ""
            raise Unsupported(
                f"{format_local(at, None)} is {format_time(at_ms, name)} in {name}, outside the window of the recipient"
                f" in row {row}{others}{by}",
                where=KEY,
                fix="write a time within the window of everybody, or remove `send_at`: then each message is held until"
                " its recipient's own window opens",
            )


def describe_send_at(manifest: Manifest) -> str | None:
    """Return `Tue 2026-12-01 09:00 UTC-05:00 (14:00 UTC)` or each row's template; None where nothing is scheduled."""
    if KEY in manifest.templates:
        return f"{manifest.templates[KEY]}, in each row"
    value = manifest.fields.get(KEY)
    at = _read(value)
    if at is None:
        return None if value is None else str(value)
    utc = at.astimezone(UTC)
    if at.utcoffset() == utc.utcoffset():
        return format_local(at, None)
    day = "" if at.date() == utc.date() else f" on {utc:%Y-%m-%d}"
    return f"{format_local(at, None)} ({utc:%H:%M}{day} UTC)"


def _read(value: FieldValue | None) -> datetime | None:
    """Return the time of a value that the provider's own check has let pass; None for none and for another text."""
    try:
        at = None if value is None else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
