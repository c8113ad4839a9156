"""Reading the next part while the present one is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(parts: Iterator[T]) -> Iterator[T]:
    """Yield `parts`, each of which is made in another thread while the caller has the one before.

    At most two are in memory. Raises what `parts` raises. Where the caller stops early, the one being made is waited
    for, so that nothing is used after it.
    """
    end = object()
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        coming = reader.submit(next, parts, end)
        while (part := coming.result()) is not end:
            coming = reader.submit(next, parts, end)
            yield part  # type: ignore[misc]
