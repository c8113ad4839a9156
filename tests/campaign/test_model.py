"""The campaign file: what it may say, and what is said when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import polars as pl
import pytest

from sender.campaign import safe_yaml
from sender.campaign.json_schema import json_schema, reference
from sender.campaign.load import load_campaign
from sender.campaign.model import PROVIDERS, Campaign
from sender.campaign.values import parse_rate
from sender.core.errors import CampaignError, RecipientsError
from sender.core.folder_defaults import DEFAULTS_FILE
from sender.recipients.columns import load_recipients

ROOT = Path(__file__).parents[2]
BASE: dict[str, Any] = {
    "name": "x",
    "provider": "sandbox",
    "from": "+12025550100",
    "recipients": "people.csv",
    "message": "Hi",
}


def write(folder: Path, text: str) -> Path:
    path = folder / "offer.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "per_s", "auto"),
    [
        ("4/s", 4.0, False),
        ("240/min", 4.0, False),
        ("240/m", 4.0, False),
        ("10000/h", 10000 / 3600, False),
        ("0.5 / second", 0.5, False),
        ("90/hour", 0.025, False),
        ("7", 7.0, False),
        ("auto", None, True),
        ("AUTO", None, True),
        ("none", None, False),
    ],
)
def test_rates(text: str, per_s: float | None, auto: bool) -> None:
    rate = parse_rate(text)
    assert rate.per_s == pytest.approx(per_s) if per_s is not None else rate.per_s is None
    assert rate.auto is auto


@pytest.mark.parametrize("text", ["", "fast", "4/day", "-1/s", "0/s", "0", "nan", "inf", "4/s/s", "1e400/s"])
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


def test_a_file_is_read_with_its_name_and_folder(tmp_path: Path) -> None:
    path = write(tmp_path, "provider: sandbox\nfrom: +12025550100\nrecipients: people.csv\nmessage: Hi\n")
    campaign = load_campaign(path)
    assert campaign.name == "offer"
    assert campaign.senders == ("+12025550100",)
    assert campaign.base == tmp_path
    assert campaign.path(Path("people.csv")) == tmp_path / "people.csv"
    assert campaign.source == path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param({"recipients": "a.csv"}, {"recipients": {"file": "a.csv"}}, id="recipients-file"),
        pytest.param(
            {"recipients": [{"phone": "1"}]}, {"recipients": {"rows": [{"phone": "1"}]}}, id="recipients-rows"
        ),
        pytest.param({"message": "Hi"}, {"message": {"body": "Hi"}}, id="message-body"),
        pytest.param({"from": "+12025550100"}, {"from": ["+12025550100"]}, id="one-sender"),
        pytest.param({"from": 12025550100}, {"from": ["12025550100"]}, id="sender-as-integer"),
        pytest.param(
            {"from": "{{ store }}"}, {"from": {"numbers": [{"number": "{{ store }}"}]}}, id="sender-of-each-row"
        ),
        pytest.param(
            {"from": [{"number": "+12025550100", "weight": 3, "rate": "1/s"}, 12025550101]},
            {"from": {"numbers": [{"number": "+12025550100", "weight": 3, "rate": "1/s"}, {"number": "12025550101"}]}},
            id="pool-as-a-list",
        ),
        pytest.param({"suppress": "a.csv"}, {"suppress": ["a.csv"]}, id="one-suppression-file"),
        pytest.param(
            {"suppress": ["a.csv", {"file": "b.csv", "columns": "Phone"}]},
            {"suppress": [{"file": "a.csv"}, {"file": "b.csv", "columns": ["Phone"], "unreadable": 0}]},
            id="suppression-files",
        ),
        pytest.param({"suppress": {"file": "a.csv"}}, {"suppress": "a.csv"}, id="one-suppression-file-as-a-mapping"),
        pytest.param(
            {"message": {"body": "x", "media": "https://e.example/a"}},
            {"message": {"body": "x", "media": ["https://e.example/a"]}},
            id="one-medium",
        ),
        pytest.param({"rate": 4}, {"rate": "4"}, id="bare-rate"),
        pytest.param(
            {"recipients": {"file": "a.csv", "skip_types": "fixed_line, Premium Rate,toll-free"}},
            {"recipients": {"file": "a.csv", "skip_types": ["fixed_line", "premium_rate", "toll_free"]}},
            id="number-types-in-a-line",
        ),
        *[
            pytest.param(
                {"recipients": {"file": "a.csv", "default_region": written}},
                {"recipients": {"file": "a.csv", "default_region": region}},
                id=f"region-{written}",
            )
            for written, region in (("gb", "GB"), ("UK", "GB"), ("DEU", "DE"), ("Germany", "DE"), ("+49", "DE"))
        ],
        pytest.param({"max_price": 0.05}, {"max_price": "0.05"}, id="price-as-number"),
    ],
)
def test_short_forms(given: dict[str, Any], meant: dict[str, Any]) -> None:
    assert load_campaign({**BASE, **given}).model_dump() == load_campaign({**BASE, **meant}).model_dump()


@pytest.mark.parametrize(
    ("text", "line", "key", "what", "fix"),
    [
        pytest.param("providr: twilio", 5, "providr", "unknown key", "did you mean `provider`?", id="typo"),
        pytest.param("provider: twillio", 5, "provider", "'telnyx' or 'twilio'", "did you mean `twilio`?", id="provider-typo"),
        pytest.param("zzz: 1", 5, "zzz", "unknown key", "docs/campaign.md lists all keys", id="unknown"),
        pytest.param("recipients: {file: a.csv, sheat: b}", 5, "recipients.sheat", "unknown key", "did you mean `sheet`?", id="nested-typo"),
        pytest.param("concurrency: many", 5, "concurrency", "should be a whole number", "write a whole number", id="not-a-number"),
        pytest.param("send_as_mms: perhaps", 5, "send_as_mms", "should be true or false", "write true or false", id="not-a-boolean"),
        pytest.param("rate: fast", 5, "rate", "'fast' is not a rate", None, id="rate"),
        pytest.param("message: {body: a, template: b}", 5, "message", "both `template` and `body`", None, id="two-bodies"),
        pytest.param("message:\n  media:\n    - x\n    - [y]", 8, "message.media.1", "should be text", "write text", id="list-in-a-list"),
        pytest.param("dedupe: yes", 5, "dedupe", "'first', 'last' or 'none'", None, id="choice"),
        pytest.param("status_callback: example.com/x", 5, "status_callback", "not an http or https URL", None, id="url"),
        pytest.param("validity_period: 0", 5, "validity_period", "greater than or equal to 1", None, id="range"),
        pytest.param("recipients: {file: a.csv, default_region: Narnia}", 5, "recipients.default_region", "two letters", None, id="region"),
        pytest.param("recipients: {file: a.csv, default_region: ZZ}", 5, "recipients.default_region", "'ZZ' is not a country", None, id="two-letters-no-region"),
        pytest.param("recipients: {file: a.csv, default_region: Congo}", 5, "recipients.default_region", "may mean CD or CG", None, id="two-regions"),
        pytest.param("recipients: {file: a.csv, caution: perhaps}", 5, "recipients.caution", "should be true or false", None, id="caution"),
        pytest.param("recipients: {file: a.csv, skip_types: [satellite]}", 5, "recipients.skip_types.0", "'fixed_line', 'mobile'", "choose one of fixed_line, mobile,", id="number-type"),
        pytest.param("recipients: {file: a.csv, skip_types: [fixed_lines]}", 5, "recipients.skip_types.0", "'fixed_line', 'mobile'", "did you mean `fixed_line`?", id="number-type-near"),
        pytest.param("recipients: {file: a.csv, skip_types: {a: 1}}", 5, "recipients.skip_types", "should be a list", None, id="number-types"),
        pytest.param("name: 'a/b'", 5, "name", "has characters", "leave out /", id="name-is-a-path"),
        pytest.param("listen: {zzz: 1}", 5, "listen.zzz", "unknown key", "known here: ", id="unknown-among-few"),
        pytest.param("concurrency: 0", 5, "concurrency", "should be greater than", "write a number", id="no-words-of-a-library"),
        pytest.param("z" * 900 + ": 1", 5, "z" * 200 + "... (900 characters)", "unknown key", "docs/campaign.md", id="long-key"),
        pytest.param("rate: " + "9" * 5000, 5, "rate", "... (5,", None, id="long-value"),
        pytest.param("from: {number: 1}", 5, "from.number", "unknown key", "did you mean `numbers`?", id="from-is-no-such-mapping"),
        pytest.param("from: [{number: '+12025550101', wieght: 2}]", 5, "from.0.wieght", "unknown key", "did you mean `weight`?", id="typo-in-a-pool"),
        pytest.param("from: {numbers: ['+12025550101', '+12025550101']}", 5, "from", "is listed twice", None, id="number-twice"),
        pytest.param("from: {numbers: ['+12025550101'], match: city}", 5, "from.match", "'area_code' or 'country'", None, id="match"),
        pytest.param("from: {numbers: [{number: '+12025550101', weight: 0}]}", 5, "from.numbers.0.weight", "greater than or equal to 0.01", None, id="no-weight"),
        pytest.param("from: {numbers: [{number: '+12025550101', rate: fast}]}", 5, "from.numbers.0.rate", "'fast' is not a rate", None, id="rate-of-a-number"),
        pytest.param("timeout_s: soon", 5, "timeout_s", "should be a number", "write a number", id="seconds"),
    ],
)  # fmt: skip
def test_errors_name_file_line_key_and_fix(
    tmp_path: Path, text: str, line: int, key: str, what: str, fix: str | None
) -> None:
    lines = ["provider: sandbox", "from: '+12025550100'", "recipients: people.csv", "message: Hi"]
    section = text.partition(":")[0]
    kept = [one if not one.startswith(f"{section}:") else "# " + one for one in lines]
    path = write(tmp_path, "\n".join([*kept, text, ""]))
    with pytest.raises(CampaignError) as caught:
        load_campaign(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (line, key)
    assert what in problem.what
    assert (problem.fix or "").startswith(fix or "")
    assert str(path) in str(caught.value)
    assert f"line {line}" in str(caught.value)


def test_all_problems_are_told_at_once_in_file_order(tmp_path: Path) -> None:
    path = write(tmp_path, "provider: pigeon\nrate: fast\nrecipients: a.csv\nconcurrency: 0\n")
    with pytest.raises(CampaignError) as caught:
        load_campaign(path)
    assert [problem.line for problem in caught.value.problems] == [1, 2, 4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "the file is empty", id="empty"),
        pytest.param("- a\n", "not a campaign: it must be a mapping", id="list"),
        pytest.param("a: [", "not valid YAML", id="syntax"),
        pytest.param("provider: sandbox\n", "no recipients", id="nothing-but-a-provider"),
        pytest.param("recipients: a.csv\n", "key `provider`: is missing", id="no-provider"),
        pytest.param("a: 1\na: 2\n", "line 2, key `a`: the key is repeated", id="duplicate"),
    ],
)
def test_what_is_no_campaign(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(CampaignError) as caught:
        load_campaign(write(tmp_path, text))
    told = str(caught.value)
    assert says in told or (text == "provider: sandbox\n" and "key `recipients`: is missing" in told)


def test_a_missing_file_and_bad_encoding(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="there is no such file"):
        load_campaign(tmp_path / "nothing.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: Zoë\n".encode("latin-1"))
    with pytest.raises(CampaignError, match="not UTF-8"):
        load_campaign(path)


@pytest.mark.parametrize(
    "frame", [pl.DataFrame({"phone": ["1"]}), pd.DataFrame({"phone": ["1"]})], ids=["polars", "pandas"]
)
def test_recipients_may_be_a_frame(frame: Any) -> None:
    campaign = load_campaign(recipients=frame, provider="sandbox", from_="+12025550100", message="Hi", name="f")
    assert campaign.frame is frame
    assert campaign.name == "f"
    assert campaign.senders == ("+12025550100",)


def test_a_frame_keeps_the_settings_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "provider: sandbox\nrecipients: {file: a.csv, default_region: US}\nmessage: Hi\n")
    campaign = load_campaign(path, recipients=pl.DataFrame({"phone": ["1"]}))
    assert campaign.recipients.default_region == "US"
    assert campaign.recipients.file is None


def test_keys_go_over_the_file_one_by_one(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "provider: sandbox\nrecipients: {file: a.csv, sheet: S}\nmessage: {template: t.j2, max_segments: 2}\nsuppress: one.csv\n",
    )
    campaign = load_campaign(path, message={"body": "Hi"}, recipients={"default_region": "US"}, suppress=["two.csv"])
    assert (campaign.message.body, campaign.message.template, campaign.message.max_segments) == (
        "Hi",
        None,
        2,
    )
    assert (campaign.recipients.sheet, campaign.recipients.default_region) == ("S", "US")
    assert [str(entry.file) for entry in campaign.suppress] == ["one.csv", "two.csv"]


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        pytest.param({"message": "Hi \udcff"}, "message", "is not text", id="a body in Latin-1, as a shell passes it on"),
        pytest.param({"message": {"template": "\udcff.j2"}}, "message.template", "is not text", id="a name in Latin-1"),
        pytest.param({"recipients": "a\0b"}, "recipients", "is not the name of a file", id="a NUL in a name"),
        pytest.param({"suppress": "a\0b"}, "suppress", "is not the name of a file", id="of a suppression file"),
        pytest.param({"prices": "a\0b"}, "prices", "is not the name of a file", id="of prices"),
        pytest.param({"message": {"max_segments": 10**20}}, "message.max_segments", "less than or equal", id="too many segments"),
        pytest.param({"attempt": 10**20, "provider": "twilio"}, "attempt", "less than or equal", id="too many attempts"),
    ],
)  # fmt: skip
def test_values_that_no_campaign_has_are_errors_and_no_faults(keys: dict[str, Any], key: str, says: str) -> None:
    given = {"name": "t", "provider": "sandbox", "from": "+12025550150", "recipients": "people.csv", "message": "Hi"}
    with pytest.raises(CampaignError) as caught:
        load_campaign({**given, **keys})
    (problem,) = caught.value.problems
    assert (problem.key or "").startswith(key)
    assert says in problem.what


def test_a_name_of_an_encoding_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("phone\n+12025550101\n")
    recipients = {"file": "people.csv", "encoding": "utf\0-8"}
    campaign = load_campaign(name="t", provider="sandbox", recipients=recipients, message="Hi", base=tmp_path)
    with pytest.raises(RecipientsError, match="there is no encoding"):
        load_recipients(campaign)


def test_a_campaign_is_frozen() -> None:
    campaign = load_campaign(BASE)
    with pytest.raises(ValueError, match="frozen"):
        campaign.rate = parse_rate("1/s")


def test_provider_fields_that_are_set() -> None:
    campaign = load_campaign({**BASE, "validity_period": 60, "persistent_action": ["a"], "send_as_mms": False})
    assert campaign.fields() == {"send_as_mms": False, "validity_period": 60, "persistent_action": ["a"]}


def test_keys_of_a_pool_go_over_the_file_one_by_one(tmp_path: Path) -> None:
    path = write(tmp_path, "provider: sandbox\nfrom: ['+12025550100', '+12025550101']\nrecipients: people.csv\n")
    campaign = load_campaign(path, **{"from": {"match": "country"}})
    assert (campaign.senders, campaign.from_.match) == (("+12025550100", "+12025550101"), "country")
    assert load_campaign(path, from_="+12025550102").senders == ("+12025550102",)


@pytest.mark.parametrize(
    "fields",
    [
        {"validity_period": "{{ v }}", "send_as_mms": "{% if v %}true{% endif %}", "max_price": "{{ p }}"},
        {"content_variables": {"1": "{{ name }}"}, "persistent_action": ["{{ a }}"], "risk_check": "{{ r }}"},
    ],
)
def test_every_field_may_be_a_template_for_the_model_and_the_schema(fields: dict[str, Any]) -> None:
    assert load_campaign({**BASE, **fields}).fields() == fields
    jsonschema.Draft202012Validator(json_schema()).validate({**BASE, **fields})


@pytest.mark.parametrize(
    "senders",
    ["{{ store }}", [{"number": "+12025550100", "weight": 2.5, "rate": "1/s"}, 12025550101], {"numbers": ["+12025550100"], "match": "country"}],
)  # fmt: skip
def test_the_schema_takes_every_form_of_from(senders: Any) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate({**BASE, "from": senders})
    load_campaign({**BASE, "from": senders})


def shipped() -> list[Path]:
    return sorted(path for path in (ROOT / "campaigns").glob("*.yaml") if not path.name.startswith("prices"))


def test_at_least_three_campaigns_ship() -> None:
    assert len(shipped()) >= 3


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_campaigns_satisfy_the_published_schema(path: Path) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(safe_yaml.load(path.read_text(encoding="utf-8")).value | _typed(path))


def _typed(path: Path) -> dict[str, Any]:
    """What an editor's YAML parser makes of the scalars that are not text in the schema."""
    import yaml

    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


def test_the_published_schema_is_the_models() -> None:
    published = json.loads((ROOT / "docs" / "campaign.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "write it anew: python -m tests.docs.generate"
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.parametrize(
    "bad",
    [
        {"providr": "x"},
        {"provider": "pigeon"},
        {"concurrency": "many"},
        {"recipients": 5},
        {"message": {"bdy": "x"}},
    ],
    ids=["unknown-key", "provider", "type", "recipients", "nested"],
)
def test_the_schema_refuses_what_the_model_refuses(bad: dict[str, Any]) -> None:
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid({**BASE, **bad})
    with pytest.raises(CampaignError):
        load_campaign({**BASE, **bad})


def test_every_key_is_in_the_reference() -> None:
    told = (ROOT / "docs" / "campaign.md").read_text(encoding="utf-8")
    assert reference() in told, "write it anew: python -m tests.docs.generate"
    for name, info in Campaign.model_fields.items():
        assert info.description, name


def test_the_providers_are_the_designs() -> None:
    assert set(PROVIDERS) == {"sandbox", "signalwire", "signalwire-compat", "telnyx", "twilio"}


def test_opt_out_words_of_a_folder_and_of_a_campaign_add_up(tmp_path: Path) -> None:
    """No STOP is missed because a campaign has words of its own."""
    (tmp_path / DEFAULTS_FILE).write_text('[listen]\nport = 8100\nopt_out_words = ["FERMA"]\n')
    for own, words in (
        ("", ("FERMA",)),
        ("listen: {port: 8101}", ("FERMA",)),
        ("listen: {opt_out_words: [basta]}", ("FERMA", "basta")),
    ):
        text = f"provider: sandbox\nfrom: '+12025550100'\nrecipients: {{file: people.csv}}\nmessage: Hi\n{own}\n"
        file = write(tmp_path, text)
        assert load_campaign(file, defaults=tmp_path / DEFAULTS_FILE).listen.opt_out_words == words
