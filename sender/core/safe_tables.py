r"""Texts of tables that people open in a spreadsheet or a terminal: no cell is a formula, and none is carried out.

A text that a spreadsheet would take for a formula gets a leading `'`; control and bidirectional characters are
escaped (`sender.core.safe_text`). Both can be taken back, so that a table of ours that is read again gives the same
texts. A number stays a number: `+12025550100` and `+1 (202) 555-0100` can do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sender.core.lazy_modules import pl
from sender.core.safe_text import CONTROLS, escape_controls, show_controls, unescape_controls

# What a spreadsheet takes for a formula, with the full-width signs that some locales read alike.
_SIGNS = r"[=+\-@\t\r\n＝＋－＠]"
# No formula: an amount, and a phone number however it is punctuated. Neither can call anything.
_NUMBER = r"(?:[+-]?[0-9]+(?:\.[0-9]+)?|\+[0-9 ().\-/\xa0]*[0-9])"
_PLAIN = f"^{_NUMBER}$"  # for polars
_PLAIN_TEXT = re.compile(_NUMBER)
_FORMULA_TEXT = re.compile(rf"'*{_SIGNS}")
_SUSPECT = rf"^'*{_SIGNS}|{CONTROLS}|\\[xu]"

EXPORTED = ("number", "reason", "scope", "source", "via", "at", "note")  # the columns of an exported suppression list
SKIPPED_COLUMNS = ("row_number", "skipped_as", "because")  # of a file of skipped rows: one before the list's, two after
BODY = "body"  # of results: the text, after our other columns where it was asked for
_RESULTS_HAVE = {"to", "message_id", "ref", "status", "run_id"}  # in every version's results
_PREFIX = "sender_"  # of a column of ours where an original one has its name


def formula_like(name: str) -> pl.Expr:
    """Whether a spreadsheet would take the text of column `name` for a formula (Boolean)."""
    return pl.col(name).str.contains(f"^{_SIGNS}") & ~pl.col(name).str.contains(_PLAIN)


def guard_table(frame: pl.DataFrame, *, quotes: bool = True) -> pl.DataFrame:
    """`frame` with its texts and its headers guarded; without `quotes` only what concerns control characters."""
    return _change(frame, guard_text if quotes else escape_controls)


def restore_table(frame: pl.DataFrame, *, quotes: bool = True) -> pl.DataFrame:
    """The frame of which `guard_table` made `frame`."""
    return _change(frame, restore_text if quotes else unescape_controls)


def has_controls(frame: pl.DataFrame) -> bool:
    """Whether a text or a header has a control or bidirectional character."""
    texts = frame.select(pl.col(pl.String).str.contains(CONTROLS).any())
    return any(texts.row(0)) or any(show_controls(name) != name for name in frame.columns)


def guard_text(text: str) -> str:
    """`text` as it stands in a table: never a formula, and without characters that a terminal would carry out."""
    text = escape_controls(text)
    return f"'{text}" if _is_guardable(text) else text


def restore_text(text: str) -> str:
    """The text of which `guard_text` made `text`."""
    return unescape_controls(text[1:] if text.startswith("'") and _is_guardable(text) else text)


def are_results_headers(headers: Sequence[str]) -> bool:
    """Whether a table with these headers is a results file, of this version or of one with other columns."""
    names = [plain_name(header) for header in headers]
    last = names[-2:-1] if names[-1:] == [BODY] else names[-1:]
    return names[:1] == ["row_number"] and last == ["run_id"] and set(names) >= _RESULTS_HAVE


def are_skipped_headers(headers: Sequence[str]) -> bool:
    """Whether a table with these headers is a file of skipped rows."""
    return tuple(map(plain_name, [*headers[:1], *headers[1:][-2:]])) == SKIPPED_COLUMNS


def plain_name(header: str) -> str:
    """The name of our column under `header`, without the prefixes of `free_name`."""
    return re.sub(f"^({_PREFIX})*", "", header)


def is_guarded(headers: Sequence[str]) -> bool:
    """Whether a CSV file or a workbook with these headers was written through `guard_table`."""
    return tuple(headers) == EXPORTED or are_results_headers(headers) or are_skipped_headers(headers)


def free_name(name: str, taken: Sequence[str]) -> str:
    """The name of our column `name` among the original columns `taken`: prefixed until it is free."""
    while name in taken:
        name = _PREFIX + name
    return name


def _is_guardable(text: str) -> bool:
    """Whether `text`, without quotes before it, is a formula: so a text that had a quote is told from a guarded one."""
    return _FORMULA_TEXT.match(text) is not None and _PLAIN_TEXT.fullmatch(text.lstrip("'")) is None


def _change(frame: pl.DataFrame, change: Callable[[str], str]) -> pl.DataFrame:
    """`frame` with `change` applied to its headers and, where they may need it, to its texts."""
    suspects = frame.select(pl.col(pl.String).str.contains(_SUSPECT))
    changed = [_change_column(frame[each.name], each, change) for each in suspects if each.any()]
    return frame.with_columns(changed).rename(change)


def _change_column(column: pl.Series, is_suspect: pl.Series, change: Callable[[str], str]) -> pl.Series:
    suspects = column.filter(is_suspect)
    suspects = suspects.filter(~suspects.str.contains(_PLAIN)).unique()
    if not suspects.len():
        return column
    changed = pl.Series([change(text) for text in suspects], dtype=pl.String)
    return column.replace(suspects, changed)
