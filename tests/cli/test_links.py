"""Links of one's own: a token for each person and address, and what comes back by it."""

from __future__ import annotations

import re

import polars as pl
import pytest

import sender as library
from sender.core.errors import InputError
from sender.planning.recipient_links import LinkMaker
from sender.templating.link_calls import BEGIN, END, mark_links
from tests.cli.conftest import Shell
from tests.cli.test_approval import FAST

CAMPAIGN = """\
name: spring
provider: sandbox
from: "+12025550100"
rate: none
recipients: people.csv
links: {base: "https://go.example.com", domains: [example.com]}
message: '{{ name }}: {{ link("https://shop.example.com/sale") }} and {{ link("https://example.com/p?sku=" ~ sku) }}'
"""
LINK = re.compile(r"https://go\.example\.com/([A-Za-z0-9]{8})(?![A-Za-z0-9])")


@pytest.fixture
def spring(sender: Shell) -> Shell:
    sender.write("people.csv", "name,sku,phone\nAda,1,+12025550120\nBo,2,+12025550121\nCy,1,+12025550122\n")
    sender.write("spring.yaml", CAMPAIGN)
    return sender


def bodies(shell: Shell, *args: str) -> list[str]:
    done = shell("plan", "spring.yaml", *args, "--json")
    assert done.code == 0, done
    return library.Plan.open(shell.folder / done.json["directory"]).messages["body"].to_list()


class TestTokens:
    def test_each_person_and_address_has_its_own_and_keeps_it(self, spring: Shell) -> None:
        texts = bodies(spring)
        tokens = [LINK.findall(text) for text in texts]
        assert [len(pair) for pair in tokens] == [2, 2, 2]
        assert len({token for pair in tokens for token in pair}) == 6
        assert bodies(spring) == texts
        spring.write("people.csv", "name,sku,phone\nCy,1,+12025550122\nNew,9,+12025550123\n")
        assert bodies(spring)[0] == texts[2]  # whoever else is on the list
        spring.write("other.yaml", CAMPAIGN.replace("name: spring", "name: autumn"))
        assert LINK.findall(spring("preview", "other.yaml", "--limit", "1").out) != LINK.findall(texts[2])

    def test_another_state_makes_other_ones(self, spring: Shell) -> None:
        assert set(LINK.findall("".join(bodies(spring)))).isdisjoint(
            LINK.findall("".join(bodies(spring, "--state", "elsewhere")))
        )

    def test_length_and_segments_are_those_of_the_text_that_is_sent(self, spring: Shell) -> None:
        done = spring("plan", "spring.yaml", "--set", "links.length=12", "--json").json
        rows = library.Plan.open(spring.folder / done["directory"]).messages
        assert rows["segments"].to_list() == [1, 1, 1]
        fixed = 2 * len("https://go.example.com/" + "x" * 12) + len(":  and ")
        assert rows["body"].str.len_chars().to_list() == [fixed + len(name) for name in ("Ada", "Bo", "Cy")]

    def test_a_collision_is_refused(self, spring: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(LinkMaker, "token", lambda self, number, url: "x" * self.length)
        done = spring("plan", "spring.yaml")
        assert done.code == 2, done
        assert "two links would have the same token of 8 characters" in done.err

    def test_a_test_message_has_links_that_are_nobodys(self, spring: Shell) -> None:
        real = set(LINK.findall("".join(bodies(spring))))
        sent = spring("send", "spring.yaml", "--test-to", "+12025550142", "--with-body", *FAST)
        assert sent.code == 0, sent
        assert set(LINK.findall(spring.results()["body"][0])).isdisjoint(real)

    def test_python_names_the_state(self, spring: Shell) -> None:
        campaign = library.load_campaign(spring.folder / "spring.yaml")
        with pytest.raises(InputError, match="state_dir="):
            library.build_plan(campaign)
        plan = library.build_plan(campaign, state_dir=spring.folder / ".sender")
        assert plan.messages["body"].to_list() == bodies(spring)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("message", "sentence"),
        [
            ('{{ link("https://evil.example/") }}', "leads to evil.example, which is not below example.com"),
            ('{{ link("https://notexample.com/") }}', "leads to notexample.com"),
            ('{{ link("https://example.com@evil.example/") }}', "which is not below example.com"),
            ('{{ link("example.com/sale") }}', "needs an address that begins with https://"),
            ('{{ link("https://example.com/") | truncate(9) }}', "a filter has shortened a link"),
            ("{{ link(url) }}", "there is no column `url`"),
            ("{{ link( }}", "unexpected"),
        ],
    )
    def test_an_address(self, spring: Shell, message: str, sentence: str) -> None:
        spring.write("spring.yaml", re.sub(r"message: .*", lambda _: f"message: '{message}'", CAMPAIGN))
        done = spring("plan", "spring.yaml")
        text = " ".join((done.out + done.err).split())
        assert sentence in text, done
        assert done.code == 2 or "0 messages" in text or "messages 0" in text

    def test_an_address_of_one_row(self, spring: Shell) -> None:
        spring.write(
            "people.csv",
            "name,url,phone\nAda,https://example.com/1,+12025550120\nBo,http://evil.example,+12025550121\n",
        )
        spring.write("spring.yaml", re.sub(r"message: .*", "message: '{{ link(url) }}'", CAMPAIGN))
        done = spring("plan", "spring.yaml", "--json")
        assert done.json["skipped"] == {"render_error": 1}
        assert done.json["messages"] == 1

    @pytest.mark.parametrize(
        ("links", "sentence"),
        [
            ("", "link() is not set up"),
            ('links: {base: "https://go.example.com/?a=1", domains: [example.com]}', "links.base"),
            ('links: {base: "go.example.com", domains: [example.com]}', "links.base"),
            ('links: {base: "https://go.example.com/", domains: []}', "links.domains"),
            ('links: {base: "https://go.example.com/", domains: ["https://example.com"]}', "is not a domain"),
            ('links: {base: "https://go.example.com/", domains: [example.com], length: 3}', "links.length"),
            ("links: {domains: [example.com]}", "links.base"),
        ],
    )
    def test_the_key(self, spring: Shell, links: str, sentence: str) -> None:
        spring.write("spring.yaml", re.sub(r"links: .*", links, CAMPAIGN))
        done = spring("plan", "spring.yaml")
        assert done.code == 2, done
        assert sentence in done.err

    def test_a_column_called_link_stays_a_column(self, spring: Shell) -> None:
        spring.write("people.csv", "name,link,phone\nAda,https://a.example/1,+12025550120\n")
        text = re.sub(r"links: .*\n", "", CAMPAIGN)
        spring.write("spring.yaml", re.sub(r"message: .*", "message: 'Hi {{ link }}, {{ name }}'", text))
        assert bodies(spring) == ["Hi https://a.example/1, Ada"]


class TestWhatComesBack:
    def test_clicks_are_outcomes_by_token(self, spring: Shell) -> None:
        assert spring("send", "spring.yaml", *FAST).code == 0
        listed = spring("links", "spring", "--output", "links.csv")
        assert listed.code == 0, listed
        table = pl.read_csv(spring.folder / "links.csv", infer_schema=False)
        assert table.columns == ["token", "link", "url", "row_number", "seq", "to", "run_id"]
        assert sorted({number.lstrip("'") for number in table["to"]}) == [f"+1202555012{n}" for n in range(3)]
        assert table.height == 6
        assert set(table["url"]) == {
            "https://shop.example.com/sale",
            "https://example.com/p?sku=1",
            "https://example.com/p?sku=2",
        }
        assert spring("links", "spring").out.splitlines()[0].startswith("token,link,url,")
        clicks = [table["token"][0], f"{table['link'][2]}?utm=x", "nobody12"]
        spring.write("clicks.csv", "token\n" + "\n".join(clicks) + "\n")
        done = spring("outcomes", "import", "clicks.csv", "--json")
        assert done.code == 1, done
        assert (done.json["new"], [each["row_number"] for each in done.json["problems"]]) == (2, [4])
        assert spring("outcomes", "import", "clicks.csv").out.splitlines()[0].endswith("2 counted, 0 new")
        (file,) = (spring.folder / ".sender").glob("runs/*/outcomes.parquet")
        outcomes = pl.read_parquet(file)
        assert outcomes.select("row_number", "event").rows() == [(2, "click"), (3, "click")]

    def test_an_erased_person_has_no_links(self, spring: Shell) -> None:
        spring("send", "spring.yaml", *FAST)
        token = LINK.findall(bodies(spring)[0])[0]
        assert spring("forget", "+12025550120", "--yes").code == 0
        assert token not in spring("links", "spring").out
        assert len(spring("links", "spring").out.splitlines()) == 5
        spring.write("clicks.csv", f"token\n{token}\n")
        assert spring("outcomes", "import", "clicks.csv").code == 1

    def test_a_retry_and_a_resumed_run_have_the_same_links(self, spring: Shell) -> None:
        spring("send", "spring.yaml", "--limit", "1", "--with-body", *FAST)
        assert spring("send", "spring.yaml", "--with-body", *FAST).code == 0
        assert spring.results()["body"].to_list() == bodies(spring)

    def test_a_run_without_links(self, spring: Shell) -> None:
        spring.write("spring.yaml", re.sub(r"message: .*", "message: Hi", re.sub(r"links: .*\n", "", CAMPAIGN)))
        spring("send", "spring.yaml", *FAST)
        done = spring("links", "spring")
        assert done.code == 2, done
        assert "has no links" in done.err


@pytest.mark.parametrize(
    ("source", "marked"),
    [
        ('{{ link("a") }}', f'{{{{ ("{BEGIN}" ~ ("a") ~ "{END}") }}}}'),
        ("{{ link(f(1, [2])) | upper }}", f'{{{{ ("{BEGIN}" ~ (f(1, [2])) ~ "{END}") | upper }}}}'),
        ('{{ link(link("a")) }}', f'{{{{ ("{BEGIN}" ~ (("{BEGIN}" ~ ("a") ~ "{END}")) ~ "{END}") }}}}'),
        ("{{ row.link('a') }} {{ x | link('a') }} link('a') {# link('a') #}", None),
        ("{% raw %}{{ link('a') }}{% endraw %}", None),
        ("{{ link }}", None),
    ],
)
def test_which_calls_are_links(source: str, marked: str | None) -> None:
    assert mark_links(source, where="here") == (marked or source)
