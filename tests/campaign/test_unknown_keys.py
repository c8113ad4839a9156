"""An unknown key is answered with its place and with the keys it may stand for, in a campaign and in `sender.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sender.campaign.campaign_keys import _MEANT, CAMPAIGN_KEYS
from sender.campaign.load import load_campaign
from sender.campaign.model import Campaign
from sender.core.errors import CampaignError, InputError, SenderError
from sender.core.folder_defaults import KEYS

CAMPAIGN = "provider: sandbox\nfrom: '+12025550100'\nrecipients: people.csv\nmessage: Hi\n"


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("defualt_region: US", "defualt_region", "`recipients.default_region` or `suppress.default_region`"),
        ("body: x", "body", "`message.body`"),
        ("text: x", "text", "`message`"),
        ("Rate: 4/s", "Rate", "`rate`"),
        (
            "region: US",
            "region",
            "`recipients.default_region`, `recipients.region_column` or `suppress.default_region`",
        ),
        ("max_messages: 5", "max_messages", "`limits.max_messages`"),
        ("max_segment: 1", "max_segment", "`message.max_segments`"),
        ("messagingServiceSid: x", "messagingServiceSid", "`messaging_service_sid`"),
        ("hours: '9-10'", "hours", "`window.hours`"),
        ("timezone: UTC", "timezone", "`window.zone`"),
        ("sender: x", "sender", "`from`"),
        ("opt_outs: x.csv", "opt_outs", "`suppress`"),
        ("quiet hours: x", "quiet hours", "`window`"),
        ("suppress: [{file: a.csv, colums: x}]", "suppress.0.colums", "`columns`"),
        ("window: {hour: '9-10'}", "window.hour", "`hours`"),
        ("limits: {max_mesages: 3}", "limits.max_mesages", "`max_messages`"),
        ("listen: {prot: 3}", "listen.prot", "`port`"),
    ],
)
def test_of_a_campaign(tmp_path: Path, text: str, key: str, near: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{CAMPAIGN}{text}\n", encoding="utf-8")
    with pytest.raises(CampaignError) as caught:
        load_campaign(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key, problem.what) == (5, key, "unknown key")
    assert problem.fix == f"did you mean {near}? docs/campaign.md lists all keys"


@pytest.mark.parametrize("keys", [{"mesage": "Hi"}, {"limits": {"max_mesages": 3}}])
def test_from_python(keys: dict[str, Any]) -> None:
    with pytest.raises(CampaignError, match=r"did you mean `(message|max_messages)`"):
        load_campaign(provider="sandbox", recipients=[{"phone": "1"}], **keys)


def test_other_words_stand_for_keys_that_there_are() -> None:
    for word, key in _MEANT.items():
        *place, name = key.split(".")
        assert name in CAMPAIGN_KEYS.here(tuple(place)), word
        assert word not in Campaign.model_fields


@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        ('defualt_region = "US"', "line 1, key `defualt_region`", "did you mean `default_region`?"),
        ('regoin = "US"', "line 1, key `regoin`", "did you mean `default_region` or `region_column`?"),
        ("max_messages = 3", "line 1, key `max_messages`", "did you mean `limits.max_messages`?"),
        ('rate = "4/s"\n[limits]\nmax_mesages = 3', "line 3, key `limits.max_mesages`", "did you mean `max_messages`?"),
        ("[limits]\nqq = 3", "line 2, key `limits.qq`", "known here: max_messages, max_skipped"),
        ("foo = 1", "line 1, key `foo`", "docs/operations.md lists the keys"),
        ('[recipients]\ndefault_region = "US"', "line 1, key `recipients`", "write its keys on lines of their own"),
        ('body = "Hi"', "line 1, key `body`", "it belongs in each campaign"),
        ('format = "csv"', "line 1, key `format`", "write it below `[results]`"),
        ('token = "x"', "line 1, key `token`", "credentials are read from the environment"),
    ],
)
def test_of_a_folders_defaults(tmp_path: Path, text: str, place: str, fix: str) -> None:
    with pytest.raises(InputError) as caught:
        load_defaults(tmp_path, text)
    assert (caught.value.where or "").endswith(f"sender.toml, {place}")
    assert (caught.value.fix or "").startswith(fix)


def load_defaults(folder: Path, text: str, **keys: Any) -> Campaign:
    (folder / "sender.toml").write_text(f"{text}\n", encoding="utf-8")
    given: dict[str, Any] = {"provider": "sandbox", "recipients": "people.csv", "message": "Hi"}
    return load_campaign(defaults=folder, **{**given, **keys})


@pytest.mark.parametrize(
    ("text", "keys", "path", "value"),
    [
        pytest.param('window = "09:00-20:00"', {}, "window.hours", "09:00-20:00", id="window, short"),
        pytest.param('window = "09:00-20:00"', {"window": {"days": "mon-fri"}}, "window.hours", "09:00-20:00", id="completed"),
        pytest.param("canary = 200", {}, "canary.first", 200, id="canary, short"),
        pytest.param("[canary]\nfirst = 200\nwait = '5m'", {}, "canary.wait.seconds", 300.0, id="canary"),
        pytest.param("canary = 200", {"canary": "none"}, "canary", None, id="no canary here"),
        pytest.param('canary = "none"', {"canary": 5}, "canary.first", 5, id="a canary here"),
        pytest.param("max_segments = 2", {}, "message.max_segments", 2, id="of the message"),
        pytest.param("max_segments = 2", {"message": {"body": "x", "max_segments": 3}}, "message.max_segments", 3, id="the campaign's own"),
        pytest.param("smart_encoding = true", {}, "message.smart_encoding", True, id="a switch"),
        pytest.param('purpose = "transactional"', {}, "purpose", "transactional", id="purpose"),
        pytest.param('on_unfinished = "close"', {}, "on_unfinished", "close", id="on_unfinished"),
        pytest.param('late = "1h"', {}, "late.seconds", 3600.0, id="late"),
        pytest.param('separator = ";"', {}, "recipients.separator", ";", id="of the list"),
        pytest.param('status_callback = "https://a.example/x"', {}, "status_callback", "https://a.example/x", id="callback"),
        pytest.param('[sandbox]\ndialect = "twilio"', {}, "sandbox.dialect", "twilio", id="sandbox"),
    ],
)  # fmt: skip
def test_defaults_that_a_folder_may_have(
    tmp_path: Path, text: str, keys: dict[str, Any], path: str, value: object
) -> None:
    found: Any = load_defaults(tmp_path, text, **keys)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('max_segments = "x"', "line 1, key `max_segments`"),
        ('\ncanary = "x"', "line 2, key `canary.first`"),
        ('purpose = "spam"', "line 1, key `purpose`"),
        ('[sandbox]\ndialect = "x"', "line 2, key `sandbox.dialect`"),
        ("separator = 3", "line 1, key `separator`"),
    ],
)
def test_a_wrong_value_has_its_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(SenderError, match=place):
        load_defaults(tmp_path, text)


def test_every_key_is_in_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    section = document.partition("## A folder's defaults")[2].partition("\n## ")[0]
    assert [key for key in KEYS if f"`{key}`" not in section] == []
