"""`manifest.json`: it comes back as it was written, notices damage, and reads older plans."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sender.core.errors import PlanError
from sender.plan.manifest import FORMAT, MANIFEST_FILE, Manifest, read_manifest, sender_shown
from sender.plan.pace import Pace, Queue
from sender.recipients.input_file import InputFile

PACE = Pace("4/s", 4.0, "segments", None, 3, 30.0)
A, B = "+12025550110", "+12125550111"


def manifest(**changed: Any) -> Manifest:
    values: dict[str, Any] = {
        "campaign": "offer",
        "provider": "sandbox",
        "dialect": "twilio",
        "senders": (A,),
        "fields": {},
        "test_to": None,
        "rows": 12,
        "messages": 10,
        "blank_rows": 1,
        "skipped": {"duplicate": 2},
        "segments": 20,
        "segment_counts": {"2": 10},
        "encodings": {"GSM-7": 10},
        "mms": 0,
        "replacements": (),
        "pace": PACE,
        "sandbox": {},
        "inputs": (InputFile("recipients", "people.csv", 10, "ab"), InputFile("template", "deeper/offer.j2", 5, "cd")),
        "versions": {"sender": "1"},
        "plan_hash": "9f86",
    }
    return Manifest(**{**values, **changed})


FULL = manifest(
    experiment={"key": "spring", "variants": [{"name": "a", "weight": 1.0, "messages": 3}]},
    senders=(A, B),
    fields={"validity_period": 60, "shorten_urls": True},
    test_to="+12025550199",
    replacements=({"character": "\u2019", "replacement": "'", "messages": 3},),
    pace=Pace("auto", None, "messages", 8, 0, 5.5, "docs", {A: 1.0}, "httpx", Queue(100.0, 2.0)),
    sandbox={"latency_ms": 40, "rate_per_s": None},
    notes=("a note", "and one with \u00fc, \u2019 and \U0001f389"),
    blame={"characters": []},
    cost={"total": "0.10"},
    numbers={"caution": False, "skip_types": ["voip"]},
    lint=({"rule": "blanks", "messages": 1, "row_number": 2, "warning": "row 2: the text has a blank too many"},),
    templates={"from": "{{ number }}"},
    pool={"weights": {A: 2.0, B: 1.0}, "match": "country"},
    feasibility={"expected_s": 5.0, "bound_by": A},
    suppression={"mark": 3, "skip_dead": True},
    retry_of="run-1",
    retry=2,
    edition="2026-W48",
    per_person=("3/24h",),
    window={"hours": "09:00-20:00", "outside": "hold", "rules": ["us"]},
    waves=({"first": 0, "end": 2, "intervals": [[1, 2]], "zones": ["Europe/London"], "rules": ["window"]},),
    suppress=({"path": "stop.csv"},),
    only_new=True,
    on_unfinished="close",
    limits={"max_messages": 5},
    canary={"first": 200, "wait_s": 900.0, "stop_if": {"failed": 0.1}, "size": 200},
    start={"text": "2026-12-01T09:00 America/New_York"},
    links={"base": "https://go.example.com/", "domains": ["example.com"], "length": 8},
    approval={"approvals": 2, "signers": "/who", "revoked": None},
    routes=({"provider": "twilio", "senders": ["+12025550100"], "cost": "1.00"}, {"provider": "telnyx"}),
    overall_per_s=4.0,
    headers=("Phone", "First Name"),
    parquet_sha256="ef",
    identity="01",
)


@pytest.mark.parametrize("value", [manifest(), FULL], ids=["small", "full"])
def test_it_comes_back_as_it_was(value: Manifest, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_text(value.to_json(), encoding="utf-8")
    assert read_manifest(tmp_path) == value
    assert Manifest.from_json(json.loads(value.to_json())) == value


def test_the_full_one_has_something_in_every_field() -> None:
    """So that a field which does not come back is noticed."""
    small = manifest()
    unset = {field.name for field in fields(FULL) if getattr(FULL, field.name) == getattr(small, field.name)}
    assert unset == {
        "campaign", "provider", "dialect", "rows", "messages", "blank_rows", "skipped", "segments", "segment_counts",
        "encodings", "mms", "inputs", "versions", "plan_hash", "format",
    }  # fmt: skip


def test_its_file_is_sorted_indented_utf8_with_a_checksum() -> None:
    text = FULL.to_json()
    values = json.loads(text)
    assert list(values) == sorted(values)
    assert text == json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    checksum = values.pop("sha256")
    assert checksum == hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    assert set(values) == set(asdict(FULL))
    assert values["format"] == FORMAT == 8


CHANGES: list[Any] = [
    pytest.param(lambda values: values.update(rows=13), id="a number"),
    pytest.param(lambda values: values.update(new=1), id="a new key"),
    pytest.param(lambda values: values.pop("notes"), id="a key that is missing"),
    pytest.param(lambda values: values["pace"].update(per_s=5.0), id="a number within"),
    pytest.param(lambda values: values.update(sha256="0" * 64), id="the checksum"),
    pytest.param(lambda values: values.pop("sha256"), id="no checksum"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_damage_is_noticed(change: Any, tmp_path: Path) -> None:
    values = json.loads(FULL.to_json())
    change(values)
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(PlanError, match="the manifest is damaged") as caught:
        read_manifest(tmp_path)
    assert (caught.value.where, caught.value.fix) == (str(tmp_path), "make the plan again")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}"])
def test_what_is_no_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(PlanError):
        read_manifest(tmp_path)


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"manifest\.json is missing"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("form", "readable"),
    [
        (2, False),
        (3, True),
        (4, True),
        (5, True),
        (6, True),
        (7, True),
        (8, True),
        (9, False),
        ("4", False),
        (None, False),
    ],
)
def test_formats(form: Any, readable: bool, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_text(replace(manifest(), format=form).to_json())
    if readable:
        assert read_manifest(tmp_path).format == form
    else:
        with pytest.raises(PlanError, match=f"the plan has format {form}; this version reads 3 to 8") as caught:
            read_manifest(tmp_path)
        assert caught.value.fix == "write the plan again with `sender plan`"


def test_a_plan_of_an_earlier_version_lacks_what_it_did_not_know() -> None:
    values = json.loads(manifest(format=3).to_json())
    del values["sha256"]
    for name in ("per_person", "edition", "identity", "retry_of", "suppression", "feasibility", "pool", "templates"):
        del values[name]
    values["sha256"] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    assert Manifest.from_json(values) == manifest(format=3)


@pytest.mark.parametrize(
    ("changed", "units", "per_s", "expected_s"),
    [
        pytest.param({}, 20, 4.0, 5.0, id="segments"),
        pytest.param({"pace": replace(PACE, unit="messages")}, 10, 4.0, 2.5, id="messages"),
        pytest.param({"pace": replace(PACE, per_s=None)}, 20, None, None, id="unlimited"),
        pytest.param({"feasibility": {"expected_s": 8.0}}, 20, 4.0, 8.0, id="an estimate of its own"),
        pytest.param({"feasibility": {"expected_s": 8.0, "bound_by": A}}, 20, 2.5, 8.0, id="one number holds it up"),
        pytest.param({"feasibility": {"expected_s": 0.0, "bound_by": A}}, 20, 4.0, 0.0, id="in no time"),
        pytest.param({"feasibility": {"expected_s": None, "bound_by": None}}, 20, 4.0, None, id="nothing limits it"),
        pytest.param({"messages": 0, "segments": 0}, 0, 4.0, 0.0, id="nothing to send"),
    ],
)
def test_its_pace(changed: dict[str, Any], units: int, per_s: float | None, expected_s: float | None) -> None:
    value = manifest(**changed)
    assert (value.units, value.per_s, value.expected_s) == (units, per_s, expected_s)


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        pytest.param(None, ["people.csv", "deeper/offer.j2"], id="unknown"),
        pytest.param(
            "campaigns/offer.yaml",
            ["campaigns/people.csv", "campaigns/deeper/offer.j2", "people.csv", "deeper/offer.j2"],
            id="beside the campaign, or here",
        ),
    ],
)
def test_where_its_inputs_may_be(source: str | None, paths: list[str]) -> None:
    assert [path.as_posix() for path in manifest().input_paths(source)] == paths


def test_its_pool() -> None:
    assert manifest().sender_pool() is None
    pool = FULL.sender_pool()
    assert pool is not None
    assert len(pool) == 2
    assert pool.order("+12025550123")[0] in (A, B)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        pytest.param({}, [A, None], id="the row's number"),
        pytest.param({"fields": {"messaging_service_sid": "MG1"}}, [A, "MG1"], id="or the service"),
        pytest.param(
            {"fields": {"messaging_service_sid": "MG1"}, "templates": {"messaging_service_sid": "{{ s }}"}},
            [A, "MG2"],
            id="or the row's own service",
        ),
    ],
)
def test_the_sender_that_is_shown(changed: dict[str, Any], shown: list[str | None]) -> None:
    rows = pl.DataFrame(
        {"from_number": [A, None], "fields": [None, '{"messaging_service_sid": "MG2"}']},
        schema={"from_number": pl.String, "fields": pl.String},
    )
    value = manifest(**changed)
    assert rows.select(sender_shown(value).alias("shown"))["shown"].to_list() == shown
    assert value.service == changed.get("fields", {}).get("messaging_service_sid")
