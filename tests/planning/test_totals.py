"""Totals over blocks: the same for one block and for many, and each counts what its name says."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import sender
from sender.plan.plan import PLAN_SCHEMA
from sender.planning.compiled import compile_campaign
from sender.planning.totals import PlanTotals
from sender.segments import measure


def rows(*entries: dict[str, Any]) -> pl.DataFrame:
    """Rows of a plan. An entry with `reason` is skipped; encoding and segments follow from the body."""
    seq, made = 0, []
    for number, entry in enumerate(entries, start=2):
        is_sent = "reason" not in entry
        cells = {"phone": entry.get("cell", entry.get("to", "")), "name": "Ada"}
        made.append({
            "row_number": number, "to": "+12025550101", "from_number": "+12025550150", "body": "Hi",
            **{key: value for key, value in entry.items() if key != "cell"},
            "seq": seq if is_sent else None, "recipient": cells,
        })  # fmt: skip
        seq += is_sent
    schema = {**PLAN_SCHEMA, "recipient": pl.Struct({"phone": pl.String, "name": pl.String})}
    frame = pl.DataFrame(made, schema=schema)
    sizes = measure(frame["body"])
    sent = pl.col("seq").is_not_null()
    return frame.with_columns(
        encoding=pl.when(sent).then(sizes["encoding"]), segments=pl.when(sent).then(sizes["segments"])
    )


def totals(
    *blocks: pl.DataFrame, test_to: str | None = None, settings: dict[str, Any] | None = None, **campaign: Any
) -> PlanTotals:
    keys: dict[str, Any] = {"provider": "sandbox", "from_": "+12025550150", "message": "Hi", "name": "t", **campaign}
    compiled = compile_campaign(sender.load_campaign(recipients=[{"phone": "+12025550101"}], **keys))
    result = PlanTotals(compiled, test_to=test_to, phones=("phone",), **(settings or {}))
    for block in blocks:
        result.hash(block, block.drop("cost_micros", strict=False))
        result.count(block)
    return result


LONG = "x" * 161  # two segments of GSM-7
MIXED = (
    {"body": "Hi"},
    {"body": LONG},
    {"body": LONG, "repair": "text mark removed", "cell": "'+12025550101"},
    {"body": "\u017b"},
    {"reason": "duplicate"},
    {"reason": "duplicate", "repair": "text mark removed", "cell": "'12"},
    {"reason": "invalid_number", "repair": "exponent", "cell": "1e9"},
    {"body": "Hi", "media": ["https://example.com/a.png"]},
)


def everything(result: PlanTotals) -> dict[str, Any]:
    names = ("hashes", "skipped", "segment_counts", "segments", "encodings", "mms", "blame", "repairs")
    return {name: getattr(result, name) for name in names}


def test_each_counts_what_its_name_says() -> None:
    result = totals(rows(*MIXED))
    assert result.skipped == {"duplicate": 2, "invalid_number": 1}
    assert result.segment_counts == {"1": 3, "2": 2}
    assert result.segments == 7
    assert result.encodings == {"GSM-7": 4, "UCS-2": 1}
    assert result.mms == 1
    assert result.repairs == [
        {"repair": "text mark removed", "rows": 2, "row_number": 4, "cell": "'+12025550101", "to": "+12025550101"},
        {"repair": "exponent", "rows": 1, "row_number": 8, "cell": "1e9", "to": "+12025550101"},
    ]
    assert (result.blame["characters"], result.blame["other_script"]) == ([], 1)


@pytest.mark.parametrize("at", range(len(MIXED) + 1))
def test_blocks_make_no_difference(at: int) -> None:
    assert everything(totals(rows(*MIXED)[:at], rows(*MIXED)[at:])) == everything(totals(rows(*MIXED)))


def test_nothing_at_all() -> None:
    result = totals(rows(*MIXED)[:0])
    assert (result.skipped, result.segment_counts, result.segments, result.encodings) == ({}, {}, 0, {})
    assert (result.mms, result.repairs) == (0, [])


def test_counts_are_in_order() -> None:
    """Names by the alphabet, segments by their number (2 before 10)."""
    result = totals(rows({"body": "x" * 1600}, {"body": LONG}, {"reason": "suppressed"}, {"reason": "duplicate"}))
    assert list(result.segment_counts) == ["2", "11"]
    assert list(result.skipped) == ["duplicate", "suppressed"]


def test_repairs_are_in_order_of_their_rows_and_then_of_their_names() -> None:
    repaired = [{"repair": name, "cell": "1"} for name in ("b", "c", "a", "c")]
    assert [(entry["repair"], entry["rows"]) for entry in totals(rows(*repaired)).repairs] == [
        ("c", 2), ("a", 1), ("b", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "mms"),
    [
        pytest.param({}, 1, id="media make an MMS"),
        pytest.param({"send_as_mms": True, "sandbox": {"dialect": "twilio"}}, 8, id="or the campaign does"),
    ],
)
def test_what_goes_as_mms(fields: dict[str, Any], mms: int) -> None:
    entries = [{"body": LONG}] * 7 + [{"body": "Hi", "media": ["https://example.com/a.png"]}]
    assert totals(rows(*entries), **fields).mms == mms


BASE = ({"body": "Hi"}, {"reason": "duplicate", "detail": "of row 2"})


@pytest.mark.parametrize(
    ("changed", "settings", "hash_differs", "identity_differs"),
    [
        pytest.param(({"body": "Hi"}, {"reason": "duplicate", "detail": "of row 2"}), {}, False, False, id="nothing"),
        pytest.param(({"body": "Ho"}, {"reason": "duplicate", "detail": "of row 2"}), {}, True, True, id="text"),
        pytest.param(({"body": "Hi", "to": "+12025550102"}, {"reason": "duplicate", "detail": "of row 2"}), {}, True, True, id="recipient"),
        pytest.param(({"body": "Hi", "from_number": "+12025550151"}, {"reason": "duplicate", "detail": "of row 2"}), {}, True, True, id="sender"),
        pytest.param(({"body": "Hi"}, {"reason": "duplicate", "detail": "reworded"}), {}, True, False, id="a sentence"),
        pytest.param(({"body": "Hi"},), {}, True, False, id="a skipped row"),
        pytest.param(BASE, {"message": "Ho"}, False, False, id="a template that gives the same"),
    ],
)  # fmt: skip
def test_what_the_hashes_cover(
    changed: tuple[dict[str, Any], ...], settings: dict[str, Any], hash_differs: bool, identity_differs: bool
) -> None:
    before, after = totals(rows(*BASE)), totals(rows(*changed), **settings)
    assert (before.hashes["plan_hash"] != after.hashes["plan_hash"]) is hash_differs
    assert (before.hashes["identity"] != after.hashes["identity"]) is identity_differs


def test_a_test_is_another_plan() -> None:
    assert totals(rows(*BASE)).hashes["plan_hash"] != totals(rows(*BASE), test_to="+12025550199").hashes["plan_hash"]


def test_a_plan_for_new_people_alone_is_another_plan() -> None:
    """Without being told it is for everybody, with the hash that such plans have always had."""
    everybody, new = (totals(rows(*BASE), settings={"only_new": only_new}).hashes for only_new in (False, True))
    assert totals(rows(*BASE)).hashes == everybody
    assert new["plan_hash"] != everybody["plan_hash"]


def test_only_the_hashed_rows_are_hashed() -> None:
    """A STOP after a run must not make the same campaign look unsent: what it skips is outside of the hash."""
    with_stop = rows({"reason": "opted_out"}, {"reason": "duplicate", "detail": "of row 2"})
    result, without = totals(), totals(rows(*BASE))
    result.hash(with_stop, rows(*BASE).drop("cost_micros", strict=False))
    result.count(with_stop)
    assert (result.hashes["plan_hash"], result.hashes["identity"]) == (
        without.hashes["plan_hash"],
        without.hashes["identity"],
    )
    assert result.skipped == {"duplicate": 1, "opted_out": 1}
    assert result.segments == 0
