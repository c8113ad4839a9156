"""Explains where one recipient may be: each piece of evidence, and the zones that it gives by itself."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from sender.rules.places import ZoneSource, locate

_EXCHANGE_DIGITS = 8  # of an E.164 number with its plus: +1, the area code and the exchange
_NO_EXCHANGE = "000"  # which no number has, so the answer is that of the whole area code


@dataclass(frozen=True, slots=True)
class ZoneEvidence:
    """What one piece of evidence gives. `value` is the cell, the digits or the region; `zones` are sorted.

    `problem` is a sentence on a cell that gives nothing.
    """

    source: ZoneSource
    value: str
    zones: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PlaceExplanation:
    """Where a recipient may be, as `sender.rules.places.locate` decides, and all the evidence, best first.

    The piece that decided is the one whose `source` is that of the explanation.
    """

    zones: tuple[str, ...]
    source: ZoneSource
    places: tuple[str, ...]
    problem: str | None
    evidence: tuple[ZoneEvidence, ...]


def explain_place(
    to: str | None,
    region: str | None,
    *,
    timezone: str | None = None,
    zip_code: str | None = None,
    state: str | None = None,
) -> PlaceExplanation:
    """Return where that recipient may be, with every piece of evidence; the arguments are a row's cells of `locate`."""
    cells = {"timezone": timezone, "zip_code": zip_code, "state": state}
    answer = _locate_one(to, region, **cells)
    zones, problem = _split(answer["zone"]), answer["problem"]
    evidence = [*_cell_evidence(to, region, cells), *_number_evidence(to, region)]
    return PlaceExplanation(
        zones, ZoneSource(answer["zone_source"] or ""), _split(answer["places"]), problem, tuple(evidence)
    )


def _cell_evidence(to: str | None, region: str | None, cells: dict[str, str | None]) -> list[ZoneEvidence]:
    sources = {"timezone": ZoneSource.TIMEZONE, "zip_code": ZoneSource.ZIP, "state": ZoneSource.STATE}
    evidence = []
    for name, source in sources.items():
        cell = cells[name]
        if cell is None or not cell.strip():
            continue
        answer = _locate_one(to, region, **{name: cell})
        zones = _split(answer["zone"]) if answer["zone_source"] == source else ()
        evidence.append(ZoneEvidence(source, cell.strip(), zones, answer["problem"] or _unused(zones)))
    return evidence


def _unused(zones: tuple[str, ...]) -> str | None:
    return None if zones else "counts only for numbers of the United States and Canada"


def _number_evidence(to: str | None, region: str | None) -> list[ZoneEvidence]:
    evidence = []
    answer = _locate_one(to, region)
    if to is not None and answer["zone_source"] == ZoneSource.EXCHANGE:
        evidence.append(ZoneEvidence(ZoneSource.EXCHANGE, to[:_EXCHANGE_DIGITS], _split(answer["zone"])))
        answer = _locate_one(to[:5] + _NO_EXCHANGE + to[_EXCHANGE_DIGITS:], region)
    if to is not None and answer["zone_source"] == ZoneSource.AREA_CODE:
        evidence.append(ZoneEvidence(ZoneSource.AREA_CODE, to[:5], _split(answer["zone"])))
    of_region = _locate_one(None, region)
    if region is not None and of_region["zone"]:
        evidence.append(ZoneEvidence(ZoneSource.REGION, region, _split(of_region["zone"])))
    return evidence


def _locate_one(to: str | None, region: str | None, **cells: str | None) -> dict[str, str | None]:
    columns = {name: pl.Series([cell], dtype=pl.String) for name, cell in cells.items()}
    row: dict[str, str | None] = locate(
        pl.Series([to], dtype=pl.String), pl.Series([region], dtype=pl.String), **columns
    ).row(0, named=True)
    return row


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(names.split("|")) if names else ()
