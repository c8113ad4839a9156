"""A preview of a plan before anything is sent: a page, rows for a program, a frame for a terminal.

Shows the plan and nothing else: reads no other file, never touches the network. The clock is read only where messages
have a window, unless the caller gives the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sender import providers, segments
from sender.core import clock, money
from sender.core.lazy_modules import pl
from sender.plan import message_fields
from sender.plan.manifest import Manifest, has_variants, sender_shown
from sender.plan.plan import Plan
from sender.planning import brakes
from sender.planning.forecast import foresee
from sender.planning.scheduled_at import describe_send_at
from sender.planning.sending_times import SendingTimes
from sender.planning.whereabouts import COLUMNS as WHERE
from sender.reports.labels import held_until
from sender.reports.pages import page
from sender.reports.skipped_rows import group_skipped
from sender.segments.advice import advise

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


def preview_html(plan: Plan, *, limit: int | None = None, now_ms: int | None = None) -> str:
    """One HTML page, complete in itself: counts, bubbles, skipped rows, and what the plan was made from.

    `limit` bounds the messages and the skipped rows shown, each; None is 200, as much as a person scrolls through. The
    counts are always of the whole plan. When the messages would leave is as of `now_ms` (milliseconds UTC; None: now).
    """
    manifest = plan.manifest
    now_ms = clock.time_of_day_ms() if now_ms is None else now_ms
    limit = _SHOWN if limit is None else limit
    rows = list(preview_frame(plan, limit).iter_rows(named=True))
    skipped = _head(plan.scan().filter(pl.col("seq").is_null()), limit)
    units = segments.measure(pl.Series([row["body"] for row in rows], dtype=pl.String))["units"]
    return page.render(
        "preview.html.j2",
        manifest=manifest,
        times=_times(plan, now_ms),
        provider=_provider(manifest),
        senders=_senders(manifest),
        pace=_pace(manifest),
        messages=[_bubble(row, used) for row, used in zip(rows, units, strict=True)],
        shown=frozenset(row["row_number"] for row in rows),
        by_segments=_by_segments(plan),
        causes=group_skipped(plan),
        send_at=describe_send_at(manifest),
        skipped=list(skipped.select("row_number", "to", "reason", "detail").iter_rows(named=True)),
        skipped_total=manifest.rows - manifest.messages,
        by_reason=_largest_first(manifest.skipped),
        repairs=manifest.numbers.get("repairs", ()),
        by_encoding=_by_encoding(plan),
        by_region=_by_region(manifest),
        stops=[stop.found for stop in brakes.find_stops(brakes.Start(manifest))],
        blamed=advise(manifest.blame, _BLAMED),
    )


def preview_rows(plan: Plan, *, now_ms: int | None = None) -> Iterator[dict[str, Any]]:
    """Every message in file order as a JSON-ready dict, read a slice of the plan at a time.

    Keys: `seq`, `row_number`, `to`, `from` (a number, or the id of the service that picks one), `body` (None when
    there is only media), `media` (a list of URLs), `mms`, `encoding`, `segments`, `fields` (those that its row set),
    `cost` (decimal text, None without a price); `variant` where there are some. Where messages have a window also
    `zone`, `zone_source`, `places`, `not_before` and `not_after` (ISO 8601 in UTC, as of `now_ms`; both None for a
    message with no window left).
    """
    now_ms = clock.time_of_day_ms() if now_ms is None else now_ms
    times = SendingTimes(plan.manifest.window)
    where = WHERE if times else ()
    for start in range(0, plan.manifest.messages, _SLICE):
        part = pl.col("seq").is_between(start, start + _SLICE, closed="left")
        for row in _messages(plan, *where).filter(part).collect().iter_rows(named=True):
            micros = row.pop("cost_micros")
            own = message_fields.parse_fields(row.pop("fields"))
            cost = None if micros is None else money.text(micros)
            yield {**row, "fields": own, "cost": cost, **(_row_times(row, times, now_ms) if times else {})}


def preview_frame(plan: Plan, limit: int | None = None) -> pl.DataFrame:
    """The first `limit` messages (None: all): `row_number, to, from, body, media, fields, mms, encoding, segments`.

    And `variant`, where there are some.
    """
    return _head(_messages(plan), limit).drop("seq", "cost_micros")


def _times(plan: Plan, now_ms: int) -> list[tuple[str, int, str]]:
    """When the messages would leave: a label, how many, what holds them; empty where no window is asked for."""
    forecast = foresee(plan, now_ms) if plan.manifest.window else None
    if forecast is None:
        return []
    rows = [("now", forecast.leave_now, "")]
    rows += [(held_until(group), group.messages, ", ".join(group.rules)) for group in forecast.held]
    rows += [("never: no window is left", forecast.never, "")]
    rows += [("never: its window closes before its turn", forecast.late, "")]
    return [row for row in rows if row[1]]


def _row_times(row: Mapping[str, Any], times: SendingTimes, now_ms: int) -> dict[str, str | None]:
    intervals = times.of(row["zone"], row["places"], now_ms).intervals
    ends = (intervals[0][0], intervals[-1][1]) if intervals else (None, None)
    texts = [None if at is None else datetime.fromtimestamp(at / 1000, UTC).isoformat() for at in ends]
    return dict(zip(("not_before", "not_after"), texts, strict=True))


def _messages(plan: Plan, *more: str) -> pl.LazyFrame:
    sender = sender_shown(plan.manifest).alias("from")
    variant = ("variant",) if has_variants(plan.manifest) else ()
    mms = message_fields.is_mms(plan.manifest.fields).alias("mms")
    return (
        plan.scan()
        .filter(pl.col("seq").is_not_null())
        .select(
            "seq",
            "row_number",
            "to",
            sender,
            "body",
            "media",
            "fields",
            mms,
            "encoding",
            "segments",
            "cost_micros",
            *variant,
            *more,
        )
    )


def _head(rows: pl.LazyFrame, limit: int | None) -> pl.DataFrame:
    return (rows if limit is None else rows.head(limit)).collect()


def _bubble_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    variant = {"variant": row["variant"]} if row.get("variant") else {}
    return {**variant, **message_fields.parse_fields(row["fields"])}


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
        fields=_bubble_fields(row),
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
    dialects = [route["dialect"] for route in manifest.routes] or [manifest.dialect]
    title = ", else ".join(providers.capabilities(dialect).title for dialect in dialects)
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
