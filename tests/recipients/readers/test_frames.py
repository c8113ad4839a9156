"""Typed columns as text, and the columns that cannot hold a phone number."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sender.campaign.load import load_campaign
from sender.core.errors import RecipientsError
from sender.planning.build import build_plan
from sender.recipients.columns import load_recipients
from sender.recipients.readers.frames import interval_text, table_of_frame

NUMBER = 2025550147


def campaign(frame, body="Hi", **recipients):
    return load_campaign(
        name="t",
        provider="sandbox",
        message=body,
        from_="+12025550100",
        recipients={"frame": frame, "default_region": "US", **recipients},
    )


NARROW = {
    "polars Float32": pl.DataFrame({"phone": pl.Series([NUMBER], dtype=pl.Float32)}),
    "polars Float32, lazy": pl.LazyFrame({"phone": pl.Series([NUMBER], dtype=pl.Float32)}),
    "polars list": pl.DataFrame({"phone": pl.Series([[NUMBER]], dtype=pl.List(pl.Float32))}),
    "polars array": pl.DataFrame({"phone": pl.Series([[NUMBER]], dtype=pl.Array(pl.Float32, 1))}),
    "polars struct": pl.DataFrame({"phone": pl.Series([{"a": NUMBER}], dtype=pl.Struct({"a": pl.Float32}))}),
    "polars object": pd.DataFrame({"phone": pd.Series([np.float32(NUMBER)], dtype=object)}),
    "pandas float32": pd.DataFrame({"phone": np.array([NUMBER], dtype="float32")}),
    "pandas float16": pd.DataFrame({"phone": np.array([1], dtype="float16")}),
    "pandas Float32": pd.DataFrame({"phone": pd.array([NUMBER, None], dtype="Float32")}),
    "pandas category": pd.DataFrame({"phone": pd.Series(np.array([NUMBER], dtype="float32")).astype("category")}),
    "pandas sparse": pd.DataFrame({"phone": pd.arrays.SparseArray(np.array([NUMBER], dtype="float32"))}),
    "pandas of Arrow": pd.DataFrame({"phone": pd.Series([1.5], dtype=pd.ArrowDtype(pa.float32()))}),
    "pandas lists": pd.DataFrame({"phone": [[np.float32(NUMBER)]]}),
    "Arrow": pa.table({"phone": pa.array([float(NUMBER)]).cast(pa.float32(), safe=False)}),
    "Arrow half": pa.table({"phone": pa.array([1.5]).cast(pa.float16())}),
    "Arrow dictionary": pa.table({"phone": pa.array([1.5]).cast(pa.float32()).dictionary_encode()}),
    "Arrow list": pa.table({"phone": pa.array([[1.5]], pa.list_(pa.float32()))}),
}


@pytest.mark.parametrize("kind", NARROW)
def test_a_column_that_loses_digits_is_no_column_of_numbers(kind):
    with pytest.raises(RecipientsError, match=r"(?s)`phone` has floating point numbers.*2025550147.*fix: write"):
        load_recipients(campaign(NARROW[kind]))


def test_so_are_values_of_numpy_in_rows_of_python():
    rows = [{"phone": np.float32(NUMBER)}, {"phone": "+12025550101"}]
    with pytest.raises(RecipientsError, match="`phone` has floating point numbers"):
        load_recipients(load_campaign(name="t", provider="sandbox", recipients=rows))


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(pl.Series([NUMBER], dtype=pl.Float64), id="64 bits"),
        pytest.param(pl.Series([NUMBER], dtype=pl.Int64), id="whole numbers"),
        pytest.param(pl.Series([NUMBER], dtype=pl.UInt32), id="whole numbers of 32 bits"),
        pytest.param(pl.Series([str(NUMBER)]), id="text"),
        pytest.param(pl.Series([decimal.Decimal(NUMBER)]), id="decimals"),
        pytest.param(pl.Series([str(NUMBER)], dtype=pl.Categorical), id="categories"),
    ],
)
def test_other_columns_are_read_exactly(column):
    plan = build_plan(campaign(pl.DataFrame({"phone": column})))
    assert plan.frame["to"].to_list() == ["+12025550147"]


def test_in_a_text_a_column_of_32_bits_is_fine():
    frame = pl.DataFrame({"phone": ["+12025550101"], "sum": pl.Series([19.5], dtype=pl.Float32)})
    assert build_plan(campaign(frame, "{{ sum }}")).frame["body"].to_list() == ["19.5"]


VALUES = [
    pytest.param(dt.timedelta(hours=26, minutes=3), "26:03:00", id="a duration"),
    pytest.param(dt.timedelta(seconds=-90), "-00:01:30", id="a negative duration"),
    pytest.param(dt.timedelta(seconds=1, microseconds=500_000), "00:00:01.5", id="half a second"),
    pytest.param(dt.datetime(2026, 12, 1, 9, 30), "2026-12-01 09:30:00", id="a moment"),
    pytest.param(dt.datetime(2026, 12, 1), "2026-12-01", id="midnight is the day"),
    pytest.param(dt.date(2026, 12, 1), "2026-12-01", id="a day"),
    pytest.param(dt.time(9, 30), "09:30:00", id="a time"),
    pytest.param(decimal.Decimal("19.90"), "19.90", id="a decimal"),
    pytest.param(True, "true", id="true"),
    pytest.param(False, "false", id="false"),
    pytest.param(7, "7", id="a number"),
    pytest.param(1.5, "1.5", id="a part"),
    pytest.param(2025550147.0, "2025550147", id="a whole number with a point"),
    pytest.param(["a", "b"], "a b", id="a list"),
    pytest.param({"a": 1}, '{"a": 1}', id="a mapping"),
    pytest.param("x", "x", id="a text"),
]


@pytest.mark.parametrize(("value", "text"), VALUES)
@pytest.mark.parametrize("kind", ["polars", "pandas", "Arrow", "rows"])
def test_values_are_alike_wherever_they_come_from(kind, value, text):
    if kind == "rows":
        rows = load_campaign(name="t", provider="sandbox", recipients=[{"phone": "1", "v": value}])
        table = load_recipients(rows).table
        assert (table.cells["v"].to_list(), _inside(table)) == ([text], INSIDE.get(text))
        return
    frame = {
        "polars": lambda: pl.DataFrame({"v": [value]}),
        "pandas": lambda: pd.DataFrame({"v": [value]}),
        "Arrow": lambda: pa.table({"v": [value]}),
    }[kind]()
    table = table_of_frame(frame)
    assert (table.cells["v"].to_list(), _inside(table)) == ([text], INSIDE.get(text))


INSIDE = {"a b": ["a", "b"], '{"a": 1}': {"a": "1"}}  # by the text of the cell; texts, as in JSON lines


def _inside(table):
    """Return what templates find in the cell, if it has a mapping or a list."""
    nested = table.nested_cells
    return json.loads(nested["v"].item()) if nested.width else None


IDENTIFIER = uuid.UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([IDENTIFIER.bytes], pa.uuid()), str(IDENTIFIER)),
        (pa.array([(1, 2, 3_000_000_000)], pa.month_day_nano_interval()), "1 month 2 days 00:00:03"),
        (pa.array([decimal.Decimal("19.90")], pa.decimal256(50, 2)), "19.90"),
        (pa.array([dt.timedelta(hours=26)], pa.duration("us")), "26:00:00"),
        (pa.array(["x"]).dictionary_encode(), "x"),
        (pa.array(["x"], pa.string_view()), "x"),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        (pa.nulls(1), ""),
        (pa.array([None], pa.float64()), ""),
    ],
    ids=str,
)
def test_arrow_tables_are_read(column, text):
    table = table_of_frame(pa.table({"phone": ["x"], "v": column}))
    assert (table.headers, table.cells["v"].to_list()) == (("phone", "v"), [text])
    assert table_of_frame(pa.table({"phone": ["x"], "v": column}).to_batches()[0]).cells.equals(table.cells)


def test_a_frame_of_arrow_is_sent_like_any_other():
    plan = build_plan(campaign(pa.table({"phone": [NUMBER], "name": ["Ann"]}), "Hi {{ name }}"))
    assert plan.frame.select("to", "body").rows() == [("+12025550147", "Hi Ann")]


@pytest.mark.parametrize(
    ("months", "days", "millis", "text"),
    [
        (0, 0, 0, "00:00:00"),
        (0, 0, 93_780_000, "26:03:00"),
        (1, 0, 0, "1 month"),
        (14, 1, 0, "14 months 1 day"),
        (0, 2, 1_500, "2 days 00:00:01.500"),
    ],
)
def test_an_interval_is_written_out(months, days, millis, text):
    assert interval_text(months, days, millis) == text


def test_values_that_cannot_be_read_are_refused_with_one_sentence():
    frame = pa.table({"phone": ["x"], "v": pa.array([10**18], pa.timestamp("s"))})
    with pytest.raises(
        RecipientsError, match=r"(?s)the recipients frame: cannot be read: .*\n  fix: convert the column to text"
    ):
        load_recipients(campaign(frame))
