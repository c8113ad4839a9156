"""The encodings behind a plan's two hashes, row by row; test_identity.py has what they mean for campaigns and runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl
import pytest

from sender.plan import hashes
from sender.plan.hashes import ContentHash, MessageHash, hash_stored
from sender.plan.plan import PLAN_SCHEMA

FROM = "+12025550100"
SETTINGS = {"provider": "twilio", "dialect": "é"}
MESSAGE = {"region": "US", "number_type": "mobile", "from_number": FROM, "body": "Hi", "media": [], "encoding": "GSM-7", "segments": 1}  # fmt: skip
PICTURE = "https://e.example/a.png"
ROWS: list[dict[str, Any]] = [
    {**MESSAGE, "row_number": 2, "seq": 0, "to": "+12025550101", "cost_micros": 8300, "repair": "a blank"},
    {"row_number": 3, "to": None, "reason": "invalid_number", "detail": 'not a "number"', "repair": ""},
    {**MESSAGE, "row_number": 4, "seq": 1, "to": "+12025550102", "body": 'é,"\n', "media": [PICTURE], "fields": '{"ttl":9}'},
    {**MESSAGE, "row_number": 5, "to": "+12025550103", "media": None, "from_number": None, "reason": "duplicate"},
    {**MESSAGE, "row_number": 6, "to": "+12025550104", "media": [PICTURE], "reason": "suppressed", "detail": ""},
]  # fmt: skip
CELLS = [{"phone": f"202-555-010{n}", "a note": "" if n else None} for n in range(5)]


def a_frame(rows: Sequence[dict[str, Any]] = ROWS, cells: Sequence[dict[str, Any]] = CELLS) -> pl.DataFrame:
    recipient = pl.Series("recipient", cells, pl.Struct({"phone": pl.String, "a note": pl.String}))
    return pl.DataFrame(rows, schema=PLAN_SCHEMA).with_columns(recipient)


def content_hash(*blocks: pl.DataFrame, settings: dict[str, Any] | None = None, **fields: Any) -> str:
    digest = ContentHash(SETTINGS if settings is None else settings, fields)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def identity(frame: pl.DataFrame, **fields: Any) -> str:
    digest = MessageHash(fields)
    digest.update(frame)
    return digest.hexdigest()


# -- the content hash --------------------------------------------------------------------------------------------------


def test_the_encoding_in_plain_python() -> None:
    """Settings as JSON, then CSV: text in quotes, lists as JSON, null bare; what a message's identity covers is blank."""

    def text(value: str | None) -> str:
        return "" if value is None else '"' + value.replace('"', '""') + '"'

    hashed = [
        name
        for name in PLAN_SCHEMA
        if name not in ("cost_micros", "repair", "zone", "zone_source", "places", "variant", "links")
    ]
    lines = [",".join(text(name) for name in [*hashed, "recipient.phone", "recipient.a note"])]
    for row, cells in zip(ROWS, CELLS, strict=True):
        values = []
        for name in hashed:
            value = row.get(name)
            if row.get("seq") is not None and value is not None:
                value = {"to": "", "from_number": "", "body": "", "media": [], "fields": ""}.get(name, value)
            if name == "media":
                value = json.dumps({"media": value}, separators=(",", ":"))
            values.append(str(value) if isinstance(value, int) else text(value))
        lines.append(",".join([*values, *(text(cell) for cell in cells.values())]))
    settings = json.dumps(SETTINGS, sort_keys=True)
    rest = hashlib.sha256((settings + "".join(line + "\n" for line in lines)).encode()).hexdigest()
    messages = identity(a_frame().filter(pl.col("seq").is_not_null()))
    assert content_hash(a_frame()) == hashlib.sha256(f"{messages} {rest}".encode()).hexdigest()


@pytest.mark.parametrize("place", range(1, len(ROWS)))
def test_blocks_make_no_difference(place: int) -> None:
    frame = a_frame()
    assert content_hash(frame[:place], frame[place:]) == content_hash(frame)


def test_the_identity_is_that_of_the_messages() -> None:
    digest = ContentHash(SETTINGS, {"ttl": 5})
    digest.update(a_frame())
    assert digest.identity == identity(a_frame().filter(pl.col("seq").is_not_null()), ttl=5)


@pytest.mark.parametrize(
    ("row", "changes", "other"),
    [
        pytest.param(0, {"cost_micros": 1}, False, id="price"),
        pytest.param(0, {"repair": None}, False, id="repair"),
        *(
            pytest.param(row, {name: value}, True, id=f"{name} of {'a message' if row == 0 else 'a skipped row'}")
            for row in (0, 3)
            for name, value in [("to", "+12025550109"), ("from_number", "+12025550199"), ("body", "Ho"), ("media", ["x"]),
                                ("fields", '{"ttl":1}'), ("row_number", 9), ("region", "CA"), ("number_type", "voip"),
                                ("encoding", "UCS-2"), ("segments", 2), ("detail", "because")]
        ),
        pytest.param(3, {"reason": "limit"}, True, id="reason"),
        pytest.param(3, {"body": None}, True, id="a null"),
        pytest.param(1, {"to": ""}, True, id="a blank is not null"),
        pytest.param(2, {"fields": None}, True, id="no fields"),
        pytest.param(0, {"from_number": None}, True, id="no sender"),
    ],
)  # fmt: skip
def test_what_makes_other_content(row: int, changes: dict[str, Any], other: bool) -> None:
    changed = [dict(values) for values in ROWS]
    changed[row] |= changes
    assert (content_hash(a_frame(changed)) != content_hash(a_frame())) is other


def test_settings_fields_and_cells_make_other_content() -> None:
    cells = [*CELLS[:4], {"phone": "x", "a note": ""}]
    hashed = [
        content_hash(a_frame()),
        content_hash(a_frame(), settings={"provider": "telnyx"}),
        content_hash(a_frame(), ttl=1),
        content_hash(a_frame(cells=cells)),
        content_hash(a_frame().rename({"detail": "details"})),
    ]
    assert len(set(hashed)) == len(hashed)
    assert content_hash(a_frame(), settings=dict(reversed(SETTINGS.items()))) == hashed[0]


def test_a_setting_that_is_not_json_counts_as_its_text() -> None:
    day = date(2026, 11, 28)
    assert content_hash(a_frame(), settings={"day": day}) == content_hash(a_frame(), settings={"day": "2026-11-28"})


def test_a_plan_without_prices_and_repairs_has_the_same_hash() -> None:
    assert content_hash(a_frame().drop("cost_micros", "repair")) == content_hash(a_frame())


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "shown"),
    [pytest.param(64, True, id="64 bytes: as they are"), pytest.param(65, False, id="65 bytes: their hash")],
)
def test_long_fields_are_hashed(length: int, shown: bool) -> None:
    value = "x" * (length - len('{"k":""}'))
    text = json.dumps({"k": value}, separators=(",", ":"))
    frame = a_frame(ROWS[:1], CELLS[:1])
    encoded = text if shown else hashlib.sha256(text.encode()).hexdigest()
    line = f'"+12025550101","{FROM}","Hi","","{encoded.replace(chr(34), chr(34) * 2)}"\n'
    assert identity(frame, k=value) == hashlib.sha256(line.encode()).hexdigest()


def test_a_field_that_is_not_json_counts_as_its_text() -> None:
    assert identity(a_frame()[:1], when=hashlib) == identity(a_frame()[:1], when=str(hashlib))


# -- plans of format 3 -------------------------------------------------------------------------------------------------

COMPOSED = {"region": "US", "from_number": FROM, "body": "Hi", "media": [], "row_number": 2}


def stored(*kinds: str) -> pl.DataFrame:
    """A row for each kind: `sent`, the reason of a row that was composed, or `-` and that of one that was not."""
    rows = []
    for place, kind in enumerate(kinds):
        row = {**COMPOSED, "to": f"+120255501{place:02}"}
        if kind == "sent":
            row["seq"] = sum(earlier == "sent" for earlier in kinds[:place])
        elif kind.startswith("-"):
            row |= {"reason": kind[1:], "media": None}
        else:
            row["reason"] = kind
        rows.append(row)
    return pl.DataFrame(rows, schema=PLAN_SCHEMA)


@pytest.mark.parametrize("rows_at_once", [1, 2, 100])
@pytest.mark.parametrize(
    ("kinds", "limited", "counted"),
    [
        pytest.param(["sent", "sent"], False, [0, 1], id="messages"),
        pytest.param(["sent", "duplicate", "missing_data", "sent"], False, [0, 3], id="skipped rows"),
        pytest.param(["sent", "opted_out", "suppressed", "landline", "invalid_number"], False, [0, 1, 2, 3, 4], id="held back by the list"),
        pytest.param(["sent", "-opted_out", "-suppressed", "-landline", "-invalid_number"], False, [0], id="skipped before"),
        pytest.param(["sent", "limit", "-limit"], False, [0, 1, 2], id="beyond a limit that left nobody out"),
        pytest.param(["sent", "suppressed", "sent", "limit"], True, [0, 1], id="a limit counts those held back"),
        pytest.param(["suppressed", "sent", "limit", "limit"], True, [0], id="as many as are sent"),
    ],
)  # fmt: skip
def test_which_rows_of_a_plan_without_an_identity_count(
    monkeypatch: pytest.MonkeyPatch, kinds: list[str], limited: bool, counted: list[int], rows_at_once: int
) -> None:
    monkeypatch.setattr(hashes, "ROW_GROUP", rows_at_once)
    frame = stored(*kinds)
    computed = hash_stored(
        frame.lazy(), fields={"ttl": 5}, height=frame.height, messages=kinds.count("sent"), limited=limited
    )
    assert computed == identity(frame[counted], ttl=5)
