"""The links of texts: made for each person and address, and none that leads elsewhere."""

from __future__ import annotations

import polars as pl
import pytest

from sender.planning.link_maker import LinkMaker
from sender.templating.link_calls import BEGIN, END

ADA, BOB = "+12025550101", "+12025550102"
SALE, NEWS = "https://shop.example.com/sale", "https://example.com/news?a=1"
MAKER = LinkMaker("spring", "https://go.example.com/", ("example.com",), 8, bytes(range(32)))
ELSEWHERE = "link() leads to evil.example, which is not below example.com (links.domains)"
Row = tuple[str | None, str | None, str | None, str | None]


def mark(url: str) -> str:
    return f"{BEGIN}{url}{END}"


def fill(*rows: Row, maker: LinkMaker = MAKER) -> pl.DataFrame:
    """`rows` have a text, a reason, a detail and a number."""
    names = ("text", "reason", "detail", "to")
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(names, pl.String), orient="row")
    filled = maker.fill(frame.select(names[:3]), frame["to"])
    texts = dict.fromkeys(names[:3], pl.String())
    assert dict(filled.schema) == {**texts, "links": pl.List(pl.String())}
    assert filled.height == len(rows)
    return filled


def test_each_mark_becomes_the_persons_link() -> None:
    sale, news = MAKER.token(ADA, SALE), MAKER.token(ADA, NEWS)
    filled = fill((f"Hi: {mark(SALE)}, {mark(NEWS)}.", None, None, ADA), ("Hi", None, None, BOB))
    assert filled.rows() == [
        (
            f"Hi: https://go.example.com/{sale}, https://go.example.com/{news}.",
            *(None, None, [f"{sale} {SALE}", f"{news} {NEWS}"]),
        ),
        ("Hi", None, None, None),
    ]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param((None, "render_error", "`name` is blank", ADA), id="a row without a text"),
        pytest.param((None, "invalid_number", "too short", None), id="a row without a text or a number"),
        pytest.param((f"Hi {mark(SALE)}", "invalid_number", "too short", None), id="a row without a number"),
    ],
)
def test_a_row_that_gets_no_message_stays_as_it_is(row: Row) -> None:
    assert fill(row).rows() == [(*row[:3], None)]


def test_no_rows_have_no_links() -> None:
    assert fill().is_empty()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(mark("https://evil.example/"), ELSEWHERE, id="elsewhere"),
        pytest.param(f"{mark(SALE)} {mark('https://evil.example/')}", ELSEWHERE, id="one of two"),
        pytest.param(mark("https://example.com.evil.example/"), "link() leads to example.com.evil.example, which is not below example.com (links.domains)", id="below another domain"),
        pytest.param(mark("sale"), "link() needs an address that begins with https://, and got 'sale'", id="no address"),
        pytest.param(mark("https://[example.com/"), "link() got an address that is not one: 'https://[example.com/'", id="half an address"),
        pytest.param(mark(SALE)[:9], "a filter has shortened a link: apply no such filter to link()", id="shortened"),
    ],
)  # fmt: skip
def test_a_link_that_may_not_be_holds_its_row_and_no_other(text: str, why: str) -> None:
    filled = fill((text, None, None, ADA), (mark(SALE), None, None, BOB))
    assert filled.rows()[0] == (None, "render_error", why, None)
    assert filled["links"].to_list()[1] == [f"{MAKER.token(BOB, SALE)} {SALE}"]


def test_a_token_is_of_one_person_address_campaign_and_state() -> None:
    others = [
        MAKER.token(BOB, SALE),
        MAKER.token(ADA, NEWS),
        LinkMaker("autumn", MAKER.base, MAKER.domains, 8, MAKER.secret).token(ADA, SALE),
        LinkMaker("spring", MAKER.base, MAKER.domains, 8, bytes(range(1, 33))).token(ADA, SALE),
    ]
    assert len({MAKER.token(ADA, SALE), *others}) == 5
    longer = LinkMaker("spring", MAKER.base, MAKER.domains, 12, MAKER.secret).token(ADA, SALE)
    assert (longer[:8], len(longer)) == (MAKER.token(ADA, SALE), 12)
    assert longer.isalnum()
