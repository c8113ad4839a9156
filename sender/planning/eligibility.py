"""Who can be reached: each row's number, and which rows are out because it is suppressed or stands there already.

Numbers are read a million at a time and put aside; of the whole list only what suppression and repetition compare is
held at once. Reads the suppression files, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from sender import phone
from sender.core.errors import CampaignError
from sender.core.frame_buffer import SpillingFrames
from sender.core.outcomes import SkipReason
from sender.planning import audience
from sender.planning.compiled import CompiledCampaign
from sender.recipients import columns
from sender.recipients.columns import InputFile, Recipients

_NUMBERS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Audience:
    """What is known of each row before it is composed.

    `numbers` has a frame for each block of the recipients, as `sender.phone` has it; `out` the whole list's `reason`
    and `detail` by type of number, suppression and repetition (`reason` also where the number is at fault); `inputs`
    are the suppression lists, and `notes` what a person should know of them.
    """

    numbers: SpillingFrames
    out: pl.DataFrame
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...]


def reach(offer: CompiledCampaign, people: Recipients) -> Audience:
    """Who can be reached; suppressed and repeated numbers are marked. Of the whole list only the numbers are held."""
    campaign = offer.campaign
    numbers = _numbers(offer, people)
    known = zip(people.table.columns([]), numbers.frames(["to", "reason", "number_type"]), strict=True)
    frame = pl.concat([rows.hstack(part) for rows, part in known], rechunk=True).with_columns(
        detail=pl.lit(None, pl.String)
    )
    frame = audience.skip_types(frame, campaign.recipients.skip_types).drop("number_type")
    read: list[InputFile] = []
    notes: list[str] = []
    for path in campaign.suppress:
        raw, given = columns.load_numbers(campaign.path(path), role="suppress", name=path.as_posix())
        read.append(given)
        listed, unread = _listed(offer, raw)
        if unread.len():
            shown = ", ".join(f"`{one}`" for one in unread.head(3))
            notes.append(f"{unread.len()} of {path.name} are no numbers and suppress nobody: {shown}")
        frame = audience.suppress(frame, listed, source=path.name)
    frame = audience.dedupe(frame, campaign.dedupe)
    return Audience(numbers, frame.select("reason", "detail"), tuple(read), tuple(notes))


def _numbers(offer: CompiledCampaign, people: Recipients) -> SpillingFrames:
    """The numbers of each block of the recipients. Read by the million: the reader's tables pay for many rows only."""
    headers = [people.phone] if people.region is None else [people.phone, people.region]
    spool = SpillingFrames()
    waiting: list[pl.DataFrame] = []

    def read() -> None:
        raw = pl.concat(waiting)
        found = _normalized(offer, raw["0"], raw["1"] if people.region else None)
        start = 0
        for block in waiting:
            spool.append(found[start : start + block.height])
            start += block.height
        waiting.clear()

    for block in people.table.columns(headers):
        waiting.append(block)
        if sum(one.height for one in waiting) >= _NUMBERS_AT_ONCE:
            read()
    if waiting:
        read()
    return spool


def _listed(offer: CompiledCampaign, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The numbers of a suppression list as they are compared, and the cells that hold none."""
    listed, unread = [], []
    for start in range(0, max(raw.len(), 1), _NUMBERS_AT_ONCE):
        part = raw.slice(start, _NUMBERS_AT_ONCE)
        cleaned = _normalized(offer, part)
        listed.append(cleaned["to"].drop_nulls())
        unread.append(part.filter(cleaned["reason"] == SkipReason.INVALID_NUMBER.value))
    return pl.concat(listed), pl.concat(unread)


def _normalized(offer: CompiledCampaign, raw: pl.Series, regions: pl.Series | None = None) -> pl.DataFrame:
    """`raw` numbers as the campaign and its provider read them: `phone.normalize`'s columns."""
    spec, capabilities = offer.campaign.recipients, offer.capabilities
    return phone.normalize(
        raw,
        default_region=spec.default_region,
        regions=regions,
        passthrough=capabilities.passthrough,
        short_codes=capabilities.short_code_recipients,
        careful=spec.caution,
    )


def read_test_number(offer: CompiledCampaign, number: str) -> dict[str, Any]:
    """The number that stands in for every recipient in a test, as a row of `sender.phone`. Raises CampaignError."""
    row = phone.normalize(
        pl.Series([number]),
        default_region=offer.campaign.recipients.default_region,
        passthrough=offer.capabilities.passthrough,
    ).row(0, named=True)
    if row["to"] is None:
        raise CampaignError(f"--test-to {number}: {row['detail']}", fix="write it as +12025550100")
    return row
