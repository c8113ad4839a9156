"""The documents' form: links lead to a file and a heading, and every decision can be found, linked to and dated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, anchors, headings, read, slug, without_code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    text = without_code(read(page))
    for target in re.findall(r"\]\((?![a-z]+:)([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(read(path)), target


def test_the_map_names_every_page() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", read(DOCS / "index.md"))
    assert sorted(target for target in targets if "/" not in target) == sorted(
        page.name for page in DOCS.glob("*.md") if page.name != "index.md"
    )


class TestDecisions:
    text = read(DOCS / "decisions.md")

    def test_the_index_lists_every_heading_in_order(self) -> None:
        index = re.findall(r"^( *)- \[(.+)\]\(#(.+)\)$", self.text, re.MULTILINE)
        entries = [(level, title) for level, title in headings(self.text) if level > 1 and title != "Index"]
        assert [(2 + len(indent) // 2, title, anchor) for indent, title, anchor in index] == [
            (level, title, slug(title)) for level, title in entries
        ]

    def test_every_anchor_is_its_own(self) -> None:
        assert (
            len(anchors(self.text))
            == len({slug(title) for _, title in headings(self.text)})
            == len(headings(self.text))
        )

    def test_every_entry_is_dated(self) -> None:
        undated = re.findall(r"^### (.+)\n\n(?!\*\d{4}-\d\d-\d\d\.\* )", self.text, re.MULTILINE)
        assert undated == []
        assert self.text.count("\n### ") >= 98
