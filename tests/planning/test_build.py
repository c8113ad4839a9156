"""The plan: every input row in it, each with a message or a reason, and the same inputs with the same hash."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import phonenumbers
import polars as pl
import pytest

from sender import build_plan, load_campaign
from sender.campaign.values import NumberType
from sender.core.errors import InputError, PlanError, RecipientsError, TemplateError, Unsupported
from sender.phone.cell import EXPONENT_REPAIR, MARK_REPAIR, SHORT_CODE, TAIL_REPAIR
from sender.phone.numbering import NUMBER_TYPES
from sender.plan import plan as plan_module
from sender.plan.message_reader import MessageReader
from sender.plan.plan import PLAN_SCHEMA, Plan

ROOT = Path(__file__).parents[2]
FROM = "+12025550100"


def plan(rows: list[dict[str, Any]], *, limit: int | None = None, test_to: str | None = None, **keys: Any) -> Plan:
    given = {
        "provider": "sandbox",
        "from_": FROM,
        "message": "Hi {{ name }}",
        "name": "t",
        "recipients": {"rows": rows, "default_region": "US"},
    }
    return build_plan(load_campaign(**{**given, **keys}), limit=limit, test_to=test_to)


ADA = {"phone": "202-555-0101", "name": "Ada"}
GRACE = {"phone": "202-555-0102", "name": "Grace"}


@pytest.mark.parametrize(
    ("rows", "keys", "reasons"),
    [
        pytest.param([ADA, GRACE], {}, [None, None], id="both"),
        pytest.param([ADA, {**ADA, "name": "Again"}], {}, [None, "duplicate"], id="duplicate"),
        pytest.param([ADA, {**ADA, "name": "Again"}], {"dedupe": "last"}, ["duplicate", None], id="keep-the-last"),
        pytest.param([ADA, {**ADA, "name": "Again"}], {"dedupe": "none"}, [None, None], id="keep-all"),
        pytest.param([ADA, {"phone": "1234", "name": "x"}], {}, [None, "invalid_number"], id="invalid"),
        pytest.param([ADA, {"phone": "", "name": "x"}], {}, [None, "missing_data"], id="no-number"),
        pytest.param([ADA, {**GRACE, "name": ""}], {}, [None, "render_error"], id="blank-name"),
        pytest.param([ADA, GRACE], {"message": "{{ name if name == 'Ada' else '' }}"}, [None, "missing_data"], id="empty-text"),
        pytest.param([ADA, GRACE], {"message": {"body": "{{ name * 40 }}", "max_segments": 1}}, [None, "too_long"], id="max-segments"),
        pytest.param([ADA, GRACE], {"message": "{{ name * 401 }}"}, [None, "too_long"], id="longer-than-the-provider-takes"),
        pytest.param([ADA, {**GRACE, "u": "ftp://x"}], {"message": {"body": "Hi", "media": "{{ u | default('') }}"}}, [None, "render_error"], id="bad-media-url"),
        pytest.param([{**ADA, "from": FROM}, {**GRACE, "from": "bad from!!"}], {"from_": ()}, [None, "missing_data"], id="each-rows-own-sender"),
        pytest.param([{**ADA, "from": FROM}, {**GRACE, "from": ""}], {"from_": ()}, [None, "missing_data"], id="a-row-without-sender"),
        pytest.param([{"phone": "988", "name": "Line"}, ADA], {}, [None, None], id="988-where-it-is-taken"),
        pytest.param([{"phone": "988", "name": "Line"}, ADA], {"sandbox": {"dialect": "twilio"}}, ["invalid_number", None], id="988-where-it-is-not"),
    ],
)  # fmt: skip
def test_who_gets_a_message_and_who_not(
    rows: list[dict[str, Any]], keys: dict[str, Any], reasons: list[str | None]
) -> None:
    made = plan(rows, **keys)
    assert made.frame["reason"].to_list() == reasons
    assert made.manifest.rows == len(rows)
    assert made.manifest.messages == reasons.count(None)
    assert made.frame["seq"].drop_nulls().to_list() == list(range(reasons.count(None)))
    assert made.skipped["detail"].null_count() == 0


def test_types_that_get_nothing() -> None:
    """Fixed lines as `landline`, other types as `suppressed`; and before lists and duplicates are looked at."""
    rows = [
        {"phone": "+44 20 7946 0123", "name": "fixed"},
        {"phone": "+44 909 879 0123", "name": "premium"},
        {"phone": "+44 7400 123456", "name": "mobile"},
        {"phone": "+1 202 555 0101", "name": "either"},
        {"phone": "+44 20 7946 0123", "name": "fixed again"},
    ]
    keys: dict[str, Any] = {"recipients": {"rows": rows, "skip_types": ["fixed_line", "premium_rate"]}}
    made = plan(rows, **keys)
    assert made.frame["reason"].to_list() == ["landline", "suppressed", None, None, "landline"]
    assert made.frame["detail"][1] == "a premium_rate number, a type that recipients.skip_types leaves out"
    assert made.manifest.numbers["skip_types"] == ["fixed_line", "premium_rate"]
    assert made.manifest.skipped == {"landline": 2, "suppressed": 1}
    allowed: dict[str, Any] = {"recipients": {"rows": rows, "allow_types": ["premium_rate"]}}
    assert plan(rows, **allowed).frame["reason"].to_list() == [None, None, None, None, "duplicate"]


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        pytest.param("+1 800 555 0100", "toll_free", "toll-free", id="toll-free"),
        pytest.param("+44 808 157 0123", "toll_free", "toll-free", id="freephone of a country"),
        pytest.param("+800 1234 5678", "toll_free", "toll-free", id="universal freephone"),
        pytest.param("+44 909 879 0123", "premium_rate", "premium-rate", id="premium rate"),
        pytest.param("+979 1234 56789", "premium_rate", "premium-rate", id="international premium rate"),
        pytest.param("+49 180 5012345", "shared_cost", "shared-cost", id="shared cost"),
        pytest.param("+808 1234 5678", "shared_cost", "shared-cost", id="international shared cost"),
        pytest.param("+44 55 1234 5678", "uan", "universal access", id="a company's number"),
        pytest.param("+49 177 99 1234567", "voicemail", "voicemail", id="voicemail"),
    ],
)
def test_numbers_of_services_are_held_unless_they_are_allowed(number: str, kind: str, said: str) -> None:
    rows = [{"phone": number, "name": "A"}, {"phone": "+12025550101", "name": "B"}]
    held = plan(rows)
    assert held.frame["number_type"][0] == kind
    assert held.frame["reason"].to_list() == ["suppressed", None]
    assert f"is a {said} number, not a person's phone" in held.frame["detail"][0]
    assert f"set `recipients.allow_types: {kind}`" in held.frame["detail"][0]
    allowed = plan(rows, recipients={"rows": rows, "allow_types": kind.replace("_", "-")})
    assert allowed.frame["reason"].to_list() == [None, None]
    assert kind not in allowed.manifest.numbers["held_types"]


def test_a_type_cannot_be_left_out_and_allowed() -> None:
    rows = [{"phone": "+12025550101"}]
    with pytest.raises(InputError, match="in both `allow_types` and `skip_types`"):
        plan(rows, recipients={"rows": rows, "allow_types": "uan", "skip_types": "uan"})


def test_the_types_a_campaign_can_name_are_those_numbers_have() -> None:
    assert set(get_args(NumberType)) == {*NUMBER_TYPES.values(), SHORT_CODE}


REPAIRED = [
    {"phone": "2025550101.0", "name": "Ada"},
    {"phone": "'+12025550102", "name": "Grace"},
    {"phone": "2025550103.0", "name": "Hedy"},
    {"phone": "1.2025550101E10", "name": "Ada again"},
    {"phone": "2.0255501E+09", "name": "lost"},
]


def test_repairs_are_kept_with_their_rows_and_counted(tmp_path: Path) -> None:
    made = plan(REPAIRED)
    assert made.messages["to"].to_list() == ["+12025550101", "+12025550102", "+12025550103"]
    assert made.frame["repair"].null_count() == 1
    assert made.manifest.numbers["repairs"] == [
        {"repair": TAIL_REPAIR, "rows": 2, "row_number": 1, "cell": "2025550101.0", "to": "+12025550101"},
        {"repair": MARK_REPAIR, "rows": 1, "row_number": 2, "cell": "'+12025550102", "to": "+12025550102"},
        {"repair": EXPONENT_REPAIR, "rows": 1, "row_number": 4, "cell": "1.2025550101E10", "to": "+12025550101"},
    ]
    written = made.write(tmp_path / "p")
    assert Plan.open(tmp_path / "p").manifest.numbers == written.manifest.numbers == made.manifest.numbers


def test_a_repair_does_not_change_what_is_sent() -> None:
    """Nor the hash: what the message holds is the same."""
    mended, plain = REPAIRED[0], {"phone": "2025550101", "name": "Ada"}
    assert [plan([one]).messages.row(0)[:8] for one in (mended, plain)] == [plan([plain]).messages.row(0)[:8]] * 2
    assert plan([plain]).frame["repair"].to_list() == [None]
    assert plan([plain]).manifest.numbers["repairs"] == []


def test_caution_can_be_switched_off() -> None:
    """Then it is libphonenumber's word alone, for recipients and suppression lists alike."""
    rows = [
        {"phone": "4915123456789", "name": "no plus"},
        {"phone": "2024-01-15", "name": "date"},
        {"phone": "1713920001.0", "name": "float"},
        {"phone": "030 1234567 x12", "name": "extension"},
    ]
    careful = {"rows": rows, "default_region": "DE"}
    assert plan(rows, recipients=careful).messages.height == 0
    made = plan(rows, recipients={**careful, "caution": False})
    expected = []
    for row in rows:
        number = phonenumbers.parse(row["phone"], "DE")
        assert phonenumbers.is_valid_number(number)
        expected.append(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    assert made.frame["to"].to_list() == expected
    assert made.frame["repair"].null_count() == len(rows)
    assert made.manifest.numbers == {
        "caution": False,
        "skip_types": [],
        "held_types": ["toll_free", "premium_rate", "shared_cost", "uan", "voicemail"],
        "repairs": [],
    }


def test_the_frame_is_what_the_schema_says() -> None:
    made = plan([ADA, GRACE])
    assert dict(zip(made.frame.columns, made.frame.dtypes, strict=True)) == {
        **PLAN_SCHEMA,
        "recipient": pl.Struct({"phone": pl.String, "name": pl.String}),
    }
    assert made.messages.select("row_number", "to", "from_number", "body", "encoding", "segments").rows() == [
        (1, "+12025550101", FROM, "Hi Ada", "GSM-7", 1),
        (2, "+12025550102", FROM, "Hi Grace", "GSM-7", 1),
    ]


def test_media_and_mms() -> None:
    rows = [{**ADA, "u": "https://e.example/a.png"}, {**GRACE, "u": ""}]
    made = plan(rows, message={"body": "é" * 200, "media": ["{{ u | default('') }}", "https://e.example/b.png"]})
    assert made.messages["media"].to_list() == [
        ["https://e.example/a.png", "https://e.example/b.png"],
        ["https://e.example/b.png"],
    ]
    assert (made.manifest.mms, made.manifest.segments) == (2, 2)


def test_media_from_a_column() -> None:
    made = plan(
        [{**ADA, "media_urls": "https://e.example/a.png, https://e.example/b.png"}, {**GRACE, "media_urls": ""}]
    )
    assert made.messages["media"].to_list() == [["https://e.example/a.png", "https://e.example/b.png"], []]
    assert made.manifest.mms == 1


def test_a_pool_gives_each_recipient_the_same_number_every_time() -> None:
    pool = [f"+1202555016{n}" for n in range(4)]
    rows = [{"phone": f"+1{area}55501{n:02}", "name": "x"} for area in (202, 212, 213, 214) for n in range(50)]
    first = plan(rows, from_=pool)
    backwards = plan(rows[::-1], from_=pool[:])
    by_number = dict(zip(first.messages["to"], first.messages["from_number"], strict=True))
    assert by_number == dict(zip(backwards.messages["to"], backwards.messages["from_number"], strict=True))
    shares = first.messages["from_number"].value_counts()["count"]
    assert shares.len() == 4
    assert shares.min() > 200 / 4 / 2, "each number carries a fair share"


def test_suppression(tmp_path: Path) -> None:
    (tmp_path / "stop.csv").write_text("number\n(202) 555-0101\nnobody\n")
    made = plan([ADA, GRACE], suppress=[{"file": "stop.csv", "unreadable": 1}], base=tmp_path)
    assert made.frame["reason"].to_list() == ["suppressed", None]
    assert "stop.csv" in made.frame["detail"][0]
    [note] = made.manifest.notes
    assert note.startswith(
        "stop.csv: 1 row holds a number that cannot be read, as `unreadable` allows: row 3, `number`:"
    )
    with pytest.raises(RecipientsError, match=r"(?s)1 row has a cell that is not a number.*`nobody`.*`unreadable: 1`"):
        plan([ADA, GRACE], suppress=["stop.csv"], base=tmp_path)


@pytest.mark.parametrize("at_once", [1, 2, 5, 6, 1_000_000])
def test_a_suppression_file_is_read_in_parts_and_counts_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("sender.suppression.number_list._AT_ONCE", at_once)
    monkeypatch.setattr("sender.recipients.readers.table.BLOCK_ROWS", 2)
    (tmp_path / "stop.csv").write_text("number\nx\n202-555-0101\ny y\nnobody\nz\n202-555-0102\n")
    people = [ADA, GRACE, {"phone": "202-555-0103", "name": "Joan"}, {"phone": "x", "name": "X"}]
    made = plan(people, suppress={"file": "stop.csv", "unreadable": 4}, base=tmp_path)
    assert made.frame["reason"].to_list() == ["suppressed", "suppressed", None, "invalid_number"]
    [note] = made.manifest.notes
    assert note.startswith("stop.csv: 4 rows hold a number that cannot be read")
    with pytest.raises(RecipientsError, match="4 rows have cells that are not numbers"):
        plan(people, suppress={"file": "stop.csv", "unreadable": 3}, base=tmp_path)
    (tmp_path / "stop.csv").write_text("number\n")
    assert plan(people, suppress=["stop.csv"], base=tmp_path).manifest.notes == ()


def test_a_suppressed_row_is_called_that_whatever_else_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "stop.csv").write_text("number\n+12025550101\n")
    rows = [{**ADA, "name": ""}, ADA, {"phone": "+12025550101", "name": "x" * 400}, GRACE]
    keys = {"message": {"body": "Hi {{ name }}", "max_segments": 1}, "suppress": ["stop.csv"], "base": tmp_path}
    assert plan(rows, **keys).frame["reason"].to_list() == ["suppressed"] * 3 + [None]


def test_a_suppression_file_is_no_part_of_what_a_plan_is_recognised_by(tmp_path: Path) -> None:
    """A number added to it must not make a sent plan look unsent, or stop a resume."""
    plans = []
    for listed in ("", "+12025550101\n", "+12025550101\n+12025550102\n+12025550199\n"):
        (tmp_path / "stop.csv").write_text(listed)
        plans.append(plan([ADA, GRACE, ADA], suppress=["stop.csv"], base=tmp_path))
    plans.append(plan([ADA, GRACE, ADA]))
    quoted = {
        "message": {"body": "Hi ’{{ name }}’", "smart_encoding": True},
        "suppress": ["stop.csv"],
        "base": tmp_path,
    }
    assert plan([ADA, GRACE], **quoted).manifest.replacements == (), "nobody gets it"
    assert [made.manifest.messages for made in plans] == [2, 1, 0, 2]
    assert len({made.identity for made in plans}) == 1
    limited = [plan([ADA, GRACE, ADA], limit=1), None]
    (tmp_path / "stop.csv").write_text("+12025550101\n")
    limited[1] = plan([ADA, GRACE, ADA], suppress=["stop.csv"], base=tmp_path, limit=1)
    assert limited[0].identity == limited[1].identity


@pytest.mark.parametrize("at_once", [1, 2, 3, 1_000_000])
def test_numbers_and_their_regions_are_read_in_parts_and_stay_with_their_rows(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("sender.planning.recipient_numbers._NUMBERS_AT_ONCE", at_once)
    monkeypatch.setattr("sender.recipients.readers.cells.BLOCK_ROWS", 2)
    rows = [
        {"phone": "202-555-0101", "country": "US", "name": "Ada"},
        {"phone": "020 7946 0101", "country": "GB", "name": "Beth"},
        {"phone": "416-555-0103", "country": "CA", "name": "Cy"},
        {"phone": "020 7946 0104", "country": "US", "name": "Dan"},
        {"phone": "202-555-0105", "country": "US", "name": "Eve"},
    ]
    made = plan([], recipients={"rows": rows, "region_column": "country"})
    assert made.frame["to"].to_list() == ["+12025550101", "+442079460101", "+14165550103", None, "+12025550105"]
    assert made.frame["reason"].to_list() == [None, None, None, "invalid_number", None]


def test_suppression_before_dedupe_and_dedupe_over_valid_rows_only() -> None:
    made = plan([{"phone": "202 555 01", "name": "Bad"}, {**ADA, "phone": "+1 (202) 555-0101"}, ADA])
    assert made.frame["reason"].to_list() == ["invalid_number", None, "duplicate"]
    assert "row 2" in made.frame["detail"][2]


def test_the_same_inputs_give_the_same_files(tmp_path: Path) -> None:
    first, second = (plan([ADA, GRACE]).write(tmp_path / name) for name in ("a", "b"))
    assert first.hash == second.hash
    for name in ("plan.parquet", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"message": "Hello {{ name }}"},
        {"from_": "+12025550109"},
        {"provider": "twilio"},
        {"status_callback": "https://e.example/x"},
        {"dedupe": "last", "recipients": {"rows": [ADA, ADA], "default_region": "US"}},
    ],
    ids=["text", "sender", "provider", "field", "rows"],
)
def test_what_changes_the_hash(changed: dict[str, Any]) -> None:
    assert plan([ADA, GRACE], **changed).hash != plan([ADA, GRACE]).hash


def test_the_pace_does_not_change_the_hash() -> None:
    assert plan([ADA], rate="1/s", concurrency=3, retries=0).hash == plan([ADA]).hash


@pytest.mark.parametrize(
    ("keys", "per_s", "unit"),
    [
        pytest.param({"provider": "signalwire"}, 4.0, "segments", id="signalwire-10dlc"),
        pytest.param({"provider": "signalwire", "from_": "+18445550100"}, 3.0, "segments", id="signalwire-toll-free"),
        pytest.param({"provider": "signalwire", "from_": "12345"}, 10.0, "segments", id="signalwire-short-code"),
        pytest.param({"provider": "signalwire", "from_": [FROM, "+18445550100"]}, 3.0, "segments", id="a-pool-goes-as-its-slowest"),
        pytest.param({"provider": "twilio"}, 1.0, None, id="twilio-long-code"),
        pytest.param({"provider": "signalwire", "rate": "120/min"}, 2.0, "segments", id="given"),
        pytest.param({"provider": "twilio", "rate": "none"}, None, None, id="unlimited"),
    ],
)  # fmt: skip
def test_the_pace(keys: dict[str, Any], per_s: float | None, unit: str | None) -> None:
    pace = plan([ADA], **keys).manifest.pace
    assert pace.per_s == per_s
    assert unit is None or pace.unit == unit


def test_how_long_it_takes() -> None:
    made = plan([ADA, GRACE], message="é" * 100 + "{{ name }}" + "ф", rate="2/s")
    assert made.manifest.segments == 4
    assert made.manifest.expected_s == 2.0


def test_limit_and_test_to() -> None:
    assert plan([ADA, GRACE], limit=1).frame["reason"].to_list() == [None, "limit"]
    made = plan([ADA, GRACE], test_to="(212) 555-0177")
    assert made.messages.select("to", "body").rows() == [("+12125550177", "Hi Ada")]
    assert made.manifest.test_to == "(212) 555-0177"
    assert made.hash != plan([ADA, GRACE], limit=1).hash
    with pytest.raises(InputError, match="--test-to 12"):
        plan([ADA], test_to="12")


@pytest.mark.parametrize(
    ("keys", "error", "says"),
    [
        pytest.param({"message": "Hi {{ nmae }}"}, TemplateError, "nmae", id="unknown-column"),
        pytest.param({"message": "{{ row['Nmae'] }}"}, TemplateError, "Nmae", id="unknown-header"),
        pytest.param({"message": {"body": "x", "media": "{{ url }}"}}, TemplateError, "url", id="unknown-column-in-media"),
        pytest.param({"message": "Hi {{"}, TemplateError, "line 1", id="syntax"),
        pytest.param({"message": {"template": "no.j2"}}, TemplateError, "no.j2", id="no-file"),
        pytest.param({"message": {}}, InputError, "has no message", id="no-body"),
        pytest.param({"from_": ()}, Unsupported, "no sender", id="no-sender"),
        pytest.param({"subject": "x"}, Unsupported, "subject", id="field-not-carried"),
        pytest.param({"message": {"body": "x", "media": ["https://e.example/a"] * 9}}, Unsupported, "media", id="too-many-media"),
        pytest.param({"from_": ["MG" + "0" * 32, FROM]}, InputError, "service id", id="service-in-a-pool"),
        pytest.param({"subject": "Hi {{ name }}"}, Unsupported, "subject", id="template-in-a-field-not-carried"),
        pytest.param({"provider": "twilio", "validity_period": "{{ nmae }}"}, TemplateError, "validity_period, line 1: there is no column `nmae`", id="unknown-column-in-a-field"),
        pytest.param({"provider": "twilio", "validity_period": "{{ name"}, TemplateError, "validity_period, line 1", id="broken-template-in-a-field"),
        pytest.param({"provider": "twilio", "validity_period": "{{ name }}", "content_sid": "x"}, Unsupported, "content_sid", id="wrong-field-beside-a-template"),
        pytest.param({"custom_variables": {"ref": "{{ name }}"}}, Unsupported, "`ref` is reserved", id="name-of-a-templated-variable"),
        pytest.param({"custom_variables": {"{{ name }}": "x", "a": "{{ name }}"}}, InputError, "a name cannot be a template", id="template-in-a-name"),
        pytest.param({"from_": ["{{ name }}", FROM]}, InputError, "mixes a template", id="template-in-a-pool"),
        pytest.param({"from_": "{{ nmae }}"}, TemplateError, "from, line 1: there is no column `nmae`", id="unknown-column-in-from"),
        pytest.param({"provider": "twilio", "content_sid": "HX" + "0" * 32}, Unsupported, "content_sid", id="content-and-body"),
        pytest.param({"recipients": {"file": "no.csv"}}, InputError, "no.csv", id="no-recipients-file"),
        pytest.param({"suppress": "no.csv"}, InputError, "no.csv", id="no-suppression-file"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_every_row_stops_the_plan(keys: dict[str, Any], error: type[InputError], says: str) -> None:
    with pytest.raises(error) as caught:
        plan([ADA], **keys)
    assert says in str(caught.value)


def test_a_content_template_needs_no_body() -> None:
    made = plan([ADA], provider="twilio", content_sid="HX" + "0" * 32, message={})
    assert made.frame["reason"].to_list() == [None]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param("subject: x", "offer.yaml, line 5, key `subject`", id="field"),
        pytest.param("from: ACME", "offer.yaml, line 5, key `from`", id="sender"),
        pytest.param("message: 'Hi {{ nmae }}'", "offer.yaml, line 5, key `message", id="template"),
    ],
)
def test_what_the_campaign_file_says_wrong_is_told_with_its_line(tmp_path: Path, text: str, place: str) -> None:
    lines = ["provider: sandbox", "from: '+12025550100'", "recipients: [{phone: '+12025550101'}]", "message: Hi"]
    kept = [one if not one.startswith(text.partition(":")[0] + ":") else "# " + one for one in lines]
    path = tmp_path / "offer.yaml"
    path.write_text("\n".join([*kept, text, ""]))
    with pytest.raises(InputError) as caught:
        build_plan(load_campaign(path))
    assert place in str(caught.value)


def test_a_plan_on_disk_is_the_plan(tmp_path: Path) -> None:
    made = plan([ADA, {"phone": "1", "name": "x"}, GRACE])
    written = made.write(tmp_path / "p")
    opened = Plan.open(tmp_path / "p")
    assert opened.frame.equals(made.frame)
    assert opened.manifest == written.manifest
    assert dataclasses.replace(opened.manifest, parquet_sha256=None) == made.manifest


@pytest.mark.parametrize("name", ["plan.parquet", "manifest.json"])
def test_a_plan_with_a_missing_file(tmp_path: Path, name: str) -> None:
    plan([ADA]).write(tmp_path / "p")
    (tmp_path / "p" / name).unlink()
    with pytest.raises(PlanError, match="is missing"):
        Plan.open(tmp_path / "p")


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        pytest.param("plan.parquet", lambda raw: raw[:-1], "is damaged", id="cut"),
        pytest.param("plan.parquet", lambda raw: raw[:50] + bytes([raw[50] ^ 1]) + raw[51:], "is damaged", id="flipped-bit"),
        pytest.param("manifest.json", lambda raw: raw[:-20], "manifest is damaged", id="manifest-cut"),
        pytest.param("manifest.json", lambda raw: b"[]", "manifest is damaged", id="not-a-manifest"),
        pytest.param("manifest.json", lambda raw: json.dumps({**json.loads(raw), "format": 99}).encode(), "format 99", id="newer"),
        pytest.param("manifest.json", lambda raw: json.dumps({**json.loads(raw), "extra": 1}).encode(), "manifest is damaged", id="unknown-key"),
    ],
)  # fmt: skip
def test_a_damaged_plan_is_refused(tmp_path: Path, name: str, damage: Any, says: str) -> None:
    plan([ADA]).write(tmp_path / "p")
    file = tmp_path / "p" / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(PlanError, match=says):
        Plan.open(tmp_path / "p")


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 9, 10, 11], [29, 0, 15], [5], [0, 28], [7, 8, 30]])
def test_messages_are_read_by_seq_in_any_order(tmp_path: Path, order: list[int]) -> None:
    rows = [{"phone": f"+120255501{n:02}", "name": f"N{n}"} for n in range(40)]
    rows[4]["phone"] = "bad"  # so that seq is not the row
    reader = MessageReader(plan(rows).write(tmp_path / "p"), "run", block=6)
    for seqs in ([0, 1], order, [2, 3], order[::-1]):
        read = reader.read(seqs)
        assert [message.seq for message, _ in read] == seqs
        for message, count in read:
            number = message.seq if message.seq < 4 else message.seq + 1
            assert (message.body, message.to, message.ref, count) == (
                f"Hi N{number}",
                f"+120255501{number:02}",
                f"run.{message.seq}",
                1,
            )


def test_the_public_names_are_there() -> None:
    import sender

    for name in sender.__all__:
        assert getattr(sender, name) is not None
    assert set(sender.__all__) <= set(dir(sender))
    with pytest.raises(AttributeError):
        _ = sender.nothing


def test_a_large_plan_leaves_memory_when_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends it may hold on to it for hours; it is the same plan all the same, whatever becomes of the file."""
    monkeypatch.setattr(plan_module, "_ROWS_IN_MEMORY", 1)
    made = plan([ADA, GRACE])
    before = made.frame
    made.write(tmp_path / "plan")
    assert not isinstance(made._rows, pl.DataFrame)
    (tmp_path / "plan" / "plan.parquet").unlink()
    assert made.frame.equals(before)
    assert made.write(tmp_path / "again").frame.equals(before)


def test_the_units_that_are_left_by_sender(tmp_path: Path) -> None:
    """Of a plan whose second row is skipped; the third message has three segments."""
    people = [
        {"phone": f"+120255501{n:02}", "from": sender} for n, sender in ((1, "A1"), (2, "A1"), (3, "B2"), (4, "A1"))
    ]
    people.insert(1, {"phone": "12", "from": "A1"})
    words = [{**one, "words": "x" * (400 if one["from"] == "B2" else 5)} for one in people]
    made = plan(words, message="{{ words }}", from_=(), provider="twilio").write(tmp_path / "p")
    reader = MessageReader(made, "run")
    assert reader.units("messages", 0) == {"A1": 3, "B2": 1}
    assert reader.units("segments", 0) == {"A1": 3, "B2": 3}
    assert reader.units("segments", 3, [1]) == {"A1": 2}
    assert reader.units("segments", 2, [0], below_seq=3) == {"A1": 1, "B2": 3}
    assert reader.units("segments", 4) == {}
