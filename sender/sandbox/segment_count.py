"""How many segments a text has. The sandbox counts for itself, so that it can disagree with the sender."""

from __future__ import annotations

from collections.abc import Iterable

# 3GPP TS 23.038: the default alphabet and its extension table.
_GSM7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_EXTENSION = frozenset("^{}\\[~]|€\f")
_GSM7_ALL = _GSM7 | _GSM7_EXTENSION


def is_gsm7(body: str) -> bool:
    return set(body) <= _GSM7_ALL


def count_segments(body: str, demanded: str | None = None) -> tuple[str, int]:
    """Return encoding (`GSM-7` or `UCS-2`) and number of segments (at least 1) of a text.

    `demanded` is UCS-2 where the request asks for it, though GSM-7 would do.
    """
    characters = set(body)
    if demanded != "UCS-2" and characters <= _GSM7_ALL:
        if not characters & _GSM7_EXTENSION:
            return "GSM-7", 1 if len(body) <= 160 else -(-len(body) // 153)
        return "GSM-7", _pack((2 if character in _GSM7_EXTENSION else 1 for character in body), 160, 153)
    return "UCS-2", _pack((2 if character > "\uffff" else 1 for character in body), 70, 67)


def _pack(units: Iterable[int], single: int, several: int) -> int:
    """Return the segments of characters of 1 or 2 units, none of which may be split across two segments."""
    sizes = list(units)
    if sum(sizes) <= single:
        return 1
    segments, room = 1, several
    for size in sizes:
        if size > room:
            segments, room = segments + 1, several
        room -= size
    return segments
