"""The language rule holds wherever a user can read, and its checker finds what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wording import ROOT, findings, public_files


@pytest.mark.parametrize("folder", sorted({path.parent.relative_to(ROOT) for path in public_files()}), ids=str)
def test_what_a_user_can_read_follows_the_language_rule(folder: Path) -> None:
    here = [path for path in public_files() if path.parent == ROOT / folder]
    assert [str(finding) for path in here for finding in findings(path)] == []


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("The plan's notes told it.", ["told"]),
        ("for so\nmany seconds", ["so many"]),
        ("It comes to 39 messages.", ["comes to"]),
        ("It comes to an end.", []),
        ("`x` is no number", ["is no number"]),
        ("There is no number.", []),
        ("It is no longer read.", []),
        ("an opt-out word, an opt-in\n  word", []),
        ("2 accepted without a final word", ["word"]),
        ("the option `word`", []),
        ("The law of the run; a conservation law.", ["law"]),
        (
            "| do not write | write |\n| --- | --- |\n| mend it | fix it |\n| fix it | mend it |\n\nMend it.",
            ["mend", "Mend"],
        ),
    ],
)
def test_a_page(tmp_path: Path, text: str, phrases: list[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert [finding.phrase for finding in findings(page)] == phrases


def test_a_module_is_read_by_its_strings(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""A docstring told."""\n'
        "told = 1  # a comment told\n"
        'key = "told"\n'
        'message = f"it was told {told}"\n'
        'query = "SELECT told FROM word"\n',
        encoding="utf-8",
    )
    assert [finding.line for finding in findings(module)] == [4]
    assert [finding.line for finding in findings(module, docstrings=True, comments=True)] == [1, 2, 4]


def test_a_template_is_read_without_its_code(tmp_path: Path) -> None:
    template = tmp_path / "page.html.j2"
    template.write_text('{% if told %}<p class="law">{{ reason | words }}{{ "no word" }} told</p>\n', encoding="utf-8")
    assert [finding.phrase for finding in findings(template)] == ["word", "told"]
