"""The plan of what is left of another one: what it says of itself, and what it does not know any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.planning.stored_messages import number_messages, recount

PRICES = "currency: USD\nprices: [{to: US, sms: 0.01, mms: 0.02}]\n"


def test_what_is_left_says_nothing_of_the_texts_and_rows_that_are_gone() -> None:
    people = [{"phone": f"+1202555010{n}", "name": name} for n, name in enumerate(("Ada", "Zoë ✓", "Jean"))]
    built = sender.build_plan(
        sender.load_campaign(
            name="spring", provider="sandbox", from_="+12025550199", message="Hi {{ name }}", recipients=people
        )
    )
    assert built.manifest.blame["characters"], "one name makes its text larger"
    left = recount(built.manifest, built.frame.head(1), "mark")
    assert (left.rows, left.messages, left.segments, left.encodings) == (1, 1, 1, {"GSM-7": 1})
    assert (left.blame, left.lint, left.notes, left.replacements) == ({}, (), (), ())
    assert left.suppression == {"mark": "mark", "skip_dead": False}


@pytest.mark.parametrize(
    ("keys", "whole", "of_each"),
    [
        pytest.param({"message": "Hi"}, 0, [0, 0, 0], id="none"),
        pytest.param({"message": {"body": "Hi", "media": "{{ picture }}"}}, 2, [1, 0, 1], id="those with a picture"),
        pytest.param({"message": "Hi", "send_as_mms": "{{ mms }}"}, 2, [0, 1, 1], id="those whose row says so"),
        pytest.param({"message": "Hi", "send_as_mms": True}, 3, [1, 1, 1], id="all, whatever they have"),
    ],
)
def test_what_is_left_has_its_own_number_of_mms(keys: dict[str, Any], whole: int, of_each: list[int]) -> None:
    pictures = ["https://example.com/a.png", "", "https://example.com/c.png"]
    people = [
        {"phone": f"+1202555010{n}", "picture": picture, "mms": "true" if n else "false"}
        for n, picture in enumerate(pictures)
    ]
    built = sender.build_plan(
        sender.load_campaign(name="spring", provider="sandbox", from_="+12025550199", recipients=people, **keys)
    )
    assert built.manifest.mms == whole
    rows = [built.frame.filter(row_number=number) for number in built.frame["row_number"]]
    assert [recount(built.manifest, row, "mark").mms for row in rows] == of_each
    assert recount(built.manifest, pl.concat(rows), "mark").mms == whole


def test_who_is_held_back_by_now_is_counted_as_skipped_and_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES, encoding="utf-8")
    media = "https://example.com/{{ n }}.png"
    built = sender.build_plan(
        sender.load_campaign(
            name="spring",
            provider="sandbox",
            from_=["+12025550198", "+12025550199"],
            message={"body": "Hi", "media": media},
            recipients=[{"phone": f"+1202555010{n}", "n": n} for n in range(5)],
            prices=str(tmp_path / "prices.yaml"),
        )
    )
    assert built.manifest.cost is not None
    assert (built.manifest.mms, built.manifest.cost["total"]) == (5, "0.10")
    held = built.frame.head(3).with_columns(reason=pl.Series([None, "suppressed", None]))
    left = recount(built.manifest, number_messages(held), "mark")
    assert (left.rows, left.messages, left.skipped) == (3, 2, {"suppressed": 1})
    assert (left.segments, left.segment_counts, left.mms) == (2, {"1": 2}, 2)
    assert left.cost is not None
    assert (left.cost["currency"], left.cost["total"]) == ("USD", "0.04")
    assert left.feasibility == {"senders": built.manifest.feasibility["senders"]}
    assert recount(replace(built.manifest, feasibility={}), held, "mark").feasibility == {"senders": {}}


def test_what_was_of_the_whole_plan_is_not_said_of_what_is_left() -> None:
    """When it began, its file, its waves, what its routes cost: none of them is that of the rest."""
    people = [{"phone": f"+1202555010{n}"} for n in range(2)]
    built = sender.build_plan(
        sender.load_campaign(name="spring", provider="sandbox", from_="+12025550199", message="Hi", recipients=people)
    )
    route = {"provider": "sandbox", "senders": ["+12025550199"], "cost": {"total": "0.02"}}
    whole = replace(
        built.manifest,
        blank_rows=2,
        start={"at": "2030-01-01T09:00:00"},
        waves=({"messages": 2},),
        parquet_sha256="00",
        routes=(route,),
    )
    left = recount(whole, built.frame.head(1), "mark")
    assert (left.blank_rows, left.start, left.waves, left.parquet_sha256) == (0, None, (), None)
    assert left.routes == ({**route, "cost": None},)
