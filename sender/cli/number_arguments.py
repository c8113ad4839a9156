"""Numbers that are typed as arguments of a command."""

from __future__ import annotations

from collections.abc import Iterable

from sender.core.errors import InputError
from sender.core.lazy_modules import pl


def parse_numbers(raw: Iterable[str], region: str | None) -> list[str]:
    """Return the numbers in E.164, each once. Raises InputError for the first that cannot be read."""
    from sender import phone

    cells = list(dict.fromkeys(raw))
    cleaned = phone.normalize(pl.Series(cells, dtype=pl.String), default_region=region)
    for row in cleaned.iter_rows(named=True):
        if row["to"] is None:
            raise InputError(row["detail"] or "the number is blank", fix="write it as +12025550100, without blanks")
    return cleaned["to"].unique(maintain_order=True).to_list()
