"""What each recipient gets: text, media, size, sender, and the reason of a row that gets nothing. A row per rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import InputError
from sender.plan.plan import Plan
from sender.planning.compiled import compile_campaign
from sender.planning.messages import render_body
from sender.recipients.columns import load_recipients

A, B = "+12025550150", "+12125550151"
URL = "https://example.com/a.png"


def plan(
    people: list[dict[str, Any]] | pl.DataFrame, limit: int | None = None, test_to: str | None = None, **keys: Any
) -> Plan:
    settings: dict[str, Any] = {
        "provider": "sandbox",
        "from_": A,
        "message": "Hi {{ name }}",
        "name": "t",
        "rate": "none",
    }
    chosen = {name: value for name, value in {**settings, **keys}.items() if value is not None}
    campaign = sender.load_campaign(recipients=people, **chosen)
    return sender.build_plan(campaign, limit=limit, test_to=test_to)


def people(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows with distinct numbers."""
    return [{"phone": f"+12025550{100 + place}", **row} for place, row in enumerate(rows)]


def column(made: Plan, *names: str) -> list[Any]:
    rows = made.frame.select(names).rows()
    return [row[0] for row in rows] if len(names) == 1 else rows


class TestText:
    @pytest.mark.parametrize(
        ("message", "row", "body"),
        [
            pytest.param("Hi {{ name }}", {"name": "Ada"}, "Hi Ada", id="template"),
            pytest.param({"body": "Hi"}, {"name": "Ada"}, "Hi", id="a constant"),
            pytest.param("{{ name }}", {"name": " Ada "}, " Ada ", id="as it is in the list"),
        ],
    )
    def test_body(self, message: Any, row: dict[str, Any], body: str) -> None:
        assert column(plan(people(row), message=message), "body", "reason") == [(body, None)]

    @pytest.mark.parametrize("cell", ["Hi {{ name }}", "{% if %}", "Hi"])
    def test_a_body_column_is_text_and_no_template(self, cell: str) -> None:
        made = plan(people({"body": cell}), message={})
        assert column(made, "body", "reason") == [(cell, None)]

    @pytest.mark.parametrize(
        ("row", "reason", "detail"),
        [
            pytest.param({"name": ""}, "render_error", "name", id="a blank cell that the text needs"),
            pytest.param({"name": "Ada"}, None, None, id="a filled one"),
        ],
    )
    def test_what_a_text_needs(self, row: dict[str, Any], reason: str | None, detail: str | None) -> None:
        [(got, why)] = column(plan(people(row, {"name": "x"})), "reason", "detail")[:1]
        assert got == reason
        assert (why is None) if detail is None else detail in why

    @pytest.mark.parametrize(
        ("body", "media", "reason"),
        [
            pytest.param("", "", "missing_data", id="nothing"),
            pytest.param(" \n\t", "", "missing_data", id="white space"),
            pytest.param("x", "", None, id="text"),
            pytest.param("", URL, None, id="media alone"),
        ],
    )
    def test_an_empty_message_is_not_sent(self, body: str, media: str, reason: str | None) -> None:
        made = plan(people({"body": body, "media_url": media}, {"body": "x", "media_url": ""}), message={})
        [(got, why), other] = column(made, "reason", "detail")
        assert got == reason
        if reason:
            assert why == "the message would be empty: no text and no media"
        assert other == (None, None)

    def test_headers_that_would_be_patterns_are_headers(self) -> None:
        row = {"*": "star", "^n.*$": "caret", "which": "*", "name": "Ada"}
        message = '{{ row["*"] }} {{ row["^n.*$"] }} {{ row[which] }} {{ name }}'
        assert column(plan(people(row), message=message), "body") == ["star caret star Ada"]
        assert column(plan(people(row), message='{{ row["*"] }} {{ row["^n.*$"] }}'), "body") == ["star caret"]

    def test_one_row_stops_no_other(self) -> None:
        made = plan(
            people({"name": "1"}, {"name": "x"}, {"name": "3"}),
            message="{{ name | int + 1 if name != 'x' else 1 / 0 }}",
        )
        assert column(made, "seq", "reason") == [(0, None), (None, "render_error"), (1, None)]

    def test_a_row_that_is_skipped_already_is_not_rendered(self) -> None:
        """What it lacks stays unsaid: the first reason stands."""
        rows = [{"phone": "+12025550101", "name": "Ada"}, {"phone": "+12025550101", "name": ""}]
        assert column(plan(rows), "reason") == [None, "duplicate"]

    def test_without_a_template_and_a_column_there_is_no_text(self) -> None:
        campaign = sender.load_campaign(
            provider="sandbox", from_=A, message={"media": [URL]}, recipients=people({"name": "Ada"})
        )
        recipients = load_recipients(campaign)
        rendered = render_body(compile_campaign(campaign), recipients, recipients.cells)
        assert rendered.rows() == [(None, None, None)]


class TestMedia:
    @pytest.mark.parametrize(
        ("cell", "media"),
        [
            pytest.param(URL, [URL], id="one"),
            pytest.param(f" {URL} ", [URL], id="with spaces around"),
            pytest.param(f"{URL} {URL}?2", [URL, f"{URL}?2"], id="two with a space"),
            pytest.param(f"{URL}, {URL}?2", [URL, f"{URL}?2"], id="with a comma"),
            pytest.param(f"{URL};{URL}?2", [URL, f"{URL}?2"], id="with a semicolon"),
            pytest.param(f"{URL}\n{URL}?2", [URL, f"{URL}?2"], id="with a line end"),
            pytest.param("https://example.com/a,b.png", ["https://example.com/a,b.png"], id="a comma within"),
            pytest.param("HTTP://example.com/a", ["HTTP://example.com/a"], id="capitals"),
            pytest.param(
                "HTTP://a.example/1,HTTP://a.example/2",
                ["HTTP://a.example/1", "HTTP://a.example/2"],
                id="two in capitals",
            ),
            pytest.param(f"{URL}; {URL}?2;", [URL, f"{URL}?2"], id="a list that ends as it is separated"),
            pytest.param(f"{URL},", [URL], id="one with a comma behind"),
            pytest.param("", [], id="none"),
        ],
    )
    def test_a_cell(self, cell: str, media: list[str]) -> None:
        made = plan(people({"name": "Ada", "media_url": cell}))
        assert column(made, "media", "reason") == [(media, None)]

    @pytest.mark.parametrize("cell", ["a.png", "ftp://example.com/a", "https://", "https:///a", f"{URL} x"])
    def test_what_is_no_url(self, cell: str) -> None:
        [(reason, detail)] = column(plan(people({"name": "Ada", "media_url": cell})), "reason", "detail")
        assert reason == "render_error"
        assert detail == f"media is not an http or https URL: {cell}"

    def test_templates_whose_url_is_blank_are_left_out(self) -> None:
        made = plan(
            people({"name": "Ada", "pic": "x"}, {"name": "Bob", "pic": " "}),
            message={
                "body": "Hi",
                "media": [
                    "https://example.com/{{ name }}",
                    "{% if pic.strip() %}https://example.com/{{ pic }}{% endif %}",
                ],
            },
        )
        assert column(made, "media") == [
            ["https://example.com/Ada", "https://example.com/x"],
            ["https://example.com/Bob"],
        ]

    @pytest.mark.parametrize(("count", "reason"), [(10, None), (11, "too_long")])
    def test_as_many_as_the_provider_takes(self, count: int, reason: str | None) -> None:
        cell = " ".join(f"{URL}?{n}" for n in range(count))
        [(got, why)] = column(
            plan(people({"name": "Ada", "media_url": cell}), sandbox={"dialect": "twilio"}), "reason", "detail"
        )
        assert got == reason
        assert why == (None if reason is None else "11 media; Twilio takes 10")


class TestSize:
    @pytest.mark.parametrize(
        ("body", "encoding", "segments"),
        [
            pytest.param("x" * 160, "GSM-7", 1, id="a segment of GSM-7"),
            pytest.param("x" * 161, "GSM-7", 2, id="and one more"),
            pytest.param("x" * 306, "GSM-7", 2, id="two"),
            pytest.param("x" * 307, "GSM-7", 3, id="three"),
            pytest.param("\u4e16" * 70, "UCS-2", 1, id="a segment of UCS-2"),
            pytest.param("\u4e16" * 71, "UCS-2", 2, id="and one more in UCS-2"),
        ],
    )
    def test_segments(self, body: str, encoding: str, segments: int) -> None:
        made = plan(people({"body": body}), message={})
        assert column(made, "encoding", "segments") == [(encoding, segments)]

    @pytest.mark.parametrize(("most", "reason"), [(1, "too_long"), (2, None), (3, None)])
    def test_max_segments(self, most: int, reason: str | None) -> None:
        made = plan(people({"body": "x" * 161}), message={"max_segments": most})
        [(got, why)] = column(made, "reason", "detail")
        assert got == reason
        assert why == (None if reason is None else "2 segments (GSM-7); max_segments is 1")

    @pytest.mark.parametrize(("length", "reason"), [(1600, None), (1601, "too_long")])
    def test_the_providers_longest_text(self, length: int, reason: str | None) -> None:
        made = plan(people({"body": "x" * length}), message={"max_segments": 99}, sandbox={"dialect": "twilio"})
        [(got, why)] = column(made, "reason", "detail")
        assert got == reason
        assert why == (None if reason is None else "1601 characters; Twilio takes 1600")

    def test_an_mms_has_one_segment_whatever_its_text(self) -> None:
        made = plan(people({"body": "x" * 500, "media_url": URL}), message={"max_segments": 1})
        assert column(made, "segments", "reason") == [(1, None)]

    @pytest.mark.parametrize(
        ("smart", "body", "replaced"),
        [
            (True, "It's", [("\u2019", "'", 2)]),
            (False, "It\u2019s", []),
        ],
    )
    def test_look_alikes(self, smart: bool, body: str, replaced: list[tuple[str, str, int]]) -> None:
        rows = people({"body": "It\u2019s"}, {"body": "\u2019"}, {"body": "x"})
        made = plan(rows, message={"smart_encoding": smart})
        assert column(made, "body")[0] == body
        swaps = made.manifest.replacements
        assert [(row["character"], row["replacement"], row["messages"]) for row in swaps] == replaced


class TestSender:
    def test_one_number_for_all(self) -> None:
        assert column(plan(people({"name": "a"}, {"name": "b"})), "from_number") == [A, A]

    def test_a_pool(self) -> None:
        made = plan(people(*[{"name": str(n)} for n in range(40)]), from_=[A, B])
        assert set(column(made, "from_number")) == {A, B}

    @pytest.mark.parametrize(
        ("cell", "number", "reason", "says"),
        [
            pytest.param(B, B, None, None, id="a number"),
            pytest.param(f" {B} ", B, None, None, id="with spaces around"),
            pytest.param("", None, "missing_data", "no sender", id="blank"),
            pytest.param("nobody!", "nobody!", None, "is not a sender", id="no sender"),
        ],
    )
    @pytest.mark.parametrize("by", ["template", "column"])
    def test_each_rows_own(self, by: str, cell: str, number: str | None, reason: str | None, says: str | None) -> None:
        rows = people({"name": "a", "from": cell}, {"name": "b", "from": A})
        rows = [
            {("from" if by == "column" else "mine") if key == "from" else key: value for key, value in row.items()}
            for row in rows
        ]
        made = plan(rows, from_="{{ mine | default('') }}" if by == "template" else None)
        [(got, why, detail), other] = column(made, "from_number", "reason", "detail")
        assert got == number
        if cell == "nobody!":
            reason = "render_error" if by == "template" else "missing_data"
        assert why == reason
        assert says is None or says in detail
        assert other == (A, None, None)

    def test_what_the_campaign_says_goes_before_a_column(self) -> None:
        assert column(plan(people({"name": "a", "from": B})), "from_number") == [A]

    def test_a_service_picks_the_number(self) -> None:
        made = plan(people({"name": "a"}), from_="MG" + "a" * 32, sandbox={"dialect": "twilio"})
        assert column(made, "from_number", "reason") == [(None, None)]


class TestNumbering:
    @pytest.mark.parametrize(
        ("limit", "seqs", "reasons"),
        [
            pytest.param(None, [0, None, 1, 2], [None, "render_error", None, None], id="all"),
            pytest.param(0, [None] * 4, ["limit", "render_error", "limit", "limit"], id="none"),
            pytest.param(1, [0, None, None, None], [None, "render_error", "limit", "limit"], id="one"),
            pytest.param(2, [0, None, 1, None], [None, "render_error", None, "limit"], id="what is skipped does not count"),
            pytest.param(3, [0, None, 1, 2], [None, "render_error", None, None], id="as many as there are"),
            pytest.param(9, [0, None, 1, 2], [None, "render_error", None, None], id="more than there are"),
        ],
    )  # fmt: skip
    def test_seq_and_limit(self, limit: int | None, seqs: list[int | None], reasons: list[str | None]) -> None:
        made = plan(people({"name": "a"}, {"name": ""}, {"name": "c"}, {"name": "d"}), limit=limit)
        assert column(made, "seq", "reason") == list(zip(seqs, reasons, strict=True))

    def test_numbers_go_on_from_block_to_block(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from sender.recipients.readers import delimited

        monkeypatch.setattr(delimited, "BLOCK_CHARS", 60)
        rows = [f"{'' if n % 5 == 3 else n},+12025550{100 + n}" for n in range(30)]
        (tmp_path / "people.csv").write_text("name,phone\n" + "\n".join(rows) + "\n")
        settings = {"provider": "sandbox", "from_": A, "message": "Hi {{ name }}", "name": "t"}
        for limit in (None, 10):
            made = sender.build_plan(
                sender.load_campaign(recipients={"file": str(tmp_path / "people.csv")}, **settings), limit=limit
            )
            seqs = [seq for seq in column(made, "seq") if seq is not None]
            assert seqs == list(range(limit or 24))
            assert column(made, "reason").count("render_error") == 6

    def test_a_test_goes_to_one_number_with_the_text_of_the_first(self) -> None:
        made = plan(people({"name": ""}, {"name": "b"}, {"name": "c"}), test_to="+442079460123", limit=1)
        assert column(made, "to", "region", "body", "reason") == [
            ("+12025550100", "US", None, "render_error"),
            ("+442079460123", "GB", "Hi b", None),
            ("+12025550102", "US", "Hi c", "limit"),
        ]
        assert made.manifest.test_to == "+442079460123"

    def test_a_test_number_has_to_be_one(self) -> None:
        with pytest.raises(InputError):
            plan(people({"name": "a"}), test_to="nobody")


WORDS = ["#N/A", "N/A", "NULL", "null", "nan", "NaN", "None", "undefined"]
FORMS = [
    pytest.param("Hi {{ name }}", id="columns"),
    pytest.param('Hi {{ row["name"] }}', id="columns, by header"),
    pytest.param("Hi {{ name | upper }}", id="columns, filtered"),
    pytest.param("Hi {{ name | title }}", id="block"),
    pytest.param('Hi {{ row["name"] | title }}', id="block, by header"),
    pytest.param("Hi {{ row['na' ~ 'me'] }}", id="block, by the whole row"),
    pytest.param("{% block a %}Hi {{ name }}{% endblock %}", id="row"),
    pytest.param("{% block a %}Hi {{ row['na' ~ 'me'] }}{% endblock %}", id="row, by the whole row"),
    pytest.param("Hi {{ name | first_name }}", id="a filter of ours"),
]


class TestPlaceholders:
    @pytest.mark.parametrize("word", [*WORDS, " NULL ", "\tnan"])
    @pytest.mark.parametrize("body", FORMS)
    def test_a_text_that_needs_one_is_held(self, body: str, word: str) -> None:
        made = plan(people({"name": "Ada"}, {"name": word}, {"name": "Grace"}), message=body)
        assert column(made, "reason") == [None, "missing_data", None]
        detail = made.frame["detail"][1]
        assert f"holds `{word.strip()}`, which stands for a missing value" in detail
        assert "template line 1: " in detail
        assert "default(" in detail

    @pytest.mark.parametrize("word", ["Null", "Na", "NAN", "none", "NONE", "Nan", "NULLs", "Nullmann", "NaNa"])
    @pytest.mark.parametrize("body", FORMS)
    def test_other_spellings_are_names(self, body: str, word: str) -> None:
        assert column(plan(people({"name": word}), message=body), "reason") == [None]

    @pytest.mark.parametrize("word", WORDS)
    @pytest.mark.parametrize(
        "body",
        [
            'Hi {{ name | default("there") }}',
            'Hi {{ row["name"] | default("there") }}',
            'Hi {% if row["name"] is undefined %}there{% else %}{{ name }}{% endif %}',
            "Hi {% if name is defined %}{{ name }}{% else %}there{% endif %}",
            "Hi {{ row.get('name', 'there') }}",
            'Hi {{ name | first_name | default("there") }}',
            '{% block a %}Hi {{ name | default("there") }}{% endblock %}',
        ],
    )
    def test_a_default_stands_in_for_it(self, body: str, word: str) -> None:
        rows = people({"name": word}, {"name": "Ada"})
        assert column(plan(rows, message=body), "body") == ["Hi there", "Hi Ada"]

    def test_a_cell_that_no_text_uses_may_hold_one(self) -> None:
        made = plan(people({"name": "Ada", "city": "NULL"}))
        assert column(made, "reason") == [None]
        assert made.manifest.notes == ()

    def test_they_are_counted(self) -> None:
        rows = people(*({"name": name} for name in ["NULL", "nan", "NULL", "Ada"]))
        made = plan(rows, message="Hi {{ name | default('there') }}")
        [note] = made.manifest.notes
        assert note.startswith("3 cells of `name` hold a placeholder (`NULL` 2, `nan` 1), which counts as blank")
        assert plan(rows).manifest.skipped == {"missing_data": 3}

    @pytest.mark.parametrize(
        ("placeholders", "reasons"),
        [
            pytest.param(["-", "NULL"], ["missing_data", "missing_data", None], id="a list of one's own"),
            pytest.param("-", ["missing_data", None, None], id="one"),
            pytest.param("none", [None, None, None], id="none"),
            pytest.param([], [None, None, None], id="an empty list"),
        ],
    )
    def test_a_campaign_has_its_own(self, placeholders: Any, reasons: list[str | None]) -> None:
        rows = people({"name": "-"}, {"name": "NULL"}, {"name": "nan"})
        recipients: Any = {"rows": rows, "placeholders": placeholders}
        made = plan(recipients)
        assert column(made, "reason") == reasons

    @pytest.mark.parametrize(
        ("row", "keys"),
        [
            pytest.param({"body": "NULL"}, {"message": {}}, id="a text in a column"),
            pytest.param({"media_url": "NULL"}, {"message": "Hi"}, id="media in a column"),
            pytest.param(
                {"photo": "NULL"}, {"message": {"body": "Hi", "media": "{{ photo }}"}}, id="media by template"
            ),
            pytest.param({"from": "NULL"}, {"from_": None, "message": "Hi"}, id="a sender in a column"),
            pytest.param({"store": "NULL"}, {"from_": "{{ store }}", "message": "Hi"}, id="a sender by template"),
            pytest.param(
                {"ttl": "NULL"},
                {
                    "sandbox": {"dialect": "twilio"},
                    "validity_period": "{{ ttl }}",
                    "message": "Hi",
                },
                id="a provider field",
            ),
        ],
    )
    def test_wherever_a_message_uses_it(self, row: dict[str, Any], keys: dict[str, Any]) -> None:
        made = plan(people(row), **keys)
        assert column(made, "reason") == ["missing_data"]
        assert "`NULL`, which stands for a missing value" in made.frame["detail"][0]
