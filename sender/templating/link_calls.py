"""`link("https://...")` in a template: where it is, and the marks that stand for it until each row's link is known.

A text is rendered with the address between two marks; `sender.planning.recipient_links` puts the person's link there.
So an address may be any expression, and whatever jinja2 says of it holds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

import jinja2

from sender.core.errors import TemplateError
from sender.templating.jinja_environment import environment

BEGIN, END = "\ue0f0", "\ue0f1"  # of the private use area: in no text that a phone shows
MARKED = re.compile(f"{BEGIN}([^{BEGIN}{END}]*){END}")
MARKS = f"[{BEGIN}{END}]"
_NAME = "link"
_Token = tuple[int, str, str]


def mark_links(source: str, *, where: str) -> str:
    """Return the source with marks in place of each call of `link`; the same where there is none.

    Raises TemplateError for marks in the source itself. What is not a template is for `compile_template` to refuse.
    """
    if BEGIN in source or END in source:
        raise TemplateError("a character of the private use area (U+E0F0, U+E0F1)", where=where, fix="remove it")
    if _NAME not in source:
        return source
    try:
        tokens: list[_Token] = list(environment().lex(source))
    except jinja2.TemplateSyntaxError:
        return source
    calls = _find_calls(tokens)
    parts: list[str] = []
    for place, (_, _, text) in enumerate(tokens):
        if place in calls.values():
            parts.append(f') ~ "{END}")')
        elif place - 1 in calls:  # the parenthesis of the call, which may have blanks before it
            parts.append(text)
        elif place in calls:
            parts.append(f'("{BEGIN}" ~ ')
        else:
            parts.append(text)
    return "".join(parts)


def has_links(source: str) -> bool:
    """Whether the source calls `link`."""
    try:
        return _NAME in source and bool(_find_calls(list(environment().lex(source))))
    except jinja2.TemplateSyntaxError:
        return False


def find_addresses(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the address of each call of `link` whose address is a text of the template's own."""
    tokens: list[_Token] = list(environment().lex(source))
    for place, end in _find_calls(tokens).items():
        inside = [token for token in tokens[place + 2 : end] if token[1] != "whitespace"]
        if len(inside) == 1 and inside[0][1] == "string":
            yield inside[0][0], str(ast.literal_eval(inside[0][2]))


def _find_calls(tokens: Sequence[_Token]) -> dict[int, int]:
    """Return the place of each `link` that is called, and that of the parenthesis that ends its call."""
    calls: dict[int, int] = {}
    for place, (_, kind, text) in enumerate(tokens):
        opens = place + 1 < len(tokens) and tokens[place + 1][1:] == ("operator", "(")
        if kind == "name" and text == _NAME and opens and not _is_inner(tokens[:place]):
            end = _find_end(tokens, place + 1)
            if end is not None:
                calls[place] = end
    return calls


def _is_inner(before: Sequence[_Token]) -> bool:
    """Whether the name after these tokens is an attribute or a filter."""
    last = next((token for token in reversed(before) if token[1] != "whitespace"), None)
    return last is not None and last[1:] in (("operator", "."), ("operator", "|"))


def _find_end(tokens: Sequence[_Token], opening: int) -> int | None:
    depth = 0
    for place in range(opening, len(tokens)):
        if tokens[place][1] == "operator":
            depth += tokens[place][2] in "([{"
            depth -= tokens[place][2] in ")]}"
            if not depth:
                return place
    return None
