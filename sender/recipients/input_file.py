"""A file that a plan was built from, as the plan remembers it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that a plan was built from. `path` is relative to the campaign if possible; `bytes` is its size."""

    role: str
    path: str
    bytes: int
    sha256: str
