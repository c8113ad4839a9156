"""Texts of a campaign file that YAML cuts at a ` #`, because it takes the rest of the line for a comment.

`message: Hi {{ n }} #1 fan` is the text `Hi {{ n }}`. Comments behind settings (`rate: 4/s  # slow`) are no mistake,
so only keys whose value is a free text are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from sender.campaign.safe_yaml import Document, KeyPath
from sender.core.errors import Problem

_MESSAGE: tuple[KeyPath, ...] = (("message",), ("message", "body"))
_TEXTS = frozenset({*_MESSAGE, ("name",), ("edition",), ("subject",)})
_OF_TEXTS = frozenset({"custom_variables", "content_variables"})
_QUOTE = "put the text in quotes if that belongs to it"
_SHOWN = 60


def notes_on_cut_texts(document: Document, where: str) -> tuple[str, ...]:
    """Return a sentence for each text of the campaign in `document` that a comment follows, one for all its rows.

    `where` is the name of the file.
    """
    texts = [path for path in document.comments if _is_text(path) and not _is_replaced(document, path)]
    rows = [path for path in document.comments if path[0] == "recipients" and len(path) > 2]
    return (*(_sentence(document, where, path) for path in texts), *_first(document, where, rows))


def note_on_cut_cells(document: Document, where: str) -> tuple[str, ...]:
    """Return a sentence on the cells of the list of rows in `document` that a comment follows; none without such."""
    return _first(document, where, [path for path in document.comments if len(path) > 1])


def empty_messages(document: Document) -> Iterator[Problem]:
    """Yield what is wrong where the whole text of the message is a comment."""
    for path in _MESSAGE:
        if path in document.comments and document.at(path) is None and not document.is_given(path):
            what = f"`{_short(document.comments[path])}` is a comment to YAML, so the text is empty"
            yield Problem(document.line(path), ".".join(map(str, path)), what, "put the text in quotes")


def _is_text(path: KeyPath) -> bool:
    return path in _TEXTS or path[0] in _OF_TEXTS


def _is_replaced(document: Document, path: KeyPath) -> bool:
    """Whether the text counts no more, because an option has another, or is none."""
    options = (("message", "body"), ("message", "template")) if path[0] == "message" else ()
    return document.at(path) is None or document.is_given(path) or any(document.is_given(option) for option in options)


def _first(document: Document, where: str, paths: list[KeyPath]) -> tuple[str, ...]:
    if not paths:
        return ()
    others = len(paths) - 1
    more = f" ({others:,} more {'cell is' if others == 1 else 'cells are'} like that)" if others else ""
    return (_sentence(document, where, paths[0]) + more,)


def _sentence(document: Document, where: str, path: KeyPath) -> str:
    comment, text = _short(document.comments[path]), document.at(path)
    after = "" if text is None else f" behind `{_short(str(text))}`"
    return f"{where}, line {document.line(path)}: YAML takes `{comment}`{after} for a comment; {_QUOTE}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
