"""A page replaces an older page of its kind, and no other file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sender.core.errors import InputError
from sender.reports.pages.page import render
from sender.reports.pages.page_files import PREVIEW_PAGE, REPORT_PAGE, write_page

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(title: str, *, policy: str = POLICY) -> str:
    return f'<!doctype html><head><meta content="{policy}"><title>{title}</title></head>'


@pytest.mark.parametrize(
    ("there", "preview", "report"),
    [
        pytest.param(page("spring: message preview"), True, False, id="preview"),
        pytest.param(page("spring: report"), False, True, id="report"),
        pytest.param(page("a &lt;/title&gt;: report"), False, True, id="a name with markup in it"),
        pytest.param(page("two\nlines: report"), False, True, id="a name of two lines"),
        pytest.param(page("spring: report and more"), False, False, id="another title"),
        pytest.param(page("spring: report", policy="default-src *"), False, False, id="another program's"),
        pytest.param("<html></html>", False, False, id="no title"),
        pytest.param("\x00\x01", False, False, id="no page"),
        pytest.param("", True, True, id="empty"),
    ],
)
def test_what_a_page_replaces(tmp_path: Path, there: str, preview: bool, report: bool) -> None:
    for kind, replaced in ((PREVIEW_PAGE, preview), (REPORT_PAGE, report)):
        (tmp_path / "page.html").write_text(there)
        if replaced:
            write_page("new", tmp_path / "page.html", kind)
        else:
            with pytest.raises(InputError, match=f"exists and is not {kind.name}"):
                write_page("new", tmp_path / "page.html", kind)
        assert (tmp_path / "page.html").read_text() == ("new" if replaced else there)
        write_page("new", tmp_path / "page.html", kind, force=True)


def test_the_policy_is_the_one_of_every_page(tmp_path: Path) -> None:
    assert POLICY in render("page.html.j2")
