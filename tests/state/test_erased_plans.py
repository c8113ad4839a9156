"""What a plan says of a person is gone from it once the person is erased, and what it says of others stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import sender
from sender.plan.manifest import read_manifest
from sender.state.files.erasure import drop_rows, erase_from_plan
from sender.state.people import Person

ADA, BOB = "+12025550101", "+12025550102"


@pytest.fixture
def plan(tmp_path: Path) -> sender.Plan:
    """Both numbers were repaired, and each stands in a note."""
    campaign = sender.load_campaign(
        provider="sandbox", from_="+12025550150", message="Hi {{ name }}",
        recipients=[{"phone": f"'{ADA}", "name": "Ada"}, {"phone": f"tel:{BOB}", "name": "Bob"}],
    )  # fmt: skip
    plan = sender.build_plan(campaign)
    notes = (f"row 2: {ADA} is odd", f"row 3: {BOB} is odd", "two rows")
    return plan.with_manifest(replace(plan.manifest, notes=notes, test_to=ADA)).write(tmp_path / "plan")


def examples(plan: sender.Plan) -> set[str]:
    return {entry["to"] for entry in plan.manifest.numbers["repairs"]}


def test_a_person_is_erased_and_others_stay(tmp_path: Path, plan: sender.Plan) -> None:
    assert examples(plan) == {ADA, BOB}
    before, after = erase_from_plan(tmp_path / "plan", Person.of(ADA), "another")
    left = sender.Plan.open(tmp_path / "plan")
    assert (before, after) == (plan.manifest.parquet_sha256, left.manifest.parquet_sha256)
    assert examples(left) == {"", BOB}
    assert {entry["cell"] for entry in left.manifest.numbers["repairs"] if not entry["to"]} == {""}
    assert left.manifest.notes == (f"row 3: {BOB} is odd", "two rows")
    assert (left.manifest.test_to, left.manifest.identity) == ("", "another")
    assert left.messages["body"].to_list()[1] == "Hi Bob"
    assert not any(ADA[2:] in file.read_bytes().decode("latin-1") for file in (tmp_path / "plan").iterdir())


def test_of_another_only_the_test_number_stays(tmp_path: Path, plan: sender.Plan) -> None:
    erase_from_plan(tmp_path / "plan", Person.of(BOB), "another")
    left = sender.Plan.open(tmp_path / "plan")
    assert examples(left) == {ADA, ""}
    assert left.manifest.test_to == ADA
    assert left.manifest.notes == (f"row 2: {ADA} is odd", "two rows")


def test_pictures_links_and_sentences_of_others_stay(tmp_path: Path) -> None:
    people = [{"phone": ADA, "name": "Ada"}, {"phone": BOB, "name": "Bob"}, {"phone": BOB, "name": "Rob"}]
    campaign = sender.load_campaign(
        name="t", provider="sandbox", from_="+12025550150",
        message='{{ name }}: {{ link("https://example.com/" ~ name) }}',
        recipients=[{**row, "media_url": f"https://e.example/{row['name']}.png"} for row in people],
        links={"base": "https://go.example.com/", "domains": ["example.com"]},
    )  # fmt: skip
    before = sender.build_plan(campaign, state_dir=tmp_path / "state").write(tmp_path / "plan").frame
    erase_from_plan(tmp_path / "plan", Person.of(ADA), "another")
    left = sender.Plan.open(tmp_path / "plan").frame
    kept = ["media", "links", "detail", "to", "body"]
    assert left.select(kept).rows()[1:] == before.select(kept).rows()[1:]
    assert left["media"].to_list()[:2] == [[], ["https://e.example/Bob.png"]]
    assert left["links"].is_null().to_list() == [True, False, before["links"].is_null()[2]]
    assert left["detail"].to_list() == [None, None, before["detail"][2]]
    assert before["detail"][2], "Rob's row was skipped, and says why"


def test_a_plan_without_rows_has_no_examples(tmp_path: Path, plan: sender.Plan) -> None:
    folder = tmp_path / "plan"
    drop_rows(folder, "another")
    manifest = read_manifest(folder)
    assert {entry["to"] for entry in manifest.numbers["repairs"]} == {""}
    assert (manifest.notes, manifest.test_to, manifest.identity) == ((), "", "another")
    assert [file.name for file in folder.iterdir() if file.suffix == ".parquet"] == []


def test_of_a_very_wide_list_all_her_cells_are_blanked_and_of_others_those_with_her_number(tmp_path: Path) -> None:
    """Its plan has the cells of a row as a list."""
    fields = [f"field {n}" for n in range(1_200)]
    texts = {number: dict.fromkeys(fields, f"of {name}") for number, name in ((ADA, "Ada"), (BOB, "Bob"))}
    texts[BOB]["field 7"] = "call (202) 555-0101"
    campaign = sender.load_campaign(
        provider="sandbox", from_="+12025550150", message="Hi {{ field_3 }}",
        recipients=[{"phone": number, **cells} for number, cells in texts.items()],
    )  # fmt: skip
    plan = sender.build_plan(campaign).write(tmp_path / "plan")
    assert isinstance(plan.scan_stored().collect_schema()["recipient"], pl.List)
    erase_from_plan(tmp_path / "plan", Person.of(ADA), plan.identity)
    hers, his = sender.Plan.open(tmp_path / "plan").frame["recipient"].to_list()
    assert set(hers.values()) == {""}
    assert his == {"phone": BOB, **texts[BOB], "field 7": ""}
