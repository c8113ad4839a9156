r"""Control and bidirectional characters of other people's texts: shown as `\x1b`, never carried out.

A cell, a template, a provider's sentence or the name of a file may hold what moves a terminal's cursor, rewrites its
title or turns the order of letters on a page. Each border has one function: `show_controls` for terminals, pages and
log lines, `escape_controls` and its inverse for tables, `escape_json` for JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any

# C0 and C1 but tab, line feed and CR LF; the marks, embeddings, overrides and isolates of the bidirectional algorithm
# (Unicode 16, UAX #9); the separators that some programs take for line ends; halves of surrogate pairs.
_SHOWN = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb"
_CODE = (
    r"(?:x(?:0[0-8bcdef]|1[0-9a-f]|7f|[89][0-9a-f])"
    r"|u(?:061c|200[ef]|202[89a-e]|206[6-9a-f]|fff[9ab]|d[89a-f][0-9a-f]{2}))"
)
CONTROLS = rf"[{_SHOWN}\r]"  # for polars, whose texts have no surrogates: too many, because of CR LF
_CONTROL = re.compile(rf"[{_SHOWN}\ud800-\udfff]|\r(?!\n)")
_ESCAPABLE = re.compile(rf"(\\*)([{_SHOWN}\ud800-\udfff]|\r(?!\n))|(\\+)(?={_CODE})")
_ESCAPED = re.compile(rf"(\\+)({_CODE})")


def show_controls(text: str) -> str:
    r"""`text` with every such character as its code: `\x1b`, `\u202e`. Tabs and line ends stay."""
    return _CONTROL.sub(lambda match: _code(match[0]), text)


def escape_controls(text: str) -> str:
    r"""`text` as `show_controls` shows it, with backslashes doubled where it held such a code already."""
    return _ESCAPABLE.sub(lambda match: match[3] * 2 if match[2] is None else match[1] * 2 + _code(match[2]), text)


def unescape_controls(text: str) -> str:
    """The text of which `escape_controls` made `text`."""

    def unescape(match: re.Match[str]) -> str:
        slashes, code = match[1], match[2]
        half = slashes[: len(slashes) // 2]
        return half + (chr(int(code[1:], 16)) if len(slashes) % 2 else code)

    return _ESCAPED.sub(unescape, text)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """`value` as a JSON document in which no such character stands as itself. What JSON does not know becomes text."""
    return escape_json(json.dumps(value, ensure_ascii=False, indent=indent, default=str))


def escape_json(document: str) -> str:
    """A JSON document of the same value in which no such character stands as itself."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def _code(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
