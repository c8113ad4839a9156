"""Texts with composed letters (Unicode NFC): `é` is one character, not an `e` and an accent of its own.

Some systems, macOS among them, write letters in parts. They look the same, but a text with them is UCS-2 even if all of
its letters are in GSM-7, and two spellings of a header are two headers. Characters that Unicode keeps for the sake of
older character sets of East Asia stay: NFC would replace them by others, which look different in some people's names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from sender.core.lazy_modules import pl

_KEPT = "\uf900-\ufaff\U0002f800-\U0002fa1f"  # CJK compatibility ideographs
_RUN = re.compile(f"[^{_KEPT}]+")
_PARTS = 16  # of a set of columns that is not all ASCII
_MAY_CHANGE = r"[^\x00-\x{2FF}]"  # NFC leaves everything below alone


def compose_text(text: str) -> str:
    """Return `text` with its letters composed."""
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text
    return _RUN.sub(lambda run: unicodedata.normalize("NFC", run[0]), text)


def compose_columns(cells: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return `cells` (String columns) with their letters composed, and how many cells that changed."""
    changed, composed = [], 0
    for column in _columns_beyond_ascii(cells.get_columns()):
        at = column.str.contains(_MAY_CHANGE).fill_null(value=False).arg_true()
        before = column.gather(at)
        after = before.str.normalize("NFC")
        kept = before.str.contains(f"[{_KEPT}]").arg_true()
        after = after.scatter(kept, pl.Series(list(map(compose_text, before.gather(kept))), dtype=pl.String))
        different = before != after
        if different.any():
            composed += int(different.sum())
            changed.append(column.clone().scatter(at.filter(different), after.filter(different)))
    return (cells.with_columns(changed), composed) if changed else (cells, 0)


def _columns_beyond_ascii(columns: Sequence[pl.Series]) -> list[pl.Series]:
    """Return the columns with characters beyond ASCII. Many are looked at as one: each look has a price of its own."""
    if not columns or _is_ascii(columns[0] if len(columns) == 1 else pl.concat(columns, rechunk=False)):
        return []
    if len(columns) == 1:
        return list(columns)
    parts = min(len(columns), _PARTS)
    size = -(-len(columns) // parts)
    return [
        column
        for start in range(0, len(columns), size)
        for column in _columns_beyond_ascii(columns[start : start + size])
    ]


def _is_ascii(column: pl.Series) -> bool:
    return bool(column.str.len_bytes().sum() == column.str.len_chars().sum())


def describe_composed(cells: int, headers: int = 0) -> Sequence[str]:
    """Return a sentence on how many cells and headers were composed; none where there were none."""
    counts = [(cells, "cell"), (headers, "header")]
    parts = [f"{n:,} {noun}{'' if n == 1 else 's'}" for n, noun in counts if n]
    if not parts:
        return ()
    verb = "was" if cells + headers == 1 else "were"
    return (f"{' and '.join(parts)} {verb} written with separate accents, which were joined to their letters (NFC)",)
