"""The documents' examples in Python run and print what they show, and docs/python-api.md has every public name."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path
from typing import Any

import pytest

import sender
from sender.core import errors
from tests.docs.pages import DOCS, blocks, read

PAGE = DOCS / "python-api.md"
EXAMPLES = [page for page in sorted(DOCS.glob("*.md")) if blocks(read(page), "python")]


def test_every_public_name_is_on_the_page() -> None:
    text = read(PAGE)
    assert [name for name in sender.__all__ if not re.search(rf"`{name}\b", text)] == []
    examples = "\n".join(blocks(text, "python"))
    shown_by_their_values = {"Campaign", "LookedUp", "Plan", "Progress", "RunResult", "SenderError"}
    assert [
        name
        for name in sender.__all__
        if name not in shown_by_their_values and not re.search(rf"\bsender\.{name}\b", examples)
    ] == []


def test_every_error_is_on_the_page() -> None:
    names = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert [name for name in names if f"`{name}`" not in read(PAGE)] == []


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_the_examples_print_what_the_page_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of Python in turn, in one namespace; the text after it is what it prints (`...` is anything)."""
    monkeypatch.chdir(tmp_path)
    for variable in ("SENDER_STATE_DIR", "SENDER_SANDBOX_URL"):
        monkeypatch.delenv(variable, raising=False)
    namespace: dict[str, Any] = {"__name__": "example"}
    pairs = re.findall(
        r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", read(page), flags=re.MULTILINE | re.DOTALL
    )
    assert len(pairs) == len(blocks(read(page), "python"))
    for source, shown in pairs:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, page.name, "exec"), namespace)
        same = doctest.OutputChecker().check_output(shown, printed.getvalue(), doctest.ELLIPSIS)
        assert same, f"{source}\nprinted:\n{printed.getvalue()}\nthe page shows:\n{shown}"
