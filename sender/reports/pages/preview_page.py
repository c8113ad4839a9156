"""A preview of a plan before anything is sent: a page, rows for a program, a frame for a terminal.

Shows the plan and nothing else: reads no other file, reads no clock, never touches the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from sender import providers, segments
from sender.core import money
from sender.plan import message_fields
from sender.plan.manifest import Manifest, sender_shown
from sender.plan.plan import Plan
from sender.planning import brakes
from sender.reports.pages import page
from sender.segments import blame

_SLICE = 65_536  # messages: a row group of the plan's file
_SHOWN = 200  # messages, and skipped rows, on a page without a limit
_CAUSES = 4  # listed under a bubble; more would be as long as the message
_CAUSE_CHARS = 12
_BLAMED, _REGIONS = 8, 12  # characters and countries listed on the page

_GSM = re.escape(segments.GSM_BASIC + segments.GSM_EXTENSION)
# What joins the character before it: a run that begins with one takes that character along, so that a page never
# puts markup between a letter and its accent, or inside a keycap.
_COMBINING = "\u0300-\u036f\u200d\u20d0-\u20ff\ufe0e\ufe0f"
_FORCING = re.compile(f"((?:[{_GSM}](?=[{_COMBINING}]))?[^{_GSM}]+)")


def preview_html(plan: Plan, *, limit: int | None = None) -> str:
    """One HTML page, complete in itself: counts, bubbles, skipped rows, and what the plan was made from.

    `limit` bounds the messages and the skipped rows shown, each; None is 200, as much as a person scrolls through. The
    counts are always of the whole plan.
    """
    manifest = plan.manifest
    limit = _SHOWN if limit is None else limit
    rows = list(preview_frame(plan, limit).iter_rows(named=True))
    skipped = _head(plan.scan().filter(pl.col("seq").is_null()), limit)
    units = segments.measure(pl.Series([row["body"] for row in rows], dtype=pl.String))["units"]
    return page.render(
        "preview.html.j2",
        manifest=manifest,
        provider=_provider(manifest),
        senders=_senders(manifest),
        pace=_pace(manifest),
        messages=[_bubble(row, used) for row, used in zip(rows, units, strict=True)],
        shown=frozenset(row["row_number"] for row in rows),
        by_segments=_by_segments(plan),
        skipped=list(skipped.select("row_number", "to", "reason", "detail").iter_rows(named=True)),
        skipped_total=manifest.rows - manifest.messages,
        by_reason=_largest_first(manifest.skipped),
        repairs=manifest.numbers.get("repairs", ()),
        by_encoding=_by_encoding(plan),
        by_region=_by_region(manifest),
        stops=[stop.found for stop in brakes.find_stops(brakes.Start(manifest))],
        blamed=[blame.sentence(character) for character in manifest.blame.get("characters", ())[:_BLAMED]],
        more_blamed=max(0, len(manifest.blame.get("characters", ())) - _BLAMED) + manifest.blame.get("unlisted", 0),
    )


def preview_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """Every message in file order as a JSON-ready dict, read a slice of the plan at a time.

    Keys: `seq`, `row_number`, `to`, `from` (a number, or the id of the service that picks one), `body` (None when
    there is only media), `media` (a list of URLs), `mms`, `encoding`, `segments`, `fields` (those that its row set),
    `cost` (decimal text, None without a price).
    """
    for start in range(0, plan.manifest.messages, _SLICE):
        part = pl.col("seq").is_between(start, start + _SLICE, closed="left")
        for row in _messages(plan).filter(part).collect().iter_rows(named=True):
            micros = row.pop("cost_micros")
            own = message_fields.parse_fields(row.pop("fields"))
            yield {**row, "fields": own, "cost": None if micros is None else money.text(micros)}


def preview_frame(plan: Plan, limit: int | None = None) -> pl.DataFrame:
    """The first `limit` messages (None: all): `row_number, to, from, body, media, fields, mms, encoding, segments`."""
    return _head(_messages(plan), limit).drop("seq", "cost_micros")


def _messages(plan: Plan) -> pl.LazyFrame:
    sender = sender_shown(plan.manifest).alias("from")
    mms = message_fields.is_mms(plan.manifest.fields).alias("mms")
    return (
        plan.scan()
        .filter(pl.col("seq").is_not_null())
        .select(
            "seq", "row_number", "to", sender, "body", "media", "fields", mms, "encoding", "segments", "cost_micros"
        )
    )


def _head(rows: pl.LazyFrame, limit: int | None) -> pl.DataFrame:
    return (rows if limit is None else rows.head(limit)).collect()


@dataclass(frozen=True, slots=True)
class BodyPiece:
    """A stretch of a body. `forces` names its characters when they force UCS-2, else it is empty."""

    text: str
    forces: str = ""


@dataclass(frozen=True, slots=True)
class Bubble:
    """One message as the page shows it. `units` of `room` are used (None where characters are not counted).

    `causes` are the characters that forced UCS-2, in readable form; `more_causes` is the number left out; `script` says
    that the text is written in letters GSM-7 does not have, so that no single character is the cause. `fields` are the
    provider fields that its row set.
    """

    row_number: int
    to: str
    from_number: str | None
    pieces: tuple[BodyPiece, ...]
    media: tuple[str, ...]
    mms: bool
    encoding: str | None
    segments: int
    units: int
    room: int | None
    causes: tuple[str, ...]
    more_causes: int
    script: bool
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Share:
    """A bar of the chart: the number of messages of `segments` segments, and a row with one of them."""

    segments: int
    messages: int
    row_number: int


def _bubble(row: Mapping[str, Any], units: int) -> Bubble:
    body = row["body"] or ""
    media = tuple(row["media"] or ())
    mms = row["mms"]
    ucs = row["encoding"] == segments.UCS_2 and not mms  # an MMS has no alphabet and no segments to pay for
    script = ucs and _other_script(body)
    pieces = tuple(_pieces(body)) if ucs and not script else (BodyPiece(body),) if body else ()
    causes = list(dict.fromkeys(_cause(piece.text) for piece in pieces if piece.forces))
    return Bubble(
        row_number=row["row_number"],
        to=row["to"],
        from_number=row["from"],
        pieces=pieces,
        media=media,
        mms=mms,
        encoding=row["encoding"],
        segments=row["segments"],
        units=units,
        room=None if mms or not body else _room(row["encoding"], row["segments"]),
        causes=tuple(causes[:_CAUSES]),
        more_causes=max(0, len(causes) - _CAUSES),
        script=script,
        fields=message_fields.parse_fields(row["fields"]),
    )


def _room(encoding: str | None, parts: int) -> int:
    """The units that `parts` segments hold (3GPP TS 23.040)."""
    whole, part = (70, 67) if encoding == segments.UCS_2 else (160, 153)
    return whole if parts <= 1 else parts * part


def _pieces(body: str) -> Iterator[BodyPiece]:
    for index, text in enumerate(_FORCING.split(body)):
        if text:
            yield BodyPiece(text, page.names(text) if index % 2 else "")


def _other_script(body: str) -> bool:
    letters = "".join(character for character in body if character.isalpha())
    return 2 * sum(len(run) for run in _FORCING.findall(letters)) > len(letters)


def _cause(run: str) -> str:
    """A run of characters in readable form, shortened if it is long."""
    shown = page.visible(run)
    return shown if len(run) <= _CAUSE_CHARS else shown[:_CAUSE_CHARS] + "…"


def _by_segments(plan: Plan) -> list[Share]:
    counts = (
        plan.scan()
        .filter(pl.col("seq").is_not_null())
        .group_by("segments")
        .agg(pl.len(), pl.col("row_number").min())
        .sort("segments")
        .collect()
    )
    return [Share(*row) for row in counts.iter_rows()]


def _by_region(manifest: Manifest) -> list[tuple[str, str, int, int]]:
    """Region, cost, and the cost and the total in micro-units; most expensive first."""
    if manifest.cost is None:
        return []
    whole = money.parse(manifest.cost["total"])
    return [
        (region, entry["cost"], money.parse(entry["cost"]), whole)
        for region, entry in manifest.cost["by_region"].items()
    ][:_REGIONS]


def _by_encoding(plan: Plan) -> list[tuple[str, int]]:
    """The messages by encoding, or MMS. They add up to all messages, unlike the manifest's counts, which include the
    texts of MMS among the encodings."""
    mms = message_fields.is_mms(plan.manifest.fields)
    kind = pl.when(mms).then(pl.lit("MMS")).otherwise(pl.col("encoding").fill_null("filled in by the provider"))
    counts = plan.scan().filter(pl.col("seq").is_not_null()).group_by(kind=kind).len().collect()
    return _largest_first(dict(counts.iter_rows()))


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _provider(manifest: Manifest) -> str:
    title = providers.capabilities(manifest.dialect).title
    return f"Sandbox, speaking {title}" if manifest.provider == "sandbox" else title


def _senders(manifest: Manifest) -> tuple[str, ...]:
    """The senders; empty when each row has its own."""
    return manifest.senders or ((manifest.service,) if manifest.service else ())


def _pace(manifest: Manifest) -> str:
    pace = manifest.pace
    per_s = manifest.per_s
    if per_s is None:
        return "as fast as the provider answers"
    figure, span = (per_s, "second") if per_s >= 1 else (per_s * 60, "minute")
    return f"at {round(figure, 3):g} {pace.unit.removesuffix('s') if figure == 1 else pace.unit} a {span}"
