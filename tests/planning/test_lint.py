"""Warnings about texts: what looks like a mistake is told with its row, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

import sender
from sender.core.errors import CampaignError
from sender.planning import lint

STOP = " Reply STOP to opt out."


def warnings(*bodies: str, message: Any = None, **keys: Any) -> dict[str, tuple[int, int, str]]:
    rows = [{"phone": f"+12025550{100 + place}", "body": body, "name": body} for place, body in enumerate(bodies)]
    campaign = sender.load_campaign(
        recipients=rows, message={} if message is None else message, provider="sandbox", from_="+12025550100", **keys
    )
    found = sender.build_plan(campaign).manifest.lint
    return {entry["rule"]: (entry["messages"], entry["row_number"], entry["warning"]) for entry in found}


@pytest.mark.parametrize(
    ("text", "rule", "shown"),
    [
        ("Hi {name}!", "unfilled", "`{name}`"), ("Hi {{name}}!", "unfilled", "`{{name}}`"),
        ("Hi {First Name}!", "unfilled", "`{First Name}`"), ("Hi ${name}", "unfilled", "`{name}`"),
        ("Hi {{ first_name }}", "unfilled", "`{{ first_name }}`"), ("Hi [First Name]", "unfilled", "`[First Name]`"),
        ("Hi [NAME]", "unfilled", "`[NAME]`"), ("Hi [[name]]", "unfilled", "`[[name]]`"),
        ("On [date]", "unfilled", "`[date]`"), ("See [insert link]", "unfilled", "`[insert link]`"),
        ("Hi %NAME%", "unfilled", "`%NAME%`"), ("Hi %first_name%", "unfilled", "`%first_name%`"),
        ("Hi *|FNAME|*", "unfilled", "`*|FNAME|*`"), ("Hi <First Name>", "unfilled", "`<First Name>`"),
        ("Hi <<name>>", "unfilled", "`<<name>>`"), ("From [Your Company]", "unfilled", "`[Your Company]`"),
        ("Hi  Ada", "blanks", "`Hi  Ada`"), ("Hi , welcome", "blanks", "`Hi ,`"), ("Dear .", "blanks", "`Dear .`"),
        ("See bit.ly/abc", "short_links", "`bit.ly`"), ("https://tinyurl.com/x", "short_links", "`tinyurl.com`"),
        ("https://www.BIT.LY/x", "short_links", "`BIT.LY`"), ("(t.co/x)", "short_links", "`t.co`"),
        ("COME TO OUR SALE TODAY", "capitals", "all capitals"), ("ПРИХОДИТЕ К НАМ СЕГОДНЯ", "capitals", "all capitals"),
    ],
)  # fmt: skip
def test_what_is_told(text: str, rule: str, shown: str) -> None:
    found = warnings("All is well here." + STOP, text, text, purpose="transactional")
    assert list(found) == [rule]
    messages, row, warning = found[rule]
    assert (messages, row) == (2, 2)
    assert warning.startswith("row 2 and 1 more: ")
    assert shown in warning


@pytest.mark.parametrize(
    "text",
    [
        "Hi Ada, welcome!", "[Acme] Your parcel is here", "Only 20% off, 5% more", "100% cotton, 50%!", "a < b > c",
        "Call (202) 555-0100", "Code: 1234", "Bonjour, ça va ?", "One.\n\nTwo.", "OK", "USA", "BBC NEWS", "5 . 5",
        "See example.com/bit.ly", "http://orbit.lying.example/x", "reset.com/x", "{}", "{1}", "😀  ", "  indented",
    ],
)  # fmt: skip
def test_what_is_not(text: str) -> None:
    assert warnings(text, purpose="transactional") == {}


@pytest.mark.parametrize(
    "text",
    [
        "Reply STOP",
        "text stop to end",
        "To unsubscribe, answer",
        "Opt-out: 1",
        "opt out",
        "Répondez ARRET",
        "Abmelden mit X",
        "responde BAJA",
    ],
)
def test_ways_to_opt_out(text: str) -> None:
    assert warnings(text) == {}


def test_a_marketing_text_without_a_way_to_opt_out() -> None:
    found = warnings("Stop by." + STOP, "Hello", "Hi")
    assert found["no_opt_out"][1] == 2
    assert found["no_opt_out"][2].startswith("row 2 and 1 more: the text does not say how to opt out")
    assert warnings("Hello", purpose="transactional") == {}
    assert "no_opt_out" in warnings("Ada", message="Nonstop fun, {{ name }}! Stop by and see.")
    assert warnings("Ada", message="Hi {{ name }}." + STOP) == {}


def test_a_template_is_looked_at_as_its_texts_are() -> None:
    found = warnings("Ada", "", message="Hi {name}, {{ name | default('') }} , %CITY%" + STOP)
    assert found["unfilled"][:2] == (2, 1)
    assert found["blanks"][:2] == (1, 1) or found["blanks"][0] == 2
    assert warnings("ADA", "BOB", message="HELLO {{ name }}, COME TO US. REPLY STOP")["capitals"][0] == 2
    assert "capitals" not in warnings("Ada", message="HELLO {{ name }}, COME TO US. REPLY STOP")


def test_skipped_rows_are_not_looked_at() -> None:
    rows = [{"phone": "12", "name": "x"}, {"phone": "+12025550101", "name": "Ada"}]
    campaign = sender.load_campaign(
        recipients=rows, message="{name} {{ name }}" + STOP, provider="sandbox", from_="+12025550100"
    )
    [entry] = sender.build_plan(campaign).manifest.lint
    assert (entry["messages"], entry["row_number"]) == (1, 2)


@pytest.mark.parametrize("off", ["off", "OFF", False, ["unfilled", "blanks", "no_opt_out", "short_links", "capitals"]])
def test_all_rules_can_be_switched_off(off: Any) -> None:
    assert warnings("Hi {name}  bit.ly/x", "COME TO OUR SALE TODAY", lint=off) == {}


@pytest.mark.parametrize("rule", ["unfilled", "blanks", "no_opt_out", "short_links", "capitals"])
def test_a_rule_can_be_switched_off(rule: str) -> None:
    texts = ("Hi {name}  there bit.ly/x", "COME TO OUR SALE TODAY")
    assert warnings(*texts, lint=rule).keys() == warnings(*texts).keys() - {rule}
    assert set(warnings(*texts, lint="on")) == set(lint._SENTENCES)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(CampaignError, match="did you mean `capitals`"):
        warnings("x", lint="capitels")
