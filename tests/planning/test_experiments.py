"""Variants, a holdout and a share: what each row of a plan gets, and what the plan says of its groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import CampaignError, SenderError
from sender.core.experiment import Experiment
from sender.plan.plan import Plan
from sender.planning.build import build_plan
from sender.planning.diff import diff_plans
from sender.planning.explain import explain_row
from sender.planning.stored_messages import recount

ROWS = [
    {"phone": f"+1{area}5550{line}", "name": f"N{line}"} for area in (202, 212, 305, 415) for line in range(100, 200)
]
A = {"name": "a", "body": "Hi {{ name }}. STOP ends it"}
B = {"name": "b", "body": "{{ name }}! STOP ends it", "weight": 3}


def campaign(variants: Any = (A, B), rows: list[dict[str, str]] = ROWS, message: Any = None, **keys: Any) -> Any:
    message = {**({"variants": list(variants)} if variants else {}), **(message or {})}
    keys = {"provider": "sandbox", "from_": "+12025550150", **keys}
    return sender.load_campaign(name="spring", recipients={"rows": rows}, message=message, **keys)


def plan(*arguments: Any, **keys: Any) -> Plan:
    return build_plan(campaign(*arguments, **keys))


def texts(plan: Plan) -> dict[str, str]:
    sent = plan.frame.filter(pl.col("seq").is_not_null())
    return dict(zip(sent["to"], sent["body"], strict=True))


def test_each_row_gets_the_text_of_its_variant():
    built = plan()
    experiment = Experiment.from_manifest(built.manifest.experiment)
    assert experiment is not None
    frame = built.frame
    assert frame["variant"].equals(experiment.assign(frame["to"]))
    for name, number, variant, body in zip(
        *(frame["recipient"].struct.field("name"), frame["row_number"], frame["variant"], frame["body"]), strict=True
    ):
        assert body == {"a": f"Hi {name}. STOP ends it", "b": f"{name}! STOP ends it"}[variant], number
    assert frame["row_number"].is_sorted()
    assert frame["seq"].to_list() == [*range(len(ROWS))]


def test_what_is_left_of_a_plan_has_its_own_parts():
    built = plan()
    left = recount(built.manifest, built.frame.head(7), "mark")
    entries = left.experiment["variants"]  # type: ignore[index]
    counted = built.frame.head(7)["variant"].value_counts(name="n").sort("variant").rows()
    assert [(entry["name"], entry["messages"]) for entry in entries] == counted


def test_the_manifest_has_each_variants_part():
    built = plan(prices=None)
    counted = built.frame.group_by("variant").agg(pl.len(), pl.col("segments").sum()).sort("variant").rows()
    entries = built.manifest.experiment["variants"]  # type: ignore[index]
    assert [(entry["name"], entry["messages"], entry["segments"]) for entry in entries] == counted
    assert [entry["weight"] for entry in entries] == [1.0, 3.0]


def test_a_variant_has_its_own_media_and_sender(tmp_path: Path):
    (tmp_path / "b.j2").write_text("{{ name }} from a file. STOP ends it")
    own = {
        "name": "b",
        "template": str(tmp_path / "b.j2"),
        "from": "+12025550151",
        "media": "https://example.com/b.png",
    }
    built = plan([A, own], message={"media": "https://example.com/a.png"})
    by_variant = built.frame.group_by("variant").agg(pl.col("from_number", "media").unique()).sort("variant")
    assert by_variant.rows() == [
        ("a", ["+12025550150"], [["https://example.com/a.png"]]),
        ("b", ["+12025550151"], [["https://example.com/b.png"]]),
    ]
    assert built.manifest.senders == ("+12025550150", "+12025550151")
    assert [file.path for file in built.manifest.inputs if file.role == "template"] == [
        "(variant a)",
        str(tmp_path / "b.j2"),
    ]


def test_a_variant_without_a_text_has_the_messages():
    built = plan([{"name": "a"}, {"name": "b", "from": "+12025550151"}], message={"body": "Hi {{ name }}"})
    assert set(built.frame.filter(variant="b")["from_number"]) == {"+12025550151"}
    assert built.frame["body"].to_list() == [f"Hi {row['name']}" for row in ROWS]


def test_a_row_that_cannot_be_read_has_no_variant():
    built = plan(rows=[{"phone": "12", "name": "x"}, *ROWS[:3]])
    assert built.frame["variant"].to_list()[0] is None
    assert built.frame["reason"].to_list() == ["invalid_number", None, None, None]


def test_a_row_whose_variant_cannot_be_rendered_is_held():
    broken = {"name": "b", "body": "{{ name }} {{ code | int + 1 }}"}
    rows = [{**row, "code": "1" if n % 2 else ""} for n, row in enumerate(ROWS)]
    frame = plan([A, broken], rows=rows).frame
    assert frame.filter(pl.col("variant") == "a")["reason"].null_count() == frame.filter(variant="a").height
    assert frame.filter(variant="b")["reason"].null_count() < frame.filter(variant="b").height


def test_who_is_held_out_gets_nothing():
    built = plan(holdout="25%")
    frame = built.frame
    held = frame.filter(reason="holdout")
    assert built.manifest.skipped == {"holdout": held.height}
    assert 60 < held.height < 140
    assert set(held["detail"]) == {"held out: 25% of the people get nothing, to compare with (experiment spring)"}
    assert held["seq"].null_count() == held.height


def test_a_reason_of_the_row_comes_before_the_holdout():
    rows = [*ROWS, *ROWS[:50], {"phone": "12", "name": ""}]
    reasons = plan(rows=rows, holdout=0.5).manifest.skipped
    assert (reasons["duplicate"], reasons["invalid_number"]) == (50, 1)


def test_a_later_campaign_with_the_key_treats_people_alike():
    first = plan(holdout="10%", experiment="2026").frame
    second = build_plan(
        sender.load_campaign(
            name="other",
            provider="sandbox",
            from_="+12025550150",
            recipients={"rows": ROWS[100:300]},
            experiment={"key": "2026"},
            holdout="10%",
            message={"variants": [{"name": "a", "body": "New"}, {"name": "b", "body": "Newer", "weight": 3}]},
        )
    ).frame
    columns = "to", "variant", pl.col("reason") == "holdout"
    assert second.select(columns).equals(first[100:300].select(columns))


def test_the_share_goes_first_and_the_winner_to_the_rest():
    first = plan(share="20%")
    second = plan(variant="b")
    assert set(first.manifest.skipped) == {"outside_share"}
    assert 40 < first.manifest.messages < 120
    assert set(second.frame["variant"]) == {"b"}
    assert texts(second).keys() - texts(first).keys() == set(first.frame.filter(reason="outside_share")["to"])


def test_limits_and_tests_keep_their_meaning():
    built = build_plan(campaign(holdout="50%"), limit=10)
    assert built.manifest.messages == 10
    held = built.frame.filter(reason="holdout").height
    assert built.frame.filter(reason="limit").height == len(ROWS) - 10 - held
    tested = build_plan(campaign(variant="b"), test_to="+12025550199")
    assert (tested.manifest.messages, set(texts(tested).values())) == (1, {"N100! STOP ends it"})


def test_a_plan_without_an_experiment_is_what_it_was():
    built = plan((), message={"body": "Hi {{ name }}"})
    assert built.manifest.experiment is None
    assert built.frame["variant"].null_count() == len(ROWS)
    assert built.hash == "969be6fa6aecc49c9d00e954807142a17810e8bd4880c8e0a2f40e5cfb5c5467"
    assert built.manifest.identity == "7f6c4acb1238c4917a3e44313a8ba2a7310b2c446862472d357bcfe7d44e09d3"


def test_a_written_plan_keeps_its_experiment(tmp_path: Path):
    built = plan(holdout="10%")
    read = Plan.open(built.write(tmp_path / "plan").directory)  # type: ignore[arg-type]
    assert read.manifest.experiment == built.manifest.experiment
    assert read.frame["variant"].equals(built.frame["variant"])


def test_a_difference_shows_who_changed_sides():
    before, after = plan([A, B]), plan([A, {**B, "weight": 1}])
    diff = diff_plans(before, after)
    assert "variant" in diff.compared
    moved = [change["variant"] for change in diff.to_dict()["changed"]]
    assert moved
    assert set(map(str, moved)) == {"{'a': 'b', 'b': 'a'}"}
    assert "variant" not in diff_plans(plan((), message={"body": "x"}), plan((), message={"body": "y"})).compared


def test_a_row_is_explained_with_its_variant():
    asked = campaign(holdout="10%")
    built = build_plan(asked)
    held = built.frame.filter(reason="holdout")["row_number"][0]
    sent = built.frame.filter(pl.col("seq").is_not_null() & (pl.col("variant") == "a"))["row_number"][0]
    steps = dict(explain_row(built, sent, asked).steps)
    assert steps["variant"] == "`a`, which this number always gets in experiment spring"
    assert steps["text"].startswith("'Hi N")
    assert steps["group"] == "not held out"
    last = explain_row(built, held, asked).steps[-1]
    assert last == (
        "group",
        "skipped as holdout: held out: 10% of the people get nothing, to compare with (experiment spring)",
    )
    forced = campaign(variant="a")
    assert dict(explain_row(build_plan(forced), 1, forced).steps)["variant"] == "`a`, which everybody gets in this run"


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ({"base": "10%", "lift": "50%"}, False),
        ({"base": "3%", "lift": "0.5%"}, True),
        ({}, False),
    ],
)
def test_a_list_too_small_to_tell_is_said(size: dict[str, str], told: bool):
    notes = [note for note in plan(experiment=size or None).manifest.notes if "too few people" in note]
    assert bool(notes) is told, notes


@pytest.mark.parametrize(
    ("event", "listen", "told"),
    [
        pytest.param("reply", {}, True, id="replies that nobody keeps"),
        pytest.param("reply", {"keep_replies": True}, False, id="replies that are kept"),
        pytest.param("purchase", {}, False, id="purchases"),
        pytest.param(None, {}, False, id="whatever comes"),
    ],
)
def test_replies_that_would_not_count_are_said(event: str | None, listen: dict[str, bool], told: bool):
    notes = plan(experiment={"event": event} if event else {"key": "2026"}, listen=listen).manifest.notes
    assert any("sender listen --keep-replies" in note for note in notes) is told, notes
    assert not any("--keep-replies" in note for note in plan(listen=listen).manifest.notes), "no experiment is named"


def test_a_split_that_a_variant_breaks_is_said():
    broken = {"name": "b", "body": "{{ code }}", "weight": 3}  # most rows have no code
    rows = [{**row, "code": "x" if n % 10 == 0 else ""} for n, row in enumerate(ROWS)]
    notes = plan([A, broken], rows=rows).manifest.notes
    assert any("not split by their weights" in note for note in notes), notes
    assert not any("not split" in note for note in plan().manifest.notes)


def test_lint_looks_at_each_variant():
    silent = {"name": "b", "body": "HELLO THERE EVERYBODY"}
    rules = {entry["rule"] for entry in plan([A, silent]).manifest.lint}
    assert rules == {"no_opt_out", "capitals"}
    assert not plan().manifest.lint


@pytest.mark.parametrize(
    ("variants", "keys", "sentence"),
    [
        ([A], {}, "one variant alone is the message itself"),
        ([A, {**A}], {}, "two variants are called `a`"),
        ([{**A, "weight": 0}, {**B, "weight": 0}], {}, "the weights add up to 0, so nobody would get a message"),
        ([{**A, "weight": -1}, B], {}, "greater than or equal to 0"),
        ([A, {"name": "b"}], {}, "the variant `b` has no message: no template, no body and no media"),
        ([A, {"name": "holdout", "body": "x"}], {}, "a variant cannot be called `holdout`"),
        ([A, {"name": "x y", "body": "x"}], {}, "message.variants"),
        ([A, {**B, "template": "b.j2"}], {}, "both `template` and `body` are given"),
        ([A, {**B, "from": "MG" + "0" * 32}], {}, "which is not one number or name"),
        ([A, {**B, "from": "{{ number }}"}], {}, "which is not one number or name"),
        ([A, {**B, "body": "{{ nme }}"}], {}, "there is no column `nme`"),
        ([A, {**B, "body": "{{ name"}], {}, "message.variants"),
        ([A, B], {"variant": "c"}, "there is no variant `c`"),
        ((), {"variant": "c", "message": {"body": "x"}}, "there is no variant `c`"),
        ((), {"experiment": "x", "message": {"body": "x"}}, "an experiment needs `message.variants` or a `holdout`"),
        ([A, B], {"holdout": "100%"}, "holdout"),
        ([A, B], {"holdout": "-1%"}, "holdout"),
        ([A, B], {"share": "0%"}, "share"),
        ([A, B], {"share": "120%"}, "share"),
        ([A, B], {"experiment": {"base": "3%"}}, "`base` and `lift` go together"),
        ([A, B], {"experiment": {"base": "90%", "lift": "10%"}}, "add up to 100% or more"),
        ([A, {**B, "wieght": 2}], {}, "wieght"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(variants: Any, keys: dict[str, Any], sentence: str):
    with pytest.raises(SenderError) as refused:
        plan(variants, **keys)
    assert sentence in str(refused.value)
    assert isinstance(refused.value, CampaignError) or "column" in sentence or "template" in str(refused.value).lower()


def test_a_group_that_nobody_is_in_is_too_small() -> None:
    built = plan(rows=ROWS[:4], holdout="0.1%", experiment={"base": "10%", "lift": "5%"})
    assert "holdout" not in built.manifest.skipped
    (note,) = [note for note in built.manifest.notes if "too few people" in note]
    assert "holdout 0" in note


def test_a_row_that_the_provider_refuses_stops_no_other_variant() -> None:
    rows = [{**row, "valid": "60"} for row in ROWS[:20]]
    rows[3]["valid"] = "100000"
    frame = plan(rows=rows, sandbox={"dialect": "twilio"}, validity_period="{{ valid }}").frame
    assert frame["reason"].to_list() == [None] * 3 + ["render_error"] + [None] * 16
    assert frame["variant"].n_unique() == 2
