"""The links of a plan: whose secret makes them, and what a plan's table of links has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sender import build_plan, load_campaign
from sender.core.errors import CampaignError, InputError
from sender.plan.plan import Plan
from sender.planning.link_maker import NO_SECRET, LinkMaker
from sender.planning.recipient_links import check_links, links_to_manifest, list_links, read_secret

BASE = "https://go.example.com/"
ADA, BOB = "+12025550101", "+12025550102"
MESSAGE = """{{ name }}: {{ link("https://example.com/sale") }} {{ link("https://example.com/p?q=a b" | replace(" ", "+") ~ name) }}"""
COLUMNS = ["token", "link", "url", "row_number", "seq", "to"]


def plan(state: Path | None, message: str = MESSAGE, *, test_to: str | None = None, **keys: Any) -> Plan:
    rows = [{"phone": "12", "name": "x"}, {"phone": ADA, "name": "Ada"}, {"phone": BOB, "name": "Bob"}]
    given: dict[str, Any] = {"name": "t", "provider": "sandbox", "from_": "+12025550100", "recipients": rows}
    links = {"base": BASE, "domains": ["example.com"]}
    campaign = load_campaign(message=message, **{**given, "links": links, **keys})
    return build_plan(campaign, state_dir=state, test_to=test_to)


class TestTheSecret:
    def test_it_is_the_states_own_and_stays(self, tmp_path: Path) -> None:
        secret = read_secret(tmp_path / "a", test=False)
        assert read_secret(tmp_path / "a", test=False) == secret
        assert len({secret, read_secret(tmp_path / "b", test=False), NO_SECRET}) == 3
        assert len(secret) == 32

    def test_tests_have_another(self, tmp_path: Path) -> None:
        real = read_secret(tmp_path, test=False)
        test = read_secret(tmp_path, test=True)
        assert read_secret(tmp_path, test=True) == test
        assert len({real, test, NO_SECRET}) == 3

    def test_a_test_makes_no_key(self, tmp_path: Path) -> None:
        assert read_secret(tmp_path / "new", test=True) == NO_SECRET
        assert not (tmp_path / "new").exists()
        assert read_secret(None, test=True) == NO_SECRET

    def test_what_is_sent_needs_a_state(self) -> None:
        with pytest.raises(InputError, match="need the state directory") as caught:
            read_secret(None, test=False)
        assert "state_dir=" in str(caught.value.fix)


class TestAPlanForATest:
    def test_its_links_are_no_recipient_s(self, tmp_path: Path) -> None:
        """Also where it goes to the number of one: who tries the link has not clicked for her."""
        real, test = (list_links(plan(tmp_path, test_to=to), BASE).filter(to=ADA) for to in (None, ADA))
        assert test["url"].to_list() == real["url"].to_list()
        assert not {*test["token"]} & {*real["token"]}
        assert list_links(plan(tmp_path, test_to=ADA), BASE).equals(test), "those of one state stay the same"

    def test_it_needs_no_state_and_makes_none(self, tmp_path: Path) -> None:
        without = list_links(plan(None, test_to=ADA), BASE)
        assert without["to"].unique().to_list() == [ADA]
        assert list_links(plan(tmp_path / "new", test_to=ADA), BASE).equals(without)
        assert not (tmp_path / "new").exists()
        with pytest.raises(InputError, match="need the state directory"):
            plan(None)


class TestTheTable:
    def test_it_has_each_link_of_each_message_in_file_order(self, tmp_path: Path) -> None:
        made = plan(tmp_path)
        listed = list_links(made, BASE)
        assert listed.columns == COLUMNS
        assert listed.select("url", "row_number", "seq", "to").rows() == [
            ("https://example.com/sale", 2, 0, ADA),
            ("https://example.com/p?q=a+bAda", 2, 0, ADA),
            ("https://example.com/sale", 3, 1, BOB),
            ("https://example.com/p?q=a+bBob", 3, 1, BOB),
        ]
        assert listed["token"].str.len_chars().to_list() == [8] * 4
        assert listed["link"].to_list() == [f"{BASE}{token}" for token in listed["token"]]
        ada, bob = made.messages["body"]
        assert ada == f"Ada: {listed['link'][0]} {listed['link'][1]}"
        assert bob == f"Bob: {listed['link'][2]} {listed['link'][3]}"

    def test_a_plan_of_a_run_has_its_rows_in_another_order(self, tmp_path: Path) -> None:
        made = plan(tmp_path)
        run = Plan(made.manifest, made.frame.sort("row_number", descending=True))
        assert list_links(run, BASE).equals(list_links(made, BASE))

    @pytest.mark.parametrize("older", [False, True], ids=["without links", "of an older version"])
    def test_a_plan_without_links_has_an_empty_table_of_the_same_columns(self, older: bool, tmp_path: Path) -> None:
        made = plan(tmp_path, message="Hi {{ name }}", links=None)
        without = Plan(made.manifest, made.frame.drop("links")) if older else made
        listed = list_links(without, BASE)
        assert listed.is_empty()
        assert dict(listed.schema) == dict(list_links(plan(tmp_path), BASE).schema)


class TestWhatAPlanKeeps:
    def test_how_its_links_were_made_and_not_the_secret(self, tmp_path: Path) -> None:
        assert plan(tmp_path).manifest.links == {"base": BASE, "domains": ["example.com"], "length": 8}
        assert plan(tmp_path, message="Hi", links=None).manifest.links is None
        assert links_to_manifest(None) is None

    def test_two_links_with_one_token_are_refused(self, tmp_path: Path) -> None:
        made = plan(tmp_path)
        maker = LinkMaker("t", BASE, ("example.com",), 8)
        check_links(made, maker)
        check_links(made, None)
        same = pl.when(pl.col("links").is_not_null()).then(
            pl.col("links").list.eval(pl.lit("x" * 8) + pl.element().str.slice(8))
        )
        with pytest.raises(CampaignError, match="the same token of 8 characters") as caught:
            check_links(Plan(made.manifest, made.frame.with_columns(links=same)), maker)
        assert caught.value.where == "links.length"

    def test_the_same_link_twice_in_a_text_is_one(self, tmp_path: Path) -> None:
        call = """{{ link("https://example.com/") }}"""
        listed = list_links(plan(tmp_path, message=f"{call} {call}"), BASE)
        assert listed["token"].n_unique() == 2
        assert listed.height == 4
