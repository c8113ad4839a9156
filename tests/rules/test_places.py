"""Where recipients may be: hard cases of each kind of evidence, and what holds for every number."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.rules.explain_place import explain_place
from sender.rules.places import ZoneSource, locate
from sender.rules.zones import zone_names
from tests.profiles import examples

EASTERN, CENTRAL, MOUNTAIN, PACIFIC = (
    f"America/{city}" for city in ("New_York", "Chicago", "Denver", "Los_Angeles")
)  # fmt: skip
OF_THE_US = f"America/Adak|America/Anchorage|{CENTRAL}|{MOUNTAIN}|{PACIFIC}|{EASTERN}|America/Phoenix|Pacific/Honolulu"

OF_THE_NORTH = "|".join(
    f"America/{name}" for name in ("Atikokan", "Cambridge_Bay", "Edmonton", "Iqaluit", "Rankin_Inlet", "Whitehorse")
)


def column(values: Sequence[str | None]) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


def located(to: str | None, region: str | None = "US", **cells: str | None) -> dict[str, str | None]:
    columns = {name: column([cell]) for name, cell in cells.items()}
    row: dict[str, str | None] = locate(column([to]), column([region]), **columns).row(0, named=True)
    return row


class TestNumbers:
    @pytest.mark.parametrize(
        ("code", "zones"),
        [
            ("208", "America/Boise|America/Los_Angeles"),
            ("219", "America/Chicago|America/Indiana/Indianapolis"),
            ("236", "America/Edmonton|America/Vancouver"),
            ("250", "America/Edmonton|America/Vancouver"),
            ("257", "America/Edmonton|America/Vancouver"),
            ("270", f"{CENTRAL}|{EASTERN}"),
            ("308", f"{CENTRAL}|{MOUNTAIN}"),
            ("364", f"{CENTRAL}|{EASTERN}"),
            ("367", "America/Halifax|America/Toronto"),
            ("402", f"{CENTRAL}|{MOUNTAIN}"),
            ("418", "America/Halifax|America/Toronto"),
            ("423", f"{CENTRAL}|{EASTERN}"),
            ("448", f"{CENTRAL}|{EASTERN}"),
            ("458", "America/Boise|America/Los_Angeles"),
            ("474", "America/Regina|America/Winnipeg"),
            ("531", f"{CENTRAL}|{MOUNTAIN}"),
            ("541", "America/Boise|America/Los_Angeles"),
            ("574", "America/Indiana/Indianapolis|America/Indiana/Knox"),
            ("581", "America/Halifax|America/Toronto"),
            ("605", f"{CENTRAL}|{MOUNTAIN}"),
            ("606", f"{CENTRAL}|{EASTERN}"),
            ("620", f"{CENTRAL}|{MOUNTAIN}"),
            ("672", "America/Edmonton|America/Vancouver"),
            ("701", f"{CENTRAL}|{MOUNTAIN}"),
            ("709", "America/Goose_Bay|America/St_Johns"),
            ("729", f"{CENTRAL}|{EASTERN}"),
            ("765", "America/Chicago|America/Indiana/Indianapolis"),
            ("775", f"{MOUNTAIN}|{PACIFIC}"),
            ("778", "America/Edmonton|America/Vancouver"),
            ("785", f"{CENTRAL}|{MOUNTAIN}"),
            ("807", "America/Toronto|America/Winnipeg"),
            ("812", "America/Chicago|America/Indiana/Indianapolis"),
            ("850", f"{CENTRAL}|{EASTERN}"),
            ("865", f"{CENTRAL}|{EASTERN}"),
            ("867", OF_THE_NORTH),
            ("879", "America/Goose_Bay|America/St_Johns"),
            ("906", "America/Detroit|America/Menominee"),
            ("907", "America/Adak|America/Anchorage"),
            ("915", f"{CENTRAL}|{MOUNTAIN}"),
            ("928", "America/Denver|America/Phoenix"),
            ("930", "America/Chicago|America/Indiana/Indianapolis"),
            ("931", f"{CENTRAL}|{EASTERN}"),
            ("986", "America/Boise|America/Los_Angeles"),
        ],
    )
    def test_a_code_that_spans_zones_has_them_all(self, code: str, zones: str) -> None:
        """Its exchange 555 is listed nowhere, so it is in each of its code's zones, and never in the code's default."""
        row = located(f"+1{code}5550100", None)
        assert (row["zone"], row["zone_source"]) == (zones, "area_code")

    def test_no_other_code_of_the_us_and_canada_does(self) -> None:
        codes = [str(code) for code in range(200, 1000)]
        rows = locate(column([f"+1{code}5550100" for code in codes]), column([None] * len(codes)))
        several = rows.with_columns(code=column(codes)).filter(
            pl.col("zone").str.contains("|", literal=True) & (pl.col("zone_source") == "area_code")
        )
        assert several.height == 43

    def test_an_overlay_has_no_exchanges_of_its_own(self) -> None:
        """Those that its older code has elsewhere say nothing of it."""
        listed, same = located("+14232670100"), located("+17292670100")
        assert (listed["zone"], listed["zone_source"]) == (EASTERN, "exchange")
        assert (same["zone"], same["zone_source"]) == (f"{CENTRAL}|{EASTERN}", "area_code")

    @pytest.mark.parametrize(
        ("number", "zones", "source"),
        [
            ("+16895550100", EASTERN, "area_code"),  # Orlando, as 407 and 321
            ("+12125550100", EASTERN, "area_code"),
            ("+16025550100", "America/Phoenix", "area_code"),
            ("+18085550100", "Pacific/Honolulu", "area_code"),
            ("+13135550100", "America/Detroit", "area_code"),
            ("+13245550100", EASTERN, "area_code"),  # overlays Jacksonville's 904
            ("+17295550100", f"{CENTRAL}|{EASTERN}", "area_code"),  # overlays Chattanooga's 423
            ("+17756640100", MOUNTAIN, "exchange"),  # West Wendover
            ("+18124260100", CENTRAL, "exchange"),  # Evansville
            ("+15416780100", PACIFIC, "exchange"),  # Bend has no Malheur County
            ("+18002000100", OF_THE_US, "region"),
            ("+15002345678", OF_THE_US, "region"),
        ],
    )
    def test_the_exchange_its_code_or_its_region(self, number: str, zones: str, source: str) -> None:
        row = located(number)
        assert (row["zone"], row["zone_source"]) == (zones, source)

    @pytest.mark.parametrize(
        ("number", "region", "zones"),
        [
            ("+18765550100", "JM", "America/Jamaica"), ("+16585550100", "JM", "America/Jamaica"),
            ("+12465550100", "BB", "America/Barbados"), ("+18685550100", "TT", "America/Port_of_Spain"),
            ("+18095550100", "DO", "America/Santo_Domingo"), ("+12685550100", "AG", "America/Antigua"),
            ("+13455550100", "KY", "America/Cayman"), ("+14415550100", "BM", "Atlantic/Bermuda"),
            ("+12425550100", "BS", "America/Nassau"), ("+17215550100", "SX", "America/Lower_Princes"),
        ],
    )  # fmt: skip
    def test_the_caribbean_has_one_zone_each(self, number: str, region: str, zones: str) -> None:
        assert located(number, region) == located(number, None)
        assert located(number, region)["zone"] == zones
        assert located(number, region)["places"] == region

    @pytest.mark.parametrize(
        ("number", "region", "zones"),
        [
            ("+447700900123", "GB", "Europe/London"),
            ("+4915123456789", "DE", "Europe/Berlin"),
            ("+8613812345678", "CN", "Asia/Shanghai"),
            ("+213551234567", "DZ", "Africa/Algiers"),  # libphonenumber has Paris, which changes its clock
            ("+50581234567", "NI", "America/Managua"),  # libphonenumber has Chicago
            ("+34612345678", "ES", "Atlantic/Canary|Europe/Madrid"),
            ("+5594987654321", "BR", "America/Sao_Paulo"),  # Marabá; libphonenumber has Manaus
            ("+5581987654321", "BR", "America/Noronha|America/Recife"),
            ("+5565987654321", "BR", "America/Cuiaba"),
            ("+77012345678", "KZ", "Asia/Almaty"),
            ("+38349123456", "XK", "Europe/Belgrade"),
        ],
    )
    def test_other_countries_have_the_zones_of_their_region(self, number: str, region: str, zones: str) -> None:
        row = located(number, region)
        assert (row["zone"], row["places"]) == (zones, region)

    def test_a_large_country_has_them_all(self) -> None:
        zones = (located("+79161234567", "RU")["zone"] or "").split("|")
        assert len(zones) == 11
        assert {"Europe/Kaliningrad", "Europe/Moscow", "Asia/Kamchatka"} <= set(zones)

    @pytest.mark.parametrize("number", [None, "", "988", "12345", "+", "+8", "+999123", "not a number"])
    def test_nothing_is_known_of_what_has_no_region(self, number: str | None) -> None:
        assert located(number, None) == {"zone": None, "zone_source": "unknown", "places": None, "problem": None}

    def test_a_short_code_has_its_region(self) -> None:
        assert located("98812", "US")["zone_source"] == "region"
        assert located(None, "DE")["zone"] == "Europe/Berlin"


class TestJurisdictions:
    @pytest.mark.parametrize(
        ("number", "region", "cells", "places"),
        [
            ("+13055550100", "US", {}, "US|US-FL"),
            ("+13055550100", "US", {"state": "TX"}, "US|US-FL|US-TX"),
            ("+13055550100", "US", {"state": "Florida", "zip_code": "33101"}, "US|US-FL"),
            ("+13055550100", "US", {"state": "OK", "zip_code": "79821"}, "US|US-FL|US-OK|US-TX"),
            ("+13055550100", "US", {"zip_code": "M5V 2T6"}, "CA|US|US-FL"),
            ("+14165550100", "CA", {"zip_code": "33101"}, "CA|US|US-FL"),
            ("+14165550100", "CA", {"state": "ON"}, "CA"),
            ("+17875550100", "PR", {}, "US|US-PR"),
            ("+16715550100", "GU", {}, "US|US-GU"),
            ("+18005550100", "US", {}, "US"),
            ("+18005550100", None, {}, "US"),
            ("+13055550100", "US", {"zip_code": "96970"}, "MH|US|US-FL"),
            ("+13055550100", "US", {"timezone": "Europe/Berlin"}, "US|US-FL"),
            ("+13055550100", "US", {"state": "AE"}, "US|US-FL"),
            ("+447700900123", "GB", {"state": "FL", "zip_code": "33101"}, "GB"),
        ],
    )
    def test_the_number_and_the_address_both_count(
        self, number: str, region: str | None, cells: dict[str, str], places: str
    ) -> None:
        assert located(number, region, **cells)["places"] == places


class TestZips:
    @pytest.mark.parametrize(
        ("cell", "zones"),
        [
            ("86515", MOUNTAIN), ("86039", "America/Phoenix"), ("85001", "America/Phoenix"), ("97910", "America/Boise"),
            ("32401", CENTRAL), ("79821", MOUNTAIN), ("46350", CENTRAL), ("47542", "America/Indiana/Vincennes"),
            ("99546", "America/Adak"), ("96799", "Pacific/Pago_Pago"), ("86045", "America/Denver|America/Phoenix"),
            ("89883", MOUNTAIN), ("10001-1234", EASTERN), ("100011234", EASTERN), (" 10001 ", EASTERN),
            ("2134", EASTERN), ("2134.0", EASTERN), ("2134-1234", EASTERN), ("21341234", EASTERN), ("10001.0", EASTERN),
            ("601", "America/Puerto_Rico"), ("00601", "America/Puerto_Rico"), ("501", EASTERN),
            ("802", "America/St_Thomas"), ("99634", "America/Anchorage|America/Nome"),
            ("K1A 0B1", "America/Toronto"), ("k1a0b1", "America/Toronto"), ("K1A", "America/Toronto"),
            ("A1C 5M9", "America/St_Johns"), ("A0P 1S0", "America/Goose_Bay|America/St_Johns"),
            ("V6B 1A1", "America/Vancouver"), ("S4P 3Y2", "America/Regina"), ("Y1A 1A1", "America/Whitehorse"),
        ],
    )  # fmt: skip
    def test_a_zip_decides(self, cell: str, zones: str) -> None:
        row = located("+13055550100", zip_code=cell)
        assert row["zone_source"] == "zip"
        assert row["problem"] is None
        assert set((row["zone"] or "").split("|")) <= set(zones.split("|"))

    @pytest.mark.parametrize(
        "cell",
        [
            "99999", "00000", "1", "12", "123456", "1234567890", "12345-12", "-12345", "+1234", "12 345", "1e5", "ABCDE",
            "SW1A 1AA", "D1A 1A1", "10001,10002", "٣٣١٠١", "x" * 500,
        ],
    )  # fmt: skip
    def test_one_that_nobody_knows_leaves_the_row_to_its_number(self, cell: str) -> None:
        row = located("+13055550100", zip_code=cell)
        assert (row["zone"], row["zone_source"]) == (EASTERN, "area_code")
        assert row["problem"] == f"`{cell[:40]}` is not a ZIP that we know"

    @pytest.mark.parametrize("cell", ["", "  ", None])
    def test_a_blank_one_says_nothing(self, cell: str | None) -> None:
        assert located("+13055550100", zip_code=cell) == located("+13055550100")

    def test_a_military_address_has_no_zone(self) -> None:
        row = located("+13055550100", zip_code="09012", state="AE")
        assert (row["zone"], row["zone_source"]) == (EASTERN, "area_code")
        assert "`09012` is a military address" in (row["problem"] or "")
        assert "`AE` is a military address" in (row["problem"] or "")

    @pytest.mark.parametrize(("number", "region"), [("+4930123456", "DE"), ("+18765550100", "JM"), (None, "US")])
    def test_the_codes_of_other_countries_are_not_zips(self, number: str | None, region: str) -> None:
        assert located(number, region, zip_code="10115", state="CA") == located(number, region)


class TestStates:
    @pytest.mark.parametrize(
        ("cell", "zones"),
        [
            ("GA", EASTERN), ("georgia", EASTERN), (" Ga ", EASTERN), ("US-GA", EASTERN), ("G.A.", EASTERN),
            ("D.C.", EASTERN), ("District of Columbia", EASTERN), ("Washington, DC", EASTERN), ("Washington", PACIFIC),
            ("TX", f"{CENTRAL}|{MOUNTAIN}"), ("Arizona", f"{MOUNTAIN}|America/Phoenix"), ("HI", "Pacific/Honolulu"),
            ("TENNESSEE", f"{CENTRAL}|{EASTERN}"), ("New  Mexico", MOUNTAIN), ("PR", "America/Puerto_Rico"),
            ("U.S. Virgin Islands", "America/St_Thomas"), ("Guam", "Pacific/Guam"), ("BC", "America/Edmonton|America/Vancouver"),
            ("Québec", "America/Blanc-Sablon|America/Halifax|America/Toronto"), ("CA-AB", "America/Edmonton"),
            ("CA", PACIFIC), ("ca", PACIFIC), ("Newfoundland and Labrador", "America/Goose_Bay|America/St_Johns"),
        ],
    )  # fmt: skip
    def test_a_state_has_the_zones_of_its_zips(self, cell: str, zones: str) -> None:
        row = located("+13055550100", state=cell)
        assert (row["zone"], row["zone_source"], row["problem"]) == (zones, "state", None)

    @pytest.mark.parametrize("cell", ["XX", "Tex", "Bavaria", "12", "New York City", "F L"])
    def test_one_that_is_not_known_leaves_the_row_to_its_number(self, cell: str) -> None:
        row = located("+13055550100", state=cell)
        assert (row["zone"], row["zone_source"]) == (EASTERN, "area_code")
        assert row["problem"] == f"`{cell}` is not a state, a territory or a province that we know"

    def test_the_zip_comes_first(self) -> None:
        assert located("+12125550100", state="CA", zip_code="60601")["zone"] == CENTRAL
        assert located("+12125550100", state="CA", zip_code="99999")["zone"] == PACIFIC


class TestTimezones:
    @pytest.mark.parametrize(
        ("cell", "name"),
        [
            ("Europe/Berlin", "Europe/Berlin"), ("america/new_york", EASTERN), ("America/New York", EASTERN),
            ("US/Eastern", "US/Eastern"), ("UTC", "UTC"), ("Asia/Calcutta", "Asia/Calcutta"), ("Etc/GMT+5", "Etc/GMT+5"),
            (" Pacific/Apia ", "Pacific/Apia"),
        ],
    )  # fmt: skip
    def test_the_rows_own_zone_is_the_best_evidence(self, cell: str, name: str) -> None:
        row = located("+12125550100", timezone=cell, zip_code="90210", state="TX")
        assert (row["zone"], row["zone_source"], row["problem"]) == (name, "timezone", None)

    @pytest.mark.parametrize(
        ("cell", "meant"),
        [
            ("Eastern", EASTERN), ("EST", EASTERN), ("MST", MOUNTAIN), ("PST", PACIFIC), ("Europe/Berln", "Europe/Berlin"),
            ("localtime", EASTERN), ("right/Europe/Berlin", "Europe/Berlin"), ("UTC-5", EASTERN), ("-05:00", EASTERN),
        ],
    )  # fmt: skip
    def test_what_is_not_a_zone_is_not_passed_over(self, cell: str, meant: str) -> None:
        """`EST` is Panama's clock to IANA and New York's to whoever writes it: an hour apart in summer."""
        row = located("+12125550100", timezone=cell, zip_code="90210")
        assert (row["zone"], row["zone_source"]) == (None, "timezone")
        assert row["problem"] == f"`{cell}` is not a time zone; write it as {meant}"

    def test_many_wrong_cells_cost_little(self) -> None:
        """They get the same advice: to find what each may mean would take minutes."""
        cells = column([f"zone {at}" for at in range(5_000)])
        rows = locate(column(["+12125550100"] * 5_000), column(["US"] * 5_000), timezone=cells)
        assert rows["problem"][4_999] == "`zone 4999` is not a time zone; write it as America/New_York"


class TestColumns:
    @given(
        rows=st.lists(
            st.tuples(
                st.sampled_from(
                    ["+12705550100", "+13055550100", "+18005550100", "+4930123456", "+5581987654321", None]
                ),
                st.sampled_from(["US", "CA", "DE", "BR", "PR", None]),
                st.sampled_from(["America/New_York", "Eastern", "", None]),
                st.one_of(st.sampled_from(["10001", "601", "99999", "", None]), st.text(max_size=8)),
                st.one_of(st.sampled_from(["FL", "Texas", "XX", None]), st.text(max_size=8)),
            ),
            min_size=1,
            max_size=8,
        ),
        order=st.randoms(use_true_random=False),
    )
    @settings(max_examples=examples(50))
    def test_a_row_has_its_answer_wherever_it_is(self, rows: list[tuple[str | None, ...]], order: object) -> None:
        def answers(of: list[tuple[str | None, ...]]) -> list[tuple[object, ...]]:
            to, region, timezone, zip_code, state = (column(cells) for cells in zip(*of, strict=True))
            return locate(to, region, timezone=timezone, zip_code=zip_code, state=state).rows()

        shuffled = list(rows)
        order.shuffle(shuffled)  # type: ignore[attr-defined]
        by_row = dict(zip(rows, answers(rows), strict=True))
        assert answers(shuffled) == [by_row[row] for row in shuffled]
        assert [answers([row])[0] for row in rows] == [by_row[row] for row in rows]
        for zone, source, _, _ in by_row.values():
            assert (zone is None) == (source == "unknown" or (source == "timezone" and zone is None))
            assert source in list(ZoneSource)

    @given(st.from_regex(r"\+[1-9][0-9]{0,14}", fullmatch=True), st.sampled_from(["US", "DE", None]))
    @settings(max_examples=examples(50))
    def test_any_number_has_zones_that_exist(self, number: str, region: str | None) -> None:
        zones = located(number, region)["zone"]
        assert zones is None or set(zones.split("|")) <= zone_names()

    def test_no_rows_are_no_rows(self) -> None:
        nothing = column([])
        rows = locate(nothing, nothing, timezone=nothing, zip_code=nothing, state=nothing)
        assert rows.schema == dict.fromkeys(("zone", "zone_source", "places", "problem"), pl.String)
        assert rows.height == 0

    def test_cells_may_be_of_any_type(self) -> None:
        to, region = column(["+13055550100"]), column(["US"])
        assert locate(to, region, zip_code=pl.Series([60601]))["zone"].to_list() == [CENTRAL]
        assert locate(to, region, zip_code=pl.Series([2134.0]))["zone"].to_list() == [EASTERN]
        assert locate(to, region, state=pl.Series([None]))["zone"].to_list() == [EASTERN]


class TestExplanations:
    def test_every_piece_of_evidence_is_shown_best_first(self) -> None:
        explained = explain_place("+18124260100", "US", timezone=" ", zip_code="46350", state="KY")
        assert [(piece.source.value, piece.value, piece.zones) for piece in explained.evidence] == [
            ("zip", "46350", (CENTRAL,)),
            ("state", "KY", (CENTRAL, EASTERN)),
            ("exchange", "+1812426", (CENTRAL,)),
            ("area_code", "+1812", (CENTRAL, "America/Indiana/Indianapolis")),
            ("region", "US", tuple(OF_THE_US.split("|"))),
        ]
        assert (explained.source, explained.zones) == (ZoneSource.ZIP, (CENTRAL,))
        assert explained.places == ("US", "US-IN", "US-KY")

    def test_a_cell_that_gives_nothing_says_why(self) -> None:
        explained = explain_place("+13055550100", "US", timezone="Eastern", zip_code="99999")
        assert (explained.source, explained.zones) == (ZoneSource.TIMEZONE, ())
        timezone, zip_code = explained.evidence[:2]
        assert (timezone.zones, zip_code.zones) == ((), ())
        assert timezone.problem == "`Eastern` is not a time zone; write it as America/New_York"
        assert zip_code.problem == "`99999` is not a ZIP that we know"

    def test_a_cell_that_does_not_count_says_why(self) -> None:
        (cell, region) = explain_place("+447700900123", "GB", zip_code="10001").evidence
        assert cell.problem == "counts only for numbers of the United States and Canada"
        assert (region.source, region.zones) == (ZoneSource.REGION, ("Europe/London",))

    def test_nothing_known(self) -> None:
        explained = explain_place(None, None)
        assert (explained.zones, explained.source, explained.evidence) == ((), ZoneSource.UNKNOWN, ())
