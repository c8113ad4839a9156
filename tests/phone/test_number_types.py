"""What digits tell of a number: its type, as the documents list it; or that they are a date and a time."""

from __future__ import annotations

import re
from pathlib import Path

import phonenumbers
import polars as pl
import pytest
from phonenumbers import PhoneMetadata

from sender import phone
from sender.phone import e164
from sender.phone.cell import Reader
from sender.phone.digit_sets import intersection
from sender.phone.numbering import _described

TIMES = ["093000", "235959", "000000", "240000", "096000", "093060", "0930", "2400", "09300"]
DOCS = Path(__file__).parents[2] / "docs" / "campaign.md"


def regions_with_either() -> tuple[list[str], list[str]]:
    """Regions all of whose mobiles are `fixed_line_or_mobile`, and those where some are."""
    every, some = [], []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        metadata = PhoneMetadata.metadata_for_region(region)
        mobile, both = _described(metadata.mobile), _described(metadata.mobile)
        if not metadata.same_mobile_and_fixed_line_pattern:
            both = intersection(mobile, _described(metadata.fixed_line))
        if both:
            (every if both == mobile else some).append(region)
    return every, some


def test_the_documents_list_them() -> None:
    text = " ".join(DOCS.read_text("utf-8").split())
    found = re.search(r"all mobiles in ([A-Z, ]+), and for some in ([A-Z, ]+)\.", text)
    assert found is not None
    assert [found[1].split(", "), found[2].split(", ")] == list(regions_with_either())


@pytest.mark.parametrize("region", ["DE", "AT", "US", "EG", "CN"])
def test_dates_and_times_are_held_by_tables_as_by_cell(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e164, "_REGION_FROM_ROWS", 1)
    cells = [f"{day}{time}" for day in ("20240115", "19991231", "20241301", "20240132") for time in TIMES]
    read = phone.normalize(pl.Series(cells), default_region=region)
    reader = Reader(frozenset(), short_codes=False, careful=True)
    for cell, row in zip(cells, read.iter_rows(), strict=True):
        assert row == reader.read(cell, region), cell
    whole = [cell for cell in cells if re.fullmatch(r"(20240115|19991231)([01]\d|2[0-3])[0-5]\d[0-5]\d", cell)]
    assert len(whole) == 6
    for cell in whole:
        assert "looks like a date and time" in read["detail"][cells.index(cell)]


def test_a_number_with_its_country_code_may_look_like_a_date() -> None:
    """Egypt's code is 20, and its mobiles have ten digits: many lists leave out the plus."""
    assert phone.normalize(pl.Series(["201001231530"]), default_region="EG")["to"].to_list() == ["+201001231530"]
