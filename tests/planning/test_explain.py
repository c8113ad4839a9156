"""What happened to a row, for every way a row can go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sender import build_plan, explain_row, load_campaign
from sender.core import clock
from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.suppression.entries import REASONS
from sender.suppression.suppression_list import SuppressionList

FROM = "+12025550100"
ROWS = [
    {"phone": "202-555-0101", "name": "Ada"},
    {"phone": "(202) 555 0101", "name": "Again"},
    {"phone": "555-01", "name": "Short"},
    {"phone": "", "name": "None"},
    {"phone": "202-555-0102", "name": ""},
    {"phone": "202-555-0103", "name": "x" * 400},
    {"phone": "202-555-0104", "name": "Stop"},
    {"phone": "202-555-0105", "name": "“Zoë”"},
    {"phone": "202-555-0106", "name": "Last"},
]


def explained(row: int, folder: Path, **keys: Any) -> dict[str, list[str]]:
    (folder / "stop.csv").write_text("phone\n+12025550104\n", encoding="utf-8")
    (folder / "prices.yaml").write_text(
        "currency: USD\nprices: [{to: US, sms: 0.01, sms_fee: 0.002}]\n", encoding="utf-8"
    )
    given: dict[str, Any] = {
        "provider": "sandbox",
        "from_": FROM,
        "recipients": {"rows": ROWS, "default_region": "US"},
        "message": {"body": "Hi {{ name }}", "max_segments": 2},
        "suppress": str(folder / "stop.csv"),
        "prices": str(folder / "prices.yaml"),
    }
    campaign = load_campaign({"name": "t"}, **{**given, **keys})
    told = explain_row(build_plan(campaign, limit=4), row, campaign)
    steps: dict[str, list[str]] = {}
    for name, sentence in told.steps:
        steps.setdefault(name, []).append(sentence)
    assert told.cells == (ROWS[row - 1] if keys.get("recipients") is None else told.cells)
    assert (told.seq is None) == (told.reason is not None)
    return steps


READ = "default region US: +12025550101, US, fixed_line_or_mobile"


@pytest.mark.parametrize(
    ("row", "last", "told"),
    [
        pytest.param(1, "message", {
            "number": [f"`202-555-0101` in column `phone`, {READ}"],
            "duplicates": ["rows 1, 2 (duplicate) have this number, and this one is kept"],
            "text": ["'Hi Ada'"],
            "size": ["GSM-7, 6 units, 1 segment"],
            "sender": [FROM],
            "cost": ["0.012 USD: 0.01 and 0.002 fee for US, times 1"],
            "message": ["number 0 of the plan (seq, from 0)"],
        }, id="a message"),
        pytest.param(2, "duplicates", {"duplicates": ["skipped as duplicate: same number as row 1"]}, id="duplicate"),
        pytest.param(3, "number", {
            "number": [
                "`555-01` in column `phone`, default region US",
                "skipped as invalid_number: `555-01` is too short for US; check for missing digits",
            ],
        }, id="no number"),
        pytest.param(4, "number", {
            "number": ["`` in column `phone`, default region US", "skipped as missing_data: the number cell is blank"],
        }, id="blank number"),
        pytest.param(5, "text", {"duplicates": ["no other row has this number"]}, id="nothing to render"),
        pytest.param(6, "size", {
            "size": ["GSM-7, 403 units, 3 segments", "skipped as too_long: 3 segments (GSM-7); max_segments is 2"],
        }, id="too long"),
        pytest.param(7, "suppression", {"suppression": ["skipped as suppressed: the number is in stop.csv"]}, id="suppressed"),
        pytest.param(8, "message", {"number": ["`202-555-0105` in column `phone`, default region US: +12025550105, US, fixed_line_or_mobile"]}, id="UCS-2"),
    ],
)  # fmt: skip
def test_every_way_a_row_can_go(row: int, last: str, told: dict[str, list[str]], tmp_path: Path) -> None:
    steps = explained(row, tmp_path)
    assert list(steps)[-1] == last
    assert {name: steps[name] for name in told} == told


def test_what_smart_encoding_replaced(tmp_path: Path) -> None:
    steps = explained(8, tmp_path, message={"body": "Hi {{ name }}, it’s on", "smart_encoding": True})
    assert steps["text"] == ["'Hi “Zoë”, it’s on'"]
    assert steps["replaced"] == ["nothing"]
    steps = explained(1, tmp_path, message={"body": "Hi {{ name }}, it’s on", "smart_encoding": True})
    assert steps["text"] == ["'Hi Ada, it’s on'"]
    assert steps["replaced"] == ["'’' by \"'\""]
    assert steps["size"] == ["GSM-7, 15 units, 1 segment"]


def test_which_characters_cost(tmp_path: Path) -> None:
    (told,) = explained(1, tmp_path, message="Hi {{ name }}, it’s on")["size"]
    assert "'’' (right single quotation mark) alone costs no segment in 1 message: write \"'\"" in told


def test_beyond_the_limit(tmp_path: Path) -> None:
    rows = [{"phone": f"+1202555010{n}", "name": "x"} for n in range(9)]
    steps = explained(6, tmp_path, recipients={"rows": rows})
    assert steps["limit"] == ["skipped as limit: beyond the first 4 recipients"]
    assert steps["sender"] == [FROM]


@pytest.mark.parametrize(
    ("keys", "step", "told"),
    [
        pytest.param({"from_": [FROM, "+12025550199"]}, "sender", "out of a pool of 2: this number always gets the same", id="pool"),
        pytest.param({"from_": "MG" + "0" * 32, "sandbox": {"dialect": "twilio"}}, "sender", "picked by MG0", id="service"),
        pytest.param({"send_as_mms": True}, "size", "an MMS, counted as one segment", id="MMS"),
        pytest.param({"send_as_mms": True}, "cost", "no price in", id="no price"),
        pytest.param({"message": {"media": "https://media.example.com/a.jpg"}}, "text", "none; media https://media.example.com/a.jpg", id="media"),
        pytest.param({"message": "Привет, как дела"}, "size", "1 message with Cyrillic letters: UCS-2", id="script"),
    ],
)  # fmt: skip
def test_steps(keys: dict[str, Any], step: str, told: str, tmp_path: Path) -> None:
    assert told in explained(1, tmp_path, **keys)[step][0]


def test_the_rows_own_region_and_sender(tmp_path: Path) -> None:
    rows = [
        {"phone": "07400 123456", "country": "GB", "from": FROM},
        {"phone": "07400 123457", "country": "GB", "from": ""},
    ]
    steps = explained(1, tmp_path, recipients={"rows": rows}, from_=(), message="Hi")
    assert steps["number"] == ["`07400 123456` in column `phone`, the row's own region GB: +447400123456, GB, mobile"]
    assert steps["sender"] == [f"{FROM}, the row's own"]
    assert (
        "skipped as missing_data: no sender"
        in explained(2, tmp_path, recipients={"rows": rows}, from_=(), message="Hi")["sender"][0]
    )


SKIP = {"skip_types": ["fixed_line", "premium_rate"]}


@pytest.mark.parametrize(
    ("row", "keys", "step", "told"),
    [
        pytest.param({"phone": "+44 20 7946 0123"}, SKIP, "type", "skipped as landline: a fixed_line number, a type that recipients.skip_types leaves out", id="fixed line"),
        pytest.param({"phone": "+44 909 879 0123"}, SKIP, "type", "skipped as suppressed: a premium_rate number, a type that recipients.skip_types leaves out", id="another type"),
        pytest.param({"phone": "+12025550101"}, SKIP, "type", "fixed_line_or_mobile is not one of the types left out: fixed_line, premium_rate", id="a type that stays"),
        pytest.param({"phone": "2025550101.0"}, {"default_region": "US"}, "number", "`2025550101.0` in column `phone`, default region US: dropped the decimals that a spreadsheet added, +12025550101, US, fixed_line_or_mobile", id="repaired"),
        pytest.param({"phone": "07400 123456", "country": "England"}, {}, "number", "`07400 123456` in column `phone`, the row's own region England (GB): +447400123456, GB, mobile", id="a country by name"),
        pytest.param({"phone": "07400 123456", "country": "Narnia"}, {}, "number", "`07400 123456` in column `phone`, the row's own region Narnia", id="no country"),
    ],
)  # fmt: skip
def test_how_the_number_was_read(
    row: dict[str, str], keys: dict[str, Any], step: str, told: str, tmp_path: Path
) -> None:
    steps = explained(1, tmp_path, recipients={"rows": [row], **keys}, message="Hi")
    assert told in steps[step]
    assert ("type" in steps) is (keys == SKIP)


def test_a_written_plan_tells_what_it_holds(tmp_path: Path) -> None:
    campaign = load_campaign(provider="sandbox", from_=FROM, message="Hi", recipients=[{"phone": "+12025550101"}])
    told = explain_row(build_plan(campaign).write(tmp_path / "plan"), 1)
    assert dict(told.steps) == {
        "number": "+12025550101, US, fixed_line_or_mobile",
        "suppression": "there is no suppression list",
        "duplicates": "no other row has this number",
        "text": "'Hi'",
        "size": "GSM-7, 2 units, 1 segment",
        "sender": FROM,
        "message": "number 0 of the plan (seq, from 0)",
    }


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.value)
def test_a_row_on_the_suppression_list(reason: SkipReason, tmp_path: Path) -> None:
    with SuppressionList.open(tmp_path) as suppressions:
        suppressions.add(["+12025550102"], reason=reason)
    people = [{"phone": "+12025550101"}, {"phone": "+12025550102"}]
    campaign = load_campaign(name="t", provider="sandbox", from_=FROM, message="Hi", recipients=people, skip_dead=True)
    plan = build_plan(campaign, state_dir=tmp_path)
    name, sentence = explain_row(plan, 2, campaign).steps[-1]
    assert name == "suppression"
    assert sentence.startswith(f"skipped as {reason.value}: put on the suppression list by hand")
    assert ("suppression", "not on the suppression list") in explain_row(plan, 1, campaign).steps


def test_a_row_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no row 99"):
        explained(99, tmp_path)


def test_a_time_zone_that_cannot_be_read_is_the_step_at_which_the_row_is_skipped(tmp_path):
    rows = [{"phone": "+12025550101", "timezone": "Eastern Summer"}]
    told = explained(1, tmp_path, recipients=rows, message="Hi", window={"hours": "09:00-20:00"})
    assert list(told)[-2:] == ["sender", "zone"]
    assert told["zone"][0].startswith("skipped as missing_data: `Eastern Summer` is not a time zone; write it as ")


@pytest.mark.parametrize(
    ("to", "told"),
    [
        pytest.param("+14165550101", "0.50 USD: 0.50 for +1416, times 1", id="the longest prefix"),
        pytest.param("+14165560101", "0.60 USD: 0.60 for +14165560, times 1", id="a longer one"),
        pytest.param("+16045550101", "0.20 USD: 0.20 for CA, times 1", id="no prefix"),
    ],
)
def test_the_price_is_that_of_the_longest_prefix(to: str, told: str, tmp_path: Path) -> None:
    table = tmp_path / "canada.yaml"
    entries = [f'{{to: "{where}", sms: {price}}}' for where, price in
               (("+1416", "0.5"), ("CA", "0.2"), ("+14165560", "0.6"))]  # fmt: skip
    table.write_text(f"currency: USD\nprices: [{', '.join(entries)}]\n", encoding="utf-8")
    steps = explained(1, tmp_path, recipients={"rows": [{"phone": to}]}, message="Hi", prices=str(table))
    assert steps["cost"] == [told]


HOURS = {"hours": "09:00-20:00"}


class TestWhenARowMayLeave:
    """On a Monday at noon UTC, which is 07:00 in New York and 04:00 in Los Angeles."""

    NOW_MS = 1_796_040_000_000

    @pytest.fixture(autouse=True)
    def monday(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clock, "time_of_day_ms", lambda: self.NOW_MS)

    NIGHT = "later; open Mon 2026-11-30 09:00 {0} to Mon 2026-11-30 20:00 {0}, held by window"
    AREA_CODE = f"its area code +1212 alone gives America/New_York: {NIGHT.format('EST')}"
    COUNTRY = (
        "its country US alone gives America/Adak or America/Anchorage or America/Chicago or America/Denver or 4 others:"
        " later; open Mon 2026-11-30 09:00 HST to Mon 2026-11-30 15:00 HST, held by window"
    )

    @pytest.mark.parametrize(
        ("row", "zones", "windows"),
        [
            pytest.param({"phone": "+12125550101"}, [
                "America/New_York, by its area code +1212; in US and US-NY", COUNTRY,
            ], [NIGHT.format("EST")], id="by the number"),
            pytest.param({"phone": "+12125550101", "zip": "90001"}, [
                "America/Los_Angeles, by its ZIP 90001; in US and US-CA and US-NY", AREA_CODE, COUNTRY,
            ], [NIGHT.format("PST")], id="by the ZIP"),
            pytest.param({"phone": "+12125550101", "zip": "x", "timezone": "Europe/Paris"}, [
                "Europe/Paris, by its time zone Europe/Paris; in US and US-NY",
                "its ZIP x gives nothing: `x` is not a ZIP that we know", AREA_CODE, COUNTRY,
            ], ["now; open Mon 2026-11-30 13:00 CET to Mon 2026-11-30 20:00 CET"], id="by the time zone"),
            pytest.param({"phone": "+442079460101", "state": "NY"}, [
                "Europe/London, by its country GB; in GB",
                "its state NY gives nothing: counts only for numbers of the United States and Canada",
            ], ["now; open Mon 2026-11-30 12:00 GMT to Mon 2026-11-30 20:00 GMT"], id="a state of elsewhere"),
            pytest.param({"phone": "+14235550101"}, [
                "America/Chicago or America/New_York, by its area code +1423; in US and US-TN", COUNTRY,
            ], [
                "later; open Mon 2026-11-30 09:00 CST to Mon 2026-11-30 19:00 CST, held by window",
                f"in America/Chicago alone: {NIGHT.format('CST')}",
                f"in America/New_York alone: {NIGHT.format('EST')}",
            ], id="one of two zones"),
        ],
    )  # fmt: skip
    def test_all_that_says_where_somebody_is_is_named(
        self, row: dict[str, str], zones: list[str], windows: list[str], tmp_path: Path
    ) -> None:
        steps = explained(1, tmp_path, recipients=[row], message="Hi", window=HOURS)
        assert (steps["zone"], steps["window"]) == (zones, windows)

    @pytest.mark.parametrize(
        ("row", "zone"),
        [
            pytest.param({"phone": "+12125550101"}, [
                "America/New_York, by its area code +1212; in US and US-NY", COUNTRY,
            ], id="by the number"),
            pytest.param({"phone": "+12125550101", "zip": "90001"}, [
                "America/Los_Angeles, by its ZIP; in US and US-CA and US-NY", AREA_CODE, COUNTRY,
            ], id="by a cell, which only the campaign knows"),
        ],
    )  # fmt: skip
    def test_a_written_plan_tells_where_without_the_cells(
        self, row: dict[str, str], zone: list[str], tmp_path: Path
    ) -> None:
        campaign = load_campaign(provider="sandbox", from_=FROM, message="Hi", recipients=[row], window=HOURS)
        written = build_plan(campaign).write(tmp_path / "plan")
        assert [told for name, told in explain_row(written, 1).steps if name == "zone"] == zone

    def test_where_every_window_has_closed_nothing_leaves(self, tmp_path: Path) -> None:
        window = {**HOURS, "deadline": "2026-11-30T08:00 America/New_York"}
        steps = explained(1, tmp_path, recipients=[{"phone": "+12125550101"}], message="Hi", window=window)
        assert steps["window"] == ["it may not leave any more"]
