"""The key `suppress`: files of numbers that get nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from sender.campaign.values import File, Region, Strict, Text, to_list


class SuppressSpec(Strict):
    """A file of numbers that get nothing."""

    file: File = Field(description="The file, in any recipients format, relative to the campaign file.")
    unreadable: int = Field(
        0,
        ge=0,
        description="How many rows may hold a number that cannot be read. More of them stop the start; blank cells do"
        " not count.",
    )
    columns: Annotated[tuple[Text, ...], BeforeValidator(to_list)] = Field(
        (),
        description="Headers of the columns with phone numbers. Default: those named so, and those whose cells mostly"
        " read as numbers.",
    )
    default_region: Region | None = Field(
        None,
        description="Country of its numbers without a country code, in addition to `recipients.default_region`.",
    )


def expand_files(value: object) -> object:
    """Return the entries of `suppress`: a file's name is short for a mapping."""
    entries = [value] if isinstance(value, str | Path | Mapping) else value
    if not isinstance(entries, list | tuple):
        return entries
    return tuple({"file": entry} if isinstance(entry, str | Path) else entry for entry in entries)
