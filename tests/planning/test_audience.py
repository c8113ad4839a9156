"""Who gets a message: each rule touches only rows that are still in, and says why."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sender
from sender.planning.audience import (
    count_sendable,
    mark_suppressed,
    skip_already_sent,
    skip_beyond_limit,
    skip_duplicates,
    skip_types,
)
from sender.state.contacts import CONTACTS_SCHEMA

A, B, C = "+12025550101", "+12025550102", "+12025550103"


def rows(*to_and_reason: tuple[str | None, str | None]) -> pl.DataFrame:
    """Rows numbered from 2, as in a spreadsheet; those with a reason are out already."""
    return pl.DataFrame(
        {
            "row_number": range(2, 2 + len(to_and_reason)),
            "to": [to for to, _ in to_and_reason],
            "reason": [reason for _, reason in to_and_reason],
            "detail": ["out" if reason else None for _, reason in to_and_reason],
            "extra": list(range(len(to_and_reason))),
        },
        schema={
            "row_number": pl.UInt32,
            "to": pl.String,
            "reason": pl.String,
            "detail": pl.String,
            "extra": pl.Int64,
        },
    )


OUT = (None, "invalid_number")


def suppress(frame: pl.DataFrame, numbers, before: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the rows suppressed whose number was open in `before` and is one of `numbers`."""
    listed = before["reason"].is_null() & before["to"].is_in([number for number in numbers if number]).fill_null(False)
    names = pl.select(pl.when(listed).then(pl.lit("stop.csv"))).to_series()
    return mark_suppressed(frame, names)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        pytest.param([B], [None, "suppressed", None, "invalid_number"], id="one"),
        pytest.param([B, B, None, "nonsense"], [None, "suppressed", None, "invalid_number"], id="repeated and null"),
        pytest.param([], [None, None, None, "invalid_number"], id="empty list"),
        pytest.param([A, B, C], ["suppressed"] * 3 + ["invalid_number"], id="all"),
    ],
)
def test_suppress(numbers, expected):
    before = rows((A, None), (B, None), (C, None), OUT)
    frame = suppress(before, numbers, before)
    assert frame["reason"].to_list() == expected
    assert set(frame.filter(pl.col("reason") == "suppressed")["detail"]) <= {"the number is in stop.csv"}


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        pytest.param([], [None, None, None, "invalid_number"], id="nothing"),
        pytest.param(["fixed_line"], ["landline", None, None, "invalid_number"], id="fixed lines"),
        pytest.param(["premium_rate"], [None, None, "suppressed", "invalid_number"], id="another type"),
        pytest.param(["fixed_line", "premium_rate"], ["landline", None, "suppressed", "invalid_number"], id="both"),
        pytest.param(
            ["fixed_line_or_mobile"], [None, "suppressed", None, "invalid_number"], id="either is no fixed line"
        ),
        pytest.param(["mobile"], [None, None, None, "invalid_number"], id="and no mobile"),
    ],
)
def test_skip_types(types, expected):
    kinds = pl.Series("number_type", ["fixed_line", "fixed_line_or_mobile", "premium_rate", None])
    before = rows((A, None), (B, None), (C, None), OUT).with_columns(kinds)
    frame = skip_types(before, types)
    assert frame["reason"].to_list() == expected
    for kind, reason, detail in (
        frame.filter(pl.col("reason").is_in(["landline", "suppressed"]))
        .select("number_type", "reason", "detail")
        .rows()
    ):
        assert detail == f"a {kind} number, a type that recipients.skip_types leaves out"
        assert reason
    assert frame.drop("reason", "detail").equals(before.drop("reason", "detail"))


@pytest.mark.parametrize(
    ("keep", "given_rows", "expected"),
    [
        pytest.param("first", [(A, None), (B, None), (A, None)], [None, None, "same number as row 2"], id="first"),
        pytest.param("last", [(A, None), (B, None), (A, None)], ["same number as row 4", None, None], id="last"),
        pytest.param("none", [(A, None), (A, None)], [None, None], id="none keeps all"),
        pytest.param(
            "first",
            [(A, None)] * 3,
            [None, "same number as row 2", "same number as row 2"],
            id="three of one",
        ),
        pytest.param("first", [(A, "suppressed"), (A, None)], ["out", None], id="a row that is out keeps no place"),
        pytest.param("last", [(A, None), (A, "invalid_number")], [None, "out"], id="nor at the end"),
        pytest.param("first", [OUT, OUT], ["out", "out"], id="rows without a number are no duplicates"),
        pytest.param("first", [], [], id="no rows"),
    ],
)
def test_dedupe(keep, given_rows, expected):
    frame = skip_duplicates(rows(*given_rows), keep)
    assert frame["detail"].to_list() == expected
    assert frame["reason"].to_list() == [
        {"out": given_rows[i][1], None: None}.get(detail, "duplicate") for i, detail in enumerate(expected)
    ]


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param(("+12025550101", "+22025550101"), id="other countries"),
        pytest.param(("+12025550101", "+12025550102"), id="another last digit"),
        pytest.param(("98765", "+98765", "+12025550101"), id="a short code"),
        pytest.param(("12345", "22345"), id="short codes"),
        pytest.param(("whatsapp:+12025550101", "+12025550101"), id="another channel"),
        pytest.param(("+x12025550101", "+y12025550101"), id="not digits"),
        pytest.param((f"+{'9' * 24}8", f"+{'9' * 25}", "+12025550101"), id="longer than any number"),
    ],
)
@pytest.mark.parametrize("keep", ["first", "last"])
def test_numbers_that_look_alike_are_not_the_same(numbers, keep):
    before = rows(*((number, None) for number in numbers))
    assert skip_duplicates(before, keep).equals(before)
    twice = rows(*((number, None) for number in (*numbers, *numbers)))
    reasons = skip_duplicates(twice, keep)["reason"].to_list()
    stays, goes = [None] * len(numbers), ["duplicate"] * len(numbers)
    assert reasons == (stays + goes if keep == "first" else goes + stays)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        pytest.param(0, ["limit", "x", "limit", "limit"], id="none"),
        pytest.param(2, [None, "x", None, "limit"], id="rows that are out do not count"),
        pytest.param(9, [None, "x", None, None], id="more than there are"),
    ],
)
def test_limit(n, expected):
    frame = skip_beyond_limit(rows((A, None), (B, "x"), (B, None), (C, None)), n)
    assert frame["reason"].to_list() == expected


@pytest.mark.parametrize(
    ("before", "expected"), [(0, [None, None, "limit"]), (1, [None, "limit", "limit"]), (9, ["limit"] * 3)]
)
def test_the_limit_counts_what_earlier_frames_have(before, expected):
    frame = skip_beyond_limit(rows((A, None), (B, None), (C, None)), 2, before=before)
    assert frame["reason"].to_list() == expected
    assert frame["detail"].to_list() == [reason and "beyond the first 2 recipients" for reason in expected]


NUMBERS = st.sampled_from([A, B, C])
ROWS = st.lists(
    st.one_of(st.tuples(NUMBERS, st.none()), st.tuples(NUMBERS, st.just("other")), st.just(OUT)), max_size=12
)


@given(ROWS, st.sampled_from(["first", "last"]), st.sets(NUMBERS), st.integers(0, 5))
def test_laws(given_rows, keep, suppressed, n):
    """Against a plain loop: no row is lost or moved, one row a number is left, and the right one."""
    before = rows(*given_rows)
    after = skip_beyond_limit(suppress(skip_duplicates(before, keep), suppressed, before), n)
    assert after.schema == before.schema
    assert after.drop("reason", "detail").equals(before.drop("reason", "detail"))
    winners: dict[str, int] = {}
    for index, (to, reason) in enumerate(given_rows):
        if reason is None and to not in suppressed and (keep == "last" or to not in winners):
            winners[to] = index
    expected = sorted(winners.values())[:n]
    assert after["reason"].is_null().arg_true().to_list() == expected


# -- people who have had it --------------------------------------------------------------------------------------------

DAY_MS = 86_400_000


def contacts(*reached: tuple[str, str, int]) -> pl.DataFrame:
    return pl.DataFrame(reached, schema=CONTACTS_SCHEMA, orient="row")


def test_who_has_had_it_is_skipped_with_the_run_and_its_day() -> None:
    before = rows((C, None), (A, None), OUT, (B, "opted_out"), (A, None), ("+12025550109", None))
    frame = skip_already_sent(before, contacts((B, "run-1", 0), (A, "run-2", DAY_MS - 1), (C, "run-3", DAY_MS)))
    assert frame.columns == before.columns
    assert frame.drop("reason", "detail").equals(before.drop("reason", "detail")), "the rows as they were"
    had_it = "had it, or may have had it, from run"
    assert frame.select("reason", "detail").rows() == [
        ("already_sent", f"{had_it} run-3 on 1970-01-02"),
        ("already_sent", f"{had_it} run-2 on 1970-01-01"),
        ("invalid_number", "out"),
        ("opted_out", "out"),
        ("already_sent", f"{had_it} run-2 on 1970-01-01"),
        (None, None),
    ]


@pytest.mark.parametrize("reached", [(), (("+12025550109", "run-1", 0),)], ids=["nobody", "another person"])
def test_who_has_not_had_it_stays(reached: tuple[tuple[str, str, int], ...]) -> None:
    before = rows((A, None), (None, None), OUT)
    assert skip_already_sent(before, contacts(*reached)).equals(before)


@pytest.mark.parametrize(
    ("before", "count"),
    [
        pytest.param(rows((A, None), (A, None), (None, None), OUT, (B, "opted_out")), 2, id="some"),
        pytest.param(rows(OUT), 0, id="none"),
        pytest.param(rows(), 0, id="no rows"),
    ],
)
def test_how_many_still_get_a_message(before: pl.DataFrame, count: int) -> None:
    assert count_sendable(before) == count


def test_every_suppression_file_counts_and_is_noted(tmp_path: Path) -> None:
    names = ["stop.csv", "old.csv", "more.csv"]
    for name, number in zip(names, (A, B, C), strict=True):
        (tmp_path / name).write_text(f"phone,name\n{number},X\n,Y\n", encoding="utf-8")
    plan = sender.build_plan(
        sender.load_campaign(
            provider="sandbox",
            from_="+12025550100",
            message="Hi",
            recipients=[{"phone": number} for number in (A, B, C, "+12025550109")],
            suppress=[str(tmp_path / name) for name in names],
        )
    )
    assert plan.frame["detail"].to_list() == [*(f"the number is in {name}" for name in names), None]
    assert [Path(file.path).name for file in plan.manifest.inputs if file.role == "suppress"] == names
    assert {f"{name}: 1 row has no number" for name in names} <= set(plan.manifest.notes)
