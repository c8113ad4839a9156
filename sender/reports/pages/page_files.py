"""Pages as files: a page replaces an older one of its kind and nothing else, whole, and only its owner may read it."""

from __future__ import annotations

import re
from pathlib import Path

from sender.core.output_files import NOTHING_PROTECTED, OutputKind, Protected, check_output, write_text_beside

_HEAD = 64 << 10  # bytes in which a page of ours has its title
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _page_kind(name: str, title: str) -> OutputKind:
    """The kind of pages whose title is `title` after the campaign's name."""

    def matches(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(_HEAD).decode("utf-8", errors="replace")
        title_tag = re.search(r"<title>(.*?)</title>", head, re.DOTALL)
        return _POLICY in head and title_tag is not None and title_tag[1].endswith(f": {title}")

    return OutputKind(name, matches)


PREVIEW_PAGE = _page_kind("a preview page", "message preview")
REPORT_PAGE = _page_kind("a report page", "report")


def check_page(path: Path, kind: OutputKind, protected: Protected = NOTHING_PROTECTED, *, force: bool = False) -> Path:
    """Return the file behind `path` if a page of `kind` may be written there. Raises InputError."""
    return check_output(path, kind, protected, force=force)


def write_page(
    html: str, path: Path, kind: OutputKind, protected: Protected = NOTHING_PROTECTED, *, force: bool = False
) -> None:
    """Write the page to `path`. Raises InputError when it may not or cannot be written there."""
    write_text_beside(check_page(path, kind, protected, force=force), html, where=str(path))
