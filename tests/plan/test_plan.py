"""A plan in a folder: it replaces a plan and nothing else, and an old one outlives a failure."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import InputError
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan


def plan(name: str = "Ada", **keys: Any) -> Plan:
    keys = {"provider": "sandbox", "from_": "+12025550150", "rate": "none", "message": "Hi {{ name }}", **keys}
    return sender.build_plan(sender.load_campaign(recipients=[{"phone": "+12025550101", "name": name}], **keys))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOLDERS = [
    pytest.param({"notes.txt": "mine"}, id="somebody's"),
    pytest.param({"ledger.sqlite3": "", "runs/r1/plan/manifest.json": "{}"}, id="a state"),
    pytest.param({"manifest.json": '{"name": "an extension of a browser"}'}, id="another program's manifest"),
    pytest.param({"manifest.json": "{}", "plan.parquet": ""}, id="another program's plan"),
    pytest.param({"manifest.json": "[]", "plan.parquet": ""}, id="no manifest"),
    pytest.param({"manifest.json": "\x00", "plan.parquet": ""}, id="no JSON"),
    pytest.param({"plan.parquet": ""}, id="half a plan"),
    pytest.param({"deeper/plan.parquet": "", "deeper/manifest.json": "{}"}, id="a folder of plans"),
]


@pytest.mark.parametrize("there", FOLDERS)
def test_a_folder_that_is_not_a_plan_is_left_alone(tmp_path: Path, there: dict[str, str]) -> None:
    for name, text in there.items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = files(tmp_path)
    with pytest.raises(InputError, match=r"would be lost|in the state directory") as caught:
        plan().write(tmp_path / "out")
    assert caught.value.where == str(tmp_path / "out")
    assert caught.value.fix
    assert files(tmp_path) == before


@pytest.mark.parametrize("more", ["notes.txt", ".hidden", "deeper/notes.txt"])
def test_nor_is_a_plan_with_something_else_in_it(tmp_path: Path, more: str) -> None:
    plan("Ada").write(tmp_path / "out")
    (tmp_path / "out" / more).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / more).write_text("mine")
    before = files(tmp_path)
    with pytest.raises(InputError, match="would be lost"):
        plan("Bob").write(tmp_path / "out")
    assert files(tmp_path) == before


def test_a_plan_is_replaced(tmp_path: Path) -> None:
    plan("Ada").write(tmp_path / "out")
    later = plan("Bob").write(tmp_path / "out")
    assert Plan.open(tmp_path / "out").hash == later.hash
    assert sorted(files(tmp_path)) == ["out/manifest.json", "out/plan.parquet"]
    again = Plan.open(tmp_path / "out").write(tmp_path / "out")  # onto itself
    assert Plan.open(tmp_path / "out").frame.equals(again.frame)


def test_a_plan_that_is_damaged_or_of_a_later_version_is_replaced(tmp_path: Path) -> None:
    plan("Ada").write(tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"format": 4', '"format": 99'), encoding="utf-8")
    later = plan("Bob").write(tmp_path / "out")
    assert Plan.open(tmp_path / "out").hash == later.hash


@pytest.mark.parametrize("step", ["the rows", "the manifest", "the swap"])
@pytest.mark.parametrize("old", [True, False], ids=["over an old plan", "anew"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, old: bool) -> None:
    if old:
        plan("Ada").write(tmp_path / "out")
    before = files(tmp_path)
    made = plan("Bob")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    place = {
        "the rows": (pl.DataFrame, "write_parquet"),
        "the manifest": (Manifest, "to_json"),
        "the swap": (Path, "replace"),
    }
    monkeypatch.setattr(*place[step], fail)
    with pytest.raises(OSError, match="No space left"):
        made.write(tmp_path / "out")
    assert files(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_a_runs_plan_is_never_replaced(tmp_path: Path) -> None:
    result = sender.send(plan(), state_dir=tmp_path / "state")
    place = tmp_path / "state" / "runs" / result.run.run_id / "plan"
    before = files(tmp_path / "state")
    with pytest.raises(InputError, match="in the state directory"):
        plan("Bob").write(place)
    assert files(tmp_path / "state") == before
    shutil.rmtree(tmp_path / "state")


def test_a_printed_plan_says_who_gets_what(tmp_path: Path) -> None:
    rows = [{"phone": "+12025550101"}, {"phone": "+12025550101"}, {"phone": "555"}, {"phone": "5"}]
    made = sender.build_plan(
        sender.load_campaign(name="spring", provider="sandbox", from_="+12025550100", message="Hi", recipients=rows)
    )
    assert str(made).splitlines() == [
        "spring through sandbox",
        "4 rows, 1 message, 1 segment",
        "skipped 3: 2 invalid_number, 1 duplicate",
        f"plan {made.hash[:12]}",
    ]
    assert str(made.write(tmp_path / "plan")).endswith(f"plan {made.hash[:12]} in {tmp_path / 'plan'}")
    assert repr(made) == f"<Plan 'spring': messages 1, skipped 3, {made.hash[:12]}>"
