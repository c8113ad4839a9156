"""Parquet files with types that polars does not read: text where there is one, else a column that is named."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.campaign.load import load_campaign
from sender.core.errors import RecipientsError, SenderError
from sender.planning.build import build_plan
from sender.recipients.readers.parquet_footer import FooterError, read_odd_columns, without_odd_types
from sender.recipients.readers.read import read_table
from sender.recipients.readers.source import FileSource

DUCKDB = Path(__file__).parents[2] / "samples" / "lists" / "duckdb.parquet"
IDENTIFIER = uuid.UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")


def parquet(**columns) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def read(data: bytes):
    return read_table(data, where="x.parquet")


@pytest.mark.parametrize(
    ("column", "text"),
    [
        pytest.param(pa.array([IDENTIFIER.bytes, None], pa.uuid()), str(IDENTIFIER), id="UUID"),
        pytest.param(pa.array([decimal.Decimal("19.90"), None], pa.decimal256(50, 2)), "19.90", id="76 digits"),
        pytest.param(pa.array([decimal.Decimal("-0.05"), None], pa.decimal256(76, 2)), "-0.05", id="a negative one"),
        pytest.param(
            pa.array([decimal.Decimal("9" * 70), None], pa.decimal256(76, 0)), "9" * 70, id="with all its digits"
        ),
        pytest.param(pa.array([decimal.Decimal("19.90"), None], pa.decimal256(10, 2)), "19.90", id="256 bits for few"),
        pytest.param(pa.array([decimal.Decimal("19.90"), None], pa.decimal128(10, 2)), "19.90", id="128 bits"),
        pytest.param(pa.array(['{"a": 1}', None], pa.json_()), '{"a": 1}', id="JSON"),
        pytest.param(pa.array([{"a": "b"}, None], pa.map_(pa.string(), pa.string())), '{"a": "b"}', id="a map"),
    ],
)
def test_an_odd_type_is_text(column, text):
    table = read(parquet(phone=["1", "2"], v=column, w=["a", "b"]))
    assert table.headers == ("phone", "v", "w")
    assert (table.cells["v"].to_list(), table.cells["w"].to_list()) == ([text, ""], ["a", "b"])
    assert table.notes == ()


@pytest.mark.parametrize("odd", [False, True], ids=["alone", "beside a type that stops polars"])
def test_durations_and_zones_are_read_from_arrows_schema(odd):
    """Parquet has no type for a duration: without Arrow's schema it is a whole number of microseconds."""
    table = read(
        parquet(
            phone=["1", "2"],
            hours=pa.array([dt.timedelta(hours=26, minutes=3), None]),
            at=pa.array([dt.datetime(2026, 12, 1, 8, 30), None], pa.timestamp("us", "Europe/Berlin")),
            **({"v": pa.array([decimal.Decimal("19.90"), None], pa.decimal256(50, 2))} if odd else {}),
        )
    )
    assert table.cells["hours"].to_list() == ["26:03:00", ""]
    assert table.cells["at"].to_list() == ["2026-12-01 09:30:00+01:00", ""]


@pytest.mark.parametrize("value", [b"\xff\xfe", (5).to_bytes(16, "big"), b"a\x1bb"])
def test_bytes_that_are_no_text_stop_the_texts_that_use_them(value, tmp_path):
    data = parquet(phone=["+12025550111"], v=pa.array([value], pa.binary()))
    (tmp_path / "bytes.parquet").write_bytes(data)
    assert plan("Hi {{ v }}", file=tmp_path / "bytes.parquet").manifest.skipped == {"render_error": 1}
    assert plan("Hi", file=tmp_path / "bytes.parquet").manifest.messages == 1


def test_bytes_that_are_text_are_text():
    table = read(parquet(phone=["1"], v=pa.array(["Zoë\n2".encode()], pa.binary())))
    assert table.cells["v"].to_list() == ["Zoë\n2"]


@pytest.mark.parametrize("packed", [False, True], ids=["from the disk", "from memory"])
def test_a_file_of_duckdb(packed):
    source = DUCKDB.read_bytes() if packed else DUCKDB
    table = read_table(FileSource(source, where="d.parquet"), where="d.parquet")
    assert table.cells.row(0, named=True) == {
        "phone": "+12025550101",
        "name": "Name 1",
        "id": str(IDENTIFIER),
        "hours": "26:03:00",
        "term": "1 month 2 days",
        "sum": "19.90",
        "moment": "2026-12-01 09:30:00",
        "day": "2026-12-01",
        "at": "09:30:00",
        "paid": "false",
    }
    assert table.unreadable == {"extra": "VARIANT", "ids": "UUID inside another"}
    assert table.notes == (
        "the column `extra` is of the type VARIANT, which has no text form: it is left out",
        "the column `ids` is of the type UUID inside another, which has no text form: it is left out",
    )


def plan(body: str, **recipients):
    campaign = load_campaign(
        name="t",
        provider="sandbox",
        message=body,
        from_="+12025550100",
        recipients={"file": DUCKDB, **recipients},
        base=DUCKDB.parent,
    )
    return build_plan(campaign)


def test_an_unused_column_stops_nothing():
    made = plan("Hi {{ name }}, {{ id }}, {{ hours }}")
    assert made.frame["body"][0] == f"Hi Name 1, {IDENTIFIER}, 26:03:00"
    assert "VARIANT" in " ".join(made.manifest.notes)


@pytest.mark.parametrize(
    "body", ["{{ extra }}", '{{ row["extra"] }}', "{{ extra | default('x') }}", "{% if extra %}x{% endif %}y"]
)
def test_a_used_column_is_refused_by_its_name(body):
    with pytest.raises(RecipientsError, match=r"(?s)`extra` is of the type VARIANT, which has no text.*fix: write"):
        plan(body)


def test_so_it_is_as_the_column_of_the_numbers():
    with pytest.raises(RecipientsError, match="`extra` is of the type VARIANT"):
        plan("Hi", phone_column="extra")


def test_no_panic_reaches_the_screen(capfd):
    read(DUCKDB.read_bytes())
    assert capfd.readouterr() == ("", "")


def test_only_what_polars_stops_at_is_taken_out():
    data = parquet(phone=["1"], v=pa.array([IDENTIFIER.bytes], pa.uuid()))
    assert read_odd_columns(data)["v"].stops_polars is False
    plain = parquet(phone=["1"], v=["x"])
    assert (read_odd_columns(plain), without_odd_types(plain)) == ({}, plain.replace(b"ARROW:schema", b"arrow:unused"))


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 50, 200])
def test_a_file_that_is_cut_off_is_refused(cut):
    with pytest.raises(RecipientsError, match="cannot be read as Parquet"):
        read(DUCKDB.read_bytes()[:-cut])


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_a_damaged_footer_is_read_or_refused(at, damage):
    """Never another exception, and never without an end."""
    data = bytearray(DUCKDB.read_bytes())
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    place = start + at % (len(data) - 8 - start)
    data[place : place + len(damage)] = damage
    try:
        read_odd_columns(bytes(data))
        without_odd_types(bytes(data))
    except FooterError:
        pass


def test_every_error_is_one_of_ours(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1" + b"\xff" * 40 + b"PAR1")
    campaign = load_campaign(name="t", provider="sandbox", message="Hi", from_="+12025550100", recipients=str(path))
    with pytest.raises(SenderError, match=r"cannot be read as Parquet"):
        build_plan(campaign)
