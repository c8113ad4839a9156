"""The preview: what it shows, that it fetches nothing, and that no recipient's data can become markup."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender import segments
from sender.plan.manifest import Manifest
from sender.plan.pace import Pace
from sender.plan.plan import PLAN_SCHEMA, Plan
from sender.recipients.input_file import InputFile
from sender.reports.pages import page, preview_page

VOID = {"meta", "br"}


def make_plan(rows: Sequence[Mapping[str, Any]], **changes: Any) -> Plan:
    """A plan of `rows`, measured as the planner does; `changes` replace what the manifest says."""
    full, seq = [], 0
    for index, row in enumerate(rows):
        base: dict[str, Any] = {"row_number": index + 2, "to": f"+1202555{100 + index % 100:04d}"}
        if "reason" not in row:
            body = row.get("body")
            size = segments.measure(pl.Series([body], dtype=pl.String)).row(0, named=True)
            base |= {"seq": seq, "from_number": "+12025550199", "media": [], "encoding": size["encoding"]}
            base["segments"] = 1 if row.get("media") else size["segments"]
            seq += 1
        full.append(base | dict(row))
    frame = pl.DataFrame(full, schema=PLAN_SCHEMA)
    sent, skipped = frame.filter(pl.col("seq").is_not_null()), frame.filter(pl.col("seq").is_null())
    values: dict[str, Any] = {
        "campaign": "Spring",
        "provider": "twilio",
        "dialect": "twilio",
        "senders": ("+12025550199",),
        "fields": {},
        "test_to": None,
        "rows": frame.height,
        "messages": sent.height,
        "blank_rows": 0,
        "skipped": dict(skipped["reason"].value_counts().iter_rows()),
        "segments": int(sent["segments"].sum()),
        "segment_counts": {},
        "encodings": {},
        "mms": int((sent["media"].list.len() > 0).sum()),
        "replacements": (),
        "pace": Pace("4/s", 4.0, "segments", 16, 5, 30.0),
        "sandbox": {},
        "inputs": (InputFile("recipients", "people.csv", 10, "ab" * 32),),
        "versions": {"campaign-sender": "0.1.0"},
        "plan_hash": "3f" * 32,
    }
    return Plan(Manifest(**{**values, **changes}), frame.with_columns(recipient=pl.lit(None)))


@dataclass
class Element:
    """An element of a parsed page."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def all(self, *, tag: str | None = None, cls: str | None = None, id: str | None = None) -> list[Element]:  # noqa: A002
        found = [
            child
            for child in self.children
            if isinstance(child, Element)
            and (tag is None or child.tag == tag)
            and (cls is None or cls in (child.attributes.get("class") or "").split())
            and (id is None or child.attributes.get("id") == id)
        ]
        deeper = [child.all(tag=tag, cls=cls, id=id) for child in self.children if isinstance(child, Element)]
        return found + list(itertools.chain.from_iterable(deeper))


class Parser(HTMLParser):
    """Builds the tree, and fails on a tag that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = [Element("document", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.stack[-1].children.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)


def parse(html: str) -> Element:
    parser = Parser()
    parser.feed(html)
    parser.close()
    assert [element.tag for element in parser.stack] == ["document"]
    return parser.stack[0]


def show(rows: Sequence[Mapping[str, Any]], limit: int | None = None, **changes: Any) -> Element:
    return parse(preview_page.preview_html(make_plan(rows, **changes), limit=limit))


def test_the_page_tells_what_will_happen():
    document = show(
        [{"body": "Hi"}, {"body": "x" * 161}, {"reason": "duplicate", "detail": "the same number as row 2"}],
        blank_rows=1,
    )
    assert document.all(tag="title")[0].text == "Spring: message preview"
    assert document.all(tag="h1")[0].text == "Spring"
    assert document.all(cls="lead")[0].words == (
        "3 rows in the list: 2 messages to send, 1 row skipped (1 blank row not counted). Nothing has been sent."
    )
    tiles = document.all(cls="tiles")[0]
    assert [(dt.words, dd.words) for dt, dd in zip(tiles.all(tag="dt"), tiles.all(tag="dd"), strict=True)] == [
        ("messages", "2"),
        ("segments", "3"),
        ("row skipped", "1"),
        ("to send, at 4 segments a second", "< 1 min"),
    ]
    facts = [
        (row.all(tag="dt")[0].words, row.all(tag="dd")[0].words) for row in document.all(cls="facts")[0].all(tag="div")
    ]
    assert facts == [("From", "+12025550199"), ("Provider", "Twilio")]
    foot = document.all(tag="footer")[0].words
    assert all(part in foot for part in ("3f" * 32, "people.csv", "ab" * 32, "campaign-sender 0.1.0"))


def test_a_message_is_a_bubble():
    message = show([{"body": "Hi Ana,\n\n  your voucher", "media": ["https://media.example.com/a.jpg"]}]).all(
        cls="message"
    )[0]
    assert message.attributes["id"] == "row-2"
    assert message.all(cls="top")[0].words == "+12025550100 row 2"
    media, text = message.all(cls="bubble")
    assert (media.words, text.text) == ("Media https://media.example.com/a.jpg", "Hi Ana,\n\n  your voucher")
    assert text.attributes["dir"] == "auto"
    assert [badge.words for badge in message.all(cls="badge")] == ["MMS"]


@pytest.mark.parametrize(
    ("body", "badges", "why", "marked"),
    [
        pytest.param("Hi", "1 segment GSM-7 2 of 160", None, [], id="GSM-7"),
        pytest.param("x{" * 80, "2 segments GSM-7 240 of 306", None, [], id="extension counts twice"),
        pytest.param("It’s 5 pm", "1 segment UCS-2 9 of 70", "UCS-2 because of ’", ["’"], id="curly quote"),
        pytest.param("x" * 70 + "—", "2 segments UCS-2 71 of 134", "UCS-2 because of —", ["—"], id="UCS-2, two"),
        pytest.param("a — b — c", "1 segment UCS-2 9 of 70", "UCS-2 because of —", ["—", "—"], id="named once"),
        pytest.param(
            "a\u00a0b\u200bc",
            "1 segment UCS-2 5 of 70",
            "UCS-2 because of U+00A0 no-break space U+200B zero width space",
            ["\u00a0", "\u200b"],
            id="invisible ones by name",
        ),
        pytest.param(
            "a–b—c•d…e“f”g",
            "1 segment UCS-2 13 of 70",
            "UCS-2 because of – — • … and 2 more",
            list("–—•…“”"),
            id="more than fit",
        ),
        pytest.param(
            "go " + "\N{PARTY POPPER}" * 20 + "!",
            "1 segment UCS-2 44 of 70",
            "UCS-2 because of " + "\N{PARTY POPPER}" * 12 + "…",
            ["\N{PARTY POPPER}" * 20],
            id="a long run is cut",
        ),
        pytest.param(
            "press 1\ufe0f\u20e3 or e\u0301",
            "1 segment UCS-2 15 of 70",
            "UCS-2 because of 1\ufe0f\u20e3 e\u0301",
            ["1\ufe0f\u20e3", "e\u0301"],
            id="a combining character takes its base along",
        ),
        pytest.param(
            "مرحبا ليلى", "1 segment UCS-2 10 of 70", "Its letters are outside GSM-7.", [], id="another script"
        ),
    ],
)
def test_segments_and_what_forces_ucs_2(body: str, badges: str, why: str | None, marked: list[str]):
    message = show([{"body": body}]).all(cls="message")[0]
    assert message.all(cls="badges")[0].words == badges
    assert [element.words for element in message.all(cls="why")] == ([why] if why else [])
    bubble = message.all(cls="bubble")[0]
    assert bubble.text == body
    assert [mark.text for mark in bubble.all(tag="mark")] == marked


def test_a_marked_character_is_named():
    mark = show([{"body": "It’s 🎉 ok"}]).all(cls="bubble")[0].all(tag="mark")
    assert [one.attributes["title"] for one in mark] == [
        "U+2019 right single quotation mark",
        "U+1F389 party popper",
    ]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_pieces_are_the_body_and_only_what_forces_ucs_2_is_marked(body: str):
    pieces = list(preview_page._pieces(body))
    gsm = set(segments.GSM_BASIC + segments.GSM_EXTENSION)
    assert "".join(piece.text for piece in pieces) == body
    for piece in pieces:
        if piece.forces:
            assert not gsm & set(piece.text[1:])
            assert not gsm >= set(piece.text)
        else:
            assert gsm >= set(piece.text)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</div></li></ol></main><h1>owned",
    "</style><script>alert(1)</script>",
    "<!-- ",
    "]]>",
    "{{ 7 * 7 }}{% raw %}{# x #}",
    "&lt;b&gt;&amp;",
    "javascript:alert(1)",
]


def hostile_page(text: str) -> str:
    """A page with `text` wherever text of others can stand."""
    return preview_page.preview_html(
        make_plan(
            [
                {"body": text, "to": text, "from_number": text, "media": [text]},
                {"body": text + "’ <b>\N{PARTY POPPER}", "to": text},
                {"body": "Hi"},
                {"reason": "invalid_number", "detail": text, "to": text},
                {"reason": "duplicate", "detail": text},
            ],
            campaign=text,
            senders=(text, text),
            test_to=text,
            fields={"subject": text, "send_at": text, "content_sid": text},
            numbers={
                "caution": False,
                "skip_types": ["fixed_line", text],
                "repairs": [{"repair": text, "rows": 1, "row_number": 2, "cell": text, "to": text}],
            },
            replacements=({"character": text, "replacement": text, "messages": 1},),
            inputs=(InputFile("recipients", text, 10, text),),
            versions={"campaign-sender": text},
        )
    )


def skeleton(element: Element) -> list[Any]:
    """Tags and attribute names: what a text must not be able to change."""
    return [
        (child.tag, sorted(child.attributes), skeleton(child))
        for child in element.children
        if isinstance(child, Element)
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str):
    document = parse(hostile_page(text))
    assert skeleton(document) == skeleton(parse(hostile_page("plain")))
    assert document.all(tag="h1")[0].text == text
    assert document.all(tag="li", cls="message")[0].all(cls="bubble")[1].text == text
    assert not [one for one in document.all() if any(name.startswith("on") for name in one.attributes)]


@given(st.text(st.sampled_from("<>&\"'/={}%#! \nab-"), min_size=1, max_size=40))
def test_no_text_can_become_markup(text: str):
    document = parse(hostile_page("x" + text))
    assert skeleton(document) == skeleton(parse(hostile_page("xa")))
    assert document.all(tag="li", cls="message")[0].all(cls="bubble")[1].text == "x" + text


@pytest.mark.parametrize(
    ("url", "followed"),
    [
        pytest.param("https://media.example.com/a.jpg?w=1&h=2", True, id="https"),
        pytest.param("HTTP://media.example.com/a.jpg", True, id="http"),
        pytest.param("javascript:alert(1)", False, id="javascript"),
        pytest.param(" javascript:alert(1)", False, id="javascript after a space"),
        pytest.param("data:text/html,<script>alert(1)</script>", False, id="data"),
        pytest.param("//media.example.com/a.jpg", False, id="no scheme"),
        pytest.param("http://[::1", False, id="not a URL"),
    ],
)
def test_only_web_links_can_be_followed(url: str, followed: bool):
    bubble = show([{"body": None, "media": [url]}]).all(cls="bubble")[0]
    assert [link.attributes["href"] for link in bubble.all(tag="a")] == ([url] if followed else [])
    assert bubble.words.endswith(url.strip())


def test_the_page_fetches_nothing():
    html = preview_page.preview_html(make_plan([{"body": "Hi", "media": ["https://media.example.com/a.jpg"]}]))
    document = parse(html)
    assert not {one.tag for one in document.all()} & {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "video",
        "form",
        "base",
    }
    assert not [one for one in document.all() if {"src", "srcset", "poster", "background"} & set(one.attributes)]
    assert not re.search(r"url\(|@import|@font-face", document.all(tag="style")[0].text)
    policy = [one.attributes["content"] or "" for one in document.all(tag="meta") if "http-equiv" in one.attributes]
    assert policy[0].startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_the_same_plan_gives_the_same_bytes():
    rows = [{"body": "Hi"}, {"reason": "duplicate"}, {"reason": "suppressed"}]
    assert preview_page.preview_html(make_plan(rows)) == preview_page.preview_html(make_plan(rows))


@pytest.mark.parametrize(
    ("messages", "skipped", "limit", "shown", "more"),
    [
        pytest.param(3, 2, None, (3, 2), [], id="all"),
        pytest.param(3, 0, 3, (3, 0), [], id="just all"),
        pytest.param(3, 0, 2, (2, 0), ["1 more message, not shown here."], id="one message more"),
        pytest.param(
            5, 4, 2, (2, 2), ["3 more messages, not shown here.", "2 more rows, not shown here."], id="both more"
        ),
        pytest.param(201, 0, None, (200, 0), ["1 more message, not shown here."], id="default"),
        pytest.param(0, 3, None, (0, 3), [], id="no messages"),
        pytest.param(0, 0, None, (0, 0), [], id="nothing"),
        pytest.param(3, 0, 0, (0, 0), ["3 more messages, not shown here."], id="limit of none"),
    ],
)
def test_limit(messages: int, skipped: int, limit: int | None, shown: tuple[int, int], more: list[str]):
    rows = [{"body": "Hi"}] * messages + [{"reason": "duplicate", "detail": "d"}] * skipped
    document = show(rows, limit)
    causes, listed = document.all(cls="causes"), document.all(tag="tbody")
    assert bool(causes) == (skipped > 1)  # of one row, the list of rows says it all
    rows_listed = len(listed[-1].all(tag="tr")) if len(listed) > len(causes) else 0
    assert (len(document.all(cls="message")), rows_listed) == shown
    assert [one.words.split(". ")[0].removesuffix(".") + "." for one in document.all(cls="more")] == more
    assert document.all(cls="tiles")[0].all(tag="dd")[0].text == str(messages)
    assert ("There is no message to send." in document.all(tag="main")[0].words) == (messages == 0)
    assert bool(document.all(id="skipped")) == (skipped > 0)


def test_skipped_rows_are_shown_by_cause_first():
    """Equal errors bury no other, however few rows the page lists."""
    bad = [{"reason": "invalid_number", "detail": f"`{n}` is too short"} for n in range(150)]
    rows = [{"reason": "render_error", "detail": "`name` is blank"}] * 448 + bad
    (causes,) = show(rows, 5).all(cls="causes")
    first, second = (" ".join(row.words.split()) for row in causes.all(tag="tbody")[0].all(tag="tr"))
    assert first.startswith("448 Render error `name` is blank row 2, row 3, row 4")
    assert second.startswith("150 Invalid number … is too short row 450 (`0`), row 451 (`1`), row 452 (`2`)")


def test_every_link_inside_the_page_arrives():
    """Also where the example of a chart is beyond the limit."""
    document = show([{"body": "Hi"}, {"body": "x" * 161}, {"reason": "duplicate"}], 1)
    ids = {one.attributes["id"] for one in document.all() if "id" in one.attributes}
    targets = {(one.attributes["href"] or "")[1:] for one in document.all(tag="a")}
    assert targets == {"messages", "skipped", "row-2"}
    assert targets <= ids
    assert [one.words for one in document.all(cls="chart")[0].all(cls="label")] == [
        "1 segment e.g. row 2 1",
        "2 segments e.g. row 3 1",
    ]


def test_charts_count_every_message_once():
    rows = [{"body": "a"}, {"body": "b"}, {"body": "’"}, {"body": "’", "media": ["https://media.example.com/a"]}]
    rows += [{"reason": "duplicate"}, {"reason": "suppressed"}, {"reason": "suppressed"}]
    charts = {
        chart.all(tag="h3")[0].text: [
            (label.all(tag="span")[0].words, label.all(cls="number")[0].text) for label in chart.all(cls="label")
        ]
        for chart in show(rows).all(cls="chart")
    }
    assert charts == {
        "Segments in a message": [("1 segment e.g. row 2", "4")],
        "Encoding": [("GSM-7", "2"), ("MMS", "1"), ("UCS-2", "1")],
        "Rows skipped": [("Suppressed", "2"), ("Duplicate", "1")],
    }


def test_repaired_numbers_are_counted_with_an_example():
    repairs = [
        {"repair": "dropped the decimals", "rows": 40, "row_number": 2, "cell": "2025550100.0", "to": "+12025550100"},
        {"repair": "wrote out", "rows": 1, "row_number": 9, "cell": "1.2025550101E10", "to": "+12025550101"},
    ]
    rows = [{"body": "Hi"}, {"reason": "landline", "detail": "d"}]
    chart = show(rows, numbers={"repairs": repairs, "skip_types": ["fixed_line", "pager"]}).all(cls="warn")
    assert [label.words for label in chart[0].all(cls="label")] == ["Dropped the decimals 40", "Wrote out 1"]
    assert [line.words for line in chart[0].all(cls="why")] == [
        "Row 2: 2025550100.0 read as +12025550100.",
        "Row 9: 1.2025550101E10 read as +12025550101.",
    ]
    assert [link.attributes["href"] for link in chart[0].all(tag="a")] == ["#row-2"], "row 9 is not on the page"
    assert chart[1].all(cls="why")[0].words == "Types left out: fixed line, pager."
    assert "repaired" not in show(rows).words


def test_skipped_rows_are_listed_with_their_reason():
    document = show(
        [
            {"reason": "invalid_number", "detail": "'12' is too short", "to": None},
            {"body": "Hi"},
            {"reason": "duplicate", "detail": "the same number as row 3"},
        ]
    )
    rows = [[cell.words for cell in row.children if isinstance(cell, Element)] for row in document.all(tag="tr")]
    assert rows == [
        ["Row", "Reason", "Number", "Why"],
        ["2", "Invalid number", "", "'12' is too short"],
        ["4", "Duplicate", "+12025550102", "the same number as row 3"],
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"provider": "sandbox"}, "Sandbox: a simulator takes these messages.", id="sandbox"),
        pytest.param({"provider": "sandbox"}, "Sandbox, speaking Twilio", id="sandbox's dialect"),
        pytest.param({"test_to": "+12025550111"}, "Test: every message goes to +12025550111", id="test"),
        pytest.param(
            {"numbers": {"caution": False}},
            "Caution off: numbers are read as libphonenumber reads them",
            id="no caution",
        ),
        pytest.param({"senders": ()}, "From the number in each row", id="a sender in each row"),
        pytest.param({"senders": (), "fields": {"messaging_service_sid": "MG1"}}, "From MG1", id="service"),
        pytest.param({"senders": tuple(f"+120255501{n:02}" for n in range(8))}, "+12025550105 and 2 more", id="pool"),
        pytest.param({"fields": {"subject": "Spring"}}, "Subject Spring", id="subject"),
        pytest.param({"pace": Pace("none", None, "messages", 16, 5, 30.0)}, "as fast as the provider", id="no pace"),
        pytest.param({"pace": Pace("1/s", 1.0, "messages", 16, 5, 30.0)}, "at 1 message a second", id="one"),
        pytest.param({"pace": Pace("30/min", 0.5, "messages", 16, 5, 30.0)}, "at 30 messages a minute", id="slow"),
        pytest.param(
            {"replacements": ({"character": "\u00a0", "replacement": "", "messages": 2},)},
            "U+00A0 no-break space → nothing in 2 messages.",
            id="smart encoding",
        ),
    ],
)
def test_what_the_top_of_the_page_says(changes: dict[str, Any], words: str):
    assert words in show([{"body": "Hi"}], **changes).all(tag="header")[0].words


def test_the_sender_stands_at_each_message_when_there_are_several():
    rows = [{"body": "Hi"}, {"body": "Hi", "from_number": "+12025550198"}]
    shown = show(rows, senders=("+12025550199", "+12025550198")).all(cls="message")
    assert ["from +12025550198" in message.words for message in shown] == [False, True]
    assert ["from" in message.words for message in show(rows).all(cls="message")] == [False, False]


def test_a_text_the_provider_fills_in_is_said_to_be_so():
    message = show([{"body": None}], fields={"content_sid": "HX1"}).all(cls="message")[0]
    assert message.all(cls="bubble") == []
    assert "The provider fills in the text." in message.words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        pytest.param(0, "< 1 min", id="0"),
        pytest.param(59, "< 1 min", id="59 s"),
        pytest.param(60, "1 min", id="1 min"),
        pytest.param(42 * 60 + 10, "42 min", id="42 min"),
        pytest.param(3599, "1 h", id="almost an hour"),
        pytest.param(6 * 3600 + 600, "6 h 10 min", id="6 h 10 min"),
        pytest.param(47.9 * 3600, "47 h 54 min", id="under two days"),
        pytest.param(76 * 3600, "3 d 4 h", id="3 d 4 h"),
        pytest.param(96 * 3600, "4 d", id="4 d"),
    ],
)
def test_duration(seconds: float, words: str):
    assert page.duration(seconds) == words


ROWS = [
    {
        "body": "Hi",
        "media": ["https://media.example.com/a.jpg"],
        "fields": '{"subject":"Spring"}',
        "cost_micros": 25_000,
    },
    {"reason": "duplicate", "from_number": "+12025550199"},
    {"body": "It’s", "from_number": None},
]
JSON_ROWS = [
    {
        "seq": 0,
        "row_number": 2,
        "to": "+12025550100",
        "from": "+12025550199",
        "body": "Hi",
        "media": ["https://media.example.com/a.jpg"],
        "mms": True,
        "encoding": "GSM-7",
        "segments": 1,
        "fields": {"subject": "Spring"},
        "cost": "0.025",
    },
    {
        "seq": 1,
        "row_number": 4,
        "to": "+12025550102",
        "from": "MG1",
        "body": "It’s",
        "media": [],
        "mms": False,
        "encoding": "UCS-2",
        "segments": 1,
        "fields": {},
        "cost": None,
    },
]


@pytest.mark.parametrize("written", [pytest.param(False, id="in memory"), pytest.param(True, id="written")])
@pytest.mark.parametrize("block", [1, 2, 65_536])
def test_preview_rows(written: bool, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preview_page, "_SLICE", block)
    plan = make_plan(ROWS, fields={"messaging_service_sid": "MG1"})
    rows = list(preview_page.preview_rows(plan.write(tmp_path / "plan") if written else plan))
    assert rows == JSON_ROWS
    assert [json.loads(json.dumps(row)) for row in rows] == JSON_ROWS


@pytest.mark.parametrize("limit", [None, 0, 1, 2, 9])
def test_preview_frame(limit: int | None):
    frame = preview_page.preview_frame(make_plan(ROWS, fields={"messaging_service_sid": "MG1"}), limit)
    shown = ["row_number", "to", "from", "body", "media", "fields", "mms", "encoding", "segments"]
    assert frame.columns == shown
    told = frame.with_columns(fields=pl.col("fields").fill_null("{}")).to_dicts()
    assert [{**row, "fields": json.loads(row["fields"])} for row in told] == [
        {key: row[key] for key in shown} for row in JSON_ROWS[:limit]
    ]


def test_the_page_tells_what_it_costs_and_which_characters_do():
    cost = {
        "currency": "USD",
        "total": "0.75",
        "by_region": {
            "US": {"messages": 2, "segments": 2, "cost": "0.50"},
            "GB": {"messages": 1, "segments": 1, "cost": "0.25"},
        },
        "unpriced": {"FR": 3},
        "max_cost": "0.70",
        "table": "<prices>.yaml",
    }
    one = {"character": "<", "instead": "", "messages": 2, "segments": 1}
    blame = {
        "characters": [one, {**one, "character": "’"}],
        "unlisted": 4,
        "messages": 3,
        "segments": 5,
        "other_script": 0,
    }
    page = preview_page.preview_html(make_plan(ROWS, cost=cost, blame=blame))
    assert "<dt>USD, at most 0.70</dt>" in page
    assert '<span class="number">0.25</span></div>' in page
    assert "width:33.3%" in page
    assert "&lt;prices&gt;.yaml" in page
    assert "FR 3 messages" in page
    assert "Would not be sent:</strong> 3 messages have no price" in page
    assert "&#39;&lt;&#39; (less-than sign) costs 1 segment in 2 messages: leave it out" in page
    assert "&#39;&lt;&#39; &#39;’&#39; together cost 5 segments in 3 messages" in page
    assert "and 4 more characters" in page
    plain = preview_page.preview_html(make_plan(ROWS))
    assert "Cost by country" not in plain
    assert "Characters that cost" not in plain
