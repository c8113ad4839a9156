"""Mappings and lists in cells: text where they are printed, and values where a template looks into them."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sender
from sender.cli.list_campaign import write_list_campaign
from sender.core.errors import RecipientsError, TemplateError
from sender.planning.explain import explain_row
from sender.recipients.readers import documents
from sender.recipients.readers.frames import table_of_frame
from sender.templating import render_columns

PHONES = ["+12025550101", "+12025550102", "+12025550103"]
ROW: dict[str, Any] = {
    "phone": PHONES[0],
    "address": {"city": "Bonn", "geo": {"lat": "50.7"}, "zip": None, "items": "3", "ZIP code": "53111"},
    "items": [{"name": "Tea", "qty": "2"}, {"name": "NULL", "qty": "1"}],
    "tags": ["a", "vip x"],
}


def plan_of(recipients: Any, message: str, where: str | None = None) -> sender.Plan:
    condition = {} if where is None else {"where": where}
    given: dict[str, Any] = {"name": "nested", "provider": "sandbox", "from": "+12025550100"}
    if isinstance(recipients, dict):
        recipients = {**recipients, **condition}
    else:
        given["recipients"] = condition
    return sender.build_plan(sender.load_campaign(given, recipients=recipients, message=message))


def _parquet(rows: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    pq.write_table(pa.Table.from_pylist(rows), folder / "people.parquet")
    return {"file": str(folder / "people.parquet")}


def _lines(rows: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    (folder / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"file": str(folder / "people.jsonl")}


def _yaml(rows: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    (folder / "people.yaml").write_text("".join(f"- {json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return {"file": str(folder / "people.yaml")}


SOURCES: dict[str, Callable[[list[dict[str, Any]], Path], Any]] = {
    "inline rows": lambda rows, _: {"rows": rows},
    "JSON lines": _lines,
    "YAML": _yaml,
    "Parquet": _parquet,
    "polars": lambda rows, _: pl.DataFrame(rows),
    "pandas": lambda rows, _: pd.DataFrame(rows),
    "Arrow": lambda rows, _: pa.Table.from_pylist(rows),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    return lambda rows: SOURCES[request.param](rows, tmp_path)


TEXTS = [
    ("{{ address.city }}, {{ address.geo.lat }}", "Bonn, 50.7"),
    ("{{ address.city | upper }} {{ address.city.lower() }}", "BONN bonn"),
    ("{{ address.items }} {{ address['ZIP code'] }}", "3 53111"),
    ("{{ address.zip | default('z') }} {{ address.no.way | default('n') }}", "z n"),
    ("{% if address.zip is defined %}{{ address.zip }}{% else %}none{% endif %}", "none"),
    ("{{ row['address'].city }} {% set h = 'address' %}{{ row[h].city }}", "Bonn Bonn"),
    ("{{ items[0].name }} {{ items[-1].qty }} {{ items | length }}", "Tea 1 2"),
    ("{{ items[5].name | default('none') }} {{ items[1].name | default('a thing') }}", "none a thing"),
    ("{% for item in items %}{{ item.qty }}x{{ item.name | default('?') }} {% endfor %}", "2xTea 1x? "),
    ("{% for item in items %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/2 2/2 "),
    ("{{ items | map(attribute='qty') | join('+') }}", "2+1"),
    ("{% for key, value in address.geo.items() %}{{ key }}={{ value }}{% endfor %}", "lat=50.7"),
    ("{{ tags | join(', ') }}; {{ tags | first }}; {{ tags | last }}; {{ tags[:1] }}", "a, vip x; a; vip x; a"),
    ("{{ 'vip' in tags }} {{ 'vip x' in tags }} {{ 'city' in address }}", "False True True"),
    ("{{ tags }} {{ tags | upper }} {{ tags[0] }} {{ tags | truncate(5, true, '', 0) }}", "a vip x A VIP X a a vip"),
    ("{{ tags.split(' ')[1] }} {{ tags + '!' }} {{ tags == 'a vip x' }} {{ tags ~ '' }}", "vip a vip x! True a vip x"),
    ("{{ tags }}", "a vip x"),
    ("{{ tags | title }}", "A Vip X"),
    ("{% if tags == 'a vip x' and items != 'x' %}{{ tags }}{% else %}other{% endif %}", "a vip x"),
    ("{{ tags if tags in ['a vip x'] else 'other' }}", "a vip x"),
    ("{% if items and address is defined %}{{ tags }}{% endif %}", "a vip x"),
    ("{{ address.geo }}", '{"lat": "50.7"}'),
]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_template_looks_into_values_wherever_they_come_from(kind, tmp_path):
    messages, texts = zip(*TEXTS, strict=True)
    plan = plan_of(SOURCES[kind]([ROW], tmp_path), "\n".join(messages))
    assert (plan.frame["detail"].item() or plan.frame["body"].item().split("\n")) == list(texts)


@pytest.mark.parametrize(("message", "text"), TEXTS)
def test_each_of_these_texts_is_the_same_alone(message, text):
    (row,) = plan_of({"rows": [ROW]}, message).frame.select("body", "detail").rows()
    assert row == (text, None)


@pytest.mark.parametrize(
    ("message", "reason", "sentence"),
    [
        ("{{ address.zip }}", "render_error", "`address.zip` is blank; give it a value, or write {{ address.zip | def"),
        ("{{ address.citty }}", "render_error", "`address.citty` is not there; did you mean `address.city`? Or write"),
        ("{{ address.a.b }}", "render_error", "`address.a` is blank; give it a value, or write {{ address.a.b | defa"),
        ("{{ items[2].qty }}", "render_error", "`items[2]` is blank; give it a value, or write {{ items[2].qty | d"),
        ("{{ items[1].name }}", "missing_data", "`items[1].name` holds `NULL`, which stands for a missing value"),
        ("{{ tags.name }}", "render_error", "`tags` is a list; `tags[0]` is the first of its values"),
        ("{{ tags.append('x') }}", "render_error", "access to attribute 'append' of 'ListValue' object is unsafe"),
        ("{{ address.pop('city') }}", "render_error", "`address.pop` is blank"),
    ],
)
def test_a_row_without_the_value_is_held_with_a_sentence(message, reason, sentence):
    plan = plan_of(pl.DataFrame([ROW]), message)
    (row,) = plan.frame.select("reason", "detail").rows()
    assert row[0] == reason
    assert f"template line 1: {sentence}" in row[1]
    assert sentence in str(explain_row(plan, int(plan.frame["row_number"].item())).detail)


def test_rows_differ_in_what_they_have(source):
    rows = [ROW, {"phone": PHONES[1], "address": None, "items": [], "tags": ["b"]}]
    plan = plan_of(source(rows), "{{ address.city | default('you') }} {{ items[0].name | default('-') }} {{ tags[0] }}")
    assert plan.frame["body"].to_list() == ["Bonn Tea a", "you - b"]


def test_a_filter_looks_into_values(source):
    rows = [ROW, {"phone": PHONES[1], "address": {**ROW["address"], "city": "Rom"}, "items": [], "tags": ["vip x"]}]
    for where, phones in [
        ("address.city == 'Rom'", [PHONES[1]]),
        ("'a' in tags", [PHONES[0]]),
        ("address.zip == '' and address.no.way == ''", PHONES[:2]),
        ("items | length > 1", [PHONES[0]]),
        ("items[0].qty == '2'", [PHONES[0]]),
    ]:
        assert plan_of(source(rows), "Hi", where).messages["to"].to_list() == phones, where


def test_the_original_cells_stay_text(source):
    plan = plan_of(source([ROW]), "{{ address.city }}")
    cells = plan.frame["recipient"].item()
    assert json.loads(cells["address"])["city"] == "Bonn"
    assert cells["tags"] == "a vip x"


def test_values_are_text_as_cells_of_their_own_would_be():
    day, moment = dt.date(2026, 12, 1), dt.datetime(2026, 12, 1, 9, 30)
    values = {"n": 5.0, "f": 0.5, "b": True, "day": day, "at": moment, "late": dt.timedelta(hours=26)}
    message = "{% for key, value in v.items() %}{{ value }} {% endfor %}"
    texts = "5 0.5 true 2026-12-01 2026-12-01 09:30:00 26:00:00 "
    for frame in (
        pl.DataFrame({"phone": PHONES[:1], "v": [values]}),
        pd.DataFrame({"phone": PHONES[:1], "v": [values]}),
    ):
        assert plan_of(frame, message).frame["body"].to_list() == [texts]


def test_arrays_of_numpy_are_lists():
    """pandas has them for the lists of a Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([ROW]), file)
    frame = pd.read_parquet(file)
    assert type(frame["tags"].iloc[0]).__name__ == "ndarray"
    assert plan_of(frame, "{{ tags }}; {{ tags[1] }}").frame["body"].to_list() == ["a vip x; vip x"]


def test_letters_are_composed_in_values():
    plan = plan_of({"rows": [{"phone": PHONES[0], "a": {"cafe\u0301": "Andre\u0301"}}]}, "{{ a['caf\u00e9'] }}")
    assert plan.frame["body"].to_list() == ["Andr\u00e9"]


def test_values_that_begin_in_a_later_block(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "_BLOCK_CHARS", 40)
    rows = [
        {"phone": PHONES[0], "a": "text"},
        {"phone": PHONES[1], "b": "more"},
        {"phone": PHONES[2], "a": {"k": "value"}},
    ]
    plan = plan_of(_lines(rows, tmp_path), "{{ a.k | default('none') }}")
    assert plan.frame.select("body", "detail").rows() == [
        ("none", None),
        ("none", None),
        ("value", None),
    ]


def test_a_text_that_has_a_whole_mapping_is_noted():
    notes = plan_of({"rows": [ROW]}, "{{ address }} {{ tags }}").manifest.notes
    assert "`address` is a mapping, and the text prints all of it; `address.city` is one of its values" in notes
    assert not any("`tags`" in note for note in notes)


def test_a_column_that_is_not_there_is_an_error_of_the_campaign():
    with pytest.raises(TemplateError, match="there is no column `adress`"):
        plan_of({"rows": [ROW]}, "{{ adress.city | default('x') }}")


def test_no_value_makes_a_text_without_bounds():
    rows = [{"phone": PHONES[0], "a": ["x" * 60_000, "y" * 60_000]}]
    (detail,) = plan_of({"rows": rows}, "{{ a | join(a[0]) }}{{ a[0] }}").frame["detail"].to_list()
    assert "more than a message can hold" in detail


def test_deep_values_end_somewhere():
    value: Any = "end"
    for _ in range(80):
        value = [value]
    rows = {"rows": [{"phone": PHONES[0], "a": value}]}
    assert plan_of(rows, "{{ a" + "[0]" * 50 + " }}").frame["body"].to_list() == ["end"]  # deeper, it is a text
    for _ in range(5_000):
        value = [value]
    for recipients in ({"rows": [{"phone": PHONES[0], "a": value}]}, pd.DataFrame({"phone": PHONES[:1], "a": [value]})):
        with pytest.raises(RecipientsError):
            plan_of(recipients, "Hi")


def test_tables_keep_values_beside_their_cells():
    table = table_of_frame(pl.DataFrame({"n": [1, 2], "v": [["a", None], None]}))
    assert (table.nested, table.cells["v"].to_list()) == ({"v"}, ["a ", ""])
    assert table.nested_cells.to_dict(as_series=False) == {"v": ['["a", null]', None]}


def test_each_way_of_rendering_finds_the_same(monkeypatch):
    messages, _ = zip(*TEXTS, strict=True)
    blank = {"phone": PHONES[1], "address": None, "items": [], "tags": ["NULL", None, ""]}
    rows = {"rows": [ROW, blank, {"phone": PHONES[2], "address": "N/A", "items": "x", "tags": "y"}]}
    columns = ["body", "reason", "detail"]
    by_block = [plan_of(rows, message).frame.select(columns).rows() for message in messages]
    monkeypatch.setattr(render_columns, "_compile_block", lambda *_: None)
    for message, expected in zip(messages, by_block, strict=True):
        assert plan_of(rows, message).frame.select(columns).rows() == expected, message


@pytest.mark.parametrize(
    "message",
    [
        "{% if address is defined %}x{% endif %}",
        "{{ address.city }}",
        "{% for key in address %}x{% endfor %}",
        "{% set h = 'tags' %}{{ row[h] }}",
    ],
)
def test_a_text_that_only_looks_into_a_mapping_is_not_noted(message):
    assert not any("is a mapping" in note for note in plan_of({"rows": [ROW]}, message).manifest.notes)


def test_a_campaign_for_a_list_names_the_values_in_it(tmp_path):
    path = tmp_path / "people.jsonl"
    _lines([{"phone": PHONES[0], "address": None, "n": 1, "order": {"items": [{"a b": 1}]}, "tags": []}, ROW], tmp_path)
    text = write_list_campaign(path, {}, None).text
    assert '# Fields of the list: {{ address.city }}, {{ n }}, {{ order.items[0]["a b"] }}, {{ tags[0] }}, ' in text


def test_maps_of_arrow_are_mappings(tmp_path):
    pairs = pa.array([[("color", "red"), ("size", "M")], None], pa.map_(pa.string(), pa.string()))
    table = pa.table({"phone": PHONES[:2], "more": pairs})
    pq.write_table(table, tmp_path / "people.parquet")
    for recipients in (table, pl.from_arrow(table), {"file": str(tmp_path / "people.parquet")}):
        plan = plan_of(recipients, "{{ more.color | default('-') }} {{ more | default('') }}")
        assert plan.frame["body"].to_list() == ['red {"color": "red", "size": "M"}', "- "]
